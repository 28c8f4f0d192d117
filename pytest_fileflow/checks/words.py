"""How checks put numbers into words."""

from __future__ import annotations


def count_text(number: int, noun: str) -> str:
    """Return a number of things as a text.

    >>> count_text(1, "row"), count_text(0, "row")
    ('1 row', '0 rows')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def bytes_text(number: int) -> str:
    """Return a number of bytes as a text."""
    return count_text(number, "byte")


def by_how_much(difference: int) -> str:
    """Return how far off a number is, as the end of a text; nothing where it is right."""
    return f" ({abs(difference)} too {'many' if difference > 0 else 'few'})" if difference else ""
