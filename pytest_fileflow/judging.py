"""Turns what ended a run, an arrival or an error of whatever kind, into its verdict."""

from __future__ import annotations

import dataclasses
import logging
import traceback
from typing import TYPE_CHECKING

from pytest_fileflow import diagnosis, steps
from pytest_fileflow.arrival import Arrived, GaveUp, Oversize
from pytest_fileflow.errors import FileflowError, InvokeTimeout, TesterBug
from pytest_fileflow.streams import Changed, delivered

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pytest_fileflow.arrival import Decision
    from pytest_fileflow.flight import Flight
    from pytest_fileflow.model import Flow, Run
    from pytest_fileflow.streams import Tools

logger = logging.getLogger(__name__)


def with_bug(run: Run, doing: str, error: BaseException) -> Run:
    """Note a fault of the tester's own; it becomes the verdict only of a run that passed, or has none."""
    bug = as_ours(error)
    run = run.with_evidence(tester_bug=f"while {doing}: {bug.reason}")
    if run.verdict is None or run.verdict.outcome == "passed":
        return dataclasses.replace(run, verdict=steps.verdict_of(bug))
    return run


def judged(flow: Flow, run: Run, outcome: Decision | FileflowError, tools: Tools) -> Run:
    """Return a run with the verdict on what ended its wait; raises Changed where the file is another one by now."""
    if isinstance(outcome, Arrived):
        return steps.verify(flow, run.with_stamp("arrived", tools.clock.stamp_at(outcome.at)), outcome, tools)
    ended = tools.clock.stamp() if isinstance(outcome, FileflowError) else tools.clock.stamp_at(outcome.at)
    run = run.with_stamp("failed", ended)  # whatever was under way
    if isinstance(outcome, Oversize):
        verdict = diagnosis.of_oversize(flow, run, outcome, tools)
    elif isinstance(outcome, GaveUp):
        verdict = diagnosis.of_gave_up(flow, run, outcome, tools)
    else:
        verdict = steps.verdict_of(outcome)
    return dataclasses.replace(run, verdict=verdict)


def judged_at_last(flow: Flow, run: Run, outcome: Decision | FileflowError, tools: Tools) -> Run:
    """Judge a file that changed while it was verified, now that its time is over: whole, gone, or never at rest."""
    try:
        stat = delivered(flow, run, tools)
        if stat is not None and isinstance(outcome, Arrived):
            try:
                return judged(flow, run, dataclasses.replace(outcome, stat=stat), tools)
            except Changed:
                logger.info("%s changed once more", run.file.name)
        end = GaveUp(stat, tools.clock.monotonic(), growing=True, seen_full=True)
        run = run.with_stamp("failed", tools.clock.stamp_at(end.at))
        verdict = diagnosis.of_gave_up(flow, run, end, tools)
    except BaseException as error:  # noqa: BLE001 - as above
        verdict = steps.verdict_of(as_ours(error))
    return dataclasses.replace(run, verdict=verdict)


def call_timeout(flow: Flow, meanwhile: str) -> InvokeTimeout:
    """Return the error of a synchronous invocation that did not return in time."""
    return InvokeTimeout(
        f"{flow.transfer.lambda_arn} had not returned {flow.give_up_seconds:g} s after it was invoked; {meanwhile}"
    )


def answer_after_crash(flight: Flight, done: Future[None]) -> None:
    """Give whoever waits for a run an answer even if the engine itself failed."""
    error = done.exception()
    if error is not None and not flight.landed.done():
        run = flight.run or steps.unprepared(flight.case, flight.attempt)
        flight.landed.set_result(dataclasses.replace(run, verdict=steps.verdict_of(as_ours(error))))


def as_ours(error: BaseException) -> FileflowError:
    """Return an error with a cause: itself, or a fault of the tester's own."""
    if isinstance(error, FileflowError):
        return error
    # The text of a foreign exception may hold anything, secrets too: only its type is shown.
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("unexpected %s in a run, most recent call last:\n%s", type(error).__name__, frames)
    place = _where(error)
    return TesterBug(f"unexpected {type(error).__name__} at {place}", evidence={"exception": type(error).__name__})


def _where(error: BaseException) -> str:
    frame = error.__traceback__
    if frame is None:
        return "an unknown place"
    while frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_globals.get('__name__', '?')}:{frame.tb_lineno}"
