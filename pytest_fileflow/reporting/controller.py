"""The xdist controller's part: tells workers what they cannot see, and shares out flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xdist.workermanage import WorkerController

    from pytest_fileflow.distribution import Part, ShareScheduling
    from pytest_fileflow.session import FlowSession

CRASHED = "???"  # the phase of xdist's own reports on the test that a worker was lost in; it counts as no failure


class Controller:
    """xdist's hooks, on the controller only."""

    def __init__(self, session: FlowSession):
        self._session = session
        self._scheduler: ShareScheduling | None = None
        self._lost: list[str] = []  # workers whose runs nobody has taken over yet
        self._taken_over: dict[str, list[str]] = {}  # by the worker that did
        self._failures = 0

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        """Tell a worker what it cannot see: what was named on the command line, the sandbox, what falls to it."""
        session, worker = self._session, node.gateway.id
        self._taken_over[worker], self._lost = self._lost, []
        node.workerinput["fileflow"] = {
            "session": session.token,
            "named": [str(place) for place in session.named_places()],
            "canaries": session.with_canaries(),
            "stores": session.stores.to_tell() if session.stores is not None else [],
            "sandbox": session.sandbox().address if session.settings.sandbox else None,
            "part": self._part(node),
            "lost": self._taken_over[worker],
            "usual": session.usual(),
            "selection": session.selection.told,
            "times": self._times,
            "left_over": str(session.hands_over().folder),
        }

    def _part(self, node: WorkerController) -> Part:
        from pytest_fileflow.distribution import ALL, number

        if self._scheduler is not None:
            return self._scheduler.part_of_replacement(node.gateway.id)
        dist = self._session.config.getvalue("dist")
        if self._are_named():
            return []
        if number(node) >= node.workerinput["workercount"]:  # it is asked only for what a lost worker left
            return []
        if dist == "each":
            return ALL
        # Under another distribution than ours, items are launched as they come, or they might run twice.
        return number(node) if dist == "load" and self._decides_alone() else []

    def _are_named(self) -> bool:
        """Return whether the user has named workers (``--tx popen//id=left``): then none has a place of its own."""
        return any("//id=" in spec for spec in self._session.config.getvalue("tx") or ())

    def _decides_alone(self) -> bool:
        """Return whether nobody but xdist itself would distribute tests in another way."""
        plugins = self._session.config.pluginmanager
        hook = plugins.hook.pytest_xdist_make_scheduler
        return all(impl.plugin in (self, plugins.get_plugin("dsession")) for impl in hook.get_hookimpls())

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController, error: object | None) -> None:
        """Remember a worker that was lost: the one that replaces it cleans up after it."""
        if error:
            worker = node.gateway.id
            self._lost += [worker, *self._taken_over.pop(worker, [])]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Let all workers end once the session has failed as often as it may, as xdist itself counts."""
        self._failures += report.failed and report.when != CRASHED
        maxfail = self._session.config.getvalue("maxfail")
        if maxfail and self._failures >= maxfail:
            self._session.hands_over().stop()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> ShareScheduling | None:
        """Share out flows under xdist's default distribution; the others stay as they are."""
        if config.getvalue("dist") != "load" or self._are_named() or not self._decides_alone():
            return None
        from pytest_fileflow.distribution import ShareScheduling

        self._scheduler = ShareScheduling(config, log)
        return self._scheduler

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Once there are flows, SIGTERM must let the workers clean up; workers say what is wrong with faults."""
        from pytest_fileflow.distribution import is_flow

        if any(is_flow(node_id) for node_id in ids):
            self._session.catch_sigterm()
            self._session.recording.attend()
        self._session.hear_of_faults()
        self._session.selection.hear(self._times)

    @property
    def _times(self) -> int:
        """Return how often each flow runs: xdist may be asked to have every worker run all of them."""
        values = self._session.config.getvalue
        return len(values("tx")) if values("dist") == "each" else 1
