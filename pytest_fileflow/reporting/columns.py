"""Lays out rows of text as a table that fits a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


def fitted(
    rows: Sequence[Mapping[str, str]],
    names: Sequence[str],
    *,
    spare: Sequence[str],
    numbers: Collection[str],
    width: int | None,
) -> list[str]:
    """Return a line a row, its columns aligned, ``numbers`` to the right.

    Where the lines are longer than ``width``, columns of ``spare`` are left out, the first first.
    """
    lines = _lines(rows, names, numbers)
    for left_out in range(1, len(spare) + 1):
        if width is None or max(map(len, lines)) <= width:
            break
        lines = _lines(rows, [name for name in names if name not in spare[:left_out]], numbers)
    return lines


def _lines(rows: Sequence[Mapping[str, str]], names: Sequence[str], numbers: Collection[str]) -> list[str]:
    widths = {name: max(len(row[name]) for row in rows) for name in names}
    return [
        "  ".join(
            row[name].rjust(widths[name]) if name in numbers else row[name].ljust(widths[name]) for name in names
        ).rstrip()
        for row in rows
    ]
