"""Takes parts out of a config that may be of any shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def part(flow: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object within a flow; an empty one where there is none, or something else."""
    found = flow.get(name)
    return found if isinstance(found, dict) else {}
