"""``fileflow cloudwatch``: prints the dashboard and the alarms on the suite's metrics; it calls nobody."""

from __future__ import annotations

import json
import re
import sys

import click

from pytest_fileflow.results.cloudwatch.alarms import DEFAULT_MISSING_AFTER, MOST_HOURS, alarms


def _log_group(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._/#-]{1,512}", text):
        raise click.BadParameter(f"{text!r} is not the name of a log group")
    return text


def _topic(text: str) -> str:
    if not re.fullmatch(r"arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_.-]{1,256}", text):
        raise click.BadParameter(f"{text!r} is not the ARN of an SNS topic")
    return text


def _hours(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_HOURS):
        raise click.BadParameter(f"{text!r} is not a whole number of hours from 1 to {MOST_HOURS}")
    return int(text)


@click.group("cloudwatch", short_help="print the CloudWatch dashboard or the alarms as JSON", no_args_is_help=False)
def command() -> None:
    """Print JSON that needs no edit when a flow is added. It calls nobody; tests publish the metrics."""


@command.command("dashboard", short_help="the body for aws cloudwatch put-dashboard")
@click.option("--region", help="where the metrics are (default that of the AWS configuration)")
@click.option(
    "--log-group",
    "log_groups",
    type=_log_group,
    multiple=True,
    metavar="NAME",
    help="a log group in which runs are looked for; may be given again (default all of Lambda's)",
)
def _dashboard(region: str | None, log_groups: tuple[str, ...]) -> int:
    """Print the body for aws cloudwatch put-dashboard."""
    from pytest_fileflow.errors import FileflowError
    from pytest_fileflow.results.cloudwatch.dashboard import dashboard

    try:
        region = region or _own_region()
    except FileflowError as error:
        sys.stderr.write(f"fileflow cloudwatch: {error.reason}; or give --region\n")
        return 2
    return _print(dashboard(region, log_groups))


@command.command("alarms", short_help="a list of inputs for aws cloudwatch put-metric-alarm --cli-input-json")
@click.option("--sns-topic", type=_topic, metavar="ARN", help="whom the alarms tell (default nobody)")
@click.option(
    "--missing-after",
    type=_hours,
    default=str(DEFAULT_MISSING_AFTER),
    metavar="HOURS",
    help=f"after how many hours without a run the suite is missed (default {DEFAULT_MISSING_AFTER})",
)
def _alarms(sns_topic: str | None, missing_after: int) -> int:
    """Print a list of inputs for aws cloudwatch put-metric-alarm --cli-input-json."""
    return _print(alarms(missing_after, sns_topic))


def _own_region() -> str:
    import boto3

    from pytest_fileflow.aws_errors import translated
    from pytest_fileflow.clients import FALLBACK_REGION

    with translated("read the AWS configuration", "this machine"):
        region = boto3.Session().region_name
    if not region:
        sys.stderr.write(f"no region is configured: the dashboard is for {FALLBACK_REGION}; --region names another\n")
    return region or FALLBACK_REGION


def _print(document: object) -> int:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
    return 0
