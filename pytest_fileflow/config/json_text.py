"""Reads JSON with positions, and says what is wrong with text that is no JSON."""

from __future__ import annotations

import bisect
import json
import math
import re
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config.findings import Finding, quoted
from pytest_fileflow.config.places import Document, Place, Unparsed, unparsed
from pytest_fileflow.config.reading import JSON_TOKEN, MAX_DEPTH, MAX_DIGITS, SURROGATE, deep_json_offset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_fileflow.config.findings import Mark, Path

_TRAILING_COMMA = re.compile(r",\s*([}\]])")
_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}


def read_json(text: str) -> Document | Unparsed:
    """Return a JSON text's value with the position of every part of it."""
    lines = _Lines(text)
    deep = deep_json_offset(text)
    if deep is not None:
        return unparsed(text, f"is nested deeper than {MAX_DEPTH} levels", lines.mark(deep))
    try:
        json.loads(text, parse_int=len, parse_float=len, parse_constant=len)
    except json.JSONDecodeError as error:
        message, offset = _syntax(text, error)
        return unparsed(text, message, lines.mark(offset))
    return _Scanner(text, lines).document()


class _Lines:
    """Turns an offset into a line and a column."""

    def __init__(self, text: str):
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def mark(self, offset: int) -> Mark:
        line = bisect.bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


class _Scanner:
    """Walks over the tokens of a text that is known to be JSON."""

    def __init__(self, text: str, lines: _Lines):
        self._tokens: Iterator[tuple[str, Mark]] = (
            (match[0], lines.mark(match.start())) for match in JSON_TOKEN.finditer(text)
        )
        self._document = Document()

    def document(self) -> Document:
        self._document.value = self._value((), *next(self._tokens))
        return self._document

    def _value(self, path: Path, lexeme: str, mark: Mark, key: Mark | None = None) -> Any:
        self._document.places[path] = Place(mark, key)
        if lexeme == "{":
            return self._object(path)
        if lexeme == "[":
            return self._array(path)
        return self._scalar(path, lexeme)

    def _object(self, path: Path) -> dict[str, Any]:
        value: dict[str, Any] = {}
        seen: dict[str, Mark] = {}
        for lexeme, mark in self._tokens:
            if lexeme == "}":
                break
            if lexeme == ",":
                continue
            key = json.loads(lexeme, strict=False)
            self._check_key(path, key, mark, seen)
            key = SURROGATE.sub("\ufffd", key)
            next(self._tokens)  # the colon
            value[key] = self._value((*path, key), *next(self._tokens), key=mark)
        return value

    def _check_key(self, path: Path, key: str, mark: Mark, seen: dict[str, Mark]) -> None:
        if key in seen:
            message = f"the key {quoted(key)} stands twice: first in line {seen[key][0]}"
            self._find((*path, key), message, mark, at_key=True)
        elif SURROGATE.search(key):
            self._find((*path, key), "the key holds half of a Unicode surrogate pair", mark)
        seen.setdefault(key, mark)

    def _array(self, path: Path) -> list[Any]:
        value: list[Any] = []
        for lexeme, mark in self._tokens:
            if lexeme == "]":
                break
            if lexeme != ",":
                value.append(self._value((*path, len(value)), lexeme, mark))
        return value

    def _scalar(self, path: Path, lexeme: str) -> Any:
        if lexeme in ("NaN", "Infinity", "-Infinity"):
            self._find(path, f"{lexeme} is no JSON number")
            return None
        if len(lexeme) > MAX_DIGITS and lexeme[0] != '"':
            self._find(path, f"the number has more than {MAX_DIGITS} digits")
            return None
        value = json.loads(lexeme)
        if isinstance(value, float) and not math.isfinite(value):
            self._find(path, "the number is too large")
            return None
        if isinstance(value, str) and SURROGATE.search(value):
            self._find(path, "the string holds half of a Unicode surrogate pair")
            return ""
        return value

    def _find(self, path: Path, message: str, mark: Mark | None = None, *, at_key: bool = False) -> None:
        self._document.findings.append(Finding(path, message, at_key, mark))


def _syntax(text: str, error: json.JSONDecodeError) -> tuple[str, int]:
    """Return what is wrong in one clause, and at which offset; the same over all versions of Python."""
    offset = error.pos
    # Python 3.13 points at a trailing comma, earlier ones at what follows it
    before = offset if text[offset : offset + 1] == "," else len(text[:offset].rstrip()) - 1
    trailing = _TRAILING_COMMA.match(text, max(before, 0))
    if trailing is not None:
        return f'the comma before the closing "{trailing[1]}" must go', trailing.start()
    rest = text[offset:]
    if not rest.strip():
        return _at_end(text), max(len(text.rstrip()) - 1, 0)
    return _at_token(error, rest), error.pos


def _at_end(text: str) -> str:
    if not text.strip():
        return "the file is empty: a flow has at least flow_id, source and target"
    open_brackets: list[str] = []
    for match in JSON_TOKEN.finditer(text):
        if match[0] in "[{":
            open_brackets.append(match[0])
        elif match[0] in "]}" and open_brackets:
            open_brackets.pop()
    if not open_brackets:
        return "the file ends too early"
    return f'the file ends too early: a closing "{"}" if open_brackets[-1] == "{" else "]"}" is missing'


def _at_token(error: json.JSONDecodeError, rest: str) -> str:
    word = re.match(r"[A-Za-z_]+", rest)
    if rest.startswith(("//", "/*", "#")):
        return 'JSON has no comments: use a key that starts with "x-", or YAML'
    if rest.startswith("'"):
        return "JSON takes double quotes, not single ones"
    if word and word[0] in _PYTHON_WORDS:
        return f"write {_PYTHON_WORDS[word[0]]} instead of {word[0]}"
    return next((text for start, text in _DECODER_SAYS if error.msg.startswith(start)), "this is not JSON")


_DECODER_SAYS = (
    ("Expecting ',' delimiter", "a comma or a closing bracket is missing before this"),
    ("Expecting ':' delimiter", 'a ":" is missing after the key'),
    ("Expecting property name", "a key in double quotes is missing here"),
    (
        "Expecting value",
        "a value is missing here: a string in double quotes, a number, true, false, null, { or [",
    ),
    ("Extra data", "the config ends before this: several flows stand in a list under one key, flows"),
    ("Unterminated string", "the string that begins here has no closing quote"),
    (
        "Invalid control character",
        "a string must stand on one line: write \\n or \\t for a line break or a tab",
    ),
    ("Invalid \\", "unknown escape: write a backslash as \\\\"),
)
