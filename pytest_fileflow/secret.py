"""Fetches the SSH credentials of a flow from Secrets Manager, each secret once."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.clients import error_code, error_message, evidence_of, translated
from pytest_fileflow.errors import SecretMalformed, SecretMissing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.exceptions import ClientError

    from pytest_fileflow.clients import AwsClients

logger = logging.getLogger(__name__)

_ACTION = "secretsmanager:GetSecretValue"
_MISSING = frozenset(("ResourceNotFoundException", "ResourceNotFound"))
# What Secrets Manager answers for a secret that is scheduled for deletion, among other things.
_DELETED = "InvalidRequestException"


@dataclass(frozen=True, repr=False)
class Credentials:
    """What a login may use. ``private_key`` is PEM text; its repr never shows a value."""

    private_key: str | None = None
    passphrase: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        shown = (f"{name}={'***' if value else None}" for name, value in vars(self).items())
        return f"Credentials({', '.join(shown)})"


class Secrets:
    """Secrets Manager's secrets as credentials, fetched on first use and kept for the session.

    However many threads ask at once, a secret is fetched once; they share a failure too, but a
    later call asks again.
    """

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients
        self._known: dict[str, Future[Credentials]] = {}
        self._lock = threading.Lock()

    def credentials(self, secret_arn: str) -> Credentials:
        """Return the credentials in a secret.

        Raises:
            SecretMissing: there is no such secret, or it is scheduled for deletion.
            SecretMalformed: it is not ``{"privateKey": …, "passphrase": …, "password": …}``.
            AccessDenied, KmsDenied, CredentialsUnusable, NetworkError: as the names say.

        """
        with self._lock:
            future = self._known.get(secret_arn)
            mine = future is None
            if future is None:
                future = self._known[secret_arn] = Future()
        if mine:
            self._settle(secret_arn, future)
        return future.result()

    def _settle(self, secret_arn: str, future: Future[Credentials]) -> None:
        try:
            future.set_result(parse(self._fetch(secret_arn), secret_arn))
        except BaseException as error:
            with self._lock:
                del self._known[secret_arn]
            future.set_exception(error)
            if not isinstance(error, Exception):
                raise

    def _fetch(self, secret_arn: str) -> str | bytes:
        from botocore.exceptions import ClientError

        logger.debug("fetching the secret %s", secret_arn)
        client = self._clients.client("secretsmanager", secret_arn)
        with translated(_ACTION, secret_arn):
            try:
                answer: Mapping[str, str | bytes] = client.get_secret_value(SecretId=secret_arn)
            except ClientError as error:
                _raise_if_missing(error, secret_arn)
                raise
        return answer.get("SecretString") or answer.get("SecretBinary") or ""


def _raise_if_missing(error: ClientError, secret_arn: str) -> None:
    code = error_code(error)
    if code in _MISSING:
        raise SecretMissing(f"there is no secret {secret_arn}", evidence=evidence_of(error)) from error
    if code == _DELETED and "delet" in error_message(error).lower():
        raise SecretMissing(
            f"the secret {secret_arn} is scheduled for deletion",
            hint="Restore it (aws secretsmanager restore-secret) or name its successor in secret_arn.",
            evidence=evidence_of(error),
        ) from error


def parse(text: str | bytes, secret_arn: str) -> Credentials:
    """Return the credentials in the text of a secret.

    Raises:
        SecretMalformed: names the ARN and the part, never a value.

    """
    __tracebackhide__ = True  # or pytest's --showlocals would print the secret
    content = _decoded(text)
    if not isinstance(content, dict):
        raise SecretMalformed(f"the secret {secret_arn} is not a JSON object")
    found = Credentials(
        private_key=_text(content, "privateKey", secret_arn),
        passphrase=_text(content, "passphrase", secret_arn),
        password=_text(content, "password", secret_arn),
    )
    if found.private_key is None and found.password is None:
        raise SecretMalformed(f"the secret {secret_arn} holds neither privateKey nor password")
    return found


def _decoded(text: str | bytes) -> object:
    """Return the JSON value, None where it is none: the decoder's error holds the text, so it ends here."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _text(content: Mapping[str, object], key: str, secret_arn: str) -> str | None:
    __tracebackhide__ = True
    value = content.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise SecretMalformed(f"{key} in the secret {secret_arn} is not text")
    return value
