"""Damages the bytes of a file on their way: a stream in, a stream out, in constant memory.

It knows no end and no flow, so any mover can have the same damages as the sandbox's.
"""

from __future__ import annotations

import io
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

CHUNK_BYTES = 256 * 1024
BLOCK_BYTES = 4096
BOM = b"\xef\xbb\xbf"
TRUNCATE_TO = 0.5
OVERSIZE_BYTES = 1024
ZEROS_BYTES = 4096


class FaultLike(Protocol):
    """What a damage is told: its name, and how much of it, in the unit of ``pytest_fileflow.faults``."""

    @property
    def name(self) -> str:
        """Return the fault's name."""

    @property
    def amount(self) -> float | None:
        """Return how much, None for the default."""


class Closable(Protocol):
    """What a stream of pieces is made from."""

    def close(self) -> object:
        """Close it."""


class DamageImpossible(Exception):
    """A file cannot be damaged so that anybody could see it; the text says why."""


def damaged(fault: FaultLike, body: BinaryIO, size: int) -> tuple[BinaryIO, int | None]:
    """Return a damaged stream of a file of ``size`` bytes, and its new size, or None where only its end tells.

    What comes out always differs from what goes in: else DamageImpossible is raised, here or, where
    the bytes decide, by the last read. Raises KeyError for a fault that is no damage of bytes.
    """
    pieces, new_size = _DAMAGES[fault.name](_chunks(body), size, fault.amount)
    return cast("BinaryIO", io.BufferedReader(Pieces(pieces, body), CHUNK_BYTES)), new_size


class Pieces(io.RawIOBase):
    """A stream of pieces; closing it closes what they are made from."""

    def __init__(self, pieces: Iterator[bytes], body: Closable) -> None:
        self._pieces = pieces
        self._body = body
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        """Close it, and what it is made from."""
        self._body.close()
        super().close()


def _chunks(body: BinaryIO) -> Iterator[bytes]:
    while chunk := body.read(CHUNK_BYTES):
        yield chunk


def _truncate(chunks: Iterator[bytes], size: int, amount: float | None) -> tuple[Iterator[bytes], int]:
    kept = int(size * (TRUNCATE_TO if amount is None else amount))
    if kept >= size:
        raise DamageImpossible(f"a file of {size} bytes of which {kept} are delivered is whole")
    return _first(chunks, kept), kept


def _first(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    for chunk in chunks:
        if count <= 0:
            return
        yield chunk[:count]
        count -= len(chunk)


def _oversize(chunks: Iterator[bytes], size: int, amount: float | None) -> tuple[Iterator[bytes], int]:
    extra = int(OVERSIZE_BYTES if amount is None else amount)
    if extra < 1:
        raise DamageImpossible("no byte is to follow the end")
    return _then(chunks, extra), size + extra


def _then(chunks: Iterator[bytes], extra: int) -> Iterator[bytes]:
    yield from chunks
    for start in range(0, extra, CHUNK_BYTES):
        yield bytes(min(CHUNK_BYTES, extra - start))


def _bit_flip(chunks: Iterator[bytes], size: int, amount: float | None) -> tuple[Iterator[bytes], int]:
    offset = size // 2 if amount is None else int(amount)
    if offset >= size:
        raise DamageImpossible(f"a file of {size} bytes has no byte at offset {offset}")
    return _edited(chunks, offset, offset + 1, lambda piece: bytes([piece[0] ^ 1])), size


def _zeros(chunks: Iterator[bytes], size: int, amount: float | None) -> tuple[Iterator[bytes], int]:
    count = min(int(ZEROS_BYTES if amount is None else amount), size)
    start = (size - count) // 2
    if count < 1:
        raise DamageImpossible(f"{count} bytes of a file of {size} bytes are to be zeros")
    return _edited(chunks, start, start + count, lambda piece: bytes(len(piece))), size


def _edited(chunks: Iterator[bytes], start: int, end: int, edit: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Pass bytes on, those from ``start`` to ``end`` edited piece by piece."""
    position, changed = 0, False
    for chunk in chunks:
        low, high = (min(max(bound - position, 0), len(chunk)) for bound in (start, end))
        piece = edit(chunk[low:high]) if high > low else b""
        changed = changed or piece != chunk[low:high]
        position += len(chunk)
        yield chunk[:low] + piece + chunk[high:]
    if not changed:
        raise DamageImpossible(f"bytes {start} to {end - 1} are what the damage would make of them")


def _block_swap(chunks: Iterator[bytes], size: int, amount: float | None) -> tuple[Iterator[bytes], int]:
    del amount
    block = min(BLOCK_BYTES, size // 2)
    if not block:
        raise DamageImpossible(f"a file of {size} bytes has no two blocks")
    return _swapped(chunks, block), size


def _swapped(chunks: Iterator[bytes], block: int) -> Iterator[bytes]:
    """Swap the first two neighbours that differ; all other blocks pass."""
    blocks = _blocks(chunks, block)
    first = next(blocks, b"")
    for second in blocks:
        if len(second) == block and second != first:
            yield second + first
            yield from blocks
            return
        yield first
        first = second
    raise DamageImpossible(f"all blocks of {block} bytes are the same")


def _blocks(chunks: Iterable[bytes], block: int) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        rest += chunk
        whole = len(rest) - len(rest) % block
        for start in range(0, whole, block):
            yield rest[start : start + block]
        rest = rest[whole:]
    if rest:
        yield rest


def _rewritten(
    rewrite: Callable[[bytes], bytes], why_not: str, chunks: Iterator[bytes], size: int, amount: float | None
) -> tuple[Iterator[bytes], None]:
    del size, amount
    return _each(rewrite, why_not, chunks), None


def _each(rewrite: Callable[[bytes], bytes], why_not: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    changed = False
    for chunk in chunks:
        piece = rewrite(chunk)
        changed = changed or piece != chunk
        yield piece
    if not changed:
        raise DamageImpossible(why_not)


def _bom(chunks: Iterator[bytes], size: int, amount: float | None) -> tuple[Iterator[bytes], int]:
    del amount
    return _after(BOM, chunks), size + len(BOM)


def _after(front: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield front
    yield from chunks


def _gzip(chunks: Iterator[bytes], size: int, amount: float | None) -> tuple[Iterator[bytes], None]:
    del size, amount
    return _zipped(chunks), None


def _zipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    zipper = zlib.compressobj(wbits=31)  # RFC 1952, with a time stamp of 0
    for chunk in chunks:
        yield zipper.compress(chunk)
    yield zipper.flush()


_DAMAGES: Mapping[str, Callable[[Iterator[bytes], int, float | None], tuple[Iterator[bytes], int | None]]] = {
    "truncate": _truncate,
    "oversize": _oversize,
    "bit_flip": _bit_flip,
    "block_swap": _block_swap,
    "zeros": _zeros,
    "crlf": partial(_rewritten, lambda chunk: chunk.replace(b"\n", b"\r\n"), "there is no LF in the file"),
    "bom": _bom,
    "gzip": _gzip,
    "reencode": partial(
        _rewritten, lambda chunk: chunk.decode("latin-1").encode(), "all of the file is ASCII, in UTF-8 too"
    ),
}
NAMES = frozenset(_DAMAGES)
"""The faults that are damages of the bytes."""
