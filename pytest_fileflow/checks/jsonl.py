"""The check ``jsonl``: every line is a JSON object, with the keys that it must have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

from pytest_fileflow.checks.lines import TOO_LONG, Lines, TooLong
from pytest_fileflow.checks.options import texts
from pytest_fileflow.checks.words import count_text
from pytest_fileflow.model import CheckResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_fileflow.checks.chain import Expected

_KINDS = {
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}
_BOM = "\ufeff"


def make(options: Mapping[str, object], expected: Expected) -> Jsonl:  # noqa: ARG001 - as all checks are made
    """Return the check."""
    return Jsonl(texts(options, "required"))


class _NoJson(ValueError):
    """A constant that Python reads and JSON does not have."""


def _refuse(name: str) -> NoReturn:
    raise _NoJson(f"{name} is no JSON")


# Numbers are only told apart from text: Python refuses whole numbers above 4300 digits.
_DECODER = json.JSONDecoder(parse_int=len, parse_constant=_refuse)


class Jsonl:
    """Reads every line by itself (jsonlines.org), and remembers where the first one is wrong."""

    def __init__(self, required: Sequence[str] = ()):
        self._required = frozenset(required)
        self._listed = ", ".join(required)
        self._lines = Lines()
        self._count = 0
        self._bad: str | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if self._bad is not None:
            return
        try:
            for block in self._lines.feed(chunk):
                self._look(block)
        except TooLong:
            self._bad = f"line {self._count + 1} {TOO_LONG}"

    def _look(self, block: bytes) -> None:
        for line in block.removesuffix(b"\n").split(b"\n"):
            fault = self._fault(line)
            self._count += 1
            if fault:
                self._bad = f"line {self._count}{fault}"
                return

    def _fault(self, line: bytes) -> str | None:
        """Return what is wrong with a line, to be put behind its number."""
        try:
            value = _DECODER.decode(line.decode())
        except UnicodeDecodeError as error:
            return f", byte {error.start + 1}: not UTF-8"
        except json.JSONDecodeError as error:
            return self._syntax(line.decode(), error)
        except _NoJson as error:
            return f": {error}"
        except RecursionError:
            return " nests too deep"
        if not isinstance(value, dict):
            return f" is {_KINDS[type(value)]}, not an object"
        missing = self._required - value.keys()
        return f" lacks {', '.join(sorted(missing))}" if missing else None

    def _syntax(self, line: str, error: json.JSONDecodeError) -> str:
        if not line.strip():
            return " is empty"
        if line.startswith(_BOM):
            return " begins with a byte order mark"
        return f", column {error.pos + 1}: {error.msg}"

    def result(self) -> CheckResult:
        """Return whether every line is an object."""
        self._finish()
        keys = f" with {self._listed}" if self._listed else ""
        observed = self._bad or f"{count_text(self._count, 'object')}{keys}"
        return CheckResult("jsonl", self._bad is None, f"a JSON object{keys} in every line", observed)

    def _finish(self) -> None:
        if self._bad is not None:
            return
        try:
            for piece in self._lines.rest():
                if piece and self._bad is None:
                    self._look(piece)
        except TooLong:
            self._bad = f"line {self._count + 1} {TOO_LONG}"
