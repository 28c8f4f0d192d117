"""Takes options of checks out of what the schema accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def whole_number(options: Mapping[str, object], name: str) -> int | None:
    """Return a whole number; to JSON Schema 22.0 is one too."""
    value = options.get(name)
    return int(value) if isinstance(value, int | float) else None
