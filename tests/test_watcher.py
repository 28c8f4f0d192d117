from __future__ import annotations

import dataclasses
import queue
from collections import Counter

import pytest

from pytest_fileflow.arrival import Arrival, Arrived, Expectation, GaveUp
from pytest_fileflow.clock import Clock
from pytest_fileflow.due import DueName
from pytest_fileflow.errors import AccessDenied, ConnectionLost, TesterBug
from pytest_fileflow.model import S3Location, Stat
from pytest_fileflow.watcher import LAUNCHING_SHARE, NETWORK_ERRORS_IN_A_ROW, PROCESSOR_SHARE, Awaited, Pace, Watcher
from tests.support.memory import World

PLACE = S3Location("bucket", "in/")


@pytest.fixture
def watcher():
    watcher = Watcher(Clock(), lookers=4)
    yield watcher
    watcher.close()


def awaited(told: queue.Queue, name: str = "f", size: int = 3, give_up: float = 20.0) -> Awaited:
    arrival = Arrival(Expectation(size, 0, 0.0, give_up, give_up), Clock().monotonic())
    return Awaited(DueName((name,)), arrival, lambda outcome: told.put((name, outcome)))


def test_a_file_that_appears_is_told_once(watcher):
    world, told = World(), queue.Queue()
    endpoint = world.endpoint(PLACE)
    watcher.add(endpoint, awaited(told))
    world.storage.put(endpoint.place, "f", b"abc")
    name, outcome = told.get(timeout=10)
    assert (name, type(outcome)) == ("f", Arrived)
    assert not watcher.remove(endpoint, "f")
    assert told.empty()


def test_a_removed_file_is_never_told(watcher):
    world, told = World(), queue.Queue()
    endpoint = world.endpoint(PLACE)
    watcher.add(endpoint, awaited(told))
    watcher.add(endpoint, awaited(told, "other"))
    assert watcher.remove(endpoint, "f")
    world.storage.put(endpoint.place, "f", b"abc")
    world.storage.put(endpoint.place, "other", b"abc")
    assert told.get(timeout=10)[0] == "other"
    assert told.empty()


def test_many_files_at_one_place_cost_one_listing_a_look_and_no_stat(watcher):
    world, told = World(), queue.Queue()
    endpoint = world.endpoint(PLACE)
    names = [f"file-{number}" for number in range(50)]
    for name in names:
        world.storage.put(endpoint.place, name, b"ab")
    for name in names:
        watcher.add(endpoint, awaited(told, name))
    world.storage.calls.clear()
    for name in names:
        world.storage.put(endpoint.place, name, b"abc")
    assert {told.get(timeout=10)[0] for _ in names} == set(names)
    calls = Counter(operation for operation, _ in world.storage.calls)
    assert calls["list"] <= 10
    assert calls["stat"] <= 6  # the first few files are asked for by name, before there are many


def test_a_hard_error_ends_the_wait_at_once(watcher):
    world, told = World(), queue.Queue()
    endpoint = world.endpoint(PLACE)
    world.storage.errors["stat", endpoint.place] = AccessDenied("s3:GetObject on s3://bucket/in/f was denied")
    watcher.add(endpoint, awaited(told))
    assert isinstance(told.get(timeout=10)[1], AccessDenied)
    assert len(world.storage.calls) == 1


def test_a_network_error_ends_the_wait_only_if_it_stays(watcher):
    world, told = World(), queue.Queue()
    endpoint = world.endpoint(PLACE)
    world.storage.errors["stat", endpoint.place] = ConnectionLost("reset")
    watcher.add(endpoint, awaited(told))
    assert isinstance(told.get(timeout=20)[1], ConnectionLost)
    assert len(world.storage.calls) == NETWORK_ERRORS_IN_A_ROW


def test_a_network_error_that_passes_is_survived(watcher):
    world, told = World(), queue.Queue()
    endpoint = world.endpoint(PLACE)
    error = ConnectionLost("reset")
    world.storage.errors["stat", endpoint.place] = error
    failed = queue.Queue()
    enter = world.storage.enter

    def enter_and_say(operation, place):
        try:
            enter(operation, place)
        except ConnectionLost:
            failed.put(operation)
            raise

    world.storage.enter = enter_and_say
    watcher.add(endpoint, awaited(told))
    failed.get(timeout=10)
    world.storage.put(endpoint.place, "f", b"abc")
    world.storage.errors.clear()
    assert isinstance(told.get(timeout=10)[1], Arrived)


def test_where_listing_is_denied_files_are_asked_for_by_name(watcher):
    world, told = World(), queue.Queue()
    endpoint = world.endpoint(PLACE)
    world.storage.errors["list", endpoint.place] = AccessDenied("s3:ListBucket on s3://bucket was denied")
    names = [f"file-{number}" for number in range(8)]
    for name in names:
        watcher.add(endpoint, awaited(told, name))
    for name in names:
        world.storage.put(endpoint.place, name, b"abc")
    outcomes = dict(told.get(timeout=10) for _ in names)
    assert {type(outcome) for outcome in outcomes.values()} == {Arrived}


def test_the_same_location_behind_two_endpoints_is_two_places(watcher):
    told = queue.Queue()
    here, there = World().endpoint(PLACE), World().endpoint(PLACE)
    there.storage.put(there.place, "f", b"abc")
    watcher.add(here, awaited(told, "other"))
    watcher.add(there, awaited(told))
    assert told.get(timeout=10)[0] == "f"
    watcher.remove(here, "other")


def test_what_a_foreign_endpoint_raises_ends_the_wait_and_is_not_logged(watcher, caplog):
    world, told = World(), queue.Queue()
    endpoint = world.endpoint(PLACE)
    endpoint.stat = lambda name: pytest.skip("password=hunter2")
    watcher.add(endpoint, awaited(told))
    assert isinstance(told.get(timeout=10)[1], TesterBug)
    assert "hunter2" not in caplog.text


def test_the_end_of_the_wait_is_told(watcher):
    world, told = World(), queue.Queue()
    watcher.add(world.endpoint(PLACE), awaited(told, give_up=0.2))
    outcome = told.get(timeout=10)[1]
    assert isinstance(outcome, GaveUp)
    assert outcome.stat is None


def test_a_place_that_hangs_delays_no_other(watcher):
    world, told = World(), queue.Queue()
    hanging, quick = world.endpoint(PLACE), world.endpoint(S3Location("bucket", "other/"))
    release = queue.Queue()
    hanging.stat = lambda name: release.get(timeout=20)
    watcher.add(hanging, awaited(told, "slow"))
    world.storage.put(quick.place, "f", b"abc")
    watcher.add(quick, awaited(told))
    assert told.get(timeout=10)[0] == "f"
    watcher.remove(hanging, "slow")
    release.put(None)


def test_actions_are_called_when_due(watcher):
    called = queue.Queue()
    now = Clock().monotonic()
    watcher.call_at(now + 0.1, lambda: called.put("second"))
    watcher.call_at(now, lambda: called.put("first"))
    assert [called.get(timeout=10), called.get(timeout=10)] == ["first", "second"]


@pytest.mark.parametrize(("launching", "share"), [(False, PROCESSOR_SHARE), (True, LAUNCHING_SHARE)])
def test_looks_take_no_more_than_their_share_of_a_processor_however_many_are_due(launching, share):
    pace, now, cost, looks = Pace(lambda: launching), 100.0, 0.004, 0
    while now < 200.0:
        if pace.allows(now):
            pace.started(now)
            pace.finished(cost)
            looks += 1
        else:
            now += pace.until(now)
    spent = looks * cost / 100.0
    assert share * 0.9 <= spent <= share * 1.2


def test_looks_that_cost_nothing_are_not_held_back():
    pace = Pace(lambda: False)
    for now in (1.0, 1.0, 1.0):
        assert pace.allows(now)
        pace.started(now)
        pace.finished(0.0)


def test_the_place_that_is_longest_due_is_looked_at_first():
    world, order = World(), queue.Queue()

    class Costly:
        """By this clock a look takes the processor for a while, so that few are made at a time."""

        def __init__(self) -> None:
            self.spent = 0.0

        def worked(self) -> float:
            self.spent += 0.01
            return self.spent

    clock = dataclasses.replace(Clock(), worked=Costly().worked)
    watcher = Watcher(clock, lookers=4)
    try:
        for number in range(6):
            endpoint = world.endpoint(S3Location("bucket", f"{number}/"))
            endpoint.stat = lambda name, number=number: order.put(number)
            watcher.add(endpoint, awaited(queue.Queue()))
        seen = [order.get(timeout=20) for _ in range(18)]
    finally:
        watcher.close()
    counts = Counter(seen)
    assert max(counts.values()) - min(counts.values()) <= 1  # nobody starves


class Foreign:
    """An endpoint that somebody wrote: it can be compared, not hashed, and says not where it is."""

    def __init__(self, stat: Stat | object | None = None) -> None:
        self.shown = stat

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None

    def stat(self, name: str) -> object:
        return self.shown


def test_an_endpoint_needs_neither_hash_nor_location(watcher):
    told = queue.Queue()
    watcher.add(Foreign(Stat("f", 3)), awaited(told))
    assert isinstance(told.get(timeout=10)[1], Arrived)


def test_an_answer_that_is_no_stat_ends_the_wait(watcher):
    told = queue.Queue()
    watcher.add(Foreign(stat=object()), awaited(told))
    assert isinstance(told.get(timeout=10)[1], TesterBug)
