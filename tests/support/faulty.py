"""Flows with faults for sessions in the sandbox, and what a session leaves lying there."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.config import load_file
from pytest_fileflow.faults import Fault
from pytest_fileflow.model import Flow
from pytest_fileflow.payload import PATTERNS, open_payload
from pytest_fileflow.registry import BUILTIN_CHECKS

if TYPE_CHECKING:
    from pathlib import Path

DIRECTIONS = [(source, target) for source in ("S3", "SFTP") for target in ("S3", "SFTP")]
SIZES = {pattern.name: pattern.size_problem for pattern in PATTERNS}
BY_NAME = {pattern.name: pattern for pattern in PATTERNS}
KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"

# Loaded by the inner session: notes, before the sandbox ends, what lies in it.
CONFTEST = """
import base64, json, os, pathlib
import pytest

@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput") or "AWS_CONFIG_FILE" not in os.environ:
        return
    import boto3
    left, s3 = {}, boto3.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        for entry in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", ()):
            body = s3.get_object(Bucket=bucket["Name"], Key=entry["Key"])["Body"].read()
            left["S3/" + entry["Key"]] = base64.b64encode(body).decode()
    root = pathlib.Path(os.environ["AWS_CONFIG_FILE"]).parents[1] / "sftp"
    for path in root.rglob("*"):
        if path.is_file():
            name = "/".join(path.relative_to(root).parts[2:])
            left["SFTP/" + name] = base64.b64encode(path.read_bytes()).decode()
    pathlib.Path("left.json").write_text(json.dumps(left))
"""


def config(
    flow_id: str,
    ends: tuple[str, str],
    *,
    faults: tuple[str, ...] = (),
    transfer: dict[str, object] | None = None,
    **more: object,
) -> dict[str, object]:
    """Return a config; all flows share servers, buckets, users and functions, and no place."""
    return {
        "flow_id": flow_id,
        "source": _end(flow_id, ends[0], "from"),
        "target": _end(flow_id, ends[1], "to"),
        "transfer": transfer if transfer is not None else invoked(flow_id),
        "validation": {"expect_within_seconds": 8, "grace_seconds": 3, "post_arrival_wait_seconds": 0},
        "testdata": {"size_bytes": 20_000},
        **({"sandbox": {"faults": [*faults]}} if faults else {}),
        **more,
    }


def invoked(flow_id: str, invocation: str = "RequestResponse") -> dict[str, object]:
    function = "arn:aws:lambda:us-east-1:123456789012:function:file-transfer"
    return {"lambda_arn": function, "invocation": invocation, "payload": {"flow": flow_id, "file": "${file.name}"}}


def _end(flow_id: str, kind: str, side: str) -> dict[str, object]:
    if kind == "S3":
        return {"type": "S3", "bucket": f"shared-{side}", "prefix": f"{flow_id}/{side}", "kms_key_arn": KEY}
    return {
        "type": "SFTP",
        "host": "sftp.acme.example",
        "username": "acme",
        "dir": f"/{flow_id}/{side}",
        "secret_arn": "<ACME_SECRET_ARN>",
    }


def loaded(path: Path) -> dict[str, Flow]:
    """Return the flows of a file by id; all of them must be good."""
    flows = load_file(path, display=path.name, sandbox=True, patterns=SIZES, checks=dict.fromkeys(BUILTIN_CHECKS))
    assert all(isinstance(flow, Flow) for flow in flows), flows
    return {flow.flow_id: flow for flow in flows}


def fault_of(flow: Flow) -> Fault | None:
    return Fault.parse(flow.faults[0]) if flow.faults else None


@dataclass(frozen=True)
class Left:
    """What lay in the sandbox when a session was over, by type of end and path."""

    files: dict[str, bytes]

    @classmethod
    def read(cls, folder: Path) -> Left:
        told = json.loads((folder / "left.json").read_text())
        return cls({name: base64.b64decode(text) for name, text in told.items()})

    def at(self, flow: Flow, side: str, folder: str | None = None) -> dict[str, bytes]:
        """Return the data files in a flow's folder, or in one beside it, by name."""
        kind = (flow.source if side == "from" else flow.target).type
        front = f"{kind}/{flow.flow_id}/{folder or side}/"
        found = {name.removeprefix(front): body for name, body in self.files.items() if name.startswith(front)}
        return {name: body for name, body in found.items() if not name.endswith((".sha256", ".manifest.json"))}


def sent(record: dict) -> bytes:
    """Return the bytes of a run, made again."""
    with open_payload(BY_NAME["random"], record["run_id"], record["file"]["size"]) as body:
        return body.read()
