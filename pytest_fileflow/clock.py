"""Time as the product sees it: UTC for stamps, monotonic for deadlines; injected, so tests need no waiting."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def _utc() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Clock:
    """UTC now, a monotonic reading in seconds, a sleep, and the processor seconds of the calling thread."""

    utc: Callable[[], datetime] = _utc
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    worked: Callable[[], float] = time.thread_time

    def stamp(self) -> str:
        """Return now as ``2026-11-24T06:00:00.000Z``."""
        return format_stamp(self.utc())

    def stamp_at(self, moment: float) -> str:
        """Return the UTC stamp of an earlier monotonic reading."""
        return format_stamp(self.utc() - timedelta(seconds=self.monotonic() - moment))


def format_stamp(moment: datetime) -> str:
    """Return an aware UTC time as ISO 8601 with milliseconds and a ``Z``."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
