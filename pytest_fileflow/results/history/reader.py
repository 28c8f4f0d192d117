"""Brings the rows of a place into the engine: from its rollup what was read before, from its records the rest."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pytest_fileflow.results.history.places import day_of
from pytest_fileflow.results.history.rows import row, row_of
from pytest_fileflow.results.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from pytest_fileflow.results.history.engine import Engine
    from pytest_fileflow.results.history.places import Place
    from pytest_fileflow.results.history.rollup import Rollup
    from pytest_fileflow.results.history.rows import Row


@dataclass
class Reader:
    """Reads places, and notes what is to be said of it."""

    engine: Engine
    skipped: int = 0
    example: str = ""
    unkept: str = ""
    _days: set[str] = field(default_factory=set)

    def notes(self) -> Iterator[str]:
        """Yield what the reader of the history should know, a line each."""
        if self.skipped:
            number = "1 file is" if self.skipped == 1 else f"{self.skipped} files are"
            yield f"{number} no record of a run and left out, as {self.example}"
        if self.unkept:
            yield f"the rollup is not kept, and the next reading takes as long: {self.unkept}"

    def read(self, place: Place, number: int, since: date, flow: str | None, rollup: Rollup | None) -> None:
        """Read a place; raises FileflowError.

        Only a reading of all flows keeps a rollup.
        """
        listed = place.paths(since, flow)
        known = self._recall(rollup, number, listed) if rollup else set()
        new = [path for path in listed if path not in known]
        changed = {day_of(path) for path in known.difference(listed)}
        self.engine.drop(number, known.difference(listed))
        self.engine.add(self._rows(place, new), number)
        if rollup and flow is None:
            self._keep(rollup, number, changed | self._days)
        self._days.clear()
        self.engine.add(self._interrupted(place, flow), number)

    def _recall(self, rollup: Rollup, number: int, listed: list[str]) -> set[str]:
        for path in rollup.files({day_of(each) for each in listed}):
            if not self.engine.load(path, number):
                with contextlib.suppress(OSError):  # it is made anew, or it is not: _keep says so
                    path.unlink()
        return self.engine.paths(number)

    def _rows(self, place: Place, paths: list[str]) -> Iterator[Row]:
        for found in place.read(paths):
            told = row_of(found.content, found.path, found.written)
            if told is None:
                self.skipped += 1
                self.example = self.example or plain(place.where(found.path))
                continue
            self._days.add(day_of(found.path))
            yield told

    def _interrupted(self, place: Place, flow: str | None) -> Iterator[Row]:
        for record in place.interrupted():
            told = row(record, "")
            if told and (flow is None or fnmatchcase(told["flow_id"], flow)):
                yield told

    def _keep(self, rollup: Rollup, number: int, days: set[str]) -> None:
        for day in sorted(days):
            try:
                half, path = rollup.prepare(day)
                try:
                    self.engine.save(half, number, day)
                    half.replace(path)
                finally:
                    half.unlink(missing_ok=True)
            except OSError as error:  # noqa: PERF203 - a month has thirty days
                self.unkept = f"{rollup.folder}: {error.strerror or error}"
                return
