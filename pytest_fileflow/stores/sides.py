"""A bucket and a table as one side of a move: written on the condition that nobody else has, meanwhile."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fileflow.aws_errors import error_code, http_status, translated
from pytest_fileflow.errors import FileflowError
from pytest_fileflow.stores.bucket import read_bucket
from pytest_fileflow.stores.folder import same
from pytest_fileflow.stores.items import ENABLED, FLOW_ID, VERSION, Item, attributes_of
from pytest_fileflow.stores.moving import CannotMove, Change, Conflict
from pytest_fileflow.stores.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.places import Place
    from pytest_fileflow.stores.shelf import Shelf

ACTIONS = 100  # of one transaction

_HELD_UP = (409, 412)  # somebody else writes it at this moment, or has written it
_TYPES = {".json": "application/json"}
_VALUES: Mapping[str, tuple[object, object]] = {"S": ("false", "true"), "N": (0, 1), "BOOL": (False, True)}


@dataclass(frozen=True)
class Bucket:
    """The objects of a config store, by their keys below its prefix, with the ETags that were seen."""

    place: Place
    client: Any
    contents: Mapping[str, bytes]
    etags: Mapping[str, str]
    keeps_versions: bool | None = None

    @classmethod
    def seen(cls, place: Place, clients: AwsClients, shelf: Callable[[str], Shelf]) -> Bucket:
        """Read a store; raises FileflowError or CannotMove."""
        snapshot = read_bucket(place, clients, shelf).snapshot
        for entry in snapshot.entries:
            if entry.uri != f"{_front(place)}{entry.path}":
                raise CannotMove(f"the key {entry.uri} does not stay below a folder: refused")
            if entry.problem:
                raise CannotMove(f"{entry.display}: {entry.problem}")
        contents = {entry.path: Path(snapshot.folder, entry.path).read_bytes() for entry in snapshot.entries}
        etags = {entry.path: entry.version for entry in snapshot.entries}
        client = clients.client("s3")
        return cls(place, client, contents, etags, _keeps_versions(place, client))

    def apply(self, change: Change) -> None:
        """Write or remove an object if it is still the one that was seen; raises Conflict or FileflowError."""
        from botocore.exceptions import ClientError

        told = {"Bucket": self.place.name, "Key": f"{self.place.prefix}{change.name}"}
        seen = self.etags.get(change.name)
        uri = f"{_front(self.place)}{change.name}"
        action = "s3:PutObject" if change.after is not None else "s3:DeleteObject"
        with translated(action, uri):
            try:
                if change.after is None:
                    # S3 knows the condition; other stores may not, and would remove what they have.
                    self.client.head_object(**told, IfMatch=seen)
                    self.client.delete_object(**told, IfMatch=seen)
                    return
                condition = {"IfMatch": seen} if seen else {"IfNoneMatch": "*"}
                kind = _TYPES.get(Path(change.name).suffix, "application/yaml")
                self.client.put_object(**told, Body=change.after, ContentType=kind, **condition)
            except ClientError as error:
                if http_status(error) in _HELD_UP or (seen and error_code(error) in ("NoSuchKey", "404")):
                    raise Conflict(f"{uri} has changed meanwhile") from error
                raise


def _front(place: Place) -> str:
    return f"s3://{place.name}/{place.prefix}"


def _keeps_versions(place: Place, client: Any) -> bool | None:
    """Return whether a bucket keeps what is replaced; None where that may not be asked."""
    try:
        with translated("s3:GetBucketVersioning", f"s3://{place.name}"):
            return bool(client.get_bucket_versioning(Bucket=place.name).get("Status") == "Enabled")
    except FileflowError:
        return None


@dataclass(frozen=True)
class Flows:
    """The flows of a table, by their ids: the version that counts as text, and all versions that there are."""

    table: Table
    contents: Mapping[str, bytes]
    versions: Mapping[str, Sequence[Item]]

    @classmethod
    def seen(cls, place: Place, clients: AwsClients) -> Flows:
        """Read all versions of a table; raises FileflowError."""
        table = Table.described(place, clients)
        versions: dict[str, list[Item]] = {}
        for item in sorted(table.items(consistent=True), key=lambda item: item.version):
            versions.setdefault(item.flow_id, []).append(item)
        return cls(table, {flow_id: _counting(found) for flow_id, found in versions.items()}, versions)

    def apply(self, change: Change) -> None:
        """Put a new version, or disable all there are, if nobody has put one meanwhile.

        Raises Conflict or FileflowError.
        """
        from botocore.exceptions import ClientError

        name, client = self.table.place.name, self.table.client
        actions = self._actions(change)
        with translated("dynamodb:TransactWriteItems", f"{self.table.place}/{change.name}"):
            try:
                for start in range(0, len(actions), ACTIONS):
                    part = actions[start : start + ACTIONS]
                    client.transact_write_items(
                        TransactItems=[{kind: {"TableName": name, **told}} for kind, told in part]
                    )
            except ClientError as error:
                if error_code(error) == "TransactionCanceledException" and "Condition" in str(error):
                    raise Conflict(f"{self.table.place}/{change.name} has changed meanwhile") from error
                raise

    def _actions(self, change: Change) -> list[tuple[str, dict[str, Any]]]:
        """Return what a transaction is to do; the first action makes sure that no newer version was put."""
        versions = self.versions.get(change.name, ())
        latest = versions[-1] if versions else None
        number = (latest.version if latest else 0) + 1
        off, on = _VALUES[self.table.enabled_type]
        unless_there = {"ConditionExpression": f"attribute_not_exists({FLOW_ID})"}
        flow = json.loads(change.after) if change.after is not None else None
        is_enabled = flow is not None and flow.pop(ENABLED, True) is not False
        if flow is None:
            first: tuple[str, dict[str, Any]] = ("ConditionCheck", {"Key": _key(change.name, number), **unless_there})
        else:
            in_config = latest is not None and latest.holds_config
            item = attributes_of(flow, number, on if is_enabled else off, in_config=in_config)
            first = ("Put", {"Item": item, **unless_there})
        if is_enabled:
            return [first]
        return [first, *(("Update", _disabling(each, off)) for each in versions if each.is_enabled)]


def _counting(versions: Sequence[Item]) -> bytes:
    """Return the text of the highest enabled version; where none is enabled, of the highest, which is disabled."""
    item = next((each for each in reversed(versions) if each.is_enabled), versions[-1])
    try:
        flow = json.loads(item.text)
    except ValueError:
        return item.text.encode("utf-8", "backslashreplace")
    return same(flow, is_enabled=item.is_enabled) if isinstance(flow, dict) else item.text.encode()


def _key(flow_id: str, version: int) -> dict[str, Any]:
    return {FLOW_ID: {"S": flow_id}, VERSION: {"N": str(version)}}


def _disabling(item: Item, off: object) -> dict[str, Any]:
    from boto3.dynamodb.types import TypeSerializer

    return {
        "Key": _key(item.flow_id, item.version),
        "UpdateExpression": "SET #enabled = :off",
        "ConditionExpression": f"attribute_exists({FLOW_ID})",
        "ExpressionAttributeNames": {"#enabled": ENABLED},
        "ExpressionAttributeValues": {":off": TypeSerializer().serialize(off)},
    }
