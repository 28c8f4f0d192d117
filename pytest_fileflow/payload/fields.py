"""What a table of made-up rows looks like: its fields, and how they are written. Read from a flow's ``testdata``."""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMATS = ("csv", "jsonl", "fixedwidth")
OPTIONS = ("fields", "locale", "header", "delimiter", "quote", "newline", "encoding", "bom")
"""The keys of ``testdata`` that make a table; none of them, and a pattern is what it always was."""

ENCODINGS = {"utf-8": "utf-8", "utf-16": "utf-16-le", "latin-1": "latin-1", "cp1252": "cp1252"}
NEWLINES = {"lf": "\n", "crlf": "\r\n"}
MARK = 16  # characters of the run id, as a text shows it


@dataclass(frozen=True)
class Locale:
    """How numbers and dates are written somewhere."""

    decimal: str
    group: str
    date: str
    datetime: str


ISO = Locale(".", "", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ")
LOCALES = {
    "da_DK": Locale(",", ".", "%d.%m.%Y", "%d.%m.%Y %H.%M"),
    "de_CH": Locale(".", "'", "%d.%m.%Y", "%d.%m.%Y %H:%M"),
    "de_DE": Locale(",", ".", "%d.%m.%Y", "%d.%m.%Y %H:%M"),
    "en_GB": Locale(".", ",", "%d/%m/%Y", "%d/%m/%Y %H:%M"),
    "en_US": Locale(".", ",", "%m/%d/%Y", "%m/%d/%Y %H:%M"),
    "es_ES": Locale(",", ".", "%d/%m/%Y", "%d/%m/%Y %H:%M"),
    "fr_FR": Locale(",", "\u00a0", "%d/%m/%Y", "%d/%m/%Y %H:%M"),
    "it_IT": Locale(",", ".", "%d/%m/%Y", "%d/%m/%Y %H:%M"),
    "ja_JP": Locale(".", ",", "%Y/%m/%d", "%Y/%m/%d %H:%M"),
    "nl_NL": Locale(",", ".", "%d-%m-%Y", "%d-%m-%Y %H:%M"),
    "pl_PL": Locale(",", "\u00a0", "%d.%m.%Y", "%d.%m.%Y %H:%M"),
    "pt_BR": Locale(",", ".", "%d/%m/%Y", "%d/%m/%Y %H:%M"),
    "sv_SE": Locale(",", "\u00a0", "%Y-%m-%d", "%Y-%m-%d %H:%M"),
}


@dataclass(frozen=True)
class Field:
    """One column. What of it counts depends on the type: ``KEYS``.

    ``minimum`` and ``maximum`` are as the config writes them: numbers, or ISO dates. ``width`` is the
    bytes that a field of a fixed width has, or else the digits of an id.
    """

    name: str
    type: str
    width: int | None = None
    nulls: float = 0.0
    align: str | None = None
    minimum: str | None = None
    maximum: str | None = None
    scale: int = 2
    grouping: bool = False
    locale: str | None = None
    format: str | None = None
    charset: str = "latin"
    quotes: bool = False
    newlines: bool = False
    max_length: int = 40
    values: tuple[str, ...] = ()
    value: str = ""
    start: int = 1
    prefix: str = ""

    @property
    def written(self) -> Locale:
        """Return how numbers and dates of this field are written."""
        return LOCALES[self.locale] if self.locale else ISO


_NUMBER = frozenset({"min", "max", "locale", "grouping"})
_TIME = frozenset({"min", "max", "locale", "format"})
KEYS = {
    "id": frozenset({"start", "prefix"}),
    "integer": _NUMBER,
    "decimal": _NUMBER | {"scale"},
    "boolean": frozenset({"values"}),
    "date": _TIME,
    "datetime": _TIME,
    "text": frozenset({"charset", "quotes", "newlines", "max_length"}),
    "name": frozenset({"charset"}),
    "city": frozenset({"charset"}),
    "enum": frozenset({"values"}),
    "constant": frozenset({"value"}),
    "run_id": frozenset[str](),
}
"""The keys of a field by its type, beside those that all have: name, type, width, align, nulls."""

ALL_HAVE = frozenset({"name", "type", "width", "align", "nulls"})
UNNULLABLE = frozenset({"id", "constant", "run_id"})  # what makes a row unique, or is what it is


@dataclass(frozen=True)
class Table:
    """The fields of a row, and how rows are written.

    ``delimiter`` and ``quote`` (``minimal``: where RFC 4180 asks for it; ``all``) are csv's. ``bom``:
    whether the file begins with a byte order mark; None: where UTF-16 needs one.
    """

    form: str
    fields: tuple[Field, ...]
    header: bool = False
    delimiter: str = ","
    quote: str = "minimal"
    newline: str = "\n"
    encoding: str = "utf-8"
    bom: bool = False

    @property
    def unit(self) -> int:
        """Return the bytes of an ASCII character."""
        return 2 if self.encoding == "utf-16-le" else 1

    @property
    def filler(self) -> int | None:
        """Return which field the last row has the missing bytes in: the last one of type text, but for fixed widths."""
        texts = [index for index, field in enumerate(self.fields) if field.type == "text"]
        return texts[-1] if texts and self.form != "fixedwidth" else None


DEFAULT_FIELDS: tuple[Mapping[str, object], ...] = (
    {"name": "record", "type": "id", "width": 12},
    {"name": "run_id", "type": "run_id", "width": 16},
    {"name": "timestamp", "type": "datetime", "width": 20},
    {"name": "name", "type": "name", "width": 30},
    {"name": "city", "type": "city", "width": 20},
    {"name": "amount", "type": "decimal", "min": -99999.99, "max": 99999.99, "width": 12},
    {"name": "note", "type": "text", "width": 40},
)
"""The fields of a table whose config says how it is written, and not what is in it."""


def table(form: str, options: Mapping[str, object]) -> Table:
    """Return the table of a flow's options, which were found to be right; equal ones are read once."""
    return _table(form, json.dumps(options, sort_keys=True))


@functools.lru_cache(maxsize=256)
def _table(form: str, text: str) -> Table:
    options: dict[str, Any] = json.loads(text)
    fields = options.get("fields", DEFAULT_FIELDS)
    encoding = options.get("encoding", "utf-8")
    return Table(
        form,
        tuple(_field(field, options.get("locale")) for field in fields),
        options.get("header", form == "csv"),
        options.get("delimiter", Table.delimiter),
        options.get("quote", Table.quote),
        NEWLINES[options.get("newline", "lf")],
        ENCODINGS[encoding],
        options.get("bom", encoding == "utf-16"),
    )


_TEXTS = {"min": "minimum", "max": "maximum"}
_WHOLE = ("width", "scale", "max_length", "start")


def _field(config: Mapping[str, Any], locale: str | None) -> Field:
    given = {_TEXTS.get(key, key): value for key, value in config.items() if not key.startswith("x-")}
    for key in ("minimum", "maximum", "value"):
        if key in given:
            given[key] = _as_text(given[key])
    for key in _WHOLE:
        if key in given:
            given[key] = int(given[key])  # to JSON Schema 10.0 is a whole number too
    if "values" in given:
        given["values"] = tuple(map(_as_text, given["values"]))
    field = Field(**given)
    takes_locale = "locale" in KEYS[field.type] and field.locale is None
    return dataclasses.replace(field, locale=locale) if takes_locale else field


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
