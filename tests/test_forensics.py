from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import random
import re
import sys
import time
import tracemalloc
import zipfile
import zlib
from functools import partial

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_fileflow import payload
from pytest_fileflow.forensics import compare_only, examine
from pytest_fileflow.forensics.comparing import BLOCK_BYTES
from pytest_fileflow.forensics.evidence import Budget, OutOfTimeError, Source
from pytest_fileflow.forensics.transforms import NEWLINES

PATTERNS = {pattern.name: pattern for pattern in payload.PATTERNS}
RUN, OTHER, THIRD = "0123456789abcdef", "fedcba9876543210", "00000000000000aa"


def made(pattern: str, size: int, run_id: str = RUN) -> bytes:
    return payload.open_payload(PATTERNS[pattern], run_id, size).read()


def source_of(content: bytes, seconds: float = 60) -> Source:
    return Source(partial(io.BytesIO, content), len(content), Budget(time.monotonic, seconds))


def chunks(content: bytes, length: int = 65536) -> list[bytes]:
    return [content[start : start + length] for start in range(0, len(content), length)]


def look(actual: bytes, expected: bytes, suspects: dict[str, bytes] | None = None, chunk: int = 65536):
    others = {run_id: source_of(content) for run_id, content in (suspects or {}).items()}
    return examine(chunks(actual, chunk), len(actual), source_of(expected), others)


def first_difference(actual: bytes, expected: bytes) -> int | None:
    """Return the true one, as its definition says."""
    if actual == expected:
        return None
    same = min(len(actual), len(expected))
    return next((place for place in range(same) if actual[place] != expected[place]), same)


def zipped(content: bytes, method: int) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as writer:
        writer.writestr("orders.csv", content)
    return archive.getvalue()


PACKERS = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": partial(zipped, method=zipfile.ZIP_DEFLATED),
    "zip, stored": partial(zipped, method=zipfile.ZIP_STORED),
    "base64": base64.b64encode,
    "base64, in lines": base64.encodebytes,
    "base64url": base64.urlsafe_b64encode,
    "hexadecimal": lambda content: content.hex().encode(),
}
MARKS = {
    "UTF-8": b"\xef\xbb\xbf",
    "UTF-16 LE": b"\xff\xfe",
    "UTF-16 BE": b"\xfe\xff",
    "UTF-32 LE": b"\xff\xfe\0\0",
    "UTF-32 BE": b"\0\0\xfe\xff",
}
RECODERS = {
    "Latin-1 as UTF-8": lambda content: content.decode("latin-1").encode(),
    "cp437 as UTF-8": lambda content: content.decode("cp437").encode(),
    "UTF-16 with a mark": lambda content: content.decode("latin-1").encode("utf-16"),
    "UTF-16 LE": lambda content: content.decode("latin-1").encode("utf-16-le"),
    "UTF-16 BE": lambda content: content.decode("latin-1").encode("utf-16-be"),
    "UTF-16 BE with a mark": lambda content: b"\xfe\xff" + content.decode("latin-1").encode("utf-16-be"),
    "U+FFFD": lambda content: content.decode("utf-8", "replace").encode(),
    "U+FFFD a byte": lambda content: content.decode("ascii", "replace").encode(),
    "question marks": lambda content: content.decode("latin-1").encode("ascii", "replace"),
    "cp1252, lossy": lambda content: content.decode("cp1252", "replace").encode(),
    "EBCDIC": lambda content: content.decode("latin-1").encode("cp037"),
    "U+FFFD in UTF-16": lambda content: content.decode("utf-8", "replace").encode("utf-16-le"),
}
TRANSLATORS = dict(NEWLINES)  # functions of whole files here; test_newlines_are_what_they_say holds what they do

# The order of precedence: a damage that is also of an earlier kind may be called that.
ORDER = ["packed", "bom_added", "newlines", "reencoded", "repeats_itself", "padded", "end_repeated", "begun_again"]
ORDER += ["extended", "repeated", "inserted", "missing", "bit_flipped", "zeros", "swapped", "repeated_in_place"]
ORDER += ["moved_up", "rearranged", None]


def single_damages(draw, right: bytes) -> tuple[str | None, bytes]:
    """Return the name of the shape that one damage of any kind has, and the damaged file."""
    size = len(right)
    kinds = ["packed", "bom_added", "newlines", "reencoded", "padded", "extended", "repeats_itself", "inserted"]
    if size:
        kinds += ["truncated", "missing", "bit_flipped", "byte", "zeros", "repeated", "end_repeated", "swapped"]
    kind = draw(st.sampled_from(kinds))
    if kind in ("packed", "bom_added", "newlines", "reencoded"):
        named = {"packed": PACKERS, "newlines": TRANSLATORS, "reencoded": RECODERS}.get(kind)
        if named is None:
            return kind, draw(st.sampled_from(list(MARKS.values()))) + right
        return kind, named[draw(st.sampled_from(list(named)))](right)
    at = draw(st.integers(0, max(0, size - 1)))
    length = draw(st.integers(1, max(1, size - at)))
    foreign = random.Random(at).randbytes(length)
    if kind == "swapped":
        length = draw(st.integers(1, max(1, (size - at) // 2)))
        other = draw(st.integers(at + length, max(at + length, size - length)))
        one, two = right[at : at + length], right[other : other + length]
        assume(len(one) == len(two))
        return kind, right[:at] + two + right[at + length : other] + one + right[other + length :]
    damaged = {
        "padded": lambda: right + draw(st.sampled_from([b"\0", b" ", b"\n", b"\r", b"\x1a", b"\xff", b"x"])) * length,
        "extended": lambda: right + foreign,
        "repeats_itself": lambda: right * draw(st.integers(2, 3)),
        "inserted": lambda: right[:at] + foreign + right[at:],
        "truncated": lambda: right[:at],
        "missing": lambda: right[:at] + right[at + length :],
        "bit_flipped": lambda: right[:at] + bytes([right[at] ^ (1 << length % 8)]) + right[at + 1 :],
        "byte": lambda: right[:at] + bytes([right[at] ^ draw(st.integers(1, 255))]) + right[at + 1 :],
        "zeros": lambda: right[:at] + bytes(length) + right[at + length :],
        "repeated": lambda: right[: at + length] + right[at:],
        "end_repeated": lambda: right + right[at:],
    }[kind]()
    return None if kind in ("truncated", "byte") else kind, damaged


SIZES = st.one_of(st.integers(0, 3), st.integers(0, 300), st.sampled_from([4095, 4096, 4097, 20_000]))


@st.composite
def damaged_files(draw) -> tuple[bytes, str | None, bytes]:
    pattern = draw(st.sampled_from(["random", "fixed", "csv"]))
    size = draw(SIZES)
    size = max(size, 256) if pattern == "csv" and size else size
    right = made(pattern, size, draw(st.sampled_from([RUN, OTHER, THIRD])))
    return right, *single_damages(draw, right)


@settings(max_examples=400, deadline=None)
@given(damaged_files(), st.sampled_from([1, 100, 4096, 65536]))
def test_the_true_first_difference_and_the_right_shape_of_any_single_damage_are_named(damage, chunk):
    right, name, wrong = damage
    found = look(wrong, right, {OTHER: made("random", len(wrong), "0" * 16)}, chunk)
    assert found.difference.offset == first_difference(wrong, right)
    assert not found.cut_short
    if wrong == right:  # a translation of newlines where there are none, zeros where zeros were
        assert found.shape is None
        return
    if found.difference.prefix_right and len(wrong) < len(right):
        assert found.shape is None
        return
    named = found.shape and found.shape.name
    assert ORDER.index(named) <= ORDER.index(name), (named, name)
    assert explains(found.shape, wrong, right), found.shape


def explains(shape, wrong: bytes, right: bytes) -> bool:  # noqa: PLR0911
    """Do again, with everything in memory, what a shape says was done."""
    if shape is None:
        return True
    told = shape.evidence
    size, extra = len(right), len(wrong) - len(right)
    at = told.get("inserted_at", told.get("missing_at", 0))
    if shape.name == "packed":
        return any(unpacked(wrong, told["packing"]) == right for _ in (0,))
    if shape.name == "bom_added":
        return MARKS[told["bom"]] + (right.replace(b"\n", b"\r\n") if "translation" in told else right) == wrong
    if shape.name == "newlines":
        return TRANSLATORS[told["translation"]](right) == wrong
    if shape.name == "reencoded":
        text = right.replace(b"\n", b"\r\n") if "CRLF" in told["encoding"] else right
        return wrong in {recoded(text, *pair) for pair in ENCODINGS}
    if shape.name == "zeros":
        inside = [range_ for told_ in told["zero_ranges"] for range_ in [tuple(map(int, told_.split(" to ")))]]
        spots = {place for first, last in inside for place in range(first, last + 1)}
        return all(wrong[place] == (0 if place in spots else right[place]) for place in range(size))
    if "pieces" in told:
        parts = [tuple(map(int, re.findall(r"\d+", piece))) for piece in told["pieces"]]
        if shape.name == "swapped" and len(parts) == 2:
            rebuilt = bytearray(right)
            for length, place, sent in parts:
                rebuilt[place : place + length] = right[sent : sent + length]
            return bytes(rebuilt) == wrong
        return b"".join(right[part[2] :][: part[0]] if len(part) == 3 else bytes(part[0]) for part in parts) == wrong
    return {
        "repeats_itself": lambda: wrong == right * (len(wrong) // size),
        "padded": lambda: wrong.startswith(right) and (len(set(wrong[size:])) == 1 or b"\r\n" in wrong[size:]),
        "end_repeated": lambda: wrong == right + right[size - extra :],
        "begun_again": lambda: wrong.startswith(right) and (right * 9).startswith(wrong[size:]),
        "extended": lambda: wrong.startswith(right),
        "repeated": lambda: wrong == right[:at] + right[at - extra : at] + right[at:],
        "inserted": lambda: wrong[:at] + wrong[at + extra :] == right,
        "missing": lambda: right[:at] + right[at - extra :] == wrong,
        "bit_flipped": lambda: sum((a ^ b).bit_count() for a, b in zip(wrong, right, strict=True)) == 1,
    }[shape.name]()


def unpacked(content: bytes, packing: str) -> bytes:
    if packing == "zip":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(archive.namelist()[0])
    return {
        "gzip": gzip.decompress,
        "zlib": zlib.decompress,
        "bz2": bz2.decompress,
        "xz": lzma.decompress,
        "base64": base64.decodebytes,
        "base64url": base64.urlsafe_b64decode,
        "hexadecimal": lambda digits: bytes.fromhex(digits.decode()),
    }[packing](content)


TEXTS = [
    "latin-1",
    "cp1252",
    "cp437",
    "cp850",
    "utf-8",
    "ascii",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "cp037",
    "cp500",
    "cp1140",
]
ENCODINGS = [
    (taken, written, mode, mark)
    for taken in TEXTS
    for written in TEXTS
    for mode in ("strict", "replace")
    for mark in (b"", b"\xff\xfe", b"\xfe\xff")
]


def recoded(content: bytes, taken: str, written: str, mode: str, mark: bytes) -> bytes | None:
    try:
        return mark + content.decode(taken, mode).encode(written, mode)
    except UnicodeError:
        return None


@pytest.mark.parametrize("pattern", ["random", "fixed", "csv", "jsonl", "fixedwidth"])
@pytest.mark.parametrize("size", [0, 64 * 1024])
def test_undamaged_files_are_never_called_damaged(pattern, size):
    right = made(pattern, size)
    found = look(right, right, {OTHER: made(pattern, size, OTHER)})
    assert (found.difference.offset, found.difference.blocks, found.shape, found.cut_short) == (None, 0, None, False)


@pytest.mark.parametrize("pattern", ["random", "csv"])
@pytest.mark.parametrize("packing", PACKERS)
def test_every_packing_is_seen_through(pattern, packing):
    right = made(pattern, 300_000) + b"\xff\xef\xbe"  # which base64url writes otherwise than base64
    shape = look(PACKERS[packing](right), right).shape
    assert (shape.name, shape.cause) == ("packed", "content.recompressed")
    assert shape.evidence["packing"] == packing.partition(",")[0]


@pytest.mark.parametrize("packing", ["gzip", "xz", "bz2", "zip", "base64", "hexadecimal"])
def test_what_was_sent_packed_and_arrived_unpacked_is_recognised(packing):
    plain = made("csv", 300_000)
    shape = look(plain, PACKERS[packing](plain)).shape
    assert (shape.name, shape.cause, shape.evidence["packing"]) == ("unpacked", "content.recompressed", packing)


@pytest.mark.parametrize("module", ["lzma", "bz2"])
def test_a_python_without_a_library_recognises_the_rest(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)  # an import of it fails
    right = made("csv", 5000)
    assert look(gzip.compress(right), right).shape.name == "packed"
    assert look({"lzma": lzma, "bz2": bz2}[module].compress(right), right).shape is None


def test_a_gzip_file_of_several_members_is_one_file():
    right = made("random", 5000)
    assert look(gzip.compress(right[:1000]) + gzip.compress(right[1000:]), right).shape.evidence["packing"] == "gzip"


@pytest.mark.parametrize("packing", ["gzip", "zlib", "bz2", "xz", "zip", "base64", "hexadecimal"])
def test_a_packing_that_is_cut_off_or_holds_other_bytes_proves_nothing(packing):
    right = made("csv", 5000)
    for wrong in (PACKERS[packing](right)[:-25], PACKERS[packing](right[:-1]), PACKERS[packing](right + b"x")):
        shape = look(wrong, right).shape
        assert shape is None or shape.name != "packed"


@pytest.mark.parametrize("recoding", RECODERS)
def test_every_recoding_is_recognised(recoding):
    right = bytes(range(256)) * 40
    shape = look(RECODERS[recoding](right), right).shape
    assert (shape.name, shape.cause) == ("reencoded", "content.reencoded")


@pytest.mark.parametrize(
    ("sent", "arrived", "how"),
    [
        ("naïve café €", "utf-8>latin-1", "UTF-8 was written as Latin-1, with question marks for what it lacks"),
        ("naïve café", "utf-8>latin-1", "UTF-8 was written as Latin-1"),
        ("naïve café €", "utf-8>cp1252", "UTF-8 was written as cp1252"),
        ("naïve café €", "utf-8>ascii", "UTF-8 was written as ASCII, with a question mark for each other character"),
        ("naïve café €", "cp1252>utf-8", "cp1252 was written as UTF-8"),
        ("naïve café", "latin-1>utf-8", "Latin-1 was written as UTF-8"),
    ],
)
def test_how_a_text_was_recoded_is_said(sent, arrived, how):
    taken, written = arrived.split(">")
    right = (sent + "\n").encode(taken) * 3
    assert look((sent + "\n").encode(written, "replace") * 3, right).shape.evidence["encoding"] == how


@pytest.mark.parametrize(
    ("damage", "name", "part"),
    [
        (lambda text: b"\xef\xbb\xbf" + text.encode("utf-8"), "bom_added", "not sent, and every LF became CRLF"),
        (lambda text: text.encode("utf-16"), "reencoded", "UTF-16 LE with a byte order mark, and every LF as CRLF"),
        (lambda text: text.encode("utf-8").decode("latin-1").encode("utf-8"), "reencoded", "as UTF-8, and every LF as"),
    ],
)
@pytest.mark.parametrize("chunk", [3, 4096])
def test_what_windows_does_to_a_text_is_recognised_as_a_whole(damage, name, part, chunk):
    text = "naïve café\n" * 900
    shape = look(damage(text.replace("\n", "\r\n")), text.encode(), chunk=chunk).shape
    assert shape.name == name
    assert part in shape.says


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_that_was_removed_is_named(mark):
    right = MARKS[mark] + made("csv", 9000)
    shape = look(right[len(MARKS[mark]) :], right).shape
    assert (shape.name, shape.cause, shape.evidence["bom"]) == ("bom_removed", "content.bom", mark)


@pytest.mark.parametrize(
    ("how", "wrong"),
    [
        ("every LF became CRLF", b"a\r\nb\r\rc\r\n"),
        ("every CR became LF", b"a\nb\n\nc\n"),
        ("every CR became CRLF", b"a\nb\r\n\r\nc\n"),
        ("every LF became CR", b"a\rb\r\rc\r"),
    ],
)
def test_newlines_are_what_they_say(how, wrong):
    assert look(wrong, b"a\nb\r\rc\n").shape.evidence["translation"] == how


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"x"]), max_size=12), st.integers(1, 4))
def test_newlines_may_be_cut_anywhere(parts, chunk):
    right = b"".join(parts) + b"end"
    for how, translate in NEWLINES:
        wrong = translate(right)
        if wrong != right:
            shape = look(wrong, right, chunk=chunk).shape
            assert shape.cause == "content.newlines", how
            assert TRANSLATORS[shape.evidence["translation"]](right) == wrong


@pytest.mark.parametrize("pattern", ["random", "fixed", "csv"])
def test_the_bytes_of_another_run_are_named_by_its_id(pattern):
    right = made(pattern, 100_000)
    suspects = {run_id: made(pattern, 100_000, run_id) for run_id in (THIRD, OTHER)}
    shape = look(suspects[OTHER], right, suspects).shape
    assert (shape.cause, shape.evidence) == ("content.stale", {"stale_run_id": OTHER})
    assert look(suspects[OTHER][:-1] + b"\0", right, suspects).shape is None


@pytest.mark.parametrize("pattern", ["random", "csv", "jsonl"])
@pytest.mark.parametrize(("one", "other", "length"), [(4096, 81_920, 4096), (4000, 181_920, 5000), (0, 299_000, 1000)])
def test_blocks_that_changed_places_are_found_however_far_apart(pattern, one, other, length):
    right = made(pattern, 300_000)
    wrong = right[:one] + right[other : other + length] + right[one + length : other] + right[one : one + length]
    wrong += right[other + length :]
    found = look(wrong, right)
    assert found.shape.name == "swapped"
    assert explains(found.shape, wrong, right)
    if one % BLOCK_BYTES == other % BLOCK_BYTES == 0:
        assert found.shape.says == f"{length} bytes at offset {one} and as many at offset {other} have changed places"


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("repeated_in_place", lambda right: right[:8192] + right[4096:8192] + right[12288:]),
        ("repeated_in_place", lambda right: right[:8000] + right[100_000:105_000] + right[13_000:]),
        ("moved_up", lambda right: right[:8192] + right[12288:] + bytes(4096)),
        ("moved_up", lambda right: right[:7000] + right[7777:] + bytes(777)),
        ("rearranged", lambda right: right[200_000:] + right[90_000:200_000] + right[:90_000]),
        ("rearranged", lambda right: right[:9000] + right[10_000:20_000] + right[25_000:]),
        ("rearranged", lambda right: right[:9000] + right[1000:5000] + right[9000:90_000] + right[20_000:]),
    ],
)
@pytest.mark.parametrize("pattern", ["random", "csv"])
def test_pieces_that_were_moved_repeated_or_lost_are_found(pattern, name, damage):
    right = made(pattern, 300_000)
    wrong = damage(right)
    found = look(wrong, right)
    assert found.shape.name == name
    assert explains(found.shape, wrong, right)


def test_several_ranges_of_zeros_are_told_from_zeros_and_other_damage():
    right = b"\1" * 20_000
    wrong = bytearray(right)
    wrong[100:5000] = bytes(4900)
    wrong[8192:12288] = bytes(4096)
    shape = look(bytes(wrong), right).shape
    assert (shape.cause, shape.evidence) == ("content.zeros", {"zero_ranges": ["100 to 4999", "8192 to 12287"]})
    wrong[19_999] = 9
    assert look(bytes(wrong), right).shape is None


def test_one_flipped_bit_is_called_that_also_where_it_leaves_a_zero():
    assert look(b"\0", b"\4").shape.name == "bit_flipped"
    assert look(b"\0", b"\6").shape.name == "zeros"


class Steps:
    """A clock that goes on by a second with every look at it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_when_the_time_is_over_reading_stops_and_what_was_compared_is_said():
    right = made("csv", 200_000)
    wrong = gzip.compress(right) + bytes(200_000)
    found = examine(chunks(wrong), len(wrong), Source(partial(io.BytesIO, right), len(right), Budget(Steps(), 5)), {})
    assert (found.shape, found.cut_short, found.difference.offset) == (None, True, 0)
    assert not found.difference.is_whole
    assert 0 < found.difference.compared < len(right)


def running_out(content: bytes, chunk: int, allowed: int):
    """Yield what can be read in time."""
    yield from chunks(content, chunk)[:allowed]
    raise OutOfTimeError


@settings(max_examples=300, deadline=None)
@given(damaged_files(), st.sampled_from([1, 100, 4096, 65536]), st.integers(0, 12))
def test_what_is_said_of_a_file_that_was_read_in_part_is_true_of_that_part(damage, chunk, allowed):
    right, _, wrong = damage
    read = min(chunk * allowed, len(wrong))
    found = examine(running_out(wrong, chunk, allowed), len(wrong), source_of(right), {})
    told = found.difference
    assert (told.actual_size, told.expected_size) == (len(wrong), len(right))
    if read < min(len(wrong), len(right)):
        part = first_difference(wrong[:read], right[:read])
        assert (told.is_whole, told.compared, told.offset, told.prefix_right) == (False, read, part, part is None)
        assert (found.shape, found.cut_short) == (None, True)
    else:  # all that is in both was compared: only a shape may have been missed
        whole = look(wrong, right, chunk=chunk)
        assert told == whole.difference
        assert told.is_whole
        assert explains(found.shape, wrong, right)


def test_a_file_that_is_far_too_long_is_not_read_to_its_end():
    right = made("random", 1000)
    given = []

    def endless():
        yield right
        while True:
            given.append(1)
            yield bytes(65536)

    found = examine(endless(), 10**12, source_of(right), {})
    assert len(given) < 32
    assert (found.shape, found.cut_short, found.difference.prefix_right) == (None, True, True)
    assert found.difference.actual_size == 10**12


def test_what_follows_a_file_is_not_read_once_nothing_can_explain_it():
    right = made("random", 100_000)
    read = []

    def other():
        for _ in range(40):
            read.append(1)
            yield bytes(range(1, 101)) * 100

    found = examine(other(), 400_000, source_of(right), {})
    assert len(read) == 31  # 30 may have been put in before the file
    assert (found.shape, found.cut_short, found.difference.offset) == (None, False, 0)
    assert found.difference == look(bytes(range(1, 101)) * 4000, right).difference


@pytest.mark.parametrize(("late", "whole"), [(5, False), (12, True)])
def test_all_reading_is_done_within_one_deadline(late, whole):
    right, now = made("random", 100_000), [0.0]
    read = []

    def slow():
        for start in range(0, 400_000, 10_000):
            now[0] += 1.0
            read.append(1)
            yield (right * 4)[start : start + 10_000]

    source = Source(partial(io.BytesIO, right), len(right), Budget(lambda: now[0], late))
    found = examine(slow(), 400_000, source, {})
    assert len(read) == late
    assert (found.shape, found.cut_short, found.difference.prefix_right) == (None, True, True)
    assert found.difference.is_whole == whole
    assert found.difference.offset == (100_000 if whole else None)


def test_a_bomb_is_not_unpacked():
    bomb = gzip.compress(bytes(200 * 1024 * 1024), 9)
    right = made("random", len(bomb))
    tracemalloc.start()
    try:
        assert look(bomb, right).shape is None
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_comparing_alone_looks_for_no_shape():
    right = made("csv", 9000)
    found = compare_only(chunks(gzip.compress(right)), len(gzip.compress(right)), source_of(right))
    assert (found.shape, found.cut_short, found.difference.offset) == (None, False, 0)
    assert not found.difference.prefix_right


@pytest.mark.parametrize("kind", ["swapped", "zeros", "utf-16", "stale", "noise"])
def test_a_large_file_takes_constant_memory(kind):
    size, mib = 64 * 1024 * 1024, 1024 * 1024

    def of(run_id: str) -> Source:
        return Source(partial(payload.open_payload, PATTERNS["random"], run_id, size), size, Budget(time.monotonic, 60))

    def damaged():
        stream = payload.open_payload(PATTERNS["random"], OTHER if kind == "stale" else RUN, size)
        for index in range(size // mib):
            stream.seek((index ^ 63 if kind == "swapped" and index in (0, 63) else index) * mib)
            block = stream.read(mib)
            if kind == "utf-16":
                yield (b"" if index else b"\xff\xfe") + block.decode("latin-1").encode("utf-16-le")
            else:
                yield bytes(mib) if kind == "zeros" else bytes(reversed(block)) if kind == "noise" else block

    tracemalloc.start()
    try:
        found = examine(damaged(), size * 2 + 2 if kind == "utf-16" else size, of(RUN), {OTHER: of(OTHER)})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    names = {"swapped": "swapped", "zeros": "zeros", "utf-16": "reencoded", "stale": "other_run"}
    assert (found.shape and found.shape.name) == names.get(kind)
    assert peak < 16 * mib
