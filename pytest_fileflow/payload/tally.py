"""Counts the records of a file of rows as it is made, and keeps its first line."""

from __future__ import annotations

import codecs

HEADER_BYTES = 256 * 1024  # of the first line are kept
_TWO_BYTES = "utf-16-le"


class Tally:
    """Records of a text with one a line, fed in blocks; newlines between quotes end none where ``quotes`` count.

    ``has_header``: the first line is no record.
    """

    def __init__(self, *, has_header: bool, quotes: bool, encoding: str = "utf-8"):
        self._has_header = has_header
        self._quotes = quotes
        self._encoding = encoding
        # In all others, the bytes of quotes and newlines are never part of anything else.
        self._decoder = codecs.getincrementaldecoder(_TWO_BYTES)("replace") if encoding == _TWO_BYTES else None
        self._is_quoted = False
        self._lines = 0
        self._is_open = False  # whether something follows the last newline
        self._first = b""

    def feed(self, block: bytes) -> None:
        """Take the next bytes."""
        if self._decoder is not None:
            block = self._decoder.decode(block).encode("utf-8", "replace")
        if not block:
            return
        if not self._lines and len(self._first) < HEADER_BYTES:
            self._first += block[:HEADER_BYTES]
        self._lines += self._newlines(block)
        self._is_open = not block.endswith(b"\n")

    def _newlines(self, block: bytes) -> int:
        if not self._quotes:
            return block.count(b"\n")
        pieces = block.split(b'"')
        outside = sum([piece.count(b"\n") for piece in pieces[1 if self._is_quoted else 0 :: 2]])
        self._is_quoted ^= len(pieces) % 2 == 0
        return outside

    @property
    def rows(self) -> int:
        """Return how many records were fed."""
        lines = self._lines + self._is_open
        return lines - (self._has_header and lines > 0)

    @property
    def header(self) -> str | None:
        """Return the first line, without byte order mark and line end; None where it is a record."""
        if not self._has_header or not self._first:
            return None
        line = self._first.partition(b"\n")[0].removesuffix(b"\r")
        encoding = self._encoding if self._decoder is None else "utf-8"
        return line.decode(encoding, "replace").removeprefix("\ufeff")
