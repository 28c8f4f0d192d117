"""A key that is changed in mid-session, at a real server and in Secrets Manager: what is under way goes on."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow.clients import AwsClients
from pytest_fileflow.endpoints.sftp import SftpEndpoint
from pytest_fileflow.endpoints.ssh import SshSessions, Timeouts
from pytest_fileflow.errors import AuthRejected
from pytest_fileflow.secret import Secrets
from tests.support.openssh import KeyPair, OpenSsh, generate_key
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_FLIGHT = 50
SERVERS = 5
SIZE = 4 * 1024 * 1024


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsClients]:
    with MotoServer() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield AwsClients(running.session())


@pytest.fixture(scope="module")
def server() -> Iterator[OpenSsh]:
    with OpenSsh() as running:
        yield running


class Partner:
    """A partner whose server takes the key that lies in Secrets Manager, and all that logs in there."""

    def __init__(self, aws: AwsClients, server: OpenSsh, name: str) -> None:
        self.server = server
        self._client = aws.client("secretsmanager")
        self.arn = self._client.create_secret(Name=name, SecretString=text(server.rotate()))["ARN"]
        self.fetches: list[object] = []
        self._client.meta.events.register("before-call.secretsmanager.GetSecretValue", self._count, self.arn)
        self.secrets = Secrets(aws)
        self.opened: list[SshSessions] = []

    def _count(self, **_: object) -> None:
        self.fetches.append(1)

    def store(self, pair: KeyPair) -> None:
        self._client.put_secret_value(SecretId=self.arn, SecretString=text(pair))

    def endpoint(self) -> SftpEndpoint:
        """Return an endpoint with a connection of its own."""
        timeouts = Timeouts(failure=0)  # or a refusal would be remembered, and nobody would log in again
        sessions = SshSessions(self.secrets.credentials, timeouts=timeouts, renewed=self.secrets.renewed)
        self.opened.append(sessions)
        return SftpEndpoint(self.server.location(secret_arn=self.arn), sessions)

    def refusals(self) -> int:
        """Return how often a login has failed: OpenSSH logs each key that it does not know."""
        return self.server.log().count("Failed publickey")

    def close(self) -> None:
        self._client.meta.events.unregister("before-call.secretsmanager.GetSecretValue", self._count, self.arn)
        for sessions in self.opened:
            sessions.close()


def text(pair: KeyPair) -> str:
    return json.dumps({"privateKey": pair.private})


@pytest.fixture
def partner(aws, server, request) -> Iterator[Partner]:
    made = Partner(aws, server, request.node.name)
    yield made
    made.close()


def test_a_rotation_fails_nothing_that_is_under_way(partner):
    (partner.server.root / "large").write_bytes(bytes(SIZE))
    reading = partner.endpoint()
    with reading.open("large") as blocks:
        first = next(blocks)
        partner.store(partner.server.rotate())
        before = partner.refusals()
        endpoints = [partner.endpoint() for _ in range(SERVERS)]
        with ThreadPoolExecutor(IN_FLIGHT) as pool:
            runs = [pool.submit(endpoints[number % SERVERS].stat, "large") for number in range(IN_FLIGHT)]
            assert {run.result().size for run in runs} == {SIZE}
        assert len(first) + sum(map(len, blocks)) == SIZE
    assert len(partner.fetches) == 2
    # Who logged in before the first was refused was refused too; nobody was twice.
    assert 1 <= partner.refusals() - before <= SERVERS


def test_a_refused_key_that_is_still_in_the_secret_is_refused_at_once(partner):
    assert partner.endpoint().list() is not None
    partner.server.rotate()
    before = partner.refusals()
    for number in (1, 2):
        with pytest.raises(AuthRejected) as caught:
            partner.endpoint().list()
        assert partner.refusals() - before == number  # one login each, and none on top of it
        remark = caught.value.evidence["secret"]
        assert str(remark).startswith("the secret was read again and is unchanged (version ")
    assert len(partner.fetches) == 2


def test_a_new_key_that_is_refused_too_is_not_followed_by_a_third(partner):
    assert partner.endpoint().list() is not None
    partner.server.rotate()
    partner.store(generate_key())
    before = partner.refusals()
    with pytest.raises(AuthRejected) as caught:
        partner.endpoint().list()
    assert partner.refusals() - before == 2
    assert str(caught.value.evidence["secret"]).startswith("the secret was read again and had changed (version ")
    assert "PRIVATE KEY" not in str(caught.value.evidence) + caught.value.reason
    assert len(partner.fetches) == 2


def test_strangers_who_are_refused_prove_nothing_of_the_secret(partner):
    endpoint = partner.endpoint()
    for stranger in ("wrong_key", "unknown_user"):
        with pytest.raises(AuthRejected) as caught:
            endpoint.knock(stranger, "nobody-here")
        assert "secret" not in caught.value.evidence
    assert len(partner.fetches) == 1
