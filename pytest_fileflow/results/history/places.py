"""Where a history finds records: what a place must be able to do, and a results folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_fileflow.errors import AccessDenied, FileflowError, LocationMissing, StorageFailed
from pytest_fileflow.results.ledger import abandoned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from pytest_fileflow.results.record import Record

RECORD = "run.json"
UNKNOWN_DAY = "unknown"  # of runs that ended before their first stamp
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True)
class Found:
    """A record's file: its bytes, and when they were written, in seconds since 1970."""

    path: str
    content: bytes
    written: float


class Place(Protocol):
    """A place with records in the contract's layout.

    Records go by their paths below ``results/``: ``dt=…/flow_id=…/run_id=…/run.json``. Both methods
    raise FileflowError.
    """

    @property
    def name(self) -> str:
        """Return how the user calls it."""

    def paths(self, since: date, flow: str | None) -> list[str]:
        """Return the paths of all records from a day on, of flows whose id fits a shell-style pattern."""

    def read(self, paths: Iterable[str]) -> Iterator[Found]:
        """Yield the files, in any order; one that is not there (any more) is left out."""

    def where(self, path: str) -> str:
        """Return the whole path or URI of a record."""

    def interrupted(self) -> Iterator[Record]:
        """Yield what is to be said of runs that a killed session has left there without a record."""


def day_of(path: str) -> str:
    """Return the day in a record's path, ``YYYY-MM-DD`` or ``unknown``."""
    return path.partition("/")[0].partition("=")[2]


def is_wanted(day: str, since: date) -> bool:
    """Return whether a day's records are read: a name that is no day is not."""
    return day == UNKNOWN_DAY or (_DAY.fullmatch(day) is not None and day >= since.isoformat())


@dataclass(frozen=True)
class Folder:
    """A results folder of this machine."""

    name: str

    def paths(self, since: date, flow: str | None) -> list[str]:
        """Return the paths of all records, or what should be one; nothing is opened."""
        try:
            if not Path(self.name).is_dir():
                raise LocationMissing(f"{self.name} is not a folder")
            return list(self._paths(since, flow))
        except OSError as error:
            raise _unreadable(self.name, error) from error

    def _paths(self, since: date, flow: str | None) -> Iterator[str]:
        root = self._results
        if not root.is_dir():
            return
        for day in _folders(str(root), "dt="):
            if not is_wanted(day.name[3:], since):
                continue
            for each in _folders(day.path, "flow_id="):
                if flow is None or fnmatchcase(each.name.partition("=")[2], flow):
                    names = [run.name for run in _folders(each.path, "run_id=")]
                    yield from (f"{day.name}/{each.name}/{name}/{RECORD}" for name in names)

    def read(self, paths: Iterable[str]) -> Iterator[Found]:
        """Yield the files; the folder of a run that is being written has none yet."""
        root = str(self._results)
        for path in paths:
            try:
                with open(f"{root}/{path}", "rb") as file:  # noqa: PTH123 - half the time of Path, a hundred thousand times
                    content = file.read()
                    written = os.fstat(file.fileno()).st_mtime
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                continue
            except OSError as error:
                raise _unreadable(f"{root}/{path}", error) from error
            yield Found(path, content, written)

    def where(self, path: str) -> str:
        """Return the path of a record."""
        return str(self._results / path)

    def interrupted(self) -> Iterator[Record]:
        """Yield the records of runs on the ledger pages of processes that are gone."""
        return (entry.record for entry in abandoned(Path(self.name)))

    @property
    def _results(self) -> Path:
        return Path(self.name, "results")


def _folders(path: str, prefix: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if entry.name.startswith(prefix)]
    except (FileNotFoundError, NotADirectoryError):  # removed meanwhile, or a file of that name
        return []


def _unreadable(path: str, error: OSError) -> FileflowError:
    said = error.strerror or type(error).__name__
    kind = AccessDenied if isinstance(error, PermissionError) else StorageFailed
    return kind(f"{path} cannot be read: {said}")
