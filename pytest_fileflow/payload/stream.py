"""Reads a payload like a file: from any position, made as it is read, in constant memory."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

from pytest_fileflow.errors import ConfigInvalid, TesterBug

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _typeshed import WriteableBuffer

    from pytest_fileflow.payload.pattern import Pattern

BUFFER_BYTES = 64 * 1024  # of a stream: what is read in larger pieces is copied once, from its block


def open_payload(pattern: Pattern, run_id: str, size: int) -> io.BufferedReader:
    """Return a payload of ``size`` bytes as a seekable, read-only stream that holds about one block.

    Raises ConfigInvalid where the pattern cannot make this size.
    """
    require_size(pattern, size)
    jump = pattern.blocks_from
    return stream_of(
        size,
        lambda: exactly(pattern, size, pattern.blocks(run_id, size)),
        None if jump is None else lambda offset: exactly(pattern, size - offset, jump(run_id, size, offset)),
    )


def stream_of(
    size: int, blocks: Callable[[], Iterator[bytes]], blocks_from: Callable[[int], Iterator[bytes]] | None = None
) -> io.BufferedReader:
    """Return blocks as a seekable, read-only stream, which ends with them, or after ``size`` bytes.

    ``blocks()`` makes them from the start, ``blocks_from(offset)``, where there is one, from an offset on.
    """
    return io.BufferedReader(_PayloadStream(size, blocks, blocks_from), BUFFER_BYTES)


def digest(pattern: Pattern, run_id: str, size: int) -> str:
    """Return the hex SHA-256 of a payload of ``size`` bytes, made block by block.

    Raises ConfigInvalid where the pattern cannot make this size.
    """
    require_size(pattern, size)
    sha256 = hashlib.sha256()
    for block in exactly(pattern, size, pattern.blocks(run_id, size)):
        sha256.update(block)
    return sha256.hexdigest()


def require_size(pattern: Pattern, size: int) -> None:
    """Raise ConfigInvalid where a pattern cannot make a size."""
    problem = pattern.size_problem(size)
    if problem:
        raise ConfigInvalid(f"testdata of pattern {pattern.name} cannot be made: {problem}")


def exactly(pattern: Pattern, size: int, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Pass blocks on, and raise TesterBug where they are not ``size`` bytes: patterns may be anyone's."""
    made = 0
    for block in blocks:
        made += len(block)
        if made > size:
            break
        yield block
    if made != size:
        more_or_less = "more" if made > size else f"{size - made} fewer"
        raise TesterBug(f"payload pattern {pattern.name!r} made {more_or_less} than the {size} bytes it was asked for")


class _PayloadStream(io.RawIOBase):
    """Reads blocks from any position; nothing is made before it is read."""

    def __init__(
        self,
        size: int,
        blocks: Callable[[], Iterator[bytes]],
        blocks_from: Callable[[int], Iterator[bytes]] | None,
    ):
        self._size = size
        self._make = blocks
        self._make_from = blocks_from
        self._position = 0
        self._blocks: Iterator[bytes] = iter(())
        self._block = memoryview(b"")  # what is made and not yet read
        self._next = -1  # position of the first byte in _block; -1: no stream was started

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"cannot seek to {start + offset}, before the start")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        if self._position >= self._size or not target:
            return 0
        if not self._go_to(self._position):
            return 0
        data = self._block[: min(len(target), self._size - self._position)]
        target[: len(data)] = data
        self._block = self._block[len(data) :]
        self._next += len(data)
        self._position += len(data)
        return len(data)

    def _go_to(self, position: int) -> bool:
        """Bring the byte at ``position`` to the front of the block at hand; tell whether there is one."""
        ahead = position - self._next
        if self._next < 0 or ahead < 0 or (self._make_from is not None and ahead > len(self._block)):
            self._start(position)
        while position >= self._next + len(self._block):
            if not self._make_next():
                return False
        self._block = self._block[position - self._next :]
        self._next = position
        return True

    def _start(self, position: int) -> None:
        self._next = 0 if self._make_from is None else position
        self._blocks = self._make() if self._make_from is None else self._make_from(position)
        self._block = memoryview(b"")

    def _make_next(self) -> bool:
        reached = self._next + len(self._block)
        self._next = -1  # a pattern that fails is started again by the next read, not resumed
        block = next(self._blocks, None)
        self._block = memoryview(block or b"")
        self._next = -1 if block is None else reached
        return block is not None
