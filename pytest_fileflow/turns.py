"""Lets a bounded number of runs at a time be at each SFTP server; who waits for one holds up no run at another."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import heapq
import os
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_fileflow.allow import host_name
from pytest_fileflow.model import SftpLocation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pytest_fileflow.flight import Flight
    from pytest_fileflow.model import Flow

Server = tuple[str, int]
"""A host, by its one spelling, and a port."""


def servers_of(flow: Flow) -> tuple[Server, ...]:
    """Return the SFTP servers at a flow's ends, each once."""
    ends = (end for end in (flow.source, flow.target) if isinstance(end, SftpLocation))
    return tuple(dict.fromkeys((host_name(end.host), end.port) for end in ends))


@dataclass(frozen=True)
class Widths:
    """How many runs a session has at a time at each SFTP server: ``every`` at any, and less where flows say so.

    ``sharers`` processes share them. Where there are more processes than turns, they take turns by
    files in ``folder``.
    """

    every: int | None = None
    own: Mapping[Server, int] = field(default_factory=lambda: MappingProxyType({}))
    sharers: int = 1
    folder: Path | None = None

    @classmethod
    def of(cls, flows: Iterable[Flow], every: int | None, sharers: int, folder: Path | None) -> Widths:
        """Return the widths for all flows of a session; the smallest number that one of them gives counts."""
        own: dict[Server, int] = {}
        for end in (end for flow in flows for end in (flow.source, flow.target)):
            if isinstance(end, SftpLocation) and end.max_runs is not None:
                server = host_name(end.host), end.port
                own[server] = min(end.max_runs, own.get(server, end.max_runs))
        return cls(every, own, sharers, folder)

    def at(self, server: Server) -> int | None:
        """Return how many runs the session has at a time at a server; None for any number."""
        return min((most for most in (self.every, self.own.get(server)) if most is not None), default=None)

    def turns_at(self, server: Server) -> _Turns | None:
        """Return this process's turns at a server, None where they are not counted."""
        most = self.at(server)
        if most is None:
            return None
        if most >= self.sharers or self.folder is None:
            return _Turns(max(1, most // self.sharers))
        name = hashlib.sha256(repr(server).encode()).hexdigest()[:16]
        return _Turns(1, tuple(self.folder / f"{name}-{number}.turn" for number in range(most)))


@dataclass
class _Turns:
    """A server: how many runs of this process may be there, how many are, and who waits.

    ``slots`` are files of which a run holds one locked, where processes share fewer turns than they are;
    ``is_shut`` says that others held them all when this process last looked.
    """

    width: int
    slots: tuple[Path, ...] = ()
    is_shut: bool = False
    taken: dict[Flight, int | None] = field(default_factory=dict)
    waiting: list[tuple[int, Flight]] = field(default_factory=list)  # a heap

    @property
    def has_room(self) -> bool:
        return len(self.taken) < self.width and not self.is_shut

    def take(self, flight: Flight) -> bool:
        if not self.has_room:
            return False
        slot = _locked(self.slots) if self.slots else None
        self.is_shut = bool(self.slots) and slot is None
        if not self.is_shut:
            self.taken[flight] = slot
        return not self.is_shut

    def give(self, flight: Flight) -> None:
        slot = self.taken.pop(flight, None)
        if slot is not None:
            os.close(slot)


def _locked(slots: Iterable[Path]) -> int | None:
    """Return an open file that nobody else holds a lock on, or None; it is free again once closed, or by any kill."""
    for slot in slots:
        slot.parent.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(slot, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        os.close(handle)
    return None


class Queues:
    """Who is at which server, and who waits, the first launched first; the caller of every method holds a lock.

    While a server has room, nobody waits there, or the first who waits has been handed out by ``next_at``.
    """

    def __init__(self, widths: Widths) -> None:
        self._widths = widths
        self._at: dict[Server, _Turns | None] = {}

    def admits(self, flight: Flight) -> bool:
        """Take a turn at all servers of a run at once; where one has no room, keep the run until that has."""
        if flight.case.kind != "transfer":
            return True
        taken: list[_Turns] = []
        for server in self._servers(flight):
            if not server.take(flight):
                for other in taken:
                    other.give(flight)
                heapq.heappush(server.waiting, (flight.order, flight))
                return False
            taken.append(server)
        return True

    def next_at(self, flight: Flight) -> list[Flight]:
        """Return whom to ask for next at the servers of a run, the first who waits at each, if it has room."""
        return [found for server in self._servers(flight) for found in _first(server)]

    def gone(self, flight: Flight) -> list[Flight]:
        """Give a run's turns back, and return whom to ask for next."""
        for server in self._servers(flight):
            server.give(flight)
        return self.next_at(flight)

    def retry(self) -> list[Flight]:
        """Return whom to ask for next where other processes may have given a turn back."""
        shut = [server for server in self._at.values() if server is not None and server.is_shut]
        for server in shut:
            server.is_shut = False
        return [found for server in shut for found in _first(server)]

    def give_up(self) -> None:
        """Keep nobody any longer."""
        for server in self._at.values():
            if server is not None:
                server.waiting.clear()

    def _servers(self, flight: Flight) -> list[_Turns]:
        found = []
        for server in servers_of(flight.case.flow):
            if server not in self._at:
                self._at[server] = self._widths.turns_at(server)
            turns = self._at[server]
            if turns is not None:
                found.append(turns)
        return found


def _first(server: _Turns) -> list[Flight]:
    if server.waiting and server.has_room:
        return [heapq.heappop(server.waiting)[1]]
    return []
