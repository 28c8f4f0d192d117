"""What a run says of a file whose bytes are not those that were sent."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import re
import threading
import time
import zlib
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fileflow import diagnosis, payload, steps
from pytest_fileflow.arrival import Arrived, GaveUp, Oversize
from pytest_fileflow.clock import Clock
from pytest_fileflow.diagnosis import content
from pytest_fileflow.errors import ConnectionLost
from pytest_fileflow.judging import judged
from pytest_fileflow.model import Case, CheckResult, Flow, Latency, S3Location, TestData, Validation, Variant
from pytest_fileflow.registry import Registry, register_builtin_patterns
from pytest_fileflow.results.store import Directory
from pytest_fileflow.streams import Tools, open_payload
from tests.support.memory import MemoryEndpoint, World
from tests.test_forensics import first_difference

SOURCE, TARGET = S3Location("source", "out/"), S3Location("target", "in/")
RUN, OTHER = "0123456789abcdef", "fedcba9876543210"


class Desk:
    """A run whose file lies at the target as ``damage`` left it."""

    def __init__(self, damage, pattern: str = "csv", size: int = 20_000, **validation: object):
        self.world = World()
        registry = Registry()
        register_builtin_patterns(registry)
        self.tools = Tools(
            self.world.endpoint, self.world.invoke, registry, dataclasses.replace(Clock(), sleep=lambda seconds: None)
        )
        variant = Variant("", size)
        testdata = TestData((variant,), pattern)
        self.flow = Flow("acme", SOURCE, TARGET, validation=Validation(**validation), testdata=testdata)
        self.run = steps.prepare(Case(self.flow, variant), self.tools, run_id=RUN)
        self.right = open_payload(self.run, self.tools).read()
        self.wrong = damage(self.right)
        self.world.storage.put(TARGET.uri(), self.run.file.name, self.wrong)

    def verdict(self):
        stat = self.world.endpoint(TARGET).stat(self.run.file.name)
        self.world.storage.calls.clear()
        extra = stat.size - self.run.file.size
        tolerance = self.flow.validation.size_tolerance_bytes
        end = GaveUp(stat, 10.0, growing=False, seen_full=False) if extra < 0 else Oversize(stat, 10.0)
        if abs(extra) <= tolerance:
            end = Arrived(stat, Latency(1.0, 0.1), 10.0)
        return judged(self.flow, self.run, end, self.tools).verdict


def text_of(damage):
    return lambda right: damage(right.decode("latin-1"))


def swap(right: bytes) -> bytes:
    return right[:4096] + right[12288:16384] + right[8192:12288] + right[4096:8192] + right[16384:]


def flip(right: bytes) -> bytes:
    return right[:77] + bytes([right[77] ^ 4]) + right[78:]


def garble(right: bytes) -> bytes:
    return right[:50] + b"!!" + right[52:5000] + b"?" + right[5001:]


# Each: the cause, what must stand in the sentence, the damage, the pattern.
DAMAGES = {
    "cut": ("partial.truncated", "these are the right bytes so far", lambda right: right[:9000], "csv"),
    "cut and wrong": ("partial.truncated", "from byte 77 on", lambda right: flip(right)[:9000], "csv"),
    "block lost": (
        "partial.truncated",
        "4096 bytes are missing at offset 4096",
        lambda r: r[:4096] + r[8192:],
        "random",
    ),
    "blocks lost": ("partial.truncated", "3 pieces", lambda r: r[:900] + r[1200:8000] + r[9000:], "random"),
    "zero padded": ("partial.oversize", "padded with 500 zeros", lambda right: right + bytes(500), "csv"),
    "newline added": ("partial.oversize", "padded with 1 LF", lambda right: right + b"\n", "random"),
    "CRLF added": ("partial.oversize", "padded with 2 CRLFs", lambda right: right + b"\r\n\r\n", "random"),
    "appended to": ("partial.oversize", "20004 bytes, 4 more than the 20000 sent", lambda r: r + b"oops", "csv"),
    "twice": ("partial.oversize", "repeats itself: what was sent stands there 2 times", lambda right: right * 2, "csv"),
    "begun again": ("partial.oversize", "begins again, for 8192 bytes", lambda right: right + right[:8192], "csv"),
    "end twice": ("partial.oversize", "its end once more, 3616 bytes", lambda right: right + right[16384:], "csv"),
    "block twice": (
        "partial.oversize",
        "4096 bytes before offset 8192 are there twice",
        lambda r: r[:8192] + r[4096:],
        "random",
    ),
    "inserted": (
        "partial.oversize",
        "at offset 99 5 bytes that were not",
        lambda r: r[:99] + b"12:34" + r[99:],
        "random",
    ),
    "other, longer": ("partial.oversize", "other ones from byte 0 on", lambda r: b"\xff" * len(r) + b"oops", "csv"),
    "bit": ("content.corrupt", "offset 77, and 1 of 5 blocks of 4 KiB differ; a single bit is flipped", flip, "csv"),
    "garbled": ("content.corrupt", "offset 50, and 2 of 5 blocks of 4 KiB differ; in all", garble, "random"),
    "swapped": ("content.corrupt", "4096 bytes at offset 4096 and as many at offset 12288", swap, "random"),
    "overwritten": (
        "content.corrupt",
        "from offset 4096 on stands at offset 8192",
        lambda r: r[:8192] + r[4096:8192] + r[12288:],
        "random",
    ),
    "moved up": (
        "content.corrupt",
        "gap of 4096 bytes: the rest moved up",
        lambda r: r[:4096] + r[8192:] + bytes(4096),
        "random",
    ),
    "shuffled": (
        "content.corrupt",
        "from 4 pieces",
        lambda r: r[15_000:] + r[9000:15_000] + r[4000:9000] + r[:4000],
        "random",
    ),
    "CRLF": ("content.newlines", "every LF became CRLF", lambda right: right.replace(b"\n", b"\r\n"), "csv"),
    "CR": ("content.newlines", "every LF became CR", lambda right: right.replace(b"\n", b"\r"), "csv"),
    "LF": ("content.newlines", "every CRLF became LF", lambda right: right.replace(b"\r\n", b"\n"), "random"),
    "BOM": ("content.bom", "(UTF-8, 3 bytes)", lambda right: b"\xef\xbb\xbf" + right, "csv"),
    "UTF-16 BOM": ("content.bom", "(UTF-16 LE, 2 bytes)", lambda right: b"\xff\xfe" + right, "csv"),
    "zeros": ("content.zeros", "bytes 5000 to 7999, 3000 of 20000", lambda r: r[:5000] + bytes(3000) + r[8000:], "csv"),
    "holes": ("content.zeros", "in 2 ranges", lambda r: bytes(10) + r[10:99] + bytes(9) + r[108:], "csv"),
    "gzip": ("content.recompressed", "packed as gzip", gzip.compress, "csv"),
    "gzip, longer": ("content.recompressed", "packed as gzip", gzip.compress, "random"),
    "zlib": ("content.recompressed", "packed as zlib", zlib.compress, "csv"),
    "base64": ("content.recompressed", "packed as base64", base64.encodebytes, "csv"),
    "UTF-8": ("content.reencoded", "Latin-1 was written as UTF-8", text_of(str.encode), "random"),
    "UTF-16": ("content.reencoded", "UTF-16 LE with a byte order mark", text_of(lambda t: t.encode("utf-16")), "csv"),
    "marks": ("content.reencoded", "replaced by a question", text_of(lambda t: t.encode("ascii", "replace")), "random"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_is_named_with_numbers_and_the_first_difference(name):
    cause, part, damage, pattern = DAMAGES[name]
    desk = Desk(damage, pattern, 200_000 if name == "LF" else 20_000)
    verdict = desk.verdict()
    assert (verdict.outcome, verdict.cause) == ("failed", cause), verdict
    assert part in verdict.reason
    assert verdict.hint
    assert verdict.evidence["first_difference"] == first_difference(desk.wrong, desk.right)
    assert verdict.evidence["blocks_differing"] > 0
    assert desk.world.storage.calls.count(("open", TARGET.uri())) <= 4  # two to verify, one to compare, the manifest


def test_no_two_damages_share_a_message():
    said = {}
    for name, (_, _, damage, pattern) in DAMAGES.items():
        reason = Desk(damage, pattern, 200_000 if name == "LF" else 20_000).verdict().reason
        said.setdefault(re.sub(r"\d+", "N", reason.replace("fileflow_", "")), []).append(name)
    assert [names for names in said.values() if len(names) > 1 and names != ["gzip", "gzip, longer"]] == []


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["random", "fixed"]), st.integers(0, 200), st.binary(max_size=200), st.integers(0, 200))
def test_whatever_arrives_is_judged_rightly_down_to_no_byte_at_all(pattern, size, noise, at):
    desk = Desk(lambda right: right[:at] + noise + right[at + len(noise) :], pattern, size)
    verdict = desk.verdict()
    if desk.wrong == desk.right:
        assert verdict.outcome == "passed"
    else:
        assert verdict.outcome == "failed"
        assert verdict.evidence["first_difference"] == first_difference(desk.wrong, desk.right)


@pytest.mark.parametrize("pattern", ["random", "fixed", "csv"])
@pytest.mark.parametrize("size", [16, 5000, 30_000])
def test_another_runs_file_of_whatever_size_is_stale(pattern, size):
    if pattern == "csv" and size < 256:
        size = 256
    registry = Registry()
    register_builtin_patterns(registry)
    stale = payload.open_payload(registry.pattern_for(pattern), OTHER, size).read()
    desk = Desk(lambda right: stale, pattern, 5000)
    desk.tools = dataclasses.replace(desk.tools, other_runs=lambda run: (RUN, "0" * 16, OTHER))
    verdict = desk.verdict()
    assert verdict.cause == "content.stale"
    assert f"holds the bytes of run {OTHER}, and not of this one" in verdict.reason


def test_few_bytes_are_another_runs_only_where_the_manifest_beside_them_says_so():
    registry = Registry()
    register_builtin_patterns(registry)
    stale = payload.open_payload(registry.pattern_for("random"), OTHER, 3).read()
    desk = Desk(lambda right: stale, "random", 3)
    desk.tools = dataclasses.replace(desk.tools, other_runs=lambda run: (OTHER,))
    assert desk.verdict().cause == "content.corrupt"
    manifest = desk.run.file.sidecars[1]
    for text in (b"", b"{", b"[]", b'{"test_run_id": 7}', b'{"test_run_id": "%s"}' % RUN.encode(), b"\xff" * 10**6):
        desk.world.storage.put(TARGET.uri(), manifest, text)
        assert desk.verdict().cause == "content.corrupt"
    other = dataclasses.replace(desk.run, run_id=OTHER)
    desk.world.storage.put(TARGET.uri(), manifest, steps.manifest(other))
    assert desk.verdict().cause == "content.stale"


@pytest.mark.parametrize("damage", [lambda right: right[:-1], lambda right: right + b"\0", flip])
def test_a_look_that_fails_hides_no_verdict(damage, monkeypatch, caplog):
    desk = Desk(damage)
    expected = desk.verdict().cause

    def bug(*_):
        raise RuntimeError("hunter2")

    monkeypatch.setattr(content, "examine", bug)
    caplog.clear()
    verdict = desk.verdict()
    assert verdict.cause == expected
    (note,) = verdict.evidence["unanswered"]
    assert note == "how the bytes differ could not be told: an unexpected RuntimeError of the tester's own"
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(("damage", "cause"), [(gzip.compress, "truncated"), (lambda right: right * 2, "oversize")])
def test_a_target_that_cannot_be_read_hides_no_verdict(damage, cause):
    desk = Desk(damage)
    desk.world.storage.errors["open", TARGET.uri()] = ConnectionLost("reset by peer")
    assert desk.verdict().cause == f"partial.{cause}"


def test_a_second_look_that_fails_hides_no_verdict():
    desk = Desk(flip)
    desk.world.storage.errors["stat", TARGET.uri()] = ConnectionLost("reset by peer")
    verdict = diagnosis.of_check(desk.flow, desk.run, CheckResult("sha256", False, "a", "b"), desk.tools)
    assert verdict.cause == "content.corrupt"
    assert verdict.reason.endswith(f"{desk.run.file.name} has the right size and a wrong SHA-256")


def test_a_file_that_is_too_long_and_still_grows_at_the_end_is_oversize():
    desk = Desk(lambda right: right + b"oops")
    stat = desk.world.endpoint(TARGET).stat(desk.run.file.name)
    end = GaveUp(stat, 10.0, growing=True, seen_full=False)
    verdict = judged(desk.flow, desk.run, end, desk.tools).verdict
    assert verdict.cause == "partial.oversize"
    assert "had 20004 of 20000 bytes and was still changing" in verdict.reason


@pytest.mark.parametrize(("damage", "cause"), [(gzip.compress, "truncated"), (lambda right: right * 2, "oversize")])
def test_without_a_checksum_the_bytes_are_not_judged(damage, cause):
    desk = Desk(damage, checksum="none", size_tolerance_bytes=100)
    assert desk.verdict().cause == f"partial.{cause}"
    assert (
        Desk(lambda right: right + b"!" * 100, checksum="none", size_tolerance_bytes=100).verdict().outcome == "passed"
    )


def test_within_the_tolerance_a_known_shape_is_named_too():
    assert Desk(lambda r: b"\xef\xbb\xbf" + r, size_tolerance_bytes=9).verdict().cause == "content.bom"
    for damage, part in [
        (lambda right: right[:-3], "the first difference at offset 19997"),
        (lambda right: right[:50] + right[53:], "3 bytes are missing at offset"),
    ]:
        verdict = Desk(damage, size_tolerance_bytes=9).verdict()
        assert verdict.cause == "content.corrupt"
        assert f"needs checksum: none; {part}" in verdict.reason


CHUNK = 64 * 1024


class Slow(MemoryEndpoint):
    """Gives a chunk a second, of a clock of its own; ``hangs`` lets it hang before a chunk, till it is let go."""

    def __init__(self, desk: Desk, hangs: int | None = None, name: str = ""):
        super().__init__(TARGET, desk.world.storage)
        self.now = 0.0
        self.hangs, self.name = hangs, name or desk.run.file.name
        self.let_go, self.given, self.closed = threading.Event(), 0, threading.Event()
        real = time.monotonic
        # A hanging call takes real time, which the clock passes quickly then.
        clock = dataclasses.replace(desk.tools.clock, monotonic=lambda: self.now + (real() - start) * self.haste)
        start, self.haste = real(), 0.0 if hangs is None else 5.0
        desk.tools = dataclasses.replace(desk.tools, clock=clock, endpoint=lambda location: self)

    @contextmanager
    def open(self, name, offset=0, version=None):
        with super().open(name, offset, version) as chunks:
            if chunks is None or name != self.name:
                yield chunks
                return
            try:
                yield self.slowly(chunks)
            finally:
                self.closed.set()

    def slowly(self, chunks):
        for index, chunk in enumerate(chunks):
            if index == self.hangs:
                assert self.let_go.wait(60)
            elif self.hangs is None:
                self.now += 1.0
            self.given += 1
            yield chunk


def wrong_at(place: int):
    return lambda right: right[:place] + bytes([right[place] ^ 9]) + right[place + 1 :]


def checked(desk: Desk):
    failed = CheckResult("sha256", False, "a", "b")
    return diagnosis.of_check(desk.flow, desk.run, failed, desk.tools)


def gave_up(desk: Desk):
    stat = desk.world.endpoint(TARGET).stat(desk.run.file.name)
    return diagnosis.of_gave_up(desk.flow, desk.run, GaveUp(stat, 10.0, growing=False, seen_full=False), desk.tools)


def too_long(desk: Desk):
    return diagnosis.of_oversize(
        desk.flow, desk.run, Oversize(desk.world.endpoint(TARGET).stat(desk.run.file.name), 10.0), desk.tools
    )


SIZE = 20 * CHUNK
NOT_FOLLOWED = re.compile(r"(\d+) bytes are right, and the rest could not be compared within 5 s$")
CUTS = {
    "truncated": (lambda right: right[:-1], gave_up, "partial.truncated"),
    "oversize": (lambda right: right + b"!", too_long, "partial.oversize"),
    "too long at the end": (lambda right: right + b"!", gave_up, "partial.oversize"),
    "wrong": (wrong_at(SIZE - 1), checked, "content.corrupt"),
    "within the tolerance": (lambda right: right[:-1], checked, "content.corrupt"),
}


@pytest.mark.parametrize("hangs", [None, 3])
@pytest.mark.parametrize("name", CUTS)
def test_a_look_at_a_slow_target_stops_in_time_and_says_how_far_it_came(name, hangs):
    damage, judge, cause = CUTS[name]
    desk = Desk(damage, "random", SIZE)
    target = Slow(desk, hangs)
    began = time.monotonic()
    verdict = judge(desk)
    assert time.monotonic() - began < 5.0
    assert verdict.cause == cause
    told = NOT_FOLLOWED.search(verdict.reason)
    assert told, verdict.reason
    compared = int(told[1])
    assert compared == 3 * CHUNK if hangs else 2 * CHUNK <= compared <= 5 * CHUNK
    assert f"compared up to byte {compared} only" in verdict.evidence["examination"]
    assert not verdict.evidence.keys() & {"first_difference", "blocks_differing", "bytes_differing", "damage"}
    target.let_go.set()
    assert target.closed.wait(10)  # the reader that nobody waits for ends, and lets its stream go
    assert target.given <= 9


@pytest.mark.parametrize("hangs", [None, 3])
@pytest.mark.parametrize(
    ("damage", "judge", "part"),
    [
        (lambda right: wrong_at(70_000)(right)[:-1], gave_up, "these differ from what was sent from byte 70000 on"),
        (lambda right: wrong_at(70_000)(right) + b"!", too_long, "and other ones from byte 70000 on"),
        (wrong_at(70_000), checked, "wrong bytes: the first differs at offset 70000; only the first "),
        (lambda right: wrong_at(70_000)(right)[:-1], checked, "the first difference at offset 70000"),
    ],
)
def test_a_first_difference_that_was_met_in_time_is_exact_and_nothing_is_counted(damage, judge, part, hangs):
    desk = Desk(damage, "random", SIZE)
    target = Slow(desk, hangs)
    verdict = judge(desk)
    target.let_go.set()
    assert part in verdict.reason
    assert "blocks" not in verdict.reason
    assert verdict.evidence["first_difference"] == 70_000
    assert "compared up to byte" in verdict.evidence["examination"]
    assert not verdict.evidence.keys() & {"blocks_differing", "bytes_differing", "bits_differing", "damage"}


def test_a_read_that_hangs_from_the_first_byte_on_leaves_the_verdict_as_it_is():
    desk = Desk(flip)
    target = Slow(desk, 0)
    verdict = checked(desk)
    target.let_go.set()
    assert verdict.reason.endswith("has the right size and a wrong SHA-256; no byte could be compared within 5 s")
    assert verdict.evidence == {"examination": "cut short after 5 s: compared up to byte 0 only"}


def test_a_manifest_and_earlier_runs_that_hang_take_no_time_from_the_comparison():
    desk = Desk(flip)
    manifest = desk.run.file.sidecars[1]
    desk.world.storage.put(TARGET.uri(), manifest, steps.manifest(desk.run))
    target = Slow(desk, 0, manifest)

    def hanging(run):
        assert target.let_go.wait(60)
        return ()

    desk.tools = dataclasses.replace(desk.tools, other_runs=hanging)
    verdict = checked(desk)
    target.let_go.set()
    assert (verdict.cause, verdict.evidence["damage"]) == ("content.corrupt", "bit_flipped")
    assert target.closed.wait(10)


def test_a_second_stat_that_hangs_holds_up_no_verdict():
    desk = Desk(flip)
    target = Slow(desk, 0)
    target.stat = lambda name: target.let_go.wait(60) and None
    verdict = checked(desk)
    target.let_go.set()
    assert verdict.reason.endswith("has the right size and a wrong SHA-256")


def test_a_look_that_the_end_of_the_session_interrupts_hides_no_verdict():
    desk = Desk(wrong_at(SIZE - 1), "random", SIZE)
    target = Slow(desk, 3)
    desk.tools = dataclasses.replace(desk.tools, cancelled=lambda: target.given == 3)
    verdict = checked(desk)
    target.let_go.set()
    assert verdict.cause == "content.corrupt"
    assert "5 s" not in verdict.reason


@pytest.mark.parametrize("name", DAMAGES)
def test_no_content_stands_in_a_verdict(name):
    _, _, damage, _ = DAMAGES[name]
    desk = Desk(damage, "fixed")
    verdict = desk.verdict()
    assert payload.SENTENCE[:12] not in f"{verdict.reason} {verdict.evidence}"


def test_earlier_runs_are_known_by_their_folders(tmp_path):
    root = tmp_path / "results"
    for day, flow, run in [("01", "acme", "a"), ("02", "acme", "b"), ("02", "other", "c"), ("03", "acme", "d")]:
        (root / f"dt=2026-11-{day}" / f"flow_id={flow}" / f"run_id={run}").mkdir(parents=True)
    (root / "dt=2026-11-02" / "flow_id=acme" / "run_id=file").touch()
    store = Directory(tmp_path)
    assert store.run_ids("acme", 50) == ["d", "b", "a"]
    assert store.run_ids("acme", 2) == ["d", "b"]
    assert store.run_ids("[*]", 50) == Directory(tmp_path / "nowhere").run_ids("acme", 50) == []
