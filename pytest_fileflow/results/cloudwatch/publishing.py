"""Sends data to CloudWatch in as few calls as it allows, and gives up before anybody has to wait for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pytest_fileflow.aws_errors import translated
from pytest_fileflow.errors import FileflowError
from pytest_fileflow.results.cloudwatch import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.cloudwatch.data import Datum

# AWS: a call takes 1,000 metrics and 1 MB. With the longest flow_id a thousand of ours are 0.7 MB at most.
BATCH = 1000
OLDEST = timedelta(days=14)  # AWS takes no data from before
ENOUGH_SECONDS = 30.0  # after that no further call is begun


@dataclass(frozen=True)
class Published:
    """How many data were taken, and in words what kept the others from it, or an empty text."""

    sent: int
    problem: str = ""


def publish(
    data: Sequence[Datum], clients: AwsClients, now: datetime, elapsed: Callable[[], float] = time.monotonic
) -> Published:
    """Send data; after a call that failed no other is tried, since it would fail as well."""
    from botocore.parsers import ResponseParserError

    fresh = [datum for datum in data if datum["Timestamp"] > now - OLDEST]
    began, sent = elapsed(), 0
    for start in range(0, len(fresh), BATCH):
        if elapsed() - began > ENOUGH_SECONDS:
            return Published(sent, f"it took longer than {ENOUGH_SECONDS:g} s")
        batch = fresh[start : start + BATCH]
        try:
            with translated("cloudwatch:PutMetricData", f"namespace {NAMESPACE}"):
                clients.client("cloudwatch").put_metric_data(Namespace=NAMESPACE, MetricData=batch)
        except FileflowError as error:
            return Published(sent, f"{error.cause}: {error.reason}")
        except (ResponseParserError, ValueError) as error:  # botocore's own where a proxy answers in AWS's place
            return Published(sent, f"the answer is none of CloudWatch's: {type(error).__name__}")
        sent += len(batch)
    return Published(sent, "" if sent == len(data) else "CloudWatch takes nothing that is older than two weeks")
