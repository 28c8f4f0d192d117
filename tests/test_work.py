from __future__ import annotations

import threading

import pytest

from pytest_fileflow.work import FEW_THREADS, LOAD_SECONDS, Lane, Load, WorkPool

SECONDS = 20


@pytest.fixture
def pool():
    pools = []

    def make(threads: int) -> WorkPool:
        pools.append(WorkPool(threads, "test-work"))
        return pools[-1]

    yield make
    for one in pools:
        one.close()


class Held:
    """Work that says when it has begun, and goes on until it is let go."""

    def __init__(self) -> None:
        self.begun, self.free = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.free.wait(SECONDS)


def test_a_full_lane_holds_up_only_its_own(pool):
    work, slow = pool(4), Lane("slow", 1)
    first, second, other = Held(), Held(), Held()
    done = [work.submit(each, lanes) for each, lanes in ((first, (slow,)), (second, (slow,)), (other, ()))]
    assert first.begun.wait(SECONDS)
    assert other.begun.wait(SECONDS)
    assert not second.begun.is_set()
    first.free.set()
    assert second.begun.wait(SECONDS)
    for each in (second, other):
        each.free.set()
    assert [each.result(SECONDS) for each in done] == [None] * 3


def test_work_takes_room_in_every_lane_it_needs(pool):
    work, left, right = pool(4), Lane("left", 1), Lane("right", 1)
    both, one = Held(), Held()
    work.submit(both, (left, right))
    assert both.begun.wait(SECONDS)
    done = work.submit(one, (right,))
    assert not one.begun.is_set()
    one.free.set()
    both.free.set()
    assert done.result(SECONDS) is None


def test_urgent_work_goes_first_then_by_its_order_then_the_older(pool):
    work, order = pool(1), []
    block = Held()
    work.submit(block)
    assert block.begun.wait(SECONDS)
    done = [
        work.submit(lambda name=name: order.append(name), (Lane(name, 1),), urgent=urgent, order=rank)
        for name, urgent, rank in (("a", False, 1), ("b", True, 2), ("c", False, 1), ("d", True, 2), ("e", True, 1))
    ]
    assert work.has_urgent()
    block.free.set()
    for each in done:
        each.result(SECONDS)
    assert order == ["e", "b", "d", "a", "c"]
    assert not work.has_urgent()


def test_no_more_runs_at_a_time_than_there_are_threads(pool):
    work, lock, now, most = pool(3), threading.Lock(), [0], [0]

    def count() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        with lock:
            now[0] -= 1

    for each in [work.submit(count, (Lane(number % 5, 2),)) for number in range(300)]:
        each.result(SECONDS)
    assert most[0] <= 3


def test_what_fails_is_told_and_frees_its_lane(pool):
    work, lane = pool(2), Lane("one", 1)

    def fail() -> None:
        raise KeyError("lost")

    failed = work.submit(fail, (lane,))
    with pytest.raises(KeyError, match="lost"):
        failed.result(SECONDS)
    assert work.submit(lambda: None, (lane,)).result(SECONDS) is None


class Time:
    """A clock, and the processor time that went by with it."""

    def __init__(self) -> None:
        self.now = self.worked = 0.0

    def go(self, seconds: float, busy: float) -> None:
        self.now += seconds
        self.worked += seconds * busy


def test_a_process_that_computes_all_the_time_is_full_and_one_that_waits_is_not():
    time = Time()
    load = Load(lambda: time.now, lambda: time.worked)
    assert load.is_full()
    for busy, full in ((0.2, False), (0.95, True), (1.7, True), (0.5, False)):
        time.go(LOAD_SECONDS * 1.1, busy)
        assert load.is_full() is full
    time.go(LOAD_SECONDS / 2, 1.0)
    assert not load.is_full()  # too short a time to tell


@pytest.mark.parametrize(("busy", "begun"), [(1.0, FEW_THREADS), (0.1, FEW_THREADS + 3)])
def test_threads_beyond_a_few_start_only_where_there_is_something_to_wait_for(busy, begun):
    time = Time()
    pool = WorkPool(FEW_THREADS + 3, "test-work", Load(lambda: time.now, lambda: time.worked))
    time.go(LOAD_SECONDS * 1.1, busy)
    work = [Held() for _ in range(FEW_THREADS + 3)]
    done = [pool.submit(each) for each in work]
    try:
        assert all(each.begun.wait(SECONDS) for each in work[:begun])
        assert not any(each.begun.is_set() for each in work[begun:])
    finally:
        for each in work:
            each.free.set()
    assert [each.result(SECONDS) for each in done] == [None] * len(work)
    pool.close()
