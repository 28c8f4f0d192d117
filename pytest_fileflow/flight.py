"""A run on its way: what the engine knows of it, and what it has to wait for."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from pytest_fileflow.errors import Interrupted
from pytest_fileflow.model import SftpLocation
from pytest_fileflow.turns import Widths
from pytest_fileflow.work import Lane

if TYPE_CHECKING:
    from collections.abc import Hashable

    from pytest_fileflow.arrival import Arrival, Decision
    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.errors import FileflowError
    from pytest_fileflow.model import Case, Flow, Location, Run
    from pytest_fileflow.streams import Tools


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds of one process: pieces of work at a time, runs between seed and verdict, and those at each server."""

    concurrency: int = 32
    max_in_flight: int = 256
    widths: Widths = dataclasses.field(default_factory=Widths)


class Logbook(Protocol):
    """Where runs are written down; called in the threads that do the work."""

    def enter(self, key: Hashable, case: Case, run: Run) -> None:
        """Note a run before its first byte is sent."""

    def record(self, case: Case, run: Run) -> Run:
        """Keep a run's final value, once; return it as it is to be reported."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a run is to be carried out; ``usual_seconds`` is the latency of earlier ones, where it is known."""

    clean_up: bool = True
    usual_seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Lanes:
    """The SFTP logins that a flow uses: work beyond their channels would only wait for one in a thread.

    One channel is left to the watcher, as it is in the sessions themselves.
    """

    source: tuple[Lane, ...]
    target: tuple[Lane, ...]

    @classmethod
    def of(cls, flow: Flow) -> Lanes:
        """Return the lanes of a flow's two ends."""
        return cls(lanes_of(flow.source), lanes_of(flow.target))

    @property
    def both(self) -> tuple[Lane, ...]:
        """Return the lanes of work that needs both ends; one that is the same at both is one."""
        return tuple({lane.key: lane for lane in (*self.source, *self.target)}.values())


def lanes_of(*ends: Location) -> tuple[Lane, ...]:
    """Return the lanes of work at these ends; a login that is the same at two of them is one lane."""
    lanes = [
        Lane((end.host, end.port, end.username, end.secret_arn), max(1, end.max_sessions - 1))
        for end in ends
        if isinstance(end, SftpLocation)
    ]
    return tuple({lane.key: lane for lane in lanes}.values())


@dataclasses.dataclass
class Gate:
    """A target: whether it has answered to a run yet, or refused one, whether one is asking, and who waits for it."""

    is_open: bool = False
    is_tried: bool = False
    has_failed: bool = False
    waiting: deque[Flight] = dataclasses.field(default_factory=deque)


class Flight:
    """One launched run on its way; the engine's own, never handed out."""

    def __init__(self, key: Hashable, case: Case, tools: Tools, plan: Plan, *, attempt: int, order: int):
        self.key = key
        self.order = order
        self.case = case
        self.cancelled = threading.Event()
        self.tools = dataclasses.replace(tools, cancelled=self.cancelled.is_set)
        self.attempt = attempt
        self.clean_up = plan.clean_up
        self.usual = plan.usual_seconds
        self.lanes = Lanes.of(case.flow)
        self.landed: Future[Run] = Future()
        self.is_begun = False  # handed to somebody who will end it
        self.run: Run | None = None
        self.arrival: Arrival | None = None
        self.target: Endpoint | None = None  # where the arrival is watched
        self.triggered = 0.0  # monotonic
        # A synchronous invocation and the arrival end a run together; whichever comes second does it.
        self.lock = threading.Lock()
        self.finishing = False
        self.calling = False
        self.decision: Decision | FileflowError | None = None

    def may_finish(self) -> bool:
        """Return, once, that whoever asks is the one who ends this run."""
        with self.lock:
            is_first, self.finishing = not self.finishing, True
        return is_first

    def stop_if_cancelled(self, before: str) -> None:
        """Raise Interrupted for a run that shall end early; ``before`` says what was not done any more."""
        if self.cancelled.is_set():
            raise Interrupted(f"the session ended before {before}")
