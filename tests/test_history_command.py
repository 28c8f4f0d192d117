from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
from datetime import date, datetime, timedelta, timezone

import pytest

from pytest_fileflow import __version__
from pytest_fileflow.cli import main
from pytest_fileflow.clock import Clock, format_stamp
from pytest_fileflow.commands import history as command
from pytest_fileflow.reporting.history import Style, counts, runs_lines, state_text, strip, table
from pytest_fileflow.results.history import Day, History, Success
from pytest_fileflow.results.spool import Spool
from pytest_fileflow.results.store import Directory
from tests.support.records import NOW, ago, record

WIDE = Style(width=200)


def write(folder, *records):
    for each in records:
        Directory(folder).write(each)
    return folder


def flows_of(folder, *records, **options):
    write(folder, *records)
    clock = Clock(utc=lambda: NOW)
    return History.open(str(folder), lambda: pytest.fail("no AWS here"), clock=clock, **options).flows()


def now_and(**before):
    return datetime.now(timezone.utc) - timedelta(minutes=1, **before)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


MONTH = [
    *(record("steady", began=ago(days=days), latency_seconds=2.0) for days in range(12)),
    record("broken", began=ago(hours=1), outcome="failed", cause="partial.truncated"),
    *(record("broken", began=ago(days=days), outcome="failed", cause="late") for days in (1, 2)),
    *(record("broken", began=ago(days=days), latency_seconds=float(days)) for days in (3, 4, 8)),
    record("killed", began=ago(days=1)),
    record("killed", outcome="error", cause="tester.interrupted"),
    record("mended", began=ago(days=3), outcome="failed", cause="late"),
    record("mended"),
    record(
        "new trouble", began=ago(hours=2), outcome="failed", cause="auth.rejected", kind="contract", case="contract"
    ),
]


def test_the_table_begins_with_the_newest_trouble_and_ends_with_what_is_well(tmp_path):
    lines = list(table(flows_of(tmp_path, *MONTH), NOW, WIDE))
    assert [line.split("  ")[0] for line in lines] == [
        "",
        "✗ failing ×1 since 04:30",
        "✗ failing ×3 since 24 Nov",
        "! interrupted ×1 since 06:30",
        "✓ passed ×1",
        "✓ passed ×12",
    ]
    broken = lines[2].split()
    figures = "40 % 50 % 4.00 s 7.60 s 420 s"
    assert " ".join(broken[6:]) == f"broken 1 h ago {figures} ·····█···▅▄××× typical-5MiB partial.truncated 1 h ago"
    assert lines[1].split()[-5:] == ["contract", "auth.rejected", "2", "h", "ago"]
    assert lines[-1].endswith("··████████████")


def test_the_moment_beside_a_cause_is_that_of_its_run(tmp_path):
    late = {"outcome": "failed", "cause": "late"}
    failed = record("lost", began=ago(days=9), **late)
    lost = record("lost", began=ago(hours=3), outcome="error", cause="tester.interrupted")
    told = flows_of(tmp_path, failed, record("lost", began=ago(days=8)), lost, record("well"))
    lost_line, _ = list(table([*told], NOW, WIDE))[1:]
    assert lost_line.split()[-4:] == ["tester.interrupted", "3", "h", "ago"]
    well = flows_of(tmp_path, record("well", began=ago(days=4), **late))[-1]
    assert list(table([well], NOW, WIDE))[1].split()[-4:] == ["late", "4", "d", "ago"]


def test_the_strip_has_a_letter_a_day():
    days = [
        Day(date(2026, 11, 20), passed=1, p95=10.0),
        Day(date(2026, 11, 21), passed=1, p95=4.0),
        Day(date(2026, 11, 22), passed=1, failed=1, p95=4.0),
        Day(date(2026, 11, 23), passed=1, errors=1),
        Day(date(2026, 11, 24), passed=1),
        Day(date(2026, 11, 25)),
    ]
    assert strip(days, WIDE) == "█▄×!▁·"
    assert strip(days, Style.for_terminal("ascii", width=80, colours=False)) == "84x!1."
    assert strip([Day(date(2026, 11, 25))] * 3, WIDE) == "···"
    assert strip([Day(date(2026, 11, 25), errors=1, p95=4.0), Day(date(2026, 11, 26), failed=1)], WIDE) == "!×"


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_the_terminal(tmp_path, width):
    names = [f"{'a_partner_with_a_long_name_' * 3}{number}" for number in range(3)]
    records = [record(name, outcome="failed", cause="missing.not_picked_up") for name in names]
    flows = flows_of(tmp_path, *records, *MONTH)
    lines = list(table(flows, NOW, Style(width=width)))
    assert max(map(len, lines)) <= width
    assert len(lines) == 1 + len(flows)
    assert all("missing.not_picked_up" in line for line in lines if "a_partner" in line)
    narrow = list(runs_lines(flows[0], [flows[0].last], Style(width=width)))
    assert max(map(len, narrow[1:3])) <= width


def test_letters_and_colours_are_those_that_the_terminal_has(tmp_path):
    flows = flows_of(tmp_path, *MONTH)
    plain = Style.for_terminal("ascii", width=None, colours=False)
    assert "\n".join(table(flows, NOW, plain)).isascii()
    assert Style.for_terminal("utf-8", width=None, colours=False).passed == "✓"
    assert Style.for_terminal("no such encoding", width=None, colours=False).passed == "+"
    coloured = list(table(flows, NOW, Style(colours=True)))
    assert [line[:5] for line in coloured[1:]] == ["\x1b[31m", "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[32m"]


def test_of_many_passed_flows_only_the_worst_are_shown(tmp_path):
    slow = record("slow", latency_seconds=400.0)
    flows = flows_of(tmp_path, slow, *(record(f"f{number:02}") for number in range(30)))
    lines = list(table(flows, NOW, WIDE))
    assert (len(lines), lines[-1]) == (7, "and 26 more that passed")
    assert "slow" in lines[1]
    assert lines[0].split()[-1] == "days"  # nothing has failed: there is no cause to show
    assert "just now" in lines[1]
    assert len(list(table(flows, NOW, WIDE, is_whole=True))) == 32
    assert counts(flows) == "31 flows: 31 passed"


def test_names_do_not_steer_the_terminal(tmp_path):
    evil = "\x1b[2J\nflow"
    told = record("acme", outcome="failed", cause=evil, owner=evil, case=evil, reason=evil)
    (flow,) = flows_of(tmp_path, told)
    lines = [*table([flow], NOW, WIDE), *runs_lines(flow, [flow.last], WIDE)]
    assert all(line.isprintable() for line in lines)


def test_no_failure_is_rounded_away(tmp_path):
    many = [record("acme", began=ago(minutes=minutes)) for minutes in range(1, 200)]
    (flow,) = flows_of(tmp_path, *many, record("acme", began=ago(hours=5), outcome="failed"))
    assert "99 %" in list(table([flow], NOW, WIDE))[1]
    half = dataclasses.replace(flow, success_7=Success(29, 50), success_30=Success(57, 100))
    assert "58 %  57 %" in list(table([half], NOW, WIDE))[1]  # which 100 * 0.57 is not
    assert state_text(flow, NOW, WIDE) == "✓ passed ×199"


def test_the_exit_status_says_whether_all_is_well(here, capsys):
    write(here / "fileflow-results", record(began=now_and()))
    assert main(["history"]) == 0
    assert capsys.readouterr().out.endswith("\n1 flow: 1 passed\n")
    write(here / "fileflow-results", record("beta", began=now_and(), outcome="error"))
    assert main(["history"]) == 1
    write(here / "fileflow-results", record("gamma", began=now_and(), outcome="failed"))
    assert main(["history"]) == 1
    assert main(["history", "--flow", "acme"]) == 0
    assert main(["history", "nowhere"]) == 2
    assert "nowhere is not a folder" in capsys.readouterr().err
    assert main(["history", "dynamodb://table"]) == 2
    assert "is read from a folder or from s3://bucket/prefix" in capsys.readouterr().err
    for place in ("s3:///prefix", "s3://"):
        assert main(["history", place]) == 2
        assert "'' is not the name of a bucket, as in s3://bucket/prefix" in capsys.readouterr().err


def test_where_nothing_ran_nothing_is_proven(here, capsys):
    write(here / "fileflow-results", record(began=now_and(days=3)))
    assert main(["history", "--since=2d"]) == 2
    assert capsys.readouterr().err == "fileflow history: no runs of any flow in fileflow-results\n"
    assert main(["history", "--flow=b*"]) == 2
    assert main(["history", "--since=1w"]) == 0


@pytest.mark.parametrize("since", ["7", "d", "-1d", "7 days", "2026-13-01", "", "0001-01-01T00+14:00"])
def test_a_since_that_means_nothing_is_refused(here, capsys, since):
    assert main(["history", f"--since={since}"]) == 2
    assert "is neither a span, as 7d, 24h or 2w, nor a date, as 2026-11-01" in capsys.readouterr().err


def test_a_flow_of_its_own_shows_its_last_runs(here, capsys):
    failed = record("acme", began=now_and(), outcome="failed", cause="late", attempt=2)
    write(here / "r", failed, record("acme", began=now_and(days=1)), record("acme_2", began=now_and()))
    assert main(["history", "r", "--flow=acme*"]) == 1
    shown = capsys.readouterr().out
    assert "✗ failed  typical-5MiB (attempt 2)" in shown
    assert failed["reason"] in shown
    assert "2 flows: 1 failing, 1 passed" in shown
    assert main(["history", "r", "--runs=acme", "--limit=1"]) == 1
    shown = capsys.readouterr().out
    assert "acme_2" not in shown
    assert shown.count("typical-5MiB") == 1
    assert main(["history", "r", "--runs=acme*"]) == 2
    hint = "; --runs takes the id of one flow, --flow takes patterns\n"
    assert capsys.readouterr().err == f"fileflow history: no runs of acme* in r{hint}"
    assert main(["history", "r", "--runs=nobody"]) == 2
    assert capsys.readouterr().err == "fileflow history: no runs of nobody in r\n"


def test_the_json_document_has_a_stable_shape(here, capsys):
    began = now_and()
    told = record("acme", began=began, outcome="failed", cause="late")
    write(here / "r", told)
    assert main(["history", "r", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["schema", "generated", "notes", "flows", "runs"]
    assert (document["schema"], document["notes"], document["runs"]) == (1, [], {})
    (flow,) = document["flows"]
    assert list(flow) == [
        *("flow_id", "owner", "description", "direction", "state", "streak", "latest", "last", "last_cause"),
        *("last_failed", "success_7", "success_30", "slo_seconds", "p50_seconds", "p95_seconds", "days"),
    ]
    assert flow["success_7"] == {"passed": 0, "counted": 1, "rate": 0.0}
    assert flow["streak"] == {"runs": 1, "since": format_stamp(began)}
    assert list(flow["days"][-1]) == ["date", "passed", "failed", "errors", "p50_seconds", "p95_seconds", "cause"]
    assert sum(day["failed"] for day in flow["days"]) == 1
    assert list(flow["last"]) == [
        *("run_id", "flow_id", "case", "kind", "direction", "attempt", "outcome", "cause", "reason", "hint", "began"),
        *("latency_seconds", "slo_seconds", "size", "phases_seconds", "sandbox", "where"),
    ]
    assert main(["history", "r", "--json", "--runs=acme"]) == 1
    assert json.loads(capsys.readouterr().out)["runs"]["acme"] == [flow["last"]]


def test_what_was_left_out_is_said(here, capsys):
    write(here / "r", record("acme", began=now_and(), sandbox=True))
    assert main(["history", "r"]) == 0
    assert "all of these runs are of the sandbox" in capsys.readouterr().out
    write(here / "r", record("beta", began=now_and()))
    assert main(["history", "r"]) == 0
    shown, note = capsys.readouterr().out, "1 run of the sandbox is left out: --sandbox shows it too"
    assert "acme" not in shown
    assert note in shown.splitlines()
    assert main(["history", "r", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == [note]
    assert main(["history", "r", "--sandbox", "--flow=*"]) == 0
    shown = capsys.readouterr().out
    assert note not in shown
    assert shown.count("typical-5MiB (sandbox)") == 1


def test_records_that_wait_for_another_place_are_said(here, capsys):
    spool = Spool.of(write(here / "fileflow-results", record("acme", began=now_and())))
    for outcome in ("failed", "error"):
        spool.put("s3://example-results/daily", record("beta", outcome=outcome), None, "it is down")
    spool.put("dynamodb://runs", record("beta"), None, "it is down")
    told = [
        "1 record waits in fileflow-results/spool for dynamodb://runs and is not shown: fileflow upload",
        "2 records wait in fileflow-results/spool for s3://example-results/daily and are not shown: fileflow upload",
    ]
    assert main(["history"]) == 0
    assert capsys.readouterr().out.splitlines()[-3:-1] == told
    assert main(["history", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == told
    assert main(["report"]) == 0
    assert [line for line in told if line in (here / "report-history.html").read_text()] == told


def test_records_that_wait_are_said_where_nothing_else_is_there(here, capsys):
    waiting = record("beta", outcome="failed")
    Spool.of(here / "my results").put("s3://example-results", waiting, None, "it is down")
    told = "1 record waits in my results/spool for s3://example-results and is not shown"
    for command_name in ("history", "report"):
        assert main([command_name, "my results"]) == 2
        said = f"{told}: fileflow upload --results 'my results'\nfileflow {command_name}: no runs of any flow"
        assert capsys.readouterr().err == f"{said} in my results\n"


def test_a_rollup_is_kept_unless_it_is_not_to_be(here):
    write(here / "r", record(began=now_and()))
    main(["history", "r", "--no-rollup"])
    assert not (here / "cache").exists()
    main(["history", "r", "--rollup=own"])
    assert (here / "own").exists()
    assert not (here / "cache").exists()
    main(["history", "r"])
    assert list((here / "cache").rglob("*.parquet"))


def test_only_a_terminal_gets_colours_and_a_width(monkeypatch):
    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "97")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal(io.BytesIO(), encoding="utf-8")
    assert command._style(terminal) == Style(97, colours=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert command._style(terminal) == Style(97, colours=False)
    assert command._style(io.StringIO()).width is None


def test_ctrl_c_ends_it_without_a_traceback(here, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(History, "open", interrupted)
    assert main(["history"]) == 130
    assert capsys.readouterr().err == ""


def test_letters_that_the_output_has_not_are_written_out(here, monkeypatch):
    write(here / "r", record("acme", began=now_and(), description="größe"))
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    assert main(["history", "r", "--runs=acme"]) == 0
    assert b"gr\\xf6\\xdfe" in output.buffer.getvalue()


def test_a_reader_that_has_seen_enough_is_no_trouble(here):
    write(here / "r", *(record(f"flow-{number}", began=now_and()) for number in range(20)))
    read, written = os.pipe()
    os.close(read)
    program = [sys.executable, "-m", "pytest_fileflow.cli", "history", "r"]
    done = subprocess.run(program, stdout=written, stderr=subprocess.PIPE, cwd=here, timeout=60, check=False)
    os.close(written)
    assert (done.returncode, b"BrokenPipe" in done.stderr) == (0, False)


def test_the_command_says_its_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pytest-fileflow {__version__}\n"
