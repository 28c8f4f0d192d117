"""The container without an engine: its Dockerfile is linted, and its command run as it runs there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import container, lambda_package
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

package = lambda_package.script()
STOP_SECONDS = 120  # Fargate's longest stopTimeout


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    with MotoServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        container.make_buckets()
        yield server.environment


def until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end, "not in time"
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)


def test_the_dockerfile_has_no_fault():
    hadolint = Path(sys.executable).with_name("hadolint")
    told = subprocess.run([hadolint, container.DOCKERFILE], capture_output=True, text=True, check=False, timeout=60)
    assert (told.returncode, told.stdout) == (0, "")


def test_the_image_runs_as_nobody_in_particular():
    (user,) = (text for name, text in container.last_stage() if name == "USER")
    assert user.split(":")[0] not in {"root", "0"}
    assert any(
        "/suite/fileflow-results" in text and "/tmp" in text
        for name, text in container.last_stage()
        if name == "VOLUME"
    )
    assert "gnupg" in " ".join(text for name, text in container.last_stage() if name == "RUN")


def test_what_is_copied_is_there_and_let_through():
    root = lambda_package.ROOT
    passed = {
        line[1:] for line in (root / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    }
    assert set(container.copied()) == passed
    assert "deploy/container/pytest.ini" in passed


def test_the_lock_is_that_of_the_project(tmp_path):
    wanted = ", ".join(package.needed(lambda_package.wheel(tmp_path), frozenset()))
    lines = package.CONTAINER_LOCK.read_text(encoding="utf-8").splitlines()
    assert f"# for: {wanted}" in lines, "python deploy/package.py --lock makes it anew"
    pinned = [line for line in lines if line and line[0] not in "# "]
    assert all("==" in line and line.endswith("\\") for line in pinned)


def test_a_container_runs_the_store_and_leaves_records_in_the_bucket_alone(tmp_path, cloud):
    container.store()
    arguments = ("-n", "2", "--junitxml=fileflow-results/junit.xml")
    with container.transfer():
        process = container.start(tmp_path, cloud, *container.PLACES, *arguments)
        output = process.communicate(timeout=180)[0]
    assert process.returncode == 0, output
    (record,) = container.transfers()
    assert (record["flow_id"], record["outcome"], record["residue"]) == ("acme", "passed", [])
    assert (tmp_path / "suite" / "fileflow-results" / "junit.xml").is_file()
    assert sorted(path.name for path in (tmp_path / "suite").iterdir()) == ["fileflow-results", "pytest.ini"]
    assert not container.keys(container.SOURCE)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "n2"])
def test_a_container_that_is_stopped_cleans_up_and_records_in_time(tmp_path, cloud, workers):
    container.store(validation={"expect_within_seconds": 600})
    process = container.start(tmp_path, cloud, *container.PLACES, *workers)
    until(lambda: len(container.keys(container.SOURCE)) == 3, process)  # the file and its two sidecars
    stopped = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    output = process.communicate(timeout=STOP_SECONDS)[0]
    assert process.returncode == 2, output  # pytest's own for an interrupted session
    assert time.monotonic() - stopped < STOP_SECONDS / 2
    (record,) = container.transfers()
    assert record["cause"] == "tester.interrupted"
    assert container.keys(container.SOURCE) == []
