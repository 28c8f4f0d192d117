"""The shipped JSON Schema: the single description of the format, and the validators made from it."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    import jsonschema
    import jsonschema_rs


@functools.cache
def _text() -> str:
    from importlib import resources

    return resources.files(__package__).joinpath("flow.schema.json").read_text(encoding="utf-8")


def schema() -> dict[str, Any]:
    """Return the schema of a flow config file, draft 2020-12; a copy of the caller's own."""
    return cast("dict[str, Any]", json.loads(_text()))


def is_valid(document: object) -> bool:
    """Return whether the schema accepts a document; answers in microseconds and says no more.

    Strings must be proper Unicode: half a surrogate pair crashes jsonschema-rs before 0.44.
    """
    try:
        return _compiled().is_valid(document)
    except ValueError:  # before 0.37 it takes no whole number beyond 64 bits
        return not any(errors(document))


def errors(document: object) -> Iterator[jsonschema.ValidationError]:
    """Yield what the schema does not accept of a document, each with the path to it."""
    yield from _explaining().iter_errors(document)


@functools.cache
def _compiled() -> jsonschema_rs.Draft202012Validator:
    import jsonschema_rs

    return jsonschema_rs.Draft202012Validator(schema())


@functools.cache
def _explaining() -> Any:
    """Make the validator that explains; jsonschema takes 100 ms to import, so only a bad file pays for it."""
    from jsonschema import Draft202012Validator, validators

    validator = validators.extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call, unused-ignore]
    return validator(schema())


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
