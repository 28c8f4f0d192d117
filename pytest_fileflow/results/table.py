"""A results store that is a DynamoDB table: one item a run, put where there is none yet."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_fileflow.aws_errors import error_code
from pytest_fileflow.results.bucket import failing
from pytest_fileflow.results.store import State, agree, began, state_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.places import Place
    from pytest_fileflow.results.record import Record

logger = logging.getLogger(__name__)

PARTITION_KEY = "flow_id"
SORT_KEY = "run"  # when it began, and its id: a flow's items lie in the order of time
STATE = "#state"  # in the place of a flow id, which begins with a letter or a digit
# DynamoDB's limit of an item is 400 KB (1024 bytes each), names and all: the rest is for what stands beside the record.
RECORD_BYTES = 360 * 1024

_TEXTS = ("run_id", "case", "kind", "direction", "outcome", "cause", "reason", "owner")
_NUMBERS = ("attempt", "latency_seconds", "slo_seconds")


@dataclass(frozen=True)
class Table:
    """The store ``dynamodb://table``. To write, it needs ``dynamodb:PutItem`` and nothing else."""

    place: Place
    clients: Callable[[], AwsClients]

    def write(self, record: Record, manifest: bytes | None = None) -> str:
        """Put the item of a run; return the name of the table with the item's keys."""
        item = item_of(record, manifest)
        where = f"{self.place}/{item[PARTITION_KEY]['S']}/{item[SORT_KEY]['S']}"
        there = self._put(item, {"ConditionExpression": f"attribute_not_exists({PARTITION_KEY})"}, where)
        if there is not None:
            # What did not fit was left out in the same way.
            told = json.loads(there.get("record", {}).get("S", "null"))
            if told != json.loads(item["record"]["S"]):
                agree(record, json.dumps(told).encode(), where)
        return where

    def run_ids(self, flow_id: str, limit: int) -> list[str]:
        """Return the ids of a flow's recorded runs, the newest first."""
        from pytest_fileflow.errors import ResultsStoreFailed

        try:
            with failing("dynamodb:Query", str(self.place)):
                answer = self._client.query(
                    TableName=self.place.name,
                    KeyConditionExpression=f"{PARTITION_KEY} = :flow",
                    ExpressionAttributeValues={":flow": {"S": flow_id}},
                    ProjectionExpression="run_id",
                    ScanIndexForward=False,
                    Limit=limit,
                )
        except ResultsStoreFailed as error:
            logger.info("earlier runs of %s cannot be listed: %s", flow_id, error.reason)
            return []
        return [item["run_id"]["S"] for item in answer.get("Items", ())]

    def read_state(self, name: str) -> State | None:
        """Return a document that changes: an item beside those of the runs."""
        with failing("dynamodb:GetItem", str(self.place)):
            answer = self._client.get_item(TableName=self.place.name, Key=_state_key(name), ConsistentRead=True)
        item = answer.get("Item")
        return State(bytes(item["content"]["B"]), item["version"]["S"]) if item else None

    def write_state(self, name: str, content: bytes, version: str | None) -> bool:
        """Replace a document that changes, if it is still in this version; DynamoDB decides."""
        item = {**_state_key(name), "content": {"B": content}, "version": {"S": hashlib.sha256(content).hexdigest()}}
        condition: dict[str, Any] = {"ConditionExpression": f"attribute_not_exists({PARTITION_KEY})"}
        if version is not None:
            condition = {
                "ConditionExpression": "#version = :version",
                "ExpressionAttributeNames": {"#version": "version"},
                "ExpressionAttributeValues": {":version": {"S": version}},
            }
        return self._put(item, condition, f"{self.place}/{STATE}/{name}") is None

    def _put(self, item: Mapping[str, Any], condition: Mapping[str, Any], where: str) -> dict[str, Any] | None:
        """Put an item on a condition; return the one that is there instead, or None where it was put."""
        from botocore.exceptions import ClientError

        with failing("dynamodb:PutItem", where):
            try:
                self._client.put_item(
                    TableName=self.place.name,
                    Item=item,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **condition,
                )
            except ClientError as error:
                if error_code(error) == "ConditionalCheckFailedException":
                    return error.response.get("Item") or {}  # type: ignore[return-value]
                raise
        return None

    @property
    def _client(self) -> Any:
        return self.clients().brisk("dynamodb")


def _state_key(name: str) -> dict[str, dict[str, str]]:
    return {PARTITION_KEY: {"S": STATE}, SORT_KEY: {"S": state_path(name).removeprefix("state/")}}


def item_of(record: Record, manifest: bytes | None = None) -> dict[str, dict[str, str]]:
    """Return the item of a run: its keys, what is asked for most, and ``record``, which is ``run.json`` in one line.

    Where that is too long for an item, the evidence is left out, and then the checks.
    """
    start = began(record)
    facts = {
        PARTITION_KEY: {"S": record["flow_id"]},
        SORT_KEY: {"S": f"{start}#{record['run_id']}"},
        "began": {"S": start},
        "size": {"N": str(record["file"]["size"])},
        "record": {"S": _fitting(record)},
    }
    facts |= {name: {"S": str(record[name])} for name in _TEXTS if record.get(name)}
    facts |= {name: {"N": str(record[name])} for name in _NUMBERS if record.get(name) is not None}
    if manifest is not None:
        facts["manifest"] = {"S": manifest.decode("utf-8", "replace")}
    return facts


def _fitting(record: Record) -> str:
    left_out = "left out: the record is too long for an item of DynamoDB"
    for change in ({}, {"evidence": {"evidence": left_out}}, {"evidence": {"evidence": left_out}, "checks": []}):
        text = json.dumps({**record, **change}, ensure_ascii=False)
        if len(text.encode("utf-8", "replace")) <= RECORD_BYTES:
            break
    return text
