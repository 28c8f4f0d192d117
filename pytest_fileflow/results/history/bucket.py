"""Records in an S3 bucket, below a prefix: listed and fetched many at a time."""

from __future__ import annotations

import functools
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from pytest_fileflow.aws_errors import error_code, translated
from pytest_fileflow.results.history.places import RECORD, Found, is_wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import date

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results import places
    from pytest_fileflow.results.record import Record

LISTINGS: Final = 16  # days that are listed at a time
FETCHES: Final = 32  # records that are fetched at a time
CHUNK: Final = 512  # records that are in memory at a time
_PARTS: Final = ("dt=", "flow_id=", "run_id=")


@dataclass(frozen=True)
class Bucket:
    """A place ``s3://bucket/prefix``. It needs ``s3:ListBucket`` and ``s3:GetObject``, and writes nothing."""

    bucket: str
    prefix: str
    clients: Callable[[], AwsClients]

    @classmethod
    def of(cls, place: places.Place, clients: Callable[[], AwsClients]) -> Bucket:
        """Return a place in S3, of which one set of clients, made when it is asked, does all requests."""
        # A session of AWS's takes a tenth of a second to make.
        return cls(place.name, place.prefix.rstrip("/"), functools.cache(clients))

    @property
    def name(self) -> str:
        """Return its URI."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def paths(self, since: date, flow: str | None) -> list[str]:
        """Return the paths of all records; a page of 1,000 keys a request, days side by side."""
        pages = self._list("", Delimiter="/")
        days = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", ())]
        names = [prefix.removeprefix(self._root) for prefix in days]
        wanted = [name for name in names if name.startswith("dt=") and is_wanted(name[3:].rstrip("/"), since)]
        with ThreadPoolExecutor(LISTINGS, thread_name_prefix="fileflow-history") as pool:
            return [path for found in pool.map(lambda day: self._records(day, flow), wanted) for path in found]

    def _records(self, day: str, flow: str | None) -> list[str]:
        below = f"{day}flow_id={_literal(flow)}" if flow else day
        keys = (each["Key"] for page in self._list(below) for each in page.get("Contents", ()))
        return [path for path in (key.removeprefix(self._root) for key in keys) if _is_record(path, flow)]

    def _list(self, below: str, **options: str) -> Iterator[dict[str, Any]]:
        with translated("s3:ListBucket", self.name):
            pages = self._client().get_paginator("list_objects_v2").paginate
            yield from pages(Bucket=self.bucket, Prefix=f"{self._root}{below}", **options)

    def read(self, paths: Iterable[str]) -> Iterator[Found]:
        """Yield the records; one that is gone meanwhile is left out."""
        waiting = iter(paths)
        with ThreadPoolExecutor(FETCHES, thread_name_prefix="fileflow-history") as pool:
            while chunk := list(itertools.islice(waiting, CHUNK)):
                yield from filter(None, pool.map(self._fetch, chunk))

    def _fetch(self, path: str) -> Found | None:
        from botocore.exceptions import ClientError

        with translated("s3:GetObject", self.where(path)):
            try:
                answer = self._client().get_object(Bucket=self.bucket, Key=f"{self._root}{path}")
            except ClientError as error:
                if error_code(error) == "NoSuchKey":
                    return None
                raise
            with answer["Body"] as body:
                return Found(path, body.read(), answer["LastModified"].timestamp())

    def where(self, path: str) -> str:
        """Return the URI of a record."""
        return f"s3://{self.bucket}/{self._root}{path}"

    def interrupted(self) -> Iterator[Record]:
        """Yield nothing: what a session has under way is known on its own machine."""
        return iter(())

    @property
    def _root(self) -> str:
        return f"{self.prefix}/results/" if self.prefix else "results/"

    def _client(self) -> Any:
        return self.clients().client("s3")


def _literal(pattern: str) -> str:
    """Return the letters that every name that fits a shell-style pattern begins with."""
    return "".join(itertools.takewhile(lambda letter: letter not in "*?[", pattern))


def _is_record(path: str, flow: str | None) -> bool:
    *folders, name = path.split("/")
    is_layout = len(folders) == len(_PARTS) and all(map(str.startswith, folders, _PARTS))
    return is_layout and name == RECORD and (flow is None or fnmatchcase(folders[1].partition("=")[2], flow))
