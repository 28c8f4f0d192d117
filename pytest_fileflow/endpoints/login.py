"""Leads from a host name to an SSH transport that is trusted and logged in."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import paramiko

from pytest_fileflow.endpoints.handshake import handshakes
from pytest_fileflow.endpoints.hostkeys import HostKey, trust
from pytest_fileflow.endpoints.line import DEFAULT_TIMEOUTS, Route, Timeouts
from pytest_fileflow.endpoints.privatekey import private_key
from pytest_fileflow.errors import AuthRejected, ConnectionLost, NegotiationFailed, NetworkTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_fileflow.secret import Credentials, Renewal

logger = logging.getLogger(__name__)

# Not Path.expanduser: that raises where a user has no home, as in a container with a user id of its own.
KNOWN_HOSTS: Final = (Path(os.path.expanduser("~/.ssh/known_hosts")), Path("/etc/ssh/ssh_known_hosts"))  # noqa: PTH111
PUBLICKEY: Final = "publickey"
PASSWORD: Final = "password"  # noqa: S105 (the name of a method, RFC 4252)
INTERACTIVE: Final = "keyboard-interactive"
_NEARLY = 0.98  # paramiko measures its own limits by another clock


@dataclass(frozen=True)
class Login:
    """Everything that one login needs.

    ``explains``: whether a refusal is followed by a question, over another connection, for what the
    server would take. ``renewed`` reads a secret again whose credentials were refused: they may be
    those of before a rotation.
    """

    route: Route
    username: str
    secret_arn: str
    credentials: Callable[[str], Credentials]
    known_hosts: Sequence[Path] = KNOWN_HOSTS
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    explains: bool = True
    renewed: Callable[[str, Credentials], Renewal] | None = None

    def connect(self) -> paramiko.Transport:
        """Return a transport to a server whose host key is trusted, with the user logged in.

        Raises:
            NetworkError: no SSH connection.
            HostKeyUnknown, HostKeyMismatch, ConfigInvalid: not a server that is trusted.
            AuthRejected: the server does not let this user in.
            SecretMissing, SecretMalformed, AccessDenied, CredentialsUnusable: no usable key or password.

        """
        credentials = self.credentials(self.secret_arn)
        try:
            transport = self._log_in_with(credentials)
        except AuthRejected as refusal:
            transport = self._log_in_again(credentials, refusal)
        transport.set_keepalive(int(self.timeouts.keepalive))
        logger.info("%s logged in at %s (%s)", self.username, self.route, transport.remote_version)
        return transport

    def _log_in_with(self, credentials: Credentials) -> paramiko.Transport:
        return self._log_in(_Means(credentials, private_key(credentials, self.secret_arn)))

    def _log_in_again(self, refused: Credentials, refusal: AuthRejected) -> paramiko.Transport:
        """Log in with what the secret holds by now, if that is something else: servers lock users out who go on."""
        if self.renewed is None:
            raise refusal
        renewal = self.renewed(self.secret_arn, refused)
        logger.info("%s was refused at %s: %s", self.username, self.route, renewal.remark)
        if renewal.credentials is None:
            raise _with_remark(refusal, renewal.remark)
        try:
            return self._log_in_with(renewal.credentials)
        except AuthRejected as again:
            raise _with_remark(again, renewal.remark) from None

    def _log_in(self, means: _Means) -> paramiko.Transport:
        """Try the key, then the password, each over a connection of its own.

        paramiko asks for the authentication service with every attempt, and strict servers end the
        session when they are asked twice (RFC 4253, section 10, leaves that open).
        """
        waiting, tried = means.methods(), list[str]()
        offered: Sequence[str] = ()
        while waiting:
            method = waiting.pop(0)
            transport = self._trusted()
            answer = self._attempt_all(transport, means, method, tried)
            if answer.accepted:
                return transport
            transport.close()
            offered = answer.offered or offered
            if method == PASSWORD and PASSWORD not in offered and INTERACTIVE in offered:
                waiting.append(INTERACTIVE)
        if not offered and self.explains:
            offered = self._methods_offered()
        raise self._rejected(means, offered, tried)

    def _attempt_all(self, transport: paramiko.Transport, means: _Means, method: str, tried: list[str]) -> _Answer:
        """Try one method, and after a first success the others that a server may want on top of it."""
        try:
            answer = self._attempt(transport, means, method, tried)
            while answer.partial and (following := means.next_of(answer.offered, tried)):
                answer = self._attempt(transport, means, following, tried)
        except BaseException:  # Ctrl-C too: nobody else knows of the transport
            transport.close()
            raise
        return answer

    def _attempt(self, transport: paramiko.Transport, means: _Means, method: str, tried: list[str]) -> _Answer:
        began = time.monotonic()
        try:
            remaining = means.present(transport, self.username, method)
        except paramiko.BadAuthenticationType as refused:
            return _Answer(offered=tuple(refused.allowed_types))
        except (paramiko.SSHException, EOFError, OSError) as error:
            problem = error
        else:
            tried.append(method)
            return _Answer(accepted=not remaining, partial=bool(remaining), offered=tuple(remaining))
        tried.append(method)
        # Outside of the handler, so that no error carries paramiko's frames: they hold the password.
        self._require_refusal(transport, time.monotonic() - began, problem)
        return _Answer()

    def _require_refusal(self, transport: paramiko.Transport, elapsed: float, problem: Exception) -> None:
        """Raise unless the problem is the server's answer to what it was shown."""
        if "agree on a pubkey algorithm" in str(problem):
            raise NegotiationFailed(f"{self.route} takes RSA keys with SHA-1 signatures only, which are not made here")
        limit = self.timeouts.auth
        if transport.is_active() and elapsed > limit * _NEARLY:
            raise NetworkTimeout(f"{self.route} did not answer the login of {self.username} within {limit:g} s")
        if not isinstance(problem, paramiko.AuthenticationException):
            raise ConnectionLost(f"the connection to {self.route} broke during the login of {self.username}")

    def _methods_offered(self) -> Sequence[str]:
        """Ask over another connection what the server would take: a refusal alone does not tell."""
        transport = self._trusted()
        try:
            transport.auth_none(self.username)
        except paramiko.BadAuthenticationType as refused:
            return tuple(refused.allowed_types)
        except (paramiko.SSHException, EOFError, OSError) as error:
            logger.debug("%s does not tell its methods: %s", self.route, error)
        finally:
            transport.close()
        return ()

    def _rejected(self, means: _Means, offered: Sequence[str], tried: Sequence[str]) -> AuthRejected:
        fate = f"refused {' and '.join(tried)}" if tried else "takes neither of them"
        return AuthRejected(
            f"{self.route} did not let {self.username} in: it offers {', '.join(offered) or 'nothing'}, "
            f"the secret {self.secret_arn} holds {means}, and the server {fate}",
            evidence={"offered": list(offered), "tried": list(tried)},
        )

    def _trusted(self) -> paramiko.Transport:
        trusted = trust(self.route.host, self.route.port, self.route.host_key, self.known_hosts)
        offered = []
        for transport, host_key in handshakes(self.route, self.timeouts, trusted.types):
            if trusted.accepts(host_key):
                return transport
            transport.close()
            offered.append(host_key)
            if trusted.fingerprint is None:  # otherwise it may be the fingerprint of a key of another type
                break
        raise trusted.refusal(offered)


def _with_remark(refusal: AuthRejected, remark: str) -> AuthRejected:
    return AuthRejected(refusal.reason, hint=refusal.hint, evidence={**refusal.evidence, "secret": remark})


def host_keys(route: Route, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> list[HostKey]:
    """Return the host keys that a server proves to own, one of each type, without logging in.

    Raises:
        NetworkError: no SSH connection.

    """
    found = []
    for transport, host_key in handshakes(route, timeouts, ()):
        transport.close()
        found.append(host_key)
    return found


@dataclass(frozen=True)
class _Answer:
    """What came of one attempt; ``offered`` are the methods that the server names with it."""

    accepted: bool = False
    partial: bool = False
    offered: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Means:
    """What there is to log in with."""

    credentials: Credentials
    key: paramiko.PKey | None

    def __str__(self) -> str:
        held = (
            [] if self.key is None else [f"the {self.key.get_name()} key {HostKey('', self.key.asbytes()).fingerprint}"]
        )
        return " and ".join(held + ["a password"] * (self.credentials.password is not None))

    def methods(self) -> list[str]:
        """Return the methods to try first, in order."""
        return [PUBLICKEY] * (self.key is not None) + [PASSWORD] * (self.credentials.password is not None)

    def next_of(self, offered: Sequence[str], tried: Sequence[str]) -> str | None:
        """Return a further method that a server wants on top of those that it has accepted."""
        usable = self.methods() + [INTERACTIVE] * (PASSWORD not in offered and PASSWORD in self.methods())
        return next((method for method in usable if method in offered and method not in tried), None)

    def present(self, transport: paramiko.Transport, username: str, method: str) -> list[str]:
        """Show the key or the password to the server; return what it wants on top of it."""
        password = self.credentials.password or ""
        if method == PUBLICKEY and self.key is not None:
            return transport.auth_publickey(username, self.key)
        if method == PASSWORD:
            return transport.auth_password(username, password, fallback=False)
        # Its prompts have no agreed wording: each is taken to ask for the password (RFC 4256).
        return transport.auth_interactive(username, lambda _title, _text, prompts: [password] * len(prompts))
