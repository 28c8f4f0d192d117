"""Waits for many files at once: one look a location and tick, whatever the number of runs that wait there."""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_fileflow.errors import AccessDenied, FileflowError, NetworkError, TesterBug
from pytest_fileflow.model import S3Location
from pytest_fileflow.streams import LISTING_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_fileflow.arrival import Arrival, Decision
    from pytest_fileflow.clock import Clock
    from pytest_fileflow.due import DueName
    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.model import Stat

logger = logging.getLogger(__name__)

# Names awaited at one location up to which each is asked for by itself; above, one listing. A LIST of a
# few keys takes no longer than a HEAD; a server's directory may hold thousands of others.
STAT_AT_MOST = 3
STAT_AT_MOST_S3 = 1
JITTER = 0.1  # share of a wait; keeps many watchers from looking in step
# One dropped connection in a wait of minutes says nothing about the flow; a network error that
# stays does. So a network error ends the wait once it has been the answer this often in a row.
NETWORK_ERRORS_IN_A_ROW = 3
RETRY_SECONDS = 0.5
# Looking takes at most this share of a processor, however many places there are: then every place is
# looked at less often, which the resolution of the latencies says.
PROCESSOR_SHARE = 0.3
LAUNCHING_SHARE = 0.1  # while runs are waiting to begin
REMEMBERED = 0.1  # weight of the newest look in the mean cost of one


@dataclass
class Awaited:
    """One file that a run waits for; ``tell`` is called once, with the decision or the error that ended the wait."""

    due: DueName
    arrival: Arrival
    tell: Callable[[Decision | FileflowError], None]

    @property
    def name(self) -> str:
        """Return what nobody else awaits at the same place."""
        return self.due.text


@dataclass
class _Place:
    endpoint: Endpoint
    awaited: dict[str, Awaited] = field(default_factory=dict)
    errors: int = 0
    looking: bool = False
    listable: bool = True
    due: float = float("inf")


class Pace:
    """Says when the next look may start, from what looks have cost so far; its caller holds a lock."""

    def __init__(self, is_launching: Callable[[], bool]) -> None:
        self._is_launching = is_launching
        self._cost = 0.0  # processor seconds
        self._next = 0.0  # monotonic

    def allows(self, now: float) -> bool:
        """Return whether a look may start at a monotonic moment."""
        return now >= self._next

    def until(self, now: float) -> float:
        """Return the seconds until one may."""
        return max(0.0, self._next - now)

    def started(self, now: float) -> None:
        """Note that a look has started."""
        share = LAUNCHING_SHARE if self._is_launching() else PROCESSOR_SHARE
        self._next = max(now, self._next) + self._cost / share

    def finished(self, cost: float) -> None:
        """Note what a look has cost, in processor seconds."""
        self._cost += REMEMBERED * (cost - self._cost)


class Watcher:
    """A thread that keeps the schedule, and a pool that asks.

    ``add`` and ``remove`` may be called from any thread. A place that does not answer delays only
    the runs that wait there. ``is_launching`` says whether looks should leave the processor to others.
    """

    def __init__(self, clock: Clock, lookers: int = 32, is_launching: Callable[[], bool] = lambda: False):
        self._clock = clock
        self._changed = threading.Condition()
        self._places: dict[int, _Place] = {}  # by the id of their endpoint, which need not be hashable
        self._pace = Pace(is_launching)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._pool = ThreadPoolExecutor(lookers, thread_name_prefix="fileflow-look")
        self._closed = False
        self._thread = threading.Thread(target=self._keep_schedule, name="fileflow-watch", daemon=True)
        self._thread.start()

    def add(self, endpoint: Endpoint, awaited: Awaited) -> None:
        """Start to wait for a file at an endpoint's location."""
        with self._changed:
            # By the endpoint itself: another conftest.py may reach the same location in another way.
            place = self._places.setdefault(id(endpoint), _Place(endpoint))
            place.awaited[awaited.name] = awaited
            place.due = min(place.due, awaited.arrival.next_look(self._clock.monotonic()))
            self._changed.notify()

    def remove(self, endpoint: Endpoint, name: str) -> bool:
        """Stop waiting for a file; return whether it was still awaited (then ``tell`` is never called)."""
        with self._changed:
            place = self._places.get(id(endpoint))
            return place is not None and place.awaited.pop(name, None) is not None

    def call_at(self, moment: float, action: Callable[[], None]) -> None:
        """Call a quick function at a monotonic moment, or never if the watcher is closed before."""
        with self._changed:
            heapq.heappush(self._timers, (moment, next(self._order), action))
            self._changed.notify()

    def close(self) -> None:
        """Stop looking; what is still awaited is never told."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _keep_schedule(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                now = self._clock.monotonic()
                actions = self._due_actions(now)
                for place in self._due_places(now):
                    if not self._pace.allows(now):
                        break
                    self._pace.started(now)
                    place.looking = True
                    self._pool.submit(self._visit, place)
                if not actions:
                    self._changed.wait(self._until_next(now))
            for action in actions:
                action()

    def _due_actions(self, now: float) -> list[Callable[[], None]]:
        actions = []
        while self._timers and self._timers[0][0] <= now:
            actions.append(heapq.heappop(self._timers)[2])
        return actions

    def _due_places(self, now: float) -> list[_Place]:
        for key, place in list(self._places.items()):
            if not place.awaited and not place.looking:
                del self._places[key]
        due = [place for place in self._places.values() if not place.looking and place.due <= now]
        return sorted(due, key=lambda place: place.due)

    def _until_next(self, now: float) -> float | None:
        moments = [max(place.due - now, self._pace.until(now)) for place in self._places.values() if not place.looking]
        moments += [self._timers[0][0] - now] if self._timers else []
        return max(0.0, min(moments)) if moments else None

    def _visit(self, place: _Place) -> None:
        with self._changed:
            awaited = list(place.awaited.values())
        began = self._clock.worked()
        ended = self._look(place, awaited)
        cost = self._clock.worked() - began
        with self._changed:
            self._pace.finished(cost)
            ended = [(one, outcome) for one, outcome in ended if place.awaited.get(one.name) is one]
            for one, _ in ended:
                del place.awaited[one.name]
            place.looking = False
            place.due = self._next_due(place)
            self._changed.notify()
        for one, outcome in ended:
            one.tell(outcome)

    def _look(self, place: _Place, awaited: list[Awaited]) -> list[tuple[Awaited, Decision | FileflowError]]:
        asked = self._clock.monotonic()
        try:
            found = _ask(place, [one.due for one in awaited])
            answered = self._clock.monotonic()
            decided = [(one, one.arrival.look(asked, answered, found.get(one.name))) for one in awaited]
        except NetworkError as error:
            place.errors += 1
            logger.info("look failed %d times: %s", place.errors, error.reason)
            return [(one, error) for one in awaited] if place.errors >= NETWORK_ERRORS_IN_A_ROW else []
        except FileflowError as error:
            return [(one, error) for one in awaited]
        except BaseException as error:  # noqa: BLE001 - a bug here must end these runs, not hang them
            who, what = type(place.endpoint).__name__, type(error).__name__
            logger.error("looking by a %s: unexpected %s", who, what)  # noqa: TRY400 - no foreign text
            bug = TesterBug(f"looking at the target failed unexpectedly: {type(error).__name__}")
            return [(one, bug) for one in awaited]
        place.errors = 0
        return [(one, decision) for one, decision in decided if decision is not None]

    def _next_due(self, place: _Place) -> float:
        now = self._clock.monotonic()
        if place.errors:
            return now + RETRY_SECONDS * place.errors
        jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads requests, guards nothing
        return min((one.arrival.next_look(now, jitter) for one in place.awaited.values()), default=float("inf"))


def _ask(place: _Place, awaited: list[DueName]) -> dict[str, Stat]:
    """Return what there is of the files awaited, by the text of their names."""
    endpoint = place.endpoint
    exact = [name for due in awaited if (name := due.exact) is not None]
    patterns = [due for due in awaited if due.exact is None]
    by_name = STAT_AT_MOST_S3 if isinstance(getattr(endpoint, "location", None), S3Location) else STAT_AT_MOST
    if patterns or (len(exact) > by_name and place.listable):
        beginnings = [*(due.beginning for due in patterns), *exact]
        try:
            listed = endpoint.list(_common_prefix(beginnings), LISTING_LIMIT)
        except AccessDenied:
            if patterns:  # what has no known name can only be found by listing
                raise
            place.listable = False  # a drop box: what may not be listed may still be asked for by name
            return _ask_each(endpoint, exact)
        found = {stat.name: stat for stat in listed}
        if len(listed) < LISTING_LIMIT:
            return {**found, **_fitting(patterns, listed)}
        # More foreign files than one listing shows: what it did not show is asked for by name.
        missing = [name for name in exact if name not in found]
        return {**found, **_ask_each(endpoint, missing), **_fitting(patterns, _listed_each(endpoint, patterns))}
    return _ask_each(endpoint, exact)


def _fitting(patterns: list[DueName], listed: list[Stat]) -> dict[str, Stat]:
    """Return the first file that fits each pattern; that there is another is seen when the first is judged."""
    found = {}
    for due in patterns:
        fitting = [stat for stat in listed if due.fits(stat.name)]
        if fitting:
            found[due.text] = min(fitting, key=lambda stat: stat.name)
    return found


def _listed_each(endpoint: Endpoint, patterns: list[DueName]) -> list[Stat]:
    return [stat for due in patterns for stat in endpoint.list(due.beginning, LISTING_LIMIT)]


def _common_prefix(names: list[str]) -> str:
    first, last = min(names), max(names)
    return first[: next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def _ask_each(endpoint: Endpoint, names: list[str]) -> dict[str, Stat]:
    answers = {name: endpoint.stat(name) for name in names}
    return {name: stat for name, stat in answers.items() if stat is not None}
