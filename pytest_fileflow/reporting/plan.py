"""Prints what the selected cases would do, in the place of running them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow.cost import Cost
from pytest_fileflow.results.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_fileflow.bounds import Bounds
    from pytest_fileflow.config import BrokenFlow
    from pytest_fileflow.planning import Action, CasePlan
    from pytest_fileflow.session import FlowSession

NOTE = "only planned: nothing was sent, nobody was asked; a run id is shown as {}, a SHA-256 as zeros, the time is now"


@dataclass(frozen=True)
class Plan:
    """What a session would do: its cases, what is broken, what all of it costs, and its bounds."""

    cases: Sequence[CasePlan]
    broken: Sequence[BrokenFlow]
    cost: Cost
    bounds: Bounds

    @property
    def excess(self) -> str | None:
        """Return by what the whole is over the budget, or None."""
        return self.bounds.excess(self.cost)

    @property
    def refusals(self) -> int:
        """Return how much of it would not be done."""
        return sum(case.refused is not None for case in self.cases) + len(self.broken) + (self.excess is not None)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        from pytest_fileflow.planning import RUN_ID

        return {
            "schema": 1,
            "run_id": RUN_ID,
            "cases": [case.to_dict() for case in self.cases],
            "broken": [{"name": one.name, "problems": list(map(str, one.problems))} for one in self.broken],
            "total": asdict(self.cost),
            "budget": {"runs": self.bounds.max_runs, "bytes": self.bounds.max_bytes},
            "over_budget": self.excess,
            "refused": self.refusals,
        }


class Planner:
    """Keeps a session from running anything, by itself or by workers."""

    def __init__(self, session: FlowSession) -> None:
        self._session = session
        option = session.config.option
        option.dist, option.tx, option.numprocesses = "no", [], None  # xdist has not looked at them yet

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Print the plan; what is refused or broken counts as failed."""
        plan = self._plan(session.items)
        session.config.hook.pytest_fileflow_planned(plan=plan.to_dict())
        reporter = session.config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            for line in lines(plan):
                reporter.write_line(plain(line))
        session.testsfailed += plan.refusals
        session.config.option.collectonly = True  # so that pytest itself writes nothing down of it
        return True

    def _plan(self, items: Sequence[pytest.Item]) -> Plan:
        from pytest_fileflow.collection import BROKEN, CASE, enabled_cases
        from pytest_fileflow.launcher import cleans_up
        from pytest_fileflow.planning import CasePlan, plan_case

        settings, registry = self._session.settings, self._session.registry()
        cases = [item.stash[CASE] for item in items if CASE in item.stash]
        enabled = enabled_cases(items, include_disabled=settings.include_disabled)
        runs = {id(case) for case in enabled}
        allow = settings.bounds.allow_list
        plans = [
            plan_case(case, registry, allow, clean_up=cleans_up(case, settings))
            if id(case) in runs
            else CasePlan(case.name, case.flow.origin, case.variant.size, skipped="disabled")
            for case in cases
        ]
        broken = [item.stash[BROKEN] for item in items if BROKEN in item.stash]
        return Plan(plans, broken, Cost.of(enabled), settings.bounds)


def lines(plan: Plan) -> Iterator[str]:
    """Yield the plan as text: each case with what it does, what is refused, and the sum."""
    from pytest_fileflow.planning import RUN_ID

    yield NOTE.format(RUN_ID)
    for case in plan.cases:
        yield ""
        yield f"{case.name}  {case.origin}"
        if case.skipped is not None:
            yield f"  skipped: {case.skipped}"
        if case.refused is not None:
            yield f"  REFUSED  {case.refused}"
        yield from map(_line, case.actions)
    for broken in plan.broken:
        yield ""
        yield f"BROKEN  {broken.name}"
        yield from (f"  {problem}" for problem in broken.problems)
    yield ""
    yield f"in all {plan.cost}{_of_budget(plan.bounds)}; {plan.refusals} refused"
    if plan.excess is not None:
        yield f"REFUSED  nothing would be sent: the selected flows come to {plan.excess}"


def _line(action: Action) -> str:
    size = "" if action.size is None else f"  {action.size} bytes"
    detail = "" if action.detail is None else f"  {_text(action.detail)}"
    return f"  {action.what}  {action.where}{size}{detail}"


def _text(detail: object) -> str:
    return detail if isinstance(detail, str) else json.dumps(detail, ensure_ascii=False, default=str)


def _of_budget(bounds: Bounds) -> str:
    from pytest_fileflow.model import format_size

    most = [f"{bounds.max_runs} runs"] if bounds.max_runs is not None else []
    most += [format_size(bounds.max_bytes)] if bounds.max_bytes is not None else []
    return f" (budget {', '.join(most)})" if most else ""
