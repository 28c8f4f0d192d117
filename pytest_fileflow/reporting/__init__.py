"""Where a session's reports are shown: terminal, pytest-html, and the xdist controller that gathers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from pytest_fileflow.session import FlowSession


def register(config: pytest.Config, session: FlowSession) -> None:
    """Register what reports on the controller, for those plugins that are there."""
    if session.settings.plan:
        from pytest_fileflow.reporting.plan import Planner

        config.pluginmanager.register(Planner(session), "fileflow-plan")
        return
    if session.settings.rehearse is None:
        from pytest_fileflow.reporting.terminal import TerminalSummary

        config.pluginmanager.register(TerminalSummary(session), "fileflow-summary")
    else:
        from pytest_fileflow.reporting.rehearsal import RehearsalSummary

        config.pluginmanager.register(RehearsalSummary(session), "fileflow-summary")
    if session.settings.progress != "off":
        from pytest_fileflow.reporting.progress import Shown

        session.shown = Shown(session)
        config.pluginmanager.register(session.shown, "fileflow-progress")
    if config.pluginmanager.hasplugin("html"):
        from pytest_fileflow.reporting.html import HtmlReport

        config.pluginmanager.register(HtmlReport(), "fileflow-html")
    if config.pluginmanager.hasplugin("xdist"):
        from pytest_fileflow.reporting.controller import Controller

        config.pluginmanager.register(Controller(session), "fileflow-controller")


BROKEN_CONFIG = "config.invalid: "
"""How the words of an item begin that stands for a broken config."""


def has_broken_flow(config: pytest.Config) -> bool:
    """Return whether a flow could not be run, since its config is wrong."""
    from pytest_fileflow.reporting.others import others

    return any(other.is_config for other in others(config))


def put_headline(report: pytest.TestReport, words: str) -> None:
    """Let pytest's short summary and JUnit's ``message`` say the first line of a run's words, and not all of them.

    Both take what they say from the report's crash message, which by default is the whole text.
    """
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None and words and words.strip() in crash.message:
        crash.message = words.partition("\n")[0]


def put_problem(report: pytest.TestReport) -> None:
    """Let pytest's short summary and JUnit's ``message`` say the first thing that is wrong with a broken config."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None or not crash.message.startswith(f"Failed: {BROKEN_CONFIG}"):
        return
    heading, first, *others = crash.message.removeprefix("Failed: ").splitlines()
    more = f" (and {len(others)} more)" if others else ""
    crash.message = f"{heading.partition(':')[0]}: {first}{more}"
