from __future__ import annotations

import hashlib
import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_fileflow.checks import (
    BLOCK_BYTES,
    Difference,
    Expected,
    Sha256Check,
    compare,
    kms_check,
    latency_check,
    size_check,
)
from pytest_fileflow.model import Latency, Stat

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER_KEY = KEY.replace("1234abcd", "ffffffff")
ALIAS = "arn:aws:kms:eu-central-1:111122223333:alias/transfers"


@pytest.mark.parametrize(
    ("expected", "tolerance", "observed", "passed", "texts"),
    [
        (5242880, 0, 5242880, True, ("5242880 bytes", "5242880 bytes")),
        (5242880, 0, 5242879, False, ("5242880 bytes", "5242879 bytes (1 too few)")),
        (100, 10, 110, True, ("100 bytes ± 10", "110 bytes (10 too many)")),
        (100, 10, 111, False, ("100 bytes ± 10", "111 bytes (11 too many)")),
        (100, 10, 90, True, ("100 bytes ± 10", "90 bytes (10 too few)")),
        (100, 10, 89, False, ("100 bytes ± 10", "89 bytes (11 too few)")),
        (1, 0, 0, False, ("1 byte", "0 bytes (1 too few)")),
        (0, 0, 0, True, ("0 bytes", "0 bytes")),
    ],
)
def test_the_size_is_judged_to_the_byte(expected, tolerance, observed, passed, texts):
    result = size_check(Expected(expected, "", tolerance), observed)
    assert (result.name, result.passed, (result.expected, result.observed)) == ("size", passed, texts)


@given(st.lists(st.binary(max_size=100)))
def test_the_digest_does_not_depend_on_how_the_bytes_are_cut(chunks):
    digest = hashlib.sha256(b"".join(chunks)).hexdigest()
    check = Sha256Check(Expected(0, digest.upper()))
    for chunk in chunks:
        check.feed(chunk)
    assert check.hexdigest == digest
    assert check.result().to_dict() == {
        "name": "sha256",
        "outcome": "passed",
        "expected": digest,
        "observed": digest,
    }


def test_another_digest_fails():
    check = Sha256Check(Expected(1, hashlib.sha256(b"a").hexdigest()))
    check.feed(b"b")
    result = check.result()
    assert not result.passed
    assert result.observed == hashlib.sha256(b"b").hexdigest()


@pytest.mark.parametrize(
    ("slo", "seconds", "resolution", "passed", "texts"),
    [
        (420, 3.21, 0.05, True, ("within 420 s", "3.21 s (± 0.05 s)")),
        (1.5, 1.5, 0, True, ("within 1.5 s", "1.5 s (± 0 s)")),
        (420, 420.04, 0.05, True, ("within 420 s", "420.04 s (± 0.05 s)")),
        (420, 420.06, 0.05, False, ("within 420 s", "420.06 s (± 0.05 s)")),
        (1000000, 1234567.8, 0, False, ("within 1000000 s", "1234567.8 s (± 0 s)")),
    ],
)
def test_only_what_must_have_arrived_after_the_slo_is_late(slo, seconds, resolution, passed, texts):
    result = latency_check(slo, Latency(seconds, resolution))
    assert (result.name, result.passed, (result.expected, result.observed)) == ("latency", passed, texts)


@pytest.mark.parametrize(
    ("arn", "encryption", "key", "passed", "observed"),
    [
        (KEY, "aws:kms", KEY, True, f"encrypted with aws:kms by {KEY}"),
        (KEY, "aws:kms:dsse", KEY, True, f"encrypted with aws:kms:dsse by {KEY}"),
        (KEY, "aws:kms", OTHER_KEY, False, f"encrypted with aws:kms by {OTHER_KEY}"),
        (
            KEY,
            "aws:kms",
            KEY.rpartition("/")[2],
            True,
            "encrypted with aws:kms by 1234abcd-12ab-34cd-56ef-1234567890ab",
        ),
        (KEY.rpartition("/")[2], "aws:kms", KEY, True, f"encrypted with aws:kms by {KEY}"),
        (KEY, "aws:kms", KEY.replace("eu-central-1", "eu-west-1"), False, None),
        (KEY, "aws:kms", None, False, "encrypted with aws:kms"),
        (KEY, "AES256", None, False, "encrypted with AES256"),
        (KEY, None, KEY, False, "no server-side encryption reported"),
        (KEY, None, None, False, "no server-side encryption reported"),
        (ALIAS, "aws:kms", KEY, True, f"encrypted with aws:kms by {KEY}"),
        (ALIAS, "AES256", None, False, "encrypted with AES256"),
        (ALIAS, None, None, False, "no server-side encryption reported"),
    ],
)
def test_the_encryption_key_is_the_expected_one(arn, encryption, key, passed, observed):
    result = kms_check(arn, Stat("f", 1, encryption=encryption, kms_key_id=key))
    assert result is not None
    assert (result.name, result.passed) == ("kms", passed)
    assert observed in (None, result.observed)
    assert arn in result.expected
    assert ("S3 does not tell" in result.expected) == (arn == ALIAS)


def test_no_key_asked_for_is_no_check():
    assert kms_check(None, Stat("f", 1)) is None


def brute_force(actual: bytes, expected: bytes) -> Difference:
    """The definition, byte by byte and block by block, with everything in memory."""
    shorter, longer = sorted((len(actual), len(expected)))
    firsts = [i for i in range(shorter) if actual[i] != expected[i]]
    starts = range(0, longer, BLOCK_BYTES)
    blocks = sum(actual[i : i + BLOCK_BYTES] != expected[i : i + BLOCK_BYTES] for i in starts)
    offset = None if actual == expected else (firsts[0] if firsts else shorter)
    return Difference(offset, blocks, shorter, len(actual), len(expected), not firsts)


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


@given(SIZES, CHUNKS, st.lists(st.integers(0, 5 * BLOCK_BYTES), max_size=6), SIZES)
def test_any_differences_are_counted_as_defined(size, chunk, places, other_size):
    right = sample(size, 0)
    wrong = bytearray(sample(other_size, 0))
    for place in places:
        if place < len(wrong):
            wrong[place] ^= 255
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
