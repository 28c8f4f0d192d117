"""Exchanges keys with an SSH server, up to the point where its host key is to be judged."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Final

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from pytest_fileflow.endpoints.algorithms import nothing_in_common, prefer
from pytest_fileflow.endpoints.hostkeys import HostKey
from pytest_fileflow.endpoints.line import IDENTIFICATION, Line, Route, Timeouts, dial
from pytest_fileflow.errors import ConnectionLost, FileflowError, NegotiationFailed, NetworkTimeout

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

logger = logging.getLogger(__name__)

PARAMIKO_LOG: Final = "pytest_fileflow.endpoints.paramiko"
WINDOW_BYTES: Final = 16 * 1024 * 1024
PACKET_BYTES: Final = 256 * 1024
DROPPED_TRIES: Final = 3
DROPPED_SECONDS: Final = 0.5
_NEARLY = 0.98  # paramiko measures its own limits by another clock

_OTHER_PROTOCOLS = (b"HTTP/", b"220", b"+OK", b"* OK", b"\x15\x03", b"<")

# paramiko logs every broken session as an error with a traceback; the error itself says it better.
logging.getLogger(PARAMIKO_LOG).addHandler(logging.NullHandler())


class _Dropped(ConnectionLost):
    """The server hung up before its banner, as sshd does at its MaxStartups limit: worth another try."""


def handshakes(
    route: Route, timeouts: Timeouts, first: Collection[str]
) -> Iterator[tuple[paramiko.Transport, HostKey]]:
    """Yield a keyed but not authenticated transport for each type of host key that the server has.

    The caller closes each.

    Raises:
        NetworkError: no SSH connection.

    """
    seen: list[str] = []
    while True:
        try:
            transport = _patient_handshake(route, timeouts, first, seen)
        except IncompatiblePeer as error:
            if seen:
                return
            raise nothing_in_common(route, timeouts, error) from error
        offered = transport.get_remote_server_key()
        yield transport, HostKey(offered.get_name(), offered.asbytes())
        seen.append(offered.get_name())


def _patient_handshake(
    route: Route, timeouts: Timeouts, first: Collection[str], without: Collection[str]
) -> paramiko.Transport:
    for tried in range(1, DROPPED_TRIES + 1):
        try:
            return _handshake(route, timeouts, first, without)
        except _Dropped as error:
            logger.info("%s (try %d)", error.reason, tried)
            if tried == DROPPED_TRIES:
                raise
        time.sleep(DROPPED_SECONDS * tried * (0.5 + random.random()))  # noqa: S311 (jitter, not a secret)
    raise AssertionError("the last try returns or raises")


def _handshake(
    route: Route, timeouts: Timeouts, first: Collection[str], without: Collection[str]
) -> paramiko.Transport:
    line = dial(route, timeouts)
    try:
        transport = _prepared(line, timeouts, first, without)
        _start(transport, line, route, timeouts)
    except BaseException:  # Ctrl-C too: nobody else knows of the line
        line.close()
        raise
    return transport


def _start(transport: paramiko.Transport, line: Line, route: Route, timeouts: Timeouts) -> None:
    began, done = time.monotonic(), threading.Event()
    transport.start_client(event=done)
    done.wait(timeouts.banner + timeouts.handshake)
    if done.is_set() and transport.is_active():
        return
    # Whom the server hung up on has not waited too long, however long it took.
    elapsed = 0.0 if line.is_ended else time.monotonic() - began
    error = transport.get_exception()
    transport.close()
    if isinstance(error, IncompatiblePeer):
        raise error
    raise _handshake_error(route, timeouts, line.greeting, elapsed, error) from error


def _prepared(line: Line, timeouts: Timeouts, first: Collection[str], without: Collection[str]) -> paramiko.Transport:
    transport = paramiko.Transport(line, default_window_size=WINDOW_BYTES, default_max_packet_size=PACKET_BYTES)
    transport.set_log_channel(PARAMIKO_LOG)
    transport.banner_timeout = timeouts.banner
    transport.handshake_timeout = timeouts.handshake
    transport.auth_timeout = timeouts.auth
    transport.channel_timeout = timeouts.channel
    prefer(transport.get_security_options(), first, without)
    return transport


def _handshake_error(
    route: Route, timeouts: Timeouts, greeting: bytes, elapsed: float, error: Exception | None
) -> FileflowError:
    if IDENTIFICATION not in greeting:
        return _no_banner(route, timeouts, greeting, elapsed)
    if elapsed > timeouts.handshake * _NEARLY:
        return NetworkTimeout(f"{route} did not finish the SSH key exchange within {timeouts.handshake:g} s")
    if error is None or isinstance(error, (EOFError, OSError)):
        return ConnectionLost(f"{route} closed the connection during the SSH key exchange")
    return NegotiationFailed(f"the SSH key exchange with {route} failed: {error}")


def _no_banner(route: Route, timeouts: Timeouts, greeting: bytes, elapsed: float) -> FileflowError:
    said = greeting.decode("utf-8", "backslashreplace").strip().partition("\n")[0].strip()[:120]
    if greeting.startswith(_OTHER_PROTOCOLS):
        return NegotiationFailed(f"{route} does not speak SSH: it answered {said!r}", hint="Check host and port.")
    if elapsed > timeouts.banner * _NEARLY:
        return NetworkTimeout(f"{route} took the connection but sent no SSH banner within {timeouts.banner:g} s")
    saying = f", saying {said!r}" if said else ""
    return _Dropped(
        f"{route} closed the connection before its SSH banner{saying}",
        hint="Look at the server's log for refused addresses and its limit on new connections (MaxStartups).",
    )
