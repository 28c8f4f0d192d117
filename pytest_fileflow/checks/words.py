"""How checks put numbers into words."""

from __future__ import annotations


def by_how_much(difference: int) -> str:
    """Return how far off a number of bytes is, as the end of a text; nothing where it is right."""
    return f" ({abs(difference)} too {'many' if difference > 0 else 'few'})" if difference else ""


def bytes_text(number: int) -> str:
    """Return a number of bytes as a text."""
    return f"{number} byte{'' if number == 1 else 's'}"
