"""Makes the list of cases that an execution runs, from the flows of a config store."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from pytest_fileflow.aws.history import LONGEST_SECONDS
from pytest_fileflow.aws.state import size_of
from pytest_fileflow.cases import cases_of
from pytest_fileflow.config import BrokenFlow, flow_loader, may_hold_flow
from pytest_fileflow.config.environment import BadEnvironment, read_environment
from pytest_fileflow.config.groups import FOLDER, BadGroup, read_groups
from pytest_fileflow.config.secret_names import kind_of
from pytest_fileflow.config.shared import NAMES
from pytest_fileflow.cost import Cost
from pytest_fileflow.errors import ConfigInvalid, OverBudget
from pytest_fileflow.model import Kind, SftpLocation, format_size
from pytest_fileflow.portable import dump
from pytest_fileflow.stores import FLOWS, read_store
from pytest_fileflow.stores.shelf import Shelf
from pytest_fileflow.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.config.environment import Environment
    from pytest_fileflow.config.groups import Groups
    from pytest_fileflow.model import Case, Flow
    from pytest_fileflow.registry import Registry
    from pytest_fileflow.results.places import Place
    from pytest_fileflow.stores.shelf import Entry, Snapshot

KINDS: Final = get_args(Kind)
USUAL_KINDS: Final = tuple(kind for kind in KINDS if kind != "canary")  # a canary doubles a contract
CASE_BYTES: Final = 16 * 1024
"""What a case may have, as JSON: half of what a state may have, the run has the rest."""

_KEYS: Final = ("group", "flow_id", "cases")


@dataclass(frozen=True)
class Request:
    """Which cases are wanted: of the flows of groups, or with these ids, or of all that are enabled; of which kinds."""

    groups: tuple[str, ...] = ()
    flow_ids: tuple[str, ...] = ()
    kinds: tuple[str, ...] = USUAL_KINDS

    @classmethod
    def parse(cls, told: object) -> Request:
        """Read an execution's input: ``{}``, ``{"group": NAME}``, ``{"flow_id": ID}``, ``{"cases": [KIND, …]}``.

        Each may be a text or a list of texts. Raises ConfigInvalid.
        """
        if not isinstance(told, dict):
            raise ConfigInvalid("the input of an execution is an object, as {}")
        for key in told:
            if key not in _KEYS:
                near = nearest(str(key), _KEYS)
                meant = f"; did you mean {near!r}?" if near else f": it has {', '.join(_KEYS)}"
                raise ConfigInvalid(f"the input of an execution has no {key!r}{meant}")
        kinds = _texts(told, "cases") or USUAL_KINDS
        for kind in kinds:
            if kind not in KINDS:
                raise ConfigInvalid(f"cases: {kind!r} is none of {', '.join(KINDS)}")
        return cls(_texts(told, "group"), _texts(told, "flow_id"), kinds)


def _texts(told: Mapping[str, Any], key: str) -> tuple[str, ...]:
    if key not in told:
        return ()
    value = told[key]
    texts = (value,) if isinstance(value, str) else value
    # A list without any text is not taken for all there is.
    if not texts or not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) and text for text in texts):
        raise ConfigInvalid(f"{key}: it is a text or a list of texts, as in {{{json.dumps(key)}: …}}")
    return tuple(texts)


@dataclass(frozen=True)
class Listed:
    """The cases that an execution runs, and a line for each thing that is wrong with what it should have run.

    ``flows`` are those that alerts are about, ``allow`` the patterns of what may be touched, of the environment.
    """

    cases: tuple[Case, ...]
    problems: tuple[str, ...] = ()
    flows: tuple[Flow, ...] = ()
    allow: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Source:
    """Where flows come from: a config store, with what it needs; ``environment`` is the name of one of the store's."""

    store: Place
    clients: AwsClients
    registry: Registry
    copies: Path
    environment: str = ""
    sandbox: bool = False

    def list(self, request: Request) -> Listed:
        """Read the store, and return what is wanted of it.

        A flow that cannot be used keeps no other from being run. Raises ConfigInvalid where nothing is wanted,
        or the environment, a group or a flow is not there, OverBudget, and what reading the store raises.
        """
        snapshot = read_store(self.store, lambda: self.clients, lambda name: Shelf.of(self.copies, name)).snapshot
        environment = self._environment(snapshot)
        found = _Found(snapshot, self._loaded(snapshot, environment))
        groups = _groups(request.groups, snapshot)
        flows, problems = found.wanted(request.flow_ids, groups)
        kept: list[Flow] = []
        cases: list[Case] = []
        for flow in flows:
            problem = None if self.sandbox else _needs_a_file(flow)
            bare = dataclasses.replace(flow, alerts={})  # whom to tell, no step of a run has to know
            own = [case for case in cases_of(bare, canary=True) if case.kind in request.kinds]
            problem = problem or _too_slow(flow) or next(filter(None, map(_too_large, own)), None)
            if problem:
                problems.append(f"{flow.origin}  {flow.flow_id}: {problem}")
                continue
            kept.append(flow)
            cases += own
        if not cases and not problems:
            raise ConfigInvalid(f"nothing is to be run: {self.store} has no enabled flow with such a case")
        allow: tuple[tuple[str, ...], ...] = ()
        if environment is not None:
            _require_budget(environment, cases)
            allow = (tuple(environment.allow),) if ("allow",) in environment.marks else ()
        return Listed(tuple(cases), tuple(problems), tuple(kept), allow)

    def _environment(self, snapshot: Snapshot) -> Environment | None:
        if not self.environment:
            return None
        try:
            return read_environment(self.environment, [snapshot.folder])
        except BadEnvironment as error:
            raise ConfigInvalid(f"FILEFLOW_ENV: {_as_addresses(str(error), snapshot, self.store)}") from None

    def _loaded(self, snapshot: Snapshot, environment: Environment | None) -> Iterator[tuple[Entry, Flow | BrokenFlow]]:
        shown = {f"{snapshot.folder}/{entry.path}": entry.display for entry in snapshot.entries}
        loader = flow_loader(
            sandbox=self.sandbox,
            patterns=self.registry.size_problems(),
            checks=self.registry.checks(),
            environment=environment,
            roots=(snapshot.folder,),
            display=lambda path: shown.get(str(path), str(path)),
        )
        for entry in snapshot.of_kind(FLOWS):
            path = snapshot.folder / entry.path
            if path.parent.name == FOLDER and not entry.problem and not may_hold_flow(path):
                continue  # groups may lie among flows
            if path.name in NAMES:
                loaded: Iterable[Flow | BrokenFlow] = loader.load_shared(path)
            elif entry.problem:
                loaded = (_unread(entry),)
            else:
                loaded = loader.load(path, entry.display)
            for each in loaded:
                yield entry, each


def _unread(entry: Entry) -> BrokenFlow:
    from pytest_fileflow.config import Problem

    return BrokenFlow(Path(entry.path).stem, 1, (Problem(entry.display, 1, 1, "$", entry.problem),), has_id=False)


@dataclass(frozen=True)
class _Found:
    """What a store has."""

    snapshot: Snapshot
    loaded: Iterable[tuple[Entry, Flow | BrokenFlow]] = field(repr=False)

    def wanted(self, flow_ids: tuple[str, ...], groups: Groups | None) -> tuple[list[Flow], list[str]]:
        """Return the flows that are wanted and enabled, and a line for each problem; raises ConfigInvalid."""
        flows: dict[str, Flow] = {}
        broken: dict[str, list[str]] = {}
        problems: list[str] = []
        for _, each in self.loaded:
            if isinstance(each, BrokenFlow):
                lines = [str(problem) for problem in each.problems]
                if not each.has_id or _is_wanted(each.name, flow_ids, groups):
                    problems += lines
                broken[each.name] = lines
            elif each.flow_id in flows:
                if _is_wanted(each.flow_id, flow_ids, groups):
                    first = flows[each.flow_id].origin
                    problems.append(f"{each.origin}  $.flow_id  {each.flow_id!r} is the id of a flow in {first} too")
            else:
                flows[each.flow_id] = each
        known = {*flows, *broken}
        for flow_id in flow_ids:
            if flow_id not in known:
                near = nearest(flow_id, known)
                raise ConfigInvalid(f"there is no flow {flow_id!r}{f'; did you mean {near!r}?' if near else ''}")
        if groups is not None:
            problems += groups.missed(known)
        # A flow that is asked for by its id is run, enabled or not.
        chosen = [
            flow
            for flow in flows.values()
            if _is_wanted(flow.flow_id, flow_ids, groups) and (flow.enabled or flow.flow_id in flow_ids)
        ]
        return chosen, problems


def _is_wanted(flow_id: str, flow_ids: tuple[str, ...], groups: Groups | None) -> bool:
    if not flow_ids and groups is None:
        return True
    return flow_id in flow_ids or (groups is not None and groups.holds(flow_id))


def _groups(names: tuple[str, ...], snapshot: Snapshot) -> Groups | None:
    if not names:
        return None
    folders = [snapshot.folder / FOLDER, snapshot.folder / FLOWS / FOLDER]
    try:
        return read_groups(names, folders)
    except BadGroup as error:
        raise ConfigInvalid(f"group: {str(error).replace(f'{snapshot.folder}/', '')}") from None


def _as_addresses(text: str, snapshot: Snapshot, store: Place) -> str:
    return text.replace(str(snapshot.folder), str(store))


def _needs_a_file(flow: Flow) -> str | None:
    """Return why a flow cannot be run where nothing but AWS is at hand, or None."""
    secrets = [end.secret_arn for end in (flow.source, flow.target) if isinstance(end, SftpLocation)]
    secrets += [str(check.options["secret_arn"]) for check in flow.validation.checks if "secret_arn" in check.options]
    for name in secrets:
        if kind_of(name) in ("env", "file"):
            return f"the secret {name.partition(':')[0]}:… lies on another machine: name one in Secrets Manager or ssm:"
    seed = flow.testdata.options.get("seed")
    if seed is not None and not str(seed).startswith("s3://"):
        return f"the seed file {seed} lies on another machine: name one as s3://bucket/key"
    return None


def _too_slow(flow: Flow) -> str | None:
    if flow.give_up_seconds <= LONGEST_SECONDS:
        return None
    hours = f"{flow.give_up_seconds / 3600:.1f} h"
    return f"its file is awaited for {hours}, and an execution has room for {LONGEST_SECONDS / 3600:g} h at most"


def _too_large(case: Case) -> str | None:
    data = case.flow.testdata
    # What the payload is made by stands in the run as well.
    size = size_of([dump(case), dump(data.options), dump(data.wrap)])
    if size <= CASE_BYTES:
        return None
    return f"its config has {size} bytes as JSON, and a state machine hands on {format_size(CASE_BYTES)} at most"


def _require_budget(environment: Environment, cases: Iterable[Case]) -> None:
    cost = Cost.of(cases)
    if environment.max_runs is not None and cost.runs > environment.max_runs:
        raise OverBudget(f"nothing was sent: {cost.runs} runs, and {environment.where('max_runs')} allows fewer")
    if environment.max_bytes is not None and cost.bytes > environment.max_bytes:
        where = environment.where("max_bytes")
        raise OverBudget(f"nothing was sent: {format_size(cost.bytes)}, and {where} allows fewer")
