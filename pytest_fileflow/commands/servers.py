"""SFTP servers and the keys that they show, held against what configs pin and known_hosts files say."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_fileflow.endpoints.hostkeys import DEFAULT_PORT, trust
from pytest_fileflow.errors import FileflowError
from pytest_fileflow.model import Flow, SftpLocation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pytest_fileflow.endpoints.hostkeys import HostKey, Trust

AT_A_TIME = 16
SECONDS = 10.0
_ADDRESS = re.compile(
    r"\[(?P<v6>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\](?::(?P<v6_port>\d+))?|(?P<host>[^:\s]+)(?::(?P<port>\d+))?"
)

State = Literal["trusted", "new", "mismatch"]


@dataclass(frozen=True)
class Server:
    """A server by its address, the pins that configs have for it, and the ids of their flows."""

    host: str
    port: int = DEFAULT_PORT
    pins: tuple[str, ...] = ()
    flows: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Server | None:
        """Return the server of a text ``host``, ``host:port`` or ``[address]:port``, or None where it is none."""
        found = _ADDRESS.fullmatch(text)
        if found is None:
            return None
        port = int(found["port"] or found["v6_port"] or DEFAULT_PORT)
        return cls(found["host"] or found["v6"], port) if 0 < port < 2**16 else None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """Return the server's name in a known_hosts file."""
        return self.host if self.port == DEFAULT_PORT else f"[{self.host}]:{self.port}"


@dataclass(frozen=True)
class Judged:
    """What is to be said of a server's keys, by one pin or by the known_hosts files."""

    state: State
    words: str


@dataclass(frozen=True)
class Shown:
    """The keys that a server has shown, and what each pin says of them, or why it has shown none."""

    server: Server
    keys: tuple[HostKey, ...] = ()
    judged: tuple[Judged, ...] = ()
    error: FileflowError | None = None


def _judged(trusted: Trust, keys: Sequence[HostKey]) -> Judged:
    if any(map(trusted.accepts, keys)):
        return Judged("trusted", f"{trusted.where} is the one in {trusted.origin}")
    refusal = trusted.refusal(keys)
    return Judged("new" if refusal.cause == "hostkey.unknown" else "mismatch", refusal.reason)


def servers_of(flows: Iterable[Flow]) -> Iterator[Server]:
    """Yield each server that flows name once, with all their pins for it."""
    ends = [(flow.flow_id, end) for flow in flows for end in (flow.source, flow.target)]
    by_address: dict[tuple[str, int], list[tuple[str, SftpLocation]]] = {}
    for flow_id, end in ends:
        if isinstance(end, SftpLocation):
            by_address.setdefault((end.host, end.port), []).append((flow_id, end))
    for (host, port), named in by_address.items():
        pins = dict.fromkeys(end.host_key for _, end in named if end.host_key)
        yield Server(host, port, tuple(pins), tuple(dict.fromkeys(flow_id for flow_id, _ in named)))


def ask(servers: Sequence[Server], seconds: float, known_hosts: Sequence[Path]) -> list[Shown]:
    """Return the keys of all servers, asked at the same time; a step of it may take these seconds."""
    if not servers:
        return []
    with ThreadPoolExecutor(min(len(servers), AT_A_TIME)) as pool:
        return list(pool.map(lambda server: _shown(server, seconds, known_hosts), servers))


def _shown(server: Server, seconds: float, known_hosts: Sequence[Path]) -> Shown:
    try:
        keys = tuple(keys_of(server, seconds))
        pins = server.pins or (None,)
        judged = tuple(_judged(trust(server.host, server.port, pin, known_hosts), keys) for pin in pins)
    except FileflowError as error:
        return Shown(server, error=error)
    return Shown(server, keys, judged)


def keys_of(server: Server, seconds: float = SECONDS) -> Iterator[HostKey]:
    """Yield a server's keys, one of each type; raises FileflowError."""
    from pytest_fileflow.endpoints.handshake import handshakes
    from pytest_fileflow.endpoints.line import Route, Timeouts

    limits = Timeouts(connect=seconds, banner=seconds, handshake=seconds)
    for transport, key in handshakes(Route(server.host, server.port), limits, ()):
        transport.close()
        yield key
