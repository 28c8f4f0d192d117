"""Records that a store behind a network has not taken yet, on disk, until it has."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_fileflow.errors import RecordRefused, ResultsStoreFailed
from pytest_fileflow.results.store import turn, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_fileflow.results.record import Record
    from pytest_fileflow.results.store import Store

logger = logging.getLogger(__name__)

FOLDER = "spool"
LOCK = ".lock"
AT_ONCE = 8  # records that are delivered at a time
TRIES = 5
FAILURES = 3  # after which a store is left alone until the next time

_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")


@dataclass(frozen=True)
class Waiting:
    """A record that waits for its store, and why it did not go there at once."""

    path: Path
    place: str
    record: Record
    manifest: bytes | None
    why: str

    @classmethod
    def read(cls, path: Path) -> Waiting | None:
        """Read an entry; None for one that is gone, or that cannot be read."""
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            manifest = told["manifest"]
            return cls(path, told["place"], told["record"], manifest and manifest.encode(), told["why"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            logger.warning("%s cannot be read: %s", path, type(error).__name__)
            return None


@dataclass
class Delivery:
    """What became of the records that waited for one place: how many went there, how many wait on, and why."""

    place: str
    delivered: int = 0
    waiting: int = 0
    why: str = ""
    refused: list[str] = field(default_factory=list)  # a line each, of those that it will never take


@dataclass(frozen=True)
class Spool:
    """The folder ``spool`` of a results folder: a folder a place, a file a record. Any number of processes use it."""

    root: Path

    @classmethod
    def of(cls, results: Path) -> Spool:
        """Return the spool of a results folder."""
        return cls(results / FOLDER)

    def put(self, place: str, record: Record, manifest: bytes | None, why: str) -> str:
        """Keep a record for a place; return where. Raises ResultsStoreFailed."""
        path = self.root / _name(place) / f"{record['run_id']}.json"
        told = {
            "place": place,
            "why": why,
            "record": record,
            "manifest": manifest and manifest.decode("utf-8", "replace"),
        }
        text = json.dumps(told, ensure_ascii=False).encode("utf-8", "replace")
        for left in reversed(range(TRIES)):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, text)
                break
            except OSError as error:
                if isinstance(error, FileNotFoundError) and left:  # somebody has just removed the empty folder
                    continue
                raise ResultsStoreFailed(f"{path} cannot be written: {error.strerror}") from error
        return str(path)

    def holds(self, run_id: str) -> bool:
        """Return whether a run's record waits for some store."""
        return any(self.root.glob(f"*/{run_id}.json"))

    def of_run(self, run_id: str) -> Waiting | None:
        """Return the record of a run that waits for some store."""
        return next(filter(None, map(Waiting.read, self.root.glob(f"*/{run_id}.json"))), None)

    def waiting(self) -> dict[str, list[Path]]:
        """Return what waits for each place, oldest first."""
        found: dict[str, list[Path]] = {}
        for folder in self._folders():
            paths = sorted(folder.glob("*.json"), key=_age)
            first = next(filter(None, map(Waiting.read, paths)), None)
            if first is not None:
                found[first.place] = paths
        return found

    def deliver(self, store_of: Callable[[str], Store], seconds: float, places: tuple[str, ...] = ()) -> list[Delivery]:
        """Deliver what waits (for these places alone, where any are given); what a store has is removed here.

        Begins nothing once ``seconds`` are over. Where another process is at it, that one's work is left to it.
        """
        deadline, told = time.monotonic() + seconds, []
        for place, paths in self.waiting().items():
            if places and place not in places:
                continue
            with turn(paths[0].parent / LOCK) as is_mine:
                round_ = _Round(store_of, deadline, Delivery(place))
                if is_mine:
                    round_.deliver(paths)
                told.append(round_.told(paths, "" if is_mine else "another process is delivering them at this moment"))
        self._tidy()
        return told

    def _tidy(self) -> None:
        for folder in (*self._folders(), self.root):
            with contextlib.suppress(OSError):  # somebody has put something there meanwhile, or it is gone
                if not any(folder.glob("*.json")):
                    (folder / LOCK).unlink(missing_ok=True)
                    folder.rmdir()

    def _folders(self) -> list[Path]:
        return sorted(path for path in self.root.glob("*") if path.is_dir())


class _Round:
    """One attempt to deliver what waits for one place."""

    def __init__(self, store_of: Callable[[str], Store], deadline: float, delivery: Delivery) -> None:
        self._store_of = store_of
        self._deadline = deadline
        self._delivery = delivery
        self._failures = 0
        self._lock = threading.Lock()

    def deliver(self, paths: list[Path]) -> None:
        """Deliver: the first alone, since the store may still be down, then several at a time."""
        self._send(paths[0])
        if self._failures:
            return
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fileflow-spool") as pool:
            list(pool.map(self._send, paths[1:]))

    def told(self, paths: list[Path], why: str) -> Delivery:
        """Return what has become of the records; ``why`` they were left alone, if they were."""
        left = [path for path in paths if path.exists()]
        self._delivery.waiting, self._delivery.why = len(left), self._delivery.why or why
        if left and not self._delivery.why:
            last = next(filter(None, map(Waiting.read, reversed(left))), None)
            self._delivery.why = last.why if last else "it cannot be read"
        return self._delivery

    def _send(self, path: Path) -> None:
        if time.monotonic() > self._deadline:
            self._delivery.why = self._delivery.why or "there was no time for more"
            return
        if self._failures >= FAILURES:
            return
        waiting = Waiting.read(path)
        if waiting is None:
            return
        try:
            self._store_of(waiting.place).write(waiting.record, waiting.manifest)
        except RecordRefused as error:
            with self._lock:
                self._delivery.refused.append(error.reason)
        except ResultsStoreFailed as error:
            with self._lock:
                self._failures += 1
                self._delivery.why = error.reason
        except Exception as error:  # noqa: BLE001 - what another version left must not hold up the others for good
            with self._lock:
                self._delivery.refused.append(f"{path} cannot be delivered: {type(error).__name__}")
        else:
            path.unlink(missing_ok=True)
            with self._lock:
                self._delivery.delivered += 1


def _name(place: str) -> str:
    """Return a folder's name for a place, which no other place has."""
    digest = hashlib.sha256(place.encode()).hexdigest()[:8]
    return f"{_UNSAFE.sub('-', place)[:60].strip('-')}-{digest}"


def _age(path: Path) -> tuple[float, str]:
    try:
        return path.stat().st_mtime, path.name
    except FileNotFoundError:
        return 0.0, path.name
