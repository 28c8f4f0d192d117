"""What a check is that looks at the place where a file arrived, and not at its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_fileflow.clock import Clock
    from pytest_fileflow.due import Due
    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.model import CheckResult, Run, Stat


@dataclass(frozen=True)
class Delivery:
    """A file that arrived: the endpoint it lies at, how that shows it, what was due, and the run it is of.

    ``sidecars`` are the contents that were sent beside the file, by the ending of their names. A check that
    waits for something does so by ``clock``, and no longer once ``cancelled``.
    """

    endpoint: Endpoint
    stat: Stat
    due: Due
    run: Run
    sidecars: Mapping[str, bytes]
    clock: Clock
    cancelled: Callable[[], bool]

    @property
    def uri(self) -> str:
        """Return where the file lies."""
        return self.endpoint.location.uri(self.stat.name)


@runtime_checkable
class PlaceCheck(Protocol):
    """A check of what lies around a file's bytes: its name, its tags, what came with it.

    It is asked once, after all bytes were read. What the endpoint raises ends the run by its cause.
    """

    def look(self, delivery: Delivery) -> CheckResult:
        """Return the judgement; may ask the endpoint."""


@runtime_checkable
class KeepsTags(Protocol):
    """An endpoint whose files have tags."""

    def tags(self, name: str) -> Mapping[str, str]:
        """Return a file's tags."""


@runtime_checkable
class KeepsMetadata(Protocol):
    """An endpoint whose files have metadata."""

    def metadata(self, name: str) -> Mapping[str, str]:
        """Return a file's metadata by lower-case names, the writer's own and the standard headers together."""
