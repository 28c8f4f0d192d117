"""``fileflow cloudwatch``: prints the dashboard and the alarms on the suite's metrics; it calls nobody."""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import TYPE_CHECKING

from pytest_fileflow.results.cloudwatch.alarms import DEFAULT_MISSING_AFTER, MOST_HOURS, alarms

if TYPE_CHECKING:
    from pytest_fileflow.commands import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    cloudwatch = commands.add_parser(
        "cloudwatch",
        help="print the CloudWatch dashboard or the alarms as JSON",
        description="Prints JSON that needs no edit when a flow is added. It calls nobody; tests publish the metrics.",
    )
    what = cloudwatch.add_subparsers(title="what", required=True, metavar="WHAT")
    body = what.add_parser("dashboard", help="the body for aws cloudwatch put-dashboard")
    body.add_argument("--region", help="where the metrics are (default that of the AWS configuration)")
    body.add_argument(
        "--log-group",
        type=_log_group,
        action="append",
        default=[],
        metavar="NAME",
        help="a log group in which runs are looked for; may be given again (default all of Lambda's)",
    )
    body.set_defaults(run=_dashboard)
    inputs = what.add_parser("alarms", help="a list of inputs for aws cloudwatch put-metric-alarm --cli-input-json")
    inputs.add_argument("--sns-topic", type=_topic, metavar="ARN", help="whom the alarms tell (default nobody)")
    inputs.add_argument(
        "--missing-after",
        type=_hours,
        default=DEFAULT_MISSING_AFTER,
        metavar="HOURS",
        help=f"after how many hours without a run the suite is missed (default {DEFAULT_MISSING_AFTER})",
    )
    inputs.set_defaults(run=_alarms)


def _log_group(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._/#-]{1,512}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a log group")
    return text


def _topic(text: str) -> str:
    if not re.fullmatch(r"arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_.-]{1,256}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the ARN of an SNS topic")
    return text


def _hours(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_HOURS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of hours from 1 to {MOST_HOURS}")
    return int(text)


def _dashboard(given: argparse.Namespace, _more: list[str]) -> int:
    from pytest_fileflow.errors import FileflowError
    from pytest_fileflow.results.cloudwatch.dashboard import dashboard

    try:
        region = given.region or _own_region()
    except FileflowError as error:
        sys.stderr.write(f"fileflow cloudwatch: {error.reason}; or give --region\n")
        return 2
    return _print(dashboard(region, given.log_group))


def _alarms(given: argparse.Namespace, _more: list[str]) -> int:
    return _print(alarms(given.missing_after, given.sns_topic))


def _own_region() -> str:
    import boto3

    from pytest_fileflow.clients import FALLBACK_REGION, translated

    with translated("read the AWS configuration", "this machine"):
        region = boto3.Session().region_name
    if not region:
        sys.stderr.write(f"no region is configured: the dashboard is for {FALLBACK_REGION}; --region names another\n")
    return region or FALLBACK_REGION


def _print(document: object) -> int:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0
