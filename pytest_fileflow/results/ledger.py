"""What a process has begun to write and not yet removed, on disk: so that a killed one leaves no riddle.

A run is entered before its first byte is sent and struck out once its record is written. What is
still there when its process is gone says which files may lie where. A process holds a lock on its
page as long as it lives, which no kill outlasts; process ids are given out again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import itertools
import json
import logging
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_fileflow.model import PayloadFile, Run
from pytest_fileflow.results.spool import Spool
from pytest_fileflow.results.store import is_there, record_path, turn, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_fileflow.results.record import Record

logger = logging.getLogger(__name__)

FOLDER = "ledger"
ORPHANS = "orphans"  # entries whose record is written, and whose files may still lie somewhere
ALIVE = "alive"  # the file of a page that its process holds a lock on
TRIES = 100  # to make a page that others, who find it empty, remove at the same moment


@dataclass(frozen=True)
class Entry:
    """A run that was begun: the node id of its item, and the run as it was before its first byte was sent.

    ``record`` is what is to be recorded if nobody can clean up after it.
    """

    node_id: str
    run: Run
    record: Record

    @property
    def named(self) -> Record:
        """Return as much of the run's record as says where it lies."""
        return {"run_id": self.run.run_id, "flow_id": self.run.flow_id, "timeline": dict(self.run.timeline)}


class _Alive:
    """The lock that a process holds on the page that it writes; only the operating system can take it away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handle: int | None = None

    def hold(self, page: Path, text: str) -> None:
        """Make the page, and hold the lock of a file with this text; raises OSError."""
        with self._lock:
            for _ in range(TRIES):
                if self._handle is not None:
                    return
                self._handle = _held(page, text)
            if self._handle is None:
                raise OSError(errno.EAGAIN, "the page does not stay there")

    def release(self) -> None:
        """Give the lock back."""
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def _held(page: Path, text: str) -> int | None:
    """Make a page and lock its file; return that, or None where whoever looks for dead pages has just removed it.

    Raises OSError; then nothing stays open, since its lock would stop this very process at the next try.
    """
    with contextlib.ExitStack() as undo:
        try:
            page.mkdir(parents=True, exist_ok=True)
            handle = os.open(page / ALIVE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            return None
        undo.callback(os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # others hold it for a moment only, to look
        except OSError as error:  # without locks nobody is ever taken for dead
            logger.info("%s cannot be locked: %s", page, error.strerror)
        if not is_there(page / ALIVE, handle):
            return None
        os.ftruncate(handle, 0)
        os.write(handle, text.encode("utf-8", "surrogateescape"))
        undo.pop_all()
    return handle


@dataclass(frozen=True)
class Ledger:
    """The page of one process, a folder of its own below ``<results>/ledger``.

    ``places`` are where the records of its runs are to go; whoever finds the page reads them with ``told_places``.

    A page that cannot be written costs the run nothing: a results folder that is out of order is
    reported with the run's record.
    """

    page: Path
    places: tuple[str, ...] = field(default=(), compare=False)
    _alive: _Alive = field(default_factory=_Alive, compare=False, repr=False)

    @classmethod
    def of(cls, results: Path, session: str, process: str, places: tuple[str, ...] = ()) -> Ledger:
        """Return the page of a process (``main``, ``gw0``) of a session."""
        return cls(results / FOLDER / f"{session}.{process}", places)

    @classmethod
    def all_of(cls, results: Path, session: str) -> list[Ledger]:
        """Return the pages of all processes of a session that left something."""
        return [cls(page) for page in sorted((results / FOLDER).glob(f"{session}.*"))]

    def open(self) -> None:
        """Let others see from now on that this page's process is alive; once is enough.

        Raises OSError where the results folder cannot be written.
        """
        self._alive.hold(self.page, json.dumps(self.places))

    def enter(self, entry: Entry) -> None:
        """Note a run."""
        run_id = entry.run.run_id
        try:
            self.open()
            write_whole(self._path(run_id), _text(entry))
        except OSError as error:
            logger.warning("run %s is not in the ledger: %s", run_id, error.strerror)

    def note_clean(self, entry: Entry) -> None:
        """Note, on the page of a process that is gone, that nothing is left of a run that nobody has recorded yet."""
        path = self._path(entry.run.run_id)
        with self.claimed() as is_mine:
            if is_mine and path.exists():
                write_whole(path, _text(dataclasses.replace(entry, record={**entry.record, "residue": []})))

    def strike(self, run_id: str) -> None:
        """Take a run out: its record is written."""
        with contextlib.suppress(OSError):  # enter has said why it is not there
            self._path(run_id).unlink(missing_ok=True)

    def retire(self, entry: Entry) -> None:
        """Take a run out whose record is written, and which nobody has cleaned up after.

        If it has left files, the entry goes to the orphans of the results folder: it knows their names.
        What lay in a sandbox has gone with it.
        """
        run_id = entry.run.run_id
        if entry.record.get("residue") and not entry.record.get("sandbox"):
            orphans = self.page.parents[1] / ORPHANS / self.page.name
            try:
                orphans.mkdir(parents=True, exist_ok=True)
                self._path(run_id).replace(orphans / f"{run_id}.json")
            except FileNotFoundError:  # somebody else was faster
                return
            except OSError as error:
                logger.warning("run %s stays in the ledger: %s", run_id, error.strerror)
                return
        self.strike(run_id)

    def entries(self) -> Iterator[Entry]:
        """Yield what is left of it, oldest first; its process may be striking out the last ones."""
        found = []
        for path in self.page.glob("*.json"):
            try:
                told = json.loads(path.read_text(encoding="utf-8"))
                record: Record = {"run_id": told["run"]["run_id"], **told["record"]}
                found.append((path.stat().st_mtime, Entry(told["node_id"], _run(told["run"]), record)))
            except FileNotFoundError:  # noqa: PERF203 - a few entries
                continue
            except (OSError, ValueError, LookupError, TypeError) as error:
                logger.warning("%s cannot be read: %s", path, type(error).__name__)
        for _, entry in sorted(found, key=lambda entry: entry[0]):
            yield entry

    def close(self) -> None:
        """Remove the page if nothing is left on it; its process writes there no more."""
        if not any(self.page.glob("*.json")):
            for rest in (*self.page.glob(".*.part"), self.page / ALIVE):
                with contextlib.suppress(OSError):
                    rest.unlink(missing_ok=True)
        self._alive.release()
        for folder in (self.page, self.page.parent):
            with contextlib.suppress(OSError):  # not empty, or never made
                folder.rmdir()

    def told_places(self) -> tuple[str, ...]:
        """Return where its process wanted its records, as it was written down; none where that cannot be told."""
        try:
            told = json.loads((self.page / ALIVE).read_text(encoding="utf-8", errors="surrogateescape"))
        except (OSError, ValueError):
            return ()
        return tuple(place for place in told if isinstance(place, str)) if isinstance(told, list) else ()

    def claimed(self) -> AbstractContextManager[bool]:
        """Hold the page of a process that is gone; False where it lives after all, or somebody else is settling it."""
        return turn(self.page / ALIVE)

    def is_alive(self) -> bool:
        """Return whether the process of the page is; where that cannot be known, it is taken to be."""
        try:
            handle = os.open(self.page / ALIVE, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # the file is there before the first entry is
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(handle)
        return False

    def _path(self, run_id: str) -> Path:
        return self.page / f"{run_id}.json"


def dead_pages(results: Path) -> list[Ledger]:
    """Return the pages of sessions of which no process is left, oldest first.

    A session that still goes on takes care of the pages of processes that it has lost.
    """
    pages = sorted(path for path in (results / FOLDER).glob("*.*") if path.is_dir())
    dead = []
    for _, of_session in itertools.groupby(pages, key=lambda page: page.name.partition(".")[0]):
        ledgers = [Ledger(page) for page in of_session]
        if not any(ledger.is_alive() for ledger in ledgers):
            dead += ledgers
    return dead


def abandoned(results: Path) -> Iterator[Entry]:
    """Yield the runs that killed sessions have left without a record; ``record`` says that they were interrupted."""
    for page in dead_pages(results):
        for entry in page.entries():
            if not is_recorded(results, entry):
                yield entry


def is_recorded(results: Path, entry: Entry) -> bool:
    """Return whether a run's record lies in the results folder, or waits there for its store.

    Its process was killed before it struck the run out.
    """
    return (results / record_path(entry.named)).exists() or Spool.of(results).holds(entry.run.run_id)


def _text(entry: Entry) -> bytes:
    told = {"node_id": entry.node_id, "run": _plain(entry.run), "record": entry.record}
    return json.dumps(told).encode("utf-8", "replace")


def _plain(run: Run) -> dict[str, Any]:
    kept = ("run_id", "flow_id", "case", "direction", "attempt")
    return {
        **{name: getattr(run, name) for name in kept},
        "file": dataclasses.asdict(run.file),
        "timeline": dict(run.timeline),
        "written": run.written,
    }


def _run(told: dict[str, Any]) -> Run:
    written = tuple((side, name) for side, name in told.pop("written"))
    return Run(**{**told, "file": PayloadFile.from_dict(told["file"])}, written=written)
