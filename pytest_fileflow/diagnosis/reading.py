"""Reads a file in a thread of its own, so that a read that hangs or goes on for long holds up no verdict."""

from __future__ import annotations

import queue
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from pytest_fileflow.diagnosis.budget import AWAKE_SECONDS
from pytest_fileflow.errors import Interrupted
from pytest_fileflow.forensics.evidence import OutOfTimeError
from pytest_fileflow.streams import Changed, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_fileflow.diagnosis.budget import Asked, Budget
    from pytest_fileflow.model import Location, Stat
    from pytest_fileflow.streams import Tools

AHEAD = 2  # chunks that are read before they are asked for


@contextmanager
def reading(place: Location, stat: Stat, tools: Tools, budget: Budget) -> Iterator[Iterator[bytes]]:
    """Stream a file as ``streams.read`` does, and raise OutOfTimeError once the budget's time is over.

    The thread is left behind where its read hangs: it closes its stream and ends as soon as it goes on.
    """
    reader = _Reader(place, stat, tools)
    try:
        yield reader.chunks(budget.begin(f"what lies at {place.uri(stat.name)}", reader.run), budget)
    finally:
        reader.stop()


class _Reader:
    def __init__(self, place: Location, stat: Stat, tools: Tools):
        self._place = place
        self._stat = stat
        self._tools = tools
        self._stopped = threading.Event()
        self._read: queue.Queue[bytes | None] = queue.Queue(AHEAD)  # None: there is no more

    def run(self) -> bool:
        """Read to the end, in the thread that may hang; return whether the file was the same one up to there."""
        try:
            with closing(read(self._tools.endpoint(self._place), self._stat, self._tools)) as chunks:
                for chunk in chunks:
                    self._read.put(chunk)
                    if self._stopped.is_set():
                        break
        except Changed:
            return False
        finally:
            if not self._stopped.is_set():
                self._read.put(None)
        return True

    def stop(self) -> None:
        """Let the thread end: it puts at most one thing more, for which there is room then."""
        self._stopped.set()
        with suppress(queue.Empty):
            while True:
                self._read.get_nowait()

    def chunks(self, asked: Asked[bool], budget: Budget) -> Iterator[bytes]:
        """Pass on what the thread reads."""
        while True:
            try:
                chunk = self._read.get(timeout=min(AWAKE_SECONDS, budget.left()))
            except queue.Empty:
                if self._tools.cancelled():
                    raise Interrupted("the session ended while the file was being compared") from None
                if not budget.left():
                    raise OutOfTimeError from None
                if not asked.is_over or not self._read.empty():
                    continue
                chunk = None
            if chunk is not None:
                yield chunk
            elif asked.answer():
                return
            else:
                raise Changed
