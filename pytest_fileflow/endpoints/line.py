"""Dials a server: a TCP connection on which no step waits for ever."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any, Final

from pytest_fileflow.errors import ConnectionRefused, NameNotResolved, NetworkTimeout

IDENTIFICATION: Final = b"SSH-"
_GREETING_BYTES = 512


@dataclass(frozen=True)
class Timeouts:
    """How long each step may take, in seconds.

    ``operation`` bounds the silence during an SFTP request, not a whole transfer; ``lease`` the wait
    for a free channel. ``failure`` is how long a failed login is remembered, so that a hundred runs
    do not knock at a closed door a hundred times.
    """

    connect: float = 10.0
    banner: float = 15.0
    handshake: float = 15.0
    auth: float = 15.0
    channel: float = 15.0
    operation: float = 30.0
    lease: float = 600.0
    keepalive: float = 30.0
    failure: float = 5.0


DEFAULT_TIMEOUTS: Final = Timeouts()


@dataclass(frozen=True)
class Route:
    """Where a server really is reached, the host key pinned for it, and as what it is known, if not by its address."""

    host: str
    port: int
    host_key: str | None = None
    known_as: str = ""

    def __str__(self) -> str:
        return self.known_as or f"{self.host}:{self.port}"


class Line(socket.socket):
    """A connected socket that keeps the first bytes it received, and gives up where a send makes no progress.

    ``is_ended`` tells whether the peer has hung up: paramiko reports that, and the end of its own
    patience, by the same error. It tries a send again for as long as it times out, which is for ever
    with a peer that hangs.
    """

    def __init__(self, connected: socket.socket, patience: float) -> None:
        super().__init__(fileno=connected.detach())
        self.greeting = b""
        self.is_ended = False
        self._patience = patience
        self._stuck_since: float | None = None

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive as a socket does, and keep what comes before the SSH identification."""
        try:
            data = super().recv(size, flags)
        except ConnectionError:
            self.is_ended = True
            raise
        self.is_ended = self.is_ended or (size > 0 and not data)
        if len(self.greeting) < _GREETING_BYTES and IDENTIFICATION not in self.greeting:
            self.greeting += data[:_GREETING_BYTES]
        return data

    def send(self, data: Any, flags: int = 0) -> int:
        """Send as a socket does, and raise where only time-outs came back for too long."""
        try:
            sent = super().send(data, flags)
        except TimeoutError:
            self._stuck_since = self._stuck_since or time.monotonic()
            if time.monotonic() - self._stuck_since > self._patience:
                raise ConnectionAbortedError("the peer takes no more data") from None
            raise
        except ConnectionError:
            self.is_ended = True
            raise
        self._stuck_since = None
        return sent


def dial(route: Route, timeouts: Timeouts) -> Line:
    """Return a connection to a server.

    Raises:
        NameNotResolved, ConnectionRefused, NetworkTimeout: as the names say.

    """
    try:
        connected = socket.create_connection((route.host, route.port), timeouts.connect)
    except (socket.gaierror, UnicodeError) as error:
        raise NameNotResolved(f"the host name {route.host} does not resolve: {error}") from error
    except ConnectionRefusedError as error:
        raise ConnectionRefused(f"{route} refuses connections") from error
    except TimeoutError as error:
        raise NetworkTimeout(f"{route} did not accept a connection within {timeouts.connect:g} s") from error
    except OSError as error:
        raise ConnectionRefused(f"{route} cannot be reached: {error.strerror or error}") from error
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Line(connected, timeouts.operation)
