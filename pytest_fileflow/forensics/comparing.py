"""Compares two streams in place: the first difference, how many blocks, bytes and bits differ, and which are zeros."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

BLOCK_BYTES = 4096  # the unit in which differences are counted: a page, and a common disk block
COUNTED_BLOCKS = 8192  # in which single bytes and bits are counted: that takes longer than to make the right ones
ZERO_RANGES = 100  # more of them are no ranges that somebody did not write, but a byte that was replaced

_ZEROS = bytes(BLOCK_BYTES)
_MARKED = bytes([0, *[255] * 255])  # translates to 0 where a byte is 0, and to 255 elsewhere


@dataclass(frozen=True)
class Difference:
    """Where and how much two streams differ. Sizes and offsets are bytes.

    ``offset`` is the first position at which they differ, None where they are equal; where one
    ends before the other it is the end of the shorter. ``blocks`` counts the 4 KiB blocks, from
    the start of the file, that are not the same in both: changed, missing or extra.
    ``compared`` bytes exist in both. ``prefix_right``: all of these are equal; else ``wrong_bytes`` of
    them, and ``wrong_bits`` in these, are not (None: in too many blocks to be counted). ``zeros`` are the
    ranges (start, end) that hold all of the wrong bytes, where each of these is a zero.

    Where not all of these bytes were compared (``is_whole`` is False), all but the sizes is said of the
    ``compared`` first ones alone.
    """

    offset: int | None
    blocks: int
    compared: int
    actual_size: int
    expected_size: int
    prefix_right: bool
    wrong_bytes: int | None = 0
    wrong_bits: int | None = 0
    zeros: tuple[tuple[int, int], ...] = ()

    @property
    def is_whole(self) -> bool:
        """Return whether all bytes that exist in both were compared."""
        return self.compared == min(self.actual_size, self.expected_size)


def compare(actual: Iterator[bytes], expected: BinaryIO) -> Difference:
    """Compare two streams to their ends, in constant memory.

    ``expected`` is a seekable, buffered stream (its reads are short only at the end), read from its start.
    """
    expected_size = expected.seek(0, io.SEEK_END)
    expected.seek(0)
    tally = Tally()
    for chunk in actual:
        tally.add(chunk, expected.read(len(chunk)))
    return tally.difference(expected_size)


class Tally:
    """What is known of two streams that were read side by side up to ``position``.

    ``offset`` is the first position at which they differ, as far as they were read.
    """

    def __init__(self) -> None:
        self.position = 0
        self.offset: int | None = None
        self._blocks = 0
        self._counted = -1  # index of the last block counted: it may go on in the next chunk
        self._prefix_right = True
        self._wrong_bytes = 0
        self._wrong_bits = 0
        self._zeros: list[tuple[int, int]] | None = []  # None: not every wrong byte is a zero
        self._zeros_end = -1  # up to where the last of them goes on

    def add(self, actual: bytes, expected: bytes) -> None:
        """Take the bytes that follow in both; ``expected`` is shorter only at its end."""
        start, overlap = self.position, len(expected)
        self.position += len(actual)
        if actual[:overlap] == expected:
            self._stretch_zeros(start, actual)
        else:
            here = 0
            while here < overlap:
                until = min(overlap, here + BLOCK_BYTES - (start + here) % BLOCK_BYTES)
                self._compare_block(start + here, actual[here:until], expected[here:until])
                here = until
        if len(actual) > overlap and self.offset is None:
            self.offset = start + overlap

    def _compare_block(self, start: int, actual: bytes, expected: bytes) -> None:
        if actual == expected:
            self._stretch_zeros(start, actual)
            return
        self._prefix_right = False
        if self._blocks < COUNTED_BLOCKS or self._zeros is not None:
            self._look_at_bytes(start, actual, expected)
        self._count(start // BLOCK_BYTES)

    def _look_at_bytes(self, start: int, actual: bytes, expected: bytes) -> None:
        if self._blocks >= COUNTED_BLOCKS and actual == _ZEROS[: len(actual)]:
            first, last = len(expected) - len(expected.lstrip(b"\0")), len(expected.rstrip(b"\0"))
            self._note_range(start, (first, last), (0, len(actual)))
            return
        # Whole numbers of thousands of digits are the one fast way to compare bytes without a further dependency.
        bits = int.from_bytes(actual, "big") ^ int.from_bytes(expected, "big")
        wrong = bits.to_bytes(len(actual), "big")
        if self.offset is None:
            self.offset = start + len(wrong) - len(wrong.lstrip(b"\0"))
        self._wrong_bits += bits.bit_count()
        self._wrong_bytes += len(wrong) - wrong.count(0)
        if self._zeros is not None:
            self._note_zeros(start, actual, wrong.translate(_MARKED))

    def _stretch_zeros(self, start: int, right: bytes) -> None:
        """Let the last range of zeros go on through right bytes: it is the same one if it holds wrong bytes again."""
        if self._zeros_end == start:
            self._zeros_end += len(right) - len(right.lstrip(b"\0"))

    def _note_zeros(self, start: int, actual: bytes, wrong: bytes) -> None:
        """Note the ranges of zeros that hold wrong bytes, which are marked in ``wrong``."""
        not_zero = int.from_bytes(actual.translate(_MARKED).lstrip(b"\0"), "big")
        if not_zero and not_zero & int.from_bytes(wrong, "big"):
            self._zeros = None
            return
        for zeros in re.finditer(rb"\0+", actual):
            first, last = wrong.find(255, *zeros.span()), wrong.rfind(255, *zeros.span())
            if first >= 0:
                self._note_range(start, (first, last + 1), zeros.span())

    def _note_range(self, start: int, wrong: tuple[int, int], zeros: tuple[int, int]) -> None:
        """Note where, from ``start`` on, the wrong bytes in a stretch of zeros begin and end, and the zeros do."""
        found = self._zeros
        if found is None:
            return
        if found and zeros[0] == 0 and self._zeros_end == start:
            found[-1] = (found[-1][0], start + wrong[1])
        else:
            found.append((start + wrong[0], start + wrong[1]))
        self._zeros_end = start + zeros[1]
        if len(found) > ZERO_RANGES:
            self._zeros = None

    def _count(self, first: int, last: int | None = None) -> None:
        last = first if last is None else last
        self._blocks += max(0, last - max(first, self._counted + 1) + 1)
        self._counted = max(last, self._counted)

    def difference(self, expected_size: int, actual_size: int | None = None) -> Difference:
        """Return the result, once all of the actual stream was added.

        ``actual_size`` is its size in bytes where it was not read to its end, but beyond that of the expected one.
        """
        actual_size = self.position if actual_size is None else actual_size
        shorter, longer = sorted((actual_size, expected_size))
        if shorter != longer:
            self.offset = shorter if self.offset is None else self.offset
            self._count(shorter // BLOCK_BYTES, (longer - 1) // BLOCK_BYTES)
        return self._difference(shorter, actual_size, expected_size)

    def so_far(self, expected_size: int, actual_size: int) -> Difference:
        """Return what is known before the end of the shorter stream, of what was added alone."""
        return self._difference(self.position, actual_size, expected_size)

    def _difference(self, compared: int, actual_size: int, expected_size: int) -> Difference:
        is_counted = self._blocks < COUNTED_BLOCKS
        return Difference(
            self.offset,
            self._blocks,
            compared,
            actual_size,
            expected_size,
            self._prefix_right,
            self._wrong_bytes if is_counted else None,
            self._wrong_bits if is_counted else None,
            tuple(self._zeros or ()),
        )
