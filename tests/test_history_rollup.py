from __future__ import annotations

import pytest

from pytest_fileflow.clock import Clock
from pytest_fileflow.results.history import History
from pytest_fileflow.results.history.rollup import default_folder
from pytest_fileflow.results.store import Directory
from tests.support.records import NOW, ago, record

CLOCK = Clock(utc=lambda: NOW)


class Results:
    """A results folder, and its history with a rollup."""

    def __init__(self, folder, rollups):
        self.folder, self.rollups = folder, rollups

    def add(self, *records):
        for each in records:
            Directory(self.folder).write(each)

    def history(self, **options):
        return History.open(str(self.folder), no_aws, clock=CLOCK, rollups=self.rollups, **options)

    def counts(self, **options):
        return {flow.flow_id: flow.success_30.counted for flow in self.history(**options).flows()}

    def spoil(self):
        """Make every record there is now unreadable: whoever reads one notices."""
        for path in self.folder.rglob("run.json"):
            path.write_text("{")

    def files(self):
        return sorted(self.rollups.rglob("*.parquet"))


def no_aws():
    raise AssertionError("a folder needs no AWS")


@pytest.fixture
def results(tmp_path):
    results = Results(tmp_path / "results", tmp_path / "cache [of] {mine}*" / "it's" / "flow_id=other")
    results.add(record("acme"), record("acme", began=ago(days=1)), record("beta", began=ago(days=1)))
    return results


def test_only_what_is_new_is_read_again(results):
    first = results.history().flows()
    results.spoil()
    again = results.history()
    assert (again.flows(), again.notes) == (first, ())
    results.add(record("acme", began=ago(hours=1)), record("gamma", began=ago(days=3)))
    assert results.counts() == {"acme": 3, "beta": 1, "gamma": 1}
    results.spoil()
    assert results.counts() == {"acme": 3, "beta": 1, "gamma": 1}


def test_the_records_stay_as_they_are_and_the_rollup_is_the_users_own(results):
    before = {path: path.read_bytes() for path in results.folder.rglob("*") if path.is_file()}
    results.history()
    assert {path: path.read_bytes() for path in results.folder.rglob("*") if path.is_file()} == before
    assert [path.stem for path in results.files()] == ["2026-11-25", "2026-11-26"]
    assert results.files()[0].parent.stat().st_mode & 0o077 == 0
    assert list(results.rollups.rglob("*.part")) == []


def test_a_record_that_is_gone_leaves_the_rollup(results):
    results.history()
    (gone,) = results.folder.glob("results/dt=2026-11-25/flow_id=acme/run_id=*")
    for path in gone.iterdir():
        path.unlink()
    gone.rmdir()
    assert results.counts() == {"acme": 1, "beta": 1}
    results.spoil()
    assert results.counts() == {"acme": 1, "beta": 1}


def test_a_part_is_read_from_the_rollup_and_does_not_take_its_place(results):
    results.history()
    results.spoil()
    assert results.counts(flow="a*") == {"acme": 2}
    assert results.counts(since=ago(hours=2)) == {"acme": 1}
    assert results.counts() == {"acme": 2, "beta": 1}


def test_a_moment_within_a_day_does_not_cut_what_is_kept_of_it(results):
    results.add(record("acme", began=ago(hours=3)))
    assert results.counts(since=ago(hours=2)) == {"acme": 1}
    results.spoil()
    assert results.counts(since=ago(hours=4)) == {"acme": 2}


@pytest.mark.parametrize("damage", [b"", b"PAR1 and no more", b"\0" * 4096])
def test_a_damaged_rollup_is_made_again(results, damage):
    results.history()
    for path in results.files():
        path.write_bytes(damage)
    assert results.counts() == {"acme": 2, "beta": 1}
    assert all(path.read_bytes() != damage for path in results.files())
    results.spoil()
    assert results.counts() == {"acme": 2, "beta": 1}


def test_what_is_no_record_is_told_each_time(results):
    path = results.folder / "results" / "dt=2026-11-26" / "flow_id=acme" / "run_id=ff" / "run.json"
    path.parent.mkdir()
    path.write_text("[]")
    assert len(results.history().notes) == len(results.history().notes) == 1


def test_a_rollup_that_cannot_be_kept_is_said(results, tmp_path):
    results.rollups = tmp_path / "a file"
    results.rollups.write_text("")
    history = results.history()
    (note,) = history.notes
    assert note.startswith("the rollup is not kept")
    assert "a file" in note
    assert len(history.flows()) == 2


def test_places_have_rollups_of_their_own(results, tmp_path):
    other = Results(tmp_path / "other", results.rollups)
    other.add(record("delta"))
    assert results.counts() == {"acme": 2, "beta": 1}
    assert other.counts() == {"delta": 1}
    assert len({path.parent for path in results.files()}) == 2


def test_it_is_kept_where_caches_are(tmp_path):
    assert default_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "pytest-fileflow" / "history"
    assert default_folder({}).is_absolute()


def test_who_has_no_home_has_no_rollup(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", homeless)
    assert default_folder({}) is None


def test_a_rollup_that_could_not_be_written_leaves_nothing_half(results):
    results.history()
    for path in results.files():
        path.unlink()
        path.mkdir()
    assert len(results.history().flows()) == 2
    assert list(results.rollups.rglob("*.part")) == []
