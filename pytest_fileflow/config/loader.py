"""The life of a config file: read, held against the schema and the rules, made into flows or explained."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_fileflow.config import flow_schema
from pytest_fileflow.config.build import build
from pytest_fileflow.config.documents import read, schema_findings
from pytest_fileflow.config.findings import Finding, path_text
from pytest_fileflow.config.meant import Meant
from pytest_fileflow.config.places import Document, Unparsed
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
from pytest_fileflow.config.scope import PLAIN
from pytest_fileflow.config.secret_names import anchored

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from pytest_fileflow.config.findings import Path as JsonPath
    from pytest_fileflow.config.meant import Explained
    from pytest_fileflow.config.reading import Format
    from pytest_fileflow.config.rules import Rules
    from pytest_fileflow.config.scope import Scope, Scopes
    from pytest_fileflow.model import Flow

_EMPTY = "the file is empty: a flow has at least flow_id, source and target"
_FLOW_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class Loader:
    """Reads the flow files of a session."""

    rules: Rules
    scopes: Scopes
    home: Callable[[Path], Path]

    def load(self, path: Path, display: str) -> tuple[Flow | BrokenFlow, ...]:
        """Return a file's flows in their order, and a BrokenFlow in the place of each that cannot be used."""
        form, scope, source = format_of(path), self.scopes.of(path), Source(display, path.stem)
        try:
            text = read_text(path)
        except UnreadableError as error:
            problem = Problem(display, *error.mark, "$", error.reason)
            return (source.broken(None, error.mark[0], [problem]),)
        home = self.home(path)
        rules = replace(self.rules, folder=home)
        loaded = quick(text, form, display, rules, scope) or careful(text, form, source, rules, scope)
        return tuple([each if isinstance(each, BrokenFlow) else anchored(each, home) for each in loaded])

    def load_shared(self, path: Path) -> tuple[BrokenFlow, ...]:
        """Return what is wrong with a file of endpoints and defaults, as one broken flow; nothing where all is well."""
        shared = self.scopes.shared(path)
        problems = [problem for _, problem in shared.problems] if shared is not None else []
        return (Source(problems[0].file, path.stem).broken(None, problems[0].line, problems),) if problems else ()

    def explain(self, path: Path, display: str, flow_id: str) -> Explained | None:
        """Return a flow of a file as it is meant, with where each value is written; None where it has no such."""
        for document in read(read_text(path), format_of(path)):
            if isinstance(document, Document):
                meant = Meant.of(document, list(_entries(document.value)), self.scopes.of(path), display)
                for flow in meant.flows:
                    if isinstance(flow.value, dict) and flow.value.get("flow_id") == flow_id:
                        return meant.explained(flow)
        return None


class _Declining:
    """The log of those in a hurry."""

    def wrong(self, *_: object, **__: object) -> NoReturn:
        raise DeclinedError

    def used(self, *_: object, **__: object) -> None:
        pass


def quick(text: str, form: Format, display: str, rules: Rules, scope: Scope = PLAIN) -> tuple[Flow, ...] | None:
    """Return the flows of a text in which nothing is wrong or unusual, else None: the way of thousands."""
    if scope.is_broken:
        return None
    try:
        documents = read_values(text, form)
        written = [flow for document in documents for flow in _flows_of(document)]
        flows = scope.resolve_all(written, text, _Declining())
    except DeclinedError:
        return None
    if not all(map(flow_schema.is_valid, documents if flows is written else _as_documents(documents, flows))):
        return None
    may_be_unreplaced = may_hold_placeholder(text) or scope.may_hold_placeholder or "${env:" in text
    if any(map(rules.refuses, flows)) or (may_be_unreplaced and any(map(rules.finds_unreplaced, flows))):
        return None
    lines = flow_id_lines(text, form, len(flows))
    if lines is None:
        return None
    return tuple([build(flow, f"{display}:{line}", rules.folder) for flow, line in zip(flows, lines, strict=True)])


def _flows_of(document: Any) -> list[dict[str, Any]]:
    flows = document.get("flows", [document]) if isinstance(document, dict) else None
    if not isinstance(flows, list) or not all(isinstance(flow, dict) for flow in flows):
        raise DeclinedError
    return flows


def _as_documents(documents: Iterable[dict[str, Any]], flows: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield documents with other flows in the places of theirs."""
    left = iter(flows)
    for document in documents:
        if "flows" in document:
            yield {**document, "flows": list(itertools.islice(left, len(document["flows"])))}
        else:
            yield next(left)


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
        """Return a broken flow with its problems in the order of their positions, this file's first, none twice."""
        ordered = sorted(
            dict.fromkeys(found),
            key=lambda problem: (problem.file != self.display, problem.file, problem.line, problem.column),
        )
        usable = isinstance(flow_id, str) and _FLOW_ID.fullmatch(flow_id)
        return BrokenFlow(str(flow_id) if usable else self.stem, line, tuple(ordered), bool(usable))

    def problem(self, document: Document, finding: Finding) -> Problem:
        """Return a finding with its position."""
        return Problem(self.display, *document.mark(finding), path_text(finding.path), finding.message)


def careful(
    text: str, form: Format, source: Source, rules: Rules, scope: Scope = PLAIN
) -> tuple[Flow | BrokenFlow, ...]:
    """Read a text with positions, and return its flows and everything that is wrong with the others."""
    loaded: list[Flow | BrokenFlow] = []
    for document in read(text, form):
        if isinstance(document, Unparsed):
            problem = Problem(source.display, *document.mark, "$", document.message)
            loaded.append(source.broken(document.flow_id, document.line, [problem]))
        else:
            loaded.extend(_judge(document, source, rules, scope))
    return tuple(loaded) or (source.broken(None, 1, [Problem(source.display, 1, 1, "$", _EMPTY)]),)


def _judge(document: Document, source: Source, rules: Rules, scope: Scope) -> Iterator[Flow | BrokenFlow]:
    """Yield the flows of a document; what belongs to none of them comes first, as one more broken flow."""
    entries = list(_entries(document.value))
    meant = Meant.of(document, entries, scope, source.display)
    stated = [*document.findings, *schema_findings(meant.document, "flow")]
    whole = [finding for finding in stated if not any(_is_below(finding.path, path) for path, _ in entries)]
    if whole:
        yield source.broken(None, document.flow_line(()), [source.problem(document, each) for each in whole])
    for flow, (path, _) in zip(meant.flows, entries, strict=True):
        own = [finding for finding in stated if _is_below(finding.path, path)]
        spoilt = {each.path for each in (*own, *flow.findings) if not each.at_key}
        stated_or_ruled = [*own, *_rule_findings(flow.value, path, rules, spoilt)]
        found = [*flow.findings, *(each for each in stated_or_ruled if not flow.is_spoilt(each))]
        problems = [*flow.problems, *(meant.problem(flow, each) for each in found)]
        line = document.flow_line(path)
        if problems:
            flow_id = flow.value.get("flow_id") if isinstance(flow.value, dict) else None
            yield source.broken(flow_id, line, problems)
        else:
            yield build(flow.value, f"{source.display}:{line}", rules.folder)


def _rule_findings(flow: object, path: JsonPath, rules: Rules, spoilt: Collection[JsonPath]) -> list[Finding]:
    broken = [_below(path, finding) for finding in rules.broken(flow)]
    unreplaced = [_below(path, finding) for finding in rules.unreplaced(flow)]
    return [finding for finding in broken if finding.path not in spoilt] + unreplaced


def _below(path: JsonPath, finding: Finding) -> Finding:
    return Finding((*path, *finding.path), finding.message, finding.at_key)


def _is_below(path: JsonPath, root: JsonPath) -> bool:
    return path[: len(root)] == root
