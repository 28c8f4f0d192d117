"""The latencies of a flow as a chart needs them: few enough points, and the same in words."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from pytest_fileflow.results.phases import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_fileflow.results.history import Day, FlowHistory, PastRun

CASES = 5  # lines of their own; the least frequent cases share the last one
OTHERS = "other cases"


@dataclass(frozen=True)
class Series:
    """The transfers of a flow, oldest first, at most as many as there is room for.

    Where there are more, each point is the worst of ``each`` transfers of a case in a row.
    """

    cases: tuple[str, ...]
    runs: tuple[PastRun, ...]
    days: tuple[Day, ...]
    counted: int
    each: int

    def columns(self) -> dict[str, Any]:
        """Return the chart's numbers as JSON values: moments in Unix seconds, durations in seconds.

        ``t`` holds what has passed since the point before (the first since 1970), ``y`` latencies
        (null: nothing arrived), ``c`` the number of the case, ``bad`` the points that failed.
        ``slo`` holds ``[moment, seconds]``, each from that moment on; ``p95`` ``[day, seconds]``, with days since 1970.
        """
        moments = [int(run.began.timestamp()) for run in self.runs]
        numbers = {name: number for number, name in enumerate(self.cases)}
        others = len(self.cases) - 1
        return {
            "cases": self.cases,
            "t": [after - before for before, after in itertools.pairwise([0, *moments])],
            "y": [None if run.latency_seconds is None else _short(run.latency_seconds) for run in self.runs],
            "c": [numbers.get(run.case, others) for run in self.runs],
            "bad": [number for number, run in enumerate(self.runs) if run.outcome == "failed"],
            "slo": list(_changes(moments, [run.slo_seconds for run in self.runs])),
            "p95": [[_number(day), _short(day.p95)] for day in self.days if day.p95 is not None],
        }


def series(runs: Sequence[PastRun], days: Sequence[Day], points: int) -> Series:
    """Return what a chart shows of a flow's runs, which come newest first."""
    sent = [run for run in reversed(runs) if run.kind == "transfer"]
    ranked = [name for name, _ in Counter(run.case for run in sent).most_common()]
    cases = ranked if len(ranked) <= CASES else [*ranked[: CASES - 1], OTHERS]
    each = -(-len(sent) // points)
    kept = sent if each <= 1 else [run for case in ranked for run in _thinned(sent, case, each)]
    kept.sort(key=lambda run: run.began)
    return Series(tuple(cases), tuple(kept), tuple(days), len(sent), max(1, each))


def _thinned(runs: Sequence[PastRun], case: str, each: int) -> Iterator[PastRun]:
    own = [run for run in runs if run.case == case]
    for start in range(0, len(own), each):
        yield max(own[start : start + each], key=_badness)


def _badness(run: PastRun) -> tuple[bool, float]:
    return run.outcome == "failed", float("inf") if run.latency_seconds is None else run.latency_seconds


def in_words(told: FlowHistory, shown: Series) -> str:
    """Return what the chart shows, for those who do not see it."""
    if not shown.runs:
        return "No transfers in this period."
    arrived = [run.latency_seconds for run in shown.runs if run.latency_seconds is not None]
    pieces = [
        f"last {duration(arrived[-1])}" if arrived else "nothing arrived",
        f"p50 {duration(told.p50)}" if told.p50 is not None else "",
        f"p95 {duration(told.p95)}" if told.p95 is not None else "",
        f"SLO {told.slo_seconds:g} s" if told.slo_seconds else "",
    ]
    failed = sum(run.outcome == "failed" for run in shown.runs)
    unjudged = sum(run.outcome == "error" for run in shown.runs)
    bad = f"{failed or 'none'} of those shown failed{f', {unjudged} could not be judged' if unjudged else ''}"
    number = f"{shown.counted} transfer{'' if shown.counted == 1 else 's'}"
    return f"Latency of {number}: {', '.join(filter(None, pieces))}; {bad}."


def _changes(moments: Sequence[int], values: Sequence[float | None]) -> Iterator[list[float]]:
    before = None
    for moment, value in zip(moments, values, strict=True):
        if value is not None and value != before:
            yield [moment, value]
            before = value


def _number(day: Day) -> int:
    return (day.date - date(1970, 1, 1)).days


def _short(seconds: float) -> float:
    """Return four digits, which are more than a chart shows."""
    return float(f"{seconds:.4g}")
