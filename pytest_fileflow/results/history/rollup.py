"""What was read of a place before, a parquet file a day: derived, and made again where it is missing.

A record is never changed, so that a path that a rollup knows need not be read again.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_fileflow.caches import cache_folder
from pytest_fileflow.results.history.rows import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

# Another shape of the rows is another folder.
SHAPE: Final = hashlib.sha256(repr(tuple(COLUMNS.items())).encode()).hexdigest()[:8]


def default_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder for all rollups of this user; None for one who has no home, as in some containers."""
    return cache_folder("history", environment)


@dataclass(frozen=True)
class Rollup:
    """The files of one place, in a folder of its own that only this user can read."""

    folder: Path

    @classmethod
    def of(cls, folder: Path, place: str) -> Rollup:
        """Return the rollup of a place among others."""
        return cls(folder / f"{SHAPE}-{hashlib.sha256(place.encode('utf-8', 'replace')).hexdigest()[:24]}")

    def files(self, days: Collection[str]) -> list[Path]:
        """Return the files that are there for some days."""
        return [path for path in map(self._file, sorted(days)) if path.is_file()]

    def prepare(self, day: str) -> tuple[Path, Path]:
        """Return where to write a day's file first, and the name to give it then; raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._file(day)
        return path.with_name(f".{path.name}.{os.getpid()}.part"), path

    def _file(self, day: str) -> Path:
        return self.folder / f"{day}.parquet"
