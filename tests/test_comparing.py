from __future__ import annotations

import hashlib
import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_fileflow.forensics.comparing import BLOCK_BYTES, COUNTED_BLOCKS, ZERO_RANGES, Difference, compare


def brute_force(actual: bytes, expected: bytes) -> Difference:
    """The definition, byte by byte and block by block, with everything in memory."""
    shorter, longer = sorted((len(actual), len(expected)))
    firsts = [i for i in range(shorter) if actual[i] != expected[i]]
    starts = range(0, longer, BLOCK_BYTES)
    blocks = sum(actual[i : i + BLOCK_BYTES] != expected[i : i + BLOCK_BYTES] for i in starts)
    offset = None if actual == expected else (firsts[0] if firsts else shorter)
    bits = sum((actual[i] ^ expected[i]).bit_count() for i in firsts)
    zeros = zeros_of(actual, firsts)
    return Difference(offset, blocks, shorter, len(actual), len(expected), not firsts, len(firsts), bits, zeros)


def zeros_of(actual: bytes, wrong: list[int]) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    for i in wrong:
        if actual[i]:
            return ()
        if ranges and not any(actual[ranges[-1][1] : i]):
            ranges[-1] = (ranges[-1][0], i + 1)
        else:
            ranges.append((i, i + 1))
    return tuple(ranges) if len(ranges) <= ZERO_RANGES else ()


def cut(data: bytes, chunk: int) -> list[bytes]:
    return [data[i : i + chunk] for i in range(0, len(data), chunk)]


SIZES = st.one_of(
    st.integers(0, 3),
    st.sampled_from([BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES]),
    st.integers(0, 5 * BLOCK_BYTES),
)
CHUNKS = st.sampled_from([1, 7, 1000, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 65536])


def sample(size: int, seed: int) -> bytes:
    return hashlib.shake_128(bytes([seed])).digest(size)


@given(SIZES, CHUNKS, st.data())
def test_the_first_difference_of_a_single_damage_is_found_exactly(size, chunk, data):
    right = sample(size, 0)
    damage = data.draw(st.sampled_from(["none", "cut", "extend", *(["flip", "insert", "drop"] if size else [])]))
    at = data.draw(st.integers(0, max(0, size - 1)))
    wrong = {
        "none": lambda: right,
        "cut": lambda: right[:at],
        "extend": lambda: right + sample(1 + at, 1),
        "flip": lambda: right[:at] + bytes([right[at] ^ (1 << at % 8)]) + right[at + 1 :],
        "insert": lambda: right[:at] + b"!" + right[at:],
        "drop": lambda: right[:at] + right[at + 1 :],
    }[damage]()
    found = compare(iter(cut(wrong, chunk)), io.BytesIO(right))
    assert found == brute_force(wrong, right)
    if damage == "flip":
        assert (found.offset, found.blocks, found.prefix_right) == (at, 1, False)
    if damage in ("none", "cut", "extend"):
        assert found.prefix_right


@given(
    SIZES, CHUNKS, st.lists(st.integers(0, 5 * BLOCK_BYTES), max_size=6), SIZES, st.tuples(st.booleans(), st.booleans())
)
def test_any_differences_are_counted_as_defined(size, chunk, places, other_size, kind):
    zeroed, sparse = kind
    right = bytes(size) if sparse and zeroed else sample(size, 0)
    wrong = bytearray(bytes(other_size) if sparse and zeroed else sample(other_size, 0))
    for place in places:
        if place < len(wrong):
            wrong[place] = 0 if zeroed else wrong[place] ^ 255
    if sparse:
        right = bytes(byte | (place in places) for place, byte in enumerate(right))
    assert compare(iter(cut(bytes(wrong), chunk)), io.BytesIO(right)) == brute_force(bytes(wrong), right)


def test_empty_chunks_are_nothing_and_the_expected_stream_is_read_from_its_start():
    expected = io.BytesIO(b"abc")
    expected.read()
    assert compare(iter([b"", b"ab", b"", b"c", b""]), expected) == Difference(None, 0, 3, 3, 3, prefix_right=True)


class Zeros(io.RawIOBase):
    """A large file of zeros that exists nowhere."""

    def __init__(self, size: int):
        self.size = size
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = offset + (self.size if whence == io.SEEK_END else 0)
        return self.position

    def readinto(self, buffer) -> int:
        count = min(len(buffer), self.size - self.position)
        buffer[:count] = bytes(count)
        self.position += count
        return count


@pytest.mark.parametrize("byte", [b"\0", b"\1"])
def test_comparing_takes_constant_memory_whether_nothing_or_everything_differs(byte):
    size, chunk = 64 * 1024 * 1024, 1024 * 1024
    tracemalloc.start()
    try:
        found = compare((byte * chunk for _ in range(size // chunk)), io.BufferedReader(Zeros(size)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.compared == size
    assert found.blocks == (0 if byte == b"\0" else size // BLOCK_BYTES)
    assert peak < 8 * 1024 * 1024


def test_beyond_many_wrong_blocks_bytes_are_no_longer_counted_but_all_else_is_told():
    size = (COUNTED_BLOCKS + 40) * BLOCK_BYTES
    right = b"\0\1\2\0" * (size // 4)
    for wrong in (b"\5" * size, b"\5" + bytes(size - 1)):
        found = compare(iter(cut(wrong, 65536)), io.BytesIO(right))
        assert (found.offset, found.blocks, found.wrong_bytes, found.wrong_bits) == (0, size // BLOCK_BYTES, None, None)
        assert (found.prefix_right, found.zeros) == (False, ())
    found = compare(iter(cut(bytes(size), 65536)), io.BytesIO(right))
    assert (found.offset, found.zeros, found.wrong_bits) == (1, ((1, size - 1),), None)
    found = compare(iter(cut(bytes(size // 2) + right[size // 2 : -6] + bytes(6), 65536)), io.BytesIO(right))
    assert found.zeros == ((1, size // 2 - 1), (size - 6, size - 1))
