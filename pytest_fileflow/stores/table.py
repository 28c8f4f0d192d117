"""Reads a config store that is a DynamoDB table: of each flow, the highest version that is enabled."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_fileflow.aws_errors import translated
from pytest_fileflow.errors import ConfigInvalid, StorageFailed
from pytest_fileflow.stores import FLOWS
from pytest_fileflow.stores.counting import Counted
from pytest_fileflow.stores.items import ENABLED, FLOW_ID, VERSION, Item, item_of
from pytest_fileflow.stores.naming import Paths, readable
from pytest_fileflow.stores.shelf import Entry, Making, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.places import Place
    from pytest_fileflow.stores.shelf import Shelf

SEGMENTS: Final = 8  # of a table that is scanned, at the most
SEGMENT_BYTES: Final = 1024 * 1024  # what one answer holds
BATCH: Final = 100  # items that one BatchGetItem takes
TRIES: Final = 5  # for what a batch leaves out under load
PAUSE_SECONDS: Final = 0.2

_KEYS = {"HASH": (FLOW_ID, "S"), "RANGE": (VERSION, "N")}
_SHARED = "endpoints"
_ENABLED_VALUES = {"S": {"S": "true"}, "N": {"N": "1"}}


@dataclass(frozen=True)
class Table:
    """A table as it describes itself. ``index`` is one whose partition key is ``enabled``, where there is one."""

    place: Place
    client: Any
    segments: int = 1
    index: str | None = None
    index_has_all: bool = False
    enabled_type: str = "BOOL"

    @classmethod
    def described(cls, place: Place, clients: AwsClients) -> Table:
        """Ask a table what it is; raises FileflowError, also for one that is no config store."""
        with translated("dynamodb:DescribeTable", str(place)):
            told = clients.client("dynamodb").describe_table(TableName=place.name)["Table"]
        types = {each["AttributeName"]: each["AttributeType"] for each in told["AttributeDefinitions"]}
        keys = {each["KeyType"]: (each["AttributeName"], types[each["AttributeName"]]) for each in told["KeySchema"]}
        if keys != _KEYS:
            has = ", ".join(f"{name} ({kind})" for name, kind in keys.values())
            raise ConfigInvalid(f"{place} has the key {has}: a config store has {FLOW_ID} (S), {VERSION} (N)")
        segments = min(SEGMENTS, 1 + told.get("TableSizeBytes", 0) // SEGMENT_BYTES)
        is_text_or_number = types.get(ENABLED) in _ENABLED_VALUES
        indexes = told.get("GlobalSecondaryIndexes", ()) if is_text_or_number else ()
        index: Any = next(filter(_is_of_enabled, indexes), None)
        return cls(
            place,
            clients.client("dynamodb"),
            segments,
            index["IndexName"] if index else None,
            bool(index) and index["Projection"]["ProjectionType"] == "ALL",
            types[ENABLED] if is_text_or_number else "BOOL",
        )

    def enabled(self) -> list[Item]:
        """Return the highest enabled version of each flow; raises FileflowError."""
        if self.index is None:
            return winners(item for item in self.items() if item.is_enabled)
        told = self._queried()
        if not self.index_has_all:
            highest = {each[FLOW_ID]["S"]: each for each in sorted(told, key=lambda each: int(each[VERSION]["N"]))}
            told = self._fetched([{name: each[name] for name in (FLOW_ID, VERSION)} for each in highest.values()])
        return winners(item for item in map(item_of, told) if item.is_enabled)

    def items(self, *, consistent: bool = False) -> list[Item]:
        """Return all versions of all flows; raises FileflowError."""

        def scanned(segment: int) -> list[Any]:
            told = self.client.get_paginator("scan").paginate(
                TableName=self.place.name, Segment=segment, TotalSegments=self.segments, ConsistentRead=consistent
            )
            return [item for page in told for item in page["Items"]]

        with ThreadPoolExecutor(self.segments) as pool, translated("dynamodb:Scan", str(self.place)):
            return [item_of(item) for part in pool.map(scanned, range(self.segments)) for item in part]

    def _queried(self) -> list[Any]:
        with translated("dynamodb:Query", f"{self.place}/index/{self.index}"):
            pages = self.client.get_paginator("query").paginate(
                TableName=self.place.name,
                IndexName=self.index,
                KeyConditionExpression="#enabled = :enabled",
                ExpressionAttributeNames={"#enabled": ENABLED},
                ExpressionAttributeValues={":enabled": _ENABLED_VALUES[self.enabled_type]},
            )
            return [item for page in pages for item in page["Items"]]

    def _fetched(self, keys: list[Any]) -> list[Any]:
        batches = [keys[start : start + BATCH] for start in range(0, len(keys), BATCH)]
        with ThreadPoolExecutor(SEGMENTS) as pool, translated("dynamodb:BatchGetItem", str(self.place)):
            return [item for batch in pool.map(self._batch, batches) for item in batch]

    def _batch(self, keys: list[Any]) -> list[Any]:
        """Return the items of these keys; what DynamoDB leaves out of an answer is asked for again."""
        name, found = self.place.name, []
        for tried in range(TRIES):
            time.sleep(PAUSE_SECONDS * (2**tried - 1))
            answer = self.client.batch_get_item(RequestItems={name: {"Keys": keys}})
            found += answer["Responses"].get(name, [])
            keys = answer.get("UnprocessedKeys", {}).get(name, {}).get("Keys", [])
            if not keys:
                return found
        raise StorageFailed(
            f"dynamodb:BatchGetItem on {self.place} left out {len(keys)} items, {TRIES} times: throttled"
        )


def _is_of_enabled(index: Any) -> bool:
    (partition,) = (each["AttributeName"] for each in index["KeySchema"] if each["KeyType"] == "HASH")
    return bool(partition == ENABLED) and index.get("IndexStatus", "ACTIVE") == "ACTIVE"


def winners(items: Iterable[Item]) -> list[Item]:
    """Return the highest version of each flow, by their ids."""
    highest: dict[str, Item] = {}
    for item in items:
        if item.flow_id not in highest or highest[item.flow_id].version < item.version:
            highest[item.flow_id] = item
    return [highest[flow_id] for flow_id in sorted(highest)]


def read_table(place: Place, clients: AwsClients, shelf_of: Callable[[str], Shelf]) -> Reading:
    """Return a copy of a table's flows as they are now; raises FileflowError.

    All is read each time: items have no ETag, and DynamoDB counts what it reads, not what it sends.
    """
    with Counted(clients.client("dynamodb")) as counted:
        items = Table.described(place, clients).enabled()
    shelf = shelf_of(f"{clients.client('dynamodb').meta.endpoint_url} {place}")
    making = Making(shelf, shelf.latest())
    try:
        entries = list(_entries(place, items, making))
        fresh = sum(making.known.get(entry.path) != entry for entry in entries)
        snapshot = making.finish(entries)
    except BaseException:  # Ctrl-C too: half a copy is of no use to anybody
        making.discard()
        raise
    return Reading(snapshot, fresh, counted.requests)


def _entries(place: Place, items: list[Item], making: Making) -> Iterator[Entry]:
    paths = Paths()
    for item in items:
        content = item.text.encode("utf-8", "backslashreplace")
        ending = ".flow.json" if item.flow_id.endswith(_SHARED) else ".json"  # endpoints.json would be no flow
        path = paths.path_of(f"{FLOWS}/{item.flow_id}{ending}", ".json")
        uri = f"{place}/{readable(item.flow_id)}"
        version = hashlib.sha256(content).hexdigest()
        entry = Entry(path, uri, f"{uri}@{item.version}", version, len(content))
        if making.known.get(path) != entry:
            making.write(path, content)
        yield entry
