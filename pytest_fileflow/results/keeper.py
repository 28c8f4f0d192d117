"""Puts each record where results are asked for; what a store behind a network does not take waits in the spool."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_fileflow.errors import RecordRefused, ResultsStoreFailed
from pytest_fileflow.results.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.places import Place
    from pytest_fileflow.results.record import Record
    from pytest_fileflow.results.spool import Spool
    from pytest_fileflow.results.store import Store

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class Kept:
    """Where a record lies, and why one of the places does not have it, though it was to."""

    where: str = ""
    problem: str = ""


class Keeper:
    """The places of one process, for all its threads.

    What a folder does not take is a problem. A store behind a network that fails is left alone for a
    while, longer each time, so that it holds up no run: meanwhile records go straight to the spool,
    and are a problem only where that does not take them either. Without a spool, as in the sandbox,
    what such a store does not take is only logged: a folder has it too.
    """

    def __init__(
        self,
        places: Sequence[Place],
        clients: Callable[[], AwsClients],
        spool: Spool | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = [_Watched(place, open_store(str(place), clients), clock) for place in places]
        self._spool = spool

    def keep(self, record: Record, manifest: bytes | None = None) -> Kept:
        """Write a record to all places."""
        kept = [self._keep(place, record, manifest) for place in self._places]
        # A record in the spool is shown only where it lies in no place of its own.
        ranked = sorted((told for told in kept if told.where), key=lambda told: told.is_waiting)
        problem = next((told.problem for told in kept if told.problem), "")
        return Kept(ranked[0].where if ranked else "", problem)

    def run_ids(self, flow_id: str, limit: int) -> list[str]:
        """Return the ids of a flow's earlier runs, the newest first, from the first place; none while that is down."""
        first = self._places[0]
        return [] if first.why else first.store.run_ids(flow_id, limit)

    def _keep(self, place: _Watched, record: Record, manifest: bytes | None) -> _Told:
        why, turn = place.why, place.turn()
        if turn is not None:
            try:
                where = place.store.write(record, manifest)
            except ResultsStoreFailed as error:
                why = error.reason
                place.note(turn, "" if isinstance(error, RecordRefused) else why)
            else:
                place.note(turn, "")
                return _Told(where)
        if not place.place.is_remote:
            return _Told(problem=why)
        return self._wait(place, record, manifest, why)

    def _wait(self, place: _Watched, record: Record, manifest: bytes | None, why: str) -> _Told:
        logger.info("run %s waits for %s: %s", record["run_id"], place.place, why)
        if self._spool is None:
            return _Told()
        try:
            return _Told(self._spool.put(str(place.place), record, manifest, why), is_waiting=True)
        except ResultsStoreFailed as error:
            return _Told(problem=f"{why}; and it cannot wait here: {error.reason}")


@dataclass(frozen=True)
class _Told:
    where: str = ""
    problem: str = ""
    is_waiting: bool = False


@dataclass
class _Watched:
    """A place, and whether it is worth a try: after a failure one thread tries again, once the pause is over."""

    place: Place
    store: Store
    clock: Callable[[], float]
    why: str = ""
    _failures: int = 0
    _until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def turn(self) -> int | None:
        """Return how often it has failed in a row, to be told to ``note``; None where it is to be left alone.

        A folder, which is near, is always tried.
        """
        with self._lock:
            if not self._failures or not self.place.is_remote:
                return self._failures
            now = self.clock()
            if now < self._until:
                return None
            self._until = now + LONGEST_PAUSE_SECONDS  # the others go on without it, until this try has ended
            return self._failures

    def note(self, turn: int, why: str) -> None:
        """Note how a try went: why it failed, or an empty text. Of those that fail together, the first counts."""
        with self._lock:
            if not why:
                self.why, self._failures = "", 0
            elif turn == self._failures:
                self.why, self._failures = why, turn + 1
                self._until = self.clock() + min(FIRST_PAUSE_SECONDS * 2**turn, LONGEST_PAUSE_SECONDS)
