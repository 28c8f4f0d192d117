"""Writes a flow as it is meant, each value with where it comes from, as YAML for a person or JSON for a program."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config import schema
from pytest_fileflow.config.arns import names_one
from pytest_fileflow.config.findings import is_secretive, path_text
from pytest_fileflow.config.partial import resolved
from pytest_fileflow.config.shape import part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_fileflow.config.environment import Environment
    from pytest_fileflow.config.findings import Path
    from pytest_fileflow.config.meant import Explained
    from pytest_fileflow.model import Flow

Config = dict[str, Any]

DEFAULT = "default"
HIDDEN = "(not shown)"
TABLES = frozenset({"fields", "locale", "header", "delimiter", "quote", "newline", "encoding", "bom"})
"""What describes the rows of a file: where none of it is given, none of it has a default worth showing."""
_BLOCKS = ("source", "target", "transfer", "validation", "testdata", "contract")
_FARTHEST_COLUMN = 72
_INDENT = "  "


@dataclass(frozen=True)
class Row:
    """A line: what stands there, and where its value comes from, for a value."""

    text: str
    origin: str | None = None


def yaml_lines(explained: Explained, flow: Flow, environment: Environment | None) -> Iterator[str]:
    """Yield the lines of a flow in YAML, with the origins of values in comments side by side."""
    rows = list(_rows(filled(explained.value, flow), (), explained, environment))
    column = max(len(row.text) for row in rows if len(row.text) <= _FARTHEST_COLUMN)
    for row in rows:
        yield f"{row.text:<{column}}  # {row.origin}" if row.origin else row.text


def as_json(explained: Explained, flow: Flow, environment: Environment | None) -> Config:
    """Return a flow, and the origin of each value by its path."""
    value = filled(explained.value, flow)
    leaves = [path for path, _ in _leaves(value, ())]
    origins = {path_text(path): explained.origin(path, environment) or DEFAULT for path in leaves}
    return {"flow": _masked(value, ()), "origins": origins}


def filled(value: Config, flow: Flow) -> Config:
    """Return a flow with the built-in defaults of what it leaves open, in the order of the schema."""
    whole = {"enabled": flow.enabled, **_without_notes(value)}
    for name in _BLOCKS:
        block = _name_in_schema(name, flow)
        whole[name] = _ordered({**_defaults_of(name, block, flow, part(whole, name)), **part(whole, name)}, block)
    return _ordered(whole, "flow")


def _name_in_schema(name: str, flow: Flow) -> str:
    ends = {"source": flow.source, "target": flow.target}
    return ends[name].type.lower() if name in ends else name


def _ordered(value: Config, block: str) -> Config:
    order = {key: index for index, key in enumerate(schema()["$defs"][block]["properties"])}
    return {key: value[key] for key in sorted(value, key=lambda key: order.get(key, len(order)))}


def _without_notes(value: Config) -> Config:
    return {key: each for key, each in value.items() if not key.startswith(("x-", "$"))}


def _defaults_of(name: str, block: str, flow: Flow, given: Mapping[str, Any]) -> Config:
    """Return the defaults that the schema shows of a block, and those that follow from the rest of the flow."""
    found = dict(_defaults_in_schema()[block])
    if name == "transfer":
        found["mode"] = flow.transfer.mode
        unfit = {"invocation", "payload"} if flow.transfer.mode != "invoke" else set[str]()
    elif name == "validation":
        found["grace_seconds"] = _whole(flow.validation.grace_seconds)
        found["post_arrival_wait_seconds"] = _whole(flow.validation.post_arrival_wait_seconds)
        unfit = set()
    else:
        unfit = {key for key, other in (("size_bytes", "sizes"), ("filename_prefix", "filename")) if other in given}
        if name == "testdata" and not TABLES.intersection(given):
            unfit |= TABLES
    return {key: value for key, value in found.items() if key not in unfit}


def _whole(seconds: float) -> float:
    return int(seconds) if seconds == int(seconds) else seconds


@functools.cache
def _defaults_in_schema() -> dict[str, Config]:
    defs = schema()["$defs"]
    blocks = (*_BLOCKS[2:], "s3", "sftp")
    wholes = {name: {key: resolved(each, defs) for key, each in defs[name]["properties"].items()} for name in blocks}
    return {
        name: {key: each["default"] for key, each in whole.items() if "default" in each}
        for name, whole in wholes.items()
    }


def _rows(value: Mapping[str, Any], path: Path, explained: Explained, environment: Environment | None) -> Iterator[Row]:
    indent = _INDENT * len(path)
    for key, item in value.items():
        inner = (*path, key)
        name = f"{indent}{_plain(key)}:"
        if isinstance(item, dict) and item:
            yield Row(name)
            yield from _rows(item, inner, explained, environment)
        else:
            yield Row(f"{name} {_plain(_masked(item, inner))}", explained.origin(inner, environment) or DEFAULT)


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


def _masked(value: Any, path: Path) -> Any:
    """Return a value without what may be a secret: what names one, an ARN, may be seen."""
    if isinstance(value, dict):
        return {key: _masked(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, (*path, index)) for index, item in enumerate(value)]
    if not is_secretive(path) or value is None or isinstance(value, bool):
        return value
    is_name = isinstance(value, str) and str(path[-1]).endswith("_arn") and names_one(value)
    return value if is_name else HIDDEN


def _plain(value: Any) -> str:
    """Return a value on one line of YAML."""
    import yaml

    if isinstance(value, str) and not value.isprintable():
        return json.dumps(value)
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)
    return text.removesuffix("...\n").strip()
