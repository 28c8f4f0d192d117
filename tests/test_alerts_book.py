"""When somebody is told: what changes with a session, what is held, kept and forgotten. No channel is involved."""

from __future__ import annotations

import dataclasses
import threading
from datetime import datetime, timedelta, timezone

import pytest

from pytest_fileflow import clients
from pytest_fileflow.errors import ResultsStoreFailed
from pytest_fileflow.results.alerts.book import Book, Sent, Session, advance, forget_old, settle, take
from pytest_fileflow.results.alerts.memory import Memory
from pytest_fileflow.results.alerts.standing import facts, standings
from pytest_fileflow.results.store import Directory, open_store
from tests.support.s3server import MotoServer
from tests.support.stores import BUCKET, TABLE, make_places, one_set

MORNING = datetime(2026, 11, 24, 6, tzinfo=timezone.utc)
DAY = timedelta(days=1)
CASES = ("contract", "4KiB", "5MiB")


def record(case="4KiB", outcome="passed", flow_id="acme", cause="late", **more):
    kind = case if case in ("contract", "canary") else "rejects" if case.startswith("rejects-") else "transfer"
    failed = {"outcome": outcome, "cause": cause, "reason": f"{case} was seen", "hint": "look there"}
    passed = {"outcome": "passed", "cause": None, "reason": None, "hint": None}
    return {
        "run_id": f"run-{case}",
        "flow_id": flow_id,
        "case": case,
        "kind": kind,
        "attempt": 1,
        "latency_seconds": 3.21,
        "latency_resolution_seconds": 0.05,
        "checks": [],
        "owner": "payments",
        "description": "",
        **(passed if outcome == "passed" else failed),
        **more,
    }


def session(*records, at=MORNING, name="s1", hours=24.0, channels=("slack",), cases=CASES):
    found = standings(records)
    return Session(name, at, found, dict.fromkeys(found, channels), dict.fromkeys(found, cases), hours)


class Weeks:
    """Sessions one after the other, each of which tells all that there is to tell."""

    def __init__(self):
        self.book = Book()
        self.at = MORNING

    def told(self, *records, after=DAY, **more) -> list[str]:
        """Return the changes that a session tells."""
        self.at += after
        here = session(*records, at=self.at, name=str(self.at), **more)
        self.book = Book.load(Book.dump(advance(self.book, here)))
        self.book, letters = take(self.book, here, ["slack"])
        sent = [Sent(each.letter_id, flow_id, "slack") for flow_id, each in letters.items()]
        self.book = settle(self.book, here, sent)
        return [each.change for _, each in sorted(letters.items())]


FAILED, PASSED, ERROR = (
    record(outcome="failed"),
    record(),
    record(outcome="error", cause="tester.credentials"),
)


def test_a_flow_is_told_of_when_it_fails_again_each_day_and_when_it_has_recovered():
    weeks, hours = Weeks(), timedelta(hours=1)
    assert weeks.told(PASSED) == []
    assert weeks.told(FAILED) == ["failing"]
    assert [weeks.told(FAILED, after=hours) for _ in range(3)] == [[], [], []]
    assert weeks.told(FAILED, after=21 * hours - timedelta(seconds=5)) == ["still failing"]
    assert weeks.told(FAILED, after=hours) == []
    assert weeks.told(PASSED) == ["recovered"]
    assert weeks.told(PASSED) == []
    assert weeks.book == Book()


def test_a_daily_session_that_comes_a_little_early_still_reminds():
    weeks = Weeks()
    weeks.told(FAILED)
    assert weeks.told(FAILED, after=DAY - timedelta(minutes=10)) == ["still failing"]


def test_the_time_between_reminders_is_a_setting():
    weeks = Weeks()
    weeks.told(FAILED)
    assert weeks.told(FAILED, hours=72) == []
    assert weeks.told(FAILED, hours=72) == []
    assert weeks.told(FAILED, hours=72) == ["still failing"]


def test_a_flow_has_recovered_when_the_cases_that_failed_have_passed_and_not_when_others_have():
    weeks = Weeks()
    assert weeks.told(record("5MiB", "failed"), record("4KiB", "failed")) == ["failing"]
    assert weeks.told(record("contract"), record("canary"), after=timedelta(hours=1)) == []
    assert weeks.told(record("4KiB"), after=timedelta(hours=1)) == []
    assert weeks.told(record("5MiB"), after=timedelta(hours=1)) == ["recovered"]


def test_a_contract_that_is_kept_speaks_for_the_canary_too():
    weeks = Weeks()
    assert weeks.told(record("canary", "failed")) == ["failing"]
    assert weeks.told(record("contract"), record("4KiB")) == ["recovered"]


def test_a_case_that_the_flow_no_longer_has_does_not_keep_it_failing():
    weeks = Weeks()
    assert weeks.told(record("1GiB", "failed"), cases=("contract", "1GiB")) == ["failing"]
    assert weeks.told(record("4KiB")) == ["recovered"]


def test_a_tester_that_cannot_tell_is_told_of_once_when_it_cannot_tell_again():
    weeks = Weeks()
    assert [weeks.told(ERROR) for _ in range(4)] == [[], ["unknown"], [], []]
    assert weeks.told(PASSED) == ["recovered"]
    assert weeks.told(ERROR) == []
    assert weeks.told(PASSED) == []


def test_what_cannot_be_judged_neither_ends_nor_begins_a_failure():
    weeks = Weeks()
    assert weeks.told(FAILED) == ["failing"]
    assert weeks.told(ERROR) == []
    assert weeks.told(FAILED) == ["still failing"]
    assert weeks.told(ERROR, record("contract")) == []
    weeks = Weeks()
    weeks.told(ERROR)
    assert weeks.told(ERROR) == ["unknown"]
    assert weeks.told(FAILED) == ["failing"]


def test_interrupted_and_rehearsed_runs_say_nothing_of_a_flow():
    ended = record(outcome="error", cause="tester.interrupted")
    rehearsed = {**FAILED, "rehearsal": {"flow_id": "acme", "fault": "drop", "must_be": "late"}}
    assert standings([ended, rehearsed]) == {}
    weeks = Weeks()
    weeks.told(FAILED)
    assert weeks.told(ended, after=2 * DAY) == []
    assert weeks.told(record("contract"), ended) == []


def test_only_the_last_attempt_counts():
    (standing,) = standings([record(attempt=2), record(outcome="failed", attempt=1)]).values()
    assert (list(standing.passed), list(standing.failed)) == (["4KiB"], [])


def test_the_contract_speaks_for_those_that_failed_and_the_transfer_for_those_that_passed():
    cases = [record(case, "failed", cause=case) for case in ("rejects-x", "4KiB", "contract", "canary")]
    (standing,) = standings(cases).values()
    assert facts(standing.failed)["cause"] == "contract"
    (standing,) = standings([record("contract"), record("4KiB")]).values()
    assert facts(standing.passed)["reason"] == "passed: arrived intact after 3.21 s (± 0.05 s)"


def test_facts_are_bounded_plain_lines():
    many = {f"{number}B": record(f"{number}B", "failed") for number in range(1000)}
    many["0B"]["reason"] = "a\x1b[2J\n\u202e" + "x" * 10_000
    told = facts(dict(list(many.items())[:1]))
    assert told["reason"].startswith("a\\x1b[2J\\n\\u202exxx")
    assert len(told["reason"]) < 600
    assert len(facts(many)["cases"]) == 11
    assert facts(many)["run_ids"][-1] == "and 990 more"


def test_of_two_sessions_at_once_one_tells(tmp_path):
    """Both judge the same; the second to write sees that the first holds the letter."""
    memory, told = Memory("alerts.json", Directory(tmp_path), None), {}
    start = threading.Barrier(4)

    def one(name):
        here = session(FAILED, name=name)
        start.wait()
        told[name] = memory.update(lambda book: take(advance(book, here), here, ["slack"]))

    threads = [threading.Thread(target=one, args=(f"s{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(letters) for letters in told.values()) == [0, 0, 0, 1]
    assert memory.troubles == []


def test_what_was_not_sent_is_free_for_the_next_session_once_this_one_has_ended():
    here = session(FAILED, name="s1")
    book, letters = take(advance(Book(), here), here, ["slack"])
    assert list(letters) == ["acme"]
    steady = session(FAILED, at=MORNING + timedelta(minutes=1), name="s2")
    assert take(advance(book, steady), steady, ["slack"])[1] == {}
    after = settle(book, here, [])
    assert list(take(advance(after, steady), steady, ["slack"])[1]) == ["acme"]


def test_what_a_killed_session_held_is_sent_by_a_later_one():
    here = session(FAILED, name="killed")
    book, _ = take(advance(Book(), here), here, ["slack"])
    later = session(FAILED, at=MORNING + timedelta(minutes=10), name="s2")
    (letter,) = take(advance(book, later), later, ["slack"])[1].values()
    assert (letter.change, letter.held_by) == ("failing", "s2")


def test_a_letter_to_two_channels_is_kept_for_the_one_that_could_not_be_told():
    here = session(FAILED, channels=("jira", "slack"))
    book, letters = take(advance(Book(), here), here, ["jira", "slack"])
    sent = Sent(letters["acme"].letter_id, "acme", "jira", "OPS-1")
    after = settle(book, here, [sent])
    assert after.letters["acme"].to == ("slack",)
    assert after.troubles["acme"].tickets == {"jira": "OPS-1"}
    nobody = session(FAILED, at=MORNING + timedelta(minutes=1), name="s2", channels=("jira",))
    assert take(advance(after, nobody), nobody, ["jira"])[1] == {}


def test_news_take_the_place_of_what_was_never_told():
    here = session(FAILED)
    book = settle(take(advance(Book(), here), here, ["slack"])[0], here, [])
    later = session(PASSED, at=MORNING + DAY, name="s2")
    (letter,) = take(advance(book, later), later, ["slack"])[1].values()
    assert (letter.change, letter.facts["since"]) == ("recovered", "2026-11-24T06:00:00Z")


def test_a_letter_that_another_has_replaced_is_not_crossed_out():
    here, later = session(FAILED), session(PASSED, at=MORNING + DAY, name="s2")
    book, letters = take(advance(Book(), here), here, ["slack"])
    book = advance(book, later)
    assert settle(book, here, [Sent(letters["acme"].letter_id, "acme", "slack")]).letters == book.letters


def test_a_ticket_is_done_with_once_all_of_its_flows_have_recovered():
    both = [record(outcome="failed", flow_id=flow_id) for flow_id in ("acme", "beta")]
    here = session(*both, channels=("jira",))
    book, letters = take(advance(Book(), here), here, ["jira"])
    book = settle(book, here, [Sent(each.letter_id, name, "jira", "OPS-1") for name, each in letters.items()])
    one = advance(book, session(PASSED, at=MORNING + DAY, name="s2", channels=("jira",)))
    assert (one.letters["acme"].tickets, one.letters["acme"].closes) == ({"jira": "OPS-1"}, ())
    two = advance(one, session(record(flow_id="beta"), at=MORNING + DAY, name="s3", channels=("jira",)))
    assert two.letters["beta"].closes == ("jira",)


def test_what_nobody_took_for_a_week_is_given_up():
    book = advance(Book(), session(FAILED))
    assert forget_old(book, MORNING + 6 * DAY) == (book, [])
    assert forget_old(book, MORNING + 8 * DAY) == (dataclasses.replace(book, letters={}), ["acme"])
    assert forget_old(book, MORNING + 401 * DAY) == (Book(), ["acme"])


class Broken(Directory):
    """A store that is down."""

    def read_state(self, name):
        raise ResultsStoreFailed("s3://results does not answer")


def note(flow_id):
    """Return a change of the memory: this flow fails; and what was known before."""

    def change(book):
        before = sorted(book.troubles)
        return advance(book, session(record(outcome="failed", flow_id=flow_id))), before

    return change


@pytest.fixture(scope="module")
def moto():
    with MotoServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(clients, "BRISK_READ_SECONDS", 60)  # a busy machine is no store that is down
        for name, text in server.environment.items():
            patch.setenv(name, text)
        make_places()
        yield server


@pytest.fixture(params=["folder", f"s3://{BUCKET}/results", f"dynamodb://{TABLE}"], ids=["folder", "s3", "dynamodb"])
def store(request, tmp_path, moto):
    return open_store(str(tmp_path) if request.param == "folder" else request.param, one_set())


def test_a_session_that_comes_in_between_loses_nothing_and_is_seen(store):
    memory, other = (Memory("alerts.json", store, None) for _ in range(2))
    seen = []

    def change(book):
        if not seen:
            other.update(note("beta"))
        seen.append(sorted(book.troubles))
        return note("acme")(book)

    assert memory.update(change) == ["beta"]
    assert seen == [[], ["beta"]]
    assert memory.update(note("gamma")) == ["acme", "beta"]
    assert memory.troubles == other.troubles == []


def test_while_the_store_is_down_a_local_file_remembers_and_gives_back(tmp_path):
    local, store = Directory(tmp_path / "local"), Directory(tmp_path / "store")
    down = Memory("alerts.json", Broken(tmp_path / "store"), local)
    assert down.update(note("acme")) == []
    assert down.update(note("beta")) == ["acme"]
    (trouble,) = down.troubles
    assert trouble.endswith("a local file is used instead: s3://results does not answer")
    assert Memory("alerts.json", store, local).update(note("gamma")) == ["acme", "beta"]
    again = Memory("alerts.json", store, local)
    assert again.update(note("delta")) == ["acme", "beta", "gamma"]
    assert Book.load(local.read_state("alerts.json").content) == Book()
    assert again.troubles == []


def test_with_no_memory_at_all_it_is_told_all_the_same(tmp_path):
    memory = Memory("alerts.json", Broken(tmp_path), None)
    assert memory.update(lambda book: (book, "told")) == "told"
    assert ["so it may be told again" in line for line in memory.troubles] == [True]


@pytest.mark.parametrize(
    "content",
    [
        b"\xff",
        b"[]",
        b"{}",
        b'{"schema": 2, "troubles": {}, "letters": {}}',
        b'{"schema": 1, "troubles": {"a": {"state": "failing", "since": "soon"}}, "letters": {}}',
        b'{"schema": 1, "troubles": {"a": 1}, "letters": {}}',
    ],
)
def test_a_memory_that_cannot_be_read_is_told_and_begun_anew(tmp_path, content):
    store = Directory(tmp_path)
    assert store.write_state("alerts.json", content, None)
    memory = Memory("alerts.json", store, None)
    assert memory.update(note("acme")) == []
    assert [line.startswith("alerts: state/alerts.json cannot be read") for line in memory.troubles] == [True]
    assert Memory("alerts.json", store, None).update(note("beta")) == ["acme"]


def test_a_steady_state_writes_nothing(tmp_path):
    here = session(PASSED)
    Memory("alerts.json", Directory(tmp_path), None).update(lambda book: (advance(book, here), None))
    assert list(tmp_path.iterdir()) == []
