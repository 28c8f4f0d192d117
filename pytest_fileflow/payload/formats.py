"""How csv, jsonl and records of a fixed width write a value, and the parts of a row around it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_fileflow.payload.fields import Field, Table

_RIGHT = frozenset({"integer", "decimal"})


@dataclass(frozen=True)
class Format:
    """The parts of a row: ``opening``, cells with a ``separator`` between them, ``closing``; ``cell`` writes a value.

    ``name`` writes the name of a field for the header.
    """

    cell: Callable[[Field, str | None], str]
    name: Callable[[Field], str]
    opening: str = ""
    separator: str = ""
    closing: str = ""

    def row(self, cells: Iterable[str]) -> str:
        """Return a row of cells."""
        return f"{self.opening}{self.separator.join(cells)}{self.closing}"


def format_of(described: Table) -> Format:
    """Return how a table's rows are written."""
    if described.form == "csv":
        return Format(
            lambda _, text: _csv_cell(described, text),
            lambda field: _csv_cell(described, field.name),
            separator=described.delimiter,
        )
    if described.form == "jsonl":
        return Format(_json_cell, lambda field: field.name, "{", ", ", "}")
    fixed = partial(_fixed_cell, described)
    return Format(fixed, lambda field: fixed(field, field.name))


def _csv_cell(described: Table, text: str | None) -> str:
    """Quote a text where RFC 4180 (2.5 to 2.7) asks for it, or always; null is empty, and not quoted."""
    is_alone = len(described.fields) == 1  # an empty line would be no record
    if text is None:
        return '""' if is_alone else ""
    special = (described.delimiter, '"', "\r", "\n")
    if described.quote == "all" or any(each in text for each in special) or (is_alone and not text):
        return '"' + text.replace('"', '""') + '"'
    return text


def _json_cell(field: Field, text: str | None) -> str:
    return f"{json.dumps(field.name, ensure_ascii=False)}: {_json_value(field, text)}"


def _json_value(field: Field, text: str | None) -> str:
    if text is None:
        return "null"
    is_number = field.type in ("integer", "decimal") and not field.locale and not field.grouping
    if is_number or (field.type == "boolean" and not field.values):
        return text
    return json.dumps(text, ensure_ascii=False)


def _fixed_cell(described: Table, field: Field, text: str | None) -> str:
    """Return a text of exactly the field's width in bytes; a longer one is cut between two characters."""
    width = field.width or 0
    cut = (text or "").encode(described.encoding)[:width].decode(described.encoding, errors="ignore")
    padding = " " * ((width - len(cut.encode(described.encoding))) // described.unit)
    is_right = field.align == "right" or (field.align is None and field.type in _RIGHT)
    return padding + cut if is_right else cut + padding
