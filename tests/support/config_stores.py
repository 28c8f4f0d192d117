"""Config stores on moto's server, and what is put there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3

from pytest_fileflow.clients import AwsClients
from pytest_fileflow.results.places import config_store
from pytest_fileflow.stores import read_store
from pytest_fileflow.stores.items import attributes_of
from pytest_fileflow.stores.shelf import Shelf

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_fileflow.stores.shelf import Reading

BUCKET = "example-configs"
STORE = f"s3://{BUCKET}/team/config"
TABLE = "example-flows"
TABLE_STORE = f"dynamodb://{TABLE}"


def make_bucket() -> None:
    boto3.client("s3").create_bucket(Bucket=BUCKET)


def put(path: str, content: object) -> None:
    """Put an object below the store's prefix: text and bytes as they are, anything else as JSON."""
    body = content if isinstance(content, bytes) else str(content).encode()
    if not isinstance(content, (str, bytes)):
        body = json.dumps(content, indent=2).encode()
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"team/config/{path}", Body=body)


def delete(path: str) -> None:
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=f"team/config/{path}")


def objects() -> dict[str, bytes]:
    """Return what lies below the store's prefix."""
    client = boto3.client("s3")
    keys = [each["Key"] for each in client.list_objects_v2(Bucket=BUCKET, Prefix="team/config/").get("Contents", ())]
    return {key.removeprefix("team/config/"): client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def make_table(projection: str | None = None, enabled: str = "S") -> None:
    """Make the table, with an index on ``enabled`` that projects ALL or KEYS_ONLY, or without one."""
    index: dict[str, Any] = {}
    attributes = [("flow_id", "S"), ("version", "N")]
    if projection is not None:
        attributes.append(("enabled", enabled))
        key = [{"AttributeName": "enabled", "KeyType": "HASH"}, {"AttributeName": "version", "KeyType": "RANGE"}]
        told = {"IndexName": "by-enabled", "KeySchema": key, "Projection": {"ProjectionType": projection}}
        index = {"GlobalSecondaryIndexes": [told]}
    boto3.client("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[
            {"AttributeName": "flow_id", "KeyType": "HASH"},
            {"AttributeName": "version", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in attributes],
        BillingMode="PAY_PER_REQUEST",
        **index,
    )


def put_item(flow: dict[str, Any], version: int, enabled: object = "true", *, in_config: bool = False) -> None:
    item = attributes_of(flow, version, enabled, in_config=in_config)
    boto3.client("dynamodb").put_item(TableName=TABLE, Item=item)


def items() -> dict[tuple[str, int], Any]:
    """Return the items of the table as DynamoDB tells them, by flow and version."""
    told = boto3.client("dynamodb").scan(TableName=TABLE)["Items"]
    return {(item["flow_id"]["S"], int(item["version"]["N"])): item for item in told}


def read(store: str, caches: Path, clients: AwsClients | None = None) -> Reading:
    """Read a store as a session does."""
    mine = clients or AwsClients(boto3.Session())
    return read_store(config_store(store), lambda: mine, lambda name: Shelf.of(caches, name))


def files(reading: Reading) -> dict[str, str]:
    """Return the files of a local copy, by their paths below it."""
    folder = reading.snapshot.folder
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    del found["store.json"]
    return found
