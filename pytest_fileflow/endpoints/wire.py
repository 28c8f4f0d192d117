"""Carries SFTP version 3 packets over an SSH channel, with as few copies and waits as its public methods allow.

paramiko's own SFTP client takes every packet apart several times, sends each request by itself and
drops the server's status codes; of paramiko only the channel is used here.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from paramiko.sftp import CMD_DATA, CMD_INIT, CMD_VERSION, SFTPError

if TYPE_CHECKING:
    from paramiko import Channel

VERSION: Final = 3
# A longer packet is no SFTP: text that a shell prints, most likely. paramiko draws the line here, too.
PACKET_LIMIT: Final = 16 * 1024 * 1024
# What fits into one SSH packet of 32 KiB, the most that OpenSSH takes at a time.
PIECE_BYTES: Final = 32 * 1024 - 64

_INT = struct.Struct(">I")
_REQUEST = struct.Struct(">IBI")
_KIND_AND_NUMBER = struct.Struct(">BI")
_NUMBERS = 1 << 32


class Wire:
    """An SFTP session over a channel, for one thread at a time.

    Small requests are sent together, when an answer is waited for. Raises on every method: EOFError,
    OSError, SSHException, SFTPError or TimeoutError where the channel is of no use any more.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._number = 0
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._unread = memoryview(b"")
        self._start()

    @property
    def server(self) -> str:
        """Return the server's identification, such as ``SSH-2.0-OpenSSH_9.2``."""
        return self._channel.get_transport().remote_version

    @property
    def closed(self) -> bool:
        """Tell whether the channel is known to be of no use."""
        return self._channel.closed

    def close(self) -> None:
        """End the session."""
        self._channel.close()

    def ask(self, kind: int, *fields: bytes) -> int:
        """Queue a request of encoded fields and return its number; what fills a packet is sent at once."""
        self._number = number = (self._number + 1) % _NUMBERS
        length = sum(map(len, fields))
        self._unsent += (_REQUEST.pack(length + 5, kind, number), *fields)
        self._unsent_bytes += length + _REQUEST.size
        if self._unsent_bytes >= PIECE_BYTES:
            self.flush()
        return number

    def flush(self) -> None:
        """Send what is queued."""
        if self._unsent:
            data = b"".join(self._unsent)
            self._unsent.clear()
            self._unsent_bytes = 0
            self._send(data)

    def answer(self) -> tuple[int, int, bytes]:
        """Return the next answer: its kind, the number of its request, and its fields; for DATA the bytes alone."""
        self.flush()
        remaining = self._length()
        kind, number = _KIND_AND_NUMBER.unpack(self._take(_KIND_AND_NUMBER.size))
        remaining -= _KIND_AND_NUMBER.size
        if kind != CMD_DATA:
            return kind, number, self._take(remaining)
        size = _INT.unpack(self._take(_INT.size))[0]
        remaining -= _INT.size + size
        if remaining < 0:
            raise SFTPError(f"an answer of {size} bytes in a shorter packet")
        block = self._take(size)
        self._take(remaining)
        return kind, number, block

    def _start(self) -> None:
        self._send(_REQUEST.pack(5, CMD_INIT, VERSION))
        fields = self._take(self._length())
        if fields[0] != CMD_VERSION:
            raise SFTPError(f"a packet of kind {fields[0]} where the server's version was expected")

    def _send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            sent = self._channel.send(bytes(rest[:PIECE_BYTES]))
            if not sent:
                raise EOFError("the channel is closed")
            rest = rest[sent:]

    def _length(self) -> int:
        length: int = _INT.unpack(self._take(_INT.size))[0]
        if not _KIND_AND_NUMBER.size <= length <= PACKET_LIMIT:
            raise SFTPError(f"a packet of {length} bytes")
        return length

    def _take(self, size: int) -> bytes:
        """Return the next bytes, waiting for them; whatever has come along with them is kept."""
        taken, self._unread = self._unread[:size], self._unread[size:]
        missing = size - len(taken)
        if not missing:
            return bytes(taken)
        parts: list[bytes | memoryview] = [taken]
        while missing:
            # All that there is: paramiko moves the rest of its buffer for everyone who takes a part.
            received = memoryview(self._channel.recv(PACKET_LIMIT))
            if not received:
                raise EOFError("the channel was closed")
            parts.append(received[:missing])
            self._unread = received[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)
