"""What is known of a case that is being tried, and of each attempt at it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.errors import KmsDenied, StorageFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pytest_fileflow.errors import FileflowError
    from pytest_fileflow.model import Flow, Location, Refusal, Run, Side
    from pytest_fileflow.streams import Tools

WITHIN_SECONDS = 30.0


def never(_: FileflowError) -> bool:
    """Return False: no error is what was asked for."""
    return False


def is_vague(error: FileflowError) -> bool:
    """Return whether the storage did not do what was asked, without saying that it may not be asked."""
    return isinstance(error, (StorageFailed, KmsDenied))


@dataclass(frozen=True)
class Attempt:
    """One thing that must be refused.

    ``act`` tries it: it raises what the system answered, LetIn where that did not refuse, and returns
    where nothing came of it, as it should be. ``what`` is for sentences, ``expected`` names the right
    refusal. ``is_other`` tells a refusal of another kind from an error that has a cause of its own.
    What ``turn`` returns is held meanwhile; waiting for it does not count.
    """

    place: str
    what: str
    expected: str
    act: Callable[[], object]
    is_right: Callable[[FileflowError], bool] = never
    is_other: Callable[[FileflowError], bool] = is_vague
    turn: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True)
class Trial:
    """A case that is being tried: what is known to all its attempts."""

    flow: Flow
    refusal: Refusal
    run: Run
    tools: Tools

    @property
    def within(self) -> float:
        """Return the seconds within which a refusal must come."""
        return within_of(self.refusal)

    @property
    def probe(self) -> str:
        """Return the name of the file that must not be written."""
        return probe_name(self.run)

    @property
    def nobody(self) -> str:
        """Return the name of a user whom no server knows."""
        return f"nobody-{self.run.run_id}"

    def ends(self) -> list[tuple[Side, Location]]:
        """Return the ends that must refuse."""
        return ends_of(self.flow, self.refusal)


def within_of(refusal: Refusal) -> float:
    """Return the seconds within which a refusal must come."""
    return float(str(refusal.options.get("within_seconds", WITHIN_SECONDS)))


def longest_seconds(flow: Flow, refusal: Refusal) -> float:
    """Return how long a case may take at most: each end in its time, and once more for what comes on top."""
    return within_of(refusal) * (len(ends_of(flow, refusal)) + 1)


def ends_of(flow: Flow, refusal: Refusal) -> list[tuple[Side, Location]]:
    """Return the ends of a flow that must refuse something."""
    ends: list[tuple[Side, Location]] = [("source", flow.source), ("target", flow.target)]
    return [(side, end) for side, end in ends if refusal.options.get("side", side) == side]


def probe_name(run: Run) -> str:
    """Return the name of a run's file that must not be written."""
    return f"fileflow-probe-{run.run_id}.txt"
