"""The faults of SFTP ends: a server at an address of its own for one user's folder, over the same file tree."""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
from typing import TYPE_CHECKING

import asyncssh

from pytest_fileflow.sandbox.sftp import Login, Session, listen
from pytest_fileflow.sandbox.web import reset_on_close

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pytest_fileflow.sandbox.places import Place
    from pytest_fileflow.sandbox.sftp import Arrived, Faults, Host

_RELAY_BYTES = 64 * 1024
_WRITES = asyncssh.FXF_WRITE | asyncssh.FXF_APPEND | asyncssh.FXF_CREAT


class FaultyServer:
    """Serves one folder with its faults; ``way`` is what of them its address stands for."""

    def __init__(
        self,
        place: Place,
        host: Host,
        faults: Faults,
        arrived: Arrived,
        connections: set[asyncssh.SSHServerConnection],
    ) -> None:
        self._place, self._host = place, host
        self.faults = faults
        self._arrived, self._connections = arrived, connections
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._relay: asyncio.Server | None = None
        self.way: tuple[Place, bool, float] = (place, False, 0.0)
        self.port = 0

    async def listen(self, *, changed_key: bool, delay: float) -> None:
        """Begin to serve: with another host key where it is to have changed, answers ``delay`` seconds late."""
        self.way = (self._place, changed_key, delay)
        key = asyncssh.generate_private_key("ssh-ed25519") if changed_key else self._host.key
        self._acceptor = await listen(key, self._login, self._session)
        self.port = self._acceptor.get_port()
        if delay:
            self._relay = await asyncio.start_server(_Relay(self.port, delay).serve, "127.0.0.1", 0)
            self.port = self._relay.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Listen no longer."""
        if self._acceptor is not None:
            self._acceptor.close()
        if self._relay is not None:
            self._relay.close()

    def _names(self) -> set[str]:
        return {fault.name for fault in self.faults()}

    def _login(self) -> Login:
        refuses = "rejected_key" in self._names()
        return Login({} if refuses else self._host.users, self._connections)

    def _session(self, channel: asyncssh.SSHServerChannel[bytes]) -> _FaultySession:
        return _FaultySession(channel, self._host, self._arrived, (self._place[-1], self._names()))


class _FaultySession(Session):
    """A session that refuses, or breaks, what is asked of one folder, by the names of its faults."""

    def __init__(
        self,
        channel: asyncssh.SSHServerChannel[bytes],
        host: Host,
        arrived: Arrived,
        faulty: tuple[str, set[str]],
    ) -> None:
        super().__init__(channel, host.users, host.name, host.configured_port, arrived)
        self._folder, self._faults = faulty

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        """Open a file."""
        self._require(path, writes=bool(pflags & _WRITES))
        return super().open(path, pflags, attrs)

    def stat(self, path: bytes) -> object:  # type: ignore[override] # what the base class returns is its own
        """Return a file's attributes."""
        self._require(path)
        return super().stat(path)

    def lstat(self, path: bytes) -> object:  # type: ignore[override] # as above
        """Return a file's attributes."""
        self._require(path)
        return super().lstat(path)

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        """Yield the names in a folder."""
        self._require(path)
        async for name in super().scandir(path):
            yield name

    def remove(self, path: bytes) -> object:  # type: ignore[override] # as above
        """Remove a file."""
        self._require(path, writes=True)
        return super().remove(path)

    def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> object:  # type: ignore[override] # as above
        """Make a folder."""
        self._require(path, writes=True)
        return super().mkdir(path, attrs)

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Rename a file."""
        self._require(oldpath, writes=True)
        self._require(newpath, writes=True)
        super().rename(oldpath, newpath)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Rename a file over another."""
        self._require(oldpath, writes=True)
        self._require(newpath, writes=True)
        super().posix_rename(oldpath, newpath)

    def read(self, file_obj: object, offset: int, size: int) -> object:  # type: ignore[override] # as above
        """Read from a file."""
        if "connection_reset" in self._faults:
            self._break()
        return super().read(file_obj, offset, size)

    def write(self, file_obj: object, offset: int, data: bytes) -> object:  # type: ignore[override] # as above
        """Write to a file."""
        if "disk_full" in self._faults:
            raise asyncssh.SFTPFailure("No space left on device")
        if "connection_reset" in self._faults:
            super().write(file_obj, offset, data[: len(data) // 2])
            self._break()
        return super().write(file_obj, offset, data)

    def _require(self, path: bytes, *, writes: bool = False) -> None:
        plain = posixpath.normpath(posixpath.join("/", path.decode(errors="surrogateescape")))
        inside = f"/{plain.lstrip('/')}/".startswith(f"{self._folder.rstrip('/')}/")
        if inside and "missing_directory" in self._faults:
            raise asyncssh.SFTPNoSuchFile("No such file")
        if inside and writes and "read_only_directory" in self._faults:
            raise asyncssh.SFTPPermissionDenied("Permission denied")

    def _break(self) -> None:
        """Reset the connection under the client."""
        connection = self.channel.get_connection()
        reset_on_close(connection.get_extra_info("socket"))
        connection.abort()
        raise asyncssh.SFTPConnectionLost("reset")


class _Relay:
    """Passes bytes on to a server, and what it answers back, each piece a fixed time late."""

    def __init__(self, port: int, delay: float) -> None:
        self._port, self._delay = port, delay

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        answers, questions = await asyncio.open_connection("127.0.0.1", self._port)
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        pumps = [
            asyncio.ensure_future(pump)
            for pump in (_pass_on(reader, questions), self._receive(answers, late), self._deliver(late, writer))
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in (writer, questions):
                end.close()

    async def _receive(self, answers: asyncio.StreamReader, late: asyncio.Queue[tuple[float, bytes]]) -> None:
        now = asyncio.get_running_loop().time
        piece = b"?"
        with contextlib.suppress(OSError):
            while piece:
                piece = await answers.read(_RELAY_BYTES)
                await late.put((now() + self._delay, piece))
        await asyncio.Event().wait()  # until the last piece is delivered

    async def _deliver(self, late: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        now = asyncio.get_running_loop().time
        while True:
            due, piece = await late.get()
            await asyncio.sleep(max(0.0, due - now()))
            if not piece:
                return
            writer.write(piece)
            await writer.drain()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_RELAY_BYTES):
        writer.write(piece)
        await writer.drain()
