"""A results store that is a prefix of an S3 bucket: one conditional PutObject a document, none ever replaced."""

from __future__ import annotations

import base64
import hashlib
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_fileflow.aws_errors import error_code, http_status, translated
from pytest_fileflow.errors import FileflowError, ResultsStoreFailed
from pytest_fileflow.results.store import State, agree, documents, record_bytes, record_path, state_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.exceptions import ClientError

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.places import Place
    from pytest_fileflow.results.record import Record

logger = logging.getLogger(__name__)

WRITE_SECONDS = 10.0  # of one record's documents together, before the bucket is called too slow
BUSY_TRIES = 4
BUSY_SECONDS = 0.2
DAYS = 14  # that are looked through for a flow's earlier runs

_EXISTS = 412
_BUSY = 409  # somebody else is writing the same object at this moment
_TYPES = {".json": "application/json", ".txt": "text/plain; charset=utf-8", ".csv": "text/csv; charset=utf-8"}


@dataclass(frozen=True)
class Bucket:
    """The store ``s3://bucket/prefix``. To write, it needs ``s3:PutObject`` and nothing else."""

    place: Place
    clients: Callable[[], AwsClients]

    def write(self, record: Record, manifest: bytes | None = None) -> str:
        """Write manifest, summary and metrics, and last the record; return the record's URI."""
        path = record_path(record)
        where, deadline = self._uri(path), time.monotonic() + WRITE_SECONDS
        for name, content in documents(record, where, manifest):
            self._put_once(name, content)
            if time.monotonic() > deadline:
                raise ResultsStoreFailed(f"{self.place} took more than {WRITE_SECONDS:g} s for a record")
        if not self._put_once(path, record_bytes(record)):
            there = self._there(path)
            if there is not None:
                agree(record, there, where)
        return where

    def run_ids(self, flow_id: str, limit: int) -> list[str]:
        """Return the ids of a flow's recorded runs of the last days that have any, the newest first."""
        try:
            found: list[str] = []
            for day in self._days():
                found += self._ids_of_day(day, flow_id)
                if len(found) >= limit:
                    break
            return found[:limit]
        except ResultsStoreFailed as error:
            logger.info("earlier runs of %s cannot be listed: %s", flow_id, error.reason)
            return []

    def read_state(self, name: str) -> State | None:
        """Return a document below ``state/``, or None where there is none yet."""
        from botocore.exceptions import ClientError

        key = self._key(state_path(name))
        with self._told("s3:GetObject", key):
            try:
                answer = self._client.get_object(Bucket=self.place.name, Key=key)
                return State(answer["Body"].read(), answer["ETag"])
            except ClientError as error:
                if error_code(error) == "NoSuchKey":
                    return None
                raise

    def write_state(self, name: str, content: bytes, version: str | None) -> bool:
        """Replace a document below ``state/``, if it is still in this version; S3 decides."""
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        return self._put(state_path(name), content, condition)

    def _days(self) -> list[str]:
        front = self._key("results/dt=")
        found = []
        with self._told("s3:ListBucket", front):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.place.name, Prefix=front, Delimiter="/"):
                found += [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]
        return sorted(found, reverse=True)[:DAYS]

    def _ids_of_day(self, day: str, flow_id: str) -> list[str]:
        front, found = f"{day}flow_id={flow_id}/run_id=", []
        with self._told("s3:ListBucket", front):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.place.name, Prefix=front):
                for entry in page.get("Contents", ()):
                    run_id, _, name = entry["Key"].removeprefix(front).partition("/")
                    if name == "run.json":
                        found.append((entry["LastModified"], run_id))
        return [run_id for _, run_id in sorted(found, reverse=True)]

    def _put_once(self, path: str, content: bytes) -> bool:
        """Write an object where there is none yet; return False where there is."""
        return self._put(path, content, {"IfNoneMatch": "*"})

    def _put(self, path: str, content: bytes, condition: dict[str, str], tries: int = BUSY_TRIES) -> bool:
        """Write an object on a condition; return False where S3 says that it does not hold.

        The checksum is sent as a plain header: a bucket with Object Lock takes nothing without one.
        """
        key = self._key(path)
        told: dict[str, Any] = {
            "Bucket": self.place.name,
            "Key": key,
            "Body": content,
            "ContentType": _TYPES.get(path[path.rfind(".") :], "application/octet-stream"),
            "ChecksumSHA256": base64.b64encode(hashlib.sha256(content).digest()).decode(),
            **condition,
        }
        with self._told("s3:PutObject", key):
            error = self._refusal(told)
            if error is None:
                return True
            if http_status(error) == _EXISTS or ("IfMatch" in condition and error_code(error) == "NoSuchKey"):
                return False
            if http_status(error) != _BUSY or tries <= 1:
                raise error
        time.sleep(BUSY_SECONDS)
        return self._put(path, content, condition, tries - 1)

    def _refusal(self, told: dict[str, Any]) -> ClientError | None:
        from botocore.exceptions import ClientError

        try:
            self._client.put_object(**told)
        except ClientError as error:
            return error
        return None

    def _there(self, path: str) -> bytes | None:
        """Return an object that is there, or None where it may not be read."""
        key = self._key(path)
        try:
            with self._told("s3:GetObject", key):
                content: bytes = self._client.get_object(Bucket=self.place.name, Key=key)["Body"].read()
        except ResultsStoreFailed as error:
            logger.info("%s is there already, and cannot be compared: %s", self._uri(path), error.reason)
            return None
        return content

    @property
    def _client(self) -> Any:
        return self.clients().brisk("s3")

    def _key(self, path: str) -> str:
        return f"{self.place.prefix}{path}"

    def _uri(self, path: str) -> str:
        return f"s3://{self.place.name}/{self._key(path)}"

    @contextmanager
    def _told(self, action: str, key: str) -> Iterator[None]:
        with failing(action, f"s3://{self.place.name}/{key}"):
            yield


@contextmanager
def failing(action: str, location: str) -> Iterator[None]:
    """Let only ResultsStoreFailed out of a block that calls AWS."""
    try:
        with translated(action, location):
            yield
    except FileflowError as error:
        if isinstance(error, ResultsStoreFailed):
            raise
        raise ResultsStoreFailed(error.reason, evidence=error.evidence) from error
