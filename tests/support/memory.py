"""Endpoints in memory and a transfer between them: for tests of what happens above the endpoints."""

from __future__ import annotations

import threading
import urllib.parse
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from pytest_fileflow.invoke import Started
from pytest_fileflow.model import Stat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pytest_fileflow.errors import FileflowError
    from pytest_fileflow.model import Location, Transfer

CHUNK = 64 * 1024


class Storage:
    """What lies where; every write is one version."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.files: dict[str, dict[str, bytes]] = defaultdict(dict)
        self.versions = 0
        self.version_of: dict[tuple[str, str], int] = {}
        self.calls: list[tuple[str, str]] = []
        self.errors: dict[tuple[str, str], FileflowError | Exception] = {}  # (operation, place) -> what it raises

    def put(self, place: str, name: str, content: bytes) -> None:
        with self.lock:
            self.versions += 1
            self.version_of[place, name] = self.versions
            self.files[place][name] = content

    def get(self, place: str, name: str) -> bytes | None:
        with self.lock:
            return self.files[place].get(name)

    def remove(self, place: str, name: str) -> None:
        with self.lock:
            self.files[place].pop(name, None)

    def names(self, place: str) -> list[str]:
        with self.lock:
            return sorted(self.files[place])

    def everything(self) -> list[tuple[str, str]]:
        with self.lock:
            return [(place, name) for place, files in self.files.items() for name in files]

    def enter(self, operation: str, place: str) -> None:
        with self.lock:
            self.calls.append((operation, place))
            error = self.errors.get((operation, place))
        if error is not None:
            raise error


class SharedStorage(Storage):
    """The same in a folder, where what a killed process wrote outlives it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def put(self, place: str, name: str, content: bytes) -> None:
        path = self._path(place, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{name}.part")
        fresh.write_bytes(content)
        fresh.replace(path)

    def get(self, place: str, name: str) -> bytes | None:
        path = self._path(place, name)
        return path.read_bytes() if path.exists() else None

    def remove(self, place: str, name: str) -> None:
        self._path(place, name).unlink(missing_ok=True)

    def names(self, place: str) -> list[str]:
        folder = self._path(place, "")
        return sorted(path.name for path in folder.glob("[!.]*"))

    def everything(self) -> list[tuple[str, str]]:
        return [(path.parent.name, path.name) for path in self.folder.glob("*/*")]

    def _path(self, place: str, name: str) -> Path:
        return self.folder / urllib.parse.quote(place, safe="") / name


class MemoryEndpoint:
    """An endpoint over a Storage; the place is the location's URI."""

    def __init__(self, location: Location, storage: Storage):
        self.location = location
        self.place = location.uri()
        self.storage = storage

    def put(self, name: str, body: BinaryIO, size: int, tags: Mapping[str, str]) -> None:
        self.storage.enter("put", self.place)
        content = body.read()
        assert len(content) == size
        self.storage.put(self.place, name, content)

    def stat(self, name: str) -> Stat | None:
        self.storage.enter("stat", self.place)
        content = self.storage.get(self.place, name)
        return None if content is None else self._stat(name, content)

    def list(self, prefix: str = "", limit: int = 1000) -> list[Stat]:
        self.storage.enter("list", self.place)
        names = [name for name in self.storage.names(self.place) if name.startswith(prefix)]
        return [self._stat(name, self.storage.get(self.place, name) or b"") for name in names[:limit]]

    def folders(self, limit: int = 100) -> list[str]:
        self.storage.enter("folders", self.place)
        with self.storage.lock:
            deeper = [place[len(self.place) :] for place in self.storage.files if place.startswith(self.place)]
        return sorted({rest.split("/")[0] for rest in deeper if rest})[:limit]

    @contextmanager
    def open(self, name: str, offset: int = 0, version: str | None = None) -> Iterator[Iterator[bytes] | None]:
        self.storage.enter("open", self.place)
        stat = self.stat(name)
        if stat is None or (version and stat.version != version):
            yield None
            return
        content = self.storage.get(self.place, name) or b""
        yield (content[start : start + CHUNK] for start in range(offset, len(content), CHUNK))

    def delete(self, name: str) -> None:
        self.storage.enter("delete", self.place)
        self.storage.remove(self.place, name)

    def _stat(self, name: str, content: bytes) -> Stat:
        return Stat(name, len(content), str(self.storage.version_of.get((self.place, name), 0)))


class World:
    """Storage, endpoints and a transfer that copies every new file of a source to a target when invoked.

    ``damage`` changes what is delivered: it gets the file's bytes and returns what to write, or
    None to deliver nothing. ``delay`` is seconds from the invocation to the delivery.
    """

    def __init__(self, damage: Callable[[bytes], bytes | None] = lambda content: content, delay: float = 0.0):
        self.storage = Storage()
        self.damage = damage
        self.delay = delay
        self.invocations: list[Any] = []
        self.routes: dict[str, tuple[str, str]] = {}
        self.moves = False
        self.invoke_error: FileflowError | None = None
        self._done: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def endpoint(self, location: Location) -> MemoryEndpoint:
        return MemoryEndpoint(location, self.storage)

    def route(self, source: Location, target: Location, function: str = "function") -> None:
        self.routes[function] = (source.uri(), target.uri())

    def invoke(self, transfer: Transfer, payload: object) -> Started:
        self.invocations.append(payload)
        if self.invoke_error is not None:
            raise self.invoke_error
        source, target = self.routes[transfer.lambda_arn or "function"]
        if transfer.invocation == "RequestResponse":
            self.deliver(source, target)
        else:
            timer = threading.Timer(self.delay, self.deliver, (source, target))
            timer.daemon = True
            timer.start()
        return Started("request-1", None, None)

    def deliver(self, source: str, target: str) -> None:
        for name in self.storage.names(source):
            with self._lock:
                if (source, name) in self._done:
                    continue
                self._done.add((source, name))
            content = self.storage.get(source, name)
            if content is None:
                continue
            delivered = content if name.endswith((".sha256", ".manifest.json")) else self.damage(content)
            if delivered is not None:
                self.storage.put(target, name, delivered)
            if self.moves:
                self.storage.remove(source, name)
