from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

from pytest_fileflow.delivery import deliver
from pytest_fileflow.model import Inside, PayloadFile, Run
from pytest_fileflow.results import ledger as ledger_module
from pytest_fileflow.results.keeper import Keeper
from pytest_fileflow.results.ledger import Entry, Ledger, abandoned
from pytest_fileflow.results.places import Place
from pytest_fileflow.results.settling import settle
from pytest_fileflow.results.spool import Spool
from pytest_fileflow.results.store import Directory
from tests.support.stores import MANIFEST, interrupted, record

RUN = Run(
    "0123456789abcdef",
    "acme",
    "5MiB",
    "S3->SFTP",
    2,
    PayloadFile("acme_0123456789abcdef.bin", 5, "aa", "random", (Inside("gzip", 9, "bb"),)),
    {"prepared": "2026-11-24T06:00:00.000Z"},
    (("source", "acme_0123456789abcdef.bin"), ("target", "acme_0123456789abcdef.bin")),
)
ENTRY = Entry("flows/acme.json::acme[5MiB]", RUN, {"run_id": RUN.run_id, "outcome": "error"})


def test_what_is_entered_stays_until_it_is_struck_out(tmp_path):
    ledger = Ledger.of(tmp_path, "session", "gw0")
    ledger.enter(ENTRY)
    assert list(Ledger.of(tmp_path, "session", "gw0").entries()) == [ENTRY]
    assert [page.page.name for page in Ledger.all_of(tmp_path, "session")] == ["session.gw0"]
    assert Ledger.all_of(tmp_path, "another") == []
    ledger.strike(RUN.run_id)
    ledger.strike(RUN.run_id)
    assert list(ledger.entries()) == []


def test_a_page_with_entries_is_kept_and_an_empty_one_leaves_nothing(tmp_path):
    ledger = Ledger.of(tmp_path, "session", "main")
    ledger.close()
    ledger.enter(ENTRY)
    ledger.close()
    assert list(ledger.entries()) == [ENTRY]
    ledger.strike(RUN.run_id)
    ledger.close()
    assert list(tmp_path.iterdir()) == []


def test_entries_come_oldest_first(tmp_path):
    ledger = Ledger.of(tmp_path, "session", "main")
    ids = ["ffff", "0000", "8888"]
    for age, run_id in enumerate(ids):
        ledger.enter(dataclasses.replace(ENTRY, run=dataclasses.replace(RUN, run_id=run_id)))
        path = next(ledger.page.glob(f"{run_id}.json"))
        os.utime(path, (age, age))
    assert [entry.run.run_id for entry in ledger.entries()] == ids


def test_a_folder_that_cannot_be_written_costs_the_run_nothing(tmp_path, caplog):
    (tmp_path / "ledger").write_text("a file in its place")
    ledger = Ledger.of(tmp_path, "session", "main")
    ledger.enter(ENTRY)
    ledger.strike(RUN.run_id)
    ledger.close()
    assert "is not in the ledger" in caplog.text


def test_an_entry_that_cannot_be_read_hides_no_other(tmp_path, caplog):
    ledger = Ledger.of(tmp_path, "session", "main")
    ledger.enter(ENTRY)
    (ledger.page / "broken.json").write_text("{")
    (ledger.page / "odd.json").write_text("[]")
    assert list(ledger.entries()) == [ENTRY]
    assert "broken.json cannot be read" in caplog.text


def test_the_page_of_a_living_process_is_not_abandoned_and_that_of_a_dead_one_is(tmp_path):
    ledger = Ledger.of(tmp_path, "session", "gw0")
    ledger.enter(ENTRY)
    assert list(abandoned(tmp_path)) == []
    ledger.close()  # as the operating system does with what is killed: the entry stays
    assert list(abandoned(tmp_path)) == [ENTRY]


def test_a_session_that_goes_on_takes_care_of_the_pages_of_its_lost_processes(tmp_path):
    controller = Ledger.of(tmp_path, "session", "main")
    controller.open()
    lost = Ledger.of(tmp_path, "session", "gw0")
    lost.enter(ENTRY)
    lost.close()
    assert list(abandoned(tmp_path)) == []
    controller.close()
    assert list(abandoned(tmp_path)) == [ENTRY]


def test_a_run_whose_process_was_killed_once_its_record_was_written_is_not_abandoned(tmp_path):
    ledger = Ledger.of(tmp_path, "session", "main")
    ledger.enter(ENTRY)
    ledger.close()
    record = tmp_path / "results/dt=2026-11-24/flow_id=acme/run_id=0123456789abcdef/run.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    assert list(abandoned(tmp_path)) == []


def test_a_page_that_was_removed_meanwhile_is_made_anew(tmp_path):
    ledger = Ledger.of(tmp_path, "session", "main")
    ledger.open()
    ledger.open()
    ledger.close()
    assert not ledger.page.exists()
    ledger.enter(ENTRY)
    assert ledger.is_alive()
    ledger.close()
    assert not ledger.is_alive()


def test_what_was_left_behind_is_kept_for_those_who_clean_up(tmp_path):
    ledger = Ledger.of(tmp_path, "session", "main")
    left = dataclasses.replace(ENTRY, record={**ENTRY.record, "residue": ["s3://source-bucket/acme/x.bin"]})
    ledger.enter(left)
    ledger.retire(left)
    ledger.retire(left)
    ledger.close()
    assert not ledger.page.exists()
    assert list(Ledger(tmp_path / "orphans" / "session.main").entries()) == [left]


def test_what_lay_in_a_sandbox_has_gone_with_it(tmp_path):
    ledger = Ledger.of(tmp_path, "session", "main")
    left = dataclasses.replace(ENTRY, record={**ENTRY.record, "sandbox": True, "residue": ["s3://source/acme/x.bin"]})
    ledger.enter(left)
    ledger.retire(left)
    ledger.close()
    assert list(tmp_path.iterdir()) == []


def test_nobody_is_sent_to_look_for_what_lay_in_a_sandbox(tmp_path):
    for run_id, sandbox in (("a" * 16, True), ("b" * 16, False)):
        run = dataclasses.replace(RUN, run_id=run_id)
        told = interrupted(run_id, timeline=dict(run.timeline), sandbox=sandbox, residue=[f"s3://source/{run_id}"])
        ledger = Ledger.of(tmp_path, f"session{run_id}", "main", (str(tmp_path),))
        ledger.enter(Entry(ENTRY.node_id, run, told))
        ledger.close()
    done = deliver(tmp_path, lambda: None, keeper_of=lambda _: keeper(tmp_path), seconds=0, command="", here=tmp_path)
    assert done.notes == [
        "recorded as interrupted: 2 runs of a session that was killed",
        f"may be left behind by a killed session: s3://source/{'b' * 16}",
        "may be left behind by killed sessions: 1 file in all, noted in ./orphans for `fileflow clean`",
    ]


def keeper(*places: object) -> Keeper:
    return Keeper([Place("folder", str(place)) for place in places], lambda: None, None)


def killed(results, run_id: str, *places: str) -> Entry:
    """Leave the page of a session that was killed with one run under way."""
    run = dataclasses.replace(RUN, run_id=run_id)
    entry = Entry(ENTRY.node_id, run, interrupted(run_id, timeline=dict(run.timeline)))
    ledger = Ledger.of(results, f"session{run_id}", "main", places)
    ledger.enter(entry)
    ledger.close()
    return entry


def test_killed_sessions_are_settled_once_where_their_records_were_to_go(tmp_path):
    first, second = (killed(tmp_path, letter * 16, f"to-{letter}") for letter in "ab")
    asked = []

    def keeper_of(places):
        asked.append(places)
        return keeper(tmp_path / places[0])

    assert [one.record for one in settle(tmp_path, keeper_of)] == [first.record, second.record]
    assert asked == [("to-a",), ("to-b",)]
    for letter, entry in (("a", first), ("b", second)):
        assert Directory(tmp_path / f"to-{letter}").run_ids("acme", 5) == [entry.run.run_id]
    assert settle(tmp_path, keeper_of) == []
    assert not (tmp_path / "ledger").exists()


def test_what_cannot_be_settled_stays(tmp_path):
    killed(tmp_path, "a" * 16)
    (tmp_path / "taken").write_text("a file in its place")
    assert settle(tmp_path, lambda _: None) == []
    [one] = settle(tmp_path, lambda _: keeper(tmp_path / "taken"))
    assert "cannot be written" in one.kept.problem
    assert len(list(abandoned(tmp_path))) == 1


def test_a_run_that_waits_for_its_store_is_not_abandoned(tmp_path):
    entry = killed(tmp_path, "a" * 16)
    Spool.of(tmp_path).put("s3://example-results", {**entry.record, "outcome": "passed"}, None, "it was down")
    assert list(abandoned(tmp_path)) == []
    assert settle(tmp_path, lambda _: keeper()) == []
    assert not (tmp_path / "ledger").exists()
    assert not (tmp_path / "results").exists()


def test_a_page_that_says_nothing_of_places_names_none(tmp_path):
    ledger = Ledger.of(tmp_path, "session", "main", ("s3://example-results",))
    assert ledger.told_places() == ()
    ledger.open()
    assert ledger.told_places() == ("s3://example-results",)
    (ledger.page / "alive").write_text("{")
    assert ledger.told_places() == ()
    ledger.close()


FULL = """
import resource, signal, sys
from pathlib import Path
from pytest_fileflow.results.ledger import Ledger
from tests.test_ledger import ENTRY

ledger = Ledger.of(Path(sys.argv[1]), "session", "main", ("somewhere",))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
ledger.enter(ENTRY)
ledger.enter(ENTRY)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
ledger.enter(ENTRY)
print(ledger.is_alive(), ledger.told_places(), list(ledger.entries()) == [ENTRY])
"""


def test_a_disk_that_is_full_holds_up_nobody(tmp_path):
    """No file may grow, as on a full disk; what was locked then must not lock out the next try."""
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    root = Path(__file__).parents[1]
    ended = subprocess.run(command, check=True, timeout=300, stdout=subprocess.PIPE, text=True, cwd=root)
    assert ended.stdout == "True ('somewhere',) True\n"


def test_a_page_that_does_not_stay_costs_the_run_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(ledger_module, "is_there", lambda *_: False)
    Ledger.of(tmp_path, "session", "main").enter(ENTRY)
    assert "is not in the ledger: the page does not stay there" in caplog.text


def test_what_a_killed_process_had_recorded_here_goes_to_its_other_places(tmp_path):
    other, waited = tmp_path / "other", tmp_path / "waited"
    for run_id in ("a" * 16, "b" * 16):
        killed(tmp_path, run_id)
    done = record("a" * 16, timeline=dict(RUN.timeline))
    Directory(tmp_path).write(done, MANIFEST)
    Spool.of(tmp_path).put("s3://example-results", record("b" * 16, timeline=dict(RUN.timeline)), MANIFEST, "down")
    assert settle(tmp_path, lambda _: keeper(tmp_path, other, waited)) == []
    assert sorted(Directory(other).run_ids("acme", 5)) == ["a" * 16, "b" * 16]
    assert Directory(other).read(done) == (done, MANIFEST)
    assert not (tmp_path / "ledger").exists()


def test_a_page_that_comes_to_life_or_is_settled_by_another_is_left_alone(tmp_path):
    entry = killed(tmp_path, "a" * 16)
    living = Ledger(next((tmp_path / "ledger").iterdir()))

    def keeper_of(_places):
        living.open()
        return keeper(tmp_path)

    assert settle(tmp_path, keeper_of) == []
    living.close()
    assert list(abandoned(tmp_path)) == [entry]


def test_no_run_is_settled_once_time_is_up(tmp_path):
    entry = killed(tmp_path, "a" * 16)
    assert settle(tmp_path, lambda _: keeper(tmp_path), -1) == []
    assert list(abandoned(tmp_path)) == [entry]


def test_an_entry_that_cannot_be_recorded_holds_up_no_other(tmp_path):
    killed(tmp_path, "b" * 16)
    ledger = Ledger.of(tmp_path, "sessionaaaa", "main")
    ledger.enter(ENTRY)  # of which a record has more to say
    ledger.close()
    first, second = settle(tmp_path, lambda _: keeper(tmp_path))
    assert first.kept.problem == "what the ledger holds of it cannot be recorded: KeyError"
    assert (second.record["run_id"], second.kept.problem) == ("b" * 16, "")
    assert list(abandoned(tmp_path)) == [ENTRY]
