"""Launches runs ahead and carries each through its life: work is bounded, waiting costs no thread."""

from __future__ import annotations

import dataclasses
import logging
import threading
import traceback
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from pytest_fileflow import diagnosis, steps
from pytest_fileflow.arrival import Arrival, Arrived, Expectation, GaveUp, Oversize
from pytest_fileflow.errors import FileflowError, Interrupted, InvokeTimeout, TesterBug
from pytest_fileflow.streams import Changed, never_cancelled
from pytest_fileflow.watcher import Awaited, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from pytest_fileflow.arrival import Decision
    from pytest_fileflow.clock import Clock
    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.model import Case, Run
    from pytest_fileflow.streams import Tools

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds of one process: pieces of work at a time, and runs between seed and verdict."""

    concurrency: int = 32
    max_in_flight: int = 256


class Flight:
    """One launched run on its way; the engine's own, never handed out."""

    def __init__(self, case: Case, tools: Tools, attempt: int, clean_up: bool):
        self.case = case
        self.cancelled = threading.Event()
        self.tools = dataclasses.replace(tools, cancelled=self.cancelled.is_set)
        self.attempt = attempt
        self.clean_up = clean_up
        self.landed: Future[Run] = Future()
        self.run: Run | None = None
        self.arrival: Arrival | None = None
        self.target: Endpoint | None = None  # where the arrival is watched
        self.triggered = 0.0  # monotonic
        # A synchronous invocation and the arrival end a run together; whichever comes second does it.
        self.lock = threading.Lock()
        self.finishing = False
        self.calling = False
        self.decision: Decision | FileflowError | None = None


class Engine:
    """Runs cases: ``launch`` starts them in order, ``result`` waits for one.

    ``record`` is called once for every run that was prepared, with its final value, in the thread
    that finished it, and returns the run as it is to be reported.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Clock,
        record: Callable[[Case, Run], Run],
        attempts: dict[Hashable, int] | None = None,
    ):
        self._limits = limits
        self._clock = clock
        self._record = record
        self._lock = threading.Lock()
        self._flights: dict[Hashable, Flight] = {}
        self._queue: deque[Flight] = deque()
        self._in_flight = 0
        self._attempts: dict[Hashable, int] = {} if attempts is None else attempts
        self._closing = False
        self._work = ThreadPoolExecutor(limits.concurrency, thread_name_prefix="fileflow-work")
        self._watcher = Watcher(clock, limits.concurrency)

    def launch(self, key: Hashable, case: Case, tools: Tools, *, clean_up: bool) -> None:
        """Start a run of a case, unless this key has one that nobody has collected yet."""
        with self._lock:
            if self._closing or key in self._flights:
                return
            attempt = self._attempts[key] = self._attempts.get(key, 0) + 1
            flight = self._flights[key] = Flight(case, tools, attempt, clean_up)
            self._queue.append(flight)
        self._start_more()

    def result(self, key: Hashable) -> Run:
        """Wait for a launched run and hand it out, once; after that the key may be launched again."""
        with self._lock:
            flight = self._flights[key]
        run = flight.landed.result()
        with self._lock:
            self._flights.pop(key, None)
        return run

    def close(self) -> list[Run]:
        """End the engine: what is under way is cancelled, cleaned up and recorded as interrupted.

        Returns the runs that nobody collected.
        """
        with self._lock:
            self._closing = True
            started = [flight for flight in self._flights.values() if flight not in self._queue]
            self._flights.clear()
            self._queue.clear()
        for flight in started:
            self._cancel(flight)
        runs = [flight.landed.result() for flight in started]
        self._watcher.close()
        self._work.shutdown(wait=True)
        return runs

    def _cancel(self, flight: Flight) -> None:
        flight.cancelled.set()
        with flight.lock:
            waiting = flight.arrival is not None
        if waiting:
            self._end_wait(flight, Interrupted("the session ended while the file was awaited"))

    def _start_more(self) -> None:
        with self._lock:
            while self._queue and self._in_flight < self._limits.max_in_flight:
                self._in_flight += 1
                self._submit(self._queue.popleft(), self._take_off)

    def _submit(self, flight: Flight, work: Callable[..., None], *arguments: object) -> None:
        done = self._work.submit(work, flight, *arguments)
        done.add_done_callback(lambda done: _answer_after_crash(flight, done))

    def _take_off(self, flight: Flight) -> None:
        flow, tools = flight.case.flow, flight.tools
        try:
            run = flight.run = steps.prepare(flight.case, tools, flight.attempt)
            self._stop_if_cancelled(flight)
            run = flight.run = steps.check_target(flow, run, tools)
            self._stop_if_cancelled(flight)
            run = flight.run = steps.enter_ledger(flow, run)
            run = flight.run = steps.seed(flow, run, tools)
            self._stop_if_cancelled(flight)
            self._trigger(flight, run)
        except BaseException as error:  # noqa: BLE001 - whatever happens to one run, pytest.skip too, ends that run with its cause
            self._finish(flight, _as_ours(error))

    def _trigger(self, flight: Flight, run: Run) -> None:
        flow, tools = flight.case.flow, flight.tools
        moment = self._clock.monotonic()
        run = flight.run = run.with_stamp("triggered", self._clock.stamp())
        if flow.transfer.mode == "invoke" and flow.transfer.invocation == "RequestResponse":
            flight.calling = True
            self._await(flight, run, moment)
            threading.Thread(target=self._call, args=(flight, run), name="fileflow-call", daemon=True).start()
            self._watcher.call_at(moment + flow.give_up_seconds, lambda: self._call_overdue(flight))
        else:
            run = flight.run = steps.trigger(flow, run, tools)
            self._await(flight, run, moment)

    def _call(self, flight: Flight, run: Run) -> None:
        """Wait, in a thread of its own, for a function that is invoked synchronously."""
        try:
            done = steps.trigger(flight.case.flow, run, flight.tools)
        except BaseException as error:  # noqa: BLE001 - as above
            self._end_wait(flight, _as_ours(error))
            return
        with flight.lock:
            flight.calling = False
            flight.run = done
            decision = flight.decision
        if decision is not None:
            self._end_wait(flight, decision)

    def _call_overdue(self, flight: Flight) -> None:
        with flight.lock:
            overdue = flight.calling and isinstance(flight.decision, (Arrived, Oversize))
        if overdue:
            self._end_wait(flight, _call_timeout(flight, "a file arrived"))

    def _await(self, flight: Flight, run: Run, moment: float) -> None:
        flow = flight.case.flow
        flight.triggered = moment
        flight.arrival = Arrival(Expectation.of(flow, run.file.size), moment)
        self._watch(flight, run)
        if flight.cancelled.is_set():  # cancelled between the last look at the flag and now
            self._cancel(flight)

    def _watch(self, flight: Flight, run: Run) -> None:
        if flight.arrival is None:
            raise TesterBug("a run is watched before it was triggered")
        flight.target = flight.tools.endpoint(flight.case.flow.target)
        told = Awaited(run.file.name, flight.arrival, lambda outcome: self._told(flight, outcome))
        self._watcher.add(flight.target, told)

    def _told(self, flight: Flight, outcome: Decision | FileflowError) -> None:
        with flight.lock:
            flight.decision = outcome
            calling = flight.calling
        if calling and isinstance(outcome, (Arrived, Oversize)):
            if self._clock.monotonic() >= flight.triggered + flight.case.flow.give_up_seconds:
                self._end_wait(flight, _call_timeout(flight, "a file arrived"))
            return  # the invocation's answer belongs to the verdict; _call goes on from here
        if calling and isinstance(outcome, GaveUp) and outcome.stat is None:
            outcome = _call_timeout(flight, "no file arrived")
        self._end_wait(flight, outcome)

    def _end_wait(self, flight: Flight, outcome: Decision | FileflowError) -> None:
        with flight.lock:
            if flight.finishing:
                return
            flight.finishing = True
        self._submit(flight, self._finish, outcome)

    def _finish(self, flight: Flight, outcome: Decision | FileflowError) -> None:
        """Judge, clean up, record, land; the one end that every run comes to."""
        run = flight.run or steps.unprepared(flight.case, flight.attempt)
        try:
            if flight.target is not None:
                self._watcher.remove(flight.target, run.file.name)
            run = _judged(flight, run, outcome, self._clock)
        except Changed:
            if self._watch_again(flight, run):
                return
            run = _judged_at_last(flight, run, outcome, self._clock)
        except BaseException as error:  # noqa: BLE001 - as above
            run = dataclasses.replace(run, verdict=steps.verdict_of(_as_ours(error)))
        self._land(flight, run)

    def _watch_again(self, flight: Flight, run: Run) -> bool:
        if flight.arrival is None or flight.cancelled.is_set():
            return False
        if self._clock.monotonic() > flight.arrival.triggered + flight.arrival.expected.give_up:
            return False
        flight.arrival.start_over()
        with flight.lock:
            flight.finishing = False
            flight.decision = None
        self._watch(flight, run)
        return True

    def _land(self, flight: Flight, run: Run) -> None:
        """Clean up, record and hand over: a fault in one of them never keeps the others from being done."""
        if flight.clean_up and run.written:
            # A run that was cancelled still cleans up: its tools must work once more.
            tools = dataclasses.replace(flight.tools, cancelled=never_cancelled)
            try:
                run = steps.clean_up(flight.case.flow, run, tools)
            except BaseException as error:  # noqa: BLE001 - as above
                run = _with_bug(run, "cleaning up", error)
        try:
            run = self._record(flight.case, run)
        except BaseException as error:  # noqa: BLE001 - as above; whoever waits for this run must get an answer
            run = _with_bug(run, "recording", error)
        try:
            with self._lock:
                self._in_flight -= 1
            self._start_more()
        finally:
            flight.landed.set_result(run)

    @staticmethod
    def _stop_if_cancelled(flight: Flight) -> None:
        if flight.cancelled.is_set():
            raise Interrupted("the session ended before the transfer was triggered")


def _answer_after_crash(flight: Flight, done: Future[None]) -> None:
    """Give whoever waits for a run an answer even if the engine itself failed."""
    error = done.exception()
    if error is not None and not flight.landed.done():
        run = flight.run or steps.unprepared(flight.case, flight.attempt)
        flight.landed.set_result(dataclasses.replace(run, verdict=steps.verdict_of(_as_ours(error))))


def _with_bug(run: Run, doing: str, error: BaseException) -> Run:
    """Note a fault of the tester's own; it becomes the verdict only of a run that passed, or has none."""
    bug = _as_ours(error)
    run = run.with_evidence(tester_bug=f"while {doing}: {bug.reason}")
    if run.verdict is None or run.verdict.outcome == "passed":
        return dataclasses.replace(run, verdict=steps.verdict_of(bug))
    return run


def _judged(flight: Flight, run: Run, outcome: Decision | FileflowError, clock: Clock) -> Run:
    flow, tools = flight.case.flow, flight.tools
    if isinstance(outcome, Arrived):
        return steps.verify(flow, run.with_stamp("arrived", clock.stamp_at(outcome.at)), outcome, tools)
    if isinstance(outcome, Oversize):
        verdict = diagnosis.of_oversize(flow, run, outcome)
    elif isinstance(outcome, GaveUp):
        verdict = diagnosis.of_gave_up(flow, run, outcome, tools)
    else:
        verdict = steps.verdict_of(outcome)
    return dataclasses.replace(run, verdict=verdict)


def _judged_at_last(flight: Flight, run: Run, outcome: Decision | FileflowError, clock: Clock) -> Run:
    """Judge a file that changed while it was verified, now that its time is over: whole, gone, or never at rest."""
    flow, tools = flight.case.flow, flight.tools
    try:
        stat = tools.endpoint(flow.target).stat(run.file.name)
        if stat is not None and isinstance(outcome, Arrived):
            try:
                return _judged(flight, run, dataclasses.replace(outcome, stat=stat), clock)
            except Changed:
                logger.info("%s changed once more", run.file.name)
        end = GaveUp(stat, clock.monotonic(), growing=True, seen_full=True)
        verdict = diagnosis.of_gave_up(flow, run, end, tools)
    except BaseException as error:  # noqa: BLE001 - as above
        verdict = steps.verdict_of(_as_ours(error))
    return dataclasses.replace(run, verdict=verdict)


def _call_timeout(flight: Flight, meanwhile: str) -> InvokeTimeout:
    flow = flight.case.flow
    return InvokeTimeout(
        f"{flow.transfer.lambda_arn} had not returned {flow.give_up_seconds:g} s after it was invoked; {meanwhile}"
    )


def _as_ours(error: BaseException) -> FileflowError:
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
