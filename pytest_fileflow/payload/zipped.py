"""Writes a zip file of one member as a stream (APPNOTE 6.3.10), the same with every version of Python.

The sizes are not known before the content has passed, so they follow it in a data descriptor. Only a
member that may have 4 GiB or more is written in the ZIP64 form: not every reader of streams expects it
for less.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LEVEL = 1  # of compression: files are made twice, and shall not take longer to make than to send
_LOCAL, _CENTRAL, _DESCRIPTOR, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x07\x08", b"PK\x05\x06"
_END_64, _LOCATOR_64 = b"PK\x06\x06", b"PK\x06\x07"
_SIZES_FOLLOW, _DEFLATED = 0x0008, 8
_MIDNIGHT, _DAY = 0, 0x21  # 1980-01-01, the first that can be written
_UNIX, _REGULAR_FILE = 3 << 8, 0o100644 << 16
_PLAIN, _LARGE = 20, 45  # the versions that are needed to extract
_ZIP64, _ELSEWHERE = 0x0001, 0xFFFFFFFF


@dataclass(frozen=True)
class _Member:
    """What is told of the member three times: before, behind and in the directory."""

    name: bytes
    is_large: bool
    checksum: int = 0
    packed: int = 0
    size: int = 0

    @property
    def _version(self) -> int:
        return _LARGE if self.is_large else _PLAIN

    def _header(self, packed: int, size: int, extra: bytes) -> bytes:
        told = (self._version, _SIZES_FOLLOW, _DEFLATED, _MIDNIGHT, _DAY, self.checksum, packed, size)
        return struct.pack("<5H3I2H", *told, len(self.name), len(extra))

    def local(self) -> bytes:
        """Return what stands before the content."""
        extra = struct.pack("<2H2Q", _ZIP64, 16, 0, 0) if self.is_large else b""
        size = _ELSEWHERE if self.is_large else 0
        return _LOCAL + self._header(size, size, extra) + self.name + extra

    def descriptor(self) -> bytes:
        """Return what stands behind the content."""
        sizes = struct.pack("<2Q" if self.is_large else "<2I", self.packed, self.size)
        return _DESCRIPTOR + struct.pack("<I", self.checksum) + sizes

    def central(self) -> bytes:
        """Return the directory's entry of the member, which begins at the start of the file."""
        extra = struct.pack("<2H2Q", _ZIP64, 16, self.size, self.packed) if self.is_large else b""
        packed, size = (_ELSEWHERE, _ELSEWHERE) if self.is_large else (self.packed, self.size)
        head = _CENTRAL + struct.pack("<H", _UNIX | self._version) + self._header(packed, size, extra)
        return head + struct.pack("<3H2I", 0, 0, 0, _REGULAR_FILE, 0) + self.name + extra


def zipped(content: Iterator[bytes], name: str, *, is_large: bool) -> Iterator[bytes]:
    """Yield a zip file that holds ``content`` under an ASCII name; ``is_large`` where it may have 4 GiB or more."""
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    before = _Member(name.encode("ascii"), is_large)
    checksum = packed = size = 0
    yield before.local()
    for block in content:
        checksum, size = zlib.crc32(block, checksum), size + len(block)
        piece = deflate.compress(block)
        packed += len(piece)
        yield piece
    piece = deflate.flush()
    member = _Member(before.name, is_large, checksum, packed + len(piece), size)
    yield piece + member.descriptor()
    yield _directory(member, len(before.local()) + member.packed + len(member.descriptor()))


def _directory(member: _Member, at: int) -> bytes:
    """Return the directory, which begins at an offset, and where to find it."""
    central = member.central()
    if not member.is_large:
        return central + _END + struct.pack("<4H2IH", 0, 0, 1, 1, len(central), at, 0)
    end = at + len(central)
    version = _UNIX | _LARGE
    whole = _END_64 + struct.pack("<Q2H2I4Q", 44, version, _LARGE, 0, 0, 1, 1, len(central), at)
    locator = _LOCATOR_64 + struct.pack("<IQI", 0, end, 1)
    return central + whole + locator + _END + struct.pack("<4H2IH", 0, 0, 1, 1, len(central), _ELSEWHERE, 0)
