"""What follows a session may fail, hang or be broken off: verdicts, table and reports are there all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.support.inner import flow
from tests.test_interrupts import until

TOKEN = "hunter2-swordfish"
BROKEN = f"""
from pytest_fileflow import delivery
from pytest_fileflow.reporting import metrics

def fails(session):
    raise RuntimeError("https://host/{TOKEN}")

delivery.after_session = metrics.publish_metrics = fails
"""
LOST = """
from pytest_fileflow import recording

def fails(self):
    raise RuntimeError

recording.Recording.own_up = fails
"""
HANGS = """
import time
from pathlib import Path
from pytest_fileflow import delivery

def hangs(session):
    Path("hangs").touch()
    while True:
        time.sleep(0.05)

delivery.after_session = hangs
"""
OWN_SESSION = """
@pytest.fixture(scope="session")
def aws_session():
    return None  # which no flow here uses
"""
ROOM = {"expect_within_seconds": 60}


def conftest(suite, text: str) -> None:
    with (suite.path / "conftest.py").open("a") as file:
        file.write(text)


def test_a_fault_in_one_part_keeps_no_other_from_being_done(suite, workers):
    suite.add("flows/a.json", flow("a", validation=ROOM))
    conftest(suite, BROKEN)
    result = suite.run_apart("flows", "--fileflow-summary=summary.md", "--junitxml=junit.xml", *workers)
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "passed * a *",
            "summary: *",
            "NOT DONE: to deliver what waits: tester.bug: RuntimeError in conftest.py, line *",
            "NOT DONE: to publish metrics: tester.bug: RuntimeError in conftest.py, line *",
        ]
    )
    assert TOKEN not in result.stdout.str() + result.stderr.str()
    assert "NOT DONE: to publish metrics" in (suite.path / "summary.md").read_text()
    assert (suite.path / "junit.xml").exists()


def test_lost_runs_that_cannot_be_recorded_keep_nobody_from_reporting(suite):
    suite.add("flows/a.json", flow("a", validation=ROOM))
    conftest(suite, LOST)
    result = suite.run_apart("flows", "-n", "2")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["passed * a *", "NOT DONE: to own up to lost workers: tester.bug: RuntimeError in conftest.py, line *"]
    )


def test_an_aws_configuration_that_cannot_be_used_is_told_and_no_more(suite, monkeypatch, tmp_path):
    for name, text in {
        "AWS_PROFILE": "nowhere",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, text)
    alerts = {"sns_topic_arn": "arn:aws:sns:us-east-1:123456789012:told"}
    suite.add("flows/a.json", flow("a", validation=ROOM), flow("b", "error", alerts=alerts))
    conftest(suite, OWN_SESSION)
    more = ("--fileflow-cloudwatch", "--fileflow-alerts", "--fileflow-results=s3://example-results")
    result = suite.run("flows", *more)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*NOT DELIVERED: 2 records wait in fileflow-results/spool for s3://example-results: *nowhere*",
            "METRICS NOT PUBLISHED tester.credentials: *nowhere*",
            "NOT TOLD alerts: 1 flow failing: sns (told): *nowhere*",
        ],
    )


def test_ctrl_c_ends_what_follows_and_not_the_report_of_it(suite, workers):
    suite.add("flows/a.json", flow("a", validation=ROOM))
    conftest(suite, HANGS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "flows", "--fileflow-summary=summary.md"]
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen([*command, *workers], cwd=suite.path, text=True, start_new_session=True, **both)
    until((suite.path / "hangs").exists, "what follows", 300)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == pytest.ExitCode.OK, output
    assert "1 of 1 runs passed" in output
    assert "INTERRUPTED: what was to be delivered, published and told is not complete" in output
    assert "1 passed" in output
    assert "INTERRUPTED" in (suite.path / "summary.md").read_text()


UNSHOWN = """
from pytest_fileflow.reporting import progress

def fails(self, progress):
    open("failed", "w").close()
    raise ValueError("I/O operation on closed file")

progress.LOOK_SECONDS = 0.05
progress.InLog.update = fails
"""


def test_progress_that_cannot_be_shown_fails_nothing(suite, workers):
    suite.add("flows/a.json", flow("a", "slow", validation=ROOM))
    conftest(suite, UNSHOWN)
    result = suite.run_apart("flows", "-W", "error", *workers)
    assert (suite.path / "failed").exists()
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=1)
