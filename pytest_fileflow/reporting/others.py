"""What did not pass besides runs: flows whose config is wrong, and tests that are no flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.reporting import BROKEN_CONFIG

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Other:
    """A failed item without a run: its node id, its words, and whether it stands for a broken config."""

    node_id: str
    words: str

    @property
    def is_config(self) -> bool:
        """Return whether this is a flow that could not be run, since its config is wrong."""
        return self.words.startswith(BROKEN_CONFIG)


def others(config: pytest.Config) -> list[Other]:
    """Return, on the controller, what failed or could not be collected without a run of its own."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None:
        return []
    reports = [*terminal.stats.get("failed", ()), *terminal.stats.get("error", ())]
    return [Other(report.nodeid, _words(report)) for report in reports if not hasattr(report, "fileflow")]


def _words(report: pytest.TestReport | pytest.CollectReport) -> str:
    # xdist puts the worker's name in front of the whole text.
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None:
        return report.longreprtext
    said = str(crash.message).removeprefix("Failed: ")
    # The summary says the first thing that is wrong with a config, its text all of them.
    _, heading, problems = report.longreprtext.partition(BROKEN_CONFIG)
    return f"{heading}{problems}".rstrip() if said.startswith(BROKEN_CONFIG) and problems else said
