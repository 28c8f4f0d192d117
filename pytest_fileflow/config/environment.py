"""Reads ``environments/NAME.yaml``: what differs from one environment to the next."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config.documents import SUFFIXES, UnusableError, problem, read_one, schema_findings
from pytest_fileflow.config.findings import Finding, quoted
from pytest_fileflow.config.sizes import parse_size
from pytest_fileflow.config.variables import is_of_a_run
from pytest_fileflow.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_fileflow.config.findings import Mark
    from pytest_fileflow.config.findings import Path as JsonPath
    from pytest_fileflow.config.places import Document

Scalar = str | int | float | bool

FOLDER = "environments"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_WILD = re.compile(r"[*?]|\[[^\]]*\]")


class BadEnvironment(ValueError):
    """An environment that is not there or cannot be used; the message has a line for each thing wrong."""


@dataclass(frozen=True)
class Environment:
    """What ``environments/NAME.yaml`` says.

    ``root`` is the config root, which holds the folder ``environments``; ``file`` is how messages call
    the file. ``allow`` are patterns, ``results`` are places as --fileflow-results takes them, and the
    limits are None where there is none. ``marks`` are the positions of what stands in the file.
    """

    name: str
    root: Path
    file: str
    variables: Mapping[str, Scalar] = field(default_factory=dict)
    slo_factor: float = 1.0
    slo_factors: Mapping[str, float] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    max_bytes: int | None = None
    max_runs: int | None = None
    max_runs_per_host: int | None = None
    marks: Mapping[JsonPath, Mark] = field(default_factory=dict)

    def where(self, *path: str | int) -> str:
        """Return ``file:line`` of a part, as in ``where("allow", 0)``."""
        return f"{self.file}:{self.marks.get(path, (1, 1))[0]}"

    def factor(self, flow_id: str, tags: Collection[str]) -> tuple[float, JsonPath]:
        """Return what the time limits of a flow are multiplied by, and the path to where that stands.

        A pattern of its flow_id goes before a tag: the id itself first, then the pattern with most
        characters that are no wildcards. Of several tags the one that stands first in the file counts.
        """
        patterns = [name for name in self.slo_factors if fnmatch.fnmatchcase(flow_id, name)]
        tagged = [name for name in self.slo_factors if name in tags]
        for name in (*sorted(patterns, key=_closeness, reverse=True), *tagged):
            return self.slo_factors[name], ("slo_factors", name)
        return self.slo_factor, ("slo_factor",)


def _closeness(pattern: str) -> tuple[bool, int]:
    return not _WILD.search(pattern), len(_WILD.sub("", pattern))


def read_environment(name: str, roots: Iterable[Path]) -> Environment:
    """Return the environment of a name from the first config root that has it; raises BadEnvironment."""
    roots = list(dict.fromkeys(roots))
    if not _NAME.fullmatch(name):
        raise BadEnvironment(f'{name!r} is not the name of an environment: letters, digits, "_", "." and "-"')
    for root in roots:
        found = files_of(name, root)
        if len(found) > 1:
            raise BadEnvironment(f"{FOLDER}/{found[1].name} lies beside {found[0].name}: keep one of them")
        if found:
            return _read(name, root, found[0])
    raise BadEnvironment(_missing(name, roots))


def files_of(name: str, root: Path) -> list[Path]:
    """Return the files of an environment in a config root."""
    return [path for suffix in SUFFIXES if (path := root / FOLDER / f"{name}{suffix}").is_file()]


def _missing(name: str, roots: list[Path]) -> str:
    """Say which environments there are, and where they were looked for."""
    names = sorted({path.stem for root in roots for path in (root / FOLDER).glob("*") if path.suffix in SUFFIXES})
    near = nearest(name, names)
    meant = f"; did you mean {near!r}?" if near else ""
    known = f" (there are {', '.join(names)})" if names else f": there is no folder {FOLDER}/ with such files"
    places = " or ".join(str(root) for root in roots)
    return f"there is no {FOLDER}/{name}.yaml, .yml or .json in {places}{meant}{known}"


def _read(name: str, root: Path, path: Path) -> Environment:
    display = f"{FOLDER}/{path.name}"
    try:
        document = read_one(path, display)
    except UnusableError as error:
        raise BadEnvironment(str(error)) from None
    found = [*document.findings, *schema_findings(document, "environment"), *_reserved(document.value)]
    found += _unsized(document.value) if not found else []
    if found:
        problems = sorted(
            {problem(document, display, each) for each in found}, key=lambda each: (each.line, each.column)
        )
        raise BadEnvironment("\n".join(map(str, problems)))
    return _built(name, root, display, document)


def _reserved(value: Any) -> Iterator[Finding]:
    """Yield the variables that are called like what a run puts into payloads, file names and webhooks."""
    variables = value.get("variables") if isinstance(value, dict) else None
    for name in variables if isinstance(variables, dict) else ():
        if is_of_a_run(name):
            message = f"{quoted(name)} is a variable that every run has: choose another name"
            yield Finding(("variables", name), message, at_key=True)


def _unsized(value: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        parse_size(value.get("max_bytes", 1))
    except ValueError as error:
        yield Finding(("max_bytes",), str(error))


def _built(name: str, root: Path, display: str, document: Document) -> Environment:
    given = document.value
    results = given.get("results", [])
    return Environment(
        name,
        root,
        display,
        variables=given.get("variables", {}),
        slo_factor=given.get("slo_factor", Environment.slo_factor),
        slo_factors=given.get("slo_factors", {}),
        allow=tuple(given.get("allow", ())),
        results=(results,) if isinstance(results, str) else tuple(results),
        max_bytes=parse_size(given["max_bytes"]) if "max_bytes" in given else None,
        max_runs=_whole(given.get("max_runs")),
        max_runs_per_host=_whole(given.get("max_runs_per_host")),
        marks={path: place.value for path, place in document.places.items()},
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
