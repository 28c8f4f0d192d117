from __future__ import annotations

import dataclasses
import functools
import signal
import threading
from concurrent.futures import wait

import pytest

from pytest_fileflow import steps, unbroken
from pytest_fileflow.arrival import Arrival
from pytest_fileflow.clock import Clock
from pytest_fileflow.engine import Engine, Limits
from pytest_fileflow.errors import (
    AccessDenied,
    ConnectionLost,
    FunctionFailed,
    LocationMissing,
    NetworkTimeout,
    StorageFailed,
)
from pytest_fileflow.flight import Plan
from pytest_fileflow.model import Case, Flow, S3Location, TestData, Transfer, Validation, Variant
from pytest_fileflow.registry import Registry, register_builtin_patterns
from pytest_fileflow.results.phases import phases_seconds
from pytest_fileflow.streams import Changed, Tools
from pytest_fileflow.work import FEW_THREADS
from tests.support.memory import World

SOURCE = S3Location("source", "out/")
TARGET = S3Location("target", "in/")


def make_case(flow_id: str = "flow", size: int = 10_000, transfer: Transfer | None = None, **validation: float) -> Case:
    rules = {
        "expect_within_seconds": 5.0,
        "grace_seconds": 0.5,
        "post_arrival_wait_seconds": 0.0,
        **validation,
    }
    variant = Variant("", size)
    return Case(
        Flow(
            flow_id,
            SOURCE,
            TARGET,
            transfer or Transfer("invoke", "function"),
            Validation(**rules),
            TestData((variant,)),
            origin="flows/flow.yaml:1",
        ),
        variant,
    )


class Bench:
    """An engine over a world in memory."""

    def __init__(self, world: World, limits: Limits | None = None):
        self.world = world
        world.route(SOURCE, TARGET)
        registry = Registry()
        register_builtin_patterns(registry)
        clock = dataclasses.replace(Clock(), sleep=lambda seconds: None)
        self.tools = Tools(world.endpoint, world.invoke, registry, clock)
        self.recorded = []
        self.entered = []
        self.engine = Engine(limits or Limits(8, 100), clock, self)

    def enter(self, key, case, run):
        self.entered.append(key)

    def record(self, case, run):
        self.recorded.append(run)
        return run

    def run(self, case: Case, key: str = "key"):
        self.engine.launch(key, case, self.tools, Plan())
        return self.engine.result(key)


@pytest.fixture
def bench():
    benches = []

    def make(world: World, limits: Limits | None = None) -> Bench:
        benches.append(Bench(world, limits))
        return benches[-1]

    yield make
    for one in benches:
        one.engine.close()


def test_a_good_transfer_passes_and_leaves_nothing_behind(bench):
    world = World()
    run = bench(world).run(make_case())
    assert run.verdict.outcome == "passed", run.verdict
    assert run.observed.size == 10_000
    assert run.observed.sha256 == run.file.sha256
    assert [check.name for check in run.checks] == ["size", "sha256", "latency", "copies"]
    steps = ["begun", "prepared", "seeded", "triggered", "started", "arrived", "verified", "cleaned"]
    assert list(run.timeline) == steps
    assert list(run.timeline.values()) == sorted(run.timeline.values())
    assert run.latency.seconds >= run.latency.resolution >= 0
    assert run.evidence["lambda_request_id"] == "request-1"
    assert world.storage.everything() == []


def test_sidecars_are_written_before_the_file(bench):
    world = World()
    written = []
    put = world.storage.put
    world.storage.put = lambda place, name, content: (written.append(name), put(place, name, content))
    run = bench(world).run(make_case())
    assert written[:3] == [*run.file.sidecars, run.file.name]


def fails(run, cause, *parts):
    assert (run.verdict.outcome, run.verdict.cause) == ("failed", cause), run.verdict
    assert run.verdict.hint
    for part in parts:
        assert part in run.verdict.reason


def test_late_is_told_from_missing_with_by_how_much(bench):
    run = bench(World(delay=0.5)).run(make_case(expect_within_seconds=0.2, grace_seconds=5))
    fails(run, "late", "over the SLO of 0.20 s")
    assert list(run.timeline)[-4:] == ["arrived", "verified", "judged", "cleaned"]
    assert run.latency.seconds - run.latency.resolution > 0.2


def test_a_file_that_arrives_after_the_grace_is_missing(bench):
    run = bench(World(delay=30)).run(make_case(expect_within_seconds=0.2, grace_seconds=0.2))
    fails(run, "missing.not_picked_up", "still lies at s3://source/out/", "within 0.40 s")
    assert list(run.timeline) == ["begun", "prepared", "seeded", "triggered", "started", "failed", "judged", "cleaned"]
    assert phases_seconds(run.timeline)["wait"] == pytest.approx(0.4, abs=0.2)


def test_a_file_that_was_taken_and_not_delivered_is_lost(bench):
    world = World(damage=lambda content: None)
    world.moves = True
    run = bench(world).run(make_case(expect_within_seconds=0.3, grace_seconds=0.1))
    fails(run, "missing.lost", "is gone from s3://source/out/")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda content: content[:-1], "9999 of 10000 bytes"),
        (lambda content: content[:5000], "these are the right bytes so far"),
        (lambda content: bytes([content[0] ^ 255]) + content[1:5000], "these differ from what was sent from byte 0 on"),
        (lambda content: b"", "0 of 10000 bytes"),
    ],
)
def test_a_short_file_is_truncated(bench, damage, sentence):
    run = bench(World(damage)).run(make_case(expect_within_seconds=0.3, grace_seconds=0.1))
    fails(run, "partial.truncated", sentence)


def test_a_long_file_is_oversize_long_before_the_deadline(bench):
    run = bench(World(lambda content: content + b"!")).run(make_case(expect_within_seconds=60, grace_seconds=10))
    fails(run, "partial.oversize", "10001 bytes, 1 more than the 10000 sent")


@pytest.mark.parametrize("offset", [0, 4095, 4096, 9_999])
def test_wrong_bytes_are_corrupt_and_the_first_is_named(bench, offset):
    def flip(content: bytes) -> bytes:
        return content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :]

    run = bench(World(flip)).run(make_case())
    fails(run, "content.corrupt", f"the first differs at offset {offset}, and 1 of 3 blocks")


def test_without_a_checksum_only_the_size_counts(bench):
    run = bench(World(lambda content: bytes(len(content)))).run(make_case(checksum="none"))
    assert run.verdict.outcome == "passed"
    assert run.observed.sha256 is None


def test_an_empty_file_is_a_file(bench):
    run = bench(World()).run(make_case(size=0))
    assert run.verdict.outcome == "passed", run.verdict


def test_a_target_that_refuses_is_known_before_anything_is_sent(bench):
    world = World()
    world.storage.errors["stat", TARGET.uri()] = AccessDenied("s3:GetObject on s3://target/in/ was denied")
    run = bench(world).run(make_case(expect_within_seconds=900))
    fails(run, "access.denied")
    assert ("put", SOURCE.uri()) not in world.storage.calls
    assert run.residue == ()


def test_a_source_that_refuses_ends_the_run_and_nothing_is_triggered(bench):
    world = World()
    world.storage.errors["put", SOURCE.uri()] = LocationMissing("there is no bucket source")
    run = bench(world).run(make_case(expect_within_seconds=900))
    fails(run, "location.missing")
    assert world.invocations == []


def test_a_trigger_that_fails_ends_the_run_and_the_seed_is_removed(bench):
    world = World()
    world.invoke_error = FunctionFailed("function failed with ValueError: no", evidence={"log_tail": "END"})
    run = bench(world).run(make_case(expect_within_seconds=900))
    fails(run, "trigger.function_error")
    assert run.verdict.evidence == {"log_tail": "END"}
    assert world.storage.everything() == []


def test_a_synchronous_function_that_fails_ends_the_wait_at_once(bench):
    world = World()
    world.invoke_error = FunctionFailed("function failed with ValueError: no")
    case = make_case(transfer=Transfer("invoke", "function", "RequestResponse"), expect_within_seconds=900)
    fails(bench(world).run(case), "trigger.function_error")


def test_a_synchronous_function_that_delivers_and_then_fails_does_not_pass(bench):
    world = World()
    answered = threading.Event()
    bench_ = bench(world)

    def deliver_then_fail(transfer, payload):
        world.deliver(SOURCE.uri(), TARGET.uri())
        answered.wait(10)
        raise FunctionFailed("function failed after the copy")

    bench_.tools = dataclasses.replace(bench_.tools, invoke=deliver_then_fail)
    case = make_case(transfer=Transfer("invoke", "function", "RequestResponse"))
    threading.Timer(0.3, answered.set).start()
    fails(bench_.run(case), "trigger.function_error")


def test_a_synchronous_function_that_never_returns_is_a_timeout(bench):
    bench_ = bench(World())
    released = threading.Event()
    bench_.tools = dataclasses.replace(bench_.tools, invoke=lambda transfer, payload: released.wait(30))
    case = make_case(
        transfer=Transfer("invoke", "function", "RequestResponse"),
        expect_within_seconds=0.3,
        grace_seconds=0.1,
    )
    fails(bench_.run(case), "trigger.timeout", "had not returned 0.4 s after", "no file arrived")
    released.set()


def test_the_payload_template_is_filled_in(bench):
    world = World()
    payload = {"file": "${source.key}", "run": ["${run_id}"], "size": "${file.size}"}
    run = bench(world).run(make_case(transfer=Transfer("invoke", "function", payload=payload)))
    assert world.invocations == [{"file": f"out/{run.file.name}", "run": [run.run_id], "size": "10000"}]


def test_a_trigger_file_is_written_last_and_removed(bench):
    world = World()
    written = []
    put = world.storage.put

    def put_and_deliver(place, name, content):
        put(place, name, content)
        written.append(name)
        if name.endswith(".done"):
            world.deliver(SOURCE.uri(), TARGET.uri())

    world.storage.put = put_and_deliver
    run = bench(world).run(make_case(transfer=Transfer("trigger_file")))
    assert run.verdict.outcome == "passed", run.verdict
    assert written.index(run.file.name) < written.index(f"{run.file.name}.done")
    assert world.storage.everything() == []  # nor is the copy that this transfer made of it at the target


def test_what_cannot_be_removed_is_named(bench):
    world = World()
    world.storage.errors["delete", TARGET.uri()] = AccessDenied("s3:DeleteObject on s3://target/in/ was denied")
    run = bench(world).run(make_case())
    fails(run, "cleanup.residue", "3 files could not be removed", "s3:DeleteObject")
    assert run.residue == tuple(f"s3://target/in/{name}" for name in (run.file.name, *run.file.sidecars))


def test_a_side_that_cannot_be_reached_is_tried_once(bench):
    world = World()
    world.storage.errors["delete", TARGET.uri()] = ConnectionLost("reset by peer")
    run = bench(world).run(make_case())
    fails(run, "cleanup.residue", "reset by peer")
    assert len(run.residue) == 3
    assert world.storage.calls.count(("delete", TARGET.uri())) == 1


def test_residue_never_hides_a_graver_verdict(bench):
    world = World(lambda content: content + b"!")
    world.storage.errors["delete", TARGET.uri()] = AccessDenied("denied")
    run = bench(world).run(make_case())
    fails(run, "partial.oversize")
    assert len(run.residue) == 3


def test_a_connection_that_breaks_while_verifying_is_taken_up_where_it_broke(bench):
    world = World()
    bench_ = bench(world)
    offsets = []

    def endpoint(location):
        made = world.endpoint(location)
        opened = made.open

        def breaking(name, offset=0, version=None):
            offsets.append(offset)
            return _Breaking(opened(name, offset, version)) if len(offsets) < 3 else opened(name, offset, version)

        made.open = breaking
        return made

    bench_.tools = dataclasses.replace(bench_.tools, endpoint=endpoint)
    run = bench_.run(make_case(size=300_000))
    assert run.verdict.outcome == "passed", run.verdict
    assert offsets == [0, 65536, 131072]


class _Breaking:
    def __init__(self, inner):
        self.inner = inner

    def __enter__(self):
        chunks = self.inner.__enter__()

        def one_then_reset():
            yield next(chunks)
            raise ConnectionLost("reset by peer")

        return one_then_reset()

    def __exit__(self, *exc):
        return self.inner.__exit__(*exc)


def test_a_file_that_is_replaced_while_it_is_verified_is_waited_for_again(bench):
    world = World()
    bench_ = bench(world)
    swapped = []

    def endpoint(location):
        made = world.endpoint(location)
        opened = made.open

        def swapping(name, offset=0, version=None):
            if not swapped:
                swapped.append(name)
                world.storage.put(TARGET.uri(), name, world.storage.get(TARGET.uri(), name))
            return opened(name, offset, version)

        made.open = swapping
        return made

    bench_.tools = dataclasses.replace(bench_.tools, endpoint=endpoint)
    run = bench_.run(make_case())
    assert run.verdict.outcome == "passed", run.verdict
    assert swapped


def test_a_function_that_skips_or_exits_ends_the_run_and_hangs_nothing(bench):
    bench_ = bench(World())
    for invocation in ("Event", "RequestResponse"):
        bench_.tools = dataclasses.replace(bench_.tools, invoke=lambda transfer, payload: pytest.skip("not today"))
        run = bench_.run(make_case(transfer=Transfer("invoke", "function", invocation)))
        assert run.verdict.cause == "tester.bug", invocation


def test_a_file_that_is_rewritten_for_ever_is_not_called_lost(bench):
    world = World()
    bench_ = bench(world)
    stop = threading.Event()

    def rewrite():
        while not stop.wait(0.02):
            for name in world.storage.names(TARGET.uri()):
                content = world.storage.get(TARGET.uri(), name)
                if content is not None:
                    world.storage.put(TARGET.uri(), name, content)

    threading.Thread(target=rewrite, daemon=True).start()
    run = bench_.run(make_case(expect_within_seconds=0.5, grace_seconds=0.1, post_arrival_wait_seconds=1.0))
    stop.set()
    fails(run, "duplicate", "holds the right bytes", "never at rest for 1 s")


def test_a_transfer_that_changes_the_file_needs_no_checksum(bench):
    world = World(lambda content: content[:-1])
    run = bench(world).run(make_case(size_tolerance_bytes=1))
    fails(run, "content.corrupt", "9999 bytes in place of 10000", "checksum: none")
    run = bench(World(lambda content: content[:-1])).run(make_case(size_tolerance_bytes=1, checksum="none"))
    assert run.verdict.outcome == "passed"


def test_a_file_that_was_there_before_it_was_sent_is_not_taken_for_an_arrival(bench):
    world = World()
    bench_ = bench(world)
    run = steps.prepare(make_case(), bench_.tools)
    world.storage.put(TARGET.uri(), run.file.name, b"old")
    with pytest.raises(StorageFailed, match="was there before it was sent"):
        steps.check_target(make_case().flow, run, bench_.tools)


def test_a_mismatch_is_read_again_before_it_is_called_corrupt(bench):
    world = World()
    bench_ = bench(world)
    reads = []

    def endpoint(location):
        made = world.endpoint(location)
        opened = made.open

        def once_wrong(name, offset=0, version=None):
            reads.append(name)
            return _Zeros(opened(name, offset, version)) if len(reads) == 1 else opened(name, offset, version)

        made.open = once_wrong
        return made

    bench_.tools = dataclasses.replace(bench_.tools, endpoint=endpoint)
    run = bench_.run(make_case())
    assert run.verdict.outcome == "passed", run.verdict
    assert len(reads) == 3  # wrong, right, and the whole verification once more


class _Zeros:
    def __init__(self, inner):
        self.inner = inner

    def __enter__(self):
        return (bytes(len(chunk)) for chunk in self.inner.__enter__())

    def __exit__(self, *exc):
        return self.inner.__exit__(*exc)


def test_a_bug_in_a_step_is_the_testers_fault_and_shows_no_values(bench):
    world = World()
    world.storage.errors["put", SOURCE.uri()] = RuntimeError("password=hunter2")
    run = bench(world).run(make_case())
    assert (run.verdict.outcome, run.verdict.cause) == ("error", "tester.bug")
    assert "RuntimeError" in run.verdict.reason
    assert "hunter2" not in str(dataclasses.asdict(run))


def test_a_record_that_cannot_be_made_loses_no_run(bench):
    bench_ = bench(World())
    bench_.record = lambda case, run: 1 / 0
    run = bench_.run(make_case())
    assert (run.verdict.outcome, run.verdict.cause) == ("error", "tester.bug")
    assert "ZeroDivisionError" in run.evidence["tester_bug"]


def test_a_bug_while_cleaning_up_hides_no_verdict_and_loses_no_record(bench):
    world = World(lambda content: content + b"!")
    world.storage.errors["delete", TARGET.uri()] = RuntimeError("somebody's endpoint")
    bench_ = bench(world)
    fails(bench_.run(make_case()), "partial.oversize")
    assert len(bench_.recorded) == 1
    assert "while cleaning up" in bench_.recorded[0].evidence["tester_bug"]


def test_a_fault_of_the_engine_itself_still_answers(bench):
    bench_ = bench(World())
    bench_.engine._land = lambda flight, run: 1 / 0
    assert bench_.run(make_case()).verdict.cause == "tester.bug"


def test_a_second_run_of_the_same_item_is_a_new_attempt(bench):
    bench_ = bench(World())
    first, second = bench_.run(make_case()), bench_.run(make_case())
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.run_id != second.run_id


def test_closing_cancels_cleans_up_and_records_what_is_under_way(bench):
    world = World(delay=60)
    bench_ = bench(world)
    seeded = threading.Event()
    put = world.storage.put
    world.storage.put = lambda place, name, content: (put(place, name, content), seeded.set())
    for number in range(5):
        case = make_case(f"flow{number}", expect_within_seconds=60)
        bench_.engine.launch(number, case, bench_.tools, Plan())
    assert seeded.wait(10)
    runs = bench_.engine.close()
    assert {run.verdict.cause for run in runs} == {"tester.interrupted"}
    assert len(bench_.recorded) == 5
    assert world.storage.everything() == []


def test_closing_leaves_what_never_started_alone(bench):
    world = World(delay=60)
    bench_ = bench(world, Limits(8, max_in_flight=2))
    for number in range(6):
        bench_.engine.launch(number, make_case(f"flow{number}"), bench_.tools, Plan())
    assert len(bench_.engine.close()) == 2
    assert world.storage.everything() == []


def test_no_more_runs_are_in_flight_than_allowed(bench):
    world = World(delay=0.2)
    bench_ = bench(world, Limits(8, max_in_flight=3))
    in_flight, most, lock = [0], [0], threading.Lock()
    invoke = bench_.tools.invoke

    def counting(transfer, payload):
        with lock:
            in_flight[0] += 1
            most[0] = max(most[0], in_flight[0])
        return invoke(transfer, payload)

    def recording(case, run):
        with lock:
            in_flight[0] -= 1
        return run

    bench_.tools = dataclasses.replace(bench_.tools, invoke=counting)
    bench_.record = recording
    for number in range(9):
        bench_.engine.launch(number, make_case(f"flow{number}"), bench_.tools, Plan())
    assert all(bench_.engine.result(number).verdict.outcome == "passed" for number in range(9))
    assert most[0] == 3


def test_a_target_is_met_once_however_many_runs_go_there(bench):
    world = World()
    bench_ = bench(world)
    for number in range(9):
        bench_.engine.launch(number, make_case(f"flow{number}"), bench_.tools, Plan())
    assert {bench_.engine.result(number).verdict.outcome for number in range(9)} == {"passed"}
    before_the_first_put = world.storage.calls[: world.storage.calls.index(("put", SOURCE.uri()))]
    assert before_the_first_put == [("stat", TARGET.uri())]


def test_a_target_that_refused_one_run_is_asked_again_by_the_next(bench):
    world = World()
    bench_ = bench(world)
    world.storage.errors["stat", TARGET.uri()] = AccessDenied("s3:GetObject was denied")
    enter, asked = world.storage.enter, []

    def enter_once(operation, place):
        asked.append(operation)
        try:
            enter(operation, place)
        finally:
            world.storage.errors.clear()

    world.storage.enter = enter_once
    for number in range(4):
        bench_.engine.launch(number, make_case(f"flow{number}"), bench_.tools, Plan())
    causes = [bench_.engine.result(number).verdict.cause for number in range(4)]
    assert causes == ["access.denied", None, None, None]


def test_a_dead_target_does_not_keep_other_flows_waiting(bench):
    world = World()
    bench_ = bench(world, Limits(2, 100))
    release = threading.Event()
    dead = S3Location("dead", "in/")

    def endpoint(location):
        made = world.endpoint(location)
        if location == dead:
            made.stat = lambda name: (release.wait(20), world.storage.enter("stat", "dead"))[1]
        return made

    bench_.tools = dataclasses.replace(bench_.tools, endpoint=endpoint)
    stuck = make_case("stuck")
    stuck = dataclasses.replace(stuck, flow=dataclasses.replace(stuck.flow, target=dead))
    for number in range(5):
        bench_.engine.launch(f"stuck{number}", stuck, bench_.tools, Plan())
    try:
        assert bench_.run(make_case("alive")).verdict.outcome == "passed"
    finally:
        release.set()


def test_a_target_that_cannot_be_reached_is_tried_once_for_all_that_wait_for_it(bench):
    world = World()
    bench_ = bench(world)
    asked, release = [], threading.Event()
    enter = world.storage.enter

    def enter_and_time_out(operation, place):
        if operation == "stat":
            asked.append(place)
            assert release.wait(20)
            raise NetworkTimeout("no answer within 10 s")
        enter(operation, place)

    world.storage.enter = enter_and_time_out
    for number in range(20):
        bench_.engine.launch(number, make_case(f"flow{number}"), bench_.tools, Plan())
    release.set()
    assert {bench_.engine.result(number).verdict.cause for number in range(20)} == {"net.timeout"}
    assert len(asked) == 1


def test_many_dead_targets_do_not_keep_other_flows_waiting(bench):
    """As many as begin at once while the process computes: they end nothing, so nothing else would begin."""
    world = World()
    bench_ = bench(world, Limits(4 * FEW_THREADS, 1000))
    release = threading.Event()

    def endpoint(location):
        made = world.endpoint(location)
        if location.bucket.startswith("dead"):
            made.stat = lambda name: release.wait(20) and None
        return made

    bench_.tools = dataclasses.replace(bench_.tools, endpoint=functools.cache(endpoint))
    for number in range(2 * FEW_THREADS):
        case = make_case("stuck")
        flow = dataclasses.replace(case.flow, target=S3Location(f"dead-{number}", "in/"))
        bench_.engine.launch(number, dataclasses.replace(case, flow=flow), bench_.tools, Plan())
    try:
        assert bench_.run(make_case("alive")).verdict.outcome == "passed"
        assert [run.flow_id for run in bench_.recorded] == ["alive"]  # nothing had to end first
    finally:
        release.set()


def test_a_run_that_is_cancelled_as_it_goes_back_to_waiting_is_ended(bench, monkeypatch):
    """Its file changed while it was verified; the session ends just when that is found out."""
    world = World()
    bench_ = bench(world)
    inside, go = threading.Event(), threading.Event()
    start_over = Arrival.start_over

    def verify_nothing(flow, run, arrived, tools):
        world.storage.remove(TARGET.uri(), run.file.name)
        raise Changed

    def start_over_slowly(arrival):
        inside.set()
        assert go.wait(20)
        start_over(arrival)

    monkeypatch.setattr(steps, "verify", verify_nothing)
    monkeypatch.setattr(Arrival, "start_over", start_over_slowly)
    bench_.engine.launch("key", make_case(expect_within_seconds=300), bench_.tools, Plan())
    assert inside.wait(20)
    ended = []
    closing = threading.Thread(target=lambda: ended.extend(bench_.engine.close()))
    flight = bench_.engine._flights["key"]
    closing.start()
    assert flight.cancelled.wait(20)
    go.set()
    closing.join(20)
    assert [run.verdict.cause for run in ended] == ["tester.interrupted"]


def test_what_was_never_begun_when_the_engine_stops_has_no_result(bench):
    bench_ = bench(World(delay=30), Limits(8, max_in_flight=1))
    for number in range(3):
        bench_.engine.launch(number, make_case(f"flow{number}", expect_within_seconds=60), bench_.tools, Plan())
    bench_.engine.stop()
    bench_.engine.launch("late", make_case(), bench_.tools, Plan())
    assert bench_.engine.result(0).verdict.cause == "tester.interrupted"
    assert [bench_.engine.result(key) for key in (1, 2, "late")] == [None] * 3
    assert [run.flow_id for run in bench_.recorded] == ["flow0"]
    assert bench_.world.storage.everything() == []


def test_a_run_of_a_lost_process_is_cleaned_up_and_recorded_and_the_next_is_a_further_attempt(bench):
    world = World()
    bench_ = bench(world)
    case = make_case()
    lost = steps.enter_ledger(case.flow, steps.prepare(case, bench_.tools, attempt=1))
    steps.seed(case.flow, lost, bench_.tools)
    assert world.storage.names(SOURCE.uri())
    bench_.engine.abandon("key", case, lost, bench_.tools, clean_up=True)
    assert bench_.run(case).attempt == 2
    bench_.engine.close()
    assert [(run.run_id == lost.run_id, run.verdict.cause) for run in bench_.recorded].count(
        (True, "tester.interrupted")
    ) == 1
    assert world.storage.everything() == []


def test_a_run_is_entered_before_its_first_byte_is_sent(bench):
    world = World()
    bench_ = bench(world)
    order = []
    put = world.storage.put
    world.storage.put = lambda place, name, content: (order.append("put"), put(place, name, content))
    bench_.enter = lambda key, case, run: order.append(f"enter {key}")
    bench_.run(make_case())
    assert order[:2] == ["enter key", "put"]


def test_whoever_waits_for_a_run_wakes_now_and_then_so_that_no_signal_is_lost(bench, monkeypatch):
    """Python may block on a lock just as a signal comes, and sees it only when it is awake again."""
    timeouts = []

    def watched(futures, timeout=None):
        timeouts.append(timeout)
        return wait(futures, timeout)

    monkeypatch.setattr(unbroken, "wait", watched)
    bench_ = bench(World())
    bench_.run(make_case())
    bench_.engine.launch("other", make_case(), bench_.tools, Plan())
    bench_.engine.close()
    assert len(timeouts) >= 2
    assert all(timeout is not None and timeout < 1 for timeout in timeouts)


def test_no_thread_is_left_when_the_engine_is_closed(bench):
    bench_ = bench(World())
    bench_.run(make_case())
    bench_.engine.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("fileflow")] == []


def closes(bench_) -> bool:
    closing = threading.Thread(target=bench_.engine.close, daemon=True)
    closing.start()
    closing.join(20)
    return not closing.is_alive()


def test_a_run_that_could_not_be_handed_to_a_thread_hangs_nobody(monkeypatch):
    bench_ = Bench(World())

    def broken(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_.engine._work, "submit", broken)
    with pytest.raises(KeyboardInterrupt):
        bench_.engine.launch("key", make_case(), bench_.tools, Plan())
    monkeypatch.undo()
    assert closes(bench_)


class _Signalled(BaseException):
    """As Ctrl-C and pytest-timeout end a test; what is an Exception may keep a thread from starting, noisily."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer signals here")
def test_a_signal_while_runs_are_launched_loses_none_of_them(monkeypatch):
    def raise_it(_number, _frame):
        raise _Signalled

    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    before = signal.signal(signal.SIGALRM, raise_it)
    broken_off = 0
    try:
        for trial in range(20):
            bench_ = Bench(World(), Limits(8, 300))
            launched = 0
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.001 * (trial + 1))
                for number in range(300):
                    bench_.engine.launch(number, make_case(f"flow{number}", 100), bench_.tools, Plan())
                    launched = number + 1
                signal.setitimer(signal.ITIMER_REAL, 0)
            except _Signalled:
                broken_off += 1
                if launched:
                    assert bench_.engine.result(launched - 1) is not None
            assert closes(bench_), f"trial {trial} hangs"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert broken_off > 5


def test_after_a_signal_nothing_further_is_launched(monkeypatch):
    """The step under way is taken whole, and the main thread goes on as it was told to."""
    under_way, go_on, taken = threading.Event(), threading.Event(), []

    def first() -> None:
        under_way.set()
        go_on.wait(20)
        taken.append("first")

    def interrupted(futures, timeout=None):
        monkeypatch.undo()
        assert under_way.wait(20)
        threading.Timer(0.05, go_on.set).start()
        raise _Signalled

    monkeypatch.setattr(unbroken, "wait", interrupted)
    with pytest.raises(_Signalled):
        unbroken.carry_out([first, lambda: taken.append("second")])
    go_on.set()
    assert [thread for thread in threading.enumerate() if thread.name == "fileflow-steps" and thread.join(20)] == []
    assert taken == ["first"]
