"""Speaks SFTP requests over a channel: many in flight, in bounded memory, no answer swallowed.

paramiko's own file objects wait for every read, prefetch without a bound, drop the server's status
codes and lose errors when a file is closed (paramiko issues 1080, 2453, 2438).
"""

from __future__ import annotations

import stat
import struct
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from paramiko import Message
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
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from typing import BinaryIO

    from pytest_fileflow.endpoints.wire import Wire

# Every server must take requests of this size (draft-ietf-secsh-filexfer-02, section 3).
SAFE_BLOCK_BYTES: Final = 32 * 1024
LARGE_BLOCK_BYTES: Final = 255 * 1024
IN_FLIGHT_BYTES: Final = 4 * 1024 * 1024
PAGES_IN_FLIGHT: Final = 4  # of a directory; OpenSSH gives a hundred names in each

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
_USUAL = _HAS_SIZE | _HAS_OWNER | _HAS_MODE | _HAS_TIMES  # what OpenSSH tells
_USUAL_ATTRIBUTES = struct.Struct(">QIIIII")  # size, user, group, mode, time of access, of modification
_INT = struct.Struct(">I")
_OFFSET = struct.Struct(">Q")
_PLACE = struct.Struct(">QI")
_FLAGS_AND_NO_ATTRIBUTES = struct.Struct(">II")


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


@dataclass(frozen=True)
class Outgoing:
    """A file on its way to a server: its handle and path there, a stream, and its size in bytes."""

    handle: bytes
    path: str
    body: BinaryIO
    size: int


class _Unacknowledged:
    """The requests of a write that have not been answered yet, and how many bytes they carry."""

    def __init__(self) -> None:
        self.requests: deque[tuple[int, int]] = deque()
        self.size = 0

    def add(self, number: int, length: int) -> None:
        """Note a request."""
        self.requests.append((number, length))
        self.size += length

    def take(self) -> int:
        """Return the number of the oldest, which is waited for now."""
        number, length = self.requests.popleft()
        self.size -= length
        return number


class Requests:
    """The requests of one thread over one channel, for as long as it has the channel to itself.

    Raises on every method: SftpStatus for a refusal; EOFError, OSError, SSHException, SFTPError or
    TimeoutError where the channel is of no use any more.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        # Whoever had the channel before may not have waited for all answers; they are not for us.
        self._awaited: set[int] = set()
        self._answers: dict[int, tuple[int, bytes]] = {}
        # OpenSSH takes packets of 256 KiB (sftp-common.h), and does what it is asked one after the other.
        # Others must do so for requests about one file (section 6.1), but not all take a path for one.
        self._in_order = "OpenSSH_" in wire.server
        self.block = LARGE_BLOCK_BYTES if self._in_order else SAFE_BLOCK_BYTES

    def stat(self, path: str) -> Attributes:
        """Return the attributes of a file, following links."""
        return self._attributes(self._send(CMD_STAT, _text(path)))

    def fstat(self, handle: bytes) -> Attributes:
        """Return the attributes of an open file."""
        return self._attributes(self._send(CMD_FSTAT, _string(handle)))

    def remove(self, paths: Sequence[str]) -> list[SftpStatus | None]:
        """Remove files without a pause between them; return the refusal of each, or None."""
        return [self._refusal(number) for number in [self._send(CMD_REMOVE, _text(path)) for path in paths]]

    def replace(self, old: str, new: str) -> None:
        """Rename a file over another where the server can, else where there is none."""
        names = _text(old), _text(new)
        try:
            self._done(self._send(CMD_EXTENDED, _text("posix-rename@openssh.com"), *names))
        except SftpStatus as status:
            if status.code not in {FAILURE, BAD_MESSAGE, UNSUPPORTED}:
                raise
            self._done(self._send(CMD_RENAME, *names))

    def open_for_reading(self, path: str) -> bytes:
        """Return a handle to read a file by."""
        return self._handle(self._ask_to_open(path, SFTP_FLAG_READ))

    def open_for_writing(self, paths: Sequence[str]) -> list[bytes]:
        """Return a handle to each of some new or emptied files, asked for without a pause between them."""
        flags = SFTP_FLAG_WRITE | SFTP_FLAG_CREATE | SFTP_FLAG_TRUNC
        handles, refused = [], None
        for number in [self._ask_to_open(path, flags) for path in paths]:
            try:
                handles.append(self._handle(number))
            except SftpStatus as status:  # noqa: PERF203 - what others were opened is still to be closed
                refused = refused or status
        if refused is not None:
            self._close_all(handles)
            raise refused
        return handles

    def _close_all(self, handles: Iterable[bytes]) -> None:
        """Close what failed files leave open; the failure is what counts."""
        for handle in handles:
            self._send(CMD_CLOSE, _string(handle))
        self._wire.flush()

    def close(self, handle: bytes) -> None:
        """Close a handle that was only read: the answer matters to nobody, and the round trip is saved.

        It is waited for where blocks are still on their way, so that the next user has not to.
        """
        closing = self._send(CMD_CLOSE, _string(handle))
        if len(self._awaited) > 1:
            self._done(closing)
        else:
            self._wire.flush()

    def entries(self, path: str) -> Generator[tuple[str, Attributes], None, None]:
        """Yield the name and attributes of everything in a directory; whoever wants no more closes this."""
        handle = self._handle(self._send(CMD_OPENDIR, _text(path)))
        try:
            yield from self._entries(handle)
        except GeneratorExit:
            self.close(handle)
            raise
        self.close(handle)

    def _entries(self, handle: bytes) -> Iterator[tuple[str, Attributes]]:
        waiting: deque[int] = deque()
        while True:
            while len(waiting) < (PAGES_IN_FLIGHT if self._in_order else 1):
                waiting.append(self._send(CMD_READDIR, _string(handle)))
            page = self._page(handle, waiting.popleft())
            if page is None:
                return
            for _ in range(page.number()):
                name, long_name = page.string(), page.string()
                found = page.attributes()
                yield _decoded(name), found if found.mode is not None else _by_long_name(found, long_name)

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

    def write(self, files: Sequence[Outgoing]) -> list[tuple[int, int | None]]:
        """Write up to ``size`` bytes of each stream to its new file, and close it.

        Returns for each how many bytes there were, all acknowledged, and how many the server shows
        then, None where it does not tell. A server that works in order is asked for all of this
        without a pause.
        """
        unacknowledged, written, looks = _Unacknowledged(), list[int](), list[int]()
        try:
            for file in files:
                written.append(self._write_one(file, unacknowledged))
                looks.append(self._send(CMD_STAT, _text(file.path)))
            self._acknowledge(unacknowledged, 0)
        except SftpStatus:
            self._close_all(file.handle for file in files[len(written) :])
            raise
        return list(zip(written, map(self._size, looks), strict=True))

    def _write_one(self, file: Outgoing, unacknowledged: _Unacknowledged) -> int:
        offset = 0
        while offset < file.size and (block := file.body.read(min(self.block, file.size - offset))):
            place = _OFFSET.pack(offset), _INT.pack(len(block))
            unacknowledged.add(self._send(CMD_WRITE, _string(file.handle), *place, block), len(block))
            offset += len(block)
            self._acknowledge(unacknowledged, IN_FLIGHT_BYTES - 1)
        if not self._in_order:
            self._acknowledge(unacknowledged, 0)
        unacknowledged.add(self._send(CMD_CLOSE, _string(file.handle)), 0)
        if not self._in_order:
            self._acknowledge(unacknowledged, 0)
        return offset

    def _acknowledge(self, unacknowledged: _Unacknowledged, at_most: int) -> None:
        """Wait until at most so many bytes are on their way; at none, nothing else is either."""
        while unacknowledged.requests and (unacknowledged.size > at_most or not at_most):
            self._done(unacknowledged.take())

    def _refusal(self, number: int) -> SftpStatus | None:
        try:
            self._done(number)
        except SftpStatus as status:
            return status
        return None

    def _size(self, number: int) -> int | None:
        """Return the size that a file shows; servers may take files that nobody may look at."""
        try:
            return self._attributes(number).size
        except SftpStatus as status:
            if status.code != PERMISSION_DENIED:
                raise
            return None

    def _page(self, handle: bytes, number: int) -> _Fields | None:
        try:
            return _Fields(self._expect(CMD_NAME, number))
        except SftpStatus as status:
            if status.code != SFTP_EOF:
                self.close(handle)
                raise
            return None

    def _ask_to_open(self, path: str, flags: int) -> int:
        return self._send(CMD_OPEN, _text(path), _FLAGS_AND_NO_ATTRIBUTES.pack(flags, 0))

    def _handle(self, number: int) -> bytes:
        return _Fields(self._expect(CMD_HANDLE, number)).string()

    def _attributes(self, number: int) -> Attributes:
        return _Fields(self._expect(CMD_ATTRS, number)).attributes()

    def _done(self, number: int) -> None:
        self._expect(CMD_STATUS, number)

    def _read(self, handle: bytes, offset: int, length: int) -> int:
        return self._send(CMD_READ, _string(handle), _PLACE.pack(offset, length))

    def _data(self, number: int, length: int) -> bytes:
        """Return the bytes that a read request was answered with, none at the end of the file."""
        try:
            block = self._expect(CMD_DATA, number)
        except SftpStatus as status:
            if status.code != SFTP_EOF:
                raise
            return b""
        if len(block) > length:
            raise SFTPError(f"{len(block)} bytes in answer to a request for {length}")
        return block

    def _send(self, kind: int, *fields: bytes) -> int:
        number = self._wire.ask(kind, *fields)
        self._awaited.add(number)
        return number

    def _expect(self, expected: int, number: int) -> bytes:
        while number not in self._answers:
            kind, answered, fields = self._wire.answer()
            if answered in self._awaited:
                self._awaited.remove(answered)
                self._answers[answered] = kind, fields
        kind, fields = self._answers.pop(number)
        if kind == CMD_STATUS:
            message = Message(fields)
            code = message.get_int()
            if code != SFTP_OK:
                raise SftpStatus(code, _decoded(message.get_string()))
        if kind != expected:
            raise SFTPError(f"answer {kind} to a request that is answered with {expected}")
        return fields


class _Fields:
    """The fields of an answer, one after the other; raises SFTPError where it ends too early."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._next = 0

    def number(self) -> int:
        """Return the next 32 bits."""
        return self._unpacked(_INT)[0]

    def string(self) -> bytes:
        """Return the next bytes, whose number comes before them."""
        start = self._next + _INT.size
        self._next = end = start + self.number()
        if end > len(self._content):
            raise SFTPError("an answer that ends within a field")
        return self._content[start:end]

    def attributes(self) -> Attributes:
        """Return the next ATTRS structure (draft-ietf-secsh-filexfer-02, section 5)."""
        flags = self.number()
        if flags == _USUAL:
            size, _, _, mode, _, mtime = self._unpacked(_USUAL_ATTRIBUTES)
            return Attributes(size, mode, mtime)
        told = Attributes()
        if flags & _HAS_SIZE:
            told = replace(told, size=self._unpacked(_OFFSET)[0])
        if flags & _HAS_OWNER:
            self.number(), self.number()
        if flags & _HAS_MODE:
            told = replace(told, mode=self.number())
        if flags & _HAS_TIMES:
            self.number()
            told = replace(told, mtime=self.number())
        if flags & _HAS_MORE:
            for _ in range(self.number()):
                self.string(), self.string()
        return told

    def _unpacked(self, form: struct.Struct) -> tuple[int, ...]:
        try:
            values = form.unpack_from(self._content, self._next)
        except struct.error as error:
            raise SFTPError("an answer that ends within a field") from error
        self._next += form.size
        return values


def _by_long_name(found: Attributes, long_name: bytes) -> Attributes:
    """Return attributes with the type that ``ls -l`` text shows, for servers that send no mode."""
    kind = {b"d": stat.S_IFDIR, b"l": stat.S_IFLNK}.get(long_name[:1], stat.S_IFREG)
    return Attributes(found.size, kind, found.mtime)


def _text(text: str) -> bytes:
    return _string(text.encode())


def _string(content: bytes) -> bytes:
    return _INT.pack(len(content)) + content


def _decoded(name: bytes) -> str:
    """Decode a name or text; bytes that are not UTF-8 survive as escapes instead of ending a listing."""
    return name.decode("utf-8", "backslashreplace")
