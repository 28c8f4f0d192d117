"""Takes options of checks out of what the schema accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def whole_number(options: Mapping[str, object], name: str) -> int | None:
    """Return a whole number; to JSON Schema 22.0 is one too."""
    value = options.get(name)
    return int(value) if isinstance(value, int | float) else None


def text(options: Mapping[str, object], name: str) -> str | None:
    """Return a text."""
    value = options.get(name)
    return value if isinstance(value, str) else None


def texts(options: Mapping[str, object], name: str) -> tuple[str, ...]:
    """Return a list of texts; empty where there is none."""
    value = options.get(name)
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()
