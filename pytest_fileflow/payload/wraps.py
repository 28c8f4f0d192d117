"""Wraps a stream of bytes in gzip, zip or an OpenPGP message, in constant memory, and the same way every time.

What gzip and zip make also depends on the build of zlib. So a file that is made again is held to the
size and SHA-256 that it had when its run was prepared (``made.py``).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.payload.zipped import LEVEL, zipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# RFC 1952, 2.3: magic, deflate, no flags, no time, fastest, no known operating system
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"
_MAX_WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class Context:
    """What there is to know of a file that is wrapped, beside its bytes.

    ``name`` is its own, ``key`` what all that looks random follows from. ``is_large``: it may have 4 GiB
    or more. ``options`` are those of the wrapping.
    """

    name: str
    key: str
    is_large: bool
    options: Mapping[str, object]


@dataclass(frozen=True)
class Wrapping:
    """A way to wrap a file: what its name gets at the end, and the blocks of the outer file."""

    extension: str
    wrapped: Callable[[Iterator[bytes], Context], Iterator[bytes]]


def _gzip(content: Iterator[bytes], _context: Context) -> Iterator[bytes]:
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    checksum = length = 0
    yield _GZIP_HEADER
    for block in content:
        checksum = zlib.crc32(block, checksum)
        length += len(block)
        yield deflate.compress(block)
    yield deflate.flush() + struct.pack("<II", checksum, length & _MAX_WORD)


def _zip(content: Iterator[bytes], context: Context) -> Iterator[bytes]:
    return zipped(content, context.name, is_large=context.is_large)


def _pgp(content: Iterator[bytes], context: Context) -> Iterator[bytes]:
    from pytest_fileflow.payload.pgp import encrypted
    from pytest_fileflow.payload.pgp_key import recipient

    return encrypted(content, recipient(str(context.options["public_key"])), context.key)


WRAPPINGS = {
    "gzip": Wrapping("gz", _gzip),
    "zip": Wrapping("zip", _zip),
    "pgp": Wrapping("pgp", _pgp),
}
