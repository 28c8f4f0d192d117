"""The check ``rows``: how many rows a file has, its header apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.checks.decoding import as_utf8
from pytest_fileflow.checks.options import whole_number
from pytest_fileflow.checks.words import by_how_much, count_text
from pytest_fileflow.errors import ConfigInvalid
from pytest_fileflow.model import CheckResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.checks.chain import Expected, StreamCheck

_QUOTE = b'"'


def make(options: Mapping[str, object], expected: Expected) -> StreamCheck:
    """Return the check; raises ConfigInvalid where nothing says how many rows are right."""
    has_header = options.get("header", expected.header is not None)
    is_csv = expected.header is not None if expected.is_csv is None else expected.is_csv
    form = options.get("format", "csv" if is_csv else "lines")
    least, most = whole_number(options, "min"), whole_number(options, "max")
    if least is None and most is None:
        least = most = whole_number(options, "equals")
        if least is None:
            least = most = expected.rows
    if least is None and most is None:
        raise ConfigInvalid(
            "the check rows has nothing to compare with: the payload has no rows, so name equals, min or max"
        )
    return as_utf8(Rows(least, most, has_header=bool(has_header), is_quoted=form == "csv"), expected)


class Rows:
    """Counts line ends; in CSV only those outside of quotes (RFC 4180, 2.6). A last row needs no line end."""

    def __init__(self, least: int | None, most: int | None, *, has_header: bool = False, is_quoted: bool = False):
        self._least = least
        self._most = most
        self._has_header = has_header
        self._is_quoted = is_quoted
        self._ends = 0
        self._in_quotes = False
        self._last = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if not chunk:
            return
        self._last = chunk[-1:]
        if not self._is_quoted or _QUOTE not in chunk:
            self._ends += 0 if self._in_quotes else chunk.count(b"\n")
            return
        parts = chunk.split(_QUOTE)
        self._ends += b"".join(parts[self._in_quotes :: 2]).count(b"\n")
        self._in_quotes ^= len(parts) % 2 == 0

    def result(self) -> CheckResult:
        """Return whether there are as many rows as there should be."""
        lines = self._ends + (self._last not in (b"", b"\n") or self._in_quotes)
        rows = max(lines - self._has_header, 0)
        passed = (self._least is None or rows >= self._least) and (self._most is None or rows <= self._most)
        observed = f"{count_text(rows, 'row')}{by_how_much(self._off(rows))}"
        if self._in_quotes:
            return CheckResult("rows", False, self._expected(), f"{observed}, and a quote that is never closed")
        return CheckResult("rows", passed, self._expected(), observed)

    def _off(self, rows: int) -> int:
        if self._least is not None and rows < self._least:
            return rows - self._least
        return rows - self._most if self._most is not None and rows > self._most else 0

    def _expected(self) -> str:
        beside = " beside the header" if self._has_header else ""
        if self._least == self._most and self._least is not None:
            return f"{count_text(self._least, 'row')}{beside}"
        if self._most is None:
            return f"at least {count_text(self._least or 0, 'row')}{beside}"
        return (
            f"{f'{self._least} to' if self._least is not None else 'at most'} {count_text(self._most, 'row')}{beside}"
        )
