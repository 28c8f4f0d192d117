"""Damage that is undone to be proven: the right bytes compressed, or written as text, or the other way round."""

from __future__ import annotations

import binascii
import logging
import zlib
from functools import partial
from typing import TYPE_CHECKING, Protocol

from pytest_fileflow.forensics.evidence import Reader, Shape
from pytest_fileflow.forensics.transforms import Redone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_fileflow.forensics.evidence import Detector, Piece, Source

logger = logging.getLogger(__name__)

OUTPUT_BYTES = 64 * 1024  # that are unpacked at a time: a bomb is disproved with the first that are too many
UNPACKED_BYTES = 4 * 1024 * 1024  # that one piece of the right bytes may hold
ZIP_END_BYTES = 22
GZIP, ZLIB = 31, 15  # wbits of zlib's inflate
XZ_MEMORY_BYTES = 24 * 1024 * 1024  # what asks for more is not looked into; xz -9 asks for 65 MiB, xz -6 for 9


class NotPackedError(Exception):
    """These bytes are not of this format."""


class Unpacker(Protocol):
    """Undoes a packing; raises NotPackedError."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next bytes hold, in pieces of a bounded size."""

    def finish(self) -> bytes:
        """Return the rest, once there are no more bytes."""


class Undone:
    """Unpacks what arrived and compares it with the right bytes."""

    def __init__(self, source: Source, unpacker: Unpacker, shape: Shape):
        self._reader = Reader(source)
        self._size = source.size
        self._unpacker = unpacker
        self._shape = shape

    def feed(self, piece: Piece) -> bool:
        """Take the next bytes that arrived."""
        try:
            return all(self._is_right(data) for data in self._unpacker.feed(piece.actual))
        except NotPackedError:
            return False

    def _is_right(self, data: bytes) -> bool:
        return self._reader.read(len(data)) == data

    def shape(self) -> Shape | None:
        """Return the shape if the packing is whole and all that was sent is in it."""
        try:
            whole = self._is_right(self._unpacker.finish()) and self._reader.position == self._size
        except NotPackedError:
            return None
        return self._shape if whole else None


class Deflated:
    """Inflates gzip (any number of members) or zlib streams."""

    def __init__(self, wbits: int, magic: bytes):
        self._wbits = wbits
        self._magic = magic
        self._begun = False
        self._inflate = zlib.decompressobj(wbits)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next bytes hold."""
        if not self._begun and data[: len(self._magic)] != self._magic[: len(data)]:
            raise NotPackedError
        self._begun = True
        while data:
            if self._inflate.eof:
                self._next_member(data)
            try:
                yield self._inflate.decompress(data, OUTPUT_BYTES)
            except zlib.error as error:
                raise NotPackedError from error
            data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail

    def _next_member(self, data: bytes) -> None:
        if self._wbits != GZIP or data[:1] != self._magic[:1]:
            raise NotPackedError
        self._inflate = zlib.decompressobj(self._wbits)

    def finish(self) -> bytes:
        """Return what was kept back."""
        rest = self._inflate.flush()
        if not self._inflate.eof:
            raise NotPackedError
        return rest


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Compressed:
    """Unpacks bz2 and xz streams, any number of them one after the other."""

    def __init__(self, make: Callable[[], _Decompressor], magic: bytes, error: type[Exception]):
        self._make = make
        self._error = error
        self._magic = magic
        self._unpack = make()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next bytes hold."""
        if not self._begun and data[: len(self._magic)] != self._magic[: len(data)]:
            raise NotPackedError
        self._begun = True
        while data or not (self._unpack.eof or self._unpack.needs_input):
            if self._unpack.eof:
                self._unpack = self._make()
            try:
                yield self._unpack.decompress(data, OUTPUT_BYTES)
            except (self._error, ValueError) as error:
                raise NotPackedError from error
            data = self._unpack.unused_data if self._unpack.eof else b""

    def finish(self) -> bytes:
        """Return nothing: nothing is kept back."""
        if not self._unpack.eof:
            raise NotPackedError
        return b""


class Zipped:
    """Unpacks a zip archive of one file, stored or deflated (APPNOTE.TXT 4.3), without a comment at its end."""

    def __init__(self, size: int):
        self._size = size  # of the file in it: a stored one may not tell
        self._header: bytes | None = b""
        self._inflate: zlib._Decompress | None = None
        self._left = 0
        self._after = b""
        self._end = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next bytes hold."""
        if self._header is not None:
            data = self._begin(self._header + data)
        while data:
            if self._inflate is None:
                stored, data = data[: self._left], data[self._left :]
                self._left -= len(stored)
                yield stored
            elif not self._inflate.eof:
                try:
                    yield self._inflate.decompress(data, OUTPUT_BYTES)
                except zlib.error as error:
                    raise NotPackedError from error
                data = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if self._is_over:
                self._after = (self._after + data[:4])[:4]
                self._end = (self._end + data)[-ZIP_END_BYTES:]
                return

    @property
    def _is_over(self) -> bool:
        return self._left == 0 if self._inflate is None else self._inflate.eof

    def _begin(self, data: bytes) -> bytes:
        """Read the local file header, and return what follows it."""
        self._header = data
        if data[:4] != b"PK\x03\x04"[: len(data)]:
            raise NotPackedError
        length = 30 + int.from_bytes(data[26:28], "little") + int.from_bytes(data[28:30], "little")
        if len(data) < max(30, length):
            return b""
        method, self._header = int.from_bytes(data[8:10], "little"), None
        if method not in (0, 8):
            raise NotPackedError
        self._inflate = zlib.decompressobj(-15) if method else None
        self._left = 0 if method else self._size
        return data[length:]

    def finish(self) -> bytes:
        """Return nothing, if what follows the file is what follows one in an archive."""
        followed = self._after in (b"PK\x07\x08", b"PK\x01\x02") and self._end.startswith(b"PK\x05\x06")
        if self._header is not None or not self._is_over or not followed:
            raise NotPackedError
        return b""


class Digits:
    """Reads base64 or hexadecimal digits, ``group`` of them at a time, in lines or not."""

    def __init__(self, alphabet: bytes, group: int, decode: Callable[[bytes], bytes]):
        self._alphabet = alphabet
        self._group = group
        self._decode = decode
        self._any = False
        self._kept = b""
        self._padding = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next digits stand for."""
        data = data.translate(None, b"\r\n")
        digits = data.rstrip(b"=")
        if digits.translate(None, self._alphabet) or (self._padding and digits):
            raise NotPackedError
        self._any = self._any or bool(digits)
        self._padding += len(data) - len(digits)
        digits = self._kept + digits
        whole = len(digits) - len(digits) % self._group
        self._kept = digits[whole:]
        yield self._decode(digits[:whole])

    def finish(self) -> bytes:
        """Return what the last digits stand for, padded or not."""
        missing = -len(self._kept) % self._group
        if not self._any or self._padding not in (0, missing):
            raise NotPackedError
        try:
            return self._decode(self._kept + b"=" * missing)
        except ValueError as error:
            raise NotPackedError from error


_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def _bz2() -> Compressed:
    import bz2

    return Compressed(bz2.BZ2Decompressor, b"BZh", OSError)


def _xz() -> Compressed:
    import lzma

    make = partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, XZ_MEMORY_BYTES)
    return Compressed(make, b"\xfd7zXZ\x00", lzma.LZMAError)


def _url_safe(digits: bytes) -> bytes:
    return binascii.a2b_base64(digits.translate(_URL_SAFE))


PACKINGS: tuple[tuple[str, Callable[[int], Unpacker]], ...] = (
    ("gzip", lambda _: Deflated(GZIP, b"\x1f\x8b")),
    ("zlib", lambda _: Deflated(ZLIB, b"\x78")),
    ("bz2", lambda _: _bz2()),
    ("xz", lambda _: _xz()),
    ("zip", Zipped),
    ("base64", lambda _: Digits(_LETTERS + b"+/", 4, binascii.a2b_base64)),
    ("base64url", lambda _: Digits(_LETTERS + b"-_", 4, _url_safe)),
    ("hexadecimal", lambda _: Digits(b"0123456789abcdefABCDEF", 2, binascii.unhexlify)),
)


def wrappings(source: Source) -> Iterator[Detector]:
    """Yield the detectors of the right bytes in a packing, and of bytes that were packed and arrived without it."""
    for name, make in PACKINGS:
        try:
            make(source.size)
        except ImportError as error:  # a Python that was built without the library
            logger.info("whether a file is packed as %s cannot be told here: %s", name, error)
            continue
        says = f"holds the right bytes packed as {name}"
        yield Undone(source, make(source.size), Shape("packed", "content.recompressed", says, {"packing": name}))
        says = f"holds what was sent packed as {name}, unpacked"
        shape = Shape("unpacked", "content.recompressed", says, {"packing": name})
        yield Redone(source, partial(_unpacked, make, source.size), shape)


def _unpacked(make: Callable[[int], Unpacker], size: int) -> _Unpacked:
    return _Unpacked(make(size))


class _Unpacked:
    """An unpacker as a transform of the right bytes."""

    def __init__(self, unpacker: Unpacker):
        self._unpacker = unpacker

    def feed(self, data: bytes) -> bytes:
        made = bytearray()
        try:
            for more in self._unpacker.feed(data):
                made += more
                if len(made) > UNPACKED_BYTES:
                    raise ValueError("too much to be kept")
        except NotPackedError as error:
            raise ValueError from error
        return bytes(made)

    def finish(self) -> bytes:
        try:
            return self._unpacker.finish()
        except NotPackedError as error:
            raise ValueError from error
