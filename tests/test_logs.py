"""CloudWatch Logs over HTTP: what a function wrote is found by the request id, and a refusal keeps its cause."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow.clients import AwsClients
from pytest_fileflow.errors import AccessDenied, LocationMissing
from pytest_fileflow.logs import REQUESTS, FunctionLogs, log_group
from pytest_fileflow.model import Transfer
from tests.support.answers import Answer, AnswerServer
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

ARN = "arn:aws:lambda:us-east-1:123456789012:function:copy"
TRANSFER = Transfer("invoke", ARN)
ID, RUN_ID = "5b13e3a1-1a5c-4f3a-9d5b-0a6b1c0e7d11", "00112233445566ff"


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as running:
        yield running


@pytest.fixture
def clients(moto, monkeypatch) -> AwsClients:
    moto.reset()
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    return AwsClients(moto.session())


def write(clients: AwsClients, stream: str, *lines: str, at: float | None = None, arn: str = ARN) -> None:
    client, group = clients.client("logs"), log_group(arn)
    known = [found["logGroupName"] for found in client.describe_log_groups()["logGroups"]]
    if group not in known:
        client.create_log_group(logGroupName=group)
    streams = [found["logStreamName"] for found in client.describe_log_streams(logGroupName=group)["logStreams"]]
    if stream not in streams:
        client.create_log_stream(logGroupName=group, logStreamName=stream)
    moment = int((at or time.time()) * 1000)
    events = [{"timestamp": moment + number, "message": line} for number, line in enumerate(lines)]
    client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def lines_of(request_id: str, *between: str) -> list[str]:
    return [f"START RequestId: {request_id} Version: 1", *between, f"END RequestId: {request_id}"]


def test_all_lines_of_an_invocation_are_found_also_those_without_its_id(clients):
    write(clients, "one", *lines_of("other-1", "theirs"), at=time.time() - 2)
    write(clients, "one", *lines_of(ID, "[ERROR] ValueError: no", "Traceback"), at=time.time() - 1)
    write(clients, "one", *lines_of("other-2", "theirs too"))
    found = FunctionLogs(clients).find(TRANSFER, ID, RUN_ID, time.time() - 60)
    assert list(found.lines) == lines_of(ID, "[ERROR] ValueError: no", "Traceback")


def test_tries_in_several_streams_come_in_their_order(clients):
    write(clients, "b", *lines_of(ID, "first"), at=time.time() - 2)
    write(clients, "a", *lines_of(ID, "second"))
    found = FunctionLogs(clients).find(TRANSFER, ID, RUN_ID, time.time() - 60)
    assert [line for line in found.lines if not line.startswith(("START", "END"))] == ["first", "second"]


def test_without_a_request_id_the_run_id_is_looked_for(clients):
    write(clients, "one", "START RequestId: unknown", f"moving acme_{RUN_ID}.csv", "END RequestId: unknown")
    assert FunctionLogs(clients).find(TRANSFER, None, RUN_ID, time.time() - 60).lines == (f"moving acme_{RUN_ID}.csv",)


def test_of_a_log_too_long_for_one_answer_the_end_is_kept(clients, monkeypatch):
    monkeypatch.setattr("pytest_fileflow.logs.EVENTS", 5)
    write(clients, "one", *lines_of(ID, *(f"line {number}" for number in range(20))))
    lines = FunctionLogs(clients).find(TRANSFER, ID, RUN_ID, time.time() - 60).lines
    assert lines[0].startswith("START")
    assert lines[1] == "line 0"
    assert lines[-1].startswith("END")


def test_what_was_written_before_is_not_looked_at(clients):
    write(clients, "one", *lines_of(ID), at=time.time() - 600)
    assert FunctionLogs(clients).find(TRANSFER, ID, RUN_ID, time.time() - 60) is None


def test_secrets_are_masked_before_anything_is_cut(clients):
    write(clients, "one", *lines_of(ID, "password=hunter2"))
    logs = FunctionLogs(clients, lambda text: text.replace("hunter2", "***"))
    assert "password=***" in logs.find(TRANSFER, ID, RUN_ID, time.time() - 60).lines


def test_a_group_that_does_not_exist_is_an_error_with_its_name(clients):
    with pytest.raises(LocationMissing, match="/aws/lambda/copy does not exist"):
        FunctionLogs(clients).find(TRANSFER, ID, RUN_ID, time.time())


def answering(monkeypatch, server: AnswerServer, moto: MotoServer) -> AwsClients:
    for name, value in {**moto.environment, "AWS_ENDPOINT_URL": server.url}.items():
        monkeypatch.setenv(name, value)
    return AwsClients(moto.session())


def test_a_refusal_names_the_action_and_the_group(moto, monkeypatch):
    body = json.dumps({"__type": "AccessDeniedException", "message": "not authorized to perform logs:FilterLogEvents"})
    with AnswerServer(lambda request: Answer(400, body.encode())) as server:
        clients = answering(monkeypatch, server, moto)
        with pytest.raises(AccessDenied, match="logs:FilterLogEvents on /aws/lambda/copy was denied"):
            FunctionLogs(clients).find(TRANSFER, ID, RUN_ID, time.time())


def test_empty_pages_are_turned_a_bounded_number_of_times(moto, monkeypatch):
    with AnswerServer(lambda request: Answer(200, b'{"events": [], "nextToken": "more"}')) as server:
        clients = answering(monkeypatch, server, moto)
        assert FunctionLogs(clients).find(TRANSFER, ID, RUN_ID, time.time()) is None
        assert len(server.requests) == REQUESTS
        patterns = {json.loads(request.body)["filterPattern"] for request in server.requests}
        assert f'"{ID}"' in patterns
