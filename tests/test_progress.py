"""A session shows how far it is: on a terminal below pytest's own output, which stays as it is, and in a log."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from pytest_fileflow.flight import Flight, Limits, Plan
from pytest_fileflow.invoke import Started
from pytest_fileflow.progress import Progress, Wait
from pytest_fileflow.reporting.progress_words import line, sentence
from pytest_fileflow.steps import prepare_errand
from tests.support import inner
from tests.support.inner import flow
from tests.support.memory import World
from tests.support.terminal import Terminal
from tests.test_engine import Bench, make_case
from tests.test_interrupts import until

LONG = {"expect_within_seconds": 300, "grace_seconds": 1}
AT_ONCE = """
from pytest_fileflow import launcher
from pytest_fileflow.reporting import progress
launcher.PROGRESS_SECONDS = progress.LOOK_SECONDS = 0.1
progress.QUIET_SECONDS = 0
progress.LOG_SECONDS = 0.3
"""
FAR = Progress(
    queued=12, sending=3, waiting=150, done=35, failed=2, slowest=Wait("acme_sftp_to_s3[typical-5MiB]", 312.4, 420)
)
COUNTS = "200 runs: 12 queued, 3 being sent, 150 waiting, 35 done (2 failed)"


@pytest.fixture
def held(suite, monkeypatch):
    """Return a suite of three flows that wait until there is a file "go", and show how far they are at once."""
    suite.pytester.makeconftest(inner.CONFTEST + AT_ONCE)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    for flow_id in ("one", "two", "three"):
        suite.add(f"flows/{flow_id}.json", flow(flow_id, "held", validation=LONG))
    return suite


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "flows", *arguments]


def on_terminal(suite, *arguments: str, columns: int = 80, rows: int = 40, **env: str) -> Terminal:
    # pytest-rerunfailures leaves a socket open on each worker, and Python may warn of it in the midst of a line.
    return Terminal(command("-p", "no:rerunfailures", *arguments), suite.path, columns=columns, rows=rows, **env)


def let_go(suite) -> None:
    (suite.path / "go").touch()


def shows(words: str):
    return lambda lines: any(words in line for line in lines)


def without_chance(lines: list[str]) -> list[str]:
    """Return lines without what differs from run to run: times, and under xdist the order and who did what."""
    times = r"\d+\.\d+( s|s)?|\d+ %|\(\d:\d\d:\d\d\)"
    kept = [" ".join(re.sub(rf"{times}|\[gw\d\]|\[ *\d+%\]|=+", "", line).split()) for line in lines]
    return sorted(line for line in kept if "workers" not in line and not line.startswith("ready:"))


@pytest.mark.parametrize("how", [(), ("-v", "-n", "2"), ("-q", "--color=no")], ids=["dots", "verbose-n2", "quiet"])
def test_a_line_shows_how_far_it_is_and_leaves_everything_else_as_it_was(held, how):
    with on_terminal(held, *how) as terminal:
        lines = terminal.until(shows("3 waiting, 0 done; slowest: "), "the line")
        assert re.fullmatch(
            r"3 runs: 3 waiting, 0 done; slowest: (one|two|three)\[4KiB\] \d+ s of 300 s \(\d+ %\)", lines[-1]
        )
        let_go(held)
        assert terminal.finish() == 0
        shown = terminal.lines
    with on_terminal(held, "--fileflow-progress=off", *how) as terminal:
        assert terminal.finish() == 0
        assert without_chance(shown) == without_chance(terminal.lines)


def test_the_line_stands_below_at_the_bottom_of_a_small_terminal_too(held, workers):
    for number in range(12):
        held.add(f"flows/more/m{number}.json", flow(f"m{number}", validation=LONG))
    with on_terminal(held, "-v", *workers, columns=44, rows=6) as terminal:
        lines = terminal.until(lambda lines: lines[-1] == "15 runs: 3 waiting, 12 done", "the line at the end")
        assert re.search(r"flows/|KiB]$", lines[-2])
        let_go(held)
        assert terminal.finish() == 0
        assert "15 passed" in terminal.lines[-1]
        assert not any(re.search(r"\d done|\d waiting", line) for line in terminal.lines)


def test_a_line_is_cut_to_a_terminal_that_becomes_narrow(held):
    with on_terminal(held, "-q", columns=100) as terminal:
        terminal.until(shows("3 waiting, 0 done; slowest: "), "the line")
        terminal.resize(30, 40)
        terminal.until(lambda lines: lines[-1] == "3 runs: 3 waiting, 0 done", "a short one")
        let_go(held)
        assert terminal.finish() == 0
        assert "3 passed" in terminal.text


def test_a_failing_run_is_counted_and_reported_once(held):
    held.add("flows/bad.json", flow("bad", "truncate"))
    with on_terminal(held, "-rf") as terminal:
        terminal.until(shows("3 waiting, 1 done (1 failed)"), "the failure among the done")
        let_go(held)
        assert terminal.finish() == 1
        assert terminal.text.count("FAILED flows/bad.json::bad[4KiB]") == 1
        assert "waiting, " not in terminal.text


def test_ctrl_c_leaves_nothing_of_it(held, workers):
    with on_terminal(held, *workers) as terminal:
        terminal.until(shows("3 waiting, 0 done"), "the line")
        terminal.ctrl_c()
        assert terminal.finish() == pytest.ExitCode.INTERRUPTED
        assert "3 were interrupted" in terminal.text
        assert not any(re.search(r"\d waiting|cleaning up", line) for line in terminal.lines)


def test_what_a_lost_worker_had_under_way_counts_no_more(held):
    held.add("flows/four.json", flow("four", "held", validation=LONG))
    with on_terminal(held, "-n", "2") as terminal:
        terminal.until(shows("4 runs: 4 waiting, 0 done"), "all of them")
        workers = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(terminal.process.pid)], capture_output=True, text=True, check=True
        )
        os.kill(min(int(pid) for pid in workers.stdout.split()), signal.SIGKILL)
        # One item fails as crashed. Its worker's other is run again by a third worker, which has cleaned up both.
        terminal.until(shows("5 runs: 3 waiting, 2 done; "), "those of the other and of the third")
        let_go(held)
        assert terminal.finish() == 1
        assert "1 failed, 3 passed" in terminal.text
        assert "waiting, " not in terminal.text


@pytest.mark.parametrize("how", [("-v",), ("-q",), ("-n", "2")], ids=["verbose", "quiet", "n2"])
def test_a_log_gets_a_line_of_its_own_now_and_then(held, how):
    held.add("flows/fast.json", flow("fast", validation=LONG))
    lines = []
    told = command("--junitxml=junit.xml", *how)
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(told, cwd=held.path, text=True, **both) as process:
        for text in process.stdout:
            lines.append(text.rstrip("\n"))
            is_begun = any(line.endswith(".") or "PASSED" in line for line in lines)
            if "3 waiting, 1 done; slowest " in text and is_begun:
                let_go(held)
    assert process.returncode == 0
    ours = [text for text in lines if "fileflow: " in text]
    pattern = r"fileflow: \d runs?: .*\d done(; slowest (fast|one|two|three)\[4KiB\] \d+ s of its SLO of 300 s)?"
    assert [text for text in ours if not re.fullmatch(pattern, text)] == []
    assert re.search(r"4 passed in", lines[-1])
    assert "waiting, " not in (held.path / "junit.xml").read_text()
    assert not any("\x1b" in text for text in lines)


@pytest.mark.parametrize(
    ("how", "env"),
    [
        (("--fileflow-progress=log",), {}),
        ((), {"CI": "true"}),
        ((), {"TERM": "dumb"}),
        (("-s",), {}),
    ],
    ids=["log", "ci", "dumb", "no-capture"],
)
def test_where_nothing_may_be_redrawn_a_terminal_is_a_log(held, how, env):
    with on_terminal(held, *how, columns=120, **env) as terminal:
        terminal.until(shows("fileflow: 3 runs: 3 waiting, 0 done; slowest "), "a line of the log")
        let_go(held)
        assert terminal.finish() == 0
        assert b"\x1bD" not in terminal.raw


def test_ci_has_a_live_line_where_it_is_asked_for(held):
    with on_terminal(held, "--fileflow-progress=live", CI="true") as terminal:
        terminal.until(lambda lines: lines[-1].startswith("3 runs: 3 waiting"), "the line")
        let_go(held)
        assert terminal.finish() == 0


def test_without_pytests_terminal_nothing_is_shown(held):
    let_go(held)
    with on_terminal(held, "-p", "no:terminal") as terminal:
        assert terminal.finish() == 0
        assert terminal.raw == b""


def test_a_suite_without_flows_has_no_part_in_it(suite):
    suite.pytester.makepyfile("""
        import threading

        def test_one():
            assert "fileflow-progress" not in [thread.name for thread in threading.enumerate()]
        """)
    with Terminal([sys.executable, "-m", "pytest", "-p", "no:cacheprovider"], suite.path) as terminal:
        assert terminal.finish() == 0
        assert b"\x1bD" not in terminal.raw


@pytest.mark.parametrize("origin", ["option", "ini"])
def test_a_word_that_means_nothing_is_refused(suite, origin):
    if origin == "ini":
        suite.pytester.makeini("[pytest]\nfileflow_progress = sometimes\n")
    result = suite.run(*(["--fileflow-progress=sometimes"] if origin == "option" else []))
    name = "--fileflow-progress" if origin == "option" else "ini option fileflow_progress"
    result.stderr.fnmatch_lines([f"*{name}: 'sometimes' is none of auto, live, log, off"])


@pytest.mark.parametrize(
    ("width", "words"),
    [
        (140, f"{COUNTS}; slowest: acme_sftp_to_s3[typical-5MiB] 312 s of 420 s (74 %)"),
        (110, f"{COUNTS}; slowest: acme_…5MiB] 312 s of 420 s (74 %)"),
        (79, "35/200 done, 2 failed, 150 waiting; slowest: acme_s…5MiB] 312 s of 420 s (74 %)"),
        (60, "35/200 done; slowest: acme_sft…l-5MiB] 312 s of 420 s (74 %)"),
        (39, "35/200 done, 2 failed, 150 waiting"),
        (30, "35/200 done"),
        (7, "35/200 "),
    ],
)
def test_a_line_says_what_fits(width, words):
    assert line(FAR, width) == words
    assert len(words) <= width


def test_a_line_is_no_longer_than_there_is_room():
    for width in range(150):
        assert len(line(FAR, width)) <= width


def test_a_sentence_says_all():
    assert sentence(FAR) == (
        "200 runs: 12 queued, 3 being sent, 150 waiting, 35 done (2 failed); "
        "slowest acme_sftp_to_s3[typical-5MiB] 312 s of its SLO of 420 s"
    )
    assert sentence(Progress(checking=1, verifying=2)) == "3 runs: 1 being checked, 2 being verified, 0 done"
    assert sentence(Progress(waiting=1)) == "1 run: 1 waiting, 0 done"


def test_an_ending_session_says_what_is_cleaned_up():
    ending = Progress(ending=12, waiting=3, done=188, failed=2, slowest=FAR.slowest)
    assert sentence(ending) == "cleaning up 12 runs; 188 done (2 failed)"
    assert line(ending, 79) == "cleaning up 12 runs; 188 done (2 failed)"
    assert line(Progress(ending=1, done=1), 79) == "cleaning up 1 run; 1 done"


def test_an_engine_tells_how_far_its_runs_are():
    bench = Bench(World(), Limits(concurrency=8, max_in_flight=1))
    invoked, released = threading.Event(), threading.Event()

    def invoke(_transfer, _payload):
        invoked.set()
        assert released.wait(60)
        return Started("request-1")

    tools = dataclasses.replace(bench.tools, invoke=invoke)
    try:
        for name in ("first", "second"):
            bench.engine.launch(name, make_case(name, expect_within_seconds=300), tools, Plan())
        assert invoked.wait(60)
        assert bench.engine.progress(()) == Progress(queued=1, sending=1)
        released.set()
        until(lambda: bench.engine.progress(()).waiting == 1, "the first is awaited")
        waiting = bench.engine.progress(())
        assert waiting.queued == 1
        assert (waiting.slowest.case, waiting.slowest.slo_seconds) == ("first[10KB]", 300)
        assert bench.engine.progress({bench.engine._flights["first"].run.run_id}) == Progress(queued=1)
    finally:
        released.set()
        bench.engine.close()
    assert bench.engine.progress(()) == Progress()


def test_what_is_cancelled_is_being_cleaned_up_and_what_sends_no_file_is_checked():
    bench = Bench(World())
    bench.engine.close()
    cancelled, contract, verifying = (
        Flight(number, case, bench.tools, Plan(), attempt=1, order=number)
        for number, case in enumerate((make_case(), dataclasses.replace(make_case(), kind="contract"), make_case()))
    )
    cancelled.cancelled.set()
    contract.run = prepare_errand(contract.case, bench.tools, 1)
    assert verifying.may_finish()
    assert Progress.of((cancelled, contract, verifying), 0.0, ()) == Progress(checking=1, verifying=1, ending=1)


def test_progress_travels_as_json_and_adds_up():
    other = Progress(waiting=1, ending=2, done=1, slowest=Wait("beta[1MiB]", 100, 110))
    told = [Progress.from_dict(json.loads(json.dumps(part.to_dict()))) for part in (FAR, other, Progress())]
    assert told == [FAR, other, Progress()]
    total = Progress.total(told)
    assert (total.queued, total.waiting, total.ending, total.done, total.failed) == (12, 151, 2, 36, 2)
    assert total.slowest == other.slowest
    assert FAR.without_process() == Progress(done=35, failed=2)
