from __future__ import annotations

import dataclasses
import json
import os
from datetime import date, timedelta, timezone

import pytest

from pytest_fileflow.clock import Clock
from pytest_fileflow.errors import LocationMissing
from pytest_fileflow.model import PayloadFile, Run
from pytest_fileflow.results.history import History, PastRun, Streak, Success
from pytest_fileflow.results.ledger import Entry, Ledger
from pytest_fileflow.results.store import Directory
from tests.support.records import NOW, ago, record

CLOCK = Clock(utc=lambda: NOW)
RUN = Run("", "", "5MiB", "S3->SFTP", 1, PayloadFile("a.bin", 5, "aa", "random"), {"begun": "2026-11-26T06:30:00.000Z"})


def no_aws():
    raise AssertionError("a folder needs no AWS")


class Results:
    """A results folder, and its history as of NOW."""

    def __init__(self, folder):
        self.folder = folder

    def add(self, *records):
        for each in records:
            Directory(self.folder).write(each)

    def add_raw(self, text, run_id="ffff", day="2026-11-26", flow_id="acme"):
        path = self.folder / "results" / f"dt={day}" / f"flow_id={flow_id}" / f"run_id={run_id}" / "run.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(text)
        return path

    def history(self, **options):
        return History.open(str(self.folder), no_aws, clock=CLOCK, **options)

    def flow(self, **options):
        (flow,) = self.history(**options).flows()
        return flow


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "results folder")


def test_a_flow_is_told_by_its_runs(results):
    results.add(*(record(began=ago(days=days), latency_seconds=float(days + 1)) for days in range(10)))
    flow = results.flow()
    assert (flow.flow_id, flow.owner, flow.direction, flow.slo_seconds) == (
        "acme",
        "partner-integration",
        "SFTP->S3",
        420.0,
    )
    assert (flow.state, flow.latest, flow.last.began) == ("passed", NOW, NOW)
    assert (flow.success_7, flow.success_30) == (Success(8, 8), Success(10, 10))
    assert (flow.p50, flow.p95) == pytest.approx((5.5, 9.55))
    assert flow.streak == Streak(10, ago(days=9))
    assert (flow.last_cause, flow.last_failed) == (None, None)


def test_thirty_days_end_with_today(results):
    results.add(
        record(began=NOW),
        record(began=ago(hours=1), outcome="failed"),
        record(began=ago(days=2), outcome="error", cause="tester.results_store"),
        record(began=ago(days=29), latency_seconds=7.0),
        record(began=ago(days=30), latency_seconds=9.0),
    )
    flow = results.flow()
    assert (len(flow.days), flow.days[0].date, flow.days[-1].date) == (30, date(2026, 10, 28), date(2026, 11, 26))
    today, first = flow.days[-1], flow.days[0]
    assert (today.passed, today.failed, today.errors, today.outcome) == (1, 1, 0, "failed")
    assert (today.cause, today.p50) == ("missing.not_picked_up", 3.2)
    assert [day.outcome for day in flow.days[-4:]] == [None, "error", None, "failed"]
    assert (first.passed, first.p95, flow.success_30) == (1, 7.0, Success(2, 3))


def test_a_flow_fails_while_the_last_run_of_any_of_its_cases_has_failed(results):
    results.add(
        record(case="contract", kind="contract", began=ago(minutes=2)),
        record(case="typical-5MiB", began=ago(minutes=1), outcome="failed", cause="late"),
        record(case="smoke-4KiB", began=NOW),
        record(case="typical-5MiB", began=ago(days=1), outcome="failed"),
        record(case="typical-5MiB", began=ago(days=2)),
    )
    flow = results.flow()
    assert (flow.state, flow.last.case, flow.last_cause) == ("failing", "typical-5MiB", "late")
    assert flow.streak == Streak(2, ago(days=1))
    assert (flow.latest, flow.last_failed) == (NOW, ago(minutes=1))


@pytest.mark.parametrize("kind", ["contract", "canary", "rejects"])
def test_cases_that_send_nothing_count_for_the_state_and_not_for_the_rate(results, kind):
    results.add(record(began=ago(hours=1)), record(case=kind, kind=kind, began=NOW, outcome="failed"))
    flow = results.flow()
    assert (flow.state, flow.success_7, flow.days[-1].failed) == ("failing", Success(1, 1), 1)
    assert (flow.last.slo_seconds, flow.last.size) == (None, None)


def test_the_testers_own_errors_count_for_nothing_and_are_shown(results):
    results.add(
        record(began=ago(days=2)),
        record(began=ago(days=1), outcome="error"),
        record(began=NOW, outcome="error", cause="tester.interrupted"),
    )
    flow = results.flow()
    assert (flow.state, flow.last.word, flow.last_cause) == ("error", "interrupted", "tester.interrupted")
    assert (flow.success_30, flow.streak) == (Success(1, 1), Streak(2, ago(days=1)))


def test_what_failed_is_not_well_because_nobody_could_look_again(results):
    results.add(record(began=ago(days=1), outcome="failed"), record(began=NOW, outcome="error"))
    flow = results.flow()
    assert (flow.state, flow.last.began, flow.streak.runs) == ("failing", ago(days=1), 1)


def test_a_case_that_no_longer_runs_is_forgotten_after_eight_days(results):
    results.add(
        record(case="old-1MiB", began=ago(days=8.5), outcome="failed"), record(case="new-2MiB", began=ago(days=1))
    )
    assert results.flow().state == "failing"
    results.add(record(case="new-2MiB", began=NOW))
    assert results.flow().state == "passed"


def test_a_clock_that_is_ahead_makes_no_failure_old(results):
    results.add(record(case="a", outcome="failed"), record(case="b", began=ago(days=-20)))
    flow = results.flow()
    assert (flow.state, flow.last.case, flow.latest) == ("failing", "a", ago(days=-20))
    assert flow.days[-1].failed == 1


def test_of_two_runs_at_the_same_moment_the_one_that_passed_counts(results):
    results.add(record(outcome="failed"), record())
    flow = results.flow()
    assert (flow.state, flow.streak, flow.last_cause) == ("passed", Streak(1, NOW), "missing.not_picked_up")


def test_a_streak_of_passed_runs_begins_after_the_last_failure_and_leaps_over_errors(results):
    outcomes = ["passed", "error", "passed", "failed", "passed"]
    results.add(*(record(began=ago(hours=hours), outcome=outcome) for hours, outcome in enumerate(outcomes)))
    flow = results.flow()
    assert (flow.streak, flow.last_cause) == (Streak(2, ago(hours=2)), "missing.not_picked_up")


def test_what_fails_comes_first(results):
    results.add(record("a"), record("b", outcome="error"), record("d", outcome="failed"), record("c", outcome="failed"))
    assert [flow.flow_id for flow in results.history().flows()] == ["c", "d", "b", "a"]


def test_runs_come_newest_first_with_all_that_their_records_tell(results):
    old = record(began=ago(days=1), outcome="failed", attempt=2)
    results.add(old, record(), record("other"))
    newest, oldest = results.history().runs("acme", 5)
    assert isinstance(newest, PastRun)
    assert (newest.began, newest.size, newest.attempt) == (NOW, 5242880, 1)
    assert (oldest.run_id, oldest.attempt, oldest.reason, oldest.hint) == (
        old["run_id"],
        2,
        old["reason"],
        old["hint"],
    )
    assert oldest.phases_seconds == old["phases_seconds"]
    assert len(results.history().runs("acme", 1)) == 1
    assert results.history().record(oldest) == old


def test_a_record_that_is_gone_is_none(results):
    results.add(record())
    history = results.history()
    (run,) = history.runs("acme", 1)
    (results.folder / run.where.partition(f"{results.folder}/")[2]).unlink()
    assert history.record(run) is None


def test_since_and_flow_narrow(results):
    results.add(record("acme_in"), record("acme_out", began=ago(days=3)), record("beta"))
    assert [flow.flow_id for flow in results.history(flow="acme_*").flows()] == ["acme_in", "acme_out"]
    assert [flow.flow_id for flow in results.history(since=ago(days=2)).flows()] == ["acme_in", "beta"]
    results.add(record("gamma", began=ago(days=60)))
    assert [flow.flow_id for flow in results.history(since=ago(days=90), flow="gamma").flows()] == ["gamma"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"run_id": ',
        b"[]",
        b"null",
        b'{"name": "a manifest"}',
        b'{"run_id": "a", "flow_id": "b", "outcome": "fine", "timeline": {}}',
        b'{"run_id": 5, "flow_id": "b", "outcome": "passed", "timeline": {}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_no_record_is_left_out_and_said_in_one_line(results, text):
    results.add_raw(text)
    results.add(record())
    history = results.history()
    (note,) = history.notes
    assert note.startswith("1 file is no record of a run and left out, as ")
    assert "run_id=ffff/run.json" in note
    assert len(history.flows()) == 1


def test_a_record_of_another_age_is_read_as_far_as_it_goes(results):
    told = {
        "run_id": "0a",
        "flow_id": "acme",
        "outcome": "passed",
        "timeline": {"prepared": "2026-11-26T06:00:00.000Z"},
    }
    results.add_raw(json.dumps(told).encode(), run_id="0a")
    odd = {
        **told,
        "schema": 7,
        "run_id": "0b",
        "new": {"deep": [1]},
        "case": None,
        "attempt": "first",
        "latency_seconds": "fast",
        "slo_seconds": 10**400,
        "file": {"size": -1},
        "phases_seconds": {"wait": 1.5, "other": "x", "third": float("nan")},
        "cause": ["late"],
    }
    results.add_raw(json.dumps(odd).encode(), run_id="0b")
    history = results.history()
    assert history.notes == ()
    first, second = sorted(history.runs("acme", 5), key=lambda run: run.run_id)
    assert (first.kind, first.case, first.attempt, first.sandbox, first.phases_seconds) == (
        "transfer",
        "",
        1,
        False,
        {},
    )
    assert (second.attempt, second.latency_seconds, second.slo_seconds, second.size) == (1, None, None, None)
    assert (second.phases_seconds, second.cause) == ({"wait": 1.5}, None)


def test_texts_without_measure_are_cut(results):
    endless = "x" * 20_000_000
    phases = {endless: 1.0, **{f"{n}": 1.0 for n in range(5000)}}
    told = record("acme", outcome="failed", reason=endless, phases_seconds=phases)
    results.add_raw(json.dumps(told).encode())
    (run,) = results.history().runs("acme", 10**30)
    assert len(run.reason) < 3000
    assert len(run.phases_seconds) == 50
    assert len("".join(run.phases_seconds)) < 1000


def test_a_folder_in_the_place_of_a_record_is_none(results):
    results.add(record())
    (results.folder / "results/dt=2026-11-26/flow_id=acme/run_id=ff/run.json").mkdir(parents=True)
    assert results.flow().success_7 == Success(1, 1)


def test_a_moment_in_another_time_zone_is_that_moment(results):
    results.add(record(began=ago(hours=9)), record(began=ago(hours=7)))
    since = ago(hours=8).astimezone(timezone(timedelta(hours=14)))
    assert results.flow(since=since).success_7 == Success(1, 1)


@pytest.mark.parametrize(
    "stamp", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z", "noon"]
)
def test_a_run_whose_stamp_is_no_moment_is_dated_by_its_file(results, stamp):
    path = results.add_raw(json.dumps(record(timeline={"begun": stamp})).encode())
    os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    assert results.flow().latest == NOW
    os.utime(path, (-1.0, -1.0))
    assert results.history().flows() == []


def test_a_folder_that_is_no_day_is_not_read(results):
    results.add_raw(json.dumps(record()).encode(), day="zzz")
    assert results.history().flows() == []
    results.add_raw(json.dumps(record(timeline={"begun": "2026-11-26T06:30:00.000Z"})).encode(), day="unknown")
    assert len(results.history().flows()) == 1


def test_a_folder_whose_name_is_no_text_is_said_and_nothing_more(results):
    results.add(record())
    try:
        results.add_raw(json.dumps(record("beta")).encode(), flow_id="\udcff\x1b[2J")
    except OSError:
        pytest.skip("this file system takes no such name")
    history = results.history()
    assert [flow.flow_id for flow in history.flows()] == ["acme"]
    (note,) = history.notes
    assert note.isprintable()
    assert "\\udcff\\x1b[2J" in note


def test_a_run_without_a_stamp_is_dated_by_its_file(results):
    results.add(record(timeline={}))
    (path,) = results.folder.rglob("dt=unknown/**/run.json")
    os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    assert results.flow().latest == NOW


NAMES = ["a'; DROP TABLE runs; --", "a[b]*?{c}", '"quoted"', "größe", "$flow", "a\\b", "tab\there", "nul\x00", "\ud800"]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_no_name_is_taken_for_anything_else(results, name):
    told = record(flow_id=name, cause=f"{name}", outcome="failed", case=name)
    results.add_raw(json.dumps(told).encode(), run_id="0c")
    results.add(record())
    history = results.history()
    shown = name.encode("utf-8", "backslashreplace").decode()
    first, second = history.flows()
    assert (first.flow_id, first.last_cause, second.flow_id) == (shown, shown, "acme")
    (run,) = history.runs(shown, 5)
    assert run.case == shown
    assert history.record(run) == told


def test_runs_of_the_sandbox_are_left_out_where_there_are_others(results):
    results.add(record("rehearsed", sandbox=True), record("acme--drop", rehearsal={"flow_id": "acme"}))
    history = results.history()
    assert [flow.flow_id for flow in history.flows()] == ["acme--drop", "rehearsed"]
    assert history.notes == ("all of these runs are of the sandbox",)
    results.add(record("acme"))
    history = results.history()
    assert [flow.flow_id for flow in history.flows()] == ["acme"]
    assert history.notes == ("2 runs of the sandbox are left out: --sandbox shows them too",)
    history = results.history(sandbox=True)
    assert (len(history.flows()), history.notes) == (3, ())


def test_no_folder_above_is_taken_for_a_column(results, tmp_path, monkeypatch):
    (tmp_path / "flow_id=other").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "flow_id=other"))
    results.add(record())
    assert results.flow().flow_id == "acme"


def test_a_run_that_lies_in_two_places_counts_once(results, tmp_path):
    spool = Results(tmp_path / "spool")
    both = record()
    results.add(both)
    spool.add(both, record())
    history = History.open([str(results.folder), str(spool.folder)], no_aws, clock=CLOCK)
    (flow,) = history.flows()
    assert flow.success_7 == Success(2, 2)
    assert {history.record(run)["run_id"] for run in history.runs("acme", 5)} == {
        run.run_id for run in history.runs("acme", 5)
    }


def test_what_a_run_says_of_itself_counts_and_not_that_it_was_interrupted(results, tmp_path):
    other = Results(tmp_path / "other")
    recorded, entered = record(), record("beta")
    lost = {name: record(name, outcome="error", cause="tester.interrupted") for name in ("acme", "beta")}
    results.add({**lost["acme"], "run_id": recorded["run_id"]})
    page = Ledger.of(results.folder, "session", "gw0")
    page.enter(
        Entry(
            "item",
            dataclasses.replace(RUN, run_id=entered["run_id"], flow_id="beta"),
            {**lost["beta"], "run_id": entered["run_id"]},
        )
    )
    page.close()
    other.add(recorded, entered)
    history = History.open([str(results.folder), str(other.folder)], no_aws, clock=CLOCK)
    assert [(flow.state, flow.runs) for flow in history.flows()] == [("passed", 1), ("passed", 1)]
    assert history.record(history.runs("beta", 1)[0]) == entered


def test_what_a_killed_session_left_without_a_record_shows_as_interrupted(results):
    done, lost, other = (record(flow_id, outcome="error", cause="tester.interrupted") for flow_id in ("a", "b", "c"))
    results.add({**done, "outcome": "passed", "cause": None}, record("b", began=ago(days=1)))
    page = Ledger.of(results.folder, "session", "gw0")
    for told in (done, lost, other):
        page.enter(Entry("item", dataclasses.replace(RUN, run_id=told["run_id"], flow_id=told["flow_id"]), told))
    page.close()  # as the operating system does with what is killed: the entries stay
    flows = {flow.flow_id: flow for flow in results.history(flow="[ab]").flows()}
    assert {flow_id: (flow.state, flow.last.word) for flow_id, flow in flows.items()} == {
        "a": ("passed", "passed"),
        "b": ("error", "interrupted"),
    }
    assert (flows["b"].last.where, flows["b"].success_30) == ("", Success(1, 1))
    assert results.history().record(flows["b"].last) is None


def test_a_place_that_cannot_be_read_is_an_error_and_an_empty_one_is_not(results, tmp_path):
    with pytest.raises(LocationMissing, match="is not a folder"):
        results.history()
    results.folder.mkdir()
    assert results.history().flows() == []
