"""What must be refused mostly waits: it holds up nobody else, and ends soon once it is told to."""

from __future__ import annotations

import dataclasses
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow.clock import Clock
from pytest_fileflow.errors import AuthRejected
from pytest_fileflow.flight import Limits
from pytest_fileflow.launcher import SMALL_BYTES, Launcher
from pytest_fileflow.model import NO_FILE, PASSED, Case, Refusal, SftpLocation, Transfer
from tests.support.memory import MemoryEndpoint, World
from tests.test_contract import ContractBench, contract_of
from tests.test_engine import TARGET, make_case

if TYPE_CHECKING:
    from collections.abc import Iterator

INBOX = SftpLocation("partner", "acme", "/inbox", "secret", max_sessions=2)
THREADS = 3
MANY = 5  # more than there are threads, and than the login has room for


class Door:
    """A server that answers strangers, one at a time, once it is told to."""

    def __init__(self, *, one_at_a_time: bool) -> None:
        self.one_at_a_time = one_at_a_time
        self.turn = threading.Lock()
        self.answers = threading.Event()
        self.knocks = threading.Semaphore(0)
        self.knocked = 0

    def endpoint_of(self, world: World):
        door = self

        class Behind(MemoryEndpoint):
            def knock(self, stranger: str, name: str) -> None:
                door.knocked += 1
                door.knocks.release()
                assert door.answers.wait(60)
                raise AuthRejected("no", evidence={"tried": ["publickey"]})

            def turn(self):
                return door.turn if door.one_at_a_time else threading.Semaphore(MANY)

        return lambda location: Behind(location, world.storage)


@pytest.fixture
def benches() -> Iterator[list[tuple[ContractBench, Door]]]:
    made: list[tuple[ContractBench, Door]] = []
    yield made
    for bench, door in made:
        door.answers.set()
        bench.engine.close()


def a_bench(benches, *, one_at_a_time: bool) -> tuple[ContractBench, Door]:
    world, door = World(), Door(one_at_a_time=one_at_a_time)
    bench = ContractBench(world, Limits(THREADS, 100))
    world.route(INBOX, TARGET)
    bench.tools = dataclasses.replace(bench.tools, clock=Clock(), endpoint=door.endpoint_of(world))
    benches.append((bench, door))
    return bench, door


def from_inbox(case: Case) -> Case:
    return dataclasses.replace(case, flow=dataclasses.replace(case.flow, source=INBOX))


def strangers() -> list[Case]:
    flows = [from_inbox(make_case(f"stranger{number}")).flow for number in range(MANY)]
    return [Case(flow, NO_FILE, "rejects", Refusal("wrong_key", {"side": "source"})) for flow in flows]


@pytest.mark.parametrize("one_at_a_time", [True, False], ids=["waiting for their turn", "waiting for answers"])
def test_contracts_and_transfers_go_on_while_refusals_wait(benches, one_at_a_time):
    bench, door = a_bench(benches, one_at_a_time=one_at_a_time)
    bench.launch(*strangers())
    for _ in range(1 if one_at_a_time else THREADS):
        assert door.knocks.acquire(timeout=20)
    transfer = from_inbox(make_case("good"))
    landed: list[object] = []

    def collect() -> None:
        landed.extend(run.verdict for run in bench.results(contract_of(transfer), transfer) if run)

    collecting = threading.Thread(target=collect, daemon=True)
    collecting.start()
    collecting.join(20)
    assert landed == [PASSED] * 2
    door.answers.set()
    assert [run.verdict for run in bench.results(*strangers()) if run] == [PASSED] * MANY


def test_who_waits_for_a_turn_when_the_session_ends_does_not_knock(benches):
    bench, door = a_bench(benches, one_at_a_time=True)
    bench.launch(*strangers())
    assert door.knocks.acquire(timeout=20)
    bench.engine.stop()
    door.answers.set()
    causes = [run.verdict.cause for run in bench.engine.close() if run.verdict]
    assert causes.count("tester.interrupted") == MANY - 1
    assert door.knocked == 1


def test_a_trigger_file_alone_is_watched_apart_too_and_ends_when_the_session_does(benches):
    bench, _ = a_bench(benches, one_at_a_time=True)
    waiting = [
        Case(
            from_inbox(make_case(f"alone{number}", transfer=Transfer("trigger_file"))).flow,
            NO_FILE,
            "rejects",
            Refusal("missing_source", {"within_seconds": 3600}),
        )
        for number in range(MANY)
    ]
    bench.launch(*waiting)
    assert [run.verdict for run in bench.results(from_inbox(make_case("good"))) if run] == [PASSED]
    closing = threading.Thread(target=bench.engine.close, daemon=True)
    closing.start()
    closing.join(20)
    assert not closing.is_alive()


def test_refusals_are_launched_last():
    large, small = make_case("flow", SMALL_BYTES + 1), make_case("flow", 1)
    contract = contract_of(small)
    refusal = Case(small.flow, NO_FILE, "rejects", Refusal("wrong_key"))
    cases = [refusal, large, contract, small]
    order = Launcher._order(SimpleNamespace(_part=SimpleNamespace(usual={})), cases)
    assert sorted(cases, key=order, reverse=True) == [contract, small, large, refusal]
