"""The check ``fixedwidth``: every record is as long as all others, and ends as it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.checks.decoding import decoded, decoder_for
from pytest_fileflow.checks.options import text, whole_number
from pytest_fileflow.checks.words import count_text
from pytest_fileflow.model import CheckResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.checks.chain import Expected

_ENDS = {"lf": "\n", "crlf": "\r\n", "none": ""}
_NAMES = {"\n": "LF", "\r\n": "CRLF"}


def make(options: Mapping[str, object], expected: Expected) -> FixedWidth:  # noqa: ARG001 - as all checks are made
    """Return the check."""
    end = _ENDS[text(options, "newline") or "lf"]
    record_bytes = whole_number(options, "record_bytes")
    if record_bytes is not None:
        # In bytes each character of latin-1 is one, so that records of bytes are looked at like those of text.
        return FixedWidth(record_bytes - len(end), end, "latin-1", is_bytes=True)
    return FixedWidth(whole_number(options, "width") or 0, end, text(options, "encoding") or "utf-8")


class FixedWidth:
    """Measures records of ``width`` characters and their line ends.

    With ``is_bytes`` they are bytes, and the last record ends like the others; a line of text may go
    without an end at the end of the file.
    """

    def __init__(self, width: int, end: str, charset: str, *, is_bytes: bool = False):
        self._width = width
        self._end = end
        self._charset = charset
        self._decoder = decoder_for(charset)
        self._is_bytes = is_bytes
        self._unit = "byte" if is_bytes else "character"
        self._rest = ""
        self._count = 0
        self._bad: str | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if self._bad is None:
            self._decode(chunk, final=False)

    def _decode(self, chunk: bytes, *, final: bool) -> None:
        found, fault = decoded(self._decoder, chunk, final=final)
        self._rest += found
        self._look()
        if fault is not None and self._bad is None:
            self._bad = f"record {self._count + 1} is not {self._charset}"

    def _look(self) -> None:
        """Look at whole records; what is left is shorter than one."""
        number, rest = divmod(len(self._rest), self._width + len(self._end))
        cut = len(self._rest) - rest
        block, self._rest = self._rest[:cut], self._rest[cut:]
        lines = block.split(self._end) if self._end else []
        if lines and (len(lines) != number + 1 or any(len(line) != self._width for line in lines[:-1])):
            self._bad = self._fault(block)
        self._count += number

    def _fault(self, block: str) -> str:
        """Return what is wrong with the first record that is not as it should be."""
        length = self._width + len(self._end)
        records = (block[start : start + length] for start in range(0, len(block), length))
        number, record = next(each for each in enumerate(records, 1) if each[1].find(self._end) != self._width)
        return f"record {self._count + number} {self._wrong(record)}"

    def _wrong(self, record: str) -> str:
        if self._end in record:
            return f"has {self._measure(record.find(self._end))}, not {self._width}"
        if self._end == "\r\n" and "\n" in record[: self._width + 1]:
            return "ends with LF, not CRLF"
        if record[self._width :] == "\r":
            return "ends with CR, not LF"
        return f"has more than {self._measure(self._width)}"

    def _measure(self, length: int) -> str:
        return count_text(length, self._unit)

    def result(self) -> CheckResult:
        """Return whether all records are equally long."""
        if self._bad is None:
            self._decode(b"", final=True)
        if self._bad is None and self._rest:
            self._finish()
        end = f" and {_NAMES[self._end]}" if self._end else ""
        expected = f"records of {self._measure(self._width)}{end}"
        return CheckResult("fixedwidth", self._bad is None, expected, self._bad or count_text(self._count, "record"))

    def _finish(self) -> None:
        """Judge what follows the last whole record."""
        content = self._rest.split(self._end, 1)[0] if self._end else self._rest
        fits = len(content) == self._width
        if fits and content == self._rest and not self._is_bytes:
            self._count += 1
            return
        fault = f"has no {_NAMES[self._end]}" if fits else f"has {self._measure(len(content))}, not {self._width}"
        self._bad = f"record {self._count + 1}, the last, {fault}"
