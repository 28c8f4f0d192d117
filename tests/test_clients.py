"""Every error that AWS's libraries raise becomes one of ours, and clients are shared and bounded."""

from __future__ import annotations

import inspect
import socket
import string
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
import urllib3
from boto3.exceptions import Boto3Error, S3UploadFailedError
from botocore import exceptions as vendor
from botocore.exceptions import BotoCoreError, ClientError

from pytest_fileflow import errors
from pytest_fileflow.aws_errors import translate, translated
from pytest_fileflow.clients import AwsClients
from pytest_fileflow.errors import (
    AccessDenied,
    ConfigInvalid,
    ConnectionLost,
    ConnectionRefused,
    CredentialsUnusable,
    FileflowError,
    KmsDenied,
    LocationMissing,
    NameNotResolved,
    NegotiationFailed,
    NetworkTimeout,
    StorageFailed,
)


@pytest.fixture(autouse=True)
def _no_settings_from_this_machine(monkeypatch):
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def clients() -> AwsClients:
    return AwsClients(boto3.Session("AKIA0000", "x", region_name="eu-west-1"))


def answer(code: str, message: str = "", status: int = 400) -> ClientError:
    metadata = {"HTTPStatusCode": status, "RequestId": "R-1", "RetryAttempts": 3}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, "Operation")


@pytest.mark.parametrize(
    ("named", "region"),
    [
        ("arn:aws:lambda:us-west-2:123456789012:function:f", "us-west-2"),
        ("arn:aws-us-gov:secretsmanager:us-gov-east-1:123456789012:secret:s", "us-gov-east-1"),
        ("ap-southeast-2", "ap-southeast-2"),
        ("<SECRET_ARN>", "eu-west-1"),
        ("arn:aws:s3:::bucket", "eu-west-1"),
        ("arn:aws:lambda:<REGION>:123456789012:function:f", "eu-west-1"),
        (None, "eu-west-1"),
    ],
)
def test_the_region_is_the_arns_or_the_sessions(clients, named, region):
    assert clients.client("lambda", named).meta.region_name == region


def test_an_endpoint_url_without_a_scheme_is_the_testers_fault(clients, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:1")
    with pytest.raises(CredentialsUnusable, match=r"cannot be used for s3: Invalid endpoint: 127\.0\.0\.1:1") as told:
        clients.client("s3")
    assert "AWS_ENDPOINT_URL" in told.value.hint


def test_without_any_region_there_is_one():
    assert AwsClients(boto3.Session("AKIA0000", "x")).client("sns").meta.region_name == "us-east-1"


def test_a_client_is_made_once_however_many_ask(clients):
    start = threading.Barrier(16)

    def ask(_: int) -> Any:
        start.wait(10)
        return clients.client("s3")

    with ThreadPoolExecutor(16) as pool:
        assert len({id(client) for client in pool.map(ask, range(16))}) == 1
    assert clients.client("s3", "us-west-2") is not clients.client("s3")


@pytest.mark.parametrize(("service", "attempts", "read"), [("s3", 4, 60), ("sns", 4, 60), ("lambda", 1, 910)])
def test_nothing_waits_for_ever_and_no_invocation_is_repeated(clients, service, attempts, read):
    config = clients.client(service).meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": attempts}
    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (10, read, 64)
    assert config.tcp_keepalive is True


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="this system calls it otherwise")
def test_a_connection_that_waits_for_an_answer_is_not_forgotten(clients, monkeypatch):
    """A NAT gateway drops what is silent for 350 s: a function that runs longer would never be heard of."""
    opened = []
    connect = urllib3.connection.HTTPConnection.connect

    def connecting(connection: urllib3.connection.HTTPConnection) -> None:
        connect(connection)
        names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        opened.append(
            (
                connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                *(connection.sock.getsockopt(socket.IPPROTO_TCP, name) for name in names),
            )
        )

    monkeypatch.setattr(urllib3.connection.HTTPConnection, "connect", connecting)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        client = AwsClients(boto3.Session("AKIA0000", "x"), read_timeouts={"lambda": 0.1}).client("lambda")
        with pytest.raises(vendor.ReadTimeoutError):
            client.invoke(FunctionName="mover")
    assert opened == [(1, 60, 60, 5)]


def test_a_read_timeout_can_be_set(clients):
    session = boto3.Session("AKIA0000", "x")
    assert AwsClients(session, read_timeouts={"s3": 3}).client("s3").meta.config.read_timeout == 3


@pytest.mark.parametrize(
    ("code", "message", "status", "expected"),
    [
        ("ExpiredToken", "The provided token has expired.", 400, CredentialsUnusable),
        ("InvalidAccessKeyId", "It does not exist in our records.", 403, CredentialsUnusable),
        ("SignatureDoesNotMatch", "Check your key.", 403, CredentialsUnusable),
        ("UnrecognizedClientException", "The security token is invalid.", 400, CredentialsUnusable),
        ("RequestTimeTooSkewed", "The clock is off.", 403, CredentialsUnusable),
        ("AccessDenied", "Access Denied", 403, AccessDenied),
        ("AccessDenied", "User: u is not authorized to perform: kms:Decrypt on the key", 403, KmsDenied),
        ("AccessDenied", 'not authorized: s3:GetObject on "arn:aws:s3:::my-kms-bucket/x"', 403, AccessDenied),
        ("AccessDeniedException", "Access to KMS is not allowed", 400, KmsDenied),
        ("AccessDeniedException", "no secretsmanager:GetSecretValue", 400, AccessDenied),
        ("403", "Forbidden", 403, AccessDenied),
        ("KMS.DisabledException", "arn:aws:kms:… is disabled.", 400, KmsDenied),
        ("KMS.NotFoundException", "Key does not exist", 400, KmsDenied),
        ("DecryptionFailure", "cannot decrypt", 400, KmsDenied),
        ("NoSuchBucket", "The specified bucket does not exist", 404, LocationMissing),
        ("404", "Not Found", 404, LocationMissing),
        ("NoSuchUpload", "gone", 404, LocationMissing),
        ("ValidationException", "1 validation error", 400, ConfigInvalid),
        ("SlowDown", "Please reduce your request rate.", 503, StorageFailed),
        ("InternalError", "We encountered an internal error.", 500, StorageFailed),
        ("SomethingNew", "never heard of", 418, StorageFailed),
    ],
)
def test_answers(code, message, status, expected):
    told = translate(answer(code, message, status), action="s3:GetObject", location="s3://b/k")
    assert type(told) is expected
    assert "s3://b/k" in told.reason
    assert "s3:GetObject" in told.reason
    assert code in told.reason
    assert told.evidence == {"aws_code": code, "http_status": status, "aws_request_id": "R-1"}


def test_how_often_it_was_tried_is_said():
    told = translate(answer("SlowDown", "Reduce.", 503), action="s3:PutObject", location="s3://b/k")
    assert told.reason == "s3:PutObject on s3://b/k failed after 4 tries: SlowDown: Reduce."


def _vendor_errors() -> list[type[BotoCoreError]]:
    found = vars(vendor).values()
    return [kind for kind in found if inspect.isclass(kind) and issubclass(kind, BotoCoreError)]


def _made(kind: type[BotoCoreError]) -> BotoCoreError:
    fields = {name: f"<{name}>" for _, name, _, _ in string.Formatter().parse(kind.fmt) if name}
    required = [
        name
        for name, each in inspect.signature(kind.__init__).parameters.items()
        if name != "self" and each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    ]
    return kind(**{**dict.fromkeys(required, "<given>"), **fields})


@pytest.mark.parametrize("kind", _vendor_errors(), ids=lambda kind: kind.__name__)
def test_no_vendor_error_is_left_unmapped(kind):
    told = translate(_made(kind), action="s3:GetObject", location="s3://b/k")
    assert isinstance(told, FileflowError)
    assert not isinstance(told, errors.TesterBug)
    assert "s3:GetObject" in told.reason


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (vendor.NoCredentialsError(), CredentialsUnusable),
        (vendor.PartialCredentialsError(provider="env", cred_var="x"), CredentialsUnusable),
        (vendor.ProfileNotFound(profile="night"), CredentialsUnusable),
        (vendor.TokenRetrievalError(provider="sso", error_msg="expired"), CredentialsUnusable),
        (vendor.UnauthorizedSSOTokenError(), CredentialsUnusable),
        (vendor.CredentialRetrievalError(provider="x", error_msg="y"), CredentialsUnusable),
        (vendor.ConnectTimeoutError(endpoint_url="http://h"), NetworkTimeout),
        (vendor.ReadTimeoutError(endpoint_url="http://h"), NetworkTimeout),
        (vendor.ConnectionClosedError(endpoint_url="http://h"), ConnectionLost),
        (vendor.ResponseStreamingError(error="cut"), ConnectionLost),
        (vendor.IncompleteReadError(actual_bytes=1, expected_bytes=2), ConnectionLost),
        (vendor.SSLError(endpoint_url="http://h", error="bad certificate"), NegotiationFailed),
        (
            vendor.EndpointConnectionError(endpoint_url="http://h", error=socket.gaierror(-2, "x")),
            NameNotResolved,
        ),
        (
            vendor.EndpointConnectionError(endpoint_url="http://h", error=ConnectionRefusedError()),
            ConnectionRefused,
        ),
        (vendor.EndpointConnectionError(endpoint_url="http://h", error="?"), ConnectionLost),
        (vendor.ParamValidationError(report="Invalid bucket name"), ConfigInvalid),
        (ConnectionResetError(), ConnectionLost),
        (Boto3Error("what"), StorageFailed),
        (ZeroDivisionError("ours"), errors.TesterBug),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_errors_before_an_answer(error, expected):
    assert type(translate(error, action="s3:GetObject", location="s3://b/k")) is expected


def test_an_error_is_found_inside_another():
    outer = S3UploadFailedError("Failed to upload")
    outer.__context__ = answer("AccessDenied", "no", 403)
    assert type(translate(outer, action="s3:PutObject", location="s3://b/k")) is AccessDenied


def test_our_own_errors_pass_unchanged():
    mine = AccessDenied("mine")
    assert translate(mine, action="x", location="y") is mine
    with pytest.raises(AccessDenied, match="mine") as caught, translated("x", "y"):
        raise mine
    assert caught.value is mine


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [("http://nowhere.invalid", NameNotResolved), ("http://127.0.0.1:{port}", ConnectionRefused)],
)
def test_an_endpoint_that_is_not_there(monkeypatch, endpoint, expected):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint.format(port=port))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    client = boto3.Session("AKIA0000", "x", region_name="us-east-1").client("sts")
    with (
        pytest.raises(expected, match="during sts:GetCallerIdentity on account"),
        translated("sts:GetCallerIdentity", "account"),
    ):
        client.get_caller_identity()
