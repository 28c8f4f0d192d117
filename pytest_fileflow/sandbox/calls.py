"""The AWS calls that deployed functions have made, as the sandbox has recorded them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CALLS_FILE = "calls.jsonl"


@dataclass(frozen=True)
class RecordedCall:
    """One call: by which function, to which operation (``s3``, ``PutObject``), on what.

    ``resources`` holds the parameters that name something, with their values; ``parameters`` the
    names of all that were given, since some of them take a permission of their own (``Tagging``).
    """

    function: str
    service: str
    operation: str
    resources: Mapping[str, str]
    parameters: tuple[str, ...]

    @classmethod
    def parse(cls, told: Mapping[str, Any]) -> RecordedCall:
        """Read what :func:`read` has returned."""
        return cls(
            told["function"], told["service"], told["operation"], dict(told["resources"]), tuple(told["parameters"])
        )


def read(directory: Path) -> list[dict[str, Any]]:
    """Return the calls so far as plain values, oldest first."""
    try:
        lines = (directory / CALLS_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]
