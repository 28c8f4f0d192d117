from __future__ import annotations

import dataclasses
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_fileflow.allow import AllowList, parse
from pytest_fileflow.engine import Limits
from pytest_fileflow.errors import LocationMissing
from pytest_fileflow.flight import Flight, Plan
from pytest_fileflow.model import Case, Flow, Location, S3Location, SftpLocation, Transfer, Validation, Variant
from pytest_fileflow.streams import Tools
from pytest_fileflow.turns import Queues, Widths
from tests.support.memory import World
from tests.test_engine import Bench

BUCKET = S3Location("box", "in/")


def at(host: str, folder: str = "/in", max_runs: int | None = None) -> SftpLocation:
    return SftpLocation(host, "acme", folder, "secret", max_runs=max_runs)


def case_of(name: str, source: Location, target: Location = BUCKET, kind: str = "transfer") -> Case:
    rules = Validation(30.0, 1.0, post_arrival_wait_seconds=0.0)
    return Case(Flow(name, source, target, Transfer("invoke", name), rules), Variant("", 100), kind)


class Field:
    """Queues, and the flights that go through them."""

    def __init__(self, widths: Widths) -> None:
        self.queues = Queues(widths)
        self.number = 0

    def flight(self, *hosts: str) -> Flight:
        ends = [at(host) for host in hosts]
        self.number += 1
        tools = Tools(None, None, None, None)  # type: ignore[arg-type]
        return Flight(self.number, case_of("flow", *ends), tools, Plan(), attempt=1, order=self.number)


def test_a_server_takes_as_many_as_it_may_the_first_launched_first():
    field = Field(Widths(2))
    flights = [field.flight("host") for _ in range(5)]
    assert [field.queues.admits(flight) for flight in flights] == [True, True, False, False, False]
    assert field.queues.next_at(flights[0]) == []
    assert field.queues.gone(flights[1]) == [flights[2]]
    assert field.queues.admits(flights[2])
    assert field.queues.gone(flights[0]) == [flights[3]]


def test_a_host_is_one_however_it_is_spelled_and_its_ports_are_not():
    field = Field(Widths(1))
    assert field.queues.admits(field.flight("Host."))
    assert not field.queues.admits(field.flight("host"))
    other = SftpLocation("host", "acme", "/in", "secret", port=2222)
    assert Widths.of([case_of("flow", other).flow], None, 1, None).at(("host", 22)) is None


def test_both_ends_are_taken_at_once_or_none():
    field = Field(Widths(1))
    first, both, second = field.flight("a"), field.flight("b", "a"), field.flight("b")
    assert field.queues.admits(first)
    assert not field.queues.admits(both)
    assert field.queues.admits(second)
    assert field.queues.gone(first) == [both]
    assert not field.queues.admits(both)  # it waits at the other end now
    assert field.queues.gone(second) == [both]
    assert field.queues.admits(both)


def test_the_smallest_number_counts():
    flows = [case_of("a", at("host", max_runs=5)).flow, case_of("b", BUCKET, at("HOST", max_runs=3)).flow]
    widths = Widths.of(flows, 10, 1, None)
    assert (widths.at(("host", 22)), widths.at(("other", 22))) == (3, 10)
    assert Widths.of(flows, 2, 1, None).at(("host", 22)) == 2
    assert Widths.of([], None, 1, None).turns_at(("host", 22)) is None


def test_workers_share_turns_and_take_turns_where_there_are_fewer_than_workers(tmp_path):
    folder = tmp_path / "turns"
    assert Widths(9, sharers=4, folder=folder).turns_at(("host", 22)).width == 2
    one, other, third = (Field(Widths(2, sharers=4, folder=folder)) for _ in range(3))
    flights = [field.flight("host") for field in (one, other, third)]
    assert [field.queues.admits(flight) for field, flight in zip((one, other, third), flights, strict=True)] == [
        True,
        True,
        False,
    ]
    assert third.queues.next_at(flights[2]) == []  # or it would be asked for again and again
    assert third.queues.retry() == [flights[2]]
    assert not third.queues.admits(flights[2])
    one.queues.gone(flights[0])
    assert third.queues.retry() == [flights[2]]
    assert third.queues.admits(flights[2])
    other.queues.gone(flights[1])
    third.queues.gone(flights[2])


HOSTS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=2)


@given(st.lists(HOSTS, max_size=25), st.integers(1, 3), st.randoms(use_true_random=False))
def test_all_get_their_turn_and_never_too_many_at_once(wanted, width, chance):
    field = Field(Widths(width))
    queue = [field.flight(*hosts) for hosts in wanted]
    under_way, landed = [], []
    while queue or under_way:
        if queue and (not under_way or chance.random() < 0.6):
            queue.sort(key=lambda flight: flight.order)
            flight = queue.pop(0)
            if field.queues.admits(flight):
                under_way.append(flight)
            queue += field.queues.next_at(flight)
        else:
            flight = under_way.pop(chance.randrange(len(under_way)))
            landed.append(flight)
            queue += field.queues.gone(flight)
        for host in "abcd":
            assert (
                sum(host in (one.case.flow.source.host, getattr(one.case.flow.target, "host", "")) for one in under_way)
                <= width
            )
    assert len(landed) == len(wanted)


class Held(World):
    """A world whose functions deliver when they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.changed = threading.Condition()
        self.free: set[str] = set()

    def invoke(self, transfer, payload):
        with self.changed:
            self.begun.append(transfer.lambda_arn)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: transfer.lambda_arn in self.free, 60)
        return super().invoke(transfer, payload)

    def let_go(self, *names: str) -> None:
        with self.changed:
            self.free.update(names)
            self.changed.notify_all()

    def wait_for(self, *names: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: set(names) <= set(self.begun), 60), self.begun


@pytest.fixture
def bench():
    world = Held()
    one = Bench(world, Limits(16, 100, Widths(2)))
    yield one
    world.let_go(*world.routes)
    one.engine.close()


def launch(bench: Bench, *cases: Case) -> None:
    for case in cases:
        bench.world.route(case.flow.source, case.flow.target, case.flow.flow_id)
    bench.engine.launch_all([(case.name, case, bench.tools, Plan()) for case in cases])


def test_a_full_server_holds_up_only_its_own_runs(bench):
    many = [case_of(f"full{number}", at("full.example", f"/{number}")) for number in range(6)]
    other = case_of("other", at("other.example"))
    launch(bench, *many, other)
    bench.world.wait_for("full0", "full1", "other")
    bench.world.let_go("other")
    assert bench.engine.result(other.name).verdict.outcome == "passed"
    assert sorted(bench.world.begun) == ["full0", "full1", "other"]
    bench.world.let_go("full1")
    bench.world.wait_for("full2")
    assert "full3" not in bench.world.begun
    bench.world.let_go(*(case.flow.flow_id for case in many))
    assert {bench.engine.result(case.name).verdict.outcome for case in many} == {"passed"}
    assert sorted(bench.world.begun) == sorted([*(case.flow.flow_id for case in many), "other"])


def test_contracts_take_no_turn_and_let_their_transfers_wait_for_one(bench):
    cases = [case_of(f"flow{number}", at("full.example", f"/{number}")) for number in range(4)]
    contracts = [Case(case.flow, case.variant, "contract") for case in cases]
    launch(bench, *contracts, *cases)
    bench.world.let_go(*(case.flow.flow_id for case in cases))
    outcomes = [bench.engine.result(case.name).verdict for case in (*contracts, *cases)]
    assert {verdict.outcome for verdict in outcomes} == {"passed"}, outcomes


def test_who_waits_for_a_turn_is_cancelled_with_the_session(bench):
    cases = [case_of(f"flow{number}", at("full.example", f"/{number}")) for number in range(4)]
    launch(bench, *cases)
    bench.world.wait_for("flow0", "flow1")
    bench.engine.stop()
    bench.world.let_go("flow0", "flow1")
    assert [bench.engine.result(case.name) is None for case in cases] == [False, False, True, True]


def test_who_is_refused_needs_no_turn(bench):
    held = [case_of(f"flow{number}", at("full.example", f"/{number}")) for number in range(2)]
    launch(bench, *held)
    bench.world.wait_for("flow0", "flow1")
    failing = case_of("failing", at("full.example", "/gone"))
    bench.world.storage.errors["list", failing.flow.source.uri()] = LocationMissing("there is no /gone")
    not_allowed = case_of("other", at("full.example", "/other"))
    allow = AllowList(((parse("sftp://full.example/gone"), parse("s3://box"), parse("lambda:*")),))
    bench.tools = dataclasses.replace(bench.tools, allow=allow)
    launch(bench, Case(failing.flow, failing.variant, "contract"), failing, not_allowed)
    assert bench.engine.result(failing.name).verdict.cause == "location.missing"
    assert bench.engine.result(not_allowed.name).verdict.cause == "config.not_allowed"
    assert sorted(bench.world.begun) == ["flow0", "flow1"]


def test_turns_that_cannot_be_taken_end_the_run_and_hang_nobody(tmp_path):
    (tmp_path / "file").touch()
    bench = Bench(Held(), Limits(16, 100, Widths(1, sharers=2, folder=tmp_path / "file")))
    cases = [case_of(f"flow{number}", at("full.example", f"/{number}")) for number in range(2)]
    launch(bench, *cases)
    assert {bench.engine.result(case.name).verdict.cause for case in cases} == {"tester.bug"}
    bench.engine.close()
