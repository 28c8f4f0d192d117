"""Cuts a stream into whole lines, in blocks that are worth a look, with a bounded part of it in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_LINE = 16 * 1024 * 1024
TOO_LONG = f"is longer than {LONGEST_LINE // 1024**2} MiB"
_BLOCK = 64 * 1024  # looked at at once: a stream of single bytes costs no more than one of large chunks


class TooLong(Exception):
    """A line is longer than any that is kept."""


class Lines:
    """Cuts a stream after line ends; a line end between quotes is none (RFC 4180), where a ``quote`` is given."""

    def __init__(self, end: bytes = b"\n", quote: bytes | None = None):
        self._end = end
        self._quote = quote
        self._pieces: list[bytes] = []
        self._size = 0
        self._due = _BLOCK

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take the next bytes; yield whole lines, with their ends, once there are enough of them.

        Raises TooLong where a line is above LONGEST_LINE.
        """
        self._pieces.append(chunk)
        self._size += len(chunk)
        if self._size < self._due:
            return
        data = b"".join(self._pieces)
        cut = self._last_end(data)
        if cut:
            yield data[:cut]
        self._pieces, self._size = [data[cut:]], len(data) - cut
        if self._size > LONGEST_LINE:
            raise TooLong
        self._due = max(_BLOCK, 2 * self._size)  # or a long line would be joined and looked through for every chunk

    def rest(self) -> tuple[bytes, bytes]:
        """Return the whole lines that are left, and what stands after the last line end."""
        data = b"".join(self._pieces)
        cut = self._last_end(data)
        if len(data) - cut > LONGEST_LINE:
            raise TooLong
        return data[:cut], data[cut:]

    def _last_end(self, data: bytes) -> int:
        """Return the offset behind the last line end, which stands outside of quotes."""
        if self._quote is None or self._quote not in data:
            at = data.rfind(self._end)
            return at + len(self._end) if at >= 0 else 0
        # What is kept begins a line, so every other part stands outside of quotes, from the first on.
        parts, start = data.split(self._quote), len(data)
        for index in range(len(parts) - 1, -1, -1):
            start -= len(parts[index])
            at = -1 if index % 2 else parts[index].rfind(self._end)
            if at >= 0:
                return start + at + len(self._end)
            start -= len(self._quote)
        return 0
