"""Reads a size in bytes from a number or a text like ``5MiB``."""

from __future__ import annotations

import re

MAX_BYTES = 5 * 1024**4
"""5 TiB, the largest object S3 stores."""

_SIZE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,15}))? ?([A-Za-z]{1,3})")
_UNITS = {
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}


def parse_size(value: object) -> int:
    """Return bytes.

    Raises ValueError where the value is no size, does not give whole bytes, or is above
    ``MAX_BYTES``.

    >>> parse_size("1.5KiB"), parse_size("100 MB"), parse_size(7)
    (1536, 100000000, 7)
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _within(*value.as_integer_ratio())
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[3].lower() not in _UNITS:
        raise ValueError("must be bytes as a number, or text with a unit like 5MiB")
    decimals = match[2] or ""
    return _within(int(match[1] + decimals) * _UNITS[match[3].lower()], 10 ** len(decimals))


def _within(numerator: int, denominator: int) -> int:
    size, rest = divmod(numerator, denominator)
    if rest:
        raise ValueError("does not come to whole bytes")
    if not 0 <= size <= MAX_BYTES:
        raise ValueError(f"must be from 0 to {MAX_BYTES} bytes (5 TiB)")
    return size
