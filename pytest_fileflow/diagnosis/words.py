"""Says a verdict: its cause, one sentence, the hint that belongs to the cause, the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.causes import hint_for
from pytest_fileflow.model import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping


def failed(cause: str, reason: str, evidence: Mapping[str, object] | None = None) -> Verdict:
    """Return the verdict on a flow that is at fault."""
    return Verdict("failed", cause, reason, hint_for(cause), evidence or {})


def seconds(value: float) -> str:
    """Return ``3.21 s``, or ``3 s`` for a whole number.

    >>> seconds(3), seconds(3.214)
    ('3 s', '3.21 s')
    """
    return f"{value:.2f} s".replace(".00 s", " s")
