"""Damages change every file, or say that they cannot; each has its own shape."""

from __future__ import annotations

import gzip
import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_fileflow.faults import FAULTS, Fault
from pytest_fileflow.sandbox.damage import BLOCK_BYTES, NAMES, DamageImpossible, damaged

BODIES = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=600), st.integers(1, 60)),
    st.sampled_from([b"", b"\n", b"x", b"\0" * 9000, bytes(range(256)) * 100]),
)


def made(text: str, body: bytes) -> bytes:
    stream, size = damaged(Fault.parse(text), io.BytesIO(body), len(body))
    out = stream.read()
    assert size is None or size == len(out)
    return out


@pytest.mark.parametrize("name", sorted(NAMES))
@given(body=BODIES)
def test_a_damage_changes_the_bytes_or_says_that_it_cannot(name, body):
    try:
        out = made(name, body)
    except DamageImpossible:
        assert name not in ("bom", "gzip", "oversize")
    else:
        assert out != body


@given(body=BODIES)
def test_each_damage_has_its_shape(body):
    shapes = {
        "truncate": lambda: body[: len(body) // 2],
        "oversize": lambda: body + bytes(1024),
        "crlf": lambda: body.replace(b"\n", b"\r\n"),
        "bom": lambda: "\ufeff".encode() + body,
        "reencode": lambda: body.decode("latin-1").encode(),
    }
    for name, shape in shapes.items():
        try:
            out = made(name, body)
        except DamageImpossible:
            assert shape() == body
        else:
            assert out == shape()
    assert gzip.decompress(made("gzip", body)) == body


@given(body=st.binary(min_size=1, max_size=20_000), share=st.floats(0, 1, exclude_max=True))
def test_one_bit_of_the_named_byte_is_another(body, share):
    offset = int(share * len(body))
    out = made(f"bit_flip:{offset}", body)
    differing = [index for index, (one, other) in enumerate(zip(body, out, strict=True)) if one != other]
    assert differing == [offset]
    assert (body[offset] ^ out[offset]).bit_count() == 1


@given(body=st.binary(min_size=2, max_size=30_000))
def test_two_blocks_change_places(body):
    block = min(BLOCK_BYTES, len(body) // 2)
    try:
        out = made("block_swap", body)
    except DamageImpossible:
        whole = len(body) // block * block
        assert len({body[start : start + block] for start in range(0, whole, block)}) == 1
        return
    start = next(i for i in range(0, len(body), block) if body[i : i + block] != out[i : i + block])
    assert out[start : start + block] == body[start + block : start + 2 * block]
    assert out[start + block : start + 2 * block] == body[start : start + block]
    assert (out[:start], out[start + 2 * block :]) == (body[:start], body[start + 2 * block :])


def test_a_range_in_the_middle_is_zeros():
    assert made("zeros:4", b"\xff" * 10) == b"\xff" * 3 + bytes(4) + b"\xff" * 3
    assert made("zeros", b"\xff" * 10) == bytes(10)
    with pytest.raises(DamageImpossible, match="bytes 0 to 8 are what"):
        made("zeros", bytes(9))


@pytest.mark.parametrize(
    ("text", "body", "why"),
    [
        ("truncate", b"", "is whole"),
        ("bit_flip", b"", "no byte at offset 0"),
        ("bit_flip:7", b"1234567", "no byte at offset 7"),
        ("block_swap", b"x", "no two blocks"),
        ("block_swap", b"x" * 100_000, "all blocks of 4096 bytes are the same"),
        ("crlf", b"no end of line", "no LF"),
        ("reencode", b"plain\n" * 1000, "all of the file is ASCII"),
        ("zeros", b"", "0 bytes of a file of 0"),
    ],
)
def test_what_would_change_nothing_is_said(text, body, why):
    with pytest.raises(DamageImpossible, match=why):
        made(text, body)


def test_an_amount_that_changes_nothing_is_said():
    with pytest.raises(DamageImpossible, match="no byte is to follow"):
        damaged(Fault("oversize", amount=0), io.BytesIO(b"x"), 1)


def test_what_is_no_damage_of_bytes_is_not_taken_for_one():
    assert set(FAULTS) > NAMES
    with pytest.raises(KeyError):
        damaged(Fault("drop"), io.BytesIO(b"x"), 1)


@pytest.mark.parametrize("name", sorted(NAMES - {"gzip"}))
def test_memory_stays_flat(name):
    size = 64 * 1024 * 1024

    class Endless(io.RawIOBase):
        left = size

        def readable(self):
            return True

        def readinto(self, buffer):
            count = min(len(buffer), self.left)
            buffer[:count] = (b"\xff\n\x01" * (count // 3 + 1))[:count]
            self.left -= count
            return count

    tracemalloc.start()
    stream, _ = damaged(Fault(name), io.BufferedReader(Endless()), size)
    while stream.read(1024 * 1024):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024
