"""Places for results on moto's server, and a record to be put there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3

from pytest_fileflow.clients import AwsClients
from pytest_fileflow.results.table import PARTITION_KEY, SORT_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_fileflow.results.record import Record

BUCKET = "example-results"
TABLE = "example-runs"
MANIFEST = b'{"run_id": "0123456789abcdef"}'


def make_places(**table: Any) -> None:
    """Make the bucket and the table, by whatever AWS settings stand in the environment."""
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    boto3.client("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[
            {"AttributeName": PARTITION_KEY, "KeyType": "HASH"},
            {"AttributeName": SORT_KEY, "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in (PARTITION_KEY, SORT_KEY)],
        BillingMode="PAY_PER_REQUEST",
        **table,
    )


def one_set() -> Callable[[], AwsClients]:
    """Return clients for the settings that stand in the environment now."""
    made = AwsClients(boto3.Session())
    return lambda: made


def keys(prefix: str = "") -> list[str]:
    """Return what lies in the bucket."""
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ())]


def items() -> list[dict[str, Any]]:
    """Return the items of the table."""
    return boto3.client("dynamodb").scan(TableName=TABLE)["Items"]


def record(run_id: str = "0123456789abcdef", **more: object) -> Record:
    """Return the record of a run that passed."""
    return {
        "schema": 1,
        "run_id": run_id,
        "flow_id": "acme",
        "case": "4KiB",
        "kind": "transfer",
        "direction": "S3->S3",
        "attempt": 1,
        "outcome": "passed",
        "cause": None,
        "reason": None,
        "hint": None,
        "owner": "partner-integration",
        "file": {"name": f"acme_{run_id}.bin", "size": 4096, "sha256": "ab" * 32},
        "source": {"type": "S3", "location": f"s3://source-bucket/acme/acme_{run_id}.bin"},
        "target": {"type": "S3", "location": f"s3://target-bucket/acme/acme_{run_id}.bin"},
        "observed": None,
        "timeline": {"begun": "2026-11-24T06:00:00.000Z", "prepared": "2026-11-24T06:00:01.000Z"},
        "latency_seconds": 3.21,
        "latency_resolution_seconds": 0.05,
        "slo_seconds": 60.0,
        "checks": [],
        "evidence": {"quoted": "naïve ☃"},
        "residue": [],
        "sandbox": False,
        **more,
    }


def interrupted(run_id: str = "0123456789abcdef", **more: object) -> Record:
    """Return what is recorded of a run whose process was lost."""
    told = {"cause": "tester.interrupted", "reason": "the process was lost", "hint": "Run it again."}
    return record(run_id, outcome="error", **told, **more)
