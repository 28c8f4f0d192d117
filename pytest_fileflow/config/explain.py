"""Says what the schema does not accept in words for a person, keyword by keyword."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config import flow_schema
from pytest_fileflow.config.findings import Finding, is_secretive, quoted, shown, suggestion
from pytest_fileflow.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import jsonschema

    from pytest_fileflow.config.findings import Path
    from pytest_fileflow.config.flow_schema import Kind
    from pytest_fileflow.config.places import Document

_TYPES = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
}

_MUST_BE_FLOW = 'must be an object with flow_id, source and target, or {"flows": […]}'


@dataclass(frozen=True)
class _Clash:
    """A value, and the one keyword of the schema that does not accept it.

    ``wanted`` is the keyword's value, ``around`` the part of the schema that it stands in, and
    ``written`` how the YAML file spells a value that is no text.
    """

    keyword: str
    wanted: Any
    around: Mapping[str, Any]
    value: Any
    path: Path
    written: str | None = None

    @property
    def shown(self) -> str:
        return shown(self.value, self.path)


def explain(document: Document, kind: Kind = "flow") -> Iterator[Finding]:
    """Yield a finding for everything that the schema of its kind does not accept of a document."""
    for error in flow_schema.errors(document.value, kind):
        at_name = "propertyNames" in error.absolute_schema_path
        path: Path = (*error.absolute_path, str(error.instance)) if at_name else tuple(error.absolute_path)
        place = document.places.get(path)
        clash = _clash(error, path, place.text if place is not None else None)
        for finding in KEYWORDS.get(clash.keyword, _other)(clash):
            yield Finding(finding.path, finding.message, at_key=True) if at_name else finding


def explain_options(options: object, schema: Mapping[str, object], path: Path) -> Iterator[Finding]:
    """Yield a finding for everything that a check's own schema does not accept of its options at a path."""
    from jsonschema import SchemaError

    try:
        errors = list(flow_schema.option_errors(options, schema))
    except SchemaError:
        yield Finding(path, "this check's options cannot be judged: the schema that it was registered with is none")
        return
    for error in errors:
        clash = _clash(error, (*path, *error.absolute_path))
        yield from KEYWORDS.get(clash.keyword, _other_option)(clash)


def _clash(error: jsonschema.ValidationError, path: Path, written: str | None = None) -> _Clash:
    around = error.schema if isinstance(error.schema, dict) else {}
    return _Clash(str(error.validator), error.validator_value, around, error.instance, path, written)


def _unknown_keys(clash: _Clash) -> Iterator[Finding]:
    known = set(clash.around.get("properties", ()))
    wanted = known | {"flows"} if not clash.path and "flow_id" in known else known
    allowed = tuple(clash.around.get("patternProperties", ()))
    for key in clash.value:
        if key not in known and not any(re.search(each, key) for each in allowed):
            ending = suggestion(key, wanted - {"$schema"})
            yield Finding((*clash.path, key), f"unknown key {quoted(key)}{ending}", at_key=True)


def _missing_keys(clash: _Clash) -> Iterator[Finding]:
    for key in clash.wanted:
        if key not in clash.value:
            yield Finding(clash.path, clash.around.get("errorMessage", f"{key} is missing"), at_key=True)


def _wrong_type(clash: _Clash) -> Iterator[Finding]:
    types = [clash.wanted] if isinstance(clash.wanted, str) else clash.wanted
    wanted = " or ".join(_TYPES[each] for each in types)
    if not clash.path:
        found = "a list" if isinstance(clash.value, list) else "a bare value"
        yield Finding((), f"{clash.around.get('errorMessage', _MUST_BE_FLOW)}, not {found}")
        return
    yield Finding(clash.path, f"must be {wanted}, {_but(clash, wants_text=types == ['string'])}")


def _but(clash: _Clash, *, wants_text: bool) -> str:
    """Say what stands there instead, and where YAML took text for something else, that quotes are missing."""
    if clash.value is None and not clash.written:
        return "but is null" if clash.written is None else "but nothing stands here"
    if clash.written is None or not wants_text:
        return f"not {clash.shown}"
    if is_secretive(clash.path):
        return "but YAML reads this as another type: put it in quotes"
    word = quoted(clash.written)
    if clash.shown == clash.written:
        return f"not {clash.written}: put it in quotes: {word}"
    return f"but YAML reads {word[1:-1]} as {clash.shown}: put it in quotes: {word}"


def _not_listed(clash: _Clash) -> Iterator[Finding]:
    allowed = f"{', '.join(clash.wanted[:-1])} or {clash.wanted[-1]}"
    near = nearest(clash.value[:200], clash.wanted) if isinstance(clash.value, str) else None
    ending = f"; did you mean {quoted(near)}?" if near else ""
    yield Finding(clash.path, f"must be {allowed}, not {clash.shown}{ending}")


def _wrong_form(clash: _Clash) -> Iterator[Finding]:
    ending = "" if is_secretive(clash.path) else f", not {clash.shown}"
    yield Finding(clash.path, f"{clash.around.get('errorMessage', f'must match {clash.wanted}')}{ending}")


def _forbidden(clash: _Clash) -> Iterator[Finding]:
    message = clash.wanted.get("errorMessage", "is not accepted")
    is_text = isinstance(clash.value, str)
    yield Finding(clash.path, f"{clash.shown} {message}" if is_text else message, at_key=not is_text)


def _empty(clash: _Clash) -> Iterator[Finding]:
    yield Finding(clash.path, "must not be empty")


def _short(clash: _Clash) -> Iterator[Finding]:
    if not clash.value:
        yield from _empty(clash)
    else:
        yield Finding(clash.path, f"must have at least {clash.wanted} characters, not {len(clash.value)}")


def _long(clash: _Clash) -> Iterator[Finding]:
    yield Finding(clash.path, f"must have at most {clash.wanted} characters, not {len(clash.value)}")


def _bound(words: str) -> Callable[[_Clash], Iterator[Finding]]:
    def say(clash: _Clash) -> Iterator[Finding]:
        yield Finding(clash.path, f"must be {words} {clash.wanted}, not {clash.shown}")

    return say


def _other(clash: _Clash) -> Iterator[Finding]:
    yield Finding(clash.path, flow_schema.MISFIT)


def _other_option(clash: _Clash) -> Iterator[Finding]:
    yield Finding(clash.path, f"does not fit what the check takes ({clash.keyword})")


KEYWORDS: dict[str, Callable[[_Clash], Iterator[Finding]]] = {
    "additionalProperties": _unknown_keys,
    "required": _missing_keys,
    "type": _wrong_type,
    "enum": _not_listed,
    "pattern": _wrong_form,
    "not": _forbidden,
    "minItems": _empty,
    "minProperties": _empty,
    "minLength": _short,
    "maxLength": _long,
    "minimum": _bound("at least"),
    "maximum": _bound("at most"),
    "exclusiveMinimum": _bound("above"),
}
"""How each keyword that the schema uses is put into words."""
