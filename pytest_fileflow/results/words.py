"""What others said, made fit to be kept and shown: in plain letters, and never longer than it is useful."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SENTENCE_LETTERS = 2000  # of a reason or a hint, and of what a check says
EVIDENCE_LETTERS = 8000  # of one text in the evidence; Lambda's own log tail has at most 4 KiB
EVIDENCE_ITEMS = 100  # of one list


def plain(text: str) -> str:
    """Return a text with control characters written out: what a server or a log says must not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def sentence(text: str) -> str:
    """Return a text as one plain line, cut where it is too long."""
    return cut(plain(text), SENTENCE_LETTERS)


def cut(text: str, letters: int) -> str:
    """Return a text with its middle left out where it is too long, and how much that was.

    >>> cut("abcdefgh", 4)
    'ab … 4 characters left out … gh'
    """
    if len(text) <= letters:
        return text
    half = letters // 2
    return f"{text[:half]} … {len(text) - 2 * half} characters left out … {text[-half:]}"


def plain_json(value: object) -> object:
    """Return anybody's value as plain JSON: what JSON has no form for becomes a text."""
    if isinstance(value, Mapping):
        return {str(name): plain_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def bounded(value: object) -> object:
    """Return a JSON value whose texts and lists are no longer than is useful as evidence."""
    if isinstance(value, str):
        return cut(value, EVIDENCE_LETTERS)
    if isinstance(value, list):
        kept = [bounded(item) for item in value[:EVIDENCE_ITEMS]]
        more = len(value) - len(kept)
        return [*kept, f"… and {more} more"] if more else kept
    if isinstance(value, dict):
        return {name: bounded(item) for name, item in value.items()}
    return value


def encodable(value: object) -> object:
    """Return a JSON value that can be written as UTF-8: half a character, as in a file name of old, is written out."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, list):
        return [encodable(item) for item in value]
    if isinstance(value, dict):
        return {str(encodable(name)): encodable(item) for name, item in value.items()}
    return value


def evidence_lines(evidence: Mapping[str, object]) -> Iterator[tuple[str, list[str]]]:
    """Return each piece of evidence by its name, as plain lines."""
    for name, value in evidence.items():
        yield plain(name), [plain(line.expandtabs()) for line in _lines(value)] or ["(empty)"]


def _lines(value: object) -> list[str]:
    if isinstance(value, list):
        return [item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in value]
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, indent=2).splitlines()
    return str(value).splitlines()
