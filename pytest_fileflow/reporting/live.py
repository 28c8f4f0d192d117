"""A line below what pytest has written, that is redrawn and goes away, and never mixes with pytest's own output.

The cursor stays where pytest has left it. The line is drawn on the row below: the terminal makes
room, remembers the cursor, and takes it back. So whatever is written next stands in its place, and
all that is below it can be erased at any time.
"""

from __future__ import annotations

import functools
import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ERASE = "\x1b[J"  # from the cursor to the end of the screen
ROOM_BELOW = "\x1bD\x1b[A"  # a row down, which scrolls where there is none, and up again: the column stays
REMEMBER, BELOW, BACK = "\x1b7", "\r\x1b[B", "\x1b8"
FEWEST_COLUMNS, FEWEST_ROWS = 20, 3


class LiveLine:
    """The line, on a terminal (a file descriptor); pytest writes there with ``writer``, from any thread.

    ``compose`` returns the text for so many columns. With ``flushes``, what pytest has written is flushed
    before the line is drawn: not where its output is captured meanwhile, and flushed before anyway.
    """

    def __init__(self, writer: Any, terminal: int, *, flushes: bool):
        self._writer = writer
        self._terminal = terminal
        self._flushes = flushes
        self._lock = threading.RLock()
        self._text: Callable[[int], str] | None = None
        self._is_drawn = False
        self._is_writing = False
        self._before = {name: getattr(writer, name) for name in ("write", "write_raw") if hasattr(writer, name)}
        for name, write in self._before.items():
            setattr(writer, name, self._guard(write))

    def show(self, compose: Callable[[int], str]) -> None:
        """Draw the line, in place of the one before."""
        with self._lock:
            self._text = compose
            if self._flushes:
                self._writer.flush()
            self._draw()

    def show_again(self) -> None:
        """Draw the last line again, if there is one."""
        with self._lock:
            if self._text is not None:
                self._draw()

    def hide(self) -> None:
        """Erase the line; it can be drawn again."""
        with self._lock:
            if self._is_drawn:
                self._is_drawn = False
                self._put(ERASE)

    def clear(self) -> None:
        """Erase the line and forget it."""
        with self._lock:
            self._text = None
            self.hide()

    def close(self) -> None:
        """Erase the line, and let go of pytest's writer and the terminal."""
        with self._lock:
            self.clear()
            for name, write in self._before.items():
                setattr(self._writer, name, write)
            self._before = {}
            if self._terminal >= 0:
                os.close(self._terminal)
                self._terminal = -1

    def _guard(self, write: Callable[..., None]) -> Callable[..., None]:
        """Return a function of pytest's writer that finds the line erased, and leaves it drawn as it was."""

        @functools.wraps(write)
        def guarded(*arguments: Any, **more: Any) -> None:
            with self._lock:
                if self._is_writing or not self._is_drawn:
                    write(*arguments, **more)
                    return
                self._is_writing = True
                try:
                    self.hide()
                    write(*arguments, **more)
                    self._writer.flush()
                    self._draw()
                finally:
                    self._is_writing = False

        return guarded

    def _draw(self) -> None:
        columns, rows = self._size()
        if self._text is None or columns < FEWEST_COLUMNS or rows < FEWEST_ROWS or self._is_at_edge(columns):
            self.hide()
            return
        # A text that reached the last column would take some terminals to the next row.
        text = self._text(columns - 1)
        self._is_drawn = True
        self._put(f"{ERASE}{ROOM_BELOW}{REMEMBER}{BELOW}{text}{BACK}")

    def _is_at_edge(self, columns: int) -> bool:
        """Return whether a row is just full: where the cursor is then, terminals do not agree on."""
        width = int(self._writer.width_of_current_line)
        return width > 0 and width % columns == 0

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._terminal)
        except OSError:  # nobody looks any more
            return 0, 0
        return (size.columns, size.lines) if size.columns else (80, 24)

    def _put(self, text: str) -> None:
        try:
            os.write(self._terminal, text.encode("utf-8"))
        except OSError:  # as above: pytest's own writing fails too, and that is reported
            self._text = None
