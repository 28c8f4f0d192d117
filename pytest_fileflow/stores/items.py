"""From an item of a table to the text of a flow config, and back."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

FLOW_ID, VERSION, ENABLED, CONFIG = "flow_id", "version", "enabled", "config"

_TRUE = (True, "true", 1)


@dataclass(frozen=True)
class Item:
    """A version of a flow in a table. ``holds_config`` where its attribute ``config`` is the flow, not all of them."""

    flow_id: str
    version: int
    is_enabled: bool
    text: str
    holds_config: bool = False


def item_of(told: Mapping[str, Any]) -> Item:
    """Return an item from what DynamoDB answers."""
    from boto3.dynamodb.types import TypeDeserializer

    read = TypeDeserializer().deserialize
    values = {name: _plain(read(value)) for name, value in told.items()}
    flow_id, version = str(values[FLOW_ID]), int(values[VERSION])
    # Where nothing is said a flow is enabled, as in a file.
    is_enabled = values.get(ENABLED, True) in _TRUE
    return Item(flow_id, version, is_enabled, _text(flow_id, version, is_enabled, values), CONFIG in values)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(_plain, value), key=str)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, bool, int, float, type(None))) else "(binary)"


def _text(flow_id: str, version: int, is_enabled: bool, values: Mapping[str, Any]) -> str:
    """Return a flow as the text of a file; what is JSON text in the table stays as it is, lines and all."""
    flow = values.get(CONFIG, values)
    if isinstance(flow, str):
        try:
            parsed = json.loads(flow)
        except ValueError:
            return flow
        if not isinstance(parsed, dict) or parsed.get(FLOW_ID) == flow_id:
            return flow
        flow = parsed
    if not isinstance(flow, Mapping):
        return as_text(flow)
    return as_text({FLOW_ID: flow_id, **flow, VERSION: version, ENABLED: is_enabled})


def as_text(value: Any) -> str:
    """Return a flow as JSON, with the keys in the order of the schema: a table keeps none."""
    return json.dumps(_ordered(value), indent=2, ensure_ascii=False, default=str) + "\n"


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        ranks = _ranks()
        names = sorted(value, key=lambda name: (ranks.get(name, len(ranks)), name))
        return {name: _ordered(value[name]) for name in names}
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    return value


@functools.cache
def _ranks() -> Mapping[str, int]:
    """Return the place of each key among all that the schema knows, in the order in which it names them."""
    from pytest_fileflow.config import schema

    found: dict[str, int] = {}

    def look(node: Any) -> None:
        if isinstance(node, dict):
            for name in node.get("properties", ()):
                found.setdefault(name, len(found))
            for inner in node.values():
                look(inner)
        elif isinstance(node, list):
            for inner in node:
                look(inner)

    look(schema())
    return found


def attributes_of(flow: Mapping[str, Any], version: int, enabled: object, *, in_config: bool) -> dict[str, Any]:
    """Return a flow as DynamoDB takes it; ``enabled`` is as the table's index needs it."""
    from boto3.dynamodb.types import TypeSerializer

    keys = {FLOW_ID: flow[FLOW_ID], VERSION: version, ENABLED: enabled}
    values = {**keys, CONFIG: flow} if in_config else {**flow, **keys}
    write = TypeSerializer().serialize
    return {name: write(_with_decimals(value)) for name, value in values.items()}


def _with_decimals(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, Mapping):
        return {name: _with_decimals(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_decimals(item) for item in value]
    return value
