"""How further checks compose: layers, what lies inside them, and what becomes of checks behind a broken one."""

from __future__ import annotations

import gzip
import hashlib
import random

import pytest

from pytest_fileflow.checks import Chain, LayerBroken
from pytest_fileflow.checks.gzip import Gzip
from pytest_fileflow.model import CheckResult, Inside

DATA = b"some rows\n" * 1000


def inside(data: bytes, wrapping: str = "gzip") -> Inside:
    return Inside(wrapping, len(data), hashlib.sha256(data).hexdigest())


class Seen:
    """Remembers what it was fed, and whether it was asked."""

    def __init__(self, name: str = "seen"):
        self.name = name
        self.data = b""

    def feed(self, chunk):
        self.data += chunk

    def result(self):
        return CheckResult(self.name, True, "anything", f"{len(self.data)} bytes")


class Stubborn:
    """A layer that breaks where it is told to."""

    max_bytes = None

    def __init__(self, *, at_end=False):
        self.at_end = at_end
        self.closed = 0

    def peel(self, chunk):
        yield chunk
        if not self.at_end:
            raise LayerBroken("no")

    def end(self):
        if self.at_end:
            raise LayerBroken("no, at last")
        return ()

    def result(self):
        return CheckResult("stubborn", True, "well", "well")

    def close(self):
        self.closed += 1


def told(chain: Chain, data: bytes, size: int = 1000) -> list[tuple[str, bool, str]]:
    with chain:
        for start in range(0, len(data), size):
            chain.feed(data[start : start + size])
        return [(result.name, result.passed, result.observed) for result in chain.results()]


def test_each_check_sees_the_stream_at_its_depth():
    once, twice = gzip.compress(DATA), gzip.compress(gzip.compress(DATA))
    outer, middle, inner = Seen(), Seen(), Seen()
    chain = Chain([("a", outer), ("g", Gzip()), ("b", middle), ("g", Gzip()), ("c", inner)], [inside(once)])
    results = told(chain, twice)
    assert (outer.data, middle.data, inner.data) == (twice, once, DATA)
    assert [name for name, *_ in results] == ["seen", "gzip", "seen", "gzip", "seen"]
    assert all(passed for _, passed, _ in results)


@pytest.mark.parametrize(
    ("expected", "passed", "ending"),
    [
        (inside(DATA), True, f"inside 10000 bytes, SHA-256 {hashlib.sha256(DATA).hexdigest()}"),
        (inside(DATA + b"!"), False, f"inside 10000 bytes (1 too few), SHA-256 {hashlib.sha256(DATA).hexdigest()}"),
        (inside(b"?" * 10000), False, f"inside 10000 bytes, SHA-256 {hashlib.sha256(DATA).hexdigest()}"),
        (None, True, f"inside 10000 bytes, SHA-256 {hashlib.sha256(DATA).hexdigest()}"),
    ],
)
def test_the_file_inside_is_held_to_what_is_expected_there(expected, passed, ending):
    chain = Chain([("gzip", Gzip())], [expected] if expected else [])
    assert told(chain, gzip.compress(DATA)) == [("gzip", passed, f"whole gzip of 1 member; {ending}")]


def test_what_lies_behind_a_broken_layer_was_not_judged_and_does_not_pass():
    seen = Seen()
    chain = Chain([("first", seen), ("gzip", Gzip()), ("rows", Seen()), ("gzip", Gzip()), ("last", Seen())])
    assert told(chain, b"plain text") == [
        ("seen", True, "10 bytes"),
        ("gzip", False, "this is not gzip"),
        ("rows", False, "not judged: gzip could not be opened"),
        ("gzip", False, "not judged: gzip could not be opened"),
        ("last", False, "not judged: gzip could not be opened"),
    ]
    assert seen.data == b"plain text", "what stands before the layer is judged as ever"


@pytest.mark.parametrize("at_end", [False, True])
def test_a_broken_layer_is_closed_and_takes_no_more(at_end):
    layer, behind = Stubborn(at_end=at_end), Seen()
    chain = Chain([("stubborn", layer), ("seen", behind)])
    chain.feed(b"a")
    chain.feed(b"b")
    results = chain.results()
    assert behind.data == (b"ab" if at_end else b"a")
    assert [result.passed for result in results] == [False, False]
    assert layer.closed


def test_a_layer_is_closed_when_reading_ends_early():
    layer = Stubborn(at_end=True)
    with pytest.raises(RuntimeError), Chain([("seen", Seen()), ("stubborn", layer)]) as chain:
        chain.feed(b"a")
        raise RuntimeError
    assert layer.closed == 1


@pytest.mark.parametrize(
    ("check", "expected", "limit"),
    [
        (Gzip(max_bytes=999), None, 999),
        (Gzip(), Inside("gzip", 1000, ""), 1000 + 64 * 1024 * 1024),
    ],
)
def test_a_bomb_is_not_read_to_its_end(check, expected, limit):
    bomb = gzip.compress(bytes(limit + 1), 1)
    chain = Chain([("gzip", check)], [expected] if expected else [])
    assert told(chain, bomb, 1 << 20) == [("gzip", False, f"more than {limit} bytes inside: not read on")]


def damaged(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([data[at] ^ value]) + data[at + 1 :]


NOISE = random.Random(1).randbytes(5000)
PACKED = gzip.compress(NOISE, mtime=0)
WRONG_GZIP = [
    (b"", "this is not gzip: it is empty"),
    (NOISE, "this is not gzip"),
    (b"PK\3\4", "this is not gzip"),
    (PACKED[:1], "cut off after 1 byte"),
    (PACKED[:8], "cut off after 8 bytes"),
    (PACKED[:-1], f"cut off after {len(PACKED) - 1} bytes"),
    (PACKED[:3000], "cut off after 3000 bytes"),
    (damaged(PACKED, -5 % len(PACKED), 1), "damaged: the CRC-32 of its content is wrong"),
    (damaged(PACKED, 3000, 1), "damaged: the CRC-32 of its content is wrong"),
    (damaged(PACKED, len(PACKED) - 1, 1), "damaged: the length of its content is wrong"),
    (damaged(PACKED, 10, 6), "damaged: invalid block type"),
    (damaged(PACKED, 2, 1), "damaged: unknown compression method"),
    (PACKED + b"\0", f"something else follows the gzip data, which ends after {len(PACKED)} bytes"),
    (PACKED + bytes(100), f"something else follows the gzip data, which ends after {len(PACKED)} bytes"),
    (PACKED + b"text", f"something else follows the gzip data, which ends after {len(PACKED)} bytes"),
    (PACKED + PACKED[:20], f"cut off after {len(PACKED) + 20} bytes"),
    (PACKED + damaged(PACKED, -5 % len(PACKED), 1), "damaged: the CRC-32 of its content is wrong"),
]


@pytest.mark.parametrize("step", [1, 7, 100000])
@pytest.mark.parametrize(("data", "text"), WRONG_GZIP)
def test_gzip_that_is_not_whole_says_what_is_wrong(data, text, step):
    assert told(Chain([("gzip", Gzip())]), data, step) == [("gzip", False, text)]


@pytest.mark.parametrize("step", [1, 1000, 10_000_000])
@pytest.mark.parametrize("members", [1, 3])
def test_all_members_are_unpacked(members, step):
    data = bytes(600_000) + NOISE  # more than one piece, from few bytes
    inner = Seen()
    results = told(Chain([("gzip", Gzip()), ("seen", inner)]), gzip.compress(data) * members, step)
    assert inner.data == data * members
    text = f"whole gzip of {members} member{'' if members == 1 else 's'}; inside {len(inner.data)} bytes"
    assert results[0][2].startswith(text)
