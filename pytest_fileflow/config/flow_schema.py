"""The shipped JSON Schemas: the single description of each format, and the validators made from them."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any, Literal, cast

from pytest_fileflow.config import partial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import jsonschema
    import jsonschema_rs

    from pytest_fileflow.config.findings import Path


Kind = Literal["flow", "endpoints", "environment"]
"""The files that have a schema: of flows, of endpoints and defaults that flows share, of an environment."""

MISFIT = "does not fit the schema that pytest-fileflow ships"


@functools.cache
def _text(kind: Kind) -> str:
    from importlib import resources

    return resources.files(__package__).joinpath(f"{kind}.schema.json").read_text(encoding="utf-8")


def schema(kind: Kind = "flow") -> dict[str, Any]:
    """Return the schema of a kind of file, draft 2020-12; a copy of the caller's own.

    That of flows is what a flow must be once its endpoints, defaults and variables are put in.
    """
    if kind == "endpoints":
        return partial.schema_of_shared(schema())
    return cast("dict[str, Any]", json.loads(_text(kind)))


@functools.cache
def paths_without_text() -> frozenset[Path]:
    """Return the paths of a flow at which the schema takes no text, but only numbers or truth values."""
    return frozenset(partial.paths_without_text(schema()["$defs"]))


def is_valid(document: object, kind: Kind = "flow") -> bool:
    """Return whether a schema accepts a document; answers in microseconds and says no more.

    Strings must be proper Unicode: half a surrogate pair crashes jsonschema-rs before 0.44.
    """
    try:
        return _compiled(kind).is_valid(document)
    except ValueError:  # before 0.37 it takes no whole number beyond 64 bits
        return not any(errors(document, kind))


def is_valid_part(name: str, value: object) -> bool:
    """Return whether the schema accepts a value as what it defines under a name."""
    try:
        return _compiled_part(name).is_valid(value)
    except ValueError:  # as above
        return False


@functools.cache
def _compiled_part(name: str) -> jsonschema_rs.Draft202012Validator:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schema()["$defs"]})


def errors(document: object, kind: Kind = "flow") -> Iterator[jsonschema.ValidationError]:
    """Yield what a schema does not accept of a document, each with the path to it."""
    yield from _explaining(kind).iter_errors(document)


def fits(options: object, schema: Mapping[str, object]) -> bool:
    """Return whether the schema that a check brought along accepts options; False where it is none itself."""
    try:
        return _compiled_options(json.dumps(schema)).is_valid(options)
    except (TypeError, ValueError):
        return False


def option_errors(options: object, schema: Mapping[str, object]) -> Iterator[jsonschema.ValidationError]:
    """Yield what a check's schema does not accept of options; raises jsonschema.SchemaError where it is none."""
    made = _explaining_class()
    made.check_schema(schema)
    yield from made(schema).iter_errors(options)


@functools.cache
def _compiled_options(text: str) -> jsonschema_rs.Draft202012Validator:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(json.loads(text))


@functools.cache
def _compiled(kind: Kind) -> jsonschema_rs.Draft202012Validator:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(schema(kind))


@functools.cache
def _explaining(kind: Kind) -> Any:
    return _explaining_class()(schema(kind))


@functools.cache
def _explaining_class() -> Any:
    """Make the validator that explains; jsonschema takes 100 ms to import, so only a bad file pays for it."""
    from jsonschema import Draft202012Validator, validators

    return validators.extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call, unused-ignore]


def _pattern(
    _validator: object, pattern: str, instance: object, _schema: object
) -> Iterator[jsonschema.ValidationError]:
    """Match as ECMA-262 says, where ``$`` is the very end; Python's would let a newline follow."""
    from jsonschema import ValidationError

    if isinstance(instance, str) and not re.search(_python_pattern(pattern), instance):
        yield ValidationError("pattern")


@functools.cache
def _python_pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\$$", r"\\Z", pattern))
