"""The pytest plugin: its hooks, each of which delegates. Loaded in every run, so it imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow import options
from pytest_fileflow.fixtures import (
    aws_session,
    fileflow_allow,
    fileflow_clients,
    fileflow_run,
    fileflow_sandbox,
    fileflow_secrets,
    fileflow_ssh,
    s3_endpoint,
    sftp_endpoint,
    transfer_invoker,
)
from pytest_fileflow.reporting import has_broken_flow, put_headline, put_problem
from pytest_fileflow.session import FlowSession

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pytest_fileflow.collection import Flows
    from pytest_fileflow.launcher import Report

__all__ = [
    "aws_session",
    "fileflow_allow",
    "fileflow_clients",
    "fileflow_run",
    "fileflow_sandbox",
    "fileflow_secrets",
    "fileflow_ssh",
    "s3_endpoint",
    "sftp_endpoint",
    "transfer_invoker",
]

SESSION: pytest.StashKey[FlowSession] = pytest.StashKey()
REPORT: pytest.StashKey[Report] = pytest.StashKey()

MARKERS = (
    "smoke: the smallest size of a flow",
    "typical: the usual size of a flow",
    "stress: the largest size of a flow",
    "contract: what a flow needs is looked at, in seconds, before a file is sent",
    "canary: the cheapest look at both ends of a flow; collected only where it is asked for",
    "negative: the system must refuse, and passes if it does",
)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Make pytest_fileflow_register known."""
    from pytest_fileflow import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and their ini twins."""
    options.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Make the session object, and meet the optional plugins that are there."""
    session = config.stash[SESSION] = FlowSession(config)
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if not session.is_worker:
        from pytest_fileflow.reporting import register

        register(config, session)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give back what the session took."""
    if SESSION in config.stash:
        config.stash[SESSION].close()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Read config stores before anybody collects, and before workers start."""
    session.config.stash[SESSION].read_stores()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Flows | None:
    """Collect JSON and YAML files that are flows."""
    if file_path.suffix not in (".json", ".yaml", ".yml"):
        return None
    return parent.config.stash[SESSION].collect_file(file_path, parent)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Collect the flows of a folder at once, outside all other hooks: they make its conftest.py's fixtures known."""
    report = yield
    if isinstance(collector, pytest.Directory) and report.result:
        collector.config.stash[SESSION].expand(collector, report.result)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let -m select broken flows by any tag, and refuse faults that no flow can have, before any are deselected."""
    session = config.stash[SESSION]
    session.mark_broken(items)
    session.check_faults()
    session.selection.choose(items)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Let a worker load what its flows need before all of them begin at once, and say who wants to hear of them."""
    flows = session.config.stash[SESSION]
    flows.selection.count(session.items)
    flows.warm_up(session.items)
    if flows.is_worker and flows.settings.alerts:
        from pytest_fileflow.alerting import leave_watched

        leave_watched(flows)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Send the run's record along with pytest's own report, as primitives.

    Runs are launched ahead: how long this item waited says nothing, how long its run took does.
    """
    report = yield
    if REPORT in item.stash and call.when == "setup":
        report.duration = item.stash[REPORT].seconds
    if REPORT in item.stash and (call.when == "call" or report.failed):
        report.__dict__["fileflow"] = item.stash[REPORT].to_dict()
    if REPORT in item.stash and report.failed:
        put_headline(report, item.stash[REPORT].words)
    elif report.failed:
        put_problem(report)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Forget the run before: a rerun that fails before its own began must not be reported with it."""
    if REPORT in item.stash:
        del item.stash[REPORT]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End what is under way before the last item's teardown takes the session's connections away."""
    if nextitem is None:
        item.config.stash[SESSION].finish()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
    """End what is under way before anybody reports, and gather what workers had to end, once they are down.

    Then the session's runs are all known, and those who want to hear of them are told, once.
    """
    flows = session.config.stash[SESSION]
    flows.finish()
    flows.hand_over()
    if exitstatus == pytest.ExitCode.INTERRUPTED:
        flows.wait_for_workers()
    result = yield
    if flows.shown is not None:
        flows.shown.stop()
    flows.gather()
    flows.learn()
    if not flows.is_worker and (flows.all_reports or (exitstatus and has_broken_flow(session.config))):
        from pytest_fileflow.aftermath import after_session

        after_session(flows)
    return result
