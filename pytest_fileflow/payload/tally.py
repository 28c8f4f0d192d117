"""Counts the records of a file of rows as it is made, and keeps its first line."""

from __future__ import annotations

import codecs

HEADER_CHARACTERS = 64 * 1024  # of the first line are kept


class Tally:
    """Records of a text with one a line, fed in blocks; newlines between quotes end none where ``quotes`` count.

    ``has_header``: the first line is no record.
    """

    def __init__(self, *, has_header: bool, quotes: bool, encoding: str = "utf-8"):
        self._has_header = has_header
        self._quotes = quotes
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._is_quoted = False
        self._lines = 0
        self._is_open = False  # whether something follows the last newline
        self._first = ""

    def feed(self, block: bytes) -> None:
        """Take the next bytes."""
        text = self._decoder.decode(block)
        if not text:
            return
        if not self._lines and len(self._first) < HEADER_CHARACTERS:
            self._first += text[:HEADER_CHARACTERS]
        self._lines += self._newlines(text)
        self._is_open = not text.endswith("\n")

    def _newlines(self, text: str) -> int:
        if not self._quotes:
            return text.count("\n")
        pieces = text.split('"')
        outside = sum([piece.count("\n") for piece in pieces[1 if self._is_quoted else 0 :: 2]])
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
        return self._first.removeprefix("\ufeff").partition("\n")[0].removesuffix("\r")
