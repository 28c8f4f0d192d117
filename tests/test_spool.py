"""A store that is down holds nobody up, and what it did not take waits until it does."""

from __future__ import annotations

import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow.errors import RecordRefused, ResultsStoreFailed
from pytest_fileflow.results.keeper import FIRST_PAUSE_SECONDS, Keeper
from pytest_fileflow.results.places import Place
from pytest_fileflow.results.spool import FAILURES, Spool
from pytest_fileflow.results.store import Directory, open_store
from tests.support.stores import MANIFEST, record

if TYPE_CHECKING:
    from collections.abc import Sequence

PLACE = "s3://example-results/some/prefix"
DENIED = "s3:PutObject on s3://example-results was denied: AccessDenied"


@dataclass
class Remote:
    """A store behind a network, which takes all but what ``fails`` says."""

    fails: dict[str, ResultsStoreFailed] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)

    def write(self, record, manifest=None):
        self.tried.append(record["run_id"])
        error = self.fails.get(record["run_id"]) or self.fails.get("*")
        if error is not None:
            raise error
        self.taken.append(record["run_id"])
        return f"{PLACE}/{record['run_id']}"

    def run_ids(self, flow_id, limit):
        return self.taken[:limit]


def down() -> dict[str, ResultsStoreFailed]:
    return {"*": ResultsStoreFailed(DENIED)}


@pytest.fixture
def spool(tmp_path) -> Spool:
    return Spool.of(tmp_path)


def keeper(store: Remote, spool: Spool | None, *more: Place, clock: Sequence[float] = (1000.0,)) -> Keeper:
    """Return a keeper for places and the store; the clock shows seconds."""
    made = Keeper([*more, Place.parse(PLACE)], lambda: None, spool, lambda: clock[0])
    made._places[-1].store = store
    return made


def test_what_a_store_does_not_take_waits_and_is_delivered_later(spool):
    store = Remote(down())
    kept = keeper(store, spool).keep(record(), MANIFEST)
    assert (kept.where, kept.problem) == (str(next(spool.root.glob("*/*.json"))), "")
    assert spool.holds("0123456789abcdef")
    [told] = spool.deliver(lambda _: store, 10)
    assert (told.place, told.delivered, told.waiting, told.why) == (PLACE, 0, 1, DENIED)
    store.fails.clear()
    [told] = spool.deliver(lambda _: store, 10)
    assert (told.delivered, told.waiting) == (1, 0)
    assert store.taken == ["0123456789abcdef"]
    assert not spool.root.exists()
    assert spool.deliver(lambda _: store, 10) == []


def test_what_waits_is_delivered_as_it_would_have_been_written(spool, tmp_path):
    keeper(Remote(down()), spool).keep(record(), MANIFEST)
    direct, late = Directory(tmp_path / "direct"), Directory(tmp_path / "late")
    direct.write(record(), MANIFEST)
    spool.deliver(lambda _: late, 10)
    left, right = (
        {path.relative_to(store.root): path.read_bytes() for path in store.root.rglob("*.[jc]s*")}
        for store in (direct, late)
    )
    assert left == right
    assert len(left) == 3


def test_a_store_that_has_failed_is_left_alone_for_a_while_and_then_tried_by_one(spool):
    store, clock = Remote(down()), [1000.0]
    made = keeper(store, spool, clock=clock)
    pauses = []
    for number in range(400):
        before = len(store.tried)
        made.keep(record(f"{number:016x}"))
        if len(store.tried) > before:
            pauses.append(clock[0])
        clock[0] += 1
    assert [later - earlier for earlier, later in itertools.pairwise(pauses)] == [
        5,
        10,
        20,
        40,
        60,
        60,
        60,
        60,
        60,
    ]
    assert len(list(spool.root.glob("*/*.json"))) == 400
    assert made.run_ids("acme", 5) == []
    store.fails.clear()
    clock[0] += 60
    made.keep(record("f" * 16))
    made.keep(record("e" * 16))
    assert store.taken == ["f" * 16, "e" * 16]


def test_of_records_that_fail_together_the_first_counts(spool):
    clock = [1000.0]
    made = keeper(Remote(down()), spool, clock=clock)
    turns = [made._places[0].turn() for _ in range(10)]
    for turn in turns:
        made._places[0].note(turn, "down")
    clock[0] += FIRST_PAUSE_SECONDS
    assert made._places[0].turn() == 1
    assert made._places[0].turn() is None  # one is trying


def test_a_record_that_is_refused_holds_up_no_other(spool):
    refused = RecordRefused("another record lies there")
    store = Remote({"0" * 16: refused})
    made = keeper(store, spool)
    for letter in "0123":
        made.keep(record(letter * 16))
    assert store.taken == ["1" * 16, "2" * 16, "3" * 16]
    [told] = spool.deliver(lambda _: store, 10)
    assert (told.waiting, told.refused, told.why) == (1, [refused.reason], refused.reason)


def test_a_store_that_stays_down_is_not_asked_for_each_record(spool):
    for number in range(50):
        spool.put(PLACE, record(f"{number:016x}"), None, "it was down")
    store = Remote(down())
    [told] = spool.deliver(lambda _: store, 10)
    assert (told.waiting, len(store.tried)) == (50, 1)
    store.fails = {f"{number:016x}": ResultsStoreFailed("now and then") for number in range(10, 50)}
    [told] = spool.deliver(lambda _: store, 10)
    assert told.delivered + told.waiting == 50
    assert told.waiting >= 40
    assert len(store.tried) - len(store.taken) >= FAILURES


def test_nothing_is_begun_once_time_is_up(spool):
    spool.put(PLACE, record(), None, "it was down")
    store = Remote()
    [told] = spool.deliver(lambda _: store, -1)
    assert (told.waiting, told.why, store.tried) == (1, "there was no time for more", [])


def test_only_the_places_asked_for_are_delivered_to(spool):
    for place in (PLACE, "dynamodb://example-runs"):
        spool.put(place, record(), None, "it was down")
    store = Remote()
    [told] = spool.deliver(lambda _: store, 10, ("dynamodb://example-runs",))
    assert told.place == "dynamodb://example-runs"
    assert list(spool.waiting()) == [PLACE]


def test_what_cannot_wait_either_is_a_problem(spool):
    spool.root.write_text("a file in its place")
    kept = keeper(Remote(down()), spool).keep(record())
    assert kept.where == ""
    assert kept.problem.startswith(f"{DENIED}; and it cannot wait here: ")


def test_a_folder_that_does_not_take_a_record_is_a_problem_whoever_else_does(spool, tmp_path):
    (tmp_path / "folder").write_text("a file in its place")
    kept = keeper(Remote(), spool, Place("folder", str(tmp_path / "folder"))).keep(record())
    assert kept.where == f"{PLACE}/0123456789abcdef"
    assert "cannot be written" in kept.problem
    assert not spool.root.exists()


def test_a_record_is_shown_where_it_lies_and_not_where_it_waits(spool, tmp_path):
    kept = keeper(Remote(down()), spool, Place("folder", str(tmp_path / "folder"))).keep(record())
    assert kept.where.endswith("/run.json")
    assert kept.problem == ""


def test_an_entry_that_cannot_be_read_is_kept_and_hides_no_other(spool, caplog):
    path = spool.put(PLACE, record(), None, "it was down")
    spool.root.joinpath(path).with_name("0.json").write_text("{")
    store = Remote()
    [told] = spool.deliver(lambda _: store, 10)
    assert (told.delivered, told.waiting, told.why) == (1, 1, "it cannot be read")
    assert "0.json cannot be read" in caplog.text


def test_an_entry_that_can_never_be_delivered_holds_up_no_other(spool, tmp_path):
    spool.put(PLACE, {"run_id": "0"}, None, "it was down")
    spool.put("gs://from-another-version", record(), None, "it was down")
    spool.put(PLACE, record(), None, "it was down")
    stores = {PLACE: Directory(tmp_path / "there")}

    def store_of(place):
        return stores.get(place) or open_store(place, lambda: None)

    told = {each.place: each for each in spool.deliver(store_of, 10)}
    assert (told[PLACE].delivered, told[PLACE].waiting) == (1, 1)
    assert told["gs://from-another-version"].waiting == 1
    assert [line.rpartition(" ")[2] for each in told.values() for line in each.refused] == ["PlaceError", "KeyError"]


DELIVER = """
import sys
from pathlib import Path
from pytest_fileflow.results.spool import Spool
from pytest_fileflow.results.store import Directory

spool, store = Spool.of(Path(sys.argv[1])), Directory(Path(sys.argv[2]))
while spool.waiting():
    spool.deliver(lambda _: store, 60)
"""


def test_processes_that_deliver_at_once_deliver_everything_and_lose_nothing(spool, tmp_path):
    for number in range(30):
        spool.put(PLACE, record(f"{number:016x}"), MANIFEST, "it was down")
    command = [sys.executable, "-c", DELIVER, str(tmp_path), str(tmp_path / "delivered")]
    with ThreadPoolExecutor() as pool:
        ended = pool.map(lambda _: subprocess.run(command, check=True, timeout=300), range(2))
        late = [f"{number:016x}" for number in range(30, 60)]  # while they are at it
        for run_id in late:
            spool.put(PLACE, record(run_id), MANIFEST, "it was down")
        list(ended)
    spool.deliver(lambda _: Directory(tmp_path / "delivered"), 60)
    assert len(Directory(tmp_path / "delivered").run_ids("acme", 100)) == 60
    assert not spool.root.exists()
