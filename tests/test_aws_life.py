from __future__ import annotations

import dataclasses
import json
import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fileflow import allow
from pytest_fileflow.arrival import Arrived
from pytest_fileflow.aws import life, waiting
from pytest_fileflow.aws.state import MOST_BYTES, Execution, State, size_of
from pytest_fileflow.clock import Clock
from pytest_fileflow.engine import Engine, Limits
from pytest_fileflow.errors import (
    AccessDenied,
    ConnectionLost,
    FunctionFailed,
    InvokeThrottled,
    LocationMissing,
    ResultsStoreFailed,
    StorageFailed,
)
from pytest_fileflow.flight import Plan
from pytest_fileflow.invoke import Started
from pytest_fileflow.model import NO_FILE, Case, Flow, Refusal, S3Location, TestData, Transfer, Validation, Variant
from pytest_fileflow.registry import Registry, register_builtin_checks, register_builtin_patterns
from pytest_fileflow.results.record import make_record
from pytest_fileflow.results.store import record_bytes
from pytest_fileflow.streams import Tools
from tests.support.memory import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_fileflow.model import Run

SOURCE, TARGET = S3Location("source", "out/"), S3Location("target", "in/")
ARN = "arn:aws:lambda:eu-west-1:111111111111:function:mover"
STARTED = datetime(2026, 11, 27, 6, 0, 0, tzinfo=timezone.utc)
EXECUTION = Execution("arn:execution:one", "one", "2026-11-27T06:00:00Z")
CALL = Transfer("invoke", ARN, "RequestResponse")
EVENT = Transfer("event")
MOST_STEPS = 200


class Papers:
    """The marks of steps that begin, in memory."""

    def __init__(self) -> None:
        self.marks: dict[tuple[str, str], dict[str, Any]] = {}
        self.contracts: dict[str, dict[str, Any]] = {}
        self.error: Exception | None = None

    def begin(self, step: str, run_id: str, mark: dict[str, Any]) -> dict[str, Any] | None:
        if self.error is not None:
            raise self.error
        mark = json.loads(json.dumps(mark))
        there = self.marks.setdefault((step, run_id), mark)
        return None if there["token"] == mark["token"] else there

    def contract(self, flow_id: str) -> dict[str, Any] | None:
        return self.contracts.get(flow_id)


class Bench:
    """The steps over a world in memory, in processes that share nothing but a clock, which tests turn."""

    def __init__(self, flow: Flow, *, arrives_after: float | None = 3.0, damage: Callable[[bytes], Any] = bytes):
        self.flow, self.world, self.papers = flow, World(), Papers()
        self.now = STARTED.timestamp()
        self.arrives_after, self.damage = arrives_after, damage
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.time_is_up = False
        self.tries = 0
        self.called: Callable[[], Started] | None = None
        self.looked: list[float] = []
        self.starts = 0
        self.world.route(SOURCE, TARGET, ARN)
        registry = Registry()
        register_builtin_patterns(registry)
        register_builtin_checks(registry)
        clock = Clock(lambda: datetime.fromtimestamp(self.now, timezone.utc), lambda: self.now, self.pass_by)
        cancelled = lambda: self.time_is_up  # noqa: E731 - it is what a function's tools have
        self.tools = Tools(self.endpoint, self.invoke, registry, clock, cancelled)
        put = self.world.storage.put

        def put_and_start(place: str, name: str, content: bytes) -> None:
            put(place, name, content)
            if place == SOURCE.uri() and name.endswith((".bin", ".csv")) and flow.transfer.mode == "event":
                self.start()

        self.world.storage.put = put_and_start

    def pass_by(self, seconds: float) -> None:
        """Turn the clock, and let happen what is due meanwhile."""
        until = self.now + seconds
        for moment, action in sorted(self.due, key=lambda each: each[0]):
            if moment <= until:
                self.now = max(self.now, moment)
                self.due.remove((moment, action))
                action()
        self.now = until

    def endpoint(self, location: Any) -> Any:
        made = self.world.endpoint(location)
        if location == TARGET:
            asked = made.stat

            def stat(name: str) -> Any:
                self.looked.append(self.now)
                return asked(name)

            made.stat = stat
        return made

    def start(self) -> None:
        """Deliver what lies at the source, some time from now."""
        self.starts += 1
        if self.arrives_after is not None:
            self.world.damage = self.damage
            moment = self.now + self.arrives_after
            self.due.append((moment, lambda: self.world.deliver(SOURCE.uri(), TARGET.uri())))

    def invoke(self, transfer: Transfer, payload: object) -> Started:
        self.world.invocations.append(payload)
        if self.world.invoke_error is not None:
            raise self.world.invoke_error
        if self.called is not None:
            return self.called()
        self.start()
        return Started("request-1")

    def step(self, name: str, state: State) -> State:
        """Carry out a step as another process would: with the state as JSON, in time of its own."""
        self.tries += 1
        state = State.load(json.loads(json.dumps(state.dump(), allow_nan=False)))
        after = getattr(life, name)(state, self.kit())
        assert size_of(after.dump()) <= MOST_BYTES
        self.pass_by(0.1)
        return after

    def kit(self) -> life.Kit:
        return life.Kit(self.tools, self.papers, f"try {self.tries}")

    def begin(self, case: Case | None = None) -> State:
        return State(case or Case(self.flow, self.flow.testdata.variants[0]), EXECUTION)

    def carry(self, state: State, until: str = "record") -> State:
        """Go on as the state machine does, from step to step."""
        for _ in range(MOST_STEPS):
            if state.next == until:
                return state
            step: str = state.next
            if step == "wait":
                assert state.wait_seconds == int(state.wait_seconds) >= 1
                self.pass_by(state.wait_seconds)
                step = "check_arrival"
            state = self.step(step, state)
        raise AssertionError(f"no end after {MOST_STEPS} steps: {state.next}")

    def caught(self, state: State, error: str = "Sandbox.Timedout", cause: str = "") -> State:
        """Return a state as the machine hands it on where a step ended without an answer."""
        told = {
            "Error": error,
            "Cause": cause or json.dumps({"errorMessage": "RequestId: 1 Task timed out after 3.00 s"}),
        }
        return State.load({**state.dump(), "error": told})

    def record(self, state: State) -> Run:
        self.tries += 1
        run = life.to_record(state, self.kit())
        assert run.verdict is not None
        make_record(state.case, run)
        return run

    def run(self, case: Case | None = None) -> Run:
        return self.record(self.carry(self.begin(case)))

    def left(self) -> list[tuple[str, str]]:
        return self.world.storage.everything()


def make_flow(transfer: Transfer | None = None, testdata: TestData | None = None, **rules: Any) -> Flow:
    rules = {"expect_within_seconds": 60.0, "grace_seconds": 6.0, **rules}
    data = testdata or TestData((Variant("", 10_000),))
    return Flow("acme", SOURCE, TARGET, transfer or Transfer("invoke", ARN), Validation(**rules), data)


def fails(run: Run, cause: str, *parts: str) -> None:
    assert run.verdict is not None
    assert (run.verdict.outcome, run.verdict.cause) == ("error" if cause.startswith("tester.") else "failed", cause), (
        run.verdict
    )
    for part in parts:
        assert part in (run.verdict.reason or ""), run.verdict.reason


PASSED_STAMPS = ["begun", "prepared", "seeded", "triggered", "started", "arrived", "verified", "cleaned"]


@pytest.mark.parametrize("transfer", [Transfer("invoke", ARN), CALL, EVENT, Transfer("trigger_file")], ids=str)
def test_a_good_transfer_passes_and_leaves_nothing_behind(transfer):
    bench = Bench(make_flow(transfer))
    if transfer.mode == "trigger_file":
        bench.pass_by(0)
        put = bench.world.storage.put

        def put_and_start(place, name, content):
            put(place, name, content)
            if name.endswith(".done"):
                bench.start()

        bench.world.storage.put = put_and_start
    run = bench.run()
    assert run.verdict is not None
    assert run.verdict.outcome == "passed", run.verdict
    assert list(run.timeline) == PASSED_STAMPS
    assert list(run.timeline.values()) == sorted(run.timeline.values())
    assert run.latency is not None
    assert run.latency.seconds - run.latency.resolution <= 3.0 <= run.latency.seconds
    assert run.latency.resolution <= 1.3
    assert [check.name for check in run.checks] == ["size", "sha256", "latency", "copies"]
    assert bench.left() == []
    assert len(bench.world.invocations) == (transfer.mode == "invoke")


def test_a_payload_that_is_made_by_options_is_made_again_by_each_step():
    data = TestData((Variant("", 10_000),), "csv", options={"delimiter": ";"})
    run = Bench(make_flow(testdata=data)).run()
    assert run.verdict is not None
    assert run.verdict.outcome == "passed", run.verdict


def test_a_function_that_has_delivered_before_it_returns_is_looked_after_at_once():
    bench = Bench(make_flow(CALL))

    def called() -> Started:
        bench.world.deliver(SOURCE.uri(), TARGET.uri())
        return Started("request-2", "START\nEND")

    bench.called = called
    state = bench.carry(bench.begin(), until="trigger")
    state = bench.step("trigger", state)
    assert state.next == "verify"
    assert isinstance(state.decision, Arrived)
    run = bench.record(bench.carry(state))
    assert run.verdict is not None
    assert run.verdict.outcome == "passed", run.verdict
    assert run.evidence == {"lambda_request_id": "request-2", "log_tail": "START\nEND"}


def test_looks_are_few_and_the_slo_and_the_end_are_looked_at():
    bench = Bench(make_flow(expect_within_seconds=3600.0, grace_seconds=60.0), arrives_after=None)
    state = bench.carry(bench.begin(), until="wait")
    triggered = bench.now
    run = bench.record(bench.carry(state))
    fails(run, "missing.not_picked_up", "within 3660 s")
    after = [moment - triggered for moment in bench.looked if moment > triggered]
    assert len(after) < 50
    assert any(3600 <= moment < 3601.5 for moment in after)


def test_late_is_told_with_by_how_much_and_only_of_what_was_surely_late():
    bench = Bench(make_flow(expect_within_seconds=2.0, grace_seconds=30.0), arrives_after=10.0)
    fails(bench.run(), "late", "over the SLO of 2 s")
    just = Bench(make_flow(expect_within_seconds=10.0, grace_seconds=30.0), arrives_after=9.8)
    run = just.run()
    assert run.verdict is not None
    assert run.verdict.outcome == "passed", run.verdict


def test_a_file_must_be_at_rest_for_as_long_as_its_flow_says_which_does_not_count():
    bench = Bench(make_flow(post_arrival_wait_seconds=2.5))
    run = bench.run()
    assert run.verdict is not None
    assert run.verdict.outcome == "passed", run.verdict
    assert run.latency is not None
    assert run.latency.seconds - run.latency.resolution <= 3.0 <= run.latency.seconds < 5.0
    seen = [moment for moment in bench.looked if moment >= STARTED.timestamp() + run.latency.seconds]
    assert seen[-1] - seen[0] >= 2.5


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (lambda content: content[:-1], "partial.truncated"),
        (lambda content: content + b"!", "partial.oversize"),
        (lambda content: bytes([content[0] ^ 1]) + content[1:], "content.corrupt"),
        (lambda content: None, "missing.not_picked_up"),
    ],
)
def test_what_goes_wrong_has_the_cause_that_the_engine_tells(damage, cause):
    bench = Bench(make_flow(), damage=damage)
    fails(bench.run(), cause)
    assert bench.left() == []


def test_what_was_taken_and_not_delivered_is_lost():
    bench = Bench(make_flow(), damage=lambda content: None)
    bench.world.moves = True
    fails(bench.run(), "missing.lost", "is gone from")


def test_latency_is_never_negative_though_each_process_has_its_own_clock():
    bench = Bench(make_flow(), arrives_after=0.0)
    state = bench.carry(bench.begin(), until="wait")
    bench.world.deliver(SOURCE.uri(), TARGET.uri())
    bench.now -= 5.0  # the next function's clock
    decided = bench.step("check_arrival", state)
    assert isinstance(decided.decision, Arrived)
    assert decided.decision.latency.seconds >= 0
    assert decided.decision.latency.resolution >= 0


# --- Steps that are tried again


def test_seeding_twice_leaves_one_file_and_starts_no_second_transfer():
    for transfer in (EVENT, Transfer("invoke", ARN)):
        bench = Bench(make_flow(transfer))
        state = bench.carry(bench.begin(), until="seed")
        bench.step("seed", state)
        puts = bench.world.storage.calls.count(("put", SOURCE.uri()))
        again = bench.step("seed", state)
        assert bench.world.storage.calls.count(("put", SOURCE.uri())) == puts == 3
        assert len(bench.due) == (transfer is EVENT)
        run = bench.record(bench.carry(again))
        assert run.verdict is not None
        assert run.verdict.outcome == "passed", run.verdict
        assert run.evidence["seed"] == life.TWICE
        assert bench.left() == []


def test_seeding_that_was_killed_before_the_file_lay_there_is_done_again():
    bench = Bench(make_flow())
    state = bench.carry(bench.begin(), until="seed")
    bench.papers.begin("seed", state.run_id, {"token": "killed"})
    run = bench.record(bench.carry(state))
    assert run.verdict is not None
    assert run.verdict.outcome == "passed", run.verdict


def test_where_an_event_may_have_taken_the_file_meanwhile_nobody_is_blamed():
    bench = Bench(make_flow(EVENT))
    state = bench.carry(bench.begin(), until="seed")
    bench.papers.begin("seed", state.run_id, {"token": "killed"})
    fails(bench.record(bench.carry(state)), "tester.step_failed", "cannot be told")
    taken = Bench(make_flow(EVENT), arrives_after=0.0)
    taken.world.moves = True
    state = taken.carry(taken.begin(), until="seed")
    taken.step("seed", state)
    run = taken.record(taken.carry(taken.step("seed", state)))
    assert run.verdict is not None
    assert run.verdict.outcome == "passed", run.verdict


@pytest.mark.parametrize("transfer", [Transfer("invoke", ARN), CALL])
def test_triggering_twice_invokes_once_and_waits_for_that(transfer):
    bench = Bench(make_flow(transfer))
    state = bench.carry(bench.begin(), until="trigger")
    bench.step("trigger", state)
    began = bench.papers.marks["trigger", state.run_id]["at"]
    again = bench.step("trigger", state)
    assert len(bench.world.invocations) == 1
    run = bench.record(bench.carry(again))
    assert run.verdict is not None
    assert run.verdict.outcome == "passed", run.verdict
    assert run.timeline["triggered"] == bench.tools.clock.stamp_at(began)
    assert run.evidence["trigger"] == life.TWICE


@pytest.mark.parametrize("transfer", [Transfer("invoke", ARN), CALL])
def test_a_trigger_that_was_killed_perhaps_before_it_invoked_blames_no_flow(transfer):
    bench = Bench(make_flow(transfer))
    state = bench.carry(bench.begin(), until="trigger")
    bench.papers.begin("trigger", state.run_id, {"token": "killed", "at": bench.now})
    run = bench.record(bench.carry(state))
    fails(run, "tester.step_failed", "whether it has invoked is not known; ", "still lies at")
    assert bench.left() == []


def test_a_trigger_that_was_killed_after_it_invoked_blames_the_flow_for_what_it_lost():
    bench = Bench(make_flow())
    state = bench.carry(bench.begin(), until="trigger")
    bench.papers.begin("trigger", state.run_id, {"token": "killed", "at": bench.now})
    for name in bench.world.storage.names(SOURCE.uri()):
        bench.world.storage.remove(SOURCE.uri(), name)
    fails(bench.record(bench.carry(state)), "missing.lost")


@pytest.mark.parametrize("step", ["prepare", "check_arrival", "verify", "clean_up", "diagnose"])
def test_a_step_that_only_looks_or_removes_does_no_harm_when_it_is_done_twice(step):
    damage = (lambda content: content[:-1]) if step == "diagnose" else bytes
    bench = Bench(make_flow(), damage=damage)
    state = bench.carry(bench.begin(), until={"check_arrival": "wait", "prepare": "prepare"}.get(step, step))
    first, second = bench.step(step, state), bench.step(step, state)
    assert (first.next, first.decision, first.run and first.run.run_id) == (
        second.next,
        second.decision,
        second.run and second.run.run_id,
    )
    assert first.run is not None
    assert second.run is not None
    assert first.run.verdict == second.run.verdict
    bench.record(bench.carry(second))
    assert bench.left() == []


@pytest.mark.parametrize("is_verdictless", [False, True])
def test_recording_twice_gives_the_same_bytes(is_verdictless):
    bench = Bench(make_flow())
    state = bench.carry(bench.begin(), until="record")
    if is_verdictless:  # nobody has come to a verdict: diagnose and clean up were killed too
        state = bench.caught(bench.begin())
    first = record_bytes(make_record(state.case, bench.record(state)))
    bench.pass_by(24 * 3600)
    assert record_bytes(make_record(state.case, bench.record(state))) == first


# --- Steps that end without an answer


@pytest.mark.parametrize("step", ["prepare", "seed", "trigger", "wait", "verify"])
def test_a_step_that_is_killed_is_the_testers_fault_and_what_it_left_is_removed(step):
    bench = Bench(make_flow())
    state = bench.carry(bench.begin(), until=step)
    if step == "seed":
        bench.step("seed", state)  # it came to its end, and nobody has heard of it
    diagnosed = bench.step("diagnose", bench.caught(state))
    assert diagnosed.error is None
    run = bench.record(bench.carry(diagnosed))
    said = "check arrival" if step == "wait" else step
    fails(run, "tester.step_failed", f"the step {said} gave no answer: Sandbox.Timedout: ", "timed out after 3.00 s")
    assert bench.left() == []
    assert run.run_id == state.run_id
    assert "judged" in run.timeline


def test_a_case_that_sends_no_file_is_killed_as_well():
    bench = Bench(make_flow())
    state = bench.carry(bench.begin(Case(bench.flow, NO_FILE, "contract")), until="ask")
    fails(bench.record(bench.carry(bench.step("diagnose", bench.caught(state)))), "tester.step_failed", "step ask gave")


def test_where_diagnose_is_killed_too_the_run_is_cleaned_up_and_recorded():
    bench = Bench(make_flow(), damage=lambda content: content[:-1])
    state = bench.carry(bench.begin(), until="diagnose")
    run = bench.record(bench.step("clean_up", bench.caught(state)))
    fails(run, "tester.step_failed", "the step diagnose gave no answer")
    assert bench.left() == []
    assert run.residue == ()


@pytest.mark.parametrize(("damage", "cause"), [(bytes, None), (lambda content: content + b"!", "partial.oversize")])
def test_where_nobody_could_clean_up_what_may_lie_there_is_recorded_and_the_verdict_stays(damage, cause):
    bench = Bench(make_flow(), damage=damage)
    state = bench.carry(bench.begin(), until="clean_up")
    run = bench.record(bench.caught(state, "Lambda.Unknown", "killed"))
    if cause is None:  # the flow is not at fault
        fails(run, "tester.step_failed", "all went well, but nobody could clean up: Lambda.Unknown: killed")
    else:
        fails(run, cause)
        assert run.evidence["cleanup"] == ["nobody could clean up: Lambda.Unknown: killed"]
    assert set(run.residue) == {
        *(SOURCE.uri(name) for name in bench.world.storage.names(SOURCE.uri())),
        *(TARGET.uri(name) for name in bench.world.storage.names(TARGET.uri())),
    }


def test_what_is_to_stay_is_no_residue_where_cleaning_up_was_killed():
    bench = Bench(make_flow(testdata=TestData((Variant("", 10),), delete_after=False)))
    run = bench.record(bench.caught(bench.carry(bench.begin(), until="clean_up")))
    assert run.verdict is not None
    assert run.verdict.outcome == "passed"
    assert run.residue == ()


def test_what_is_to_stay_stays():
    bench = Bench(make_flow(testdata=TestData((Variant("", 10),), delete_after=False)))
    run = bench.run()
    assert {name for _, name in bench.left()} >= {run.file.name}
    assert "cleaned" not in run.timeline


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (
            json.dumps({"errorMessage": "no\nanswer", "errorType": "ResultsStoreFailed"}),
            "ResultsStoreFailed: no answer",
        ),
        ("plain words", "States.TaskFailed: plain words"),
        ("", "States.TaskFailed"),
        ("[1, 2]", "States.TaskFailed: [1, 2]"),
        ("x" * 9000, "States.TaskFailed: xxx"),
    ],
)
def test_what_the_state_machine_says_of_an_error_is_one_short_line(cause, words):
    bench = Bench(make_flow())
    state = State.load({**bench.begin().dump(), "error": {"Error": "States.TaskFailed", "Cause": cause}})
    run = bench.record(bench.carry(bench.step("diagnose", state)))
    fails(run, "tester.step_failed", words)
    assert len(run.verdict.reason) < 600


@pytest.mark.parametrize("step", ["seed", "verify"])
def test_a_step_that_has_no_run_says_so(step):
    bench = Bench(make_flow())
    with pytest.raises(life.StepFailed, match="no run in this state"):
        bench.step(step, bench.begin())


# --- Errors of the network, of stores, of time


@pytest.mark.parametrize(("times", "outcome"), [(1, "passed"), (2, "passed"), (3, "failed")])
def test_a_network_error_ends_the_wait_only_as_the_third_in_a_row(times, outcome):
    bench = Bench(make_flow(), arrives_after=5.0)
    state = bench.carry(bench.begin(), until="wait")
    looks = 0
    asked = bench.endpoint

    def endpoint(location):
        nonlocal looks
        if location == TARGET and looks < times:
            looks += 1
            raise ConnectionLost("reset by peer")
        return asked(location)

    bench.tools = dataclasses.replace(bench.tools, endpoint=endpoint)
    run = bench.record(bench.carry(state))
    assert run.verdict is not None
    assert run.verdict.outcome == outcome, run.verdict
    assert run.verdict.cause == (None if outcome == "passed" else "net.reset")
    if outcome == "passed":
        assert run.latency is not None
        assert run.latency.seconds - run.latency.resolution <= 5.0


def test_network_errors_that_are_not_in_a_row_do_not_add_up():
    bench = Bench(make_flow(), arrives_after=20.0)
    asked, count = bench.endpoint, iter(range(10**6))

    def endpoint(location):
        if location == TARGET and bench.now < STARTED.timestamp() + 15 and next(count) % 2 and bench.looked:
            raise ConnectionLost("reset by peer")
        return asked(location)

    bench.tools = dataclasses.replace(bench.tools, endpoint=endpoint)
    run = bench.run()
    assert run.verdict is not None
    assert run.verdict.outcome == "passed", run.verdict


def test_any_other_error_ends_the_wait_at_once():
    bench = Bench(make_flow())
    state = bench.carry(bench.begin(), until="wait")
    bench.world.storage.errors["stat", TARGET.uri()] = AccessDenied("s3:GetObject was denied")
    fails(bench.record(bench.carry(state)), "access.denied")


@pytest.mark.parametrize("step", ["seed", "trigger", "ask"])
def test_a_results_store_that_fails_is_the_testers_fault(step):
    bench = Bench(make_flow())
    case = Case(bench.flow, NO_FILE, "contract") if step == "ask" else None
    state = bench.carry(bench.begin(case), until=step)
    bench.papers.error = ResultsStoreFailed("s3:PutObject was denied")
    state = bench.step(step, state)
    assert bench.world.invocations == []
    fails(bench.record(bench.carry(state)), "tester.results_store")
    assert bench.left() == []


@pytest.mark.parametrize("step", ["seed", "verify"])
def test_a_function_whose_time_is_nearly_up_is_the_testers_fault(step):
    bench = Bench(make_flow())
    state = bench.carry(bench.begin(), until=step)
    bench.time_is_up = True
    state = bench.step(step, state)
    bench.time_is_up = step == "verify"  # what was left is removed all the same
    fails(bench.record(bench.carry(state)), "tester.step_failed", "the time limit of its function was near")
    assert bench.left() == []


def test_a_bug_in_a_step_shows_the_type_of_the_error_and_not_its_text(caplog):
    bench = Bench(make_flow())
    bench.world.storage.errors["put", SOURCE.uri()] = ValueError("hunter2")
    run = bench.run()
    fails(run, "tester.bug", "unexpected ValueError")
    assert "hunter2" not in json.dumps(make_record(bench.begin().case, run)) + caplog.text


# --- Functions that are called


def test_a_function_that_fails_ends_the_run_at_once_even_if_a_file_came():
    bench = Bench(make_flow(CALL))

    def called() -> Started:
        bench.world.deliver(SOURCE.uri(), TARGET.uri())
        raise FunctionFailed("mover failed with ValueError: no", evidence={"log_tail": "END"})

    bench.called = called
    run = bench.run()
    fails(run, "trigger.function_error")
    assert run.verdict.evidence == {"log_tail": "END"}
    assert list(run.timeline) == ["begun", "prepared", "seeded", "triggered", "started", "failed", "judged", "cleaned"]
    assert bench.left() == []


class Called:
    """A function that runs as long as a test wants; the clock goes on whenever somebody looks at the target."""

    def __init__(self, bench: Bench, per_look: float):
        self.bench, self.ended = bench, threading.Event()
        bench.called = self.run
        asked = bench.endpoint

        def endpoint(location):
            if location == TARGET:
                bench.pass_by(per_look)
            return asked(location)

        bench.tools = dataclasses.replace(bench.tools, endpoint=endpoint)

    def run(self) -> Started:
        assert self.ended.wait(30)
        return Started("request-1")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(waiting, "CALL_LOOK_SECONDS", 0.001)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("delivered", "cause", "words"),
    [
        (None, "trigger.timeout", "no file arrived"),
        (bytes, "trigger.timeout", "a file arrived"),
        (lambda content: content + b"!", "trigger.timeout", "a file arrived"),
        (lambda content: content[:-1], "partial.truncated", "9999 of 10000 bytes"),
    ],
)
def test_a_function_that_never_returns_is_a_timeout_as_in_the_engine(delivered, cause, words):
    bench = Bench(make_flow(CALL, expect_within_seconds=5.0, grace_seconds=1.0))
    state = bench.carry(bench.begin(), until="trigger")
    called = Called(bench, 0.0)
    if delivered is not None:
        bench.world.damage = delivered
        bench.world.deliver(SOURCE.uri(), TARGET.uri())
    ticking = threading.Event()

    def tick() -> None:  # once a file was seen, nobody looks any more
        while not ticking.wait(0.005):
            bench.now += 0.5

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        after = bench.step("trigger", state)
    finally:
        ticking.set()
        ticker.join()
        called.ended.set()
    fails(bench.record(bench.carry(after)), cause, words)
    assert bench.left() == []


@pytest.mark.usefixtures("quick")
def test_a_function_that_outlasts_ours_blames_no_flow():
    bench = Bench(make_flow(CALL, expect_within_seconds=3600.0))
    state = bench.carry(bench.begin(), until="trigger")
    called = Called(bench, 1.0)
    bench.due.append((bench.now + 20, lambda: setattr(bench, "time_is_up", True)))
    after = bench.step("trigger", state)
    called.ended.set()
    bench.time_is_up = False
    fails(bench.record(bench.carry(after)), "tester.step_failed", "the time limit of its function was near")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("errors", "outcome"), [(2, "passed"), (3, "failed")])
def test_a_dropped_connection_while_a_function_runs_says_nothing_about_the_flow(errors, outcome):
    bench = Bench(make_flow(CALL))
    state = bench.carry(bench.begin(), until="trigger")
    called, looks = Called(bench, 1.0), 0
    asked = bench.tools.endpoint

    def endpoint(location):
        nonlocal looks
        looks += location == TARGET
        if location == TARGET and looks <= errors:
            raise ConnectionLost("reset by peer")
        if location == TARGET and looks == errors + 1:
            bench.world.deliver(SOURCE.uri(), TARGET.uri())
            called.ended.set()
        return asked(location)

    bench.tools = dataclasses.replace(bench.tools, endpoint=endpoint)
    run = bench.record(bench.carry(bench.step("trigger", state)))
    called.ended.set()
    assert run.verdict is not None
    assert run.verdict.outcome == outcome, run.verdict
    assert run.verdict.cause == (None if outcome == "passed" else "net.reset")


# --- Files that change while they are judged


@pytest.mark.parametrize("transfer", [Transfer("invoke", ARN), CALL])
def test_a_file_that_changes_while_it_is_verified_is_waited_for_again(transfer):
    bench = Bench(make_flow(transfer), arrives_after=0.0)
    if transfer is CALL:

        def called() -> Started:
            bench.world.deliver(SOURCE.uri(), TARGET.uri())
            return Started("request-1")

        bench.called = called
    state = bench.carry(bench.begin(), until="verify")
    assert state.run is not None
    name, looked = state.run.file.name, bench.looked[-1]
    content = bench.world.storage.get(TARGET.uri(), name)
    assert content is not None
    bench.world.storage.put(TARGET.uri(), name, content[:-1])
    again = bench.step("verify", state)
    assert again.next == "wait"
    assert again.decision is None
    assert again.looks is not None
    assert (again.looks["stat"], again.looks["full_at"], again.looks["seen_full"]) == (None, None, True)
    assert again.looks["asked"] == pytest.approx(looked)
    bench.due.append((bench.now + 1.5, lambda: bench.world.storage.put(TARGET.uri(), name, content)))
    came = bench.now + 1.5 - again.looks["triggered"]
    run = bench.record(bench.carry(again))
    assert run.verdict is not None
    assert run.verdict.outcome == "passed", run.verdict
    assert run.latency is not None
    assert run.latency.seconds - run.latency.resolution <= came <= run.latency.seconds
    assert run.latency.resolution <= 2.5


def test_a_file_that_is_gone_when_its_time_is_over_is_judged_at_last():
    bench = Bench(make_flow())
    state = bench.carry(bench.begin(), until="verify")
    assert state.run is not None
    bench.world.storage.remove(TARGET.uri(), state.run.file.name)
    bench.pass_by(120)
    run = bench.record(bench.carry(state))
    assert run.verdict is not None
    assert run.verdict.outcome == "failed"
    assert str(run.verdict.cause).startswith("missing.")


# --- Cases that send no file, and cases that must not begin


@pytest.mark.parametrize("kind", ["contract", "canary"])
def test_a_contract_is_kept_or_says_what_is_not(kind):
    bench = Bench(make_flow())
    run = bench.run(Case(bench.flow, NO_FILE, kind))
    assert run.verdict is not None
    assert run.verdict.outcome == "passed", run.verdict
    assert list(run.timeline)[:2] == ["prepared", "verified"]
    assert bench.left() == []
    bench.world.storage.errors["list", TARGET.uri()] = AccessDenied("s3:ListBucket was denied")
    bench.world.storage.errors["stat", TARGET.uri()] = AccessDenied("s3:GetObject was denied")
    run = bench.run(Case(bench.flow, NO_FILE, kind))
    fails(run, "access.denied")


def test_a_probe_that_is_asked_for_twice_is_removed_once_and_for_all():
    bench = Bench(make_flow())
    state = bench.carry(bench.begin(Case(bench.flow, NO_FILE, "contract")), until="ask")
    bench.step("ask", state)
    run = bench.record(bench.carry(bench.step("ask", state)))
    assert run.verdict is not None
    assert run.verdict.outcome == "passed"
    assert bench.left() == []


def test_what_must_be_refused_and_is_not_fails():
    flow = dataclasses.replace(make_flow(), negative=(Refusal("bad_payload"),))
    bench = Bench(flow)
    bench.called = lambda: Started("request-1", None, "{}")
    case = Case(flow, NO_FILE, "rejects", flow.negative[0])
    run = bench.run(case)
    assert run.case == "rejects-bad_payload"
    assert run.verdict is not None
    fails(run, "negative.accepted")


def test_what_is_not_allowed_is_not_touched():
    bench = Bench(make_flow())
    bench.tools = dataclasses.replace(bench.tools, allow=allow.AllowList(((allow.parse("s3://other/"),),)))
    run = bench.run()
    fails(run, "config.not_allowed")
    assert bench.world.storage.calls == []
    assert list(run.timeline) == ["failed"]


def test_a_run_of_an_execution_that_was_stopped_is_cleaned_up_and_recorded_as_interrupted():
    bench = Bench(make_flow())
    begun = bench.step("seed", bench.carry(bench.begin(), until="seed"))
    mark = bench.papers.marks["seed", begun.run_id]["state"]
    item = {"unsettled": {**mark, "stopped": "ABORTED (one)"}}
    state = State.load({"case": item, "execution": {"id": "arn:two", "name": "two", "started": "later"}})
    run = bench.record(bench.carry(state))
    fails(run, "tester.interrupted", "ABORTED (one)")
    assert run.run_id == begun.run_id
    assert bench.left() == []


# --- Processes that are killed anywhere


class Killed(BaseException):
    """A process was killed: nothing of it goes on."""


class Machine:
    """Carries a case through its states as case.asl.json does, where processes are killed and answers are lost.

    ``fates`` are those of the tries of each step: its answer is lost, or before which of its calls it is killed.
    """

    def __init__(self, bench: Bench, fates: dict[str, list[int | str]]):
        self.bench, self.fuse = bench, None
        self.fates = {step: iter(tries) for step, tries in fates.items()}
        enter, begin, invoke = bench.world.storage.enter, bench.papers.begin, bench.invoke

        def entered(operation: str, place: str) -> None:
            self.call()
            enter(operation, place)

        def begun(step: str, run_id: str, mark: dict[str, Any]) -> dict[str, Any] | None:
            self.call()
            there = begin(step, run_id, mark)
            self.call()
            return there

        def invoked(transfer: Transfer, payload: object) -> Started:
            self.call()
            started = invoke(transfer, payload)
            self.call()
            return started

        bench.world.storage.enter, bench.papers.begin = entered, begun
        bench.tools = dataclasses.replace(bench.tools, invoke=invoked)

    def call(self) -> None:
        if self.fuse is None:
            return
        self.fuse -= 1
        if self.fuse < 0:
            raise Killed

    def attempt(self, step: str, act: Callable[[], Any]) -> Any:
        """Return the answer of a step, None where neither of its two tries gave one."""
        for _ in range(2):
            fate = next(self.fates.get(step, iter(())), None)
            self.fuse = fate if isinstance(fate, int) else None
            try:
                answer = act()
            except Killed:
                self.bench.pass_by(5.0)
                continue
            finally:
                self.fuse = None
            if fate != "lost":
                return answer
        return None

    def run(self) -> Run | None:
        state, step = self.bench.begin(), "prepare"
        caught = {"diagnose": "clean_up", "clean_up": "record"}
        for _ in range(MOST_STEPS):
            if step == "wait":
                self.bench.pass_by(state.wait_seconds)
                step = "check_arrival"
            if step == "record":
                return self.attempt(step, lambda: self.bench.record(state))  # noqa: B023 - it is called now
            after = self.attempt(step, lambda: self.bench.step(step, state))  # noqa: B023 - as above
            if after is None:
                state, step = self.bench.caught(state), caught.get(step, "diagnose")
            else:
                state, step = after, {"diagnose": "clean_up", "clean_up": "record"}.get(step, after.next)
        raise AssertionError("no end")


tries = st.lists(st.just("lost") | st.integers(0, 8), min_size=1, max_size=2)
fates = st.dictionaries(
    st.sampled_from(["prepare", "seed", "trigger", "check_arrival", "verify", "diagnose", "clean_up", "record"]), tries
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([Transfer("invoke", ARN), EVENT]), fates)
def test_wherever_processes_are_killed_a_good_flow_is_not_blamed_and_nothing_is_left_unsaid(transfer, fates):
    bench = Bench(make_flow(transfer, testdata=TestData((Variant("", 100),))), arrives_after=0.0)
    run = Machine(bench, fates).run()
    assert len(bench.world.invocations) <= 1
    assert bench.starts <= 1  # an event-driven flow would deliver twice
    if run is None:  # recording was killed twice: notify misses the run
        return
    assert run.verdict is not None
    assert run.verdict.outcome in ("passed", "error"), run.verdict
    assert run.verdict.cause in (None, "tester.step_failed")
    assert {f"{place}{name}" for place, name in bench.left()} <= set(run.residue)
    if all(tries == ["lost"] for tries in fates.values()):
        assert run.verdict.outcome == "passed", run.verdict


# --- The same as the engine


class ByEngine:
    """The same scenarios, carried out by the engine."""

    def __init__(self, bench: Bench):
        self.bench, self.run_ = bench, None

    def enter(self, key, case, run):
        pass

    def record(self, case, run):
        self.run_ = run
        return run

    def run(self, case: Case) -> Run:
        clock = dataclasses.replace(Clock(), sleep=lambda seconds: None)
        engine = Engine(Limits(4, 10), clock, self)
        tools = dataclasses.replace(self.bench.tools, clock=clock)
        try:
            engine.launch("key", case, tools, Plan())
            run = engine.result("key")
        finally:
            engine.close()
        assert run is not None
        return run


def nothing(bench: Bench) -> None:
    """All is well."""


def invoke_error(error: Exception) -> Callable[[Bench], None]:
    return lambda bench: setattr(bench.world, "invoke_error", error)


def storage_error(operation: str, place: S3Location, error: Exception) -> Callable[[Bench], None]:
    return lambda bench: bench.world.storage.errors.update({(operation, place.uri()): error})


SCENARIOS: dict[str, tuple[Transfer, Callable[[bytes], Any], Callable[[Bench], None], str]] = {
    "passed": (Transfer("invoke", ARN), bytes, nothing, "transfer"),
    "passed, called": (CALL, bytes, nothing, "transfer"),
    "passed, event": (EVENT, bytes, nothing, "transfer"),
    "truncated": (Transfer("invoke", ARN), lambda content: content[:-1], nothing, "transfer"),
    "oversize": (Transfer("invoke", ARN), lambda content: content + b"!", nothing, "transfer"),
    "corrupt": (Transfer("invoke", ARN), lambda content: b"!" + content[1:], nothing, "transfer"),
    "missing": (Transfer("invoke", ARN), lambda content: None, nothing, "transfer"),
    "function fails": (Transfer("invoke", ARN), bytes, invoke_error(FunctionFailed("no")), "transfer"),
    "called function fails": (CALL, bytes, invoke_error(FunctionFailed("no")), "transfer"),
    "throttled": (Transfer("invoke", ARN), bytes, invoke_error(InvokeThrottled("no")), "transfer"),
    "no target": (Transfer("invoke", ARN), bytes, storage_error("stat", TARGET, LocationMissing("no")), "transfer"),
    "no source": (Transfer("invoke", ARN), bytes, storage_error("put", SOURCE, LocationMissing("no")), "transfer"),
    "not readable": (Transfer("invoke", ARN), bytes, storage_error("open", TARGET, AccessDenied("no")), "transfer"),
    "a bug": (Transfer("invoke", ARN), bytes, storage_error("open", TARGET, KeyError("no")), "transfer"),
    "residue": (Transfer("invoke", ARN), bytes, storage_error("delete", TARGET, StorageFailed("no")), "transfer"),
    "contract": (Transfer("invoke", ARN), bytes, nothing, "contract"),
    "contract broken": (Transfer("invoke", ARN), bytes, storage_error("put", SOURCE, AccessDenied("no")), "contract"),
    "canary": (Transfer("invoke", ARN), bytes, nothing, "canary"),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_verdict_and_stamps_are_those_that_the_engine_gives(name):
    transfer, damage, prepare, kind = SCENARIOS[name]
    flow = make_flow(transfer, expect_within_seconds=0.5, grace_seconds=0.1)
    case = Case(flow, flow.testdata.variants[0] if kind == "transfer" else NO_FILE, kind)
    mine, theirs = Bench(flow, damage=damage, arrives_after=0.0), Bench(flow, damage=damage, arrives_after=0.0)
    for bench in (mine, theirs):
        prepare(bench)
    theirs.start = lambda: (
        setattr(theirs.world, "damage", theirs.damage),
        theirs.world.deliver(SOURCE.uri(), TARGET.uri()),
    )
    run, other = mine.run(case), ByEngine(theirs).run(case)
    assert run.verdict is not None
    assert other.verdict is not None
    assert (run.verdict.outcome, run.verdict.cause) == (other.verdict.outcome, other.verdict.cause), run.verdict
    assert set(run.timeline) == set(other.timeline)
    assert [check.name for check in run.checks] == [check.name for check in other.checks]
    assert set(run.evidence) == set(other.evidence)
    assert len(run.residue) == len(other.residue)


WITH_CONTRACTS = dataclasses.replace(EXECUTION, contracts=True)


def contract(outcome: str, cause: str | None = None, reason: str | None = None) -> dict[str, Any]:
    return {"run_id": "c" * 16, "verdict": {"outcome": outcome, "cause": cause, "reason": reason, "evidence": {"a": 1}}}


def held(bench: Bench) -> State:
    return dataclasses.replace(bench.begin(), execution=WITH_CONTRACTS)


def test_a_transfer_waits_for_its_contract_and_begins_once_that_is_kept():
    bench = Bench(make_flow())
    state = bench.step("prepare", held(bench))
    assert (state.next, state.wait_seconds, state.run) == ("wait", 1, None)
    assert bench.step("check_arrival", state).next == "prepare"
    bench.papers.contracts["acme"] = contract("passed")
    assert bench.step("prepare", state).next == "seed"


def test_a_transfer_ends_as_its_contract_did_before_anything_is_sent():
    bench = Bench(make_flow())
    bench.papers.contracts["acme"] = contract("failed", "access.denied", "s3:PutObject was denied")
    run = bench.record(bench.carry(held(bench)))
    fails(run, "access.denied", "not sent: the contract failed: s3:PutObject was denied")
    assert run.verdict is not None
    assert run.verdict.evidence == {"a": 1, "contract_run_id": "c" * 16}
    assert (run.run_id, run.written, bench.starts) == (bench.begin().run_id, (), 0)


@pytest.mark.parametrize("cause", ["tester.interrupted", "tester.bug"])
def test_a_contract_that_says_nothing_of_the_flow_keeps_nobody(cause):
    bench = Bench(make_flow())
    bench.papers.contracts["acme"] = contract("error", cause, "of our own")
    assert bench.step("prepare", held(bench)).next == "seed"


def test_a_contract_that_is_lost_holds_a_transfer_up_for_a_minute_and_no_longer():
    bench = Bench(make_flow())
    state = held(bench)
    for wait in life.HELD_SECONDS:
        state = bench.step("prepare", state)
        assert (state.next, state.wait_seconds) == ("wait", wait)
        state = bench.step("check_arrival", state)
    assert sum(life.HELD_SECONDS) == 60
    assert bench.step("prepare", state).next == "seed"


def test_without_contracts_in_the_execution_nobody_waits_for_any():
    bench = Bench(make_flow())
    assert bench.step("prepare", bench.begin()).next == "seed"
