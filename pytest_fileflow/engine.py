"""Launches runs ahead and carries each through its life: work is bounded, waiting costs no thread."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import threading
from collections import deque
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING

from pytest_fileflow import reach, steps
from pytest_fileflow.arrival import Arrival, Arrived, Expectation, GaveUp, Oversize
from pytest_fileflow.due import Due, name_due
from pytest_fileflow.errands import Errands
from pytest_fileflow.errors import FileflowError, Interrupted, NetworkError
from pytest_fileflow.flight import Flight, Gate, Limits, Plan
from pytest_fileflow.holding import Contracts
from pytest_fileflow.judging import answer_after_crash, as_ours, call_timeout, judged, judged_at_last, with_bug
from pytest_fileflow.model import PASSED
from pytest_fileflow.progress import Progress
from pytest_fileflow.streams import Changed, never_cancelled
from pytest_fileflow.turns import Queues
from pytest_fileflow.unbroken import awaited, carry_out
from pytest_fileflow.watcher import Awaited, Watcher
from pytest_fileflow.work import WorkPool

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Hashable, Iterable

    from pytest_fileflow.arrival import Decision
    from pytest_fileflow.clock import Clock
    from pytest_fileflow.flight import Logbook
    from pytest_fileflow.model import Case, Location, Run, Verdict
    from pytest_fileflow.streams import Tools
    from pytest_fileflow.work import Lane


RECONSIDER_SECONDS = 0.1  # how soon work goes on once others turn from computing to waiting


class Engine:
    """Runs cases: ``launch`` starts them in order, ``result`` waits for one."""

    def __init__(self, limits: Limits, clock: Clock, logbook: Logbook, attempts: dict[Hashable, int] | None = None):
        self._limits = limits
        self._clock = clock
        self._logbook = logbook
        self._lock = threading.Lock()
        self._flights: dict[Hashable, Flight] = {}
        self._queue: list[tuple[int, Flight]] = []  # a heap: the first launched goes first, even if it was kept back
        self._numbers = itertools.count()
        self._in_flight = 0
        self._attempts: dict[Hashable, int] = {} if attempts is None else attempts
        self._gates: dict[tuple[object, Location], Gate] = {}
        self._closing = False
        self._work = WorkPool(limits.concurrency, "fileflow-work")
        self._refusals = WorkPool(limits.concurrency, "fileflow-refusals")  # they mostly wait, and hold up nobody else
        self._watcher = Watcher(clock, limits.concurrency, self._work.has_urgent)
        self._contracts = Contracts()
        self._turns = Queues(limits.widths)
        self._errands = Errands(self._submit, self._land, self._fail, self._release, logbook)
        for pool in (self._work, self._refusals):
            self.call_every(RECONSIDER_SECONDS, pool.reconsider)
        if limits.widths.folder is not None:
            self.call_every(RECONSIDER_SECONDS, self._retry)

    def launch(self, key: Hashable, case: Case, tools: Tools, plan: Plan) -> None:
        """Start a run of a case, unless this key has one that nobody has collected yet, or the engine stops."""
        self.launch_all([(key, case, tools, plan)])

    def launch_all(self, launches: Iterable[tuple[Hashable, Case, Tools, Plan]]) -> None:
        """Start runs in order; where a signal ends this early, each of them is launched whole or not at all."""
        carry_out(partial(self._launch, *launch) for launch in launches)

    def _launch(self, key: Hashable, case: Case, tools: Tools, plan: Plan) -> None:
        with self._lock:
            if self._closing or key in self._flights:
                return
            attempt = self._attempts[key] = self._attempts.get(key, 0) + 1
            flight = self._flights[key] = Flight(key, case, tools, plan, attempt=attempt, order=next(self._numbers))
            if case.kind == "contract":
                self._contracts.launched(flight)
            if not self._contracts.holds(flight):
                heapq.heappush(self._queue, (flight.order, flight))
        if case.kind == "contract":
            flight.landed.add_done_callback(
                lambda landed: self._release(flight, None if landed.cancelled() else landed.result())
            )
        self._start_more()

    def _release(self, contract: Flight, run: Run | None) -> None:
        """Let the transfers that a contract has kept back go on, whatever became of it."""
        if contract.case.kind != "contract":
            return
        with self._lock:
            if run is not None and run.verdict == PASSED:  # the target has answered
                self._gates.setdefault((contract.tools.endpoint, contract.case.flow.target), Gate()).is_open = True
            self._enqueue(self._contracts.landed(contract, run))
        self._start_more()

    def abandon(self, key: Hashable, case: Case, run: Run, tools: Tools, *, clean_up: bool) -> None:
        """Clean up and record a run that another process began and was lost with."""
        carry_out([partial(self._abandon, key, case, run, tools, clean_up=clean_up)])

    def _abandon(self, key: Hashable, case: Case, run: Run, tools: Tools, *, clean_up: bool) -> None:
        with self._lock:
            if self._closing:
                return
            self._attempts[key] = max(run.attempt, self._attempts.get(key, 0))
            number = next(self._numbers)
            flight = Flight((key, run.run_id), case, tools, Plan(clean_up), attempt=run.attempt, order=number)
            self._flights[flight.key] = flight
            self._in_flight += 1
            lost = Interrupted("the process that carried out this run was lost")
            run = flight.run = dataclasses.replace(run, verdict=steps.verdict_of(lost))
            self._submit(flight, self._land, run)

    def is_launched(self, key: Hashable) -> bool:
        """Return whether a key has a run that nobody has collected yet."""
        with self._lock:
            return key in self._flights

    def result(self, key: Hashable) -> Run | None:
        """Wait for a launched run and hand it out, once; after that the key may be launched again.

        Returns None for a run that was never begun, because the engine stops.
        """
        with self._lock:
            flight = self._flights.get(key)
        if flight is None:
            return None
        try:
            run = awaited(flight.landed)
        except CancelledError:
            return None
        with self._lock:
            self._flights.pop(key, None)
        return run

    def progress(self, recorded: Container[str]) -> Progress:
        """Return how far the runs have come that are not ``recorded`` (run ids) yet."""
        with self._lock:
            flights = list(self._flights.values())
        return Progress.of(flights, self._clock.monotonic(), recorded)

    def call_every(self, seconds: float, action: Callable[[], None]) -> None:
        """Call a quick function again and again until the engine is closed."""

        def again() -> None:
            action()
            self.call_every(seconds, action)

        self._watcher.call_at(self._clock.monotonic() + seconds, again)

    def stop(self) -> None:
        """Begin nothing more, and end what is under way; its results can still be collected."""
        carry_out([self._stop])

    def _stop(self) -> None:
        with self._lock:
            self._closing = True
            self._queue.clear()
            self._contracts.give_up()
            self._turns.give_up()
            for gate in self._gates.values():
                gate.waiting.clear()
            waiting = [flight for flight in self._flights.values() if not flight.is_begun]
            for flight in waiting:
                self._flights.pop(flight.key, None)
            flights = list(self._flights.values())
        for flight in waiting:
            flight.landed.cancel()
        for flight in flights:
            self._cancel(flight)

    def close(self) -> list[Run]:
        """End the engine: what is under way is cancelled, cleaned up and recorded as interrupted.

        Returns the runs that nobody collected.
        """
        self.stop()
        with self._lock:
            flights = list(self._flights.values())
        runs = [awaited(flight.landed) for flight in flights]
        with self._lock:
            self._flights.clear()
        self._watcher.close()
        self._refusals.close()
        self._work.close()
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
                flight = heapq.heappop(self._queue)[1]
                # Urgent, before what ends other runs: the wait for the file that comes last begins with its start.
                if (refusal := self._refusal(flight)) is not None:
                    self._in_flight += 1
                    self._submit(flight, self._refuse, refusal, lanes=(), urgent=True)
                    continue
                try:
                    has_turn = self._turns.admits(flight)
                except OSError as error:  # the files by which processes take turns cannot be had
                    self._in_flight += 1
                    self._submit(flight, self._refuse, steps.verdict_of(as_ours(error)), lanes=(), urgent=True)
                    continue
                if has_turn:
                    self._in_flight += 1
                    self._admit(flight)
                self._enqueue(self._turns.next_at(flight))

    def _refusal(self, flight: Flight) -> Verdict | None:
        """Return the verdict of a case that need not begin, since it must not, or since its flow's contract failed."""
        error = reach.refusal(flight.case, flight.tools.allow)
        return self._contracts.refusal(flight) if error is None else steps.verdict_of(error)

    def _enqueue(self, flights: Iterable[Flight]) -> None:
        for flight in flights:
            heapq.heappush(self._queue, (flight.order, flight))

    def _retry(self) -> None:
        with self._lock:
            self._enqueue(self._turns.retry())
        self._start_more()

    def _admit(self, flight: Flight) -> None:
        """Let a run take off, once its target has answered to one run; you hold the lock."""
        if flight.case.kind != "transfer":
            self._submit(flight, self._errands.begin, lanes=(), urgent=True)
            return
        gate = self._gates.setdefault((flight.tools.endpoint, flight.case.flow.target), Gate())
        if gate.is_open:
            self._submit(flight, self._take_off, lanes=flight.lanes.source, urgent=True)
        elif gate.is_tried and not gate.has_failed:
            gate.waiting.append(flight)
        else:
            gate.is_tried = True
            self._submit(flight, self._meet_target, gate, lanes=flight.lanes.target, urgent=True)

    def _submit(
        self,
        flight: Flight,
        work: Callable[..., None],
        *arguments: object,
        lanes: tuple[Lane, ...] | None = None,
        urgent: bool = False,
        apart: bool = False,
    ) -> None:
        pool = self._refusals if apart else self._work
        lanes = flight.lanes.both if lanes is None else lanes
        done = pool.submit(partial(work, flight, *arguments), lanes, urgent=urgent, order=flight.order)
        flight.is_begun = True
        done.add_done_callback(lambda done: answer_after_crash(flight, done))

    def _take_off(self, flight: Flight) -> None:
        flow, tools = flight.case.flow, flight.tools
        try:
            flight.stop_if_cancelled("the transfer was triggered")
            run = flight.run = flight.run or steps.prepare(flight.case, tools, flight.attempt)
            steps.require_checks(flow, run, tools)
            flight.stop_if_cancelled("the transfer was triggered")
            run = flight.run = steps.enter_ledger(flow, run)
            self._logbook.enter(flight.key, flight.case, run)
            run = flight.run = steps.seed(flow, run, tools)
            flight.stop_if_cancelled("the transfer was triggered")
            self._trigger(flight, run)
        except BaseException as error:  # noqa: BLE001 - whatever happens to one run, pytest.skip too, ends that run with its cause
            self._fail(flight, error)

    def _meet_target(self, flight: Flight, gate: Gate) -> None:
        """Look at a target before the first file is sent to it; what is wrong there is known at once."""
        try:
            flight.stop_if_cancelled("the transfer was triggered")
            run = flight.run = steps.prepare(flight.case, flight.tools, flight.attempt)
            flight.stop_if_cancelled("the transfer was triggered")
            steps.check_target(flight.case.flow, run, flight.tools)
        except BaseException as error:  # noqa: BLE001 - as below
            failure: BaseException | None = error
        else:
            failure = None
        with self._lock:
            gate.is_open = gate.is_open or failure is None
            gate.has_failed = failure is not None
            waited, gate.waiting = [*gate.waiting], deque()
            # A server that cannot be reached would keep each of them waiting as long, for the same answer. Any other
            # failure need not be true for the next run: it finds out by itself.
            shares_failure = isinstance(failure, NetworkError)
            for waiting in waited:
                if shares_failure:
                    waiting.is_begun = True
                else:
                    self._admit(waiting)
            if failure is None:
                self._admit(flight)
        if failure is not None:
            for failed in (flight, *(waited if shares_failure else ())):
                self._fail(failed, failure)

    def _fail(self, flight: Flight, error: BaseException) -> None:
        """End a run whose file is not awaited yet, unless something else has just ended it."""
        if flight.may_finish():
            self._finish(flight, as_ours(error))

    def _refuse(self, flight: Flight, verdict: Verdict) -> None:
        """End a run that need not be begun."""
        if flight.may_finish():
            self._land(flight, dataclasses.replace(steps.unprepared(flight.case, flight.attempt), verdict=verdict))

    def _trigger(self, flight: Flight, run: Run) -> None:
        flow, tools = flight.case.flow, flight.tools
        moment = self._clock.monotonic()
        run = flight.run = run.with_stamp("triggered", self._clock.stamp())
        if flow.transfer.mode == "invoke" and flow.transfer.invocation == "RequestResponse":
            flight.calling = True
            run = flight.run = run.with_stamp("started", run.timeline["triggered"])
            self._await(flight, run, moment)
            threading.Thread(target=self._call, args=(flight, run), name="fileflow-call", daemon=True).start()
            self._watcher.call_at(moment + flow.give_up_seconds, lambda: self._call_overdue(flight))
        else:
            run = flight.run = steps.trigger(flow, run, tools).with_stamp("started", self._clock.stamp())
            self._await(flight, run, moment)

    def _call(self, flight: Flight, run: Run) -> None:
        """Wait, in a thread of its own, for a function that is invoked synchronously."""
        try:
            done = steps.trigger(flight.case.flow, run, flight.tools)
        except BaseException as error:  # noqa: BLE001 - as above
            self._end_wait(flight, as_ours(error))
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
            self._end_wait(flight, call_timeout(flight.case.flow, "a file arrived"))

    def _await(self, flight: Flight, run: Run, moment: float) -> None:
        flight.triggered = moment
        expected = Expectation.of(flight.case.flow, Due.of(flight.case.flow, run).size)
        flight.arrival = Arrival(expected, moment, flight.usual)
        self._watch(flight, run, flight.arrival)

    def _watch(self, flight: Flight, run: Run, arrival: Arrival) -> None:
        flight.target = flight.tools.endpoint(flight.case.flow.target)
        told = Awaited(name_due(flight.case.flow, run), arrival, lambda outcome: self._told(flight, outcome))
        self._watcher.add(flight.target, told)
        if flight.cancelled.is_set():  # cancelled between the last look at the flag and now
            self._cancel(flight)

    def _told(self, flight: Flight, outcome: Decision | FileflowError) -> None:
        with flight.lock:
            flight.decision = outcome
            calling = flight.calling
        if calling and isinstance(outcome, (Arrived, Oversize)):
            if self._clock.monotonic() >= flight.triggered + flight.case.flow.give_up_seconds:
                self._end_wait(flight, call_timeout(flight.case.flow, "a file arrived"))
            return  # the invocation's answer belongs to the verdict; _call goes on from here
        if calling and isinstance(outcome, GaveUp) and outcome.stat is None:
            outcome = call_timeout(flight.case.flow, "no file arrived")
        self._end_wait(flight, outcome)

    def _end_wait(self, flight: Flight, outcome: Decision | FileflowError) -> None:
        if flight.may_finish():
            self._submit(flight, self._finish, outcome)

    def _finish(self, flight: Flight, outcome: Decision | FileflowError) -> None:
        """Judge, clean up, record, land; the one end that every run comes to."""
        run = flight.run or steps.unprepared(flight.case, flight.attempt)
        try:
            if flight.target is not None:
                self._watcher.remove(flight.target, name_due(flight.case.flow, run).text)
            run = judged(flight.case.flow, run, outcome, flight.tools)
        except Changed:
            if self._watch_again(flight, run):
                return
            run = judged_at_last(flight.case.flow, run, outcome, flight.tools)
        except BaseException as error:  # noqa: BLE001 - as above
            run = dataclasses.replace(run, verdict=steps.verdict_of(as_ours(error)))
        self._land(flight, run if run.verdict == PASSED else run.with_stamp("judged", self._clock.stamp()))

    def _watch_again(self, flight: Flight, run: Run) -> bool:
        if flight.arrival is None or flight.cancelled.is_set():
            return False
        if self._clock.monotonic() > flight.arrival.triggered + flight.arrival.expected.give_up:
            return False
        flight.arrival.start_over()
        with flight.lock:
            flight.finishing = False
            flight.decision = None
        self._watch(flight, run, flight.arrival)
        return True

    def _land(self, flight: Flight, run: Run) -> None:
        """Clean up, record and hand over: a fault in one of them never keeps the others from being done."""
        if flight.clean_up and run.written:
            # A run that was cancelled still cleans up: its tools must work once more.
            tools = dataclasses.replace(flight.tools, cancelled=never_cancelled)
            try:
                run = steps.clean_up(flight.case.flow, run, tools)
            except BaseException as error:  # noqa: BLE001 - as above
                run = with_bug(run, "cleaning up", error)
        try:
            run = self._logbook.record(flight.case, run)
        except BaseException as error:  # noqa: BLE001 - as above; whoever waits for this run must get an answer
            run = with_bug(run, "recording", error)
        try:
            with self._lock:
                self._in_flight -= 1
                self._enqueue(self._turns.gone(flight))
            self._start_more()
        finally:
            flight.landed.set_result(run)
