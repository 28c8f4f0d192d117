from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tracemalloc
import unicodedata
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fileflow import payload
from pytest_fileflow.config import schema
from pytest_fileflow.errors import ConfigInvalid, TesterBug
from pytest_fileflow.model import PayloadFile, TestData
from pytest_fileflow.payload import BLOCK_BYTES, PATTERNS, Pattern, open_payload

RUN = "0123456789abcdef"
BY_NAME = {pattern.name: pattern for pattern in PATTERNS}
SOME_SIZE = 2 * BLOCK_BYTES + 320  # 64 divides it

# The bytes of a released pattern never change: other versions make them again to compare.
GOLDEN = {
    ("random", 640): "d1655e4e037c6c8fc961747f5fcdaaae7fe0d4086eb5d434108cc914f5175998",
    ("random", SOME_SIZE): "8ba8eb8a645876371376ca25e93f2aa6cb66b2cb1b62bef3d3ca14aadebc25bf",
    ("fixed", 640): "4fdb3adb93628f0ebf6a188be62e1cfa8a18459e03f4eb7c9e082d7693b68771",
    ("fixed", SOME_SIZE): "303473f58410e4c9c1f2f215b9cc04786e8331cd6883d63991ac98d19d247e90",
    ("csv", 640): "d9aebadcf63fd2e62427d5cee7e299c0d35fd54925fd5650ce6fde7403422290",
    ("csv", SOME_SIZE): "e7565202dbfc42cd0f8718206bce62d52c952ec9f1111012eca4227df79efbdc",
    ("jsonl", 640): "01b2dd76206757754171057e713cfcc373e82c07a12f7e95785138c69f6cb993",
    ("jsonl", SOME_SIZE): "366bfc8e86a745c78ccaa6584f339b43d083b72c6c68fbf0d97fde0f6153dc62",
    ("fixedwidth", 640): "5ed14dcc170d2056d52a4b567bf2c720d44783def906a9649efcb0f59bc17f27",
    ("fixedwidth", SOME_SIZE): "7a22e821932222c898640a96373cc43ec90fbc3e876da1e14d8b434b4b3b7042",
}

RUN_IDS = st.from_regex("[0-9a-f]{16}", fullmatch=True)
PATTERN = st.sampled_from(PATTERNS)
SIZES = st.one_of(
    st.integers(0, 2000),
    st.integers(0, 40).map(lambda n: n * 64),
    st.integers(-3, 3).map(lambda n: BLOCK_BYTES + n * 64),
    st.integers(BLOCK_BYTES - 5, 2 * BLOCK_BYTES + 5),
)
FEW = settings(deadline=None, max_examples=60)


def made(pattern: Pattern, run_id: str, size: int) -> bytes:
    return b"".join(pattern.blocks(run_id, size))


def makeable(pattern: Pattern, size: int) -> int:
    """Return the size, or the nearest one named where the pattern cannot make it."""
    problem = pattern.size_problem(size)
    return size if problem is None else int(re.findall(r"(\d+) bytes", problem)[-1])


# --- The bytes


@FEW
@given(PATTERN, RUN_IDS, SIZES)
def test_a_payload_is_exactly_as_long_as_asked_for_and_always_the_same(pattern, run_id, size):
    size = makeable(pattern, size)
    first = made(pattern, run_id, size)
    assert len(first) == size
    assert made(pattern, run_id, size) == first
    assert payload.digest(pattern, run_id, size) == hashlib.sha256(first).hexdigest()
    assert open_payload(pattern, run_id, size).read() == first


@FEW
@given(PATTERN, RUN_IDS, RUN_IDS, st.integers(16, 3000))
def test_the_payloads_of_two_runs_differ(pattern, run_id, other, size):
    size = makeable(pattern, size) or makeable(pattern, 64)
    assert (made(pattern, run_id, size) == made(pattern, other, size)) == (run_id == other)


@FEW
@given(PATTERN, st.text(max_size=40).filter(lambda text: text.isascii()), st.integers(0, 3000))
def test_run_ids_of_any_form_are_good_for_every_format(pattern, run_id, size):
    size = makeable(pattern, size)
    content = made(pattern, run_id, size)
    assert len(content) == size
    if pattern.name == "csv" and size:
        assert {len(row) for row in csv.reader(io.StringIO(content.decode()))} == {7}
    if pattern.name == "jsonl":
        assert all(isinstance(json.loads(line), dict) for line in content.splitlines())


@pytest.mark.parametrize(("name", "size"), GOLDEN)
def test_the_bytes_never_change_from_one_version_to_the_next(name, size):
    assert payload.digest(BY_NAME[name], RUN, size) == GOLDEN[name, size]


def test_another_process_makes_the_same_bytes():
    program = (
        "from pytest_fileflow.payload import PATTERNS, digest\n"
        f"print([digest(p, {RUN!r}, {SOME_SIZE}) for p in PATTERNS])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "TZ": "Pacific/Apia", "LC_ALL": "C"}
    answer = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environment,
    )
    assert answer.stdout.strip() == str([GOLDEN[pattern.name, SOME_SIZE] for pattern in PATTERNS])


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_blocks_are_about_a_mebibyte(pattern):
    sizes = [len(block) for block in pattern.blocks(RUN, 6 * BLOCK_BYTES)]
    assert max(sizes) < 2 * BLOCK_BYTES
    assert len(sizes) <= 10


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_an_empty_file_can_be_made(pattern):
    assert pattern.size_problem(0) is None
    assert made(pattern, RUN, 0) == b""
    assert open_payload(pattern, RUN, 0).read() == b""


# --- The formats


def test_random_is_the_keystream_of_aes_256_in_counter_mode():
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    size = 2 * BLOCK_BYTES + 77
    cipher = Cipher(algorithms.AES(hashlib.sha256(RUN.encode()).digest()), modes.ECB()).encryptor()
    counters = b"".join(number.to_bytes(16, "big") for number in range(size // 16 + 1))
    assert made(BY_NAME["random"], RUN, size) == cipher.update(counters)[:size]


def test_fixed_repeats_one_line_that_begins_with_the_run_id():
    content = made(BY_NAME["fixed"], RUN, BLOCK_BYTES + 300)
    lines = content.split(b"\n")
    assert lines[0].startswith(RUN.encode() + b" This file is test data")
    assert set(lines[:-1]) == {lines[0]}
    assert lines[0].startswith(lines[-1])


@FEW
@given(RUN_IDS, st.integers(256, 3000) | st.integers(BLOCK_BYTES - 300, BLOCK_BYTES + 300))
def test_csv_parses_and_every_row_has_every_column(run_id, size):
    content = made(BY_NAME["csv"], run_id, size).decode("ascii")
    assert content.endswith("\n")
    header, *rows = csv.reader(io.StringIO(content, newline=""), strict=True)
    assert header == ["record", "run_id", "timestamp", "account", "amount", "reference", "note"]
    assert len(rows) == content.count("\n") - 1, "a record is a line"
    for number, row in enumerate(rows, 1):
        record, run, timestamp, account, amount, reference, _ = row
        assert (int(record), run) == (number, run_id)
        assert instant(timestamp) == instant("2026-01-01T00:00:00Z") + timedelta(seconds=number - 1)
        assert re.fullmatch(r"AC\d{6}", account)
        assert re.fullmatch(r"\d+\.\d\d", amount)
        assert re.fullmatch(r"[0-9a-f]{128}", reference)


def instant(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def test_csv_has_fields_that_need_quoting():
    content = made(BY_NAME["csv"], RUN, 64 * 1024).decode()
    notes = {row[6] for row in csv.reader(io.StringIO(content))}
    assert 'invoice marked "urgent", second reminder' in notes
    assert '"invoice marked ""urgent"", second reminder"' in content


@FEW
@given(RUN_IDS, st.integers(400, 3000) | st.integers(BLOCK_BYTES - 300, BLOCK_BYTES + 300))
def test_jsonl_is_one_object_a_line_with_every_field(run_id, size):
    content = made(BY_NAME["jsonl"], run_id, size).decode("ascii")
    assert content.endswith("\n")
    records = [json.loads(line) for line in content.splitlines()]
    assert [record["record"] for record in records] == list(range(1, len(records) + 1))
    assert {record["run_id"] for record in records} == {run_id}
    fields = ["record", "run_id", "timestamp", "account", "amount", "reference", "note"]
    assert all(list(record) == fields for record in records)
    assert all(isinstance(record["amount"], float) for record in records)
    last = instant("2026-01-01T00:00:00Z") + timedelta(seconds=len(records) - 1)
    assert instant(records[-1]["timestamp"]) == last


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_no_reference_comes_twice(name):
    content = made(BY_NAME[name], RUN, 3 * BLOCK_BYTES).decode()
    references = re.findall(r"[0-9a-f]{128}", content)
    assert len(references) > 2 * payload.ROWS
    assert len(set(references)) == len(references)


@FEW
@given(RUN_IDS, st.integers(0, 60) | st.integers(16380, 16390))
def test_fixedwidth_is_numbered_records_of_64_bytes(run_id, count):
    content = made(BY_NAME["fixedwidth"], run_id, count * 64).decode("ascii")
    records = content.splitlines()
    assert [int(record[:12]) for record in records] == list(range(1, count + 1))
    assert all(len(record) == 63 and record[12:28] == run_id for record in records)
    assert all(re.fullmatch(r"AC\d{6}\d{11}[0-9a-f]{16}", record[28:]) for record in records)


# --- Sizes


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("random", -1, "a size of -1 is negative; the nearest that can be made is 0 bytes"),
        ("csv", 255, "a size of 255 cannot hold one row of csv; the smallest that is not empty is 256 bytes"),
        ("jsonl", 1, "a size of 1 cannot hold one row of jsonl; the smallest that is not empty is 295 bytes"),
        (
            "fixedwidth",
            100,
            (
                "a size of 100 is no whole number of fixedwidth's 64-byte records; "
                "the nearest that can be made are 64 and 128 bytes"
            ),
        ),
        ("fixedwidth", -64, "a size of -64 is negative; the nearest that can be made is 0 bytes"),
    ],
)
def test_a_size_that_cannot_be_made_is_refused_with_the_nearest_that_can(name, size, message):
    pattern = BY_NAME[name]
    assert pattern.size_problem(size) == message
    assert pattern.size_problem(makeable(pattern, size)) is None
    with pytest.raises(ConfigInvalid, match="cannot be made: " + re.escape(message)):
        open_payload(pattern, RUN, size)
    with pytest.raises(ConfigInvalid, match=re.escape(message)):
        payload.digest(pattern, RUN, size)


# --- Streams


def reading(data, size):
    """Draw what a user of a stream may do: seek in three ways, read some or all."""
    places = st.integers(0, size + 10)
    return data.draw(
        st.lists(
            st.one_of(
                st.tuples(st.just("set"), places),
                st.tuples(st.just("end"), st.integers(-size, 0)),
                st.tuples(st.just("forward"), st.integers(0, 3000)),
                st.tuples(st.just("read"), st.integers(0, 5000)),
                st.tuples(st.just("readinto"), st.integers(0, 300_000)),
            ),
            min_size=1,
            max_size=8,
        )
    )


@settings(deadline=None, max_examples=120)
@given(PATTERN, st.integers(0, 3000) | st.integers(BLOCK_BYTES - 64, 2 * BLOCK_BYTES), st.booleans(), st.data())
def test_reading_from_anywhere_gives_the_slice_of_the_whole(pattern, size, can_jump, data):
    if not can_jump:
        pattern = Pattern(pattern.name, "bin", pattern.blocks, pattern.size_problem)
    size = makeable(pattern, size)
    whole = io.BytesIO(made(pattern, RUN, size))
    with open_payload(pattern, RUN, size) as stream:
        for action, value in reading(data, size):
            assert perform(stream, action, value) == perform(whole, action, value)
            assert stream.tell() == whole.tell()
        assert stream.read() == whole.read()


def perform(stream, action: str, value: int):
    if action == "readinto":
        buffer = bytearray(value)
        return stream.readinto(buffer), buffer
    if action == "read":
        return stream.read(value)
    whence = {"set": io.SEEK_SET, "end": io.SEEK_END, "forward": io.SEEK_CUR}[action]
    return stream.seek(value, whence)


@pytest.mark.parametrize("name", ["random", "fixed", "fixedwidth"])
def test_a_far_place_is_reached_without_making_what_lies_before(name):
    size = 64 * 2**40
    with open_payload(BY_NAME[name], RUN, size) as stream:
        assert stream.seek(0, io.SEEK_END) == size
        stream.seek(size - 64)
        end = stream.read()
        assert len(end) == 64
        stream.seek(-64, io.SEEK_END)
        assert stream.read() == end


def test_jumping_forwards_and_back_makes_only_the_blocks_that_are_read():
    made_blocks = []

    def counted(run_id, size, offset):
        for block in BY_NAME["random"].blocks_from(run_id, size, offset):
            made_blocks.append(offset)
            yield block

    pattern = Pattern("random", "bin", BY_NAME["random"].blocks, lambda size: None, counted)
    size = 64 * BLOCK_BYTES
    with open_payload(pattern, RUN, size) as stream:
        places = (0, 40 * BLOCK_BYTES, 3 * BLOCK_BYTES, size - 10)
        for place in places:
            stream.seek(place)
            assert len(stream.read(10)) == 10
    assert made_blocks == list(places)


def test_a_stream_is_read_only_and_refuses_what_makes_no_sense():
    stream = open_payload(BY_NAME["random"], RUN, 100)
    assert (stream.readable(), stream.seekable(), stream.writable()) == (True, True, False)
    with pytest.raises(ValueError, match="before the start"):
        stream.seek(-1, io.SEEK_SET)
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)


def test_streams_that_are_open_at_once_do_not_disturb_each_other():
    streams = [open_payload(pattern, run, SOME_SIZE) for pattern in PATTERNS for run in (RUN, RUN[::-1])]
    digests = [hashlib.sha256() for _ in streams]
    for _ in range(SOME_SIZE // 100_000 + 1):
        for stream, digest in zip(streams, digests, strict=True):
            digest.update(stream.read(100_000))
    expected = [payload.digest(pattern, run, SOME_SIZE) for pattern in PATTERNS for run in (RUN, RUN[::-1])]
    assert [digest.hexdigest() for digest in digests] == expected


@pytest.mark.parametrize(
    ("pattern", "mebibytes"),
    # Tracing makes records slow.
    [(pattern, 64 if pattern.name in ("random", "fixed") else 16) for pattern in PATTERNS],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_large_payload_takes_less_than_8_mib_of_memory(pattern, mebibytes):
    size = mebibytes * BLOCK_BYTES
    open_payload(pattern, RUN, makeable(pattern, 512)).read()  # what is only made once is not counted
    buffer = bytearray(256 * 1024)
    tracemalloc.start()
    try:
        with open_payload(pattern, RUN, size) as stream:
            total = sum(iter(lambda: stream.readinto(buffer), 0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == size
    assert peak < 8 * BLOCK_BYTES


# --- Patterns of others


def pattern_of(*blocks: bytes) -> Pattern:
    return Pattern("own", "bin", lambda run_id, size: iter(blocks), lambda size: None)


def test_a_pattern_of_ones_own_needs_no_more_than_blocks():
    own = pattern_of(b"", b"abc", b"", b"def")
    with open_payload(own, RUN, 6) as stream:
        assert stream.read(4) == b"abcd"
        stream.seek(1)
        assert stream.read() == b"bcdef"


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ((b"abc",), "payload pattern 'own' made 2 fewer than the 5 bytes it was asked for"),
        ((), "payload pattern 'own' made 5 fewer than the 5 bytes it was asked for"),
        ((b"abc", b"def"), "payload pattern 'own' made more than the 5 bytes it was asked for"),
    ],
)
def test_a_pattern_that_makes_another_size_is_a_fault_of_the_tester(blocks, message):
    own = pattern_of(*blocks)
    with pytest.raises(TesterBug, match=message):
        payload.digest(own, RUN, 5)
    stream = open_payload(own, RUN, 5)
    for _ in range(2):
        with pytest.raises(TesterBug, match=message):
            stream.read()
        stream.seek(0)


# --- Names


NOW = datetime(2026, 11, 24, 7, 30, 5, 999999, tzinfo=timezone(timedelta(hours=1)))


def name(testdata: TestData, **changes) -> str:
    given_ = {"flow_id": "acme", "run_id": RUN, "size": 4096, "now": NOW, **changes}
    return payload.file_name(testdata, BY_NAME["csv"], **given_)


def test_a_run_id_is_16_hex_digits_and_new_each_time():
    ids = {payload.new_run_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in ids)


def test_a_name_holds_prefix_utc_time_run_id_and_extension():
    assert name(TestData(filename_prefix="diag")) == f"diag_20261124T063005Z_{RUN}.csv"


def test_a_name_can_be_a_template():
    template = "ACME ${flow_id} ${date}-${time} ${size} ${run_id} $x $$.CSV"
    assert name(TestData(filename=template)) == f"ACME acme 20261124-063005 4096 {RUN} $x $.CSV"


@pytest.mark.parametrize(
    ("filename", "message"),
    [
        ("ACME.csv", 'does not hold "${run_id}"'),
        ("$${run_id}", 'does not hold "${run_id}"'),
        ("${run_id", 'does not hold "${run_id}"'),
        ("${run_id}${dat}", 'unknown variable "${dat}"; did you mean "${date}"?'),
        ("../${run_id}", "holds '/'"),
        ("a\\${run_id}", "holds '\\\\'"),
        ("a\n${run_id}", "holds '\\n'"),
        ("a\0${run_id}", "holds '\\x00'"),
        ("a\u2028${run_id}", "holds '\\u2028'"),
        ("a\u202e${run_id}", "holds '\\u202e'"),
        ("a\ud800${run_id}", "holds '\\ud800'"),
        ("é" * 120 + "${run_id}", "has 256 bytes in UTF-8; at most 255 are possible"),
    ],
)
def test_a_name_that_is_no_plain_file_name_is_refused(filename, message):
    with pytest.raises(ConfigInvalid, match=re.escape(message)):
        name(TestData(filename=filename))


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "a\\b", "\x7f", "a" * 256])
def test_check_name_refuses(bad):
    with pytest.raises(ConfigInvalid):
        payload.check_name(bad)


@pytest.mark.parametrize("good", ["a", "...", ".hidden", "a b.csv", "Überweisung 1.csv", "日本.csv", "a" * 255])
def test_check_name_accepts(good):
    payload.check_name(good)


def test_sidecars_of_the_longest_name_fit_into_name_max():
    for length in range(110, 120):
        longest = "é" * length + RUN
        file = PayloadFile(name(TestData(filename="é" * length + "${run_id}")), 1, "")
        assert file.name == longest
        assert max(len(each.encode()) for each in file.sidecars) <= 255
        is_long = len(longest.encode()) > 241
        assert file.sidecars[0].startswith("é" * length) is not is_long
        assert all(RUN in each for each in file.sidecars)


AWKWARD = schema()["$defs"]["testdata"]["properties"]["awkward"]["items"]["enum"]


def test_awkward_names_are_plain_names_of_their_run():
    for how in (*((each,) for each in AWKWARD), AWKWARD, [*AWKWARD, "long"]):
        for data in (TestData(awkward=tuple(how)), TestData(filename="A_${run_id}.csv", awkward=tuple(how))):
            made = name(data)
            assert RUN in made
            assert made.endswith(".csv")
            assert len(made.encode()) == 255 or "long" not in how
            assert made.startswith("-") is ("leading_dash" in how)
            assert len({*made} - {*name(TestData())}) > 0
    assert len({name(TestData(awkward=(each,))) for each in AWKWARD}) == len(AWKWARD)


def test_unicode_is_kept_as_it_is_given():
    for form in ("NFC", "NFD"):
        given_ = unicodedata.normalize(form, "Übung ${run_id}.csv")
        assert name(TestData(filename=given_)) == given_.replace("${run_id}", RUN)


def test_a_flow_id_that_would_leave_the_folder_is_refused_where_the_name_uses_it():
    with pytest.raises(ConfigInvalid, match="holds '/'"):
        name(TestData(filename="${flow_id}${run_id}"), flow_id="../up")


def test_a_time_without_zone_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="time zone"):
        name(TestData(), now=datetime(2026, 11, 24))  # noqa: DTZ001 - the mistake


# --- Sidecars


def test_the_manifest_says_what_the_file_is():
    file = PayloadFile("diag.csv", 4096, "ab" * 32, "csv")
    content = payload.manifest(
        flow_id="acme", run_id=RUN, case="typical-4KiB", file=file, created_utc="2026-11-24T06:30:05.000Z"
    )
    assert json.loads(content) == {
        "schema_ver": 1,
        "flow_id": "acme",
        "test_run_id": RUN,
        "case": "typical-4KiB",
        "file_name": "diag.csv",
        "size_bytes": 4096,
        "sha256": "ab" * 32,
        "pattern": "csv",
        "created_utc": "2026-11-24T06:30:05.000Z",
        "synthetic": True,
    }
    keys = re.findall(r'^  "(\w+)"', content.decode(), re.MULTILINE)
    assert keys == sorted(keys)
    assert content.endswith(b"}\n")


def test_the_digest_sidecar_is_the_digest_and_a_newline():
    assert payload.sha256_sidecar("ab" * 32) == b"ab" * 32 + b"\n"
