"""What went wrong in a session, a block a cause: one sentence as an example, whom it hit, and the hint, once."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.results.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_fileflow.results.record import Record

NAMES = 20  # that a block lists, besides its example
LABEL = 8  # columns before the text


@dataclass(frozen=True)
class Block:
    """A cause with its hint, and the records of the runs that it ended, of which there is at least one."""

    cause: str
    hint: str
    records: tuple[Record, ...]

    @property
    def number(self) -> str:
        """Return how many runs these are, in words."""
        return "1 run" if len(self.records) == 1 else f"{len(self.records)} runs"

    def lines(self, width: int) -> list[str]:
        """Return what stands below the cause, wrapped to a width."""
        return [line for label, text in self._texts() for line in _wrapped(label, text, width)]

    def _texts(self) -> Iterator[tuple[str, str]]:
        example, *others = self.records
        yield "seen", f"{name_of(example)}: {plain(example['reason'] or '')}"
        if others:
            more = len(others) - NAMES
            names = ", ".join(name_of(record) for record in others[:NAMES])
            yield "also", f"{names} and {more} more" if more > 0 else names
        yield "hint", self.hint


def blocks(records: Iterable[Record]) -> list[Block]:
    """Return the distinct causes of what did not pass, faults of flows first, then by how many runs each ended."""
    grouped: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record["cause"]:
            grouped.setdefault((record["cause"], plain(record["hint"] or "")), []).append(record)
    found = [Block(cause, hint, _in_order(hit)) for (cause, hint), hit in grouped.items()]
    return sorted(found, key=lambda block: (block.cause.startswith("tester."), -len(block.records), block.cause))


def name_of(record: Record) -> str:
    """Return ``acme[5MiB]``."""
    return plain(f"{record['flow_id']}[{record['case']}]")


def _in_order(records: Sequence[Record]) -> tuple[Record, ...]:
    return tuple(sorted(records, key=name_of))


def _wrapped(label: str, text: str, width: int) -> list[str]:
    # Names and locations stay whole, to be copied.
    return textwrap.wrap(
        text,
        max(width, 3 * LABEL),
        initial_indent=f"  {label}".ljust(LABEL),
        subsequent_indent=" " * LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )
