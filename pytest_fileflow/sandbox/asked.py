"""Reads payloads backwards: which file an event asks for that was made from a flow's template."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
_HOLDS_NAME = frozenset(
    {"file.name"} | {f"{side}.{field}" for side in ("source", "target") for field in ("uri", "key", "path")}
)


def file_in(template: object, event: object) -> str | None:
    """Return the plain name that stands in an event where its template has the file's name, key, path or URI.

    >>> file_in({"id": "x", "key": "in/${file.name}"}, {"id": "x", "key": "in/a.csv"})
    'a.csv'
    >>> file_in({"id": "x"}, {"id": "x", "key": "in/a.csv"})
    """
    return next((name for text, value in _pairs(template, event) if (name := _name_in(text, value))), None)


def _pairs(template: object, event: object) -> Iterator[tuple[str, str]]:
    if isinstance(template, str) and isinstance(event, str):
        yield template, event
    elif isinstance(template, dict) and isinstance(event, dict):
        for key, part in template.items():
            yield from _pairs(part, event.get(key))
    elif isinstance(template, list) and isinstance(event, list):
        for part, other in zip(template, event, strict=False):
            yield from _pairs(part, other)


def _name_in(text: str, value: str) -> str | None:
    parts, expression, is_named = _PLACEHOLDER.split(text), "", False
    for index, part in enumerate(parts):
        if index % 2 == 0:
            expression += re.escape(part)
        elif part.strip() in _HOLDS_NAME and not is_named:
            expression, is_named = f"{expression}(?P<file>.+)", True
        else:
            expression += ".*"
    match = re.fullmatch(expression, value, re.DOTALL) if is_named else None
    return posixpath.basename(match["file"]) if match else None
