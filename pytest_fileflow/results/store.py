"""Where records are kept, in the contract's layout: what any store does, and the one that is a folder."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import logging
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_fileflow.errors import RecordRefused, ResultsStoreFailed
from pytest_fileflow.model import sidecar_names
from pytest_fileflow.results.places import Place
from pytest_fileflow.results.record import metrics_csv, summary_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.record import Record


logger = logging.getLogger(__name__)

_TELLING_END = 40  # characters of a name, in that of a file while it is written


@dataclass(frozen=True)
class State:
    """A small document that changes, and the version that it was read in."""

    content: bytes
    version: str


class Store(Protocol):
    """A place for records: each is written once, whole, and never changed. Any number of processes may use it.

    Beside the records lie small documents that change (``<results>/state/<name>``), each by
    compare-and-set. All that fails raises ResultsStoreFailed.
    """

    def write(self, record: Record, manifest: bytes | None = None) -> str:
        """Write a run's record and what belongs to it; return where it lies.

        A record that is there already is fine. Raises RecordRefused where another one is, and
        where the store will never take this one.
        """

    def run_ids(self, flow_id: str, limit: int) -> list[str]:
        """Return the ids of a flow's recorded runs, the newest first; none where they cannot be listed."""

    def read_state(self, name: str) -> State | None:
        """Return a document that changes, or None where there is none yet."""

    def write_state(self, name: str, content: bytes, version: str | None) -> bool:
        """Replace a document that was read in this version; None: there must be none yet.

        Returns False, and writes nothing, where somebody has changed it since.
        """


def open_store(place: str, clients: Callable[[], AwsClients]) -> Store:
    """Return the store of a place: ``DIR``, ``s3://bucket/prefix`` or ``dynamodb://table``.

    ``clients`` is called only where a request is made. Raises PlaceError for a text that names no place.
    """
    found = Place.parse(place)
    if found.kind == "folder":
        return Directory(Path(found.name))
    if found.kind == "s3":
        from pytest_fileflow.results.bucket import Bucket

        return Bucket(found, clients)
    from pytest_fileflow.results.table import Table

    return Table(found, clients)


@dataclass(frozen=True)
class Directory:
    """A results folder. Safe for any number of processes: every run has a folder of its own."""

    root: Path

    def write(self, record: Record, manifest: bytes | None = None) -> str:
        """Write a run's record, summary, metrics and manifest; return where the record lies.

        ``run.json`` comes last and whole, so that where it is, the rest is too. Raises ResultsStoreFailed.
        """
        path = self.root / record_path(record)
        where = str(path)
        try:
            if path.exists():
                agree(record, path.read_bytes(), where)
                return where
            for name, content in documents(record, where, manifest):
                beside = self.root / name
                beside.parent.mkdir(parents=True, exist_ok=True)
                write_whole(beside, content)
            _write_once(path, record_bytes(record))
        except FileExistsError:
            agree(record, path.read_bytes(), where)
        except OSError as error:
            raise _failed(path.parent, error) from error
        return where

    def read(self, run: Record) -> tuple[Record, bytes | None] | None:
        """Return the record and the manifest of a run, of which more need not be known than its ids and stamps.

        None where there is no record, or none that can be read.
        """
        try:
            record: Record = json.loads((self.root / record_path(run)).read_bytes())
            manifest = self.root / _manifest_path(record)
            return record, manifest.read_bytes() if manifest.exists() else None
        except (OSError, ValueError, LookupError, TypeError) as error:
            logger.info("there is no record of run %s in %s: %s", run["run_id"], self.root, type(error).__name__)
            return None

    def run_ids(self, flow_id: str, limit: int) -> list[str]:
        """Return the ids of a flow's recorded runs, those of the newest days first; no record is opened."""
        try:
            return list(itertools.islice(self._run_ids(flow_id), limit))
        except OSError as error:
            logger.info("earlier runs of %s cannot be listed: %s", flow_id, error.strerror)
            return []

    def _run_ids(self, flow_id: str) -> Iterator[str]:
        for day in sorted(self.root.glob("results/dt=*"), reverse=True):
            folders = [path for path in day.joinpath(f"flow_id={flow_id}").glob("run_id=*") if path.is_dir()]
            for folder in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True):
                yield folder.name.partition("=")[2]

    def read_state(self, name: str) -> State | None:
        """Return a document of the folder ``state``, or None where there is none yet."""
        path = self.root / state_path(name)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ResultsStoreFailed(f"{path} cannot be read: {error.strerror}") from error
        return State(content, hashlib.sha256(content).hexdigest())

    def write_state(self, name: str, content: bytes, version: str | None) -> bool:
        """Replace a document of the folder ``state``; processes take turns by a lock on a file of it."""
        path = self.root / state_path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path.with_name(f".{path.name}.lock")):
                there = self.read_state(name)
                if (there.version if there else None) != version:
                    return False
                write_whole(path, content)
        except OSError as error:
            raise _failed(path, error) from error
        return True


def record_path(record: Record) -> str:
    """Return where a record lies in a store, from the contract's layout."""
    return f"{_folder('results', record)}run_id={record['run_id']}/run.json"


def record_bytes(record: Record) -> bytes:
    """Return ``run.json``: one line, as Athena reads it."""
    return f"{json.dumps(record, ensure_ascii=False)}\n".encode("utf-8", "replace")


def documents(record: Record, where: str, manifest: bytes | None) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of what lies beside a record; ``where`` is where the record itself will be."""
    if manifest is not None:
        yield _manifest_path(record), manifest
    folder = f"{_folder('results', record)}run_id={record['run_id']}"
    yield f"{folder}/summary.txt", summary_text(record, where).encode("utf-8", "replace")
    yield f"{folder}/metrics.csv", metrics_csv(record).encode("utf-8", "replace")


def _manifest_path(record: Record) -> str:
    return f"{_folder('manifests', record)}{sidecar_names(record['file']['name'])[1]}"


def state_path(name: str) -> str:
    """Return where a document that changes lies in a store; raises ValueError for a name that leads elsewhere."""
    if not all(part.strip(".") for part in name.split("/")):
        raise ValueError(f"{name!r} cannot be the name of a document")
    return f"state/{name}"


def agree(record: Record, there: bytes, where: str) -> None:
    """Accept that a record lies there already; raises RecordRefused where it is another one.

    What is said of a run whose process was lost gives way to what the process itself has said.
    """
    if record["cause"] == "tester.interrupted" or there == record_bytes(record):
        return
    raise RecordRefused(f"{where} holds another record of this run already, which stays as it is")


def began(record: Record) -> str:
    """Return when a run began, in UTC: its first stamp. A run that was never prepared has none."""
    return min(record["timeline"].values(), default="unknown")


def _folder(kind: str, record: Record) -> str:
    return f"{kind}/dt={began(record)[:10]}/flow_id={record['flow_id']}/"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made; others wait, in this process too. Raises OSError."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def turn(path: Path) -> Iterator[bool]:
    """Hold the lock of a file, which is made in its folder; False where another process does, or none can be had."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        logger.warning("%s cannot be locked: %s", path, error.strerror)
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            is_mine = False
        else:
            is_mine = is_there(path, handle)
        yield is_mine
    finally:
        os.close(handle)


def is_there(path: Path, handle: int) -> bool:
    """Return whether an open file still has its name: who held its lock before may have removed it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name in its folder, and rename it; raises OSError."""
    temporary = _temporary(path)
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _write_once(path: Path, content: bytes) -> None:
    """Write a file whole where there is none yet; raises FileExistsError where there is, and OSError."""
    temporary = _temporary(path)
    try:
        temporary.write_bytes(content)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            raise
        except OSError:  # a file system without links: the name of a run is its own
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    end = path.name[-_TELLING_END:]  # a whole name may be as long as names can be
    return path.with_name(f".{end}.{os.getpid()}-{threading.get_ident()}.part")


def _failed(path: Path, error: OSError) -> ResultsStoreFailed:
    return ResultsStoreFailed(f"{path} cannot be written: {error.strerror or type(error).__name__}")
