"""Keeps the credentials of a session: each secret is read once, and once more when a server refuses what it held."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pytest_fileflow.errors import FileflowError
from pytest_fileflow.secret.credentials import Credentials, mask, parse
from pytest_fileflow.secret.reading import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_fileflow.clients import AwsClients

    Key = TypeVar("Key")
    Kept = TypeVar("Kept")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Renewal:
    """What came of reading a secret again: other credentials, or None, and a remark for the evidence."""

    credentials: Credentials | None
    remark: str


@dataclass(frozen=True)
class _Held:
    credentials: Credentials
    version: str


class Secrets:
    """Secrets as credentials, read on first use and kept for the session.

    However many threads ask at once, a secret is read once; they share a failure too, but a later
    call asks again. ``sandbox``: whether the sandbox has them all.
    """

    def __init__(self, clients: AwsClients, *, sandbox: bool = False) -> None:
        self._clients = clients
        self._sandbox = sandbox
        self._known: dict[str, Future[_Held]] = {}
        self._renewals: dict[tuple[str, Credentials], Future[Renewal]] = {}
        self._seen: set[Credentials] = set()  # also what was replaced: a log may still hold it
        self._lock = threading.Lock()

    def credentials(self, secret_arn: str) -> Credentials:
        """Return the credentials in a secret.

        Raises:
            SecretMissing: there is no such secret, or it is scheduled for deletion.
            SecretMalformed: it is not ``{"privateKey": …, "passphrase": …, "password": …}``, nor a key.
            AccessDenied, KmsDenied, CredentialsUnusable, NetworkError: as the names say.

        """
        return self._once(self._known, secret_arn, lambda: self._read(secret_arn)).credentials

    def renewed(self, secret_arn: str, rejected: Credentials) -> Renewal:
        """Read a secret again, after a server refused what it held; from then on all use what it holds now.

        That is done once for each value that was refused, whoever asks, and however often.
        """
        return self._once(self._renewals, (secret_arn, rejected), lambda: self._renew(secret_arn, rejected))

    def masked(self, text: str) -> str:
        """Return a text without the values of secrets that are known here, and without any private key.

        A function's log may hold what the function logs in with: the same secrets.
        """
        with self._lock:
            seen = frozenset(self._seen)
        return mask(text, seen)

    def _renew(self, secret_arn: str, rejected: Credentials) -> Renewal:
        before = self._once(self._known, secret_arn, lambda: self._read(secret_arn))
        if before.credentials != rejected:
            return Renewal(before.credentials, f"the secret holds something else by now{_in_brackets(before.version)}")
        try:
            now = self._read(secret_arn)
        except FileflowError as error:
            return Renewal(None, f"the secret could not be read again: {error.cause}: {error.reason}")
        if now.credentials == rejected:
            return Renewal(None, f"the secret was read again and is unchanged{_in_brackets(now.version)}")
        logger.info("the secret %s has changed", secret_arn)
        with self._lock:
            settled = self._known[secret_arn] = Future()
        settled.set_result(now)
        versions = f"{before.version} → {now.version}" if now.version else ""
        return Renewal(now.credentials, f"the secret was read again and had changed{_in_brackets(versions)}")

    def _read(self, secret_arn: str) -> _Held:
        __tracebackhide__ = True  # or pytest's --showlocals would print the secret
        secret = read(self._clients, secret_arn, sandbox=self._sandbox)
        credentials = parse(secret.content, secret_arn)
        with self._lock:
            self._seen.add(credentials)
        return _Held(credentials, secret.version)

    def _once(self, kept: dict[Key, Future[Kept]], key: Key, make: Callable[[], Kept]) -> Kept:
        """Return what is kept under a key, made by whoever comes first; a failure is shared, and not kept."""
        with self._lock:
            future = kept.get(key)
            mine = future is None
            if future is None:
                future = kept[key] = Future()
        if mine:
            try:
                future.set_result(make())
            except BaseException as error:
                with self._lock:
                    del kept[key]
                future.set_exception(error)
                if not isinstance(error, Exception):
                    raise
        return future.result()


def _in_brackets(version: str) -> str:
    return f" ({version})" if version else ""
