"""Shares the listing of a folder among all runs that want one at the same time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_fileflow.model import Location, Stat

SHARED_SECONDS = 0.25
PATIENCE_SECONDS = 5.0


@dataclass
class _Place:
    lock: threading.Lock = field(default_factory=threading.Lock)
    asked: float = float("-inf")  # monotonic
    listed: list[Stat] = field(default_factory=list)


class Listings:
    """The newest listing of each folder: a server walks through all of a folder's names for each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._places: dict[Location, _Place] = {}

    def with_name(self, name: str, location: Location, ask: Callable[[], list[Stat]]) -> list[Stat]:
        """Return a listing that was asked for just now and shows a name, by ``ask`` where there is none yet.

        One at a time is under way for each folder; it is empty where that takes too long.
        """
        with self._lock:
            place = self._places.setdefault(location, _Place())
        fresh = self._clock() - SHARED_SECONDS
        if not place.lock.acquire(timeout=PATIENCE_SECONDS):
            return []
        try:
            if place.asked < fresh or all(stat.name != name for stat in place.listed):
                asked = self._clock()
                place.listed = ask()
                place.asked = asked
            return place.listed
        finally:
            place.lock.release()
