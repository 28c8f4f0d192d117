"""Wraps a stream of bytes in gzip, zip or an OpenPGP message, in constant memory, and the same way every time.

What gzip and zip make also depends on the build of zlib. So a file that is made again is held to the
size and SHA-256 that it had when its run was prepared (``made.py``).
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_fileflow.model import Wrap

LEVEL = 1  # of compression: files are made twice, and shall not take longer to make than to send
# RFC 1952, 2.3: magic, deflate, no flags, no time, fastest, no known operating system
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
_MAX_WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class Wrapping:
    """A way to wrap a file. ``wrapped(content, name, key, options)`` yields the blocks of the outer file.

    ``name`` is that of the inner file, and ``key`` what all that looks random follows from.
    """

    extension: str
    wrapped: Callable[[Iterator[bytes], str, str, Mapping[str, object]], Iterator[bytes]]


def wrapped(wrap: Wrap, content: Iterator[bytes], name: str, key: str) -> Iterator[bytes]:
    """Yield the blocks of a file that holds ``content``."""
    return WRAPPINGS[wrap.name].wrapped(content, name, key, wrap.options)


def _gzip(content: Iterator[bytes], _name: str, _key: str, _options: Mapping[str, object]) -> Iterator[bytes]:
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    checksum = length = 0
    yield _GZIP_HEADER
    for block in content:
        checksum = zlib.crc32(block, checksum)
        length += len(block)
        yield deflate.compress(block)
    yield deflate.flush() + struct.pack("<II", checksum, length & _MAX_WORD)


class _Sink:
    """A file that zipfile writes to and cannot go back in, so that sizes follow the data they are of."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        """Take the next bytes."""
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Do nothing: what is written is taken."""

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        taken, self._written = bytes(self._written), bytearray()
        return taken


def _zip(content: Iterator[bytes], name: str, _key: str, _options: Mapping[str, object]) -> Iterator[bytes]:
    sink = _Sink()
    # A member that is given by its name alone is dated 1980-01-01. A size of more than 4 GiB is never excluded.
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:  # type: ignore[call-overload]
        with archive.open(name, "w", force_zip64=True) as member:
            for block in content:
                member.write(block)
                yield sink.taken()
        yield sink.taken()
    yield sink.taken()


def _pgp(content: Iterator[bytes], _name: str, key: str, options: Mapping[str, object]) -> Iterator[bytes]:
    from pytest_fileflow.payload.pgp import encrypted
    from pytest_fileflow.payload.pgp_key import recipient

    return encrypted(content, recipient(str(options["public_key"])), key)


WRAPPINGS = {
    "gzip": Wrapping("gz", _gzip),
    "zip": Wrapping("zip", _zip),
    "pgp": Wrapping("pgp", _pgp),
}
