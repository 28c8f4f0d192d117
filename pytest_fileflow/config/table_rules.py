"""What the fields of a table must keep to: keys that go with the type, values that can be written, and their room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_fileflow.config.findings import Finding, quoted
from pytest_fileflow.payload import cells
from pytest_fileflow.payload import fields as tables
from pytest_fileflow.payload.fields import ALL_HAVE, KEYS, MARK, UNNULLABLE
from pytest_fileflow.payload.words import LATIN_1

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_fileflow.payload.fields import Field, Table

Path = tuple["str | int", ...]
_NARROW = ("latin-1", "cp1252")
_YES_AND_NO = 2


def of_table(testdata: Mapping[str, Any], form: str) -> Iterator[Finding]:
    """Yield what is wrong with a table that the schema accepts; paths begin at ``testdata``."""
    if testdata.get("bom") is True and testdata.get("encoding") in _NARROW:
        yield Finding(("bom",), f"{testdata['encoding']} has no byte order mark: only utf-8 and utf-16 do")
    listed = testdata.get("fields", list(tables.DEFAULT_FIELDS))
    found = [finding for index, config in enumerate(listed) for finding in _of_keys(config, form, ("fields", index))]
    yield from found
    yield from _of_names(listed)
    if not found:
        options = {key: testdata[key] for key in tables.OPTIONS if key in testdata}
        yield from _of_values(tables.table(form, options))


def _of_names(listed: list[dict[str, Any]]) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, config in enumerate(listed):
        if config["name"] in seen:
            yield Finding(("fields", index, "name"), f"{quoted(config['name'])} is the name of a field before this one")
        seen.add(config["name"])


def _of_keys(config: Mapping[str, Any], form: str, path: Path) -> Iterator[Finding]:
    kind = config["type"]
    known = KEYS[kind] | ALL_HAVE
    every = frozenset[str]().union(ALL_HAVE, *KEYS.values())
    for key in config:
        if key in every and key not in known:
            own = f", which has {', '.join(sorted(KEYS[kind]))}" if KEYS[kind] else ""
            yield Finding((*path, key), f"{key} is not for a field of type {kind}{own}", at_key=True)
    for key, of in (("values", "enum"), ("value", "constant")):
        if kind == of and key not in config:
            yield Finding(path, f"a field of type {of} needs {key}")
    if kind == "boolean" and isinstance(config.get("values"), list) and len(config["values"]) != _YES_AND_NO:
        yield Finding((*path, "values"), "a boolean has two values: for true and for false")
    if config.get("nulls") and kind in UNNULLABLE:
        yield Finding((*path, "nulls"), f"a field of type {kind} always has a value", at_key=True)
    if form == "fixedwidth":
        if "width" not in config:
            yield Finding(path, "a field of pattern fixedwidth needs width: its bytes")
        if config.get("newlines") is True:
            yield Finding((*path, "newlines"), "a record of pattern fixedwidth is one line", at_key=True)


def _of_values(described: Table) -> Iterator[Finding]:
    for index, field in enumerate(described.fields):
        yield from _of_field(field, described, ("fields", index))
    kinds = [field.type for field in described.fields]
    if described.form == "fixedwidth" and "run_id" not in kinds:
        yield Finding(("fields",), f"needs a field of type run_id, at least {MARK} characters wide: whose file it is")
    if described.form != "fixedwidth" and "text" not in kinds:
        message = "needs a field of type text: the last row's holds the run id, and what is missing of the size"
        yield Finding(("fields",), message)


def _of_field(field: Field, described: Table, path: Path) -> Iterator[Finding]:
    bounds = [*_of_bounds(field, path)]
    yield from bounds
    for letter in cells.directives(field.format or ""):
        if letter not in cells.DIRECTIVES and letter != "y":
            known = ", ".join(f"%{each}" for each in ("Y", "y", *list(cells.DIRECTIVES)[1:]))
            yield Finding((*path, "format"), f"unknown directive {quoted(f'%{letter}')}; known: {known}, %%")
    yield from _of_characters(field, described.encoding, path)
    if described.form == "fixedwidth" and not bounds:
        yield from _of_width(field, described, path)


def _of_bounds(field: Field, path: Path) -> Iterator[Finding]:
    if "min" not in KEYS[field.type]:
        return
    is_time = field.type in ("date", "datetime")
    try:
        low, high = cells.seconds(field) if is_time else cells.bounds(field)
    except cells.BadBoundError as error:
        yield Finding((*path, error.key), str(error))
        return
    if low > high:
        yield Finding((*path, "max" if field.maximum is not None else "min"), "the lowest value is above the highest")


def _of_characters(field: Field, encoding: str, path: Path) -> Iterator[Finding]:
    if encoding not in _NARROW:
        return
    if field.charset not in LATIN_1:
        yield Finding((*path, "charset"), f"{encoding} cannot write {field.charset}: only utf-8 and utf-16 can")
    for key, texts in (("name", (field.name,)), ("values", field.values), ("value", (field.value,))):
        for text in texts:
            if text.encode(encoding, errors="ignore").decode(encoding) != text:
                yield Finding((*path, key), f"{encoding} cannot write {quoted(text)}")


def _of_width(field: Field, described: Table, path: Path) -> Iterator[Finding]:
    width, unit = field.width or 0, described.unit
    if width % unit:
        yield Finding((*path, "width"), "must be even: in utf-16 a character is two bytes")
    longest = max((len(text.encode(described.encoding)) for text in cells.extremes(field)), default=0)
    needed = {"run_id": MARK * unit, "id": (len(field.prefix) + 1) * unit}.get(field.type, longest)
    if needed > width:
        yield Finding((*path, "width"), f"{width} bytes have no room for a value of {needed} bytes")
