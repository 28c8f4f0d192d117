"""Run records as the plugin writes them, of any day and outcome, without running anything."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone

from pytest_fileflow.clock import format_stamp
from pytest_fileflow.results.phases import phases_seconds

NOW = datetime(2026, 11, 26, 6, 30, tzinfo=timezone.utc)
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_ids = itertools.count(1)


def ago(**how_long: float) -> datetime:
    """Return a moment before NOW."""
    return NOW - timedelta(**how_long)


def record(flow_id: str = "acme", began: datetime = NOW, outcome: str = "passed", **fields: object) -> dict:
    """Return a record; ``fields`` replace its own."""
    latency = fields.pop("latency_seconds", 3.2 if outcome == "passed" else None)
    case, kind = fields.get("case", "typical-5MiB"), fields.get("kind", "transfer")
    run_id = str(fields.pop("run_id", f"{next(_ids):016x}"))
    name = f"{flow_id}_{run_id}.bin"
    cause = fields.get("cause", {"passed": None, "failed": "missing.not_picked_up", "error": "tester.bug"}[outcome])
    waited = 30.0 if latency is None else latency
    stamps = {"begun": 0.0, "prepared": 0.01, "seeded": 0.5, "triggered": 0.6, "started": 0.7}
    stamps |= {"failed": 0.6 + waited} if latency is None else {"arrived": 0.6 + waited, "verified": 1.1 + waited}
    stamps["cleaned"] = 1.4 + waited
    timeline = {stamp: format_stamp(began + timedelta(seconds=after)) for stamp, after in stamps.items()}
    return {
        "schema": 1,
        "run_id": run_id,
        "flow_id": flow_id,
        "case": case,
        "kind": kind,
        "direction": "SFTP->S3",
        "attempt": 1,
        "outcome": outcome,
        "cause": cause,
        "reason": None if cause is None else f"{name} was not seen within 30 s",
        "hint": None if cause is None else "Look at the transfer's own log.",
        "description": f"what {flow_id} sends",
        "owner": "partner-integration",
        "tags": ["nightly"],
        "file": {"name": name, "size": 5242880, "sha256": SHA256},
        "source": {"type": "SFTP", "location": f"sftp://acme@sftp.acme.example:22/outbox/{name}"},
        "target": {"type": "S3", "location": f"s3://example-landing/inbox/{name}"},
        "observed": None
        if latency is None
        else {"size": 5242880, "sha256": SHA256, "location": f"s3://example-landing/inbox/{name}"},
        "timeline": timeline,
        "phases_seconds": phases_seconds(timeline),
        "latency_seconds": latency,
        "latency_resolution_seconds": None if latency is None else 0.05,
        "slo_seconds": 420.0,
        "checks": [{"name": "size", "outcome": "passed", "expected": "5242880", "observed": "5242880"}],
        "evidence": {"lambda_request_id": "b4c0f5a6-8d7e-4d9b-9d0a-2f6f0a1c3b5d"},
        "residue": [],
        **fields,
    }
