"""The life of a config file: read, held against the schema and the rules, made into flows or explained."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config import flow_schema
from pytest_fileflow.config.build import build
from pytest_fileflow.config.documents import read, schema_findings
from pytest_fileflow.config.findings import Finding, path_text
from pytest_fileflow.config.places import Unparsed
from pytest_fileflow.config.problems import BrokenFlow, Problem
from pytest_fileflow.config.reading import (
    DeclinedError,
    UnreadableError,
    flow_id_lines,
    format_of,
    may_hold_placeholder,
    read_text,
    read_values,
)
from pytest_fileflow.config.secret_names import anchored

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from pytest_fileflow.config.findings import Path as JsonPath
    from pytest_fileflow.config.places import Document
    from pytest_fileflow.config.reading import Format
    from pytest_fileflow.config.rules import Rules
    from pytest_fileflow.model import Flow

_EMPTY = "the file is empty: a flow has at least flow_id, source and target"
_FLOW_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


def load(path: Path, display: str, rules: Rules) -> tuple[Flow | BrokenFlow, ...]:
    """Return a file's flows in their order, and a BrokenFlow in the place of each that cannot be used."""
    form = format_of(path)
    try:
        text = read_text(path)
    except UnreadableError as error:
        problem = Problem(display, *error.mark, "$", error.reason)
        return (Source(display, path.stem).broken(None, error.mark[0], [problem]),)
    loaded = quick(text, form, display, rules) or careful(text, form, Source(display, path.stem), rules)
    return tuple([each if isinstance(each, BrokenFlow) else anchored(each, path.parent) for each in loaded])


def quick(text: str, form: Format, display: str, rules: Rules) -> tuple[Flow, ...] | None:
    """Return the flows of a text in which nothing is wrong or unusual, else None: the way of thousands."""
    try:
        documents = read_values(text, form)
    except DeclinedError:
        return None
    flows: list[Any] = []
    for document in documents:
        if not flow_schema.is_valid(document):
            return None
        flows += document.get("flows", (document,))
    if any(map(rules.refuses, flows)) or (may_hold_placeholder(text) and any(map(rules.finds_unreplaced, flows))):
        return None
    lines = flow_id_lines(text, form, len(flows))
    if lines is None:
        return None
    return tuple([build(flow, f"{display}:{line}") for flow, line in zip(flows, lines, strict=True)])


def _entries(document: Any) -> Iterator[tuple[JsonPath, Any]]:
    """Yield the flows of a document, each with the path to it."""
    if isinstance(document, dict) and "flows" in document:
        listed = document["flows"]
        yield from ((("flows", index), flow) for index, flow in enumerate(listed if isinstance(listed, list) else ()))
    else:
        yield (), document


@dataclass(frozen=True)
class Source:
    """How a file is called in messages, and its broken flows that have no name of their own."""

    display: str
    stem: str

    def broken(self, flow_id: object, line: int, found: Iterable[Problem]) -> BrokenFlow:
        """Return a broken flow with its problems in the order of their positions, none twice."""
        ordered = sorted(dict.fromkeys(found), key=lambda problem: (problem.line, problem.column))
        usable = isinstance(flow_id, str) and _FLOW_ID.fullmatch(flow_id)
        return BrokenFlow(str(flow_id) if usable else self.stem, line, tuple(ordered))

    def problem(self, document: Document, finding: Finding) -> Problem:
        """Return a finding with its position."""
        return Problem(self.display, *document.mark(finding), path_text(finding.path), finding.message)


def careful(text: str, form: Format, source: Source, rules: Rules) -> tuple[Flow | BrokenFlow, ...]:
    """Read a text with positions, and return its flows and everything that is wrong with the others."""
    loaded: list[Flow | BrokenFlow] = []
    for document in read(text, form):
        if isinstance(document, Unparsed):
            problem = Problem(source.display, *document.mark, "$", document.message)
            loaded.append(source.broken(document.flow_id, document.line, [problem]))
        else:
            loaded.extend(_judge(document, source, rules))
    return tuple(loaded) or (source.broken(None, 1, [Problem(source.display, 1, 1, "$", _EMPTY)]),)


def _judge(document: Document, source: Source, rules: Rules) -> Iterator[Flow | BrokenFlow]:
    """Yield the flows of a document; what belongs to none of them comes first, as one more broken flow."""
    entries = list(_entries(document.value))
    stated = [*document.findings, *schema_findings(document, "flow")]
    whole = [finding for finding in stated if not any(_is_below(finding.path, path) for path, _ in entries)]
    if whole:
        yield source.broken(None, document.flow_line(()), [source.problem(document, each) for each in whole])
    for path, flow in entries:
        own = [finding for finding in stated if _is_below(finding.path, path)]
        found = [*own, *_rule_findings(flow, path, rules, {each.path for each in own if not each.at_key})]
        line = document.flow_line(path)
        if found:
            flow_id = flow.get("flow_id") if isinstance(flow, dict) else None
            yield source.broken(flow_id, line, [source.problem(document, each) for each in found])
        else:
            yield build(flow, f"{source.display}:{line}")


def _rule_findings(flow: object, path: JsonPath, rules: Rules, spoilt: Collection[JsonPath]) -> list[Finding]:
    broken = [_below(path, finding) for finding in rules.broken(flow)]
    unreplaced = [_below(path, finding) for finding in rules.unreplaced(flow)]
    return [finding for finding in broken if finding.path not in spoilt] + unreplaced


def _below(path: JsonPath, finding: Finding) -> Finding:
    return Finding((*path, *finding.path), finding.message, finding.at_key)


def _is_below(path: JsonPath, root: JsonPath) -> bool:
    return path[: len(root)] == root
