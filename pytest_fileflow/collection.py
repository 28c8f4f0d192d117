"""From files to items: how each case of a flow becomes a pytest.Function."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import inspect
import os
import re
import signal
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow.cases import cases_of
from pytest_fileflow.claims import GROUPS, is_shared
from pytest_fileflow.config import BrokenFlow, Problem, flow_loader, may_hold_flow
from pytest_fileflow.model import Case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_fileflow.claims import Claims, Folder
    from pytest_fileflow.model import Flow
    from pytest_fileflow.registry import Registry
    from pytest_fileflow.settings import Settings
    from pytest_fileflow.stores.shelf import Entry

STANDARD_MARKERS = ("smoke", "typical", "stress", "contract", "canary", "negative")
KIND_MARKERS = {"contract": "contract", "canary": "canary", "rejects": "negative"}

# Beyond its SLO and grace a case seeds, verifies and cleans up, and may queue for its turn.
BACKSTOP_MARGIN_SECONDS = 300
BACKSTOP_BYTES_PER_SECOND = 256 * 1024

CASE: pytest.StashKey[Case] = pytest.StashKey()
BROKEN: pytest.StashKey[BrokenFlow] = pytest.StashKey()


def asks_for_canaries(config: pytest.Config) -> bool:
    """Return whether ``-m``, ``-k`` or a node id names canaries: else there are none, since each doubles a contract."""
    words = f"{config.getoption('markexpr', '')} {config.getoption('keyword', '')}"
    return bool(re.search(r"\bcanary\b", words)) or any(argument.endswith("[canary]") for argument in config.args)


class FixturesOfFolders:
    """Lets pytest find out once for each folder which fixtures its flows use, and not for each flow.

    Flows in files side by side see the same fixtures. pytest shares what it has found out among the ids
    of a parametrized test, by ``fixtureinfo``, a parameter of ``pytest.Function``; the attribute that it is
    taken from is pytest's own. Where either is gone, pytest looks for each item, and only time is lost.
    """

    def __init__(self) -> None:
        self._found: dict[pytest.Collector | None, Any] = {}
        self._takes_it = "fixtureinfo" in inspect.signature(pytest.Function.__init__).parameters

    def make(self, file: Flows, name: str) -> FlowItem:
        """Return a file's item for a case; one whose file a plugin has marked (usefixtures) has its own fixtures."""
        info = None if file.own_markers else self._found.get(file.parent)
        if info is not None:
            return FlowItem.from_parent(file, name=name, callobj=transfer, fixtureinfo=info)
        item = FlowItem.from_parent(file, name=name, callobj=transfer)
        if self._takes_it and not file.own_markers:
            self._found[file.parent] = getattr(item, "_fixtureinfo", None)
        return item


@dataclass
class Collector:
    """What collecting needs to know, and remembers: where each flow_id was first seen, what holds for many files.

    ``roots`` are the config roots, above which flows share nothing. ``stored`` are the entries of config
    stores, by the paths of their local copies.
    """

    settings: Settings
    claims: Claims
    registry: Registry
    with_canaries: bool
    rootdir: Path
    roots: tuple[Path, ...] = ()
    seen: dict[str, tuple[str, Path, int]] = field(default_factory=dict)
    flows: dict[str, Flow] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    has_nameless: bool = False  # whether a flow was met whose id cannot be told
    folders: dict[str, Folder] = field(default_factory=dict)
    markers: dict[str, pytest.MarkDecorator] = field(default_factory=dict)
    fixtures: FixturesOfFolders = field(init=False)
    stored: Mapping[str, Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.fixtures = FixturesOfFolders()
        self.loader = flow_loader(
            sandbox=self.settings.sandbox,
            patterns=self.registry.size_problems(),
            checks=self.registry.checks(),
            environment=self.settings.environment,
            roots=self.roots,
            display=self._display,
            home=self._home,
        )

    def _display(self, path: Path) -> str:
        """Return how messages call a file that flows share: by its address, or from the project on."""
        entry = self.stored.get(str(path))
        if entry is not None:
            return entry.display
        return path.relative_to(self.rootdir).as_posix() if self.rootdir in path.parents else str(path)

    def _home(self, path: Path) -> Path:
        """Return the folder from which on a file names others; what a store holds stands in the project for that."""
        entry = self.stored.get(str(path)) if self.stored else None
        return path.parent if entry is None else (self.rootdir / entry.path).parent

    def collect_file(self, path: Path, parent: pytest.Collector) -> Flows | None:
        """Return a collector for a file that is a flow."""
        entry = self.stored.get(str(path)) if self.stored else None
        if entry is not None:
            is_group = path.parent.name == GROUPS and not entry.problem and not may_hold_flow(path)
            return None if is_group else StoredFlows.of(self, entry, path, parent)
        place = os.path.dirname(path)  # noqa: PTH120 - a third of the time, for every file
        folder = self.folders.get(place)
        if folder is None:
            folder = self.folders[place] = self.claims.folder(path.parent)
        if not self.claims.claims(path, folder):
            return None
        # pytest works out the same name, from two paths, or one of its own where the parent is not the folder
        name = path.name if parent.path == folder.path else None
        file = FlowFile.from_parent(parent, path=path, name=name)
        file.collector = self
        file.folder = folder.path
        return file

    def expand(self, folder: pytest.Directory, found: list[pytest.Item | pytest.Collector]) -> None:
        """Put the items of flow files in the place of the files, where all of a folder is collected.

        pytest would come to the same items file by file, with reports and hooks for each of them that
        take as long as reading it. Files that the command line names are left to pytest, which looks
        for them by their names, and so are all with ``--lf``, which leaves out whole files.
        """
        session = folder.session
        if session.config.getoption("lf", default=False) or not any(isinstance(node, Flows) for node in found):
            return
        if not any(session.isinitpath(path) for path in (folder.path, *folder.path.parents)):
            return
        with _without_garbage_collection():
            found[:] = [each for node in found for each in _items_of(node)]

    def marker(self, name: str, config: pytest.Config) -> pytest.MarkDecorator:
        """Return a tag's or size's marker; the first time it becomes known to pytest."""
        if name not in self.markers:
            config.addinivalue_line("markers", f"{name}: flows tagged or sized {name}")
            self.markers[name] = getattr(pytest.mark, name)
        return self.markers[name]

    def cases(self, flow: Flow) -> Iterator[Case]:
        """Return the cases of a flow in the order of their items; in a rehearsal, one for each fault."""
        faults = self.settings.rehearse
        if faults is None:
            return cases_of(flow, canary=self.with_canaries)
        from pytest_fileflow.payload import configured
        from pytest_fileflow.rehearsal import cases

        if not flow.enabled and not self.settings.include_disabled:
            return iter([Case(flow, flow.testdata.variants[0])])  # one is enough to show that it is skipped
        pattern = configured(self.registry.pattern_for(flow.testdata.pattern), flow.testdata.options)
        return cases(flow, faults, pattern.size_problem)

    def load(self, path: Path, display: str) -> list[Flow | BrokenFlow]:
        """Read a file's flows; one whose flow_id was seen before, here or elsewhere, is broken."""
        loaded = [
            flow if isinstance(flow, BrokenFlow) else self._unique(flow, (flow.origin, path, index), display)
            for index, flow in enumerate(self._read(path, display))
        ]
        for flow in loaded:
            if isinstance(flow, BrokenFlow):
                self.broken.add(flow.name)
                self.has_nameless = self.has_nameless or not flow.has_id
            else:
                self.flows[flow.flow_id] = flow
        return loaded

    def _read(self, path: Path, display: str) -> tuple[Flow | BrokenFlow, ...]:
        return self.loader.load_shared(path) if is_shared(path) else self.loader.load(path, display)

    def _unique(self, flow: Flow, place: tuple[str, Path, int], display: str) -> Flow | BrokenFlow:
        first = self.seen.setdefault(flow.flow_id, place)
        if first[1:] != place[1:]:
            message = f"duplicate flow_id {flow.flow_id!r}: it is defined at {first[0]} too; rename one of them"
            return _broken(flow, display, "$.flow_id", message)
        if not flow.alerts and self.settings.alerts_default:
            flow = replace(flow, alerts=self.settings.alerts_default)
        if flow.faults and self.settings.sandbox:
            return self._able(flow, display)
        return flow

    def _able(self, flow: Flow, display: str) -> Flow | BrokenFlow:
        """Return the flow, broken where its config wants a fault that it cannot have, and no option says otherwise."""
        from pytest_fileflow.faults import Fault
        from pytest_fileflow.switching import faults_of

        for index, text in enumerate(faults_of(self.settings.fault_rules, flow)):
            problem = Fault.parse(text).problem_in(flow)
            if problem is not None and text in flow.faults:
                return _broken(flow, display, f"$.sandbox.faults[{index}]", problem)
        return flow


def _broken(flow: Flow, display: str, path: str, message: str) -> BrokenFlow:
    line = _line(flow)
    return BrokenFlow(flow.flow_id, line, (Problem(display, line, 1, path, message),))


def _line(flow: Flow) -> int:
    return int(flow.origin.rpartition(":")[2])


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Keep Python from looking, again and again, for garbage among thousands of new items that all stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _items_of(node: pytest.Item | pytest.Collector) -> list[pytest.Item | pytest.Collector]:
    """Return the items of a flow file; of anything else, and where a plugin's code fails, the node itself."""
    if not isinstance(node, Flows) or node.session.isinitpath(node.path):
        return [node]
    try:
        return node.collect()
    except (Exception, pytest.fail.Exception, pytest.skip.Exception):  # noqa: BLE001 - pytest collects the file then
        return [node]


class Flows(pytest.Collector):
    """One flow or several that lie in one file."""

    collector: Collector
    folder: Path

    @property
    def ihook(self) -> Any:
        """Return the hooks that hold in the file's folder: pytest would look the file itself up on disk."""
        return self.session.gethookproxy(self.folder)

    @property
    def display(self) -> str:
        """Return how messages call the file."""
        return self.nodeid or self.path.name

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        """Return an item for every case, and one for everything that is broken."""
        items: list[pytest.Item | pytest.Collector] = []
        for loaded in self.load():
            if isinstance(loaded, BrokenFlow):
                items.append(self._broken(loaded))
            else:
                items += [self._case(case) for case in self.collector.cases(loaded)]
        return items

    def load(self) -> list[Flow | BrokenFlow]:
        """Return the flows of the file, and what is broken in it."""
        return self.collector.load(self.path, self.display)

    def _broken(self, broken: BrokenFlow) -> FlowItem:
        item = FlowItem.from_parent(self, name=f"{broken.name}[config]", callobj=report_problems)
        item.line = broken.line
        item.stash[BROKEN] = broken
        return item

    def _case(self, case: Case) -> FlowItem:
        item = self.collector.fixtures.make(self, case.name)
        item.line = _line(case.flow)
        item.stash[CASE] = case
        kind = KIND_MARKERS.get(case.kind, case.variant.name)
        for name in dict.fromkeys((kind, *case.flow.tags) if kind else case.flow.tags):
            item.add_marker(self.collector.marker(name, self.config))
        if not case.flow.enabled and not self.collector.settings.include_disabled:
            reason = f"{case.flow.flow_id} is disabled in {case.flow.origin} (--fileflow-include-disabled runs it)"
            item.add_marker(pytest.mark.skip(reason=reason))
        if self.config.pluginmanager.hasplugin("timeout"):
            item.add_marker(_backstop(_longest_seconds(case)))
        return item


class FlowFile(Flows, pytest.File):
    """A JSON or YAML file with one flow or several."""


class StoredFlows(Flows):
    """An object or item of a config store; its path is that of the local copy, its id its address.

    It is no ``pytest.File``: with ``--lf`` pytest leaves out files that ids as paths do not lead to.
    """

    entry: Entry

    @property
    def display(self) -> str:
        """Return how messages call the entry."""
        return self.entry.display

    @classmethod
    def of(cls, collector: Collector, entry: Entry, path: Path, parent: pytest.Collector) -> StoredFlows:
        """Return the collector of an entry; the hooks and fixtures of the project's root folder hold for it."""
        flows: StoredFlows = cls.from_parent(parent, name=path.name, path=path, nodeid=entry.uri)
        flows.collector, flows.entry, flows.folder = collector, entry, flows.config.rootpath
        return flows

    def load(self) -> list[Flow | BrokenFlow]:
        """Return the flows of the entry, or why it could not be read."""
        if not self.entry.problem:
            return super().load()
        problem = Problem(self.display, 1, 1, "$", self.entry.problem)
        return [BrokenFlow(self.path.stem, 1, (problem,))]


def _longest_seconds(case: Case) -> float:
    """Return how long a case may take at most, its turn included; what only looks does not wait for a file."""
    waits = 0.0 if case.kind in ("contract", "canary") else case.flow.give_up_seconds
    if case.refusal is not None:
        from pytest_fileflow.negative.trial import longest_seconds  # only where there is one: it costs imports

        waits += longest_seconds(case.flow, case.refusal)
    return BACKSTOP_MARGIN_SECONDS + waits + case.variant.size / BACKSTOP_BYTES_PER_SECOND


@functools.lru_cache
def _backstop(seconds: float) -> pytest.MarkDecorator:
    # The thread method ends the process without cleaning up: only where there is nothing else.
    method = "signal" if hasattr(signal, "SIGALRM") else "thread"
    return pytest.mark.timeout(seconds, method=method)


class FlowItem(pytest.Function):
    """One case of a flow, or one broken flow; reported at its line in the config file."""

    line: int = 1

    @property
    def ihook(self) -> Any:
        """Return the hooks that hold for the file."""
        return self.parent.ihook if self.parent is not None else super().ihook

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


def belongs(item: pytest.Item, is_meant: Callable[[str], bool]) -> bool:
    """Return whether an item is of a flow whose id is meant, or cannot be told, or of no flow at all."""
    if BROKEN in item.stash:
        return not item.stash[BROKEN].has_id or is_meant(item.stash[BROKEN].name)
    if CASE not in item.stash:
        return True
    case = item.stash[CASE]
    return is_meant(case.rehearsal.flow_id if case.rehearsal else case.flow.flow_id)


def enabled_cases(items: Iterable[pytest.Item], *, include_disabled: bool) -> list[Case]:
    """Return the cases of items whose flows are not skipped as disabled."""
    cases = [item.stash[CASE] for item in items if CASE in item.stash]
    return [case for case in cases if case.flow.enabled or include_disabled]


def load_for(items: Iterable[pytest.Item]) -> None:
    """Import what the endpoints of these flows need."""
    flows = [item.stash[CASE].flow for item in items if CASE in item.stash]
    needed = {end.type for flow in flows for end in (flow.source, flow.target)}
    if needed:
        for name in ("launcher", "invoke", "endpoints.s3", *(["endpoints.sftp"] if "SFTP" in needed else [])):
            importlib.import_module(f"pytest_fileflow.{name}")
        importlib.import_module("boto3")
