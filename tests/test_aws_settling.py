"""What stopped executions have left, as the next one finds it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber

from pytest_fileflow.aws.executions import Outcome, papers_of
from pytest_fileflow.aws.settling import unsettled
from pytest_fileflow.clients import AwsClients
from pytest_fileflow.errors import AccessDenied
from pytest_fileflow.results.places import Place
from tests.support.records import record
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ARN = "arn:aws:states:us-east-1:123456789012:execution:m:{}"
QUARTER = timedelta(minutes=15)


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as server:
        yield server


@pytest.fixture(params=["s3://results", "s3://results/team/r"])
def place(request) -> Place:
    return Place.parse(request.param)


@pytest.fixture
def clients(moto, monkeypatch) -> AwsClients:
    moto.fresh(monkeypatch)
    boto3.client("s3").create_bucket(Bucket="results")
    return AwsClients(boto3.Session())


@pytest.fixture
def states(clients) -> Iterator[Callable[..., None]]:
    """Return a function that says how an execution goes, once."""
    stubber = Stubber(clients.client("stepfunctions"))
    stubber.activate()

    def told(name: str, status: str, ended: timedelta | None = None) -> None:
        asked = {"executionArn": ARN.format(name)}
        if status in ("ExecutionDoesNotExist", "AccessDeniedException"):
            stubber.add_client_error("describe_execution", status, expected_params=asked)
            return
        now = datetime.now(timezone.utc)
        answer: dict[str, Any] = {"executionArn": ARN.format(name), "stateMachineArn": "m", "status": status}
        answer["startDate"] = now - timedelta(hours=2)
        answer |= {"stopDate": now - ended} if ended is not None else {}
        stubber.add_response("describe_execution", answer, asked)

    yield told
    stubber.assert_no_pending_responses()


def begin(place: Place, clients: AwsClients, name: str, *run_ids: str) -> None:
    papers = papers_of(place, name, clients)
    papers.open({"id": ARN.format(name), "started": "2026-11-27T06:00:00Z"})
    for run_id in run_ids:
        papers.begin("seed", run_id, {"token": "t", "state": {"case": {"flow": run_id}, "run": {"run_id": run_id}}})
        papers.begin("trigger", run_id, {"token": "t", "at": 1.0})


def test_runs_that_were_begun_and_not_recorded_are_left(place, clients, states):
    begin(place, clients, "stopped", "00aa", "00bb")
    papers_of(place, "stopped", clients).write_outcome(Outcome(record(run_id="00aa"), "s3://…"))
    states("stopped", "ABORTED", timedelta(hours=1))
    found = unsettled(place, "next", clients, QUARTER)
    assert [each.name for each in found] == ["stopped"]
    assert found[0].runs == (
        {"unsettled": {"case": {"flow": "00bb"}, "run": {"run_id": "00bb"}, "stopped": "ABORTED (stopped)"}},
    )


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("RUNNING", (None, False)),
        ("PENDING_REDRIVE", (None, False)),
        ("ABORTED", (timedelta(minutes=1), False)),  # a function of it may still run
        ("TIMED_OUT", (timedelta(minutes=16), True)),
        ("SUCCEEDED", (timedelta(hours=1), True)),
        ("ExecutionDoesNotExist", (None, True)),
    ],
)
def test_an_execution_is_settled_when_none_of_its_functions_runs_any_more(place, clients, states, status, told):
    ended, is_settled = told
    begin(place, clients, "other", "00aa")
    states("other", status, ended)
    assert len(unsettled(place, "next", clients, QUARTER)) == is_settled


def test_an_execution_leaves_itself_alone_and_what_is_closed(place, clients, states):
    begin(place, clients, "mine", "00aa")
    begin(place, clients, "closed", "00bb")
    papers_of(place, "closed", clients).close()
    assert unsettled(place, "mine", clients, QUARTER) == []


def test_an_execution_that_had_begun_nothing_is_settled_with_nothing_to_do(place, clients, states):
    begin(place, clients, "early")
    states("early", "FAILED", timedelta(hours=1))
    assert [each.runs for each in unsettled(place, "next", clients, QUARTER)] == [()]


def test_who_may_not_ask_how_an_execution_goes_is_told(place, clients, states):
    begin(place, clients, "other", "00aa")
    states("other", "AccessDeniedException")
    with pytest.raises(AccessDenied, match="states:DescribeExecution"):
        unsettled(place, "next", clients, QUARTER)
