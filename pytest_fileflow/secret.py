"""Fetches the SSH credentials of a flow from Secrets Manager, each secret once."""

from __future__ import annotations

import json
import logging
import re
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.clients import error_code, error_message, evidence_of, translated
from pytest_fileflow.errors import SecretMalformed, SecretMissing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from botocore.exceptions import ClientError

    from pytest_fileflow.clients import AwsClients

logger = logging.getLogger(__name__)

_ACTION = "secretsmanager:GetSecretValue"
_MISSING = frozenset(("ResourceNotFoundException", "ResourceNotFound"))
# What Secrets Manager answers for a secret that is scheduled for deletion, among other things.
_DELETED = "InvalidRequestException"
_MASK = "***"
_KEY_LINE = 16  # a line of a key that is shorter tells nothing, and may stand anywhere
_KEY_END = "-----END [A-Z ]*PRIVATE KEY-----"
# Also one whose end, or whose beginning, was cut off.
_KEYS = (
    re.compile(rf"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?({_KEY_END}|\Z)", re.DOTALL),
    re.compile(rf"\A.*{_KEY_END}", re.DOTALL),
)


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

    def masked(self, text: str) -> str:
        """Return a text without the values of secrets that are known here, and without any private key.

        A function's log may hold what the function logs in with: the same secrets.
        """
        with self._lock:
            futures = list(self._known.values())
        known = [future.result() for future in futures if future.done() and future.exception() is None]
        return mask(text, known)

    def _settle(self, secret_arn: str, future: Future[Credentials]) -> None:
        try:
            future.set_result(parse(fetch(self._clients, secret_arn), secret_arn))
        except BaseException as error:
            with self._lock:
                del self._known[secret_arn]
            future.set_exception(error)
            if not isinstance(error, Exception):
                raise


def fetch(clients: AwsClients, secret_arn: str) -> str | bytes:
    """Return what a secret holds.

    Raises:
        SecretMissing: there is no such secret, or it is scheduled for deletion.
        AccessDenied, KmsDenied, CredentialsUnusable, NetworkError: as the names say.

    """
    from botocore.exceptions import ClientError

    logger.debug("fetching the secret %s", secret_arn)
    client = clients.client("secretsmanager", secret_arn)
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


def mask(text: str, known: Iterable[Credentials]) -> str:
    """Return a text in which no value of these credentials stands, and no private key at all.

    >>> mask("logging in with hunter2", [Credentials(password="hunter2")])
    'logging in with ***'
    """
    values = {value for credentials in known for value in (credentials.password, credentials.passphrase) if value}
    # What a function logs or returns is mostly JSON: quotes, backslashes and letters are written in other ways there.
    values |= {json.dumps(value, ensure_ascii=ascii_only)[1:-1] for value in values for ascii_only in (True, False)}
    for credentials in known:
        # A key is logged with its line breaks, or with them escaped, or cut: by lines it is found in any case.
        values |= {line for line in (credentials.private_key or "").split() if len(line) >= _KEY_LINE}
    for key in _KEYS:
        text = key.sub(_MASK, text)
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, _MASK)
    return text


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
