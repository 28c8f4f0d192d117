"""Serves SFTP: one asyncssh listener a host, one separate file tree a user, on 127.0.0.1 only."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import inspect
import posixpath
import threading
from concurrent.futures import TimeoutError as FutureTimeoutError  # its own class before Python 3.11
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import quote

import asyncssh

from pytest_fileflow.sandbox.places import sftp_place

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any

    from pytest_fileflow.sandbox.places import Place
    from pytest_fileflow.sandbox.sftp_faults import FaultyServer
    from pytest_fileflow.sandbox.switches import Switch

    Faults = Callable[[], tuple[Switch, ...]]

TRANSFER_VERSION = "SSH-2.0-fileflow_transfer"
"""How the reference transfer names itself in its SSH greeting: what it writes starts no transfer."""

T = TypeVar("T")
_START_SECONDS = 30.0
_STOP_SECONDS = 3.0


class Arrived(Protocol):
    """Is told of each whole file: where, its name, and the notification to start a function with."""

    def __call__(self, place: Place, name: str, event: dict[str, object]) -> None:
        """Take note of it; quick, since the client waits meanwhile."""


@dataclass
class User:
    """Who may log in, with which public keys (SSH wire format) or password, their file tree, and where they write.

    ``folders`` are those that flows name: nothing may appear outside of them.
    """

    root: Path
    folders: set[str] = field(default_factory=set)
    keys: set[bytes] = field(default_factory=set)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Account:
    """What a flow asks of a server: this user, this folder, this public key (SSH wire format)."""

    host: str
    port: int
    username: str
    directory: str
    key: bytes
    password: str | None = field(default=None, repr=False)


@dataclass
class Host:
    """One server: its listener's port, its host key with its fingerprint, and its users by name."""

    name: str
    configured_port: int
    port: int
    fingerprint: str
    acceptor: asyncssh.SSHAcceptor
    users: dict[str, User]
    key: asyncssh.SSHKey


class SftpServers:
    """All SFTP servers of the sandbox, served by one event loop in a thread of its own."""

    def __init__(self, directory: Path, arrived: Arrived) -> None:
        self._directory = directory
        self._arrived = arrived
        self._hosts: dict[tuple[str, int], Host] = {}
        self._faulty: dict[tuple[Place, bool, float], FaultyServer] = {}
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="sftp")
        self._thread.start()

    @property
    def connections(self) -> int:
        """Return how many clients are connected."""
        return len(self._connections)

    def ensure(self, accounts: Iterable[Account]) -> None:
        """Make servers, users, folders and keys that are not there yet."""
        for account in accounts:
            host = self._hosts.get((account.host, account.port)) or self._listen(account.host, account.port)
            self._admit(host, account)

    def address(self, host: str, port: int) -> tuple[int, str]:
        """Return a server's real port and its host key's fingerprint; raises KeyError for an unknown one."""
        server = self._hosts[host, port]
        return server.port, server.fingerprint

    def addresses(self) -> dict[tuple[str, int], tuple[int, str]]:
        """Return every server's real port and fingerprint by configured host and port."""
        return {key: (host.port, host.fingerprint) for key, host in list(self._hosts.items())}

    def ensure_faulty(self, place: Place, faults: Faults) -> None:
        """Serve a user's folder at an address of its own, with the faults that it has at any time."""
        from pytest_fileflow.sandbox.sftp_faults import FaultyServer

        way = _way_to(place, faults())
        if way in self._faulty:
            return
        host = self._hosts[place[1], int(place[2])]
        server = self._faulty[way] = FaultyServer(place, host, faults, self._arrived, self._connections)
        self._run(server.listen(changed_key=way[1], delay=way[2]))

    def faulty_address(self, place: Place) -> tuple[int, str]:
        """Return the port at which a folder with faults is served, and the fingerprint that its server should have."""
        host = self._hosts[place[1], int(place[2])]
        servers = (server for (of_place, *_), server in reversed(self._faulty.items()) if of_place == place)
        current = next(server for server in servers if _way_to(place, server.faults()) == server.way)
        return current.port, host.fingerprint

    def names(self, host: str, port: int, username: str, directory: str) -> list[str]:
        """Return the files that lie in a user's folder."""
        folder = self._hosts[host, port].users[username].root / directory.lstrip("/")
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file())

    def stop(self) -> None:
        """Close every listener and connection; bounded by a few seconds."""
        if self._loop.is_closed():
            return
        with contextlib.suppress(FutureTimeoutError):
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_STOP_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    async def _close(self) -> None:
        for host in self._hosts.values():
            host.acceptor.close()
        for server in self._faulty.values():
            server.close()
        for connection in list(self._connections):
            connection.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _admit(self, host: Host, account: Account) -> None:
        user = host.users.get(account.username)
        if user is None:
            folder = f"{quote(host.name, safe='')}_{host.configured_port}"
            user = User(self._directory / f"h-{folder}" / f"u-{quote(account.username, safe='')}")
        (user.root / account.directory.lstrip("/")).mkdir(parents=True, exist_ok=True)
        user.folders.add(account.directory)
        user.keys.add(account.key)
        user.password = account.password or user.password
        host.users[account.username] = user

    def _listen(self, name: str, port: int) -> Host:
        users: dict[str, User] = {}
        key = asyncssh.generate_private_key("ssh-ed25519")

        def session(channel: asyncssh.SSHServerChannel[bytes]) -> Session:
            return Session(channel, users, name, port, self._arrived)

        acceptor = self._run(listen(key, lambda: Login(users, self._connections), session))
        host = Host(name, port, acceptor.get_port(), key.get_fingerprint(), acceptor, users, key)
        self._hosts[name, port] = host
        return host

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)


async def listen(
    key: asyncssh.SSHKey,
    login: Callable[[], asyncssh.SSHServer],
    session: Callable[[asyncssh.SSHServerChannel[bytes]], asyncssh.SFTPServer],
) -> asyncssh.SSHAcceptor:
    """Listen on 127.0.0.1 and a free port, with this host key."""
    # None where a default would read files or ask the network: configuration, GSS host name.
    return await asyncssh.listen(
        "127.0.0.1",
        0,
        config=None,
        backlog=512,
        compression_algs=None,
        gss_host=None,
        server_host_keys=[key],
        server_factory=login,
        sftp_factory=session,
        login_timeout=60,
    )


def _way_to(place: Place, faults: Iterable[Switch]) -> tuple[Place, bool, float]:
    """Return what of a folder's faults takes a listener of its own: another host key, and the delay of answers."""
    by_name = {fault.name: fault for fault in faults}
    slow = by_name.get("slow_network")
    return place, "changed_host_key" in by_name, (slow.amount or 0.0) if slow else 0.0


class Login(asyncssh.SSHServer):
    """Checks keys and passwords; an unknown user is refused like a wrong key."""

    def __init__(self, users: dict[str, User], connections: set[asyncssh.SSHServerConnection]) -> None:
        self._users = users
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Count the connection."""
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - clients leave as they like
        """Count it no longer."""
        if self._connection is not None:
            self._connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002 - a stranger is asked for a key like anyone
        """Ask everybody for a key or password."""
        return True

    def public_key_auth_supported(self) -> bool:
        """Take keys."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Tell whether a key is one of the user's."""
        user = self._users.get(username)
        return user is not None and key.public_data in user.keys

    def password_auth_supported(self) -> bool:
        """Take passwords where anybody has one."""
        return any(user.password for user in self._users.values())

    def validate_password(self, username: str, password: str) -> bool:
        """Tell whether a password is the user's."""
        user = self._users.get(username)
        known = user.password if user else None
        return known is not None and hmac.compare_digest(known.encode(), password.encode())


def _session_ends() -> bool:
    """Tell whether the server closes a file by itself, because its client is gone.

    The channel does not tell yet: a client that just closes it has only sent an end of file then.
    So this asks who calls; that asyncssh still calls it so is what a test holds.
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_name != "close":
        frame = frame.f_back
    caller = frame.f_back if frame else None
    return caller is not None and caller.f_code.co_name == "_cleanup"


class Session(asyncssh.SFTPServer):
    """One client's view of its own tree; reports each upload that is complete under its name."""

    def __init__(
        self,
        channel: asyncssh.SSHServerChannel[bytes],
        users: dict[str, User],
        host: str,
        port: int,
        arrived: Arrived,
    ) -> None:
        self._username = str(channel.get_extra_info("username"))
        self._host, self._port, self._notify = host, port, arrived
        self._writing: dict[int, bytes] = {}
        self._is_transfer = channel.get_extra_info("client_version") == TRANSFER_VERSION
        self._folders = users[self._username].folders
        super().__init__(channel, chroot=bytes(users[self._username].root))

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        """Open a file; remember it where it is opened for writing."""
        if pflags & (asyncssh.FXF_WRITE | asyncssh.FXF_APPEND | asyncssh.FXF_CREAT):
            self._require_writable(path)
        opened = super().open(path, pflags, attrs)
        if pflags & (asyncssh.FXF_WRITE | asyncssh.FXF_APPEND):
            self._writing[id(opened)] = path
        return opened

    def close(self, file_obj: object) -> None:
        """Close a file; a written one has arrived, unless the connection broke under the upload."""
        path = self._writing.pop(id(file_obj), None)
        super().close(file_obj)
        if path is not None and not _session_ends():
            self._arrived(path)

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Rename a file, which arrives under its new name."""
        self._require_writable(newpath)
        super().rename(oldpath, newpath)
        self._arrived(newpath)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Rename a file over another, which arrives under its new name."""
        self._require_writable(newpath)
        super().posix_rename(oldpath, newpath)
        self._arrived(newpath)

    def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        """Make a folder."""
        self._require_writable(path)
        super().mkdir(path, attrs)

    def _require_writable(self, path: bytes) -> None:
        """Refuse what is outside of the folders that flows name; the transfer itself may write anywhere."""
        plain = posixpath.normpath(posixpath.join("/", path.decode(errors="surrogateescape")))
        inside = (plain == folder or plain.startswith(f"{folder.rstrip('/')}/") for folder in self._folders)
        if not self._is_transfer and not any(inside):
            raise asyncssh.SFTPPermissionDenied(f"{self._username} may not write in {posixpath.dirname(plain)}")

    def _arrived(self, path: bytes) -> None:
        if self._is_transfer:
            return
        local = Path(self.map_path(path).decode(errors="surrogateescape"))
        if not local.is_file():
            return
        plain = posixpath.normpath(posixpath.join("/", path.decode(errors="surrogateescape")))
        folder, name = posixpath.split(f"/{plain.lstrip('/')}")
        event: dict[str, object] = {
            "source": "sftp",
            "host": self._host,
            "port": self._port,
            "username": self._username,
            "path": posixpath.join(folder, name),
            "size": local.stat().st_size,
        }
        self._notify(sftp_place(self._host, self._port, self._username, folder), name, event)
