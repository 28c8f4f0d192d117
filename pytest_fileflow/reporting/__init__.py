"""Where a session's reports are shown: terminal, pytest-html, and the xdist controller that gathers them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from pytest_fileflow.session import FlowSession


def register(config: pytest.Config, session: FlowSession) -> None:
    """Register what reports on the controller, for those plugins that are there."""
    from pytest_fileflow.reporting.terminal import TerminalSummary

    config.pluginmanager.register(TerminalSummary(session), "fileflow-summary")
    if config.pluginmanager.hasplugin("html"):
        from pytest_fileflow.reporting.html import HtmlReport

        config.pluginmanager.register(HtmlReport(), "fileflow-html")
    if config.pluginmanager.hasplugin("xdist"):
        from pytest_fileflow.reporting.controller import Controller

        config.pluginmanager.register(Controller(session), "fileflow-controller")
