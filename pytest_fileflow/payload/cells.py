"""Makes the values of a field: a pool of texts, from which every row takes one.

What is in a pool follows from the field's description alone, and which of it a row takes from the run.
So a value is formatted, quoted and padded once, and not once a row.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import struct
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

from pytest_fileflow.payload.keystream import keystream
from pytest_fileflow.payload.words import CITIES, NAMES, WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_fileflow.payload.fields import Field

POOL = 1024  # values of a field: each is written once, and what a flow sends first waits for that
FIRST, LAST = "2020-01-01", "2026-12-31"  # days, where a field does not say
_INTEGERS, _DECIMALS = ("0", "999999"), ("0", "9999.99")
_LIMIT = 10**15
_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d))?Z?)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_QUOTED = 4  # with ``quotes`` every fourth text has some, and with ``newlines`` a newline


@functools.lru_cache(maxsize=1024)
def pool(field: Field) -> tuple[str | None, ...]:
    """Return the values of a field as plain texts; None for null."""
    draws = struct.unpack(f"<{POOL}Q", keystream(_label(field), 0, POOL * 8))
    make = _MAKERS[field.type](field)
    nulls = max(1, int(field.nulls * POOL + 0.5)) if field.nulls else 0
    return (*([None] * nulls), *map(make, draws[nulls:]))


def _label(field: Field) -> str:
    """Return what the values of a field follow from; what it says nothing of is left out, for what fields may learn."""
    said = {
        each.name: getattr(field, each.name)
        for each in dataclasses.fields(field)
        if getattr(field, each.name) != each.default
    }
    return json.dumps(said, sort_keys=True)


def extremes(field: Field) -> tuple[str, ...]:
    """Return texts of a field among which its longest is, where it has one that must not be cut."""
    if field.type in ("integer", "decimal"):
        low, high = bounds(field)
        return tuple(_number(field, value) for value in (low, high))
    if field.type in ("boolean", "enum"):
        return _choices(field)
    if field.type in ("date", "datetime"):
        return (_moment(field, seconds(field)[0]),)
    return (field.value,) if field.type == "constant" else ()


class BadBoundError(ValueError):
    """The lowest or the highest value of a field cannot be one; ``key`` is min or max."""

    def __init__(self, key: str, message: str):
        self.key = key
        super().__init__(message)


def bounds(field: Field) -> tuple[int, int]:
    """Return the lowest and highest number of a field, in units of its last digit; raises BadBoundError."""
    low, high = _INTEGERS if field.type == "integer" else _DECIMALS
    return _units(field, "min", field.minimum or low), _units(field, "max", field.maximum or high)


def _units(field: Field, key: str, text: str) -> int:
    scale = field.scale if field.type == "decimal" else 0
    try:
        value = Decimal(text)
    except ArithmeticError as error:
        raise BadBoundError(key, "must be a number") from error
    if not value.is_finite() or abs(value) >= _LIMIT:
        raise BadBoundError(key, f"must be a number between -{_LIMIT} and {_LIMIT}")
    units = value.scaleb(scale)
    if units != int(units):
        raise BadBoundError(key, f"has more than {scale} decimals" if scale else "must be a whole number")
    return int(units)


def _number(field: Field, units: int) -> str:
    written = field.written
    scale = field.scale if field.type == "decimal" else 0
    whole, rest = divmod(abs(units), 10**scale)
    digits = f"{whole:,}".replace(",", written.group or ",") if field.grouping else str(whole)
    return f"{'-' if units < 0 else ''}{digits}{f'{written.decimal}{rest:0{scale}d}' if scale else ''}"


def _numbers(field: Field) -> Callable[[int], str]:
    low, high = bounds(field)
    return lambda draw: _number(field, low + draw % (high - low + 1))


def seconds(field: Field) -> tuple[int, int]:
    """Return the first and the last moment of a field, seconds since the epoch; raises BadBoundError."""
    first, last = field.minimum or FIRST, field.maximum or LAST
    ends_with_day = field.type == "datetime" and len(last) == len(LAST)
    return _since_epoch("min", first), _since_epoch("max", last) + (86399 if ends_with_day else 0)


def _since_epoch(key: str, text: str) -> int:
    # Newer Pythons read more forms than these: what is taken must not depend on the version.
    match = _MOMENT.fullmatch(text)
    parts = [int(part or 0) for part in match.groups()] if match is not None else [0, 0, 0, 0, 0, 0]
    try:
        moment = datetime(*parts, tzinfo=timezone.utc)  # type: ignore[misc, arg-type]
    except ValueError as error:
        raise BadBoundError(key, "must be a day or moment like 2026-01-31 or 2026-01-31T06:30:00") from error
    return int((moment - _EPOCH).total_seconds())


DIRECTIVES = {
    "Y": "{0.year:04d}",
    "m": "{0.month:02d}",
    "d": "{0.day:02d}",
    "H": "{0.hour:02d}",
    "M": "{0.minute:02d}",
    "S": "{0.second:02d}",
}
"""What a format may hold behind a percent sign, with %% and %y; strftime knows more, and not the same everywhere."""


def directives(form: str) -> list[str]:
    """Return the letters that stand behind a percent sign in a format; an empty one where none follows."""
    return [piece[:1] for piece in form.replace("%%", "").split("%")[1:]]


def _moment(field: Field, at: int) -> str:
    moment = _EPOCH + timedelta(seconds=at)
    form = field.format or (field.written.date if field.type == "date" else field.written.datetime)
    parts = [part.replace("%y", f"{moment.year % 100:02d}") for part in form.split("%%")]
    for letter, layout in DIRECTIVES.items():
        parts = [part.replace(f"%{letter}", layout.format(moment)) for part in parts]
    return "%".join(parts)


def _moments(field: Field) -> Callable[[int], str]:
    first, last = seconds(field)
    return lambda draw: _moment(field, first + draw % (last - first + 1))


def _choices(field: Field) -> tuple[str, ...]:
    if field.type == "boolean":
        return field.values or ("true", "false")
    return field.values


def _one_of(choices: Sequence[str]) -> Callable[[int], str]:
    return lambda draw: choices[draw % len(choices)]


def _texts(field: Field) -> Callable[[int], str]:
    words = WORDS[field.charset].split()

    def text(draw: int) -> str:
        count, rest = 1 + draw % 6, draw // 6
        chosen = []
        for _ in range(count):
            rest, place = divmod(rest, len(words))
            chosen.append(words[place])
        turn = rest % _QUOTED
        if field.quotes and turn == 0:
            chosen[0] = f'"{chosen[0]}",'
        if field.newlines and turn == 1:
            chosen[0] += "\n"
        return " ".join(chosen)[: field.max_length].strip()

    return text


_MAKERS: dict[str, Callable[[Field], Callable[[int], str]]] = {
    "integer": _numbers,
    "decimal": _numbers,
    "date": _moments,
    "datetime": _moments,
    "boolean": lambda field: _one_of(_choices(field)),
    "enum": lambda field: _one_of(_choices(field)),
    "name": lambda field: _one_of(NAMES[field.charset]),
    "city": lambda field: _one_of(CITIES[field.charset]),
    "text": _texts,
}
"""What makes a value of a draw, by the field's type; the others are no matter of chance."""
