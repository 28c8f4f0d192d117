"""Which of the collected flows a session runs: those of its groups, and within its budget."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_fileflow.bounds import Bounds
    from pytest_fileflow.config.groups import Groups
    from pytest_fileflow.cost import Cost
    from pytest_fileflow.session import FlowSession


class Selection:
    """One process's part of it; workers decide alike, and what is wrong is told by the controller, once."""

    def __init__(self, session: FlowSession) -> None:
        self._session = session
        self._groups: Groups | None = None
        self._cost: Cost | None = None  # of the selected flows, once they are counted

    @property
    def told(self) -> dict[str, Any]:
        """Return what workers are told: the members of the groups, and whether all flows there are were asked for."""
        groups = self.groups()
        return {
            "groups": [(member.flow_id, member.where) for member in groups.members] if groups else None,
            "is_all": self._is_all(),
        }

    def groups(self) -> Groups | None:
        """Return the groups that are asked for, None where none is; raises pytest.UsageError."""
        names = self._session.settings.groups
        if not names or self._groups is not None:
            return self._groups
        from pytest_fileflow.config.groups import BadGroup, Groups, Member, read_groups

        if "selection" in self._from_controller:
            told = self._from_controller["selection"]["groups"]
            self._groups = Groups(tuple(Member(flow_id, where) for flow_id, where in told))
            return self._groups
        try:
            self._groups = read_groups(names, self._folders())
        except BadGroup as error:
            stores = self._session.stores
            told = stores.told_as_addresses(str(error)) if stores is not None else error
            raise pytest.UsageError(f"--fileflow-group: {told}") from None
        return self._groups

    def _folders(self) -> list[Path]:
        """Return where groups may lie: in a config root, or among the flows."""
        from pytest_fileflow.config.groups import FOLDER
        from pytest_fileflow.settings import config_roots

        config = self._session.config
        roots = [*config_roots(config), config.invocation_params.dir, *self._session.config_roots]
        among = [root / "flows" for root in roots]
        return [root / FOLDER for root in (*roots, *among, *self._session.named_places())]

    def choose(self, items: list[pytest.Item]) -> None:
        """Deselect the flows that are in none of the groups; raises pytest.UsageError for one that is not there.

        A broken flow stays in if its id is, or cannot be told: it must not drop silently out.
        """
        groups = self.groups()
        if groups is None:
            return
        from pytest_fileflow.collection import belongs

        kept = [item for item in items if belongs(item, groups.holds)]
        gone = [item for item in items if not belongs(item, groups.holds)]
        ids = self._session.flow_ids
        # An id that is missing may be that of a flow that nobody can read: it fails by itself.
        self._tell("missed", groups.missed(ids) if self._is_all() and ids is not None else [])
        if gone:
            items[:] = kept
            self._session.config.hook.pytest_deselected(items=gone)

    def count(self, items: Iterable[pytest.Item]) -> None:
        """Add up what the selected flows cost; raises pytest.UsageError where that is over the budget."""
        if not self._session.settings.bounds.has_budget:
            return
        from pytest_fileflow.collection import enabled_cases
        from pytest_fileflow.cost import Cost

        self._cost = Cost.of(enabled_cases(items, include_disabled=self._session.settings.include_disabled))
        self._tell("cost", asdict(self._cost))

    def hear(self, workers: int) -> None:
        """Judge, on the controller, what workers have found; ``workers`` is how many run each flow."""
        left = self._session.hands_over().left
        for text in left("missed").values():
            self._judge("missed", json.loads(text))
        for text in left("cost").values():
            self._judge("cost", asdict(_cost(json.loads(text)).times(workers)))

    def purse(self, workers: int) -> Purse | None:
        """Return what reruns are paid from, None where nothing is counted."""
        bounds = self._session.settings.bounds
        if not bounds.has_budget:
            return None
        return Purse(self._session.hands_over().folder, bounds, (self._cost or _cost({})).times(workers))

    def _tell(self, kind: str, value: Any) -> None:
        if self._session.is_worker:
            self._session.leave(kind, json.dumps(value))
        else:
            self._judge(kind, value)

    def _judge(self, kind: str, value: Any) -> None:
        settings = self._session.settings
        if kind == "missed" and value:
            raise pytest.UsageError("--fileflow-group: " + "\n".join(value))
        looks_only = settings.plan or self._session.config.getoption("collectonly", default=False)
        if kind == "cost" and not looks_only and (excess := settings.bounds.excess(_cost(value))):
            raise pytest.UsageError(f"nothing was sent: the selected flows come to {excess}")

    def _is_all(self) -> bool:
        """Return whether all flows of their folders are collected: with --lf, or by name, there may be others."""
        if "selection" in self._from_controller:
            return bool(self._from_controller["selection"]["is_all"])
        config = self._session.config
        here = config.invocation_params.dir
        return not config.getoption("lf", default=False) and all(
            "::" not in argument and not (here / argument).is_file() for argument in config.args
        )

    @property
    def _from_controller(self) -> dict[str, Any]:
        told: dict[str, Any] = self._session.input.get("fileflow", {})
        return told


def _cost(told: dict[str, int]) -> Cost:
    from pytest_fileflow.cost import Cost

    return Cost(**told)


class Purse:
    """What a budget has left for reruns; the processes of a session share it by a file."""

    def __init__(self, folder: Path, bounds: Bounds, planned: Cost) -> None:
        self._file = folder / "reruns"
        self._bounds = bounds
        self._planned = planned

    def pay(self, cost: Cost) -> str | None:
        """Take the cost of a rerun; return why there is not enough left, in one sentence, or None."""
        self._file.parent.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            spent = _cost(json.loads(file.read() or "{}")).plus(cost)
            excess = self._bounds.excess(self._planned.plus(spent))
            if excess is None:
                file.seek(0)
                file.write(json.dumps(asdict(spent)))
                file.truncate()
        return excess and f"with this rerun it would be {excess}"
