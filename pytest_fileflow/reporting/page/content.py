"""What a page says: of each flow its state, its newest runs, and, as far as there is room, all that they recorded.

However many records there are, a page stays small enough to open at once: points of charts, runs
that are listed, and details that are kept whole all have bounds over the page. What was left out is counted.
"""

from __future__ import annotations

import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Literal

from markupsafe import Markup

from pytest_fileflow.reporting.details import details
from pytest_fileflow.reporting.page.series import Series, series
from pytest_fileflow.reporting.page.words import share

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from pytest_fileflow.results.history import FlowHistory, History, PastRun
    from pytest_fileflow.results.record import Record

State = Literal["failing", "error", "stale", "passing"]
STATES: tuple[State, ...] = ("failing", "error", "stale", "passing")  # the worst first

POINTS = 60_000  # of all charts together
LISTED = 4_000  # runs
DETAILS_BYTES = 3_000_000
DETAILS_AT_MOST = 300_000  # of one run; nobody's record takes the room of all others
READ = 20_000  # runs of one flow that are looked at, the newest
LISTED_AT_MOST = 100  # of one flow
LISTED_AT_LEAST = 6
POINTS_AT_LEAST = 40
READERS = 16  # of records, at a time
TOO_LATE_SECONDS = 2 * 3600  # a flow that runs once a day may run as much later than the day before


@dataclass(frozen=True)
class ShownRun:
    """A run in the list of its flow; ``details`` are its record as HTML, None where there was no room."""

    run: PastRun
    details: Markup | None = None


@dataclass(frozen=True)
class ShownFlow:
    """A flow on the page. ``runs`` are listed, newest first; of ``counted`` runs in the period."""

    history: FlowHistory
    state: State
    tags: tuple[str, ...]
    runs: tuple[ShownRun, ...]
    counted: int
    series: Series
    age: timedelta

    @property
    def left_out(self) -> int:
        """Return how many runs of the period are not listed."""
        return self.counted - len(self.runs)


@dataclass(frozen=True)
class Content:
    """All that a page says. ``causes`` are those of the flows that do not pass, the most frequent first."""

    flows: tuple[ShownFlow, ...]
    places: tuple[str, ...]
    made: datetime
    since: datetime
    flow: str | None
    notes: tuple[str, ...]

    @property
    def counts(self) -> dict[State, int]:
        """Return how many flows are in each state."""
        found = Counter(flow.state for flow in self.flows)
        return {state: found[state] for state in STATES}

    @property
    def causes(self) -> list[tuple[str, int]]:
        """Return the causes of what does not pass today, with how many flows have each."""
        bad = (flow for flow in self.flows if flow.state in ("failing", "error"))
        return Counter(flow.history.last_cause or "unknown" for flow in bad).most_common()

    @property
    def owners(self) -> list[str]:
        """Return all owners by name."""
        return sorted({flow.history.owner for flow in self.flows if flow.history.owner})

    @property
    def tags(self) -> list[str]:
        """Return all tags by name."""
        return sorted({tag for flow in self.flows for tag in flow.tags})

    @property
    def runs(self) -> int:
        """Return how many runs the period has."""
        return sum(flow.counted for flow in self.flows)

    @property
    def listed(self) -> int:
        """Return how many runs are listed."""
        return sum(len(flow.runs) for flow in self.flows)

    @property
    def detailed(self) -> int:
        """Return how many runs are shown with all details."""
        return sum(shown.details is not None for flow in self.flows for shown in flow.runs)


def gather(history: History, places: Sequence[str], since: datetime, flow: str | None = None) -> Content:
    """Return what a page says of a history, the flows that need attention first; raises FileflowError."""
    told = history.flows()
    kept = max(1, len(told))
    flows = [_flow(history, each, POINTS // kept, LISTED // kept) for each in told]
    flows.sort(key=_rank)
    return Content(
        flows=tuple(_with_details(history, flows)),
        places=tuple(places),
        made=history.now,
        since=since,
        flow=flow,
        notes=history.notes,
    )


def _rank(flow: ShownFlow) -> tuple[int, float, float, str]:
    """Return the place of a flow: of those in trouble the newest trouble first, of the others the worst."""
    told, state = flow.history, STATES.index(flow.state)
    if flow.state in ("failing", "error"):
        return state, -told.streak.since.timestamp(), 0, told.flow_id
    success = 1.0 if told.success_30.rate is None else told.success_30.rate
    return state, success, -(share(told) or 0.0), told.flow_id


def _flow(history: History, told: FlowHistory, points: int, listed: int) -> ShownFlow:
    runs = history.runs(told.flow_id, READ)
    age = history.now - told.latest
    return ShownFlow(
        history=told,
        state=_state(told, age),
        tags=(),
        runs=tuple(
            ShownRun(run) for run in _listed(runs, told.last, min(max(listed, LISTED_AT_LEAST), LISTED_AT_MOST))
        ),
        counted=told.runs,
        series=series(runs, told.days, max(points, POINTS_AT_LEAST)),
        age=age,
    )


def _state(told: FlowHistory, age: timedelta) -> State:
    if told.state in ("failing", "error"):
        return told.state
    # As often as it usually runs, judged by the days on which it did; more often than daily does not count.
    days = [day.date.toordinal() for day in told.days if day.outcome]
    gaps = [after - before for before, after in itertools.pairwise(days)]
    usual = median(gaps) if gaps else 1
    return "stale" if age.total_seconds() > usual * 86400 + TOO_LATE_SECONDS else "passing"


def _listed(runs: Sequence[PastRun], last: PastRun, number: int) -> list[PastRun]:
    """Return the newest runs, half of them kept for those that did not pass, and the one that says the state."""
    bad = [run for run in runs if run.outcome != "passed"][: number // 2]
    new = runs[: number - len(bad)]
    chosen = {run.run_id for run in (last, *bad, *new)}
    listed = [run for run in runs if run.run_id in chosen]
    return listed if last in listed else [*listed, last]  # it may be older than all that are looked at


def _with_details(history: History, flows: Sequence[ShownFlow]) -> Iterator[ShownFlow]:
    """Yield the flows with details, a run of each flow in turn while there is room; and the tags of the newest."""
    found: dict[str, Markup] = {}
    tags: dict[str, tuple[str, ...]] = {}
    room = DETAILS_BYTES
    with ThreadPoolExecutor(READERS) as readers:
        for batch in itertools.zip_longest(*(_most_telling_first(flow) for flow in flows)):
            runs = [run for run in batch if run is not None and run.where]
            for run, record in zip(runs, readers.map(history.record, runs), strict=True):
                if record is None:
                    continue
                tags.setdefault(run.flow_id, _tags(record))
                shown = _details(record)
                if len(shown) > DETAILS_AT_MOST:
                    continue
                room -= len(shown)
                if room >= 0:
                    found[run.run_id] = shown
            if room < 0:
                break
    for flow in flows:
        runs_of_it = tuple(replace(shown, details=found.get(shown.run.run_id)) for shown in flow.runs)
        yield replace(flow, runs=runs_of_it, tags=tags.get(flow.history.flow_id, ()))


def _most_telling_first(flow: ShownFlow) -> list[PastRun]:
    """Return the run that says the state, then the newest, then failed ones and newer ones in turn."""
    last = flow.history.last
    others = [shown.run for shown in flow.runs if shown.run.run_id != last.run_id]
    bad = [run for run in others[1:] if run.outcome != "passed"]
    good = [run for run in others[1:] if run.outcome == "passed"]
    mixed = [run for pair in itertools.zip_longest(bad, good) for run in pair if run is not None]
    return [last, *others[:1], *mixed]


def _tags(record: Record) -> tuple[str, ...]:
    told = record.get("tags")
    return tuple(str(tag) for tag in told) if isinstance(told, list) else ()


def _details(record: Mapping[str, object]) -> Markup:
    try:
        return Markup(details(dict(record)))  # noqa: S704 - it escapes what it is made of
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return Markup("<p>Its record has another form than expected, and cannot be shown.</p>")
