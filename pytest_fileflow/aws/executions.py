"""What an execution keeps in the results bucket beside its records: its list, its marks, and what became of each run.

Below ``executions/<name>/``: ``cases.json`` for the state machine, ``suite.json`` and ``outcomes/`` for who counts in
the end, ``contracts/`` for the transfers that wait for them, ``begun/`` for steps that must not be done twice, with
what is needed to clean up after them. As long as not all is counted, ``open/<name>.json`` says so. A lifecycle rule
removes them.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_fileflow.aws_errors import error_code, http_status
from pytest_fileflow.errors import ResultsStoreFailed
from pytest_fileflow.results.bucket import failing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.places import Place
    from pytest_fileflow.results.record import Record

READERS: Final = 16
OPEN: Final = "open/"
BUSY_TRIES: Final = 4
BUSY_SECONDS: Final = 0.2
_THERE: Final = 412  # HTTP: precondition failed
_BUSY: Final = 409  # somebody else is writing the same object at this moment


@dataclass(frozen=True)
class Outcome:
    """What became of a run: its record, where that lies, and what else is to be told."""

    record: Record
    where: str
    problem: str = ""


@dataclass(frozen=True)
class Papers:
    """The documents of one execution, in the bucket of the results."""

    place: Place
    name: str
    clients: AwsClients

    @property
    def cases_key(self) -> str:
        """Return the key of the list of cases."""
        return self._key("cases.json")

    def write_cases(self, items: list[Any]) -> None:
        """Keep the list that a distributed map reads."""
        self._put("cases.json", items)

    def write_suite(self, suite: dict[str, Any]) -> None:
        """Keep what is expected of the execution."""
        self._put("suite.json", suite)

    def read_suite(self) -> dict[str, Any]:
        """Return what is expected of the execution."""
        suite: dict[str, Any] = json.loads(self._get(self._key("suite.json")))
        return suite

    def begin(self, step: str, run_id: str, mark: dict[str, Any]) -> dict[str, Any] | None:
        """Note that a step of a run begins; return None, or the mark of an earlier try of it."""
        key = self._key(f"begun/{run_id}.{step}.json")
        if self._put_new(key, json.dumps(mark).encode()):
            return None
        there: dict[str, Any] = json.loads(self._get(key))
        # It may be our own: an answer was lost, and the request sent again.
        return None if there["token"] == mark["token"] else there

    def _put_new(self, key: str, content: bytes, tries: int = BUSY_TRIES) -> bool:
        """Write an object where there is none yet; return False where there is."""
        from botocore.exceptions import ClientError

        with failing("s3:PutObject", self._uri(key)):
            try:
                self._s3.put_object(Bucket=self.place.name, Key=key, Body=content, IfNoneMatch="*")
            except ClientError as error:
                if http_status(error) == _THERE:
                    return False
                if http_status(error) != _BUSY or tries <= 1:
                    raise
            else:
                return True
        time.sleep(BUSY_SECONDS)
        return self._put_new(key, content, tries - 1)

    def begun(self) -> dict[str, dict[str, Any]]:
        """Return the marks of the runs that were begun, by run id: the first of each, and those alone with a state."""
        found: dict[str, dict[str, Any]] = {}
        for key in self._keys("begun/"):
            mark = json.loads(self._get(key))
            if "state" in mark:
                found[key.rpartition("/")[2].partition(".")[0]] = mark
        return found

    def open(self, told: dict[str, Any]) -> None:
        """Say that not all is counted yet."""
        self._put_at(self._open_key, told)

    def close(self) -> None:
        """Say that all is counted."""
        with failing("s3:DeleteObject", self._uri(self._open_key)):
            self._s3.delete_object(Bucket=self.place.name, Key=self._open_key)

    def write_outcome(self, outcome: Outcome) -> None:
        """Keep what became of a run."""
        record = outcome.record
        told = {"record": record, "where": outcome.where, "problem": outcome.problem}
        self._put(f"outcomes/{record['flow_id']}/{record['run_id']}.json", told)

    def write_contract(self, flow_id: str, told: dict[str, Any]) -> None:
        """Keep what became of a flow's contract."""
        self._put(f"contracts/{flow_id}.json", told)

    def contract(self, flow_id: str) -> dict[str, Any] | None:
        """Return what became of a flow's contract, or None where that is not known yet."""
        from botocore.exceptions import ClientError

        key = self._key(f"contracts/{flow_id}.json")
        with failing("s3:GetObject", self._uri(key)):
            try:
                content = self._s3.get_object(Bucket=self.place.name, Key=key)["Body"].read()
            except ClientError as error:
                if error_code(error) == "NoSuchKey":
                    return None
                raise
        told: dict[str, Any] = json.loads(content)
        return told

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what became of the runs that were recorded."""
        with ThreadPoolExecutor(READERS) as readers:
            for content in readers.map(self._get, self._keys("outcomes/")):
                yield Outcome(**json.loads(content))

    def recorded(self) -> set[str]:
        """Return the ids of the runs that were recorded."""
        return {key.rpartition("/")[2].removesuffix(".json") for key in self._keys("outcomes/")}

    @property
    def _open_key(self) -> str:
        return f"{self.place.prefix}{OPEN}{self.name}.json"

    @property
    def _s3(self) -> Any:
        return self.clients.client("s3")

    def _key(self, name: str) -> str:
        return f"{self.place.prefix}executions/{self.name}/{name}"

    def _uri(self, key: str) -> str:
        return f"s3://{self.place.name}/{key}"

    def _put(self, name: str, document: object) -> None:
        self._put_at(self._key(name), document)

    def _put_at(self, key: str, document: object) -> None:
        with failing("s3:PutObject", self._uri(key)):
            body = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
            self._s3.put_object(Bucket=self.place.name, Key=key, Body=body, ContentType="application/json")

    def _get(self, key: str) -> bytes:
        with failing("s3:GetObject", self._uri(key)):
            content: bytes = self._s3.get_object(Bucket=self.place.name, Key=key)["Body"].read()
        return content

    def _keys(self, name: str) -> list[str]:
        return _keys(self.place, self._key(name), self.clients)


def open_executions(place: Place, clients: AwsClients) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names of executions of which not all is counted, each with what was said of it."""
    for key in _keys(place, f"{place.prefix}{OPEN}", clients):
        with failing("s3:GetObject", f"s3://{place.name}/{key}"):
            content = clients.client("s3").get_object(Bucket=place.name, Key=key)["Body"].read()
        yield key.rpartition("/")[2].removesuffix(".json"), json.loads(content)


def _keys(place: Place, front: str, clients: AwsClients) -> list[str]:
    with failing("s3:ListBucket", f"s3://{place.name}/{front}"):
        pages = clients.client("s3").get_paginator("list_objects_v2").paginate(Bucket=place.name, Prefix=front)
        return [str(found["Key"]) for page in pages for found in page.get("Contents", ())]


def papers_of(place: Place, name: str, clients: AwsClients) -> Papers:
    """Return the documents of an execution; raises ResultsStoreFailed for results that are in no bucket."""
    if place.kind != "s3":
        raise ResultsStoreFailed(f"FILEFLOW_RESULTS is {place}: executions need a bucket, as s3://bucket/prefix")
    return Papers(place, name, clients)
