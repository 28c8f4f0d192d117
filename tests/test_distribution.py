from __future__ import annotations

import collections
import contextlib
import functools
import types
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fileflow.distribution import ALL, ShareScheduling, assigned, flow_of, is_flow, shares

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = st.sampled_from(["flows/{}.json::a[1KiB]", "flows/{}.yaml::b[contract]", "tests/test_{}.py::test_d[x.json]"])
IDS = st.lists(st.builds(str.format, NAMES, st.integers(0, 9)))


@given(IDS, st.integers(1, 8))
def test_every_flow_falls_to_exactly_one_worker_with_all_its_cases_and_nothing_else_to_any(ids, workers):
    out = shares(ids, workers)
    given_out = sorted(position for own in out for position in own)
    assert given_out == [position for position, node_id in enumerate(ids) if is_flow(node_id)]
    flows = [{flow_of(ids[position]) for position in own} for own in out]
    assert sum(map(len, flows)) == len(set().union(*flows))
    cases = collections.Counter(flow_of(node_id) for node_id in ids if is_flow(node_id))
    sizes = [len(own) for own in out]
    assert max(sizes) - min(sizes) <= max(cases.values(), default=0)


@pytest.mark.parametrize(
    ("node_id", "flow"),
    [
        ("flows/a.json::acme[contract]", "flows/a.json::acme"),
        ("flows/a.json::acme[typical-5MiB]", "flows/a.json::acme"),
        ("flows/[old]/a.json::acme[4KiB]", "flows/[old]/a.json::acme"),
        ("flows/a.json::acme[rejects-wrong_key]", "flows/a.json::acme"),
        ("flows/b.json::acme[config]", "flows/b.json::acme"),
    ],
)
def test_cases_of_a_flow_have_all_but_their_brackets_in_common(node_id, flow):
    assert flow_of(node_id) == flow


def test_a_flow_is_told_by_its_file():
    assert is_flow("flows/acme.yml::acme[5MiB]")
    assert not is_flow("tests/test_x.py::test_reads[acme.json]")


def test_what_a_worker_is_told_is_what_it_launches():
    ids = ["a.json::a[1]", "test_x.py::test_y", "b.json::b[1]", "c.yaml::c[1]"]
    assert assigned(ids, 2, ALL) == range(4)
    assert assigned(ids, 2, 1) == [2]
    assert assigned(["a.json::a[contract]", "a.json::a[1]", "b.json::b[1]", "a.json::a[2]"], 2, 0) == [0, 1, 3]
    assert assigned(ids, 2, ["c.yaml::c[1]", "a.json::a[1]"]) == [0, 3]
    assert assigned(ids, 2, []) == []


class Config:
    """What xdist's schedulers ask of pytest's config."""

    def __init__(self, workers: int) -> None:
        self.values = {"tx": ["popen"] * workers, "maxschedchunk": None, "rsyncdir": [], "dist": "load"}

    def getvalue(self, name: str) -> object:
        return self.values[name]

    getoption = getvalue


class Worker:
    """A worker as xdist's: it begins a test once it has collected and knows the next one, or that there is none."""

    def __init__(self, number: int) -> None:
        self.gateway = types.SimpleNamespace(id=f"gw{number}")
        self.queue: list[int] = []
        self.shutting_down = False
        self.ready = self.collected = False

    def send_runtest_some(self, positions: list[int]) -> None:
        self.queue += positions

    def shutdown(self) -> None:
        self.shutting_down = True

    @property
    def can_run(self) -> bool:
        return self.collected and (len(self.queue) > 1 or (self.shutting_down and bool(self.queue)))


class Controller:
    """xdist's session, as far as it drives a scheduler."""

    def __init__(self, ids: list[str], workers: int) -> None:
        self.ids = ids
        self.scheduler = ShareScheduling(Config(workers))
        self.parts: dict[str, object] = {}
        self.workers: list[Worker] = []
        self.done: list[str] = []
        self.crashed: list[str] = []
        for number in range(workers):
            self.add(number)

    def add(self, part: object) -> None:
        worker = Worker(len(self.parts))
        self.parts[worker.gateway.id] = part
        self.workers.append(worker)

    def start(self, worker: Worker) -> None:
        worker.ready = True
        self.scheduler.add_node(worker)

    def collect(self, worker: Worker) -> None:
        worker.collected = True
        self.scheduler.add_node_collection(worker, self.ids)
        if self.scheduler.collection_is_completed:
            self.scheduler.schedule()

    def run_one(self, worker: Worker) -> None:
        position = worker.queue.pop(0)
        self.done.append(self.ids[position])
        self.scheduler.mark_test_complete(worker, position)

    def crash(self, worker: Worker) -> None:
        self.workers.remove(worker)
        with contextlib.suppress(KeyError):  # as xdist's session does, for a worker that never was ready
            crashed = self.scheduler.remove_node(worker)
            self.crashed += [crashed] if crashed else []
        self.add(self.scheduler.part_of_replacement(f"gw{len(self.parts)}"))

    def act(self, draw: Callable[[list[Callable[[], None]]], Callable[[], None]]) -> bool:
        """Let one thing happen; return whether anything could."""
        possible = [functools.partial(self.start, worker) for worker in self.workers if not worker.ready]
        collecting = [worker for worker in self.workers if worker.ready and not worker.collected]
        possible += [functools.partial(self.collect, worker) for worker in collecting]
        possible += [functools.partial(self.run_one, worker) for worker in self.workers if worker.can_run]
        if not possible:
            return False
        draw(possible)()
        if self.scheduler.tests_finished:
            for worker in self.workers:
                worker.shutdown()
        return True


@settings(max_examples=500, deadline=None)
@given(IDS.filter(bool), st.integers(1, 4), st.data())
def test_whichever_workers_are_lost_and_when_every_item_is_run_once_and_nothing_hangs(names, workers, data):
    ids = [f"{number}-{name}" for number, name in enumerate(names)]
    controller = Controller(ids, workers)
    crashes = data.draw(st.integers(0, 3), "crashes")
    going = True
    while going:
        if crashes and controller.workers and data.draw(st.booleans(), "crash now"):
            crashes -= 1
            controller.crash(data.draw(st.sampled_from(controller.workers), "lost"))
        going = controller.act(lambda possible: data.draw(st.sampled_from(possible), "next"))
    assert sorted(controller.done + controller.crashed) == sorted(ids)


@given(IDS.filter(bool), st.integers(1, 4))
def test_without_a_loss_every_worker_runs_what_it_launched(names, workers):
    ids = [f"{number}-{name}" for number, name in enumerate(names)]
    controller = Controller(ids, workers)
    for worker in controller.workers:
        controller.start(worker)
        controller.collect(worker)
    for place, worker in enumerate(list(controller.workers)):
        launched = [ids[position] for position in assigned(ids, workers, place)]
        ran = []
        while worker.can_run:
            ran.append(ids[worker.queue[0]])
            controller.run_one(worker)
        assert [name for name in ran if is_flow(name)] == [name for name in launched if name in ran]
