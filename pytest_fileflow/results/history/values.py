"""The frozen values of a history: a past run, a day of a flow, and a flow as it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

INTERRUPTED = "tester.interrupted"

State = Literal["failing", "error", "passed"]


@dataclass(frozen=True)
class PastRun:
    """A recorded run, as far as a history needs it; times are UTC, sizes bytes.

    ``latency_seconds`` is None where nothing arrived, ``slo_seconds`` and ``size`` where no file was
    sent. ``where`` is the path or URI of its record, empty for a run of a killed session that has none.
    """

    run_id: str
    flow_id: str
    case: str
    kind: str
    direction: str
    attempt: int
    outcome: str
    cause: str | None
    reason: str | None
    hint: str | None
    began: datetime
    latency_seconds: float | None
    slo_seconds: float | None
    size: int | None
    phases_seconds: Mapping[str, float] = field(default_factory=dict)
    sandbox: bool = False
    where: str = ""

    @property
    def word(self) -> str:
        """Return how it ended in one word: its outcome, or ``interrupted``."""
        return "interrupted" if self.cause == INTERRUPTED else self.outcome


@dataclass(frozen=True)
class Day:
    """A UTC day of a flow: how many of its runs (of any kind) ended how.

    ``p50`` and ``p95`` are latencies in seconds of the transfers that arrived, None without any.
    ``cause`` is that of the day's last failed run.
    """

    date: date
    passed: int = 0
    failed: int = 0
    errors: int = 0
    p50: float | None = None
    p95: float | None = None
    cause: str | None = None

    @property
    def outcome(self) -> str | None:
        """Return ``failed`` if any did, else ``passed``, else ``error``; None without a run."""
        if self.failed:
            return "failed"
        if self.passed:
            return "passed"
        return "error" if self.errors else None


@dataclass(frozen=True)
class Success:
    """How many transfers passed, of those that passed or failed; the tester's own errors count for neither."""

    passed: int
    counted: int

    @property
    def rate(self) -> float | None:
        """Return the share from 0 to 1, None where nothing counted."""
        return self.passed / self.counted if self.counted else None


@dataclass(frozen=True)
class Streak:
    """How often in a row the flow has been as it is, and since when."""

    runs: int
    since: datetime


@dataclass(frozen=True)
class FlowHistory:
    """A flow as it stands.

    Each of its cases (sizes, contract, canary, negative) stands as its last run left it: ``failing``
    if the last one that passed or failed has failed; else ``error`` if the tester could not tell
    since; else ``passed``. A case that has not run for 8 days while others of the flow did is taken
    for removed. ``state`` is the worst of its cases, ``last`` the newest run that says so, and
    ``latest`` when its newest run of any case began.

    ``streak`` of a failing flow is how often in a row its longest failing case has failed; of a
    passed one, how many of its runs have passed since one failed. ``success_7`` and ``success_30``
    are over transfers of the last 7 and 30 days, ``p50`` and ``p95`` the latency in seconds of those
    that arrived. ``days`` are the last 30, oldest first. ``last_cause`` is that of ``last`` where
    the flow is not passed, else of its last failed run, at ``last_failed``. ``runs`` is how many there
    are of any kind and outcome in the time that is looked at.
    """

    flow_id: str
    owner: str
    description: str
    direction: str
    slo_seconds: float | None
    state: State
    last: PastRun
    latest: datetime
    success_7: Success
    success_30: Success
    p50: float | None
    p95: float | None
    days: tuple[Day, ...]
    streak: Streak
    last_cause: str | None
    last_failed: datetime | None
    runs: int
