"""What must change so that one side holds what the other does, and how that is shown before it is done."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pytest_fileflow.results.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Kind = Literal["added", "changed", "removed"]


class Conflict(Exception):
    """Somebody else has changed what is to be changed since it was looked at; the message says what."""


class CannotMove(Exception):
    """A side cannot be read or written at all; the message says why."""


@dataclass(frozen=True)
class Change:
    """What is to become of one file or flow: ``before`` or ``after`` is None where there is none."""

    name: str
    before: bytes | None
    after: bytes | None

    @property
    def kind(self) -> Kind:
        """Return what happens to it."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


class Side(Protocol):
    """A folder or a store, as it was when it was looked at."""

    @property
    def contents(self) -> Mapping[str, bytes]:
        """Return what it holds, by name."""

    def apply(self, change: Change) -> None:
        """Make a change; raises Conflict, CannotMove or FileflowError, and then has changed nothing."""


def changes(source: Mapping[str, bytes], target: Mapping[str, bytes]) -> list[Change]:
    """Return what makes a target hold what a source does, by name; what is the same is left out."""
    names = sorted(source.keys() | target.keys())
    return [Change(name, target.get(name), source.get(name)) for name in names if source.get(name) != target.get(name)]


def shown(change: Change) -> Iterator[str]:
    """Yield the lines that show a change: a unified diff where both sides have it."""
    yield f"{change.kind:<8} {plain(change.name)}"
    if change.kind == "changed":
        before, after = _lines(change.before), _lines(change.after)
        for line in difflib.unified_diff(before, after, "before", "after", lineterm="", n=2):
            yield f"  {plain(line)}"


def _lines(content: bytes | None) -> list[str]:
    return (content or b"").decode("utf-8", "replace").expandtabs().splitlines()
