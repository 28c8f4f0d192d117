"""Credentials from wherever they are kept: read once, and again when refused; checked, never shown."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow.clients import AwsClients
from pytest_fileflow.errors import AccessDenied, FileflowError, KmsDenied, SecretMalformed, SecretMissing
from pytest_fileflow.secret import Credentials, Renewal, Secrets, mask, parse, read
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


TEXT = json.dumps({"privateKey": PEM, "password": "w"})
HELD = Credentials(PEM, None, "w")


@pytest.fixture
def kept(clients, tmp_path, monkeypatch):
    """Return the name of a secret of each kind, all with the same text."""

    def keep(kind: str, text: str = TEXT) -> str:
        if kind == "secretsmanager":
            return store(clients, SecretString=text)
        if kind == "env":
            monkeypatch.setenv("ACME_LOGIN", text)
            return "env:ACME_LOGIN"
        if kind == "file":
            path = tmp_path / "acme.json"
            path.write_text(text)
            path.chmod(0o600)
            return f"file:{path}"
        parameter = {"Name": "/sftp/acme", "Value": text, "Type": "SecureString", "Overwrite": True}
        region = "eu-central-1" if kind == "parameter ARN" else "us-east-1"
        clients.client("ssm", region).put_parameter(**parameter)
        arn = f"arn:aws:ssm:{region}:123456789012:parameter/sftp/acme"
        return arn if kind == "parameter ARN" else "ssm:/sftp/acme"

    return keep


KINDS = ("secretsmanager", "ssm", "parameter ARN", "env", "file")


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_may_be_kept_in_many_places(clients, kept, kind):
    name = kept(kind)
    secrets = Secrets(clients)
    assert secrets.credentials(name) == HELD
    assert secrets.masked(f"pass w, key {PEM}") == "pass ***, key ***\n"
    assert "VERY" not in repr(read(clients, name))
    version = read(clients, name).version
    wanted = {"secretsmanager": r"version [0-9a-f-]{36}, AWSCURRENT", "env": "", "file": r"written 20\d\d-.*Z"}
    assert re.fullmatch(wanted.get(kind, "version 1"), version)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_may_be_kept_without_json_around_it(clients, kept, kind):
    assert Secrets(clients).credentials(kept(kind, f"\n{PEM}")) == Credentials(private_key=f"\n{PEM}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_malformed_secret_of_any_kind_is_named(clients, kept, kind):
    name = kept(kind, "hunter2")
    with pytest.raises(SecretMalformed) as caught:
        Secrets(clients).credentials(name)
    assert caught.value.reason == f"the secret {name} is neither a JSON object nor a private key"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ssm:/nobody", "there is no secret ssm:/nobody"),
        ("ssm:/sftp/acme:9", "there is no secret ssm:/sftp/acme:9"),
        ("env:NOBODY", "there is no secret env:NOBODY: the environment variable is not set"),
        ("env:EMPTY", "there is no secret env:EMPTY: the environment variable is empty"),
        ("file:/nobody/acme.json", "there is no secret file:/nobody/acme.json: there is no such file"),
        ("file:~nobody-here/a", "there is no secret file:~nobody-here/a: there is no such file"),
    ],
)
def test_a_missing_secret_of_any_kind_is_named(clients, kept, monkeypatch, name, reason):
    monkeypatch.setenv("EMPTY", "")
    kept("ssm")
    with pytest.raises(SecretMissing) as caught:
        Secrets(clients).credentials(name)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("mode", "is_taken"), [(0o600, True), (0o400, True), (0o440, True), (0o604, False), (0o644, False), (0o602, False)]
)
def test_a_file_that_everybody_may_open_is_no_secret(clients, kept, mode, is_taken):
    name = kept("file")
    path = Path(name.removeprefix("file:"))
    path.chmod(mode)
    if is_taken:
        assert Secrets(clients).credentials(name) == HELD
        return
    with pytest.raises(SecretMalformed) as caught:
        Secrets(clients).credentials(name)
    assert f"is open to every user of this machine (mode {mode:04o})" in caught.value.reason
    assert caught.value.hint.startswith(f"chmod 600 {path}")


@pytest.mark.parametrize(("make", "problem"), [(os.mkfifo, "is not a regular file"), (os.mkdir, "is not a regular")])
def test_what_is_no_file_is_not_waited_for(clients, tmp_path, make, problem):
    make(tmp_path / "acme")
    with pytest.raises(SecretMalformed, match=problem):
        read(clients, f"file:{tmp_path}/acme")


def test_a_large_file_is_no_secret(clients, kept):
    with pytest.raises(SecretMalformed, match="has 65537 bytes: a secret has at most 65536"):
        read(clients, kept("file", "x" * 65_537))


def test_a_file_that_may_not_be_read_is_denied_by_its_name(clients, kept, monkeypatch):
    name = kept("file")

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(AccessDenied, match=f"reading the secret {name} was denied: Permission denied"):
        read(clients, name)


def test_a_parameter_whose_key_refuses_is_told_apart_from_one_that_is_denied(server, clients, kept):
    name = kept("ssm")
    from botocore.exceptions import ClientError

    client = clients.client("ssm")

    def refuse(code: str, message: str) -> type[FileflowError]:
        error = ClientError({"Error": {"Code": code, "Message": message}}, "GetParameter")
        with pytest.MonkeyPatch.context() as patch, pytest.raises(FileflowError, match=name) as caught:

            def raising(**_: object) -> None:
                raise error

            patch.setattr(client, "get_parameter", raising)
            read(clients, name)
        return caught.type

    assert refuse("InvalidKeyId", "The query key ID isn't valid") is KmsDenied
    assert refuse("AccessDeniedException", "is not authorized to perform: kms:Decrypt on resource") is KmsDenied
    assert refuse("AccessDeniedException", "is not authorized to perform: ssm:GetParameter") is AccessDenied


def test_the_sandbox_needs_nothing_of_this_machine(clients):
    for name in ("env:NOBODY", "file:/nobody/acme.json"):
        clients.client("secretsmanager").create_secret(Name=name.replace(":", "-"), SecretString=TEXT)
        with pytest.raises(SecretMissing) as caught:
            read(clients, name, sandbox=True)
        assert caught.value.evidence["aws_code"] == "ResourceNotFoundException"  # it was asked there, under that name


# --- once a server has refused what it holds ------------------------------------------------------


def fetches(clients: AwsClients) -> list[object]:
    """Return a list that grows with every request for a secret."""
    asked: list[object] = []
    client = clients.client("secretsmanager")
    client.meta.events.register("before-call.secretsmanager.GetSecretValue", lambda **_: asked.append(1))
    return asked


def test_a_refused_secret_is_read_again_once_however_many_ask(clients):
    arn = store(clients, SecretString='{"password": "old"}')
    asked, secrets = fetches(clients), Secrets(clients)
    old = secrets.credentials(arn)
    clients.client("secretsmanager").put_secret_value(SecretId=arn, SecretString='{"password": "new"}')
    start = threading.Barrier(50)

    def ask(_: int) -> Renewal:
        start.wait(30)
        return secrets.renewed(arn, old)

    with ThreadPoolExecutor(50) as pool:
        (renewal,) = set(pool.map(ask, range(50)))
    assert renewal.credentials == secrets.credentials(arn) == Credentials(password="new")
    assert re.fullmatch(r"the secret was read again and had changed \(version .* → version .*\)", renewal.remark)
    assert len(asked) == 2
    assert secrets.masked("old or new") == "*** or ***"


def test_a_refused_secret_that_is_unchanged_is_not_read_a_third_time(clients):
    arn = store(clients, SecretString='{"password": "w"}')
    asked, secrets = fetches(clients), Secrets(clients)
    held = secrets.credentials(arn)
    first, second = secrets.renewed(arn, held), secrets.renewed(arn, held)
    assert first == second
    assert first.credentials is None
    assert re.fullmatch(
        r"the secret was read again and is unchanged \(version [0-9a-f-]{36}, AWSCURRENT\)", first.remark
    )
    assert len(asked) == 2


def test_a_refused_secret_that_is_gone_leaves_the_refusal_as_it_is(clients):
    arn = store(clients, SecretString='{"password": "w"}')
    secrets = Secrets(clients)
    held = secrets.credentials(arn)
    clients.client("secretsmanager").delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    remark = f"the secret could not be read again: secret.missing: there is no secret {arn}"
    assert secrets.renewed(arn, held) == Renewal(None, remark)
    assert secrets.credentials(arn) == held


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
        ("", "is neither a JSON object nor a private key"),
        ("hunter2 is the password", "is neither a JSON object nor a private key"),
        ('"hunter2"', "is neither a JSON object nor a private key"),
        ('["hunter2"]', "is neither a JSON object nor a private key"),
        (b"\xff\xfehunter2", "is neither a JSON object nor a private key"),
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
