"""What is under way when a session ends early is cleaned up and recorded, and the reports are still written."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow.results.ledger import abandoned
from tests.support.inner import flow
from tests.support.memory import SharedStorage

if TYPE_CHECKING:
    from pathlib import Path

LONG = {"expect_within_seconds": 300, "grace_seconds": 1}


@pytest.fixture
def left(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "left"
    folder.mkdir()
    monkeypatch.setenv("FILEFLOW_LEFT", str(folder))
    return folder


def start(suite, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "flows", "--junitxml=junit.xml", *arguments]
    return subprocess.Popen(
        command, cwd=suite.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def until(condition, what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def invoked(left: Path) -> int:
    return len(list(left.glob("invoked-*")))


def remains(left: Path) -> list[str]:
    return [name for path in left.glob("*.json") for name in json.loads(path.read_text())]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interrupted_session_cleans_up_records_and_reports(suite, left, workers, number):
    for flow_id in ("one", "two", "three", "four"):
        suite.add(f"flows/{flow_id}.json", flow(flow_id, "never", validation=LONG))
    process = start(suite, *workers)
    until(lambda: invoked(left) == 4, "four flows under way")
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # the terminal sends Ctrl-C to the whole group
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert [record["cause"] for record in suite.records()] == ["tester.interrupted"] * 4, output
    assert remains(left) == []
    assert (suite.path / "junit.xml").exists()
    assert "4 were interrupted; what they had written was removed" in output


def test_the_first_failure_ends_the_rest(suite, left):
    suite.add("flows/a.json", flow("a", "error"))
    for flow_id in ("b", "c"):
        suite.add(f"flows/{flow_id}.json", flow(flow_id, "never", validation=LONG))
    result = suite.run_apart("flows", "-x")
    result.assert_outcomes(failed=1)
    causes = {record["flow_id"]: record["cause"] for record in suite.records()}
    assert causes["a"] == "trigger.function_error"
    assert set(causes.values()) <= {"trigger.function_error", "tester.interrupted"}
    assert remains(left) == []


def test_the_first_failure_ends_what_other_workers_have_in_hand(suite, left):
    suite.add("flows/a.json", flow("a", "error"))
    for flow_id in ("b", "c", "d"):
        suite.add(f"flows/{flow_id}.json", flow(flow_id, "never", validation=LONG))
    result = suite.run_apart("flows", "-x", "-n", "2")  # ends long before an SLO of 300 s
    assert result.parseoutcomes()["failed"] == 1
    causes = {record["flow_id"]: record["cause"] for record in suite.records()}
    assert causes["a"] == "trigger.function_error"
    assert causes["b"] == "tester.interrupted"
    assert set(causes.values()) == {"trigger.function_error", "tester.interrupted"}
    assert remains(left) == []


def test_maxfail_counts_over_all_workers(suite, left):
    for flow_id in ("a", "b"):
        suite.add(f"flows/{flow_id}.json", flow(flow_id, "error"))
    for flow_id in ("c", "d"):
        suite.add(f"flows/{flow_id}.json", flow(flow_id, "never", validation=LONG))
    result = suite.run_apart("flows", "--maxfail=2", "-n", "2")
    assert result.parseoutcomes()["failed"] == 2
    causes = {record["flow_id"]: record["cause"] for record in suite.records()}
    assert causes["c"] == causes["d"] == "tester.interrupted"
    assert remains(left) == []


def test_a_worker_that_is_killed_loses_only_its_own_unfinished_runs(suite, left):
    for number in range(6):
        suite.add(f"flows/flow{number}.json", flow(f"flow{number}"))
    suite.add(
        "flows/conftest.py",
        text=(
            "import os, pytest, signal\n"
            "@pytest.fixture(autouse=True)\n"
            "def dies(request):\n"
            "    if request.node.name.startswith('flow3') and not os.path.exists('died'):\n"
            "        open('died', 'w').close()\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
        ),
    )
    result = suite.run_apart("flows", "-n", "2")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*worker 'gw?' crashed while running*flow3*"])
    passed = {record["flow_id"] for record in suite.records() if record["outcome"] == "passed"}
    assert passed >= {f"flow{number}" for number in range(6)} - {"flow3"}


@pytest.fixture
def shared(tmp_path, monkeypatch) -> SharedStorage:
    """What the inner endpoints hold, in a folder: it outlives a process that is killed."""
    folder = tmp_path / "storage"
    folder.mkdir()
    monkeypatch.setenv("FILEFLOW_STORAGE", str(folder))
    return SharedStorage(folder)


KILLED = """
import os, pytest, signal
from pathlib import Path
from tests.test_interrupts import invoked, spoil, until

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    if os.environ.get("PYTEST_XDIST_WORKER") == "gw0" and not Path("died").exists():
        until(lambda: invoked(Path(os.environ["FILEFLOW_LEFT"])) == 8, "all flows under way")
        Path("died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_suite(suite) -> None:
    """Eight flows over two workers; of the first one's, one is at its end when it is killed, three are on their way."""
    for number in range(8):
        behaviour = "copy" if number < 2 else "slow"
        validation = {"expect_within_seconds": 30, "grace_seconds": 1}
        suite.add(f"flows/flow{number}.json", flow(f"flow{number}", behaviour, validation=validation))
    suite.add("flows/conftest.py", text=KILLED)


def test_what_a_killed_worker_had_under_way_is_cleaned_up_and_recorded_and_run_again(suite, left, shared):
    killed_suite(suite)
    result = suite.run_apart("flows", "-n", "2")
    result.assert_outcomes(passed=7, failed=1)
    records = suite.records()
    lost = [record for record in records if record["cause"] == "tester.interrupted"]
    assert {record["flow_id"] for record in lost} == {"flow2", "flow4", "flow6"}
    assert "was lost" in lost[0]["reason"]
    again = [record for record in records if record["flow_id"] in {"flow2", "flow4", "flow6"} and record not in lost]
    assert [(record["outcome"], record["attempt"]) for record in again] == [("passed", 2)] * 3
    assert shared.everything() == []
    assert invoked(left) == 11  # eight, and the three again
    assert not (suite.path / "fileflow-results" / "ledger").exists()
    # The replacement launches them at once: each takes a second, and one after the other they would take three.
    triggered = max(record["timeline"]["triggered"] for record in again)
    assert triggered < min(record["timeline"]["arrived"] for record in again)


def test_what_nobody_could_clean_up_is_owned_up_to(suite, left, shared):
    killed_suite(suite)
    result = suite.run_apart("flows", "-n", "2", "--max-worker-restart=0")
    records = suite.records()
    lost = [record for record in records if "nobody cleaned up" in (record["reason"] or "")]
    assert {record["flow_id"] for record in lost} == {"flow2", "flow4", "flow6"}
    assert all("s3://source-bucket/" in record["residue"][0] for record in lost)
    result.stdout.fnmatch_lines(["*left behind: s3://source-bucket/flow*"])
    results = suite.path / "fileflow-results"
    assert not (results / "ledger").exists()
    assert {path.stem for path in results.glob("orphans/*.gw0/*.json")} == {record["run_id"] for record in lost}


def spoil(folder: Path) -> None:
    """Put a file in the place of a folder that others may be writing to."""
    while not folder.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.open("x").close()


def test_what_cannot_be_owned_up_to_is_said_and_kept(suite, left, shared):
    killed_suite(suite)
    suite.add(
        "flows/conftest.py", text=KILLED.replace('Path("died").touch()', 'spoil(Path("fileflow-results/results"))')
    )
    result = suite.run_apart("flows", "-n", "2", "--max-worker-restart=0")
    result.stdout.fnmatch_lines(["*NOT RECORDED tester.results_store: *", "*short test summary*"])
    assert len(list((suite.path / "fileflow-results" / "ledger").glob("*/*.json"))) == 3


def test_a_lost_worker_is_no_failure_that_ends_the_others(suite, left, shared):
    killed_suite(suite)
    suite.run_apart("flows", "-n", "2", "--maxfail=1").assert_outcomes(passed=7, failed=1)


def test_a_replacement_under_dist_each_runs_only_what_was_left(suite, left):
    for number in range(4):
        suite.add(f"flows/flow{number}.json", flow(f"flow{number}", validation={"expect_within_seconds": 30}))
    suite.add(
        "flows/conftest.py",
        text=(
            "import os, pytest, signal\n"
            "@pytest.fixture(autouse=True)\n"
            "def dies(fileflow_run, request):\n"
            "    if os.environ.get('PYTEST_XDIST_WORKER') == 'gw0' and request.node.name.startswith('flow2'):\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
        ),
    )
    suite.run_apart("flows", "-n", "2", "--dist", "each")
    again = [record for record in suite.records() if record["flow_id"] in {"flow0", "flow1"}]
    assert len(again) == 4  # once a worker, and not by the replacement
    assert invoked(left) <= 9


def test_every_worker_runs_every_flow_with_dist_each(suite, left):
    for number in range(3):
        suite.add(f"flows/flow{number}.json", flow(f"flow{number}"))
    suite.run_apart("flows", "-n", "2", "--dist", "each").assert_outcomes(passed=6)
    assert invoked(left) == 6


def test_a_rerun_is_a_new_run_and_a_further_attempt(suite, left, workers):
    suite.add("flows/a.json", flow("a", "flaky"))
    suite.add("flows/b.json", flow("b"))
    suite.run_apart("flows", "--reruns", "1", *workers).assert_outcomes(passed=2)
    runs = [record for record in suite.records() if record["flow_id"] == "a"]
    assert sorted((record["attempt"], record["outcome"]) for record in runs) == [(1, "failed"), (2, "passed")]
    assert len({record["run_id"] for record in runs}) == 2
    assert invoked(left) == 3


def test_the_longest_goes_first_by_its_slo_and_once_it_is_known_by_its_latency(suite, left, workers):
    for flow_id, behaviour, slo in (("a", "slow", 30), ("b", "copy", 60)):
        suite.add(f"flows/{flow_id}.json", flow(flow_id, behaviour, validation={"expect_within_seconds": slo}))
    command = [sys.executable, "-m", "pytest", "-q", "flows", "--fileflow-concurrency=1", *workers]
    for _ in range(2):
        subprocess.run(command, cwd=suite.path, check=True, capture_output=True)
    kept = json.loads((suite.path / ".pytest_cache/v/fileflow/latencies").read_text())
    assert {name: len(latencies) for name, latencies in kept.items()} == {"a[4KiB]": 2, "b[4KiB]": 2}
    if not workers:  # stamps are milliseconds: two may be the same
        (a1, a2), (b1, b2) = (
            sorted(record["timeline"]["prepared"] for record in suite.records() if record["flow_id"] == flow_id)
            for flow_id in "ab"
        )
        assert b1 <= a1 < a2 <= b2


def test_nothing_is_left_of_a_session(suite, left, workers, tmp_path, monkeypatch):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    suite.add("flows/a.json", flow("a"))
    suite.add("flows/b.json", flow("b", "flip"))
    suite.add(
        "flows/conftest.py",
        text=(
            "import threading\n"
            "def pytest_unconfigure(config):\n"
            "    left = [thread.name for thread in threading.enumerate() if thread.name.startswith('fileflow')]\n"
            "    assert not left, left\n"
        ),
    )
    result = suite.run_apart("flows", *workers)
    result.assert_outcomes(passed=1, failed=1)
    assert "AssertionError" not in result.stderr.str() + result.stdout.str()
    assert [path.name for path in temporary.iterdir() if not path.name.startswith("pytest-of-")] == []
    assert not (suite.path / "fileflow-results" / "ledger").exists()


def test_a_worker_that_is_lost_while_it_collects_makes_no_flow_run_twice(suite, left):
    for number in range(6):
        suite.add(f"flows/flow{number}.json", flow(f"flow{number}"))
    suite.add(
        "flows/conftest.py",
        text=(
            "import os, signal\n"
            "def pytest_collection_modifyitems(items):\n"
            "    if os.environ.get('PYTEST_XDIST_WORKER') == 'gw0' and not os.path.exists('died'):\n"
            "        open('died', 'w').close()\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
        ),
    )
    suite.run_apart("flows", "-n", "2").assert_outcomes(passed=6)
    assert invoked(left) == 6


def test_a_collected_flow_runs_once_over_two_workers(suite, left):
    for number in range(9):
        suite.add(f"flows/flow{number}.json", flow(f"flow{number}"))
    suite.pytester.makepyfile(**{"flows/test_by_hand": "def test_one(): pass\ndef test_two(): pass"})
    for dist in ("load", "loadscope", "loadgroup", "worksteal"):
        before = invoked(left)
        suite.run_apart("flows", "-n", "2", "--dist", dist).assert_outcomes(passed=11)
        assert invoked(left) - before == 9, dist


OTHER_DISTRIBUTION = """
from xdist.scheduler import LoadScheduling

class Other(LoadScheduling):
    def schedule(self):
        if self.collection is None:
            print("the other is in charge")
        super().schedule()

def pytest_xdist_make_scheduler(config, log):
    return Other(config, log)
"""


def test_another_plugins_distribution_is_left_alone(suite, left):
    """Its workers are asked for any flow, so none is launched before it is asked for."""
    for number in range(6):
        suite.add(f"flows/flow{number}.json", flow(f"flow{number}"))
    with (suite.path / "conftest.py").open("a") as conftest:
        conftest.write(OTHER_DISTRIBUTION)
    result = suite.run_apart("flows", "-n", "2", "-s")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["*the other is in charge*"])
    assert invoked(left) == 6


@pytest.mark.parametrize("dist", ["load", "each"])
def test_workers_may_have_names(suite, left, dist):
    for number in range(4):
        suite.add(f"flows/flow{number}.json", flow(f"flow{number}"))
    suite.pytester.makepyfile(**{"tests/test_plain": "def test_one(): pass"})
    named = ("--dist", dist, "--tx", "popen//id=left", "--tx", "popen//id=right")
    times = 2 if dist == "each" else 1
    suite.run_apart("tests", *named).assert_outcomes(passed=times)
    suite.run_apart("flows", *named).assert_outcomes(passed=4 * times)
    assert invoked(left) == 4 * times


def test_connections_stand_until_what_is_under_way_is_cleaned_up(suite, left):
    """The last item's teardown ends the session's fixtures; the engine must be done by then."""
    for flow_id in ("a", "b"):
        suite.add(f"flows/{flow_id}.json", flow(flow_id, "never", validation=LONG))
    suite.add(
        "flows/conftest.py",
        text=(
            "import pytest\n"
            "from tests.support.inner import MemoryEndpoint, S3Location, WORLD\n"
            "from pytest_fileflow.errors import Interrupted\n"
            "@pytest.fixture(scope='session')\n"
            "def s3_endpoint():\n"
            "    yield lambda **fields: MemoryEndpoint(S3Location(**fields), WORLD.storage)\n"
            "    for side in ('source', 'target'):\n"
            "        for flow in 'ab':\n"
            "            WORLD.storage.errors['delete', f's3://{side}-bucket/{flow}/'] = Interrupted('closed')\n"
            "@pytest.fixture\n"
            "def gone(fileflow_run): pass\n"
            "@pytest.fixture(autouse=True)\n"
            "def skips(request):\n"
            "    if request.node.name.startswith('b['): pytest.skip('not today')\n"
        ),
    )
    suite.add("flows/0.json", flow("0"))
    suite.run_apart("flows/0.json", "flows/b.json", "flows/a.json", "--deselect", "flows/a.json")
    assert {record["flow_id"]: record["cause"] for record in suite.records()} == {
        "0": None,
        "b": "tester.interrupted",
    }
    assert [record["residue"] for record in suite.records()] == [[], []]
    assert remains(left) == []


def two_of_six(suite) -> None:
    """Six flows, of which two pass at once and four wait for long."""
    for number in range(6):
        suite.add(f"flows/flow{number}.json", flow(f"flow{number}", "copy" if number < 2 else "never", validation=LONG))


def is_under_way(suite, left) -> bool:
    return invoked(left) == 6 and len(suite.records()) == 2


def test_a_killed_session_shows_as_interrupted_before_and_after_the_next(suite, left, shared):
    two_of_six(suite)
    process = start(suite)
    until(lambda: is_under_way(suite, left), "two recorded, four under way")
    results = suite.path / "fileflow-results"
    assert list(abandoned(results)) == []  # it lives
    process.kill()
    process.communicate(timeout=60)
    lost = {entry.run.flow_id: entry.record for entry in abandoned(results)}
    assert set(lost) == {"flow2", "flow3", "flow4", "flow5"}
    assert {record["cause"] for record in lost.values()} == {"tester.interrupted"}
    shutil.rmtree(suite.path / "flows")
    suite.add("flows/next.json", flow("next", validation=LONG))
    result = suite.run_apart("flows")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "recorded as interrupted: 4 runs of a session that was killed",
            "may be left behind by a killed session: s3://source-bucket/flow*",
            "may be left behind by killed sessions: 24 files in all, noted in fileflow-results/orphans for *",
        ]
    )
    outcomes = {record["flow_id"]: record["cause"] for record in suite.records()}
    assert outcomes == {"flow0": None, "flow1": None, "next": None, **dict.fromkeys(lost, "tester.interrupted")}
    assert list(abandoned(results)) == []
    assert len(list(results.glob("orphans/*.main/*.json"))) == 4
    assert not (results / "ledger").exists()


def test_workers_whose_controller_is_killed_clean_up_and_record(suite, left, shared):
    two_of_six(suite)
    process = start(suite, "-n", "2")
    until(lambda: is_under_way(suite, left), "two recorded, four under way")
    process.kill()
    until(lambda: len(suite.records()) == 6, "all six recorded")
    process.communicate(timeout=60)  # until the workers have closed its output, too
    assert [record["cause"] for record in suite.records()] == [None] * 2 + ["tester.interrupted"] * 4
    assert shared.everything() == []
    assert list(abandoned(suite.path / "fileflow-results")) == []


def test_a_session_that_is_killed_with_its_workers_shows_as_interrupted(suite, left, shared):
    two_of_six(suite)
    process = start(suite, "-n", "2")
    until(lambda: is_under_way(suite, left), "two recorded, four under way")
    os.killpg(process.pid, signal.SIGSTOP)  # or the workers would see their controller die first
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    lost = list(abandoned(suite.path / "fileflow-results"))
    assert {entry.run.flow_id for entry in lost} == {"flow2", "flow3", "flow4", "flow5"}
    assert len(suite.records()) == 2
