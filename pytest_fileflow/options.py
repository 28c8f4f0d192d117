"""The command line options and their ini twins, as pytest's help shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from pytest_fileflow import bounds
from pytest_fileflow.settings import (
    DEFAULT_CHANNELS,
    DEFAULT_CONCURRENCY,
    DEFAULT_MAX_IN_FLIGHT,
    DEFAULT_REMIND_HOURS,
    DEFAULT_RESULTS,
    Progress,
)

if TYPE_CHECKING:
    import pytest


def add_options(parser: pytest.Parser) -> None:
    """Add the command line options, each with its ini twin."""
    group = parser.getgroup("fileflow", "file transfer flows")
    group.addoption(
        "--fileflow-sandbox",
        action="store_true",
        default=None,
        help="run against the embedded stand-in for AWS and SFTP, whatever the configs name",
    )
    group.addoption(
        "--fileflow-env",
        metavar="NAME",
        help="take variables, SLO factors, allow-list, results and budgets from environments/NAME.yaml",
    )
    group.addoption(
        "--fileflow-concurrency",
        metavar="N",
        help=f"uploads, downloads and checks at a time per process (default {DEFAULT_CONCURRENCY})",
    )
    group.addoption(
        "--fileflow-max-in-flight",
        metavar="N",
        help=f"runs between seed and verdict in a session (default {DEFAULT_MAX_IN_FLIGHT})",
    )
    group.addoption(
        "--fileflow-results",
        action="append",
        metavar="PLACE",
        help=f"where run records go: a folder (default {DEFAULT_RESULTS}/), s3://bucket/prefix or dynamodb://table; "
        "may be given again",
    )
    group.addoption(
        "--fileflow-config",
        action="append",
        metavar="STORE",
        help="more flows, from a config store: s3://bucket/prefix or dynamodb://table; may be given again",
    )
    group.addoption(
        "--fileflow-include-disabled",
        action="store_true",
        default=None,
        help="run flows with enabled: false too",
    )
    group.addoption(
        "--fileflow-no-cleanup",
        action="store_true",
        default=None,
        help="leave payloads and sidecars where they are, at source and target",
    )
    group.addoption(
        "--fileflow-fault",
        action="append",
        metavar="FLOW_ID=FAULT",
        help="in the sandbox, let a flow have a fault, as in acme=truncate or '*=delay:5'; may be given again",
    )
    group.addoption(
        "--fileflow-rehearse",
        metavar="FAULT,…|all",
        help="in the sandbox, run each flow once for each of these faults, and show which are caught",
    )
    group.addoption(
        "--fileflow-alerts",
        action="store_true",
        default=None,
        help="tell those whom flows name under alerts what fails, still fails, and has recovered",
    )
    group.addoption(
        "--fileflow-report-url",
        metavar="URL",
        help="where alerts lead to (default: the job, as GitHub, GitLab and Jenkins name it)",
    )
    group.addoption(
        "--fileflow-cloudwatch",
        action="store_true",
        default=None,
        help="publish success, latency and phases of each run as CloudWatch metrics",
    )
    group.addoption("--fileflow-summary", metavar="FILE", help="write a summary in Markdown, as for a CI job's page")
    group.addoption(
        "--fileflow-progress",
        metavar="|".join(get_args(Progress)),
        help="show how far the runs are: in a line that updates on a terminal (live), in a line a minute (log), "
        "or not (off); auto, the default, is live where there is a terminal and CI is not set",
    )
    group.addoption(
        "--fileflow-group",
        action="append",
        metavar="NAME",
        help="run the flows whose ids groups/NAME.json lists, and no others; may be given again",
    )
    group.addoption(
        "--fileflow-plan",
        action="store_true",
        help="print what each case would write, invoke and delete, and what is refused; touch nothing",
    )
    bounds.add_options(parser, group)
    for name in ("sandbox", "include_disabled", "no_cleanup", "cloudwatch", "alerts"):
        parser.addini(f"fileflow_{name}", _twin(name), type="bool", default=False)
    for name in ("concurrency", "max_in_flight", "progress", "summary", "report_url", "env"):
        parser.addini(f"fileflow_{name}", _twin(name), default=None)
    for name in ("config", "fault", "results", "group"):
        parser.addini(f"fileflow_{name}", f"{_twin(name)}, one a line", type="linelist", default=[])
    remind = f"hours after which a flow that still fails is told of again (default {DEFAULT_REMIND_HOURS})"
    parser.addini("fileflow_alerts_remind", remind, default=None)
    default = f"alerts of flows that name none, one a line: CHANNEL = ARN; {' or '.join(DEFAULT_CHANNELS)}"
    parser.addini("fileflow_alerts_default", default, type="linelist", default=[])
    parser.addini(
        "fileflow_paths", "files and folders in which every JSON and YAML file is a flow", type="paths", default=[]
    )


def _twin(name: str) -> str:
    return f"as --fileflow-{name.replace('_', '-')}"
