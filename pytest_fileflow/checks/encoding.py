"""The check ``encoding``: a text's character set, byte order mark and line ends."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from pytest_fileflow.checks.decoding import decoded, decoder_for
from pytest_fileflow.checks.options import text
from pytest_fileflow.checks.words import count_text
from pytest_fileflow.model import CheckResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.checks.chain import Expected

_END = re.compile("\r\n|\n|\r")
_NAMES = {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}
_ENDS = {"lf": "\n", "crlf": "\r\n"}
_BOMS = {
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf-16-le": (codecs.BOM_UTF16_LE,),
    "utf-16-be": (codecs.BOM_UTF16_BE,),
}
_HEAD_BYTES = 3


def make(options: Mapping[str, object], expected: Expected) -> Encoding:  # noqa: ARG001 - as all checks are made
    """Return the check."""
    final_newline = options.get("final_newline")
    return Encoding(
        text(options, "charset") or "utf-8",
        text(options, "bom") or "any",
        text(options, "newline"),
        final_newline=final_newline if isinstance(final_newline, bool) else None,
    )


class Encoding:
    """Decodes a text, and remembers the first place that breaks a rule.

    ``newline`` is ``lf``, ``crlf``, ``any`` for one kind throughout, or None; with ``final_newline``
    the text must end with one, or must not.
    """

    def __init__(
        self,
        charset: str = "utf-8",
        bom: str = "any",
        newline: str | None = None,
        *,
        final_newline: bool | None = None,
    ):
        self._charset = charset
        self._bom = bom
        self._newline = newline
        self._final_newline = final_newline
        self._decoder = decoder_for(charset)
        self._end = _ENDS.get(newline or "")
        self._head = b""
        self._taken = 0
        self._lines = 0  # line ends so far
        self._held = ""  # a CR that may be the first half of a CRLF
        self._last = ""
        self._bad: str | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if self._bad is None and chunk:
            self._head += chunk[: _HEAD_BYTES - len(self._head)] if len(self._head) < _HEAD_BYTES else b""
            self._decode(chunk, final=False)

    def _decode(self, chunk: bytes, *, final: bool) -> None:
        found, fault = decoded(self._decoder, chunk, final=final)
        found = self._held + found
        self._held = "\r" if found.endswith("\r") and fault is None and not final else ""
        self._look(found.removesuffix(self._held))
        if fault is not None and self._bad is None:
            self._bad = f"not {self._charset} at offset {self._taken + fault} (line {self._lines + 1})"
        self._taken += len(chunk)

    def _look(self, found: str) -> None:
        """Look at the line ends of a text that does not begin or end within one."""
        pairs = found.count("\r\n")
        ends = {"\r\n": pairs, "\n": found.count("\n") - pairs, "\r": found.count("\r") - pairs}
        if self._newline is not None and any(ends.values()):
            self._judge(found, ends)
        self._lines += sum(ends.values())
        self._last = found[-1:] or self._last

    def _judge(self, found: str, ends: Mapping[str, int]) -> None:
        if self._end is None:  # any: the first one says which
            first = _END.search(found)
            self._end = first[0] if first else None
        if not any(number for end, number in ends.items() if end != self._end):
            return
        line, end = next(each for each in enumerate(_END.findall(found), self._lines + 1) if each[1] != self._end)
        self._bad = f"line {line} ends with {_NAMES[end]}, not {_NAMES[self._end or end]}"

    def result(self) -> CheckResult:
        """Return whether no rule is broken."""
        if self._bad is None:
            self._decode(b"", final=True)
        has_bom = self._head.startswith(_BOMS.get(self._charset, (codecs.BOM_UTF8,)))
        bad = self._bom_fault(has_bom=has_bom) or self._bad or self._final_fault()
        return CheckResult("encoding", bad is None, ", ".join(self._expected()), bad or self._observed(has_bom=has_bom))

    def _bom_fault(self, *, has_bom: bool) -> str | None:
        if has_bom and self._bom == "forbidden":
            return "begins with a byte order mark"
        return "begins without a byte order mark" if not has_bom and self._bom == "required" else None

    def _final_fault(self) -> str | None:
        ends = self._last in ("\n", "\r")
        if self._final_newline is None or not self._last or ends == self._final_newline:
            return None
        return "the last line has no line end" if self._final_newline else "the last line has a line end"

    def _expected(self) -> list[str]:
        words = [self._charset]
        words += [f"byte order mark {self._bom}"] if self._bom != "any" else []
        words += [_NAMES[_ENDS[self._newline]] if self._newline in _ENDS else "one kind of line end"][
            : bool(self._newline)
        ]
        if self._final_newline is not None:
            words.append(f"{'a' if self._final_newline else 'no'} line end at the end")
        return words

    def _observed(self, *, has_bom: bool) -> str:
        mark = " with a byte order mark" if has_bom else ""
        end = f", each with {_NAMES[self._end]}" if self._end and self._lines else ""
        return f"{self._charset}{mark}, {count_text(self._lines, 'line end')}{end}"
