"""Reads a config store that is a prefix of an S3 bucket: a listing, and what has another ETag than before."""

from __future__ import annotations

import contextlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_fileflow.aws_errors import translated
from pytest_fileflow.errors import AccessDenied, ConfigInvalid, FileflowError, KmsDenied, LocationMissing, StorageFailed
from pytest_fileflow.stores import SUFFIXES, belongs
from pytest_fileflow.stores.counting import Counted
from pytest_fileflow.stores.naming import Paths, readable
from pytest_fileflow.stores.shelf import Entry, Making, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.places import Place
    from pytest_fileflow.stores.shelf import Shelf

LISTINGS: Final = 16  # pages that are listed at a time
FETCHES: Final = 32  # objects that are fetched at a time
PAGE_KEYS: Final = 900  # of the 1,000 of a page, so that a page still reaches its end when keys were added
MAX_BYTES: Final = 5 * 1024 * 1024  # of one config

# What is wrong with one object; anything else is wrong with the store.
_OF_ONE = (AccessDenied, KmsDenied, StorageFailed, ConfigInvalid)


@dataclass(frozen=True)
class Listed:
    """An object as the listing tells it. ``path`` is its key below the prefix."""

    path: str
    etag: str
    size: int


@dataclass(frozen=True)
class Range:
    """Keys that are listed in one go: below a name of the layout, after one path, up to another."""

    kind: str
    after: str = ""
    until: str = ""


@dataclass(frozen=True)
class Objects:
    """The objects of a store."""

    place: Place
    client: Any

    @classmethod
    def of(cls, place: Place, clients: AwsClients) -> Objects:
        """Return the objects of a store; raises FileflowError."""
        return cls(place, clients.client("s3"))

    def listed(self, known: list[str]) -> list[Listed]:
        """Return all objects of the layout, by their paths; raises FileflowError.

        ``known`` are the paths of the last time: they say where the pages begin, so that all are asked for at once.
        """
        with ThreadPoolExecutor(LISTINGS, thread_name_prefix="fileflow-configs") as pool:
            found = [each for page in pool.map(lambda part: list(self._list(part)), ranges(known)) for each in page]
        return sorted((each for each in found if belongs(each.path)), key=lambda each: each.path)

    def _list(self, part: Range) -> Iterator[Listed]:
        front = f"{self.place.prefix}{part.kind}/"
        start = {"StartAfter": f"{self.place.prefix}{part.after}"} if part.after else {}
        with translated("s3:ListBucket", self.uri(f"{part.kind}/")):
            for page in self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.place.name, Prefix=front, **start
            ):
                for told in page.get("Contents", ()):
                    path = told["Key"].removeprefix(self.place.prefix)
                    if part.until and path > part.until:
                        return
                    yield Listed(path, told["ETag"], told["Size"])
                if part.until and page.get("Contents") and path == part.until:
                    return

    def read(self, path: str) -> tuple[bytes, str] | None:
        """Return an object's bytes and their ETag, or None where it is gone; raises FileflowError."""
        with translated("s3:GetObject", self.uri(path)), contextlib.suppress(self.client.exceptions.NoSuchKey):
            answer = self.client.get_object(Bucket=self.place.name, Key=f"{self.place.prefix}{path}")
            with answer["Body"] as body:
                return body.read(), answer["ETag"]
        return None

    def uri(self, path: str) -> str:
        """Return an object's address."""
        return f"s3://{self.place.name}/{self.place.prefix}{path}"


def ranges(known: list[str]) -> list[Range]:
    """Return what to list, so that together it is everything, however the keys have changed since."""
    parts = []
    for kind in SUFFIXES:
        paths = sorted(path for path in known if path.startswith(f"{kind}/"))
        bounds = ["", *paths[PAGE_KEYS - 1 : -1 : PAGE_KEYS], ""]
        parts += [Range(kind, after, until) for after, until in itertools.pairwise(bounds)]
    return parts


def read_bucket(place: Place, clients: AwsClients, shelf_of: Callable[[str], Shelf]) -> Reading:
    """Return a copy of a store as it is now; raises FileflowError."""
    objects = Objects.of(place, clients)
    shelf = shelf_of(f"{objects.client.meta.endpoint_url} {place}")
    with Counted(objects.client) as counted:
        before = shelf.latest()
        listed = objects.listed([_key_path(entry, place) for entry in before.entries] if before else [])
        making = Making(shelf, before)
        try:
            entries, fetched = _entries(objects, listed, making)
            snapshot = making.finish(entries)
        except BaseException:  # Ctrl-C too: half a copy is of no use to anybody
            making.discard()
            raise
    return Reading(snapshot, fetched, counted.requests)


def _key_path(entry: Entry, place: Place) -> str:
    return entry.uri.removeprefix(f"s3://{place.name}/{place.prefix}")


def _entries(objects: Objects, listed: list[Listed], making: Making) -> tuple[list[Entry], int]:
    """Return the entries of a listing, and how many were fetched for it."""
    paths = Paths()
    entries, due = [], []
    for each in listed:
        path = paths.path_of(each.path, f".{each.path.rpartition('.')[2]}")
        known = making.known.get(path)
        if known is not None and (known.version, known.size) == (each.etag, each.size):
            entries.append(known)
        else:
            due.append((each, path))
    fetched = list(_fetched(objects, due, making, is_all=not entries)) if due else []
    return entries + fetched, len(due)


def _fetched(objects: Objects, due: list[tuple[Listed, str]], making: Making, *, is_all: bool) -> Iterator[Entry]:
    """Yield an entry for each object that is still there; raises FileflowError where none of all can be read."""
    pool = ThreadPoolExecutor(FETCHES, thread_name_prefix="fileflow-configs")
    try:
        outcomes = list(pool.map(lambda one: _fetch(objects, one[0], one[1], making), due))
    finally:
        pool.shutdown(cancel_futures=True)
    denied = [outcome for outcome in outcomes if isinstance(outcome, (AccessDenied, KmsDenied, StorageFailed))]
    if is_all and len(denied) == len(outcomes):
        raise denied[0]
    for (each, path), outcome in zip(due, outcomes, strict=True):
        if isinstance(outcome, FileflowError):
            making.write(path, b"")
            uri = readable(objects.uri(each.path))
            yield Entry(path, uri, uri, each.etag, 0, f"{outcome.cause}: {outcome.reason}")
        elif outcome is not None:
            yield outcome


def _fetch(objects: Objects, each: Listed, path: str, making: Making) -> Entry | FileflowError | None:
    if each.size > MAX_BYTES:
        return ConfigInvalid(f"the object has {each.size} bytes: a config has at most 5 MiB")
    try:
        read = objects.read(each.path)
    except LocationMissing:
        return None
    except _OF_ONE as error:
        return error
    if read is None:
        return None
    content, etag = read
    making.write(path, content)
    uri = readable(objects.uri(each.path))
    return Entry(path, uri, uri, etag, len(content))
