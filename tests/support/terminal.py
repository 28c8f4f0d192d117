"""A program on a terminal of its own, and what the screen shows, line by line."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

import pyte

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Terminal:
    """Runs a command on a pseudo-terminal; ``raw`` is every byte that it has written."""

    def __init__(self, command: Sequence[str], folder: Path, *, columns: int = 80, rows: int = 40, **env: str):
        self.screen = pyte.HistoryScreen(columns, rows, history=1000, ratio=0.5)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self._own, other = pty.openpty()
        self.resize(columns, rows)
        kept = {name: value for name, value in os.environ.items() if name not in ("CI", "COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**kept, "TERM": "xterm", **env},
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._own)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._own, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    @property
    def lines(self) -> list[str]:
        """Return the screen's lines, and before them those that have left it at the top."""
        gone = ["".join(line[column].data for column in range(self.screen.columns)) for line in self.screen.history.top]
        lines = [line.rstrip() for line in (*gone, *self.screen.display)]
        while lines and not lines[-1]:
            lines.pop()
        return lines or [""]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def until(self, condition: Callable[[list[str]], bool], what: str, seconds: float = 300) -> list[str]:
        """Read until the screen is as it shall be; return its lines."""
        deadline = time.monotonic() + seconds
        while not condition(self.lines):
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self.text}"
            assert self._read(), f"the program has ended before: {what}\n{self.text}"
        return self.lines

    def ctrl_c(self) -> None:
        """Do what the terminal does with Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def finish(self, seconds: float = 300) -> int:
        """Read to the end; return the exit status."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, f"not over within {seconds} s\n{self.text}"
        return self.process.wait(seconds)

    def _read(self) -> bool:
        """Feed the screen what there is; return whether there may be more."""
        if not select.select([self._own], [], [], 0.1)[0]:
            return True
        try:
            content = os.read(self._own, 65536)
        except OSError:  # nobody has the other end open
            return False
        self.raw += content
        self._stream.feed(content)
        return bool(content)
