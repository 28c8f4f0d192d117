"""Local copies of a config store: one folder a state of the store, shared by all sessions, and never changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

MANIFEST = "store.json"
LATEST = "latest"
SHAPE = 1  # of the manifest; another shape is another shelf
KEPT_SECONDS = 7 * 24 * 3600  # that a copy is kept after its last session began


@dataclass(frozen=True)
class Entry:
    """A file of a copy: where it lies below the copy's folder, and what it is in the store.

    ``uri`` is its name in node ids, ``display`` that in messages. ``version`` changes whenever the content
    does. ``problem`` says why it could not be read; the file is then empty.
    """

    path: str
    uri: str
    display: str
    version: str
    size: int
    problem: str = ""


@dataclass(frozen=True)
class Snapshot:
    """A copy of a store, in a folder with the layout of a config root."""

    folder: Path
    entries: tuple[Entry, ...]

    @classmethod
    def load(cls, folder: Path) -> Snapshot:
        """Read a copy's manifest; raises OSError, ValueError or TypeError for a folder that is none."""
        told = json.loads(Path(folder, MANIFEST).read_text(encoding="utf-8"))
        return cls(folder, tuple(Entry(**entry) for entry in told))

    @classmethod
    def whole(cls, folder: Path) -> Snapshot | None:
        """Return the copy in a folder, or None where anything is missing of it, as after a power cut."""
        try:
            snapshot = cls.load(folder)
            sizes = [os.stat(f"{folder}/{entry.path}").st_size for entry in snapshot.entries]  # noqa: PTH116 - thousands
        except (OSError, ValueError, TypeError):
            return None
        return snapshot if sizes == [entry.size for entry in snapshot.entries] else None

    def of_kind(self, kind: str) -> list[Entry]:
        """Return the entries below one of the names of the layout."""
        return [entry for entry in self.entries if entry.path.startswith(f"{kind}/")]


@dataclass(frozen=True)
class Reading:
    """What a store held, and what reading it took."""

    snapshot: Snapshot
    fetched: int
    requests: int


@dataclass(frozen=True)
class Shelf:
    """The copies of one store."""

    folder: Path

    @classmethod
    def of(cls, folder: Path, store: str) -> Shelf:
        """Return the shelf of a store among others, in a folder that only this user can read; raises OSError."""
        name = hashlib.sha256(f"{SHAPE} {store}".encode("utf-8", "replace")).hexdigest()[:24]
        shelf = cls(folder / name)
        shelf.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return shelf

    def latest(self) -> Snapshot | None:
        """Return the newest copy, and keep it from being removed; None where there is none that is whole."""
        try:
            folder = self.folder / Path(self.folder, LATEST).read_text(encoding="utf-8")
            os.utime(folder)
        except (OSError, ValueError):
            return None
        return Snapshot.whole(folder)

    def remove_old(self, now: float) -> None:
        """Remove copies that no session has begun with for a week, and what killed sessions left half made."""
        latest = Path(self.folder, LATEST)
        kept = latest.read_text(encoding="utf-8") if latest.exists() else ""
        for folder in self.folder.iterdir():
            if folder.is_dir() and folder.name != kept and folder.stat().st_mtime < now - KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


class Making:
    """A copy in the making: files are written by many threads, or taken over from the copy before."""

    def __init__(self, shelf: Shelf, before: Snapshot | None):
        self._shelf = shelf
        self._before = before
        self._folder = shelf.folder / f".part-{os.getpid()}-{secrets.token_hex(4)}"
        self.known = {entry.path: entry for entry in before.entries if not entry.problem} if before else {}

    def write(self, path: str, content: bytes) -> None:
        """Write a file; one that is wrong in the copy before is written anew, and that copy stays as it is."""
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o400)  # copies share the files that stay the same

    def finish(self, entries: Collection[Entry]) -> Snapshot:
        """Return the copy with these entries, all of which were written or are known; raises OSError."""
        ordered = tuple(sorted(entries, key=lambda entry: entry.path))
        if self._before is not None and ordered == self._before.entries:
            self.discard()
            return self._before
        for entry in ordered:
            if not Path(self._folder, entry.path).exists():
                self._take_over(entry.path)
        manifest = json.dumps([asdict(entry) for entry in ordered]).encode()
        self.write(MANIFEST, manifest)
        snapshot = Snapshot(self._shelf.folder / hashlib.sha256(manifest).hexdigest()[:24], ordered)
        self._put(snapshot.folder)
        with contextlib.suppress(OSError):  # another session is at it, too
            self._shelf.remove_old(time.time())
        return snapshot

    def _take_over(self, path: str) -> None:
        assert self._before is not None  # noqa: S101 - an entry that was not written is one that was known
        source, target = self._before.folder / path, self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(source)
        except OSError:  # a file system without links
            shutil.copy2(source, target)

    def _put(self, folder: Path) -> None:
        try:
            self._folder.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            if Snapshot.whole(folder) is None:
                folder.rename(f"{self._folder}.damaged")
                self._folder.rename(folder)
            self.discard()  # another session has made the same
            os.utime(folder)
        pointer = self._folder.with_name(f"{self._folder.name}.latest")
        pointer.write_text(folder.name, encoding="utf-8")
        pointer.replace(self._shelf.folder / LATEST)

    def discard(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self._folder, ignore_errors=True)
