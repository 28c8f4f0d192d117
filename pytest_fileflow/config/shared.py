"""Reads ``endpoints.yaml``: the endpoints that flows name, and the defaults that they have in common."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config.documents import SUFFIXES, UnusableError, read_one, schema_findings
from pytest_fileflow.config.findings import Finding, path_text
from pytest_fileflow.config.places import Document
from pytest_fileflow.config.problems import Problem
from pytest_fileflow.config.reading import UnreadableError, read_text
from pytest_fileflow.config.recording import Recorded
from pytest_fileflow.config.secret_names import anchored_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_fileflow.config.findings import Path as JsonPath
    from pytest_fileflow.config.places import Place
    from pytest_fileflow.config.rules import Rules
    from pytest_fileflow.config.variables import Variables

NAMES = tuple(f"endpoints{suffix}" for suffix in SUFFIXES)
ENDPOINTS, DEFAULTS = "endpoints", "defaults"
_NOT_OF_ENDPOINTS = ("$schema",)
_IS_OURS = re.compile(
    r"^\s*[\"']?(?:endpoints|defaults)[\"']?\s*:|\btype[\"']?\s*:\s*[\"']?(?:S3|SFTP)\b", re.MULTILINE
)


@dataclass(frozen=True)
class Shared:
    """What one file gives to flows, its variables put in, and all that is wrong with it.

    ``places`` are the positions of its parts. A path begins with ``endpoints`` or ``defaults``, also
    where the file is nothing but a map of endpoints; the empty path stands for the whole file.
    """

    file: str
    endpoints: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[JsonPath, Place] = field(default_factory=dict)
    problems: tuple[tuple[JsonPath, Problem], ...] = ()

    def below(self, path: JsonPath) -> Iterator[tuple[JsonPath, Problem]]:
        """Yield what is wrong with a part of the file, with the path from there on."""
        yield from ((where[len(path) :], problem) for where, problem in self.problems if where[: len(path)] == path)


def read_shared(path: Path, file: str, home: Path, variables: Variables, rules: Rules) -> Shared:
    """Return what a file gives to flows; never raises for anything that it may hold.

    ``file`` is how messages call it, ``home`` the folder from which on it names secrets that are files.
    """
    try:
        document = read_one(path, file)
    except UnusableError as error:
        return Shared(file, problems=(((), error.problem),))
    is_bare = _is_bare(document.value)
    if is_bare:
        document = _within(document, ENDPOINTS)
    given = document.value
    if not isinstance(given, dict):
        return Shared(file, problems=tuple(_problems(document, file, schema_findings(document, "endpoints"), ())))
    log = Recorded()
    document.value = {key: _put(key, value, variables, log) for key, value in given.items()}
    document.places = log.places(document.places, variables.environment)
    spoilt = {each.path for each in log.findings}
    stated = [*document.findings, *schema_findings(document, "endpoints")]
    found = [*log.findings, *(each for each in stated if each.path not in spoilt)]
    spoilt |= {each.path for each in found}
    found += [each for each in _rule_findings(document.value, rules) if each.path not in spoilt]
    problems = tuple(_problems(document, file, found, (ENDPOINTS,) if is_bare else ()))
    endpoints, defaults = (anchored_values(_part(document.value, key), home) for key in (ENDPOINTS, DEFAULTS))
    places = {where: replace(place, file=file) for where, place in document.places.items()}
    return Shared(file, endpoints, defaults, places, problems)


def _is_bare(value: object) -> bool:
    return isinstance(value, dict) and not {ENDPOINTS, DEFAULTS} & set(value)


def _within(document: Document, key: str) -> Document:
    value = {name: each for name, each in document.value.items() if name not in _NOT_OF_ENDPOINTS}
    places = {(key, *path): place for path, place in document.places.items()}
    findings = [replace(each, path=(key, *each.path)) for each in document.findings]
    return Document({key: value}, places, findings)


def _part(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = value.get(key)
    return {name: each for name, each in part.items() if not name.startswith("x-")} if isinstance(part, dict) else {}


def _put(key: str, value: Any, variables: Variables, log: Recorded) -> Any:
    """Replace the variables of defaults as those of a flow, and of each endpoint as those of a source."""
    if key == DEFAULTS:
        return variables.put(value, log.below((DEFAULTS,)))
    if key != ENDPOINTS or not isinstance(value, dict):
        return value
    return {
        name: variables.put({"source": each}, log.below((ENDPOINTS, name), leaving=1))["source"]
        for name, each in value.items()
    }


def _rule_findings(value: Mapping[str, Any], rules: Rules) -> Iterator[Finding]:
    """Yield what breaks a rule in an endpoint, or in defaults as far as it can be told without a flow."""
    for name, each in _part(value, ENDPOINTS).items():
        for finding in rules.of_part({"source": each}):
            yield replace(finding, path=(ENDPOINTS, name, *finding.path[1:]))
    for finding in rules.of_part(dict(_part(value, DEFAULTS))):
        yield replace(finding, path=(DEFAULTS, *finding.path))


def _problems(
    document: Document, file: str, found: Sequence[Finding], unseen: JsonPath
) -> Iterator[tuple[JsonPath, Problem]]:
    """Yield each finding with its position; ``unseen`` begins a path, and is no part of it in the file."""
    for finding in sorted(dict.fromkeys(found), key=document.mark):
        other, mark = document.spot(finding)
        yield finding.path, Problem(other or file, *mark, path_text(finding.path[len(unseen) :]), finding.message)


def may_be_shared(path: Path) -> bool:
    """Return whether a file looks like endpoints and defaults of flows, and not like another tool's."""
    try:
        return bool(_IS_OURS.search(read_text(path)))
    except UnreadableError:
        return False
