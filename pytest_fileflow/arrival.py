"""Decides from successive looks at the target whether a file has arrived: pure, no clock, no network."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_fileflow.model import Latency, SftpLocation, Stat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.model import Flow

FASTEST_SECONDS = 0.05
# A flow whose usual latency is known: seldom before half of it, closely around it.
EARLY_SHARE = 0.1
EARLY_SECONDS = 1.0
USUAL_FROM, USUAL_TO = 0.5, 1.5
USUAL_SHARE = 0.02
# A file that is longer than expected does not shrink again; it is judged once it stopped growing.
OVERSIZE_SETTLE_SECONDS = 2.0
# A file whose size nobody knows beforehand is whole when it no longer grows: on a server it may just pause, and at
# S3, where an object is whole as soon as it is seen, one more look shows that it stays.
UNKNOWN_SETTLE_SECONDS = 2.0
UNKNOWN_SETTLE_SECONDS_S3 = FASTEST_SECONDS

_LOOKED = ("asked", "changed", "full_at", "full_after", "seen_full", "changes")


@dataclass(frozen=True)
class Pace:
    """How often to look: after a share of the time waited so far, within bounds in seconds.

    So the error of the latency stays small against the latency, and the requests grow with the logarithm
    of the wait. A file that was just seen to change is looked at again as soon as it may be at rest, after
    ``changes`` of them: one that grows for hours is not followed closely all the time.
    """

    share_of_age: float
    fastest: float
    slowest: float
    changes: float = math.inf


CLOSELY = Pace(share_of_age=0.04, fastest=FASTEST_SECONDS, slowest=5.0)


@dataclass(frozen=True)
class Expectation:
    """What is awaited: sizes in bytes, times in seconds after the trigger.

    ``size`` is None where it cannot be known: then a file is whole that is not empty and no longer changes.
    """

    size: int | None
    tolerance: int
    settle: float
    slo: float
    give_up: float

    @classmethod
    def of(cls, flow: Flow, size: int | None) -> Expectation:
        """Return what a flow's config asks of a file of this size."""
        rules, least = flow.validation, 0.0
        if size is None:
            is_shown_early = isinstance(flow.target, SftpLocation)
            least = UNKNOWN_SETTLE_SECONDS if is_shown_early else UNKNOWN_SETTLE_SECONDS_S3
        return cls(
            size,
            rules.size_tolerance_bytes,
            max(rules.post_arrival_wait_seconds, least),
            rules.expect_within_seconds,
            flow.give_up_seconds,
        )

    def is_whole(self, stat: Stat) -> bool:
        """Tell whether a file of this size may be whole."""
        return stat.size > 0 if self.size is None else abs(stat.size - self.size) <= self.tolerance

    def is_too_long(self, stat: Stat) -> bool:
        """Tell whether a file is longer than it may be, as far as that is known."""
        return self.size is not None and stat.size > self.size + self.tolerance


@dataclass(frozen=True)
class Arrived:
    """The file stood at its full size, and stayed so for as long as it had to."""

    stat: Stat
    latency: Latency
    at: float


@dataclass(frozen=True)
class Oversize:
    """The file is longer than it should be, and no longer grows."""

    stat: Stat
    at: float


@dataclass(frozen=True)
class GaveUp:
    """SLO and grace are over.

    ``stat`` is what lay there last, ``growing`` that it changed after it was first seen, and
    ``seen_full`` that it once had its full size.
    """

    stat: Stat | None
    at: float
    growing: bool
    seen_full: bool


Decision = Arrived | Oversize | GaveUp


class Arrival:
    """The looks at one awaited file so far. Times are monotonic seconds.

    The arrival is stamped when the file first shows its full size, not when that was confirmed;
    its resolution is the time since the look before, which did not show it yet. ``usual`` is the
    latency of earlier runs in seconds, where there were any: it and ``pace`` decide when to look, and nothing else.
    """

    def __init__(self, expected: Expectation, triggered: float, usual: float | None = None, pace: Pace = CLOSELY):
        self.expected = expected
        self._pace = pace
        self._usual = usual
        self.triggered = triggered
        self._asked = triggered  # when the last look was asked: what it did not show was not there then
        self._stat: Stat | None = None
        self._changed = triggered
        self._full_at: float | None = None
        self._full_after = triggered
        self._seen_full = False
        self._changes = 0

    @property
    def asked(self) -> float:
        """Return when the last look was asked; before the first, when the transfer was triggered."""
        return self._asked

    def look(self, asked: float, answered: float, stat: Stat | None) -> Decision | None:
        """Take in one answer; return the decision, or None while there is nothing to decide."""
        self._note(asked, answered, stat)
        if stat is None:
            return self._give_up(answered)
        stable = answered - self._changed
        if self._full_at is not None:
            if stable >= self.expected.settle:
                return self._arrived(stat)
            # Whole, and only its stability is still watched: that is not cut short by the deadline,
            # but a file that never comes to rest is given up. How late a look is says nothing about the file, as
            # where a step of a state machine had to be tried again: it may have been whole before the deadline.
            if self._full_after < self._end and self._changed == self._full_at:
                return None
            return self._give_up(answered - self.expected.settle - OVERSIZE_SETTLE_SECONDS)
        if self.expected.is_too_long(stat) and stable >= max(self.expected.settle, OVERSIZE_SETTLE_SECONDS):
            return Oversize(stat, answered)
        return self._give_up(answered)

    def start_over(self) -> None:
        """Forget what was seen: it was not the whole file after all."""
        self._stat = self._full_at = None
        self._changed = self._asked

    def to_dict(self) -> dict[str, Any]:
        """Return the looks so far as plain JSON, for whoever goes on with them: ``load`` reads it."""
        told = {name: getattr(self, f"_{name}") for name in _LOOKED}
        return {"triggered": self.triggered, **told, "stat": None if self._stat is None else asdict(self._stat)}

    def load(self, told: Mapping[str, Any]) -> None:
        """Take over the looks of an earlier one, whose clock is the same."""
        for name in _LOOKED:
            setattr(self, f"_{name}", told[name])
        self.triggered = told["triggered"]
        self._stat = None if told["stat"] is None else Stat(**told["stat"])

    def next_look(self, now: float, jitter: float = 1.0) -> float:
        """Return when to look again, in monotonic seconds.

        The wait is multiplied by ``jitter``, except that the SLO and the end are looked at exactly.
        """
        wait = jitter * self._interval(now - self.triggered)
        settled = self._settled_at()
        if settled > now and self._changes <= self._pace.changes:
            wait = min(wait, max(settled - now, self._pace.fastest))
        due = now + wait
        for deadline in (self.expected.slo, self.expected.give_up):
            moment = self.triggered + deadline
            if now < moment < due:
                return moment
        return due

    def _interval(self, age: float) -> float:
        pace = self._pace
        wait = min(max(age * pace.share_of_age, pace.fastest), pace.slowest)
        if self._usual is None:
            return wait
        if age < self._usual * USUAL_FROM:
            return min(max(wait, min(self._usual * EARLY_SHARE, EARLY_SECONDS)), pace.slowest)
        if age < self._usual * USUAL_TO:
            return min(wait, max(self._usual * USUAL_SHARE, pace.fastest))
        return wait

    def _settled_at(self) -> float:
        if self._stat is None:
            return self.triggered
        least = 0.0 if self._full_at is not None else OVERSIZE_SETTLE_SECONDS
        return self._changed + max(self.expected.settle, least)

    def _note(self, asked: float, answered: float, stat: Stat | None) -> None:
        before = self._stat
        if (before and (before.size, before.version)) != (stat and (stat.size, stat.version)):
            self._changed = answered
            self._changes += stat is not None
        whole = stat is not None and self.expected.is_whole(stat)
        if not whole or self._grew(stat):
            self._full_at = None
        if whole and self._full_at is None:
            self._full_at, self._full_after = answered, self._asked
            self._seen_full = True
        self._stat, self._asked = stat, asked

    def _grew(self, stat: Stat | None) -> bool:
        """Tell whether a file of unknown size has another one than at the last look: it was not whole then."""
        before = self._stat
        return self.expected.size is None and before is not None and stat is not None and before.size != stat.size

    def _arrived(self, stat: Stat) -> Arrived:
        at = self._full_at if self._full_at is not None else self._changed
        return Arrived(stat, Latency(at - self.triggered, at - self._full_after), at)

    @property
    def _end(self) -> float:
        return self.triggered + self.expected.give_up

    def _give_up(self, now: float) -> GaveUp | None:
        if now < self._end:
            return None
        return GaveUp(self._stat, now, self._stat is not None and self._changes > 1, self._seen_full)
