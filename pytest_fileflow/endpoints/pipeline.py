"""Speaks SFTP requests over a paramiko channel: many in flight, in bounded memory, no answer swallowed.

paramiko's own file objects wait for every read, prefetch without a bound, drop the server's status
codes and lose errors when a file is closed (paramiko issues 1080, 2453, 2438). What is
private of paramiko here (``_async_request``, ``_read_response`` and its call of ``_async_response``) is
held by a test.
"""

from __future__ import annotations

import stat
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from paramiko.sftp import (
    CMD_ATTRS,
    CMD_CLOSE,
    CMD_DATA,
    CMD_EXTENDED,
    CMD_FSTAT,
    CMD_HANDLE,
    CMD_NAME,
    CMD_OPEN,
    CMD_OPENDIR,
    CMD_READ,
    CMD_READDIR,
    CMD_REMOVE,
    CMD_RENAME,
    CMD_STAT,
    CMD_STATUS,
    CMD_WRITE,
    SFTP_EOF,
    SFTP_FLAG_CREATE,
    SFTP_FLAG_READ,
    SFTP_FLAG_TRUNC,
    SFTP_FLAG_WRITE,
    SFTP_OK,
    SFTPError,
    int64,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from paramiko import Message, SFTPClient

# Every server must take requests of this size (draft-ietf-secsh-filexfer-02, section 3).
SAFE_BLOCK_BYTES: Final = 32 * 1024
LARGE_BLOCK_BYTES: Final = 255 * 1024
IN_FLIGHT_BYTES: Final = 4 * 1024 * 1024

NO_SUCH_FILE: Final = 2
PERMISSION_DENIED: Final = 3
FAILURE: Final = 4
BAD_MESSAGE: Final = 5
NO_CONNECTION: Final = 6
CONNECTION_LOST: Final = 7
UNSUPPORTED: Final = 8

_HAS_SIZE = 0x1
_HAS_OWNER = 0x2
_HAS_MODE = 0x4
_HAS_TIMES = 0x8
_HAS_MORE = 0x80000000
_NO_ATTRIBUTES = 0


class SftpStatus(Exception):
    """The server answered a request with a status other than OK; the channel is still good."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"SFTP status {code}: {text}")
        self.code = code
        self.text = text


@dataclass(frozen=True)
class Attributes:
    """A file's attributes as far as the server tells them; times are seconds since the epoch."""

    size: int | None = None
    mode: int | None = None
    mtime: int | None = None

    @property
    def version(self) -> str:
        """Return a text that changes when the file does, as far as SFTP version 3 can tell."""
        return f"{self.mtime}-{self.size}"

    @property
    def is_directory(self) -> bool:
        """Tell whether this is a directory."""
        return self.mode is not None and stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Tell whether this is a regular file; a server that tells no type means one."""
        return self.mode is None or not stat.S_IFMT(self.mode) or stat.S_ISREG(self.mode)


class Requests:
    """The requests of one thread over one channel, for as long as it has the channel to itself.

    Raises on every method: SftpStatus for a refusal; EOFError, SSHException, SFTPError or
    TimeoutError where the channel is of no use any more.
    """

    def __init__(self, client: SFTPClient) -> None:
        self._client: Any = client  # its stubs leave the private requests out
        self._answers: dict[int, tuple[int, Message]] = {}
        self.block = LARGE_BLOCK_BYTES if _takes_large_blocks(client) else SAFE_BLOCK_BYTES

    def stat(self, path: str) -> Attributes:
        """Return the attributes of a file, following links."""
        return _attributes(self._ask(CMD_ATTRS, CMD_STAT, _encoded(path)))

    def fstat(self, handle: bytes) -> Attributes:
        """Return the attributes of an open file."""
        return _attributes(self._ask(CMD_ATTRS, CMD_FSTAT, handle))

    def remove(self, path: str) -> None:
        """Remove a file."""
        self._ask(CMD_STATUS, CMD_REMOVE, _encoded(path))

    def replace(self, old: str, new: str) -> None:
        """Rename a file over another where the server can, else where there is none."""
        names = _encoded(old), _encoded(new)
        try:
            self._ask(CMD_STATUS, CMD_EXTENDED, b"posix-rename@openssh.com", *names)
        except SftpStatus as status:
            if status.code not in {FAILURE, BAD_MESSAGE, UNSUPPORTED}:
                raise
            self._ask(CMD_STATUS, CMD_RENAME, *names)

    def open_for_reading(self, path: str) -> bytes:
        """Return a handle to read a file by."""
        return self._handle(CMD_OPEN, _encoded(path), SFTP_FLAG_READ, _NO_ATTRIBUTES)

    def open_for_writing(self, path: str) -> bytes:
        """Return a handle to a new or emptied file."""
        flags = SFTP_FLAG_WRITE | SFTP_FLAG_CREATE | SFTP_FLAG_TRUNC
        return self._handle(CMD_OPEN, _encoded(path), flags, _NO_ATTRIBUTES)

    def close(self, handle: bytes) -> None:
        """Close a handle; some servers only say here that a write failed."""
        self._ask(CMD_STATUS, CMD_CLOSE, handle)

    def entries(self, path: str) -> Iterator[tuple[str, Attributes]]:
        """Yield the name and attributes of everything in a directory."""
        handle = self._handle(CMD_OPENDIR, _encoded(path))
        while (page := self._page(handle)) is not None:
            for _ in range(page.get_int()):
                name, long_name = page.get_string(), page.get_string()
                found = _attributes(page)
                yield _decoded(name), found if found.mode is not None else _by_long_name(found, long_name)
        self.close(handle)

    def read(self, handle: bytes, offset: int, size: int) -> Iterator[bytes]:
        """Yield a file's bytes in order from an offset up to wherever it ends now.

        ``size`` is what the file was last seen to have: up to there blocks are asked for ahead. One
        more request finds out whether it has grown since.
        """
        waiting: deque[tuple[int, int, int]] = deque()
        horizon, asked, in_flight = max(size, offset), offset, 0
        while True:
            while asked <= horizon and in_flight < IN_FLIGHT_BYTES:
                length = min(self.block, horizon - asked) or self.block
                waiting.append((self._read(handle, asked, length), asked, length))
                asked, in_flight = asked + length, in_flight + length
            number, start, length = waiting.popleft()
            in_flight -= length
            block = self._data(number, length)
            if not block:
                return
            yield block
            end, missing = start + len(block), length - len(block)
            if start >= horizon:  # the file has grown
                horizon = asked = end
            elif missing:  # a server may answer with less than was asked for (section 6.4)
                waiting.appendleft((self._read(handle, end, missing), end, missing))
                in_flight += missing

    def write(self, handle: bytes, body: BinaryIO, size: int) -> int:
        """Write up to ``size`` bytes of a stream and return how many there were, each acknowledged."""
        waiting: deque[tuple[int, int]] = deque()
        offset = in_flight = 0
        while offset < size and (block := body.read(min(self.block, size - offset))):
            waiting.append((self._send(CMD_WRITE, handle, int64(offset), block), len(block)))
            offset, in_flight = offset + len(block), in_flight + len(block)
            while in_flight >= IN_FLIGHT_BYTES:
                in_flight -= self._acknowledged(waiting.popleft())
        while waiting:
            self._acknowledged(waiting.popleft())
        return offset

    def _acknowledged(self, written: tuple[int, int]) -> int:
        number, length = written
        self._expect(CMD_STATUS, number)
        return length

    def _page(self, handle: bytes) -> Message | None:
        try:
            return self._ask(CMD_NAME, CMD_READDIR, handle)
        except SftpStatus as status:
            if status.code != SFTP_EOF:
                self.close(handle)
                raise
            return None

    def _handle(self, command: int, *fields: object) -> bytes:
        return self._ask(CMD_HANDLE, command, *fields).get_string()

    def _read(self, handle: bytes, offset: int, length: int) -> int:
        return self._send(CMD_READ, handle, int64(offset), length)

    def _data(self, number: int, length: int) -> bytes:
        """Return the bytes that a read request was answered with, none at the end of the file."""
        try:
            block = self._expect(CMD_DATA, number).get_string()
        except SftpStatus as status:
            if status.code != SFTP_EOF:
                raise
            return b""
        if len(block) > length:
            raise SFTPError(f"{len(block)} bytes in answer to a request for {length}")
        return block

    def _ask(self, expected: int, command: int, *fields: object) -> Message:
        return self._expect(expected, self._send(command, *fields))

    def _send(self, command: int, *fields: object) -> int:
        number: int = self._client._async_request(self, command, *fields)  # noqa: SLF001 (module docstring)
        return number

    def _expect(self, expected: int, number: int) -> Message:
        while number not in self._answers:
            self._client._read_response()  # noqa: SLF001 (module docstring)
        kind, message = self._answers.pop(number)
        if kind == CMD_STATUS:
            code = message.get_int()
            if code != SFTP_OK:
                raise SftpStatus(code, _decoded(message.get_string()))
        if kind != expected:
            raise SFTPError(f"answer {kind} to a request that is answered with {expected}")
        return message

    def _async_response(self, kind: int, message: Message, number: int) -> None:
        """Take in one answer; paramiko calls this from within ``_read_response``, in this thread."""
        self._answers[number] = kind, message


def _takes_large_blocks(client: SFTPClient) -> bool:
    """Tell whether the server is OpenSSH, which takes packets of 256 KiB (sftp-common.h).

    Others are not asked for their limits: paramiko does not tell which extensions a server has, and
    an unexpected request may end the session.
    """
    channel = client.get_channel()
    return channel is not None and "OpenSSH_" in channel.get_transport().remote_version


def _attributes(message: Message) -> Attributes:
    """Parse the ATTRS structure (draft-ietf-secsh-filexfer-02, section 5)."""
    flags = message.get_int()
    size = message.get_int64() if flags & _HAS_SIZE else None
    if flags & _HAS_OWNER:
        message.get_int(), message.get_int()
    mode = message.get_int() if flags & _HAS_MODE else None
    mtime = None
    if flags & _HAS_TIMES:
        message.get_int()
        mtime = message.get_int()
    if flags & _HAS_MORE:
        for _ in range(message.get_int()):
            message.get_string(), message.get_string()
    return Attributes(size, mode, mtime)


def _by_long_name(found: Attributes, long_name: bytes) -> Attributes:
    """Return attributes with the type that ``ls -l`` text shows, for servers that send no mode."""
    kind = {b"d": stat.S_IFDIR, b"l": stat.S_IFLNK}.get(long_name[:1], stat.S_IFREG)
    return Attributes(found.size, kind, found.mtime)


def _encoded(path: str) -> bytes:
    return path.encode()


def _decoded(name: bytes) -> str:
    """Decode a name or text; bytes that are not UTF-8 survive as escapes instead of ending a listing."""
    return name.decode("utf-8", "backslashreplace")
