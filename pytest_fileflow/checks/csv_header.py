"""The check ``csv_header``: the header's columns, and that every row has as many fields."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

from pytest_fileflow.checks.decoding import as_utf8
from pytest_fileflow.checks.lines import TOO_LONG, Lines, TooLong
from pytest_fileflow.checks.options import text, texts
from pytest_fileflow.checks.words import count_text
from pytest_fileflow.errors import ConfigInvalid
from pytest_fileflow.model import CheckResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_fileflow.checks.chain import Expected, StreamCheck

_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t|"
_SHOWN = 6


def make(options: Mapping[str, object], expected: Expected) -> StreamCheck:
    """Return the check; raises ConfigInvalid where nothing says what the columns are."""
    quote = text(options, "quotechar") or '"'
    own = expected.delimiter or max(_DELIMITERS, key=(expected.header or "").count)
    columns: Sequence[str] = texts(options, "columns")
    if not columns and expected.header is None:
        raise ConfigInvalid(
            "the check csv_header has nothing to compare with: the payload has no header, so name its columns"
        )
    if not columns:
        columns = _fields(expected.header or "", own, '"')
    return as_utf8(CsvHeader(columns, text(options, "delimiter") or own, quote), expected)


def _fields(line: str, delimiter: str, quote: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter, quotechar=quote), [])
    except csv.Error:  # a field above 128 KiB
        return []


class CsvHeader:
    """Holds the first row against the columns, and every row to as many fields (RFC 4180, 2.3 to 2.7).

    It works on bytes: in every encoding that CSV is met in but UTF-16, delimiters and quotes are
    what they are in ASCII. What was sent in UTF-16 is handed to it in UTF-8.
    """

    def __init__(self, columns: Sequence[str], delimiter: str = ",", quote: str = '"'):
        self._columns = list(columns)
        self._delimiter = delimiter.encode()
        self._quote = quote.encode()
        self._lines = Lines(quote=self._quote)
        self._patterns = _Patterns(self._delimiter, self._quote)
        self._rows = 0  # with the header
        self._line = 1
        self._bad: str | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if self._bad is None:
            try:
                for block in self._lines.feed(chunk):
                    self._look(block)
            except TooLong:
                self._bad = f"row {self._rows + 1} (line {self._line}) {TOO_LONG}"

    def _look(self, block: bytes) -> None:
        """Look at whole rows."""
        if not self._rows:
            block = block.removeprefix(_BOM)
            self._bad = self._header_fault(block)
        bare = self._patterns.without_quoted(block)
        delimiters = self._patterns.delimiters(bare)
        wanted = len(self._columns) - 1
        if self._bad is None and ({*map(len, delimiters)} != {wanted} or self._patterns.has_misplaced(bare)):
            self._bad = self._first_fault(block, bare)
        self._rows += len(delimiters)
        self._line += block.count(b"\n")

    def _header_fault(self, block: bytes) -> str | None:
        header = self._patterns.row.match(block)
        raw = header[0] if header else b""
        try:
            line = raw.decode()
        except UnicodeDecodeError:
            line = raw.decode("latin-1")
        found = _fields(line, self._delimiter.decode(), self._quote.decode())
        return None if found == self._columns else self._difference(found)

    def _difference(self, found: Sequence[str]) -> str:
        """Say how columns differ, and show none that is not known: they are what arrived."""
        missing = [column for column in self._columns if column not in found]
        others = sum(column not in self._columns for column in found)
        number = f"a header of {count_text(len(found), 'column')}"
        if not missing and not others and len(found) == len(self._columns):
            return f"{number}, in another order"
        parts = [f"without {_listed(missing)}"] if missing else []
        parts += [f"with {count_text(others, 'other')}"] if others else []
        return f"{number}, {' and '.join(parts) or 'some twice'}"

    def _first_fault(self, block: bytes, bare: bytes) -> str:
        """Return what is wrong with the first row that is not right."""
        rows, heights = bare.removesuffix(b"\n").split(b"\n"), self._patterns.heights(block)
        line = self._line
        for number, (row, height) in enumerate(zip(rows, heights, strict=True), self._rows + 1):
            place, fields = f"row {number} (line {line})", row.count(self._delimiter) + 1
            if fields != len(self._columns):
                return f"{place} has {count_text(fields, 'field')}, not {len(self._columns)}"
            if self._patterns.misplaced.search(row):
                return f"{place} has a quote within a field, which must stand twice in a quoted one (RFC 4180)"
            line += height
        raise AssertionError("no row is wrong")

    def result(self) -> CheckResult:
        """Return whether the header is right, and all rows have as many fields."""
        self._finish()
        shown = _listed(self._columns)
        expected = f"{count_text(len(self._columns), 'column')} ({shown}), and as many fields in every row"
        observed = f"{count_text(len(self._columns), 'column')}, and as many fields in {count_text(self._rows, 'row')}"
        return CheckResult("csv_header", self._bad is None, expected, self._bad or observed)

    def _finish(self) -> None:
        if self._bad is not None:
            return
        try:
            block, rest = self._lines.rest()
        except TooLong:
            self._bad = f"row {self._rows + 1} (line {self._line}) {TOO_LONG}"
            return
        for piece in (block, rest):
            if piece and self._bad is None:
                self._look_at_last(piece)
        if not self._rows and self._bad is None:
            self._bad = "no header: the file is empty"

    def _look_at_last(self, piece: bytes) -> None:
        if piece.count(self._quote) % 2:
            self._bad = f"row {self._rows + 1} (line {self._line}) has a quote that is never closed"
        else:
            self._look(piece)


def _listed(columns: Sequence[str]) -> str:
    more = ", …" if len(columns) > _SHOWN else ""
    return ", ".join(columns[:_SHOWN]) + more


class _Patterns:
    """The regular expressions of a delimiter and a quote."""

    def __init__(self, delimiter: bytes, quote: bytes):
        d, q = re.escape(delimiter), re.escape(quote)
        self._quote = quote
        self._before = {delimiter, b"\n"}
        self._behind = {delimiter, b"\n", b"\r"}
        self._others = bytes({*range(256)} - {*delimiter, *b"\n"})
        self._quoted = re.compile(rb"%b[^%b]*(?:%b%b[^%b]*)*%b" % (q, q, q, q, q, q))
        self.row = re.compile(rb"(?:[^%b\n]|%b[^%b]*%b)*" % (q, q, q, q))
        # Once every quoted text is a single quote: one that stands elsewhere than alone in a field.
        self.misplaced = re.compile(rb"(?<=[^%b\n])%b|%b(?=[^%b\r\n])" % (d, q, q, d))

    def without_quoted(self, block: bytes) -> bytes:
        """Return rows with a single quote in the place of each quoted text, so that every line is a row."""
        return self._quoted.sub(self._quote.replace(b"\\", rb"\\"), block) if self._quote in block else block

    def delimiters(self, bare: bytes) -> list[bytes]:
        """Return nothing but the delimiters of each row."""
        return bare.translate(None, self._others).removesuffix(b"\n").split(b"\n")

    def has_misplaced(self, bare: bytes) -> bool:
        """Return whether ``misplaced`` finds any, in a tenth of the time."""
        first, *within, last = parts if len(parts := bare.split(self._quote)) > 1 else (b"", b"")
        before = {part[-1:] for part in within} | {first[-1:] or b"\n"}
        behind = {part[:1] for part in within} | {last[:1] or b"\n"}
        return not (before <= self._before and behind <= self._behind)

    def heights(self, block: bytes) -> list[int]:
        """Return how many lines each row has."""
        marked = self._quoted.sub(lambda text: b"\0" * text[0].count(b"\n"), block.replace(b"\0", b""))
        return [1 + row.count(b"\0") for row in marked.removesuffix(b"\n").split(b"\n")]
