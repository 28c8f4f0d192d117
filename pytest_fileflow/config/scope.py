"""What holds for the flows of a folder: variables, endpoints, defaults and SLO factors; and puts them into a flow."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config.findings import quoted, suggestion
from pytest_fileflow.config.merging import end_over, merged, possible_cases, with_defaults
from pytest_fileflow.config.problems import Problem
from pytest_fileflow.config.reading import may_hold_placeholder
from pytest_fileflow.config.shape import part
from pytest_fileflow.config.shared import NAMES, Shared, may_be_shared, read_shared
from pytest_fileflow.config.variables import Variables
from pytest_fileflow.model import Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_fileflow.config.environment import Environment
    from pytest_fileflow.config.findings import Path as JsonPath
    from pytest_fileflow.config.rules import Rules
    from pytest_fileflow.config.variables import Log

Config = dict[str, Any]

SIDES = ("source", "target")
TIMES = (
    ("validation", "expect_within_seconds"),
    ("validation", "grace_seconds"),
    ("transfer", "timeout_seconds"),
)
"""What an SLO factor multiplies. Without a grace_seconds, that follows from the SLO as ever."""


@dataclass(frozen=True)
class Scope:
    """What holds for the flows of one folder; ``shared`` are the files that say so, the nearest first."""

    variables: Variables = field(default_factory=Variables)
    shared: tuple[Shared, ...] = ()
    endpoints: Mapping[str, tuple[Any, Shared]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    may_hold_placeholder: bool = False

    @property
    def environment(self) -> Environment | None:
        """Return the environment of the session, if there is one."""
        return self.variables.environment

    @property
    def is_broken(self) -> bool:
        """Return whether anything is wrong with a file that the flows share."""
        return any(shared.problems for shared in self.shared)

    @property
    def _changes_all(self) -> bool:
        environment = self.environment
        factors = environment is not None and (environment.slo_factor != 1 or bool(environment.slo_factors))
        return bool(self.defaults) or factors

    def resolve_all(self, flows: Sequence[Config], text: str, log: Log) -> Sequence[Config]:
        """Return the flows of a text as they are meant; most stand there as they are meant, and this is seen fast."""
        if self._changes_all or any(map(_names_endpoint, flows)) or self.variables.may_stand_in(text, flows):
            return [self.resolve(flow, log) for flow in flows]
        return flows

    def resolve(self, flow: Config, log: Log) -> Config:
        """Return a flow with its variables, its endpoints and the defaults put in, and its times multiplied."""
        own: Config = self.variables.put(flow, log)
        whole = with_defaults(own, self.defaults) if self.defaults else dict(own)
        for side in SIDES:
            default = part(self.defaults, side)
            end = own.get(side, {}) if default else own.get(side)
            if isinstance(end, dict) and (default or "use" in end):
                whole[side] = self._end(side, end, default, log)
        if "negative" in self.defaults and "negative" not in own:
            whole["negative"] = possible_cases(whole)
        return self._timed(whole) if self.environment is not None else whole

    def _end(self, side: str, own: Config, default: Mapping[str, Any], log: Log) -> Config:
        if "use" not in own and "use" in default and "type" not in own:
            own = {**default, **own}
        if "use" not in own:
            return end_over(own, {}, {key: value for key, value in default.items() if key != "use"})
        endpoint = self._endpoint(own["use"], side, log)
        kind, named = own.get("type"), endpoint.get("type")
        if kind is not None and named is not None and kind != named:
            log.wrong((side, "type"), f"the endpoint {quoted(own['use'])} is {named}: leave type out")
        return end_over(own, endpoint, {} if "use" in default else default)

    def _endpoint(self, name: object, side: str, log: Log) -> Mapping[str, Any]:
        """Return a shared endpoint; where it is unknown, tell and return an empty one."""
        if isinstance(name, str) and name in self.endpoints:
            found = self.endpoints[name][0]
            return found if isinstance(found, dict) else {}
        if not isinstance(name, str):
            log.wrong((side, "use"), "must be the name of an endpoint, a string")
        elif not self.shared:
            log.wrong((side, "use"), f"unknown endpoint {quoted(name)}: there is no endpoints.yaml here or above")
        else:
            log.wrong((side, "use"), f"unknown endpoint {quoted(name)}{suggestion(name, self.endpoints)}")
        return {}

    def _timed(self, whole: Config) -> Config:
        factor, _ = self.factor(whole)
        if factor == 1:
            return whole
        validation = {"expect_within_seconds": Validation.expect_within_seconds, **part(whole, "validation")}
        if isinstance(whole.get("validation", {}), dict):
            whole = {**whole, "validation": validation}
        for block, key in TIMES:
            value = part(whole, block).get(key)
            if isinstance(value, int | float) and not isinstance(value, bool):
                whole[block] = {**whole[block], key: _times(value, factor)}
        return whole

    def factor(self, whole: Config) -> tuple[float, JsonPath]:
        """Return what the times of a flow are multiplied by, and where in the environment that stands."""
        flow_id = whole.get("flow_id")
        if self.environment is None or not isinstance(flow_id, str):
            return 1.0, ()
        lists = (whole.get("tags"), part(whole, "testdata").get("tags"))
        tags = [tag for each in lists if isinstance(each, list) for tag in each if isinstance(tag, str)]
        return self.environment.factor(flow_id, tags)


PLAIN = Scope()
"""Where nothing is shared, and no environment chosen."""


def _names_endpoint(flow: Any) -> bool:
    return any(type(end) is dict and "use" in end for end in (flow.get("source"), flow.get("target")))


def _times(value: float, factor: float) -> float:
    try:
        product = round(value * factor, 6)  # a tenth of three is no 0.30000000000000004
        return int(product) if product == int(product) else product
    except OverflowError:  # such a number is refused as it stands
        return value


class Scopes:
    """The scopes of a session's folders, each made once.

    Files that flows share are looked for in the folder of a flow and in those above it, up to the
    config root: the outermost of ``roots`` that holds it. ``display`` is how messages call a file,
    ``home`` the folder from which on it names others.
    """

    def __init__(
        self, rules: Rules, roots: Iterable[Path], display: Callable[[Path], str], home: Callable[[Path], Path]
    ):
        self._rules = rules
        self._variables = Variables(rules.environment)
        self._roots = tuple(roots)
        self._display = display
        self._home = home
        self._scopes: dict[str, Scope] = {}
        self._by_files: dict[tuple[str, ...], Scope] = {}
        self._shared: dict[Path, Shared | None] = {}

    def of(self, path: Path) -> Scope:
        """Return what holds for a file of flows."""
        folder = os.path.dirname(path)  # noqa: PTH120 - a third of the time, for every file
        found = self._scopes.get(folder)
        if found is None:
            found = self._scopes[folder] = self._made(Path(folder))
        return found

    def shared(self, path: Path, *, is_sure: bool = True) -> Shared | None:
        """Return what a file gives to flows; None where it is not sure to be one, and does not look like it."""
        if path not in self._shared:
            self._shared[path] = self._read(path) if is_sure or may_be_shared(path) else None
        return self._shared[path]

    def _read(self, path: Path) -> Shared:
        file = self._display(path)
        for name in NAMES[: NAMES.index(path.name)]:
            if path.with_name(name).is_file():
                return Shared(file, problems=(((), Problem(file, 1, 1, "$", f"lies beside {name}: keep one of them")),))
        return read_shared(path, file, self._home(path), self._variables, self._rules)

    def _made(self, folder: Path) -> Scope:
        shared: list[Shared] = []
        for around in self._up_to_root(folder):
            paths = [around / name for name in NAMES if os.path.isfile(around / name)]  # noqa: PTH113 - as above
            is_sure = around == folder or "flows" in around.parts
            shared += filter(None, (self.shared(path, is_sure=is_sure) for path in paths))
        files = tuple(each.file for each in shared)
        if files not in self._by_files:
            self._by_files[files] = self._together(shared)
        return self._by_files[files]

    def _together(self, shared: Sequence[Shared]) -> Scope:
        endpoints: dict[str, tuple[Any, Shared]] = {}
        defaults: Config = {}
        for each in reversed(shared):
            endpoints.update((name, (value, each)) for name, value in each.endpoints.items())
            defaults = merged(defaults, each.defaults)
        environment = self._rules.environment
        variables = environment.variables if environment is not None else {}
        values = ([value for value, _ in endpoints.values()], defaults, dict(variables))
        return Scope(self._variables, tuple(shared), endpoints, defaults, may_hold_placeholder(str(values)))

    def _up_to_root(self, folder: Path) -> list[Path]:
        around = [folder, *folder.parents]
        last = max((around.index(root) for root in self._roots if root in around), default=0)
        return around[: last + 1]
