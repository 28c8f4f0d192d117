"""What the page of a history holds, whatever there is to hold."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from html import unescape
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow import cli
from pytest_fileflow.clock import Clock
from pytest_fileflow.reporting.page import content as bounds
from pytest_fileflow.reporting.page import page, words
from pytest_fileflow.reporting.page.content import gather
from pytest_fileflow.reporting.page.series import in_words
from pytest_fileflow.results.history import History
from tests.support.records import NOW, ago, record
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def history(tmp_path) -> Callable[..., History]:
    def read(*records: dict, now: datetime = NOW) -> History:
        put(tmp_path / "place", *records)
        return History.open(
            str(tmp_path / "place"), lambda: pytest.fail("nothing is in S3"), clock=Clock(utc=lambda: now)
        )

    return read


def put(place: Path, *records: dict) -> None:
    place.mkdir(exist_ok=True)
    for each in records:
        day, flow = each["timeline"]["begun"][:10], each["flow_id"]
        folder = place / "results" / f"dt={day}" / f"flow_id={flow}" / f"run_id={each['run_id']}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(each))


def month(flow: str, **fields: object) -> list[dict]:
    """Return four runs a day of a month, of which that at noon eleven days ago failed."""
    moments = [ago(days=day, hours=hour) for day in range(28, -1, -1) for hour in (18, 12, 6, 0)]
    lost = ago(days=11, hours=12)
    return [record(flow, at, "failed" if at == lost else "passed", **fields) for at in moments]


def test_what_is_shown_of_many_runs_is_bounded_and_what_is_left_out_is_said(history, monkeypatch):
    monkeypatch.setattr(bounds, "POINTS", 120)
    monkeypatch.setattr(bounds, "LISTED", 20)
    monkeypatch.setattr(bounds, "DETAILS_BYTES", 20_000)
    read = history(*month("acme"), *month("globex"))
    made = gather(read, ["place"], ago(days=29))
    assert [flow.counted for flow in made.flows] == [116, 116]
    for flow in made.flows:
        assert len(flow.runs) == 10
        assert "failed" in [shown.run.outcome for shown in flow.runs]
        assert [shown.run.began for shown in flow.runs] == sorted(
            (shown.run.began for shown in flow.runs), reverse=True
        )
        assert flow.series.each == 2
        assert len(flow.series.runs) == 58
        assert [run.outcome for run in flow.series.runs].count("failed") == 1
        detailed = [shown for shown in flow.runs if shown.details]
        assert 2 <= len(detailed) < 10
        assert detailed[0] == flow.runs[0]
        assert "failed" in [shown.run.outcome for shown in detailed]
    assert made.detailed == sum(shown.details is not None for flow in made.flows for shown in flow.runs)
    text = page(read, ["place"], ago(days=29))
    assert text.count("106 more runs of this period are not listed") == 2
    assert f"20 of 232 runs are listed, {made.detailed} of them with all details" in text
    assert "Charts hold 232 transfers in 116 points" in text
    assert text.count("Each point is the worst of 2 in a row.") == 2
    assert text.count('<div class="fileflow ') == made.detailed


def test_a_chart_gets_each_case_its_slo_and_the_days_p95(history):
    read = history(
        record("acme", ago(hours=50), latency_seconds=2.0, slo_seconds=60.0),
        record("acme", ago(hours=49), latency_seconds=0.51234, case="smoke", slo_seconds=60.0),
        record("acme", ago(hours=2), "failed", slo_seconds=30.0),
        record("acme", ago(hours=1), kind="contract", case="contract", latency_seconds=None),
    )
    (flow,) = gather(read, ["place"], ago(days=29)).flows
    began = int(ago(hours=50).timestamp())
    day = began // 86400
    assert flow.series.columns() == {
        "cases": ("typical-5MiB", "smoke"),
        "t": [began, 3600, 47 * 3600],
        "y": [2.0, 0.5123, None],
        "c": [0, 1, 0],
        "bad": [2],
        "slo": [[began, 60.0], [began + 48 * 3600, 30.0]],
        "p95": [[day, pytest.approx(1.9, abs=0.11)]],
    }


def test_what_could_not_be_judged_is_not_told_as_a_failure(history):
    lost = record("acme", ago(hours=2), "error", cause="tester.interrupted")
    read = history(record("acme", ago(hours=3), "failed"), lost, record("acme", ago(hours=1)), record("well"))
    acme, well = gather(read, ["place"], ago(days=29)).flows
    assert acme.series.columns()["bad"] == [0]
    assert in_words(acme.history, acme.series).endswith("; 1 of those shown failed, 1 could not be judged.")
    assert in_words(well.history, well.series).endswith("; none of those shown failed.")


def test_the_least_frequent_cases_share_a_line(history):
    read = history(*(record("acme", ago(hours=number), case=f"size-{number % 7}") for number in range(40)))
    (flow,) = gather(read, ["place"], ago(days=29)).flows
    assert len(flow.series.cases) == 5
    assert flow.series.cases[-1] == "other cases"
    assert max(flow.series.columns()["c"]) == 4


@pytest.mark.parametrize(
    ("days", "state"),
    [
        ([0.2, 1.2, 2.2], "passing"),
        ([1.05, 2.05, 3.05], "passing"),  # an hour later than the day before: still to come
        ([1.2, 2.2, 3.2], "stale"),
        ([1.2], "stale"),
        ([6.9, 13.9, 20.9], "passing"),  # once a week
        ([7.5, 14.5, 21.5], "stale"),
        ([0.2, 7.2, 8.2, 9.2], "passing"),
    ],
)
def test_a_flow_that_did_not_run_as_often_as_usual_is_stale(history, days, state):
    (flow,) = gather(history(*(record("acme", ago(days=day)) for day in days)), ["place"], ago(days=29)).flows
    assert flow.state == state


def test_a_failing_flow_stays_failing_however_long_ago(history):
    (flow,) = gather(history(record("acme", ago(days=6), "failed")), ["place"], ago(days=29)).flows
    assert flow.state == "failing"
    assert words.last(flow) == ("missing.not_picked_up", "first time, 6 days ago")


def test_how_long_ago_a_cause_was_is_told_of_its_own_run(history):
    read = history(record("acme", ago(days=3), "failed", kind="contract", case="contract"), record("acme"))
    (flow,) = gather(read, ["place"], ago(days=29)).flows
    assert words.last(flow) == ("missing.not_picked_up", "first time, 3 days ago")


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((0, 0, 0, 0), "No flow has run"),
        ((0, 0, 0, 1), "The flow passes"),
        ((0, 0, 0, 9), "All 9 flows pass"),
        ((1, 0, 0, 0), "1 of 1 flow fails"),
        ((3, 2, 1, 9), "3 of 15 flows fail, 2 could not be tested, 1 did not run"),
        ((0, 2, 0, 9), "2 of 11 flows could not be tested"),
    ],
)
def test_the_headline(counts, said):
    assert words.headline(dict(zip(bounds.STATES, counts, strict=True))) == said


def test_a_rate_is_a_hundred_only_if_all_passed(history):
    (flow,) = gather(history(*month("acme")), ["place"], ago(days=29)).flows
    assert words.rate(flow.history.success_30) == "99.1 %"
    (flow,) = gather(history(*[record("b", ago(hours=1))]), ["place"], ago(days=29)).flows[1:]
    assert words.rate(flow.history.success_30) == "100 %"


def test_a_record_of_another_form_is_shown_as_far_as_it_can_be(history):
    foreign = record("acme", ago(hours=1))
    for name in ("file", "checks", "evidence", "target"):
        foreign[name] = ["something else"]
    text = page(history(foreign), ["place"], ago(days=29))
    assert "Its record has another form than expected, and cannot be shown." in text


@pytest.mark.parametrize("fields", [{"slo_seconds": 10**400}, {"evidence": {"log": "x" * 400_000}}])
def test_one_record_of_no_measure_takes_nothing_from_others(history, fields):
    read = history(record("acme", ago(hours=1), **fields), record("globex", ago(hours=1)))
    made = gather(read, ["place"], ago(days=29))
    assert [flow.history.flow_id for flow in made.flows if "Timeline" in (flow.runs[0].details or "")] == ["globex"]


def test_all_runs_are_counted_and_that_which_says_the_state_is_listed(history, monkeypatch):
    monkeypatch.setattr(bounds, "READ", 3)
    failed = record("acme", ago(hours=9), "failed", case="contract", kind="contract")
    read = history(failed, *(record("acme", ago(hours=hours)) for hours in range(6)))
    (flow,) = gather(read, ["place"], ago(days=29)).flows
    assert (flow.counted, flow.left_out, flow.series.counted) == (7, 3, 3)
    assert (flow.runs[-1].run.run_id, flow.runs[-1].details is None) == (failed["run_id"], False)


def test_runs_of_the_sandbox_are_marked_or_said_to_be_left_out(history, tmp_path):
    read = history(record("acme", ago(hours=1), sandbox=True), record("acme", ago(hours=2)))
    text = page(read, ["place"], ago(days=29))
    assert '<p class="note">1 run of the sandbox is left out: --sandbox shows it too</p>' in text
    assert '<span class="sandbox">' not in text
    place = str(tmp_path / "place")
    whole = History.open(place, lambda: pytest.fail("nothing is in S3"), clock=Clock(utc=lambda: NOW), sandbox=True)
    text = page(whole, [place], ago(days=29))
    assert text.count('<span class="sandbox">sandbox</span>') == 1
    assert "left out" not in text


def test_others_are_named_only_where_there_are_others(history, monkeypatch):
    read = history(record("acme", ago(hours=1)), record("acme", ago(hours=2)))
    text = page(read, ["place"], ago(days=29))
    assert "2 of 2 runs are listed, 2 of them with all details.\n" in text
    monkeypatch.setattr(bounds, "DETAILS_BYTES", 0)
    text = page(read, ["place"], ago(days=29))
    assert "2 of 2 runs are listed, 0 of them with all details; the others are where the page was made from." in text


def test_what_is_chosen_is_what_is_compared(history):
    text = page(history(record("acme", ago(hours=1), owner="two  blanks")), ["place"], ago(days=29))
    assert '<option value="two  blanks">' in text  # a browser takes the text of an option for "two blanks"


def test_nothing_in_a_record_ends_what_it_stands_in(history):
    hostile = "</script></style><!--\"'\u2028{{ 7 * 7 }}"
    names = dict.fromkeys(("flow_id", "case", "owner", "description", "direction", "reason", "cause", "hint"), hostile)
    text = page(history(), [hostile], ago(days=29), flow=hostile)
    assert hostile not in text
    fields = {name: value for name, value in names.items() if name != "flow_id"}
    read = history(record("acme", ago(hours=1), "failed", tags=[hostile], evidence={hostile: hostile}, **fields))
    text = page(read, [hostile], ago(days=29), flow=hostile)
    assert text.count("</script>") == 3  # of the chart's numbers, of the library, and our own
    assert text.count("</style>") == 1
    assert "\u2028" not in text
    assert "<!--" not in text
    numbers = json.loads(re.search(r'class="series">(.*?)</script>', text)[1])
    assert numbers["cases"] == [hostile.replace("\u2028", "\\u2028")]
    assert "{{ 7 * 7 }}" in unescape(text)


class TestCommand:
    @pytest.fixture(autouse=True)
    def place(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        now = datetime.now(timezone.utc)
        put(tmp_path / "fileflow-results", record("acme", now - timedelta(days=3)), record("globex", now))

    def test_it_writes_the_page_of_the_usual_place(self, tmp_path, capsys):
        assert cli.main(["report"]) == 0
        assert capsys.readouterr().out == "report-history.html\n"
        text = (tmp_path / "report-history.html").read_text()
        assert "2 runs of 2 flows" in text
        assert "<code>fileflow-results</code>" in text

    def test_what_is_read_can_be_chosen(self, tmp_path):
        assert cli.main(["report", "fileflow-results", "-o", "a.html", "--since", "2d"]) == 0
        assert "1 run of 1 flow since" in (tmp_path / "a.html").read_text()
        assert cli.main(["report", "-o", "c.html", "--since", "2026-11-01T01:00:00+02:00"]) == 0
        assert ">31 Oct 2026, 23:00</time>. Times are UTC." in (tmp_path / "c.html").read_text()
        assert cli.main(["report", "-o", "b.html", "--flow", "ac*", "--no-rollup"]) == 0
        assert "1 run of 1 flow named <code>ac*</code>" in " ".join((tmp_path / "b.html").read_text().split())

    def test_no_runs_make_no_page(self, tmp_path, capsys):
        assert cli.main(["report", "--flow", "nobody"]) == 2
        assert capsys.readouterr() == ("", "fileflow report: no runs of nobody in fileflow-results\n")
        assert not (tmp_path / "report-history.html").exists()

    def test_a_place_that_is_not_there_is_one_line(self, tmp_path, capsys):
        assert cli.main(["report", "nowhere"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("fileflow report: location.missing: ")
        assert line.endswith("nowhere is not a folder")
        assert not (tmp_path / "report-history.html").exists()

    def test_a_link_stays_a_link_and_a_pipe_is_written_to(self, tmp_path):
        (tmp_path / "link.html").symlink_to("page.html")
        assert cli.main(["report", "-o", "link.html"]) == 0
        assert (tmp_path / "link.html").is_symlink()
        text = (tmp_path / "page.html").read_text()
        assert "2 runs of 2 flows" in text
        reads, writes = os.pipe()
        with ThreadPoolExecutor(1) as reader, os.fdopen(reads, encoding="utf-8") as pipe:
            read = reader.submit(pipe.read)
            try:
                assert cli.main(["report", "-o", f"/dev/fd/{writes}"]) == 0
            finally:
                os.close(writes)
            assert "2 runs of 2 flows" in read.result()

    def test_a_file_that_cannot_be_written_is_one_line(self, capsys):
        assert cli.main(["report", "-o", "no/such/folder.html"]) == 2
        assert capsys.readouterr().err == (
            "fileflow report: no/such/folder.html cannot be written: No such file or directory\n"
        )


def test_records_in_s3_are_shown_with_details(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with MotoServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        s3 = server.session().client("s3")
        s3.create_bucket(Bucket="example-results")
        now = datetime.now(timezone.utc)
        for number in range(3):
            told = record(f"acme{number}", now - timedelta(hours=number), "failed" if number == 1 else "passed")
            key = f"daily/results/dt={now:%Y-%m-%d}/flow_id={told['flow_id']}/run_id={told['run_id']}/run.json"
            s3.put_object(Bucket="example-results", Key=key, Body=json.dumps(told).encode())
        assert cli.main(["report", "s3://example-results/daily", "--no-rollup", "--since", "2d"]) == 0
    text = (tmp_path / "report-history.html").read_text()
    assert "<h1>1 of 3 flows fails</h1>" in text
    assert text.count('<div class="fileflow ') == 3
    assert "Look first: Look at the transfer&#x27;s own log." in text
