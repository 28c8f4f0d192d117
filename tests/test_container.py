"""The container without an engine: its Dockerfile is linted, and its command run as it runs there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.support import container, lambda_package
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

package = lambda_package.script()
STORE, RESULTS = "s3://example-configs/team", "s3://example-results/daily"
STOP_SECONDS = 120  # Fargate's longest stopTimeout
FLOW = {
    "flow_id": "acme",
    "source": {"type": "S3", "bucket": "example-source", "prefix": "out"},
    "target": {"type": "S3", "bucket": "example-target", "prefix": "in"},
    "transfer": {"mode": "event"},
    "validation": {"expect_within_seconds": 60},
    "testdata": {"size_bytes": 4096},
}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    with MotoServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        for name in ("example-configs", "example-results", "example-source", "example-target"):
            boto3.client("s3").create_bucket(Bucket=name)
        yield server.environment


@pytest.fixture
def mover(cloud: dict[str, str]) -> Iterator[None]:
    """Copy whatever comes into the source, as the transfer under test would."""
    stop = threading.Event()
    s3 = boto3.client("s3")

    def move() -> None:
        while not stop.wait(0.2):
            for key in keys("example-source"):
                name = key.rpartition("/")[2]
                if not name.endswith((".sha256", ".json")):
                    body = s3.get_object(Bucket="example-source", Key=key)["Body"].read()
                    s3.put_object(Bucket="example-target", Key=f"in/{name}", Body=body)

    thread = threading.Thread(target=move)
    thread.start()
    yield
    stop.set()
    thread.join()


def keys(bucket: str) -> list[str]:
    return [each["Key"] for each in boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", ())]


def store(**changes: Any) -> None:
    body = json.dumps({**FLOW, **changes}).encode()
    boto3.client("s3").put_object(Bucket="example-configs", Key="team/flows/acme.json", Body=body)


def transfers() -> list[dict[str, Any]]:
    """Return the records of the runs that sent a file."""
    names = [key for key in keys("example-results") if key.endswith("/run.json")]
    every = [json.load(boto3.client("s3").get_object(Bucket="example-results", Key=key)["Body"]) for key in names]
    return [record for record in every if record["kind"] == "transfer"]


def start(folder: Path, cloud: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """Start the image's command, with its suite, its environment and its volumes."""
    suite, temporary = folder / "suite", folder / "tmp"
    (suite / "fileflow-results").mkdir(parents=True)
    temporary.mkdir()
    shutil.copy(container.DOCKERFILE.with_name("pytest.ini"), suite)
    suite.chmod(0o555)
    program, *more = container.entry_point()
    variables = container.environment()
    own = {
        **{name: value.replace("/tmp", str(temporary)) for name, value in variables.items()},
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "TMPDIR": str(temporary),
        **cloud,
        **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
    }
    command = [str(Path(sys.executable).with_name(program)), *more, *arguments]
    return subprocess.Popen(
        command, cwd=suite, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


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


def test_a_container_runs_the_store_and_leaves_records_in_the_bucket_alone(tmp_path, cloud, mover):
    store()
    arguments = (
        "--fileflow-config",
        STORE,
        "--fileflow-results",
        RESULTS,
        "-n",
        "2",
        "--junitxml=fileflow-results/junit.xml",
    )
    process = start(tmp_path, cloud, *arguments)
    output = process.communicate(timeout=180)[0]
    assert process.returncode == 0, output
    assert (tmp_path / "suite" / "fileflow-results" / "junit.xml").is_file()
    (record,) = transfers()
    assert (record["flow_id"], record["outcome"], record["residue"]) == ("acme", "passed", [])
    assert sorted(path.name for path in (tmp_path / "suite").iterdir()) == ["fileflow-results", "pytest.ini"]
    assert not keys("example-source")


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "n2"])
def test_a_container_that_is_stopped_cleans_up_and_records_in_time(tmp_path, cloud, workers):
    store(validation={"expect_within_seconds": 600})
    process = start(tmp_path, cloud, "--fileflow-config", STORE, "--fileflow-results", RESULTS, *workers)
    until(lambda: len(keys("example-source")) == 3, process)  # the file and its two sidecars
    stopped = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    output = process.communicate(timeout=STOP_SECONDS)[0]
    assert process.returncode == 2, output  # pytest's own for an interrupted session
    assert time.monotonic() - stopped < STOP_SECONDS / 2
    (record,) = transfers()
    assert record["cause"] == "tester.interrupted"
    assert keys("example-source") == []
