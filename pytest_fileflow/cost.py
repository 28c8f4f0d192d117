"""What runs take of a session's budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_fileflow.model import Case


@dataclass(frozen=True)
class Cost:
    """What cases take of a budget: transfers, and bytes of their files, without sidecars."""

    runs: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, cases: Iterable[Case]) -> Cost:
        """Return the cost of cases; those that send no file cost nothing."""
        sizes = [case.variant.size for case in cases if case.kind == "transfer"]
        return cls(len(sizes), sum(sizes))

    def plus(self, other: Cost) -> Cost:
        """Return the cost of both."""
        return Cost(self.runs + other.runs, self.bytes + other.bytes)

    def times(self, factor: int) -> Cost:
        """Return the cost of doing it several times."""
        return Cost(self.runs * factor, self.bytes * factor)

    def __str__(self) -> str:
        from pytest_fileflow.model import format_size

        return f"{self.runs} run{'' if self.runs == 1 else 's'} with {format_size(self.bytes)}"
