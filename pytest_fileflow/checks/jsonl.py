"""The check ``jsonl``: every line is a JSON object, with the keys that it must have."""

from __future__ import annotations

import json
import secrets
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


_TOKEN = secrets.token_hex(16)
_BETWEEN = f',"{_TOKEN}",'
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
        lines = block.removesuffix(b"\n").split(b"\n")
        if self._are_right(lines):
            self._count += len(lines)
            return
        for line in lines:
            fault = self._fault(line)
            self._count += 1
            if fault:
                self._bad = f"line {self._count}{fault}"
                return

    def _are_right(self, lines: Sequence[bytes]) -> bool:
        """Return whether all lines are right, as far as they can be read at once, which is much faster.

        Between them stands a text that none of them can hold, or parts of lines might make up an object.
        """
        try:
            values = _DECODER.decode(f"[{_BETWEEN.join(line.decode() for line in lines)}]")
        except (ValueError, RecursionError):
            return False
        objects = values[::2]
        return (
            len(objects) == len(lines)
            and values[1::2] == [_TOKEN] * (len(lines) - 1)
            and all(isinstance(value, dict) and self._required <= value.keys() for value in objects)
        )

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
