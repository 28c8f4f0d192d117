"""What is under way when a session ends early is cleaned up and recorded, and the reports are still written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.inner import flow

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
