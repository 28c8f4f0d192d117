"""What a conftest.py of an inner pytest imports: flows in memory, whose function's name says how it behaves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pytest_fileflow.errors import FunctionFailed
from pytest_fileflow.invoke import Started
from pytest_fileflow.model import S3Location
from tests.support.memory import MemoryEndpoint, World

CONFTEST = "from tests.support.inner import *\n"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:{}"

WORLD = World()
DAMAGE = {
    "copy": lambda content: content,
    "drop": lambda content: None,
    "truncate": lambda content: content[:-10],
    "flip": lambda content: bytes([content[0] ^ 1]) + content[1:],
}


@pytest.fixture(scope="session")
def s3_endpoint():
    return lambda **fields: MemoryEndpoint(S3Location(**fields), WORLD.storage)


@pytest.fixture(scope="session")
def transfer_invoker():
    def invoke(lambda_arn, payload, invocation="Event"):
        behaviour = lambda_arn.rpartition(":")[2]
        if "FILEFLOW_LEFT" in os.environ:
            Path(os.environ["FILEFLOW_LEFT"], f"invoked-{payload['run_id']}").touch()
        if behaviour == "error":
            raise FunctionFailed("the function failed with ValueError: <b>no</b> such partner")
        if behaviour in DAMAGE:
            content = WORLD.storage.get(*folder_and_name(payload["source"]))
            delivered = DAMAGE[behaviour](content)
            if delivered is not None:
                WORLD.storage.put(*folder_and_name(payload["target"]), delivered)
        return Started("request-1")

    return invoke


def folder_and_name(uri: str) -> tuple[str, str]:
    folder, _, name = uri.rpartition("/")
    return f"{folder}/", name


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
