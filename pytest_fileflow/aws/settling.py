"""Finds the runs that stopped executions have left: files of theirs may lie somewhere, and no record says so.

The next execution cleans up after them, and records them as interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from pytest_fileflow.aws.executions import open_executions, papers_of
from pytest_fileflow.aws_errors import error_code, translated

if TYPE_CHECKING:
    from datetime import timedelta

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.places import Place

_GOES_ON: Final = ("RUNNING", "PENDING_REDRIVE")


@dataclass(frozen=True)
class Unsettled:
    """An execution that was stopped, and the items of a list of cases that stand for the runs it has left."""

    name: str
    runs: tuple[dict[str, Any], ...]


def unsettled(place: Place, name: str, clients: AwsClients, after: timedelta) -> list[Unsettled]:
    """Return the executions, other than that of this name, that have ended and left runs without a record.

    Not of those that ended less than ``after`` ago: a function that was running then may still be.
    """
    found = []
    for other, told in open_executions(place, clients):
        status = "RUNNING" if other == name else _status(told["id"], clients, after)
        if status in _GOES_ON:
            continue
        papers = papers_of(place, other, clients)
        recorded = papers.recorded()
        left = [mark["state"] for run_id, mark in papers.begun().items() if run_id not in recorded]
        runs = tuple({"unsettled": {**state, "stopped": f"{status} ({other})"}} for state in left)
        found.append(Unsettled(other, runs))
    return found


def _status(execution: str, clients: AwsClients, after: timedelta) -> str:
    """Return how an execution ended; one that has only just ended, whose functions may still run, goes on."""
    from botocore.exceptions import ClientError

    with translated("states:DescribeExecution", execution):
        try:
            told = clients.client("stepfunctions").describe_execution(executionArn=execution)
        except ClientError as error:
            if error_code(error) != "ExecutionDoesNotExist":
                raise
            return "forgotten"  # 90 days after its end
    ended = told.get("stopDate")
    if ended is not None and datetime.now(timezone.utc) - ended < after:
        return "RUNNING"
    return str(told["status"])
