"""Hands pieces of work to threads: a bounded number at a time, and fewer where more would only queue."""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

LOAD_SECONDS = 0.05
FULL_SHARE = 0.8
FEW_THREADS = max(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class Lane:
    """A server that takes ``width`` pieces of work at a time from this process."""

    key: Hashable
    width: int


@dataclass(frozen=True, order=True)
class _Piece:
    rank: tuple[bool, int, int]
    work: Callable[[], None] = field(compare=False)
    lanes: tuple[Lane, ...] = field(compare=False)
    done: Future[None] = field(default_factory=Future, compare=False)


class Load:
    """Tells whether the process computes all the time: then more threads make each wait longer, and do no more.

    Python runs one thread at a time. Pieces of work that wait for servers leave room for others, and
    those that compute do not.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        worked: Callable[[], float] = time.process_time,
    ):
        self._clock = clock
        self._worked = worked
        self._then = clock(), worked()
        self._is_full = True  # what begins is imported, connected and logged in first

    def is_full(self) -> bool:
        """Return whether the processor time of the last LOAD_SECONDS came to what one thread can use."""
        (then, worked_then), now = self._then, self._clock()
        if now - then >= LOAD_SECONDS:
            worked = self._worked()
            self._is_full = worked - worked_then >= FULL_SHARE * (now - then)
            self._then = now, worked
        return self._is_full


class WorkPool:
    """Threads for work. What waits for its lanes occupies none, so a slow server holds up only its own runs."""

    def __init__(self, threads: int, name: str, load: Load | None = None):
        self._threads = threads
        self._load = load or Load()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._busy = 0
        self._in_lane: dict[Hashable, int] = {}
        # By what may run together: there are few combinations of servers, however many pieces wait.
        self._waiting: dict[tuple[bool, tuple[Lane, ...]], list[_Piece]] = {}  # heaps

    def submit(
        self, work: Callable[[], None], lanes: tuple[Lane, ...] = (), *, urgent: bool = False, order: int = 0
    ) -> Future[None]:
        """Run a function once a thread is free and each of its lanes has room; return its future.

        Urgent work goes first, then what is of lower order, then what was submitted before.
        """
        with self._lock:
            piece = _Piece((not urgent, order, next(self._numbers)), work, lanes)
            heapq.heappush(self._waiting.setdefault((urgent, lanes), []), piece)
            self._start()
        return piece.done

    def reconsider(self) -> None:
        """Start what may be started by now: what waits for servers all at once leaves room, and ends nothing."""
        with self._lock:
            if self._waiting:
                self._start()

    def has_urgent(self) -> bool:
        """Return whether urgent work waits for a thread or a lane."""
        with self._lock:
            return any(urgent for urgent, _ in self._waiting)

    def close(self) -> None:
        """Wait for all work to end; nothing may be submitted afterwards."""
        self._executor.shutdown(wait=True)

    def _start(self) -> None:
        """Start what can be started; you hold the lock."""
        while self._busy < (min(self._threads, FEW_THREADS) if self._load.is_full() else self._threads):
            ready = [queue for (_, lanes), queue in self._waiting.items() if all(map(self._has_room, lanes))]
            if not ready:
                return
            queue = min(ready, key=lambda queue: queue[0])
            piece = heapq.heappop(queue)
            if not queue:
                del self._waiting[not piece.rank[0], piece.lanes]
            self._busy += 1
            for lane in piece.lanes:
                self._in_lane[lane.key] = self._in_lane.get(lane.key, 0) + 1
            self._executor.submit(self._run, piece)

    def _has_room(self, lane: Lane) -> bool:
        return self._in_lane.get(lane.key, 0) < lane.width

    def _run(self, piece: _Piece) -> None:
        try:
            piece.work()
        except BaseException as error:  # noqa: BLE001 - whoever holds the future is told
            failure: BaseException | None = error
        else:
            failure = None
        with self._lock:
            self._busy -= 1
            for lane in piece.lanes:
                self._in_lane[lane.key] -= 1
            self._start()
        if failure is None:
            piece.done.set_result(None)
        else:
            piece.done.set_exception(failure)
