"""Reads ``groups/NAME.json``: which flows belong together, by their ids."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config.documents import SUFFIXES, UnusableError, problem, read_one
from pytest_fileflow.config.findings import Finding, quoted, suggestion
from pytest_fileflow.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from pytest_fileflow.config.findings import Path as JsonPath

FOLDER = "groups"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SPECIAL = frozenset("*?[")
_KEYS = ("flows", "description", "$schema")
_MUST_BE = "must be a list of flow ids, or an object with flows, such a list, and a description"


class BadGroup(ValueError):
    """A group that is not there or cannot be used; the message has a line for each thing wrong."""


@dataclass(frozen=True)
class Member:
    """A flow id of a group, or a shell-style pattern of ids; ``where`` is ``file:line:col  $.path``."""

    flow_id: str
    where: str

    @property
    def is_pattern(self) -> bool:
        """Return whether this may be about many flows."""
        return bool(_SPECIAL & set(self.flow_id))

    def matches(self, flow_id: str) -> bool:
        """Return whether a flow is meant."""
        return flow_id == self.flow_id or (self.is_pattern and fnmatch.fnmatchcase(flow_id, self.flow_id))


@dataclass(frozen=True)
class Groups:
    """The members of all groups that were asked for; a flow of any of them is meant."""

    members: tuple[Member, ...]

    def holds(self, flow_id: str) -> bool:
        """Return whether a flow is in any of the groups."""
        return any(member.matches(flow_id) for member in self.members)

    def missed(self, flow_ids: Collection[str]) -> list[str]:
        """Return a line for each member that means none of the flows there are."""
        known = set(flow_ids)
        missed = [
            member
            for member in self.members
            if member.flow_id not in known and not (member.is_pattern and any(map(member.matches, known)))
        ]
        return [f"{member.where}  {_no_flow(member, known)}" for member in missed]


def _no_flow(member: Member, known: Collection[str]) -> str:
    if member.is_pattern:
        return f"no flow's id matches {quoted(member.flow_id)}{suggestion(member.flow_id, known)}"
    return f"no flow is called {quoted(member.flow_id)}{suggestion(member.flow_id, known)}"


def read_groups(names: Sequence[str], folders: Iterable[Path]) -> Groups:
    """Return the members of groups, each from the first of the folders that has it; raises BadGroup."""
    folders = list(dict.fromkeys(folders))
    return Groups(tuple(member for name in names for member in _read_group(name, folders)))


def _read_group(name: str, folders: Sequence[Path]) -> Iterator[Member]:
    if not _NAME.fullmatch(name):
        raise BadGroup(f'{name!r} is not the name of a group: letters, digits, "_", "." and "-"')
    for folder in folders:
        found = [path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
        if len(found) > 1:
            raise BadGroup(f"{FOLDER}/{found[1].name} lies beside {found[0].name}: keep one of them")
        if found:
            return _members(found[0])
    raise BadGroup(_missing(name, folders))


def _missing(name: str, folders: Sequence[Path]) -> str:
    names = sorted({path.stem for folder in folders for path in folder.glob("*") if path.suffix in SUFFIXES})
    near = nearest(name, names)
    meant = f"; did you mean {near!r}?" if near else ""
    known = f" (there are {', '.join(names)})" if names else f": there is no folder {FOLDER}/ with such files"
    return f"there is no {FOLDER}/{name}.json, .yaml or .yml in {' or '.join(map(str, folders))}{meant}{known}"


def _members(path: Path) -> Iterator[Member]:
    display = f"{FOLDER}/{path.name}"
    try:
        document = read_one(path, display)
    except UnusableError as error:
        raise BadGroup(str(error)) from None
    where, listed = _listed(document.value)
    found = [*document.findings, *_wrong(document.value, where, listed)]
    if found:
        raise BadGroup("\n".join(str(problem(document, display, each)) for each in dict.fromkeys(found)))
    for index, flow_id in enumerate(listed):
        told = problem(document, display, Finding((*where, index), ""))
        yield Member(flow_id, f"{told.file}:{told.line}:{told.column}  {told.path}")


def _listed(value: Any) -> tuple[JsonPath, Any]:
    return (("flows",), value.get("flows")) if isinstance(value, dict) else ((), value)


def _wrong(value: Any, where: JsonPath, listed: Any) -> Iterator[Finding]:
    for key in value if isinstance(value, dict) else ():
        if key not in _KEYS and not key.startswith("x-"):
            yield Finding((key,), f"unknown key {quoted(key)}{suggestion(key, _KEYS)}", at_key=True)
    if not isinstance(listed, list):
        yield Finding(where if isinstance(value, dict) and "flows" in value else (), _MUST_BE)
        return
    if not listed:
        yield Finding(where, "names no flow: a run of nothing proves nothing")
    for index, flow_id in enumerate(listed):
        if not isinstance(flow_id, str) or not flow_id:
            yield Finding((*where, index), "must be a flow id, or a pattern like acme_*")
