"""What is wrong at which path of a document, in words that give no secret away."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

Path = tuple[str | int, ...]
"""The keys and indexes that lead from a document's root to a value."""

Mark = tuple[int, int]
"""A line and a column, both counted from 1."""

_SHOWN = 40
_LISTED = 12
_SECRETIVE = re.compile(
    r"pass(word|wd|phrase)|pwd|secret|token|private_?-?key|api_?-?key|credential|authorization|^url$|^headers$",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"(?<=:)[^:/@\s]+(?=@)")
_PLAIN_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


@dataclass(frozen=True)
class Finding:
    """Something wrong at a path of a document; ``at_key`` where the key is at fault and not its value.

    ``mark`` is given where the path alone does not lead to the position: a key that stands twice.
    """

    path: Path
    message: str
    at_key: bool = False
    mark: Mark | None = None


def path_text(path: Path) -> str:
    """Return a path as text.

    >>> path_text(("flows", 1, "source", "a b"))
    '$.flows[1].source["a b"]'
    """
    return "$" + "".join(_step(step) for step in path)


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_KEY.fullmatch(step) and len(step) <= _SHOWN else f"[{quoted(step)}]"


def quoted(text: str) -> str:
    """Return a text in double quotes, on one line, shortened, with nothing that a terminal acts on."""
    short = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return json.dumps(short, ensure_ascii=not short.isprintable())


def is_secretive(path: Path) -> bool:
    """Return whether a value at a path may be a secret, as far as the names on the way to it tell."""
    return any(isinstance(step, str) and _SECRETIVE.search(step) for step in path)


def shown(value: object, path: Path) -> str:
    """Return a value as a message may show it: shortened, and only its kind where it may be a secret."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        # The address of a webhook is a secret, wherever in the alerts it was put; that of Jira is none.
        is_address = "//" in value and "alerts" in path and path[-1] not in ("base_url", "instance_url")
        hidden = is_secretive(path) or is_address or value.lstrip().startswith("-----BEGIN")
        return "a string (not shown)" if hidden else quoted(_LOGIN.sub("…", value))
    text = repr(value)
    if is_secretive(path):
        return "a number (not shown)"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return how a message about an unknown name ends: the nearest known one, or the known ones."""
    names = sorted(known)
    near = nearest(name[:200], names)
    if near is not None:
        return f"; did you mean {quoted(near)}?"
    if not names:
        return ""
    more = ", …" if len(names) > _LISTED else ""
    return f"; known: {', '.join(names[:_LISTED])}{more}"
