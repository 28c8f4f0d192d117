"""The xdist controller's part: tells workers what they cannot see, and shares out flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xdist.workermanage import WorkerController

    from pytest_fileflow.distribution import ShareScheduling
    from pytest_fileflow.session import FlowSession


class Controller:
    """xdist's hooks, on the controller only."""

    def __init__(self, session: FlowSession):
        self._session = session

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        """Give a worker the places named on the command line, the sandbox and the kind of distribution."""
        session = self._session
        node.workerinput["fileflow"] = {
            "named": [str(place) for place in session.named_places()],
            "sandbox": session.sandbox().address if session.settings.sandbox else None,
            "shared": session.config.getvalue("dist") == "load",
            "left_over": session.left_over(),
        }

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> ShareScheduling | None:
        """Share out flows under xdist's default distribution; the others stay as they are."""
        if config.getvalue("dist") != "load":
            return None
        from pytest_fileflow.distribution import ShareScheduling

        return ShareScheduling(config, log)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Once there are flows, SIGTERM must let the workers clean up."""
        from pytest_fileflow.distribution import is_flow

        if any(is_flow(node_id) for node_id in ids):
            self._session.catch_sigterm()
