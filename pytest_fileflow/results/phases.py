"""The phases of a run, from the stamps of its timeline: what it did from when to when."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

GAVE_UP = "failed"  # stamped when the phase that was under way failed or was given up

# By name: the stamps that a phase may begin with, and the one that ends it.
_TABLE: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("prepare", ("begun",), "prepared"),
    ("seed", ("prepared",), "seeded"),
    ("trigger", ("seeded",), "started"),
    ("wait", ("started",), "arrived"),
    ("verify", ("arrived",), "verified"),
    ("diagnose", ("verified", GAVE_UP), "judged"),
    ("clean_up", ("verified", "judged", GAVE_UP), "cleaned"),
)
_STAMPS = ("begun", "prepared", "seeded", "started", "arrived", "verified", GAVE_UP, "judged", "cleaned")


@dataclass(frozen=True)
class Phase:
    """A phase of a run: ``start`` and ``seconds`` count from the run's first stamp; whether it came to its end."""

    name: str
    start: float
    seconds: float
    is_complete: bool = True

    @property
    def title(self) -> str:
        """Return the name in words."""
        return self.name.replace("_", " ")


def phases(timeline: Mapping[str, str]) -> list[Phase]:
    """Return the phases that a timeline tells of, in order; what lies between others' stamps is no phase."""
    if "arrived" in timeline and "triggered" in timeline:  # what has arrived was started, even if nobody noted it
        timeline = {"started": timeline["triggered"], **timeline}
    stamps = [(name, _moment(timeline[name])) for name in _STAMPS if name in timeline]
    found = []
    for (before, start), (after, end) in itertools.pairwise(stamps):
        name = _phase(before, after)
        if name:
            seconds = max(0.0, (end - start).total_seconds())
            found.append(Phase(name, (start - stamps[0][1]).total_seconds(), seconds, after != GAVE_UP))
    return found


def slo_ends_after(timeline: Mapping[str, str], slo_seconds: float) -> float | None:
    """Return when the SLO was over, in seconds from the run's first stamp; None where nothing was triggered."""
    if "triggered" not in timeline:
        return None
    first = min(map(_moment, timeline.values()))
    return (_moment(timeline["triggered"]) - first).total_seconds() + slo_seconds


def _moment(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00"))


def _phase(before: str, after: str) -> str | None:
    if after == GAVE_UP:
        return next((name for name, starts, _ in _TABLE[:5] if before in starts), None)
    return next((name for name, starts, end in _TABLE if before in starts and after == end), None)


def phases_seconds(timeline: Mapping[str, str]) -> dict[str, float]:
    """Return how many seconds each phase took, by its name."""
    return {phase.name: round(phase.seconds, 3) for phase in phases(timeline)}


def total_seconds(timeline: Mapping[str, str]) -> float:
    """Return how long a run took, from its first stamp to its last."""
    stamps = [_moment(stamp) for stamp in timeline.values()]
    return (max(stamps) - min(stamps)).total_seconds() if stamps else 0.0


def duration(seconds: float) -> str:
    """Return a duration as it is said.

    >>> duration(0.012), duration(3.214), duration(421.3)
    ('12 ms', '3.21 s', '421 s')
    """
    if seconds < 0.9995:  # noqa: PLR2004 - what would be said as 1000 ms
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:.0f} s"  # noqa: PLR2004 - three digits are enough
