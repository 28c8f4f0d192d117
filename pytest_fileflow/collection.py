"""From files to items: which files are flows, and how each case becomes a pytest.Function."""

from __future__ import annotations

import fnmatch
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow.config import BrokenFlow, Problem, load_file, may_hold_flow
from pytest_fileflow.model import Case

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_fileflow.model import Flow
    from pytest_fileflow.registry import Registry
    from pytest_fileflow.settings import Settings

SUFFIXES = (".json", ".yaml", ".yml")
STANDARD_MARKERS = ("smoke", "typical", "stress")

# Beyond its SLO and grace a case seeds, verifies and cleans up, and may queue for its turn.
BACKSTOP_MARGIN_SECONDS = 300
BACKSTOP_BYTES_PER_SECOND = 256 * 1024

CASE: pytest.StashKey[Case] = pytest.StashKey()
BROKEN: pytest.StashKey[BrokenFlow] = pytest.StashKey()


@dataclass(frozen=True)
class Claims:
    """Which JSON and YAML files are flows.

    Below ``named`` every such file must be a flow. Elsewhere a file is one if its name says so
    (``x.flow.json``), or if it lies below a ``flows`` folder and has a ``flow_id``: other tools'
    files are left alone.
    """

    named: tuple[Path, ...]
    root: Path

    def claims(self, path: Path) -> bool:
        """Return whether a file is to be read as a flow."""
        if any(path == place or place in path.parents for place in self.named):
            return True
        if Path(path.stem).suffix == ".flow":
            return True
        return _below_flows(path.parent, self.root) and may_hold_flow(path)


def named_places(config: pytest.Config, settings: Settings) -> tuple[Path, ...]:
    """Return the files and folders that the command line or the ini file names as flows.

    A folder on the command line that is neither called ``flows`` nor free of Python tests is an
    ordinary test folder, whose data files are nobody's flows.
    """
    if config.args_source is pytest.Config.ArgsSource.INVOCATION_DIR:
        return settings.paths
    here = config.invocation_params.dir
    places = [Path(os.path.normpath(here / argument.split("::", 1)[0])) for argument in config.args]
    patterns = config.getini("python_files")
    return (*settings.paths, *(place for place in places if _holds_flows(place, config.rootpath, patterns)))


def _holds_flows(place: Path, root: Path, patterns: list[str]) -> bool:
    if not place.is_dir():
        return place.suffix in SUFFIXES
    return _below_flows(place, root) or not _has_python_tests(place, patterns)


def _below_flows(folder: Path, root: Path) -> bool:
    """Return whether a folder is called ``flows``, or one above it within the project is."""
    inside = folder.relative_to(root).parts if folder == root or root in folder.parents else (folder.name,)
    return "flows" in (inside or (folder.name,))


def _has_python_tests(folder: Path, patterns: list[str]) -> bool:
    names = (name for _, _, files in os.walk(folder) for name in files)
    return any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns)


@dataclass
class Collector:
    """What collecting needs to know, and remembers: where each flow_id was first seen."""

    settings: Settings
    claims: Claims
    registry: Registry
    seen: dict[str, tuple[str, tuple[Path, int]]] = field(default_factory=dict)

    def collect_file(self, path: Path, parent: pytest.Collector) -> FlowFile | None:
        """Return a collector for a file that is a flow."""
        if self.settings.results in path.parents or not self.claims.claims(path):
            return None  # our own records are no flows
        file = FlowFile.from_parent(parent, path=path)
        file.collector = self
        return file

    def load(self, path: Path, display: str) -> Iterator[Flow | BrokenFlow]:
        """Read a file's flows; one whose flow_id was seen before, here or elsewhere, is broken."""
        patterns = {name: self.registry.pattern_for(name).size_problem for name in self.registry.pattern_names()}
        loaded = load_file(
            path,
            display=display,
            sandbox=self.settings.sandbox,
            patterns=patterns,
            checks=self.registry.check_names(),
        )
        for index, flow in enumerate(loaded):
            yield flow if isinstance(flow, BrokenFlow) else self._unique(flow, (path, index), display)

    def _unique(self, flow: Flow, place: tuple[Path, int], display: str) -> Flow | BrokenFlow:
        origin, first = self.seen.setdefault(flow.flow_id, (flow.origin, place))
        if first == place:
            return flow
        line = int(flow.origin.rpartition(":")[2])
        message = f"duplicate flow_id {flow.flow_id!r}: it is defined at {origin} too; rename one of them"
        return BrokenFlow(flow.flow_id, line, (Problem(display, line, 1, "$.flow_id", message),))


class FlowFile(pytest.File):
    """A JSON or YAML file with one flow or several."""

    collector: Collector

    def collect(self) -> Iterator[pytest.Item]:
        """Yield an item for every case, and one for everything that is broken."""
        display = self.nodeid or self.path.name
        for loaded in self.collector.load(self.path, display):
            if isinstance(loaded, BrokenFlow):
                yield self._broken(loaded)
            else:
                yield from (self._case(Case(loaded, variant)) for variant in loaded.testdata.variants)

    def _broken(self, broken: BrokenFlow) -> FlowItem:
        item = FlowItem.from_parent(self, name=f"{broken.name}[config]", callobj=report_problems)
        item.line = broken.line
        item.stash[BROKEN] = broken
        return item

    def _case(self, case: Case) -> FlowItem:
        item = FlowItem.from_parent(self, name=case.name, callobj=transfer)
        item.line = int(case.flow.origin.rpartition(":")[2])
        item.stash[CASE] = case
        sizes = (case.variant.name,) if case.variant.name else ()
        for name in dict.fromkeys((*sizes, *case.flow.tags)):
            self.config.addinivalue_line("markers", f"{name}: flows tagged or sized {name}")
            item.add_marker(name)
        if not case.flow.enabled and not self.collector.settings.include_disabled:
            reason = f"{case.flow.flow_id} is disabled in {case.flow.origin} (--fileflow-include-disabled runs it)"
            item.add_marker(pytest.mark.skip(reason=reason))
        if self.config.pluginmanager.hasplugin("timeout"):
            item.add_marker(_backstop(case))
        return item


def _backstop(case: Case) -> pytest.MarkDecorator:
    seconds = case.flow.give_up_seconds + BACKSTOP_MARGIN_SECONDS
    seconds += case.variant.size / BACKSTOP_BYTES_PER_SECOND
    # The thread method ends the process without cleaning up: only where there is nothing else.
    method = "signal" if hasattr(signal, "SIGALRM") else "thread"
    return pytest.mark.timeout(seconds, method=method)


class FlowItem(pytest.Function):
    """One case of a flow, or one broken flow; reported at its line in the config file."""

    line: int = 1

    @property
    def id(self) -> Any:
        """Return pytest's structured node id (9.2 and later), with the brackets as parameters.

        pytest parses the ids that it has stored, for ``--lf``, and compares them with this one.
        """
        own = super().id
        return type(own).parse(str(own))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return file, 0-based line and name, for pytest's own reports."""
        return self.path, self.line - 1, self.name


def transfer(fileflow_run: object) -> None:
    """Fail with the run's report where the flow is at fault; the fixture has done the work."""
    text = getattr(fileflow_run, "failure", None)
    if text:
        pytest.fail(str(text), pytrace=False)


def report_problems(request: pytest.FixtureRequest) -> None:
    """Fail with all the problems of a broken config, a line each."""
    problems = request.node.stash[BROKEN].problems
    lines = [str(problem) for problem in problems]
    noun = "problem" if len(lines) == 1 else "problems"
    pytest.fail("\n".join((f"config.invalid: {len(lines)} {noun} in {problems[0].file}", *lines)), pytrace=False)


def mark_broken(items: Iterable[pytest.Item]) -> None:
    """Let ``-m`` select a broken flow by any tag: what it would have been tagged is not known.

    A flow that nobody can read must not drop silently out of ``-m nightly``.
    """
    items = [item for item in items if isinstance(item, FlowItem)]
    broken = [item for item in items if BROKEN in item.stash]
    if not broken:
        return
    names = {name for item in items if CASE in item.stash for name in item.stash[CASE].flow.tags}
    names |= {variant.name for item in items if CASE in item.stash for variant in (item.stash[CASE].variant,)} - {""}
    for item in broken:
        for name in sorted(names | set(STANDARD_MARKERS)):
            item.add_marker(name)
