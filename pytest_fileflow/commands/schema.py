"""``fileflow schema``: prints a JSON Schema, with which an editor completes and explains every key of a config."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from pytest_fileflow.config.flow_schema import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_fileflow.registry import Registry

_EXPLAINS = ("title", "description", "default", "examples")
_VARIABLE = {"type": "string", "pattern": r"\$\{.+\}"}
_SCALARS = {"string", "integer", "number", "boolean"}
_NARROWS_TEXT = {"enum", "pattern", "maxLength", "not"}


@click.command("schema", short_help="print the JSON Schema with which an editor completes and explains configs")
@click.argument("kind", type=click.Choice(get_args(Kind)), default="flow")
def command(kind: Kind) -> int:
    """Print the JSON Schema of a kind of file (default flow), for editors.

    The names of patterns and checks are in it, those of your own plugins and conftest.py too; others stay allowed.

    Keep it beside your flows, so that editors need no network: fileflow schema > .fileflow/flow.schema.json
    """
    sys.stdout.write(text(kind, Path()))
    return 0


def text(kind: Kind, folder: Path) -> str:
    """Return a schema for a project; what of its plugins cannot be told is said on standard error.

    It is that of the config as it is written: a variable may stand for any text or number.
    """
    from pytest_fileflow.config import schema

    document: dict[str, Any] = schema(kind)
    if kind != "environment":
        document = _with_variables(document)
        _name_known(document["$defs"], _registry(folder))
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _with_variables(part: Any) -> Any:
    """Return a schema in which a variable may stand where only certain texts, numbers or truth values may."""
    if isinstance(part, list):
        return list(map(_with_variables, part))
    if not isinstance(part, dict):
        return part
    if not _is_narrow_scalar(part):
        return {
            key: value if key in ("if", "not", *_EXPLAINS) else _with_variables(value) for key, value in part.items()
        }
    explained = {key: part[key] for key in _EXPLAINS if key in part}
    return {**explained, "anyOf": [{key: part[key] for key in part.keys() - explained.keys()}, _VARIABLE]}


def _is_narrow_scalar(part: dict[str, Any]) -> bool:
    kinds = part.get("type", "string" if isinstance(part.get("enum"), list) else ())
    of_it = {kinds} if isinstance(kinds, str) else set(kinds) if isinstance(kinds, list) else set()
    if not of_it or not of_it <= _SCALARS:
        return False
    return "string" not in of_it or not _NARROWS_TEXT.isdisjoint(part)


def _name_known(definitions: dict[str, Any], registry: Registry) -> None:
    _open(definitions["testdata"]["properties"]["pattern"], registry.pattern_names())
    check = definitions["validation"]["properties"]["checks"]["items"]
    for place in (check, check["properties"]["name"]):
        _open(place, registry.check_names())


def _open(place: dict[str, Any], names: Sequence[str]) -> None:
    """Let an editor offer names where a string may be any."""
    if names:
        place["anyOf"] = [{"enum": list(names)}, {"type": place.pop("type")}]


def _registry(folder: Path) -> Registry:
    from pytest_fileflow.commands.collecting import CannotCollect, registry_in
    from pytest_fileflow.registry import Registry, register_builtin_patterns

    try:
        return registry_in(folder)
    except CannotCollect as error:
        sys.stderr.write(f"fileflow schema: names of your own plugins are left out: {error}\n")
    registry = Registry()
    register_builtin_patterns(registry)
    return registry
