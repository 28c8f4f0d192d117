"""Invocations against a server that answers as Lambda's API reference says."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import threading
from typing import TYPE_CHECKING

import boto3
import pytest

from pytest_fileflow.clients import AwsClients
from pytest_fileflow.errors import (
    ConfigInvalid,
    ConnectionRefused,
    CredentialsUnusable,
    FunctionFailed,
    FunctionNotFound,
    InvokeDenied,
    InvokeThrottled,
    InvokeTimeout,
    KmsDenied,
    StorageFailed,
)
from pytest_fileflow.invoke import ASYNC_PAYLOAD_BYTES, SYNC_PAYLOAD_BYTES, LambdaInvoker, Started
from pytest_fileflow.model import Transfer
from tests.support.answers import Answer, AnswerServer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:file-transfer:live"
ASYNC = Transfer(mode="invoke", lambda_arn=ARN)
SYNC = Transfer(mode="invoke", lambda_arn=ARN, invocation="RequestResponse")


class Lambda:
    """An invoker before a server, and the pauses it took."""

    def __init__(self, server: AnswerServer) -> None:
        self.server = server
        self.pauses: list[float] = []
        clients = AwsClients(boto3.Session("AKIA0000", "x"), read_timeouts={"lambda": 1})
        self.invoker = LambdaInvoker(clients, sleep=self.pauses.append, chance=lambda: 0.5)


@pytest.fixture
def answered(monkeypatch) -> Iterator[Callable[..., Lambda]]:
    """Return a Lambda whose answers are given in order; the last one is repeated."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    running: list[AnswerServer] = []

    def make(*answers: Answer) -> Lambda:
        given = list(answers)
        server = AnswerServer(lambda _: given.pop(0) if len(given) > 1 else given[0]).__enter__()
        running.append(server)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        return Lambda(server)

    yield make
    for server in running:
        server.__exit__(None, None, None)


def said(status: int, body: bytes = b"", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, body, {"x-amzn-RequestId": "request-1", **named})


def refused(status: int, code: str, message: str = "said so") -> Answer:
    return said(status, json.dumps({"Type": "User", "Message": message}).encode(), x_amzn_ErrorType=code)


THROTTLED = refused(429, "TooManyRequestsException", "Rate Exceeded.")


def sent(fake: Lambda) -> Request:
    (request,) = fake.server.requests
    return request


def test_an_event_is_handed_over_and_not_waited_for(answered):
    fake = answered(said(202))
    assert fake.invoker.invoke(ASYNC, {"key": "in/ä.csv", "n": 1}) == Started("request-1", None, None)
    request = sent(fake)
    assert request.path.startswith("/2015-03-31/functions/")
    assert "file-transfer%3Alive/invocations" in request.path
    assert json.loads(request.body) == {"key": "in/ä.csv", "n": 1}
    assert request.headers["X-Amz-Invocation-Type"] == "Event"
    assert "X-Amz-Log-Type" not in request.headers


def test_a_dry_run_asks_for_no_log_and_gets_no_answer(answered):
    fake = answered(said(204, **{"x-amzn-RequestId": "r-1"}))
    dry = Transfer(mode="invoke", lambda_arn=ARN, invocation="DryRun")
    assert fake.invoker.invoke(dry, {}) == Started("r-1")
    headers = {name.lower(): value for name, value in sent(fake).headers.items()}
    assert headers["x-amz-invocation-type"] == "DryRun"
    assert "x-amz-log-type" not in headers


def test_an_answer_comes_with_the_log_of_the_function(answered):
    log = base64.b64encode(b"START RequestId: request-1\nEND\n").decode()
    fake = answered(said(200, b'{"copied": 1}', X_Amz_Log_Result=log))
    started = fake.invoker.invoke(SYNC, {})
    assert started == Started("request-1", "START RequestId: request-1\nEND\n", '{"copied": 1}')
    assert json.loads(json.dumps(started.__dict__)) == started.__dict__
    assert sent(fake).headers["X-Amz-Log-Type"] == "Tail"


def test_what_is_kept_as_evidence_is_short(answered):
    log = base64.b64encode(b"x" * 10_000 + b"the end").decode()
    started = answered(said(200, b'"' + b"y" * 100_000 + b'"', X_Amz_Log_Result=log)).invoker.invoke(SYNC, {})
    assert len(started.log_tail) == 4096
    assert started.log_tail.endswith("the end")
    assert len(started.returned) == 100_002


def test_a_function_that_fails_is_quoted(answered):
    report = {"errorType": "KeyError", "errorMessage": "'host'", "stackTrace": ["x" * 5000]}
    log = base64.b64encode(b"Traceback\n").decode()
    fake = answered(said(200, json.dumps(report).encode(), X_Amz_Function_Error="Unhandled", X_Amz_Log_Result=log))
    with pytest.raises(FunctionFailed) as caught:
        fake.invoker.invoke(SYNC, {})
    assert caught.value.reason == f"{ARN} failed with KeyError: 'host'"
    assert caught.value.evidence == {
        "lambda_request_id": "request-1",
        "log_tail": "Traceback\n",
        "function_error": "Unhandled",
    }


@pytest.mark.parametrize(
    "report",
    [
        {"errorMessage": "2026-11-24T06:00:00Z request-1 Task timed out after 3.00 seconds"},
        {"errorType": "Sandbox.Timedout", "errorMessage": "RequestId: r Error: Task timed out after 3.00 seconds"},
    ],
)
def test_a_function_that_ran_into_its_own_limit_has_timed_out(answered, report):
    with pytest.raises(InvokeTimeout) as caught:
        answered(said(200, json.dumps(report).encode(), X_Amz_Function_Error="Unhandled")).invoker.invoke(SYNC, {})
    assert caught.value.reason == f"{ARN} ran into its own time limit of 3.00 s and was ended"
    assert caught.value.evidence["lambda_request_id"] == "request-1"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"errorType": "Mine", "errorMessage": "Task timed out after 3 seconds"}', "Mine: Task timed out"),
        (b'{"errorType": "Runtime.ExitError"}', "Runtime.ExitError"),
        (b'"just text"', '"just text"'),
        (b"\xff not json", "not json"),
        (b"{}", "an unnamed error"),
        (b"", "an error it did not describe"),
        (json.dumps({"errorType": "E", "errorMessage": "m" * 5000}).encode(), "E: mmm"),
    ],
)
def test_whatever_a_runtime_reports_is_readable(answered, body, text):
    with pytest.raises(FunctionFailed) as caught:
        answered(said(200, body, X_Amz_Function_Error="Unhandled")).invoker.invoke(SYNC, {})
    assert text in caught.value.reason
    assert len(caught.value.reason) < 500


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "ResourceNotFoundException", FunctionNotFound),
        (403, "AccessDeniedException", InvokeDenied),
        (403, "UnrecognizedClientException", CredentialsUnusable),
        (403, "ExpiredTokenException", CredentialsUnusable),
        (502, "KMSAccessDeniedException", KmsDenied),
        (502, "KMSDisabledException", KmsDenied),
        (502, "EC2UnexpectedException", FunctionFailed),
        (502, "InvalidRuntimeException", FunctionFailed),
        (409, "CodeArtifactUserPendingException", FunctionFailed),
        (502, "ENINotReadyException", FunctionFailed),
        (502, "ResourceNotReadyException", FunctionFailed),
        (409, "ResourceConflictException", FunctionFailed),
        (400, "InvalidRequestContentException", ConfigInvalid),
        (413, "RequestTooLargeException", ConfigInvalid),
        (500, "ServiceException", StorageFailed),
    ],
)
def test_refusals(answered, status, code, expected):
    fake = answered(refused(status, code))
    with pytest.raises(expected) as caught:
        fake.invoker.invoke(ASYNC, {})
    assert type(caught.value) is expected
    assert ARN in caught.value.reason
    assert len(fake.server.requests) == 1  # a second invocation would run the transfer twice


def test_a_throttled_invocation_did_not_run_and_is_tried_again(answered):
    fake = answered(THROTTLED, THROTTLED, said(202))
    assert fake.invoker.invoke(ASYNC, {}).request_id == "request-1"
    assert fake.pauses == [0.5, 1.0]


def test_throttling_that_does_not_end(answered):
    fake = answered(THROTTLED)
    with pytest.raises(InvokeThrottled, match=r"still throttled at try 7, after 23\.5 s"):
        fake.invoker.invoke(ASYNC, {})
    assert len(fake.server.requests) == 7
    assert fake.pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


def test_throttling_is_told_before_the_transfers_time_is_over(answered):
    fake = answered(THROTTLED)
    with pytest.raises(InvokeThrottled):
        fake.invoker.invoke(dataclasses.replace(SYNC, timeout_seconds=8), {})
    assert fake.pauses == [0.5, 1.0, 2.0]


def test_a_function_that_does_not_return(answered):
    held = threading.Event()
    fake = answered(Answer(200, b"", hold=held))
    with pytest.raises(InvokeTimeout, match="did not return within 1 s; it may still be running"):
        fake.invoker.invoke(SYNC, {})
    held.set()
    assert len(fake.server.requests) == 1


def test_nobody_listens(monkeypatch, answered):
    fake = answered(said(202))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(ConnectionRefused):
        fake.invoker.invoke(ASYNC, {})


@pytest.mark.parametrize(("transfer", "limit"), [(ASYNC, ASYNC_PAYLOAD_BYTES), (SYNC, SYNC_PAYLOAD_BYTES)])
def test_a_payload_that_lambda_would_not_take_is_not_sent(answered, transfer, limit):
    fake = answered(said(202))
    with pytest.raises(ConfigInvalid, match=f"is {limit + 1} bytes long; .* takes at most {limit}"):
        fake.invoker.invoke(transfer, "x" * (limit - 1))
    assert fake.server.requests == []
    fake.invoker.invoke(transfer, "x" * (limit - 2))
    assert len(sent(fake).body) == limit


@pytest.mark.parametrize("payload", [object(), float("nan"), {1: {2, 3}}])
def test_a_payload_that_is_not_json(answered, payload):
    with pytest.raises(ConfigInvalid, match="is not JSON"):
        answered(said(202)).invoker.invoke(ASYNC, payload)


def test_nothing_to_invoke(answered):
    with pytest.raises(ConfigInvalid, match="lambda_arn is not set"):
        answered(said(202)).invoker.invoke(Transfer(mode="invoke"), {})


def test_no_payload_reaches_a_log(answered, caplog):
    caplog.set_level(logging.DEBUG, "pytest_fileflow")
    answered(said(202)).invoker.invoke(ASYNC, {"password": "hunter2"})
    assert ARN in caplog.text
    assert "hunter2" not in caplog.text


def test_no_half_of_a_secret_is_shown(answered):
    secret = "CorrectHorseBatteryStaple"
    report = {"errorType": "E", "errorMessage": "x" * 290 + f" {secret}"}
    log = base64.b64encode((secret + "\n" + "y" * 4088 + "\n").encode()).decode()
    fake = answered(said(200, json.dumps(report).encode(), X_Amz_Function_Error="Unhandled", X_Amz_Log_Result=log))
    fake.invoker._masked = lambda text: text.replace(secret, "***")
    with pytest.raises(FunctionFailed) as caught:
        fake.invoker.invoke(SYNC, {})
    shown = f"{caught.value.reason} {caught.value.evidence}"
    assert not any(secret[:size] in shown or secret[-size:] in shown for size in range(5, len(secret)))
