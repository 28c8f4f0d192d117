"""Credentials from Secrets Manager: fetched once, checked, never shown."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow.clients import AwsClients
from pytest_fileflow.errors import AccessDenied, FileflowError, SecretMalformed, SecretMissing
from pytest_fileflow.secret import Credentials, Secrets, mask, parse
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:absent-AbCdEf"
PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nVERY-SECRET\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture(scope="module")
def server() -> Iterator[MotoServer]:
    with MotoServer() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


@pytest.fixture
def clients(server) -> AwsClients:
    server.reset()
    return AwsClients(server.session())


def store(clients: AwsClients, region: str = "us-east-1", **value: object) -> str:
    made = clients.client("secretsmanager", region).create_secret(Name="partner", **value)
    return str(made["ARN"])


def test_a_secret_is_read_in_its_own_region(clients):
    text = json.dumps({"privateKey": PEM, "passphrase": "p", "password": "w", "note": "ignored"})
    arn = store(clients, "eu-central-1", SecretString=text)
    assert Secrets(clients).credentials(arn) == Credentials(PEM, "p", "w")


def test_a_binary_secret_is_read_too(clients):
    arn = store(clients, SecretBinary=b'{"password": "w"}')
    assert Secrets(clients).credentials(arn) == Credentials(password="w")


def test_a_secret_is_fetched_once_however_many_ask(clients):
    arn = store(clients, SecretString='{"password": "w"}')
    asked = []
    client = clients.client("secretsmanager")
    client.meta.events.register("before-call.secretsmanager.GetSecretValue", lambda **_: asked.append(1))
    secrets, start = Secrets(clients), threading.Barrier(16)

    def ask(_: int) -> Credentials:
        start.wait(10)
        return secrets.credentials(arn)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(16))) == {Credentials(password="w")}
    assert len(asked) == 1


def test_a_failure_is_shared_but_not_kept(clients):
    secrets = Secrets(clients)
    with pytest.raises(SecretMissing):
        secrets.credentials("partner")
    store(clients, SecretString='{"password": "w"}')
    assert secrets.credentials("partner").password == "w"


def test_a_missing_secret_is_named(clients):
    with pytest.raises(SecretMissing) as caught:
        Secrets(clients).credentials(ARN)
    assert caught.value.reason == f"there is no secret {ARN}"
    assert caught.value.evidence["aws_code"] == "ResourceNotFoundException"


def test_a_secret_that_is_being_deleted_is_missing(clients):
    arn = store(clients, SecretString='{"password": "w"}')
    clients.client("secretsmanager").delete_secret(SecretId=arn, RecoveryWindowInDays=7)
    with pytest.raises(SecretMissing, match="scheduled for deletion"):
        Secrets(clients).credentials(arn)


def test_a_denied_secret_names_the_permission(server, clients):
    arn = store(clients, SecretString='{"password": "w"}')
    user = clients.client("iam")
    user.create_user(UserName="nobody")
    key = user.create_access_key(UserName="nobody")["AccessKey"]
    server.enforce_permissions()
    import boto3

    weak = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1")
    with pytest.raises(AccessDenied, match="secretsmanager:GetSecretValue on arn:aws"):
        Secrets(AwsClients(weak)).credentials(arn)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not a JSON object"),
        ("hunter2 is the password", "is not a JSON object"),
        ('"hunter2"', "is not a JSON object"),
        ('["hunter2"]', "is not a JSON object"),
        (b"\xff\xfehunter2", "is not a JSON object"),
        ("{}", "holds neither privateKey nor password"),
        ('{"privatekey": "hunter2"}', "holds neither privateKey nor password"),
        ('{"privateKey": "", "password": null}', "holds neither privateKey nor password"),
        ('{"passphrase": "hunter2"}', "holds neither privateKey nor password"),
        ('{"password": ["hunter2"]}', "password in the secret"),
        ('{"privateKey": {"pem": "hunter2"}}', "privateKey in the secret"),
        ('{"password": "hunter2", "passphrase": 7}', "passphrase in the secret"),
    ],
)
def test_a_malformed_secret_is_named_and_never_shown(text, problem):
    with pytest.raises(SecretMalformed) as caught:
        parse(text, ARN)
    assert problem in caught.value.reason
    assert ARN in caught.value.reason
    shown: BaseException | None = caught.value
    while shown is not None:
        assert "hunter2" not in f"{shown!r}{getattr(shown, 'doc', '')}{getattr(shown, 'evidence', '')}"
        shown = shown.__context__


def test_credentials_never_show_a_value(clients, caplog):
    caplog.set_level(logging.DEBUG, "pytest_fileflow")
    arn = store(clients, SecretString=json.dumps({"privateKey": PEM, "password": "w-secret"}))
    credentials = Secrets(clients).credentials(arn)
    assert repr(credentials) == str(credentials) == "Credentials(private_key=***, passphrase=None, password=***)"
    assert "w-secret" not in caplog.text
    assert "VERY-SECRET" not in caplog.text


def test_a_failing_test_that_shows_locals_does_not_show_the_secret(pytester_run):
    output = pytester_run(
        """
        from pytest_fileflow.secret import parse
        def test_it():
            parse('{"password": ["hunter' + '2"]}', "arn")
        """
    )
    assert "SecretMalformed" in output
    assert "hunter2" not in output


@pytest.fixture
def pytester_run(tmp_path):
    import subprocess
    import sys
    import textwrap
    from pathlib import Path

    def run(source: str) -> str:
        (tmp_path / "test_shown.py").write_text(textwrap.dedent(source))
        command = [sys.executable, "-m", "pytest", "--showlocals", "-p", "no:cacheprovider", str(tmp_path)]
        root = Path(__file__).parents[1]
        done = subprocess.run(
            [*command, "--rootdir", str(tmp_path), "-c", "/dev/null"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    return run


def test_all_errors_are_ours(clients, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    import boto3

    with pytest.raises(FileflowError):
        Secrets(AwsClients(boto3.Session("a", "b", region_name="us-east-1"))).credentials(ARN)


@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_secret_in_json_is_masked_too(ascii_only):
    password = 'hunt"er2\\Secret-é9'
    text = json.dumps({"login": password}, ensure_ascii=ascii_only)
    assert mask(text, [Credentials(password=password)]) == '{"login": "***"}'
