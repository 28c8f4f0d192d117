"""``fileflow schema``: prints a JSON Schema, with which an editor completes and explains every key of a config."""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_fileflow.registry import Registry

ENDING = ".schema.json"
FLOW = "flow"


def kinds() -> list[str]:
    """Return what there are schemas of: flows first, then the others."""
    names = [file.name for file in resources.files("pytest_fileflow.config").iterdir()]
    found = sorted(name.removesuffix(ENDING) for name in names if name.endswith(ENDING))
    return sorted(found, key=lambda kind: kind != FLOW)


@click.command("schema", short_help="print the JSON Schema with which an editor completes and explains configs")
@click.argument("kind", type=click.Choice(kinds()), default=FLOW)
def command(kind: str) -> int:
    """Print the JSON Schema of a kind of file (default flow), for editors.

    The names of patterns and checks are in it, those of your own plugins and conftest.py too; others stay allowed.

    Keep it beside your flows, so that editors need no network: fileflow schema > .fileflow/flow.schema.json
    """
    sys.stdout.write(text(kind, Path()))
    return 0


def text(kind: str, folder: Path) -> str:
    """Return a schema for a project; what of its plugins cannot be told is said on standard error."""
    shipped = resources.files("pytest_fileflow.config").joinpath(f"{kind}{ENDING}").read_text(encoding="utf-8")
    if kind != FLOW:
        return shipped
    schema = json.loads(shipped)
    registry = _registry(folder)
    definitions = schema["$defs"]
    _open(definitions["testdata"]["properties"]["pattern"], registry.pattern_names())
    check = definitions["validation"]["properties"]["checks"]["items"]
    for place in (check, check["properties"]["name"]):
        _open(place, registry.check_names())
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


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


def _open(place: dict[str, Any], names: Sequence[str]) -> None:
    """Let an editor offer names where a string may be any."""
    if names:
        place["anyOf"] = [{"enum": list(names)}, {"type": place.pop("type")}]
