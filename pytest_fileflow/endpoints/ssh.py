"""Shares SSH transports and SFTP channels between all endpoints of a process."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import paramiko

from pytest_fileflow.endpoints.line import DEFAULT_TIMEOUTS, Route, Timeouts
from pytest_fileflow.endpoints.login import KNOWN_HOSTS, Login
from pytest_fileflow.endpoints.pipeline import SftpStatus
from pytest_fileflow.endpoints.wire import Wire
from pytest_fileflow.errors import (
    ConnectionLost,
    FileflowError,
    Interrupted,
    NetworkError,
    NetworkTimeout,
    StorageFailed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pytest_fileflow.model import SftpLocation
    from pytest_fileflow.secret import Credentials, Renewal

__all__ = ["BROKEN", "Route", "SshSessions", "Timeouts", "direct", "translate"]

logger = logging.getLogger(__name__)

# A server that refuses the only channel may not have noticed yet that the last one was closed.
REFUSALS: Final = 3
REFUSAL_SECONDS: Final = 0.2
# What paramiko raises where a channel or its transport is of no use any more.
BROKEN = (EOFError, OSError, paramiko.SSHException, paramiko.SFTPError, UnicodeError)


def direct(location: SftpLocation) -> Route:
    """Return the route to a server by the host and port of its own config."""
    return Route(location.host, location.port, location.host_key)


def translate(error: Exception, *, doing: str, where: str) -> FileflowError:
    """Return the project's error for anything that paramiko raised over an open session."""
    if isinstance(error, FileflowError):
        return error
    if isinstance(error, TimeoutError):
        return NetworkTimeout(f"{where} stopped answering while {doing}")
    if isinstance(error, (paramiko.SFTPError, UnicodeError)):
        return StorageFailed(f"{where} sent an answer that is not SFTP version 3 while {doing}: {error}")
    return ConnectionLost(f"the connection to {where} broke while {doing}")


@dataclass(frozen=True)
class _Key:
    """What makes two locations share a transport."""

    route: Route
    username: str
    secret_arn: str


class SshSessions:
    """One transport a login, and a bounded number of SFTP channels over it, for all threads.

    ``route`` tells where a server really is reached, ``renewed`` what a secret holds once a server has
    refused what it held. A failed login is shared by all who wait for
    it, and remembered for ``timeouts.failure`` seconds.
    """

    def __init__(
        self,
        credentials: Callable[[str], Credentials],
        *,
        route: Callable[[SftpLocation], Route] = direct,
        known_hosts: Sequence[Path] = KNOWN_HOSTS,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        renewed: Callable[[str, Credentials], Renewal] | None = None,
    ) -> None:
        self._credentials = credentials
        self._renewed = renewed
        self._route = route
        self._known_hosts = tuple(known_hosts)
        self._timeouts = timeouts
        self._sessions: dict[_Key, _Session] = {}
        self._turns: dict[Route, threading.Lock] = {}
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def lease(self, location: SftpLocation, *, bulk: bool = False) -> Iterator[Wire]:
        """Lend a channel for one operation; nobody else uses it meanwhile.

        ``bulk`` is for transfers: one of the location's ``max_sessions`` channels is kept free of
        them, so that a question is not kept waiting by a download. The channel goes back into the
        pool unless the block raised something else than a server's refusal.

        Raises:
            NetworkTimeout: no channel became free in time.
            FlowError: no session; see :meth:`Login.connect`.

        """
        session = self._session(location)
        loan = session.acquire(location.max_sessions, bulk=bulk)
        fate = _Fate(reusable=False)
        try:
            yield loan.wire
            fate = _Fate(reusable=True)
        except SftpStatus:
            fate = _Fate(reusable=True)
            raise
        except (*BROKEN, NetworkError):
            fate = _Fate(reusable=False, retire=True)
            raise
        finally:
            session.release(loan, fate)

    def login(self, location: SftpLocation) -> Login:
        """Return how one logs in at a location, for a connection of one's own."""
        who, limits = (location.username, location.secret_arn, self._credentials), self._timeouts
        return Login(self._route(location), *who, self._known_hosts, limits, renewed=self._renewed)

    def turn(self, location: SftpLocation) -> threading.Lock:
        """Return what strangers hold at a server while they knock: it counts them (MaxStartups), friends too."""
        with self._lock:
            return self._turns.setdefault(self._route(location), threading.Lock())

    def close(self) -> None:
        """End all sessions; a later lease is refused."""
        with self._lock:
            self._closed = True
            sessions = list(self._sessions.values())
            self._sessions.clear()
        for session in sessions:
            session.close()

    def _session(self, location: SftpLocation) -> _Session:
        login = self.login(location)
        key = _Key(login.route, login.username, login.secret_arn)
        with self._lock:
            if self._closed:
                raise Interrupted(f"the SSH sessions are closed, so {location.uri()} cannot be reached")
            session = self._sessions.get(key)
            if session is None:
                session = self._sessions[key] = _Session(login)
        return session


@dataclass(frozen=True)
class _Fate:
    """What becomes of a channel, and of the transport under it."""

    reusable: bool
    retire: bool = False


@dataclass(eq=False)
class _Link:
    """A transport, its idle channels, how many are lent, how many are open; guarded by its session's lock."""

    transport: paramiko.Transport
    channels: int = 0
    idle: list[Wire] = field(default_factory=list)
    lent: int = 0
    retired: bool = False


@dataclass(frozen=True)
class _Loan:
    link: _Link
    wire: Wire
    bulk: bool


class _Session:
    """The channels of one login. A transport that fails is replaced; those who still use it finish first."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._free = threading.Condition()
        self._in_use = 0
        self._bulk_in_use = 0
        self._ceiling: int | None = None  # fewer channels than asked for, once the server refused one
        self._link: _Link | None = None
        self._connecting = threading.Lock()
        self._opening = threading.Lock()
        self._failure: tuple[float, FileflowError] | None = None
        self._closed = False

    def acquire(self, limit: int, *, bulk: bool) -> _Loan:
        """Return a channel of its own for a caller, within ``timeouts.lease`` and the time of a login."""
        deadline = time.monotonic() + self._login.timeouts.lease
        refusals = 0
        while True:
            self._take_place(limit, deadline, bulk=bulk)
            try:
                return self._lend(bulk=bulk)
            except paramiko.ChannelException as refused:
                self._give_place(bulk=bulk)
                refusals += not self._accepts_fewer()
                if refusals >= REFUSALS:
                    raise self._no_channel(refused) from refused
                time.sleep(REFUSAL_SECONDS * refusals)
            except BaseException:  # Ctrl-C too: a place that is not given back is lost to all others
                self._give_place(bulk=bulk)
                raise

    def release(self, loan: _Loan, fate: _Fate) -> None:
        """Take a channel back."""
        link = loan.link
        with self._free:
            given_up = fate.retire or link.retired
            if fate.reusable and not given_up:
                link.idle.append(loan.wire)
            else:
                link.channels -= 1
        if not fate.reusable and not given_up:
            _close(loan.wire)
        self._unlend(link, retire=fate.retire)
        self._give_place(bulk=loan.bulk)

    def close(self) -> None:
        """End the transport at once, also under those who still use it."""
        with self._free:
            self._closed = True
            link, self._link = self._link, None
        if link is not None:
            link.transport.close()

    def _take_place(self, limit: int, deadline: float, *, bulk: bool) -> None:
        with self._free:
            while not self._has_room(limit, bulk=bulk):
                if not self._free.wait(deadline - time.monotonic()):
                    raise NetworkTimeout(
                        f"all {self._in_use} SFTP channels to {self._login.route} were busy "
                        f"for {self._login.timeouts.lease:g} s",
                        hint="Raise max_sessions of this endpoint if the server allows it.",
                    )
            self._in_use += 1
            self._bulk_in_use += bulk

    def _has_room(self, limit: int, *, bulk: bool) -> bool:
        allowed = limit if self._ceiling is None else min(limit, self._ceiling)
        return self._in_use < allowed and not (bulk and self._bulk_in_use >= max(1, allowed - 1))

    def _give_place(self, *, bulk: bool) -> None:
        with self._free:
            self._in_use -= 1
            self._bulk_in_use -= bulk
            self._free.notify_all()

    def _accepts_fewer(self) -> bool:
        """Ask for no more channels than the server has given; tell whether it has given any."""
        with self._free:
            given = 0 if self._link is None else self._link.channels
            if given:
                self._ceiling = given
                logger.info("%s allows %d channels", self._login.route, given)
            return bool(given)

    def _no_channel(self, refused: paramiko.ChannelException) -> StorageFailed:
        return StorageFailed(f"{self._login.route} let {self._login.username} in but opens no session: {refused.text}")

    def _lend(self, *, bulk: bool) -> _Loan:
        link = self._live_link()
        wire = self._idle_one(link)
        try:
            return _Loan(link, wire or self._new_one(link), bulk)
        except BaseException as error:
            self._unlend(link, retire=isinstance(error, NetworkError))
            raise

    def _idle_one(self, link: _Link) -> Wire | None:
        with self._free:
            link.lent += 1
            while link.idle:
                wire = link.idle.pop()
                if not wire.closed:
                    return wire
                link.channels -= 1
        return None

    def _new_one(self, link: _Link) -> Wire:
        # One at a time: paramiko keeps the last error of a transport, and two would take each other's.
        with self._opening:
            if link.retired:
                raise ConnectionLost(f"the connection to {self._login.route} was given up")
            wire = self._open(link.transport)
            with self._free:
                link.channels += 1
        return wire

    def _unlend(self, link: _Link, *, retire: bool) -> None:
        with self._free:
            link.lent -= 1
            if retire:
                self._retire(link)
            over = link.retired and not link.lent
        if over:
            link.transport.close()

    def _live_link(self) -> _Link:
        asked = time.monotonic()
        with self._connecting:
            link = self._link
            if link is not None and link.transport.is_active():
                return link
            self._raise_if_failed_since(asked)
            if self._closed:
                raise Interrupted(f"the session with {self._login.route} is closed")
            try:
                fresh = _Link(self._login.connect())
            except FileflowError as error:
                self._failure = time.monotonic(), error
                raise
            self._failure = None
            with self._free:
                self._link = fresh
            return fresh

    def _raise_if_failed_since(self, asked: float) -> None:
        """Share a failed login with those who waited for it, and with those who come right after."""
        if self._failure is None:
            return
        failed, error = self._failure
        if failed >= asked or time.monotonic() - failed < self._login.timeouts.failure:
            raise type(error)(error.reason, hint=error.hint, evidence=error.evidence)

    def _retire(self, link: _Link) -> None:
        """Keep newcomers off a link; you hold the lock."""
        link.retired = True
        if self._link is link:
            self._link = None

    def _open(self, transport: paramiko.Transport) -> Wire:
        """Return a new SFTP channel.

        Raises:
            ChannelException: the server allows no further channel.
            NetworkError, StorageFailed: anything else.

        """
        limits = self._login.timeouts
        try:
            channel = transport.open_session(timeout=limits.channel)
            channel.settimeout(limits.operation)
            with _watchdog(limits.channel, channel):
                channel.invoke_subsystem("sftp")
                wire = Wire(channel)
        except paramiko.ChannelException:
            raise
        except BROKEN as error:
            raise self._not_opened(transport, error) from error
        return wire

    def _not_opened(self, transport: paramiko.Transport, error: Exception) -> FileflowError:
        where, user = str(self._login.route), self._login.username
        doing = f"opening an SFTP channel for {user}"
        if isinstance(error, TimeoutError) or "Timeout opening channel" in str(error):
            return translate(TimeoutError(), doing=doing, where=where)
        if not transport.is_active():
            return translate(error, doing=doing, where=where)
        return StorageFailed(
            f"{where} let {user} in but does not start SFTP: {str(error) or 'the channel was closed'}",
            hint="Check the sftp subsystem of the server, and that no shell start-up file prints text.",
        )


@contextmanager
def _watchdog(seconds: float, channel: paramiko.Channel) -> Iterator[None]:
    """Close a channel whose subsystem does not start in time: paramiko would wait for it for ever."""
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        _close(channel)

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    except BROKEN as error:
        if expired.is_set():
            raise TimeoutError("the SFTP subsystem did not start in time") from error
        _close(channel)
        raise
    finally:
        timer.cancel()


def _close(given_up: Wire | paramiko.Channel) -> None:
    with suppress(*BROKEN):  # nobody is left to be told
        given_up.close()
