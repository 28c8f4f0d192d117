"""Waits for a run's file from one step to the next: when to look again, what a look has shown, what it came to."""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_fileflow import steps
from pytest_fileflow.arrival import Arrival, Arrived, Expectation, GaveUp, Oversize, Pace
from pytest_fileflow.due import Due
from pytest_fileflow.errors import Interrupted, NetworkError
from pytest_fileflow.judging import call_timeout
from pytest_fileflow.streams import delivered

if TYPE_CHECKING:
    from pytest_fileflow.arrival import Decision
    from pytest_fileflow.aws.state import Next, State
    from pytest_fileflow.model import Run
    from pytest_fileflow.streams import Tools

logger = logging.getLogger(__name__)

BY_STEPS: Final = Pace(share_of_age=0.2, fastest=1.0, slowest=300.0, changes=20)
"""Each look takes three transitions of the state machine, which are paid for and counted, and an execution has room
for so many: so not as often as in a process that watches. AWS waits whole seconds."""

NETWORK_ERRORS_IN_A_ROW: Final = 3
RETRY_SECONDS: Final = 2
CALL_LOOK_SECONDS: Final = 0.5  # how often to look while a function is being called


def arrival_of(state: State, run: Run, moment: float = 0.0) -> Arrival:
    """Return the looks at a run's target so far; of one that was not looked at, those from its trigger on."""
    flow = state.case.flow
    arrival = Arrival(Expectation.of(flow, Due.of(flow, run).size), moment, pace=BY_STEPS)
    if state.looks is not None:
        arrival.load(state.looks)
    return arrival


def awaiting(state: State, run: Run, moment: float, tools: Tools) -> State:
    """Return the state of a run whose transfer was started at a moment."""
    state = dataclasses.replace(state, run=run)
    return waiting(state, arrival_of(state, run, moment), tools)


def waiting(state: State, arrival: Arrival, tools: Tools) -> State:
    """Return the state of a run that is waited for until the next look is due."""
    now = tools.clock.monotonic()
    wait = max(1, math.ceil(arrival.next_look(now) - now))
    if state.network_errors:
        wait = min(wait, RETRY_SECONDS * state.network_errors)
    return dataclasses.replace(state, next="wait", looks=arrival.to_dict(), decision=None, wait_seconds=wait)


def decided(state: State, arrival: Arrival, decision: Decision) -> State:
    """Return the state of a run whose wait is over."""
    step: Next = "verify" if isinstance(decision, Arrived) else "diagnose"
    return dataclasses.replace(state, next=step, looks=arrival.to_dict(), decision=decision)


def look(arrival: Arrival, state: State, run: Run, tools: Tools) -> tuple[Decision | None, State]:
    """Look at the target; a network error is raised only where it has been the answer some times in a row."""
    # By the clock of another machine it may be a moment earlier than by that of the last look.
    asked = max(tools.clock.monotonic(), arrival.asked)
    try:
        stat = delivered(state.case.flow, run, tools)
    except NetworkError as error:
        # One dropped connection in a wait of minutes says nothing about the flow.
        failed = state.network_errors + 1
        if failed >= NETWORK_ERRORS_IN_A_ROW:
            raise
        logger.info("look failed %d times: %s", failed, error.reason)
        return None, dataclasses.replace(state, network_errors=failed)
    decision = arrival.look(asked, max(tools.clock.monotonic(), asked), stat)
    return decision, dataclasses.replace(state, network_errors=0)


@dataclass
class _Called:
    """What a function that is called has come to."""

    run: Run | None = None
    error: BaseException | None = None


def call(state: State, run: Run, moment: float, tools: Tools) -> State:
    """Invoke a function synchronously, and look at the target meanwhile: both belong to the verdict."""
    flow, called = state.case.flow, _Called()

    def invoke() -> None:
        try:
            called.run = steps.trigger(flow, run, tools)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where somebody waits
            called.error = error

    thread = threading.Thread(target=invoke, name="fileflow-call", daemon=True)
    thread.start()
    arrival, decision = arrival_of(state, run, moment), None
    until = moment + flow.give_up_seconds
    while thread.is_alive() and tools.clock.monotonic() < until:
        if tools.cancelled():
            raise Interrupted("the session ended while the function was running")
        if decision is None:
            decision, state = look(arrival, state, run, tools)
        thread.join(CALL_LOOK_SECONDS)
    is_overdue = thread.is_alive()
    if called.error is not None:
        raise called.error
    if decision is None:  # what has just come is known as exactly as may be
        decision, state = look(arrival, state, run, tools)
    if is_overdue and not (isinstance(decision, GaveUp) and decision.stat is not None):
        has_come = isinstance(decision, (Arrived, Oversize))
        raise call_timeout(flow, "a file arrived" if has_come else "no file arrived")
    state = dataclasses.replace(state, run=called.run or run)
    return waiting(state, arrival, tools) if decision is None else decided(state, arrival, decision)
