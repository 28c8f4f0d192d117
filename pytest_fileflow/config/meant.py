"""A document of flows as they are meant, with where each value of them is written, whichever file that is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config.findings import Finding, path_text
from pytest_fileflow.config.places import Document
from pytest_fileflow.config.problems import Problem
from pytest_fileflow.config.recording import Recorded
from pytest_fileflow.config.scope import SIDES, TIMES
from pytest_fileflow.config.shape import part
from pytest_fileflow.config.shared import DEFAULTS, ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_fileflow.config.environment import Environment
    from pytest_fileflow.config.findings import Path
    from pytest_fileflow.config.places import Place
    from pytest_fileflow.config.scope import Scope
    from pytest_fileflow.config.shared import Shared


@dataclass
class MeantFlow:
    """A flow as it is meant.

    ``path`` is where it stands in its document, ``findings`` are what is wrong with what it asks to have
    put in, and ``problems`` what is wrong with what it is given by other files: ``spoilt`` are the paths
    to that. ``origin`` is file and line, ``times`` are how messages call the factor of its times.
    """

    value: Any
    path: Path
    origin: str
    findings: list[Finding] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    spoilt: list[Path] = field(default_factory=list)
    times: str = ""

    def is_spoilt(self, finding: Finding) -> bool:
        """Return whether a finding is but a consequence of what is told of another file."""
        return any(finding.path[: len(each)] == each for each in self.spoilt)

    @property
    def name(self) -> str:
        """Return how messages call the flow."""
        flow_id = self.value.get("flow_id") if isinstance(self.value, dict) else None
        return f"{flow_id}, {self.origin}" if isinstance(flow_id, str) and flow_id.isprintable() else self.origin


@dataclass(frozen=True)
class Explained:
    """A flow as it is meant, where its values are written, and how messages call the factor of its times."""

    value: dict[str, Any]
    places: Mapping[Path, Place]
    file: str
    times: str

    def origin(self, path: Path, environment: Environment | None) -> str | None:
        """Return where a value is written, with the variables in it and its factor; None for a default of the code."""
        place = self.places.get(path)
        times = f", {self.times}" if self.times and path in TIMES else ""
        if place is None:
            return f"default{times}" if times and path == TIMES[0] else None  # the others follow from the SLO
        names = [(name, _variable_place(name, environment)) for name in dict.fromkeys(place.names)]
        if place.source is not None:
            return f"{place.source[0]}:{place.source[1][0]} ({names[0][0]}){times}"
        written = f"{place.file or self.file}:{(place.key or place.value)[0]}"
        return written + "".join(f", {where} ({name})" if where else f" ({name})" for name, where in names) + times


def _variable_place(name: str, environment: Environment | None) -> str:
    return "" if environment is None or name not in environment.variables else environment.where("variables", name)


@dataclass
class Meant:
    """A document with its flows as they are meant; its places tell of other files, too."""

    document: Document
    flows: list[MeantFlow]
    display: str

    @classmethod
    def of(cls, document: Document, entries: Sequence[tuple[Path, Any]], scope: Scope, display: str) -> Meant:
        """Return what the flows of a document, each with its path, mean in a scope."""
        flows = []
        places: dict[Path, Place] = {}
        for path, written in entries:
            log = Recorded(path)
            flow = MeantFlow(written, path, f"{display}:{document.flow_line(path)}")
            if isinstance(written, dict):
                flow.value = scope.resolve(written, log)
                flow.times = _times(scope, flow.value)
                _tell_of_shared(flow, written, scope)
            own = {where: place for where, place in document.places.items() if where[: len(path)] == path}
            places |= _all_places(log.places(own, scope.environment), flow, written, scope)
            flow.findings = [finding for finding in log.findings if not flow.is_spoilt(finding)]
            flow.spoilt += [_spoilt_by(finding, path) for finding in log.findings]
            flows.append(flow)
        whole = Document(_with_flows(document.value, flows), {**document.places, **places}, document.findings)
        return cls(whole, flows, display)

    def explained(self, flow: MeantFlow) -> Explained:
        """Return a flow with the places of its values by their paths within it."""
        size = len(flow.path)
        places = {path[size:]: place for path, place in self.document.places.items() if path[:size] == flow.path}
        return Explained(flow.value, places, self.display, flow.times)

    def problem(self, flow: MeantFlow, finding: Finding) -> Problem:
        """Return a finding with its position; where that is in another file, it says which flow is concerned."""
        file, mark = self.document.spot(finding)
        message = finding.message
        if flow.times and finding.path[len(flow.path) :] in TIMES and not finding.at_key:
            message += f" ({flow.times})"
        if file not in (None, self.display):
            message += f" (used by {flow.name})"
        return Problem(file or self.display, *mark, path_text(finding.path), message)


def _spoilt_by(finding: Finding, path: Path) -> Path:
    """Return how far what is wrong with a flow goes: an end is nothing without the endpoint that it uses."""
    inner = finding.path[len(path) :]
    is_of_end = len(inner) == 2 and inner[0] in SIDES and inner[1] in ("use", "type")  # noqa: PLR2004 - side and key
    return finding.path[:-1] if is_of_end else finding.path


def _with_flows(value: Any, flows: Sequence[MeantFlow]) -> Any:
    if isinstance(value, dict) and isinstance(value.get("flows"), list):
        return {**value, "flows": [flow.value for flow in flows]}
    return value if isinstance(value, dict) and "flows" in value else flows[0].value


def _times(scope: Scope, value: Mapping[str, Any]) -> str:
    factor, path = scope.factor(dict(value))
    if scope.environment is None or factor == 1:
        return ""
    return f"times {factor:g} by {scope.environment.where(*path)}"


def _all_places(own: dict[Path, Place], flow: MeantFlow, written: Any, scope: Scope) -> dict[Path, Place]:
    """Return the places of a flow's own values, and of those that other files give, the nearest first."""
    found = dict(own)
    for at, shared, base in _givers(written, scope):
        for where, place in shared.places.items():
            if where[: len(base)] == base and len(where) > len(base):
                found.setdefault((*flow.path, *at, *where[len(base) :]), place)
    return found


def _givers(written: Any, scope: Scope) -> Iterator[tuple[Path, Shared, Path]]:
    """Yield what may give a flow a value that it has not itself: where, which file, and which part of it."""
    for side in SIDES:
        end = part(written, side) if isinstance(written, dict) else {}
        default = part(scope.defaults, side)
        name = end.get("use", default.get("use") if "type" not in end else None)
        if isinstance(name, str) and name in scope.endpoints:
            if "use" not in end:  # keys beside the default's "use" are put over the endpoint's own
                yield from (((side,), shared, (DEFAULTS, side)) for shared in scope.shared)
            yield (side,), scope.endpoints[name][1], (ENDPOINTS, name)
    yield from (((), shared, (DEFAULTS,)) for shared in scope.shared)


def _tell_of_shared(flow: MeantFlow, written: Mapping[str, Any], scope: Scope) -> None:
    """Tell, in one line for each part, what is wrong with what a flow is given by other files."""
    for shared in scope.shared:
        whole = [problem for path, problem in shared.problems if len(path) < 2 or path[0] not in (ENDPOINTS, DEFAULTS)]  # noqa: PLR2004 - a part's path names it
        if whole:
            flow.problems.append(_used(whole, flow))
            flow.spoilt.append(flow.path)
    told: set[Problem] = set()
    for at, shared, base in _givers(written, scope):
        needed = {
            where: problem
            for where, problem in shared.below(base)
            if (not where and at) or _is_given(flow, written, (*at, *where), scope, shared)
        }
        if needed and not told.issuperset(needed.values()):
            flow.problems.append(_used(list(needed.values()), flow))
            told.update(needed.values())
        flow.spoilt += [(*flow.path, *(at or where)) for where in needed]


def _is_given(flow: MeantFlow, written: Mapping[str, Any], path: Path, scope: Scope, shared: Shared) -> bool:
    """Return whether a flow has what stands at a path, and neither itself nor from a nearer file."""
    if _has(written, path) or not _has(flow.value, path):
        return False
    nearer = scope.shared[: scope.shared.index(shared)]
    return not any((DEFAULTS, *path) in each.places for each in nearer)


def _has(value: Any, path: Path) -> bool:
    for step in path:
        is_there = step in value if isinstance(value, dict) else isinstance(value, list) and step in range(len(value))
        if not is_there:
            return False
        value = value[step]
    return True


def _used(problems: Sequence[Problem], flow: MeantFlow) -> Problem:
    more = f"; and {len(problems) - 1} more there" if len(problems) > 1 else ""
    return replace(problems[0], message=f"{problems[0].message}{more} (used by {flow.name})")
