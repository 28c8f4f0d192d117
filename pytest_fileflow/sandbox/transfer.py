"""The reference transfer: a Lambda handler that copies what waits on its flows, S3 or SFTP at either end.

It stands in for the transfer under test. So it is a program of its own, which shares no code with
what seeds and judges: boto3, paramiko and the standard library, real requests at both ends, files
that appear whole, constant memory. It asks the sandbox, file by file, what there is to move.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, cast

from pytest_fileflow.model import sidecar_names
from pytest_fileflow.sandbox.damage import DamageImpossible
from pytest_fileflow.sandbox.ends import FAILURES, TIMEOUT_SECONDS, TransferError, end_of, forget_connections
from pytest_fileflow.sandbox.mischief import Delivery

if TYPE_CHECKING:
    from pytest_fileflow.sandbox.ends import End

SIDECARS = (".sha256", ".manifest.json")
SIDECAR_LIMIT = 1024 * 1024
"""Sidecars are read whole; a larger one is no sidecar."""

_RESERVE_MILLISECONDS = 1000


class LambdaContext(Protocol):
    """What the handler uses of the context object that the runtime passes in."""

    aws_request_id: str
    invoked_function_arn: str

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the invocation may still take."""


def handler(event: object, context: LambdaContext) -> dict[str, object]:
    """Move every file that waits on the flows this event is about.

    Raises TransferError if any of them could not be moved, after trying all the others.
    """
    moved: list[dict[str, object]] = []
    failures: dict[str, str] = {}
    has_begun = False
    while (job := _next_job(event, context, list(failures))) is not None:
        has_begun = True
        label = f"{job['flow_id']}/{job['name']}"
        try:
            outcome, owner, size = _move(job, context)
        except (*FAILURES, DamageImpossible) as error:
            forget_connections(job)
            failures[label] = f"{type(error).__name__}: {error}"
            print(f"failed {label}: {failures[label]}")  # noqa: T201 - a function's log is its output
            outcome, owner, size = "failed", None, 0
        _post("settle", {"claim_id": job["claim_id"], "outcome": outcome, "owner": owner})
        if outcome == "moved":
            moved.append({"flow_id": job["flow_id"], "file": job["name"], "size": size})
        if context.get_remaining_time_in_millis() < _RESERVE_MILLISECONDS:
            break
    if failures:
        told = "; ".join(f"{label}: {reason}" for label, reason in failures.items())
        raise TransferError(f"{len(failures)} of {len(failures) + len(moved)} files were not moved: {told}")
    if not has_begun:
        _require_file(event, context)
    return {"transferred": moved}


def _next_job(event: object, context: LambdaContext, failed: list[str]) -> dict[str, Any] | None:
    question = {
        "function": context.invoked_function_arn,
        "event": event,
        "request_id": context.aws_request_id,
        "skip": failed,
    }
    answer = _post("claim", question)
    if not answer["known"]:
        raise TransferError(f"no flow of {context.invoked_function_arn} is started by an event like this one")
    return cast("dict[str, Any] | None", answer["job"])


def _require_file(event: object, context: LambdaContext) -> None:
    """Raise TransferError where an event asks for a file by name, and none of that name is there."""
    asked = _post("asked_for", {"function": context.invoked_function_arn, "event": event})["files"]
    missing = []
    for file in asked:
        source = end_of(file["source"])
        opened = source.open(file["name"])
        if opened is not None:
            opened[0].close()
            return
        missing.append(source.uri(file["name"]))
    if missing:
        raise TransferError(f"there is no file {' or '.join(missing)} to move")


def _post(path: str, question: object) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{os.environ['AWS_ENDPOINT_URL']}/_fileflow/{path}",
        json.dumps(question).encode(),
        {"Content-Type": "application/json", "X-Fileflow-Token": os.environ["FILEFLOW_SANDBOX_TOKEN"]},
    )
    with _opener().open(request, timeout=TIMEOUT_SECONDS) as response:
        return cast("dict[str, Any]", json.load(response))


@lru_cache(maxsize=1)
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _move(job: dict[str, Any], context: LambdaContext) -> tuple[str, str | None, int]:
    """Copy one file, its sidecars first; return the outcome, the flow in its manifest, and its size."""
    is_bare = any(fault["name"] == "bare" for fault in job["faults"])
    labels = {} if is_bare else job["work"]["labels"]
    source, target, name = end_of(job["source"]), end_of({**job["target"], **labels}), str(job["name"])
    named = zip(SIDECARS, sidecar_names(name), strict=True)
    sidecars = {side: body for side, beside in named if (body := _small(source, beside)) is not None}
    owner = _flow_in(sidecars.get(".manifest.json"))
    if owner not in (None, job["flow_id"]):
        return "foreign", owner, 0
    delivery = Delivery((source, target), job, sidecars, lambda limit: _park(context, limit))
    if delivery.size is None:
        return "gone", owner, 0
    began = time.monotonic()
    if not delivery.carry_out():
        return "dropped", owner, 0
    took = time.monotonic() - began
    print(f"moved {source.uri(name)} to {target.uri(name)}: {delivery.size} bytes in {took:.3f} s")  # noqa: T201
    return "moved", owner, delivery.size


def _park(context: LambdaContext, limit: float | None) -> None:
    """Say that this invocation will wait, and after how many seconds it is to be ended, if at all."""
    _post("park", {"request_id": context.aws_request_id, "limit": limit})


def _small(source: End, name: str) -> bytes | None:
    opened = source.open(name)
    if opened is None:
        return None
    body, size = opened
    with body:
        if size > SIDECAR_LIMIT:
            raise TransferError(f"{source.uri(name)} has {size} bytes, too many for a sidecar")
        return body.read()


def _flow_in(manifest: bytes | None) -> str | None:
    try:
        told = json.loads(manifest) if manifest is not None else None
    except ValueError:
        return None  # not ours to judge: it is copied like any other file
    flow_id = told.get("flow_id") if isinstance(told, dict) else None
    return flow_id if isinstance(flow_id, str) else None
