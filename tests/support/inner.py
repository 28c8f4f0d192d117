"""What a conftest.py of an inner pytest imports: flows in memory, whose function's name says how it behaves."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from pytest_fileflow.errors import FunctionFailed
from pytest_fileflow.invoke import Started
from pytest_fileflow.model import S3Location, SftpLocation
from tests.support.memory import MemoryEndpoint, SharedStorage, World

CONFTEST = "from tests.support.inner import *\n"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:{}"

WORLD = World()
if "FILEFLOW_STORAGE" in os.environ:
    WORLD.storage = SharedStorage(Path(os.environ["FILEFLOW_STORAGE"]))
SLOW_SECONDS = 1.0
CACHE: dict[str, bytes] = {}
DAMAGE = {
    "copy": lambda content: content,
    "flaky": lambda content: content,
    "slow": lambda content: content,
    "held": lambda content: content,
    "cached": lambda content: CACHE.setdefault("content", content),
    "drop": lambda content: None,
    "truncate": lambda content: content[:-10],
    "flip": lambda content: bytes([content[0] ^ 1]) + content[1:],
}


@pytest.fixture(scope="session")
def s3_endpoint():
    return lambda **fields: MemoryEndpoint(S3Location(**fields), WORLD.storage)


@pytest.fixture(scope="session")
def sftp_endpoint():  # the plugin's own would import boto3 and paramiko, for flows that have neither
    return lambda **fields: MemoryEndpoint(SftpLocation(**fields), WORLD.storage)


@pytest.fixture(scope="session")
def transfer_invoker():
    def invoke(lambda_arn, payload, invocation="Event"):
        behaviour = lambda_arn.rpartition(":")[2]
        if "FILEFLOW_LEFT" in os.environ:
            Path(os.environ["FILEFLOW_LEFT"], f"invoked-{payload['run_id']}").touch()
        if behaviour == "flaky" and not Path("tried").exists():
            Path("tried").touch()
            raise FunctionFailed("the function failed at its first call")
        if behaviour == "error":
            raise FunctionFailed("the function failed with ValueError: <b>no</b> such partner")
        if behaviour in DAMAGE:
            content = WORLD.storage.get(*folder_and_name(payload["source"]))
            delivered = DAMAGE[behaviour](content)
            if behaviour == "held":
                threading.Thread(target=deliver_when_let_go, args=(payload["target"], content), daemon=True).start()
            elif delivered is not None:
                deliver(payload["target"], delivered, SLOW_SECONDS if behaviour == "slow" else 0)
        return Started("request-1")

    return invoke


def deliver(target: str, content: bytes, seconds: float) -> None:
    put = threading.Timer(seconds, WORLD.storage.put, (*folder_and_name(target), content))
    put.daemon = True
    put.start() if seconds else put.run()


def deliver_when_let_go(target: str, content: bytes) -> None:
    """Deliver once the test outside has made the file "go"."""
    while not Path("go").exists():
        time.sleep(0.02)
    deliver(target, content, 0)


def folder_and_name(uri: str) -> tuple[str, str]:
    folder, _, name = uri.rpartition("/")
    return f"{folder}/", name


def pytest_collection_modifyitems(items):
    """Leave out the contracts, unless the test is about them: most are about the transfers."""
    if "FILEFLOW_CONTRACTS" not in os.environ:
        items[:] = [item for item in items if not item.name.endswith("[contract]")]


def pytest_unconfigure(config):
    """Leave word of what still lies somewhere, for the test outside."""
    if "FILEFLOW_LEFT" in os.environ:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        left = [f"{place}{name}" for place, name in WORLD.storage.everything()]
        Path(os.environ["FILEFLOW_LEFT"], f"{worker}.json").write_text(json.dumps(left))


def flow(flow_id: str = "acme", behaviour: str = "copy", **more: object) -> dict[str, object]:
    """Return a flow config between two buckets in memory."""
    return {
        "flow_id": flow_id,
        "source": {"type": "S3", "bucket": "source-bucket", "prefix": f"{flow_id}/"},
        "target": {"type": "S3", "bucket": "target-bucket", "prefix": f"{flow_id}/"},
        "transfer": {
            "lambda_arn": ARN.format(behaviour),
            "payload": {"source": "${source.uri}", "target": "${target.uri}", "run_id": "${run_id}"},
        },
        "validation": {"expect_within_seconds": 0.5, "grace_seconds": 0.1},
        "testdata": {"size_bytes": 4096},
        **more,
    }
