"""Tells a flow config from another tool's file, for files that nobody named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.config.reading import (
    JSON_TOKEN,
    UTF16_MARKS,
    UnreadableError,
    format_of,
    read_bytes,
    yaml_base_loader,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_SUFFIXES = frozenset({".json", ".yaml", ".yml"})
_TOP_FLOW_ID = re.compile(r"""^(?:---[ \t]+)?["']?flow_id["']?[ \t]*:(?=\s|\Z)""", re.MULTILINE)
_TOP_FLOWS = re.compile(r"""^["']?flows["']?[ \t]*:(?=\s|\Z)""", re.MULTILINE)
_LISTED_FLOW_ID = re.compile(r"""^[ \t]*(?:-[ \t]+)?["']?flow_id["']?[ \t]*:""", re.MULTILINE)


def may_hold_flow(path: Path) -> bool:
    """Return whether a file has a flow_id where a flow has it, as far as it can be read."""
    if path.suffix.lower() not in _SUFFIXES:
        return False
    try:
        data = read_bytes(path)
    except UnreadableError:
        return False
    text = data.decode("utf-16" if data.startswith(UTF16_MARKS) else "utf-8-sig", errors="replace")
    if "flow_id" not in text:
        return False
    return _names_flow(_json_parts(text)) if format_of(path) == "json" else _is_yaml_flow(text)


def _is_yaml_flow(text: str) -> bool:
    import yaml

    if _TOP_FLOW_ID.search(text):
        return True
    try:
        return _names_flow(_yaml_parts(text))
    except yaml.YAMLError:
        return bool(_TOP_FLOWS.search(text) and _LISTED_FLOW_ID.search(text))


@dataclass
class _Level:
    """An open map or list; ``key`` is the map's key whose value comes next."""

    is_map: bool
    key: str | None = None


def _names_flow(parts: Iterable[str]) -> bool:
    """Look for the key flow_id, at the top or in the list ``flows``, among brackets and ``=scalars``."""
    levels: list[_Level] = []
    for part in parts:
        if part in "{[":
            levels.append(_Level(part == "{"))
            continue
        if part in "}]":
            levels = levels[:-1]
        elif levels and levels[-1].is_map and levels[-1].key is None:
            levels[-1].key = part[1:]
            if part == "=flow_id" and _is_place_of_flow(levels):
                return True
            continue
        if levels:
            levels[-1].key = None
    return False


def _is_place_of_flow(levels: list[_Level]) -> bool:
    if len(levels) == 1:
        return True
    return len(levels) == 3 and levels[0].key == "flows" and not levels[1].is_map  # noqa: PLR2004 - map, list, map


def _json_parts(text: str) -> Iterator[str]:
    for match in JSON_TOKEN.finditer(text):
        lexeme = match[0]
        if lexeme in "{[}]":
            yield lexeme
        elif lexeme not in ":,":
            yield f"={lexeme[1:-1]}"


def _yaml_parts(text: str) -> Iterator[str]:
    import yaml

    for event in yaml.parse(text, Loader=yaml_base_loader()):
        if isinstance(event, yaml.MappingStartEvent):
            yield "{"
        elif isinstance(event, yaml.SequenceStartEvent):
            yield "["
        elif isinstance(event, yaml.CollectionEndEvent):
            yield "}"
        elif isinstance(event, yaml.ScalarEvent):
            yield f"={event.value}"
        elif isinstance(event, yaml.AliasEvent):
            yield "="
