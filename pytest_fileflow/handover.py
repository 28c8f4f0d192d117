"""The folder in which xdist's workers leave files for the controller, and it leaves word for them.

Through files, and not through xdist: a controller that is interrupted no longer listens.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

WORKERS_CLEAN_UP_SECONDS = 60
STOP = "stop"  # the file that tells workers to end what they have under way


class Handover:
    """A session's folder; it is made when the first file is left there.

    Kinds of files are ``pid`` (the worker runs flows), ``json`` (it has cleaned up: reports that no
    item has taken), ``faults``, ``missed`` (members of groups that are not there), ``cost`` (of the
    selected flows), ``progress`` and ``alerts`` (who wants to hear of which flow).
    """

    def __init__(self, folder: Path):
        self.folder = folder

    @classmethod
    def fresh(cls) -> Handover:
        """Return a session's own."""
        return cls(Path(tempfile.gettempdir(), f"fileflow-{os.urandom(8).hex()}"))

    def leave(self, worker: str, kind: str, text: str) -> None:
        """Leave a worker's file of a kind, in place of the one before; only its own user may read it."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.replace(worker, kind, text)

    def replace(self, worker: str, kind: str, text: str) -> None:
        """Leave a file as ``leave`` does, but only as long as the folder is there; raises OSError."""
        fresh = self.folder / f"{worker}.{kind}.part"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.folder / f"{worker}.{kind}")

    def left(self, kind: str) -> dict[str, str]:
        """Return what workers have left, by worker."""
        return {path.stem: path.read_text(encoding="utf-8") for path in sorted(self.folder.glob(f"*.{kind}"))}

    def stop(self) -> None:
        """Tell workers to end what they have under way."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        (self.folder / STOP).touch()

    def is_stopped(self) -> bool:
        """Return whether workers are told to end what they have under way."""
        return (self.folder / STOP).exists()

    def wait_for_workers(self, *, interrupt: bool) -> None:
        """Let workers clean up, before xdist ends them after its own ten seconds.

        ``interrupt`` sends them Ctrl-C first, for a signal that has reached the controller alone.
        """
        workers = {self.folder / f"{worker}.json": int(process) for worker, process in self.left("pid").items()}
        if interrupt:
            for process in workers.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGINT)
        deadline = time.monotonic() + WORKERS_CLEAN_UP_SECONDS
        while time.monotonic() < deadline and any(_is_busy(*worker) for worker in workers.items()):
            time.sleep(0.05)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_busy(done: Path, process: int) -> bool:
    if done.exists():
        return False
    try:
        if hasattr(os, "waitid"):  # not on macOS before Python 3.13
            return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        os.kill(process, 0)
    except (ChildProcessError, ProcessLookupError):
        return False
    return True
