"""Flows that do more than copy, between ends in memory: what is awaited, judged, diagnosed and removed."""

from __future__ import annotations

import dataclasses
import gzip
import json
import zlib
from types import SimpleNamespace

import pytest

from pytest_fileflow.clock import Clock
from pytest_fileflow.engine import Engine, Limits
from pytest_fileflow.errors import AccessDenied
from pytest_fileflow.flight import Plan
from pytest_fileflow.model import (
    Case,
    CheckSpec,
    Flow,
    S3Location,
    SftpLocation,
    TestData,
    Transfer,
    Validation,
    Variant,
)
from pytest_fileflow.payload import sha256_sidecar
from pytest_fileflow.registry import Registry, register_builtin_checks, register_builtin_patterns
from pytest_fileflow.results.record import expected_text, make_record, observed_text
from pytest_fileflow.streams import Tools
from tests.support.memory import MemoryEndpoint, World

SOURCE, TARGET = S3Location("source", "out/"), S3Location("target", "in/")
SIZE = 10_000


class Labelled(MemoryEndpoint):
    """An endpoint that knows tags and metadata: one of each."""

    def tags(self, name: str) -> dict[str, str]:
        self.storage.enter("tags", self.place)
        return {"class": "internal"}

    def metadata(self, name: str) -> dict[str, str]:
        return {"content-type": "text/csv", "origin": "acme"}


class Mover(World):
    """A world whose transfer writes what a function makes of a file and its sidecars, told by their endings."""

    def __init__(self, deliver):
        super().__init__()
        self._deliver = deliver

    def endpoint(self, location):
        return Labelled(location, self.storage)

    def deliver(self, source, target):
        files = {name: self.storage.get(source, name) for name in self.storage.names(source)}
        (name,) = [name for name in files if not name.endswith((".sha256", ".manifest.json"))]
        given = SimpleNamespace(
            name=name,
            stem=name.rpartition(".")[0],
            content=files[name],
            digest=files[f"{name}.sha256"],
            manifest=files[f"{name}.manifest.json"],
        )
        for delivered, content in self._deliver(given).items():
            self.storage.put(target, delivered, content)


def carried_out(deliver, *checks, target=TARGET, **rules):
    """Run one case through an engine; return the run, its record, and what is left anywhere."""
    world = deliver if isinstance(deliver, World) else Mover(deliver)
    world.route(SOURCE, target)
    registry = Registry()
    register_builtin_patterns(registry)
    register_builtin_checks(registry)
    specs = tuple(CheckSpec(check) if isinstance(check, str) else CheckSpec(*check) for check in checks)
    times = {"expect_within_seconds": 0.6, "grace_seconds": 0.1, "checks": specs, **rules}
    variant = Variant("", SIZE)
    transfer = Transfer("invoke", "function", "RequestResponse")
    case = Case(Flow("f", SOURCE, target, transfer, Validation(**times), TestData((variant,))), variant)
    clock = dataclasses.replace(Clock(), sleep=lambda seconds: None)
    logbook = SimpleNamespace(enter=lambda *_: None, record=lambda _, run: run)
    engine = Engine(Limits(4, 4), clock, logbook)
    try:
        engine.launch("key", case, Tools(world.endpoint, world.invoke, registry, clock), Plan())
        run = engine.result("key")
    finally:
        engine.close()
    return run, make_record(case, run), world.storage.everything()


ROOM = {"expect_within_seconds": 30.0}
RENAMED = ("renamed", {"to": "${file.name}.gz"})
STAMPED = ("renamed", {"to": "${file.stem}_*.bin"})


def squeezed(content: bytes) -> bytes:
    return gzip.compress(content)


def beside(file, **other):
    """Return the sidecars as a transfer copies them, or others in their place; None for one that is left behind."""
    found = {"sha256": file.digest, "manifest.json": file.manifest, **other}
    return {f"{file.name}.{ending}": content for ending, content in found.items() if content is not None}


RIGHT = [
    ("gzip", lambda f: {f.name: squeezed(f.content)}, ["gzip"]),
    ("twice", lambda f: {f.name: squeezed(squeezed(f.content))}, ["gzip", "gzip"]),
    ("renamed", lambda f: {f"{f.name}.gz": squeezed(f.content)}, [RENAMED, "gzip"]),
    ("stamped", lambda f: {f"{f.stem}_1.bin": f.content, f"{f.stem}_1.bin.sha256": b"x"}, [STAMPED]),
    ("sidecars", lambda f: {f.name: f.content, **beside(f)}, ["sidecars"]),
    ("one", lambda f: {f.name: f.content, **beside(f, sha256=None)}, [("sidecars", {"files": ["manifest"]})]),
    (
        "labels",
        lambda f: {f.name: f.content},
        [("tags", {"equals": {"class": "internal"}}), ("metadata", {"present": ["Origin"]})],
    ),
]


@pytest.mark.parametrize(("deliver", "checks"), [row[1:] for row in RIGHT], ids=[row[0] for row in RIGHT])
def test_what_is_right_passes_and_leaves_nothing(deliver, checks):
    run, record, left = carried_out(deliver, *checks, **ROOM)
    assert run.verdict.outcome == "passed", run.verdict
    assert left == []
    names = [check if isinstance(check, str) else check[0] for check in checks]
    assert [check.name for check in run.checks if check.name in names] == names
    arrived = record["observed"]["location"]
    assert arrived == record["target"]["location"] or "*" in record["target"]["location"]
    assert (record["file"]["size"], record["file"]["sha256"]) == (SIZE, run.file.sha256)
    changes = {"gzip", "renamed"} & {*names}
    assert ("due" in record) == bool(changes)


def test_a_record_says_what_should_arrive_where_that_is_not_what_was_sent():
    _, record, _ = carried_out(lambda f: {f"{f.name}.gz": squeezed(f.content)}, RENAMED, "gzip", **ROOM)
    assert record["due"] == {
        "name": f"{record['file']['name']}.gz",
        "size": None,
        "sha256": None,
        "wrapped_in": ["gzip"],
    }
    assert expected_text(record).startswith("10KB in gzip within 30 s at s3://target/in/")
    assert observed_text(record).startswith(f"{record['observed']['size']} bytes after")


def other_run(file, manifest=None):
    told = json.loads(file.manifest)
    return json.dumps({**told, "test_run_id": "ffee"}).encode()


WRONG = [
    ("as it was sent", lambda f: {f.name: f.content}, ["gzip"], "content.unchanged", "the flow put no gzip on"),
    ("cut off", lambda f: {f.name: squeezed(f.content)[:-20]}, ["gzip"], "check.gzip", "cut off"),
    ("other bytes", lambda f: {f.name: squeezed(f.content[:-1])}, ["gzip"], "check.gzip", "9999 bytes (1 too few)"),
    ("one layer less", lambda f: {f.name: squeezed(f.content)}, ["gzip", "gzip"], "check.gzip", "this is not gzip"),
    ("deflate", lambda f: {f.name: zlib.compress(f.content)}, ["gzip"], "check.gzip", "this is not gzip"),
    ("empty", lambda f: {f.name: b""}, ["gzip"], "partial.truncated", "had 0 bytes"),
    ("not renamed", lambda f: {f.name: f.content}, [RENAMED, "gzip"], "missing.renamed", "the flow did not rename it"),
    ("otherwise", lambda f: {f"{f.name}.zip": b"x"}, [RENAMED, "gzip"], "missing.renamed", "under another name"),
    ("not stamped", lambda f: {f.name: f.content}, [STAMPED], "missing.renamed", "the name it was sent with"),
    ("stamped, short", lambda f: {f"{f.stem}_1.bin": f.content[:-1]}, [STAMPED], "partial.truncated", "9999 of 10000"),
    ("twice", lambda f: {f"{f.stem}_{n}.bin": f.content for n in (1, 2)}, [STAMPED], "duplicate", "2 copies"),
    (
        "twice, and other",
        lambda f: {f"{f.stem}_1.bin": f.content, f"{f.stem}_2.bin": b""},
        [STAMPED],
        "duplicate",
        "_2",
    ),
    ("both names", lambda f: {f"{f.stem}_1.bin": f.content, f.name: f.content}, [STAMPED], "duplicate", "2 copies"),
    (
        "wrapped twice",
        lambda f: {f.name: gzip.compress(f.content, 1), f"{f.stem} (1).bin": gzip.compress(f.content, 9)},
        ["gzip"],
        "duplicate",
        "(1).bin",
    ),
    (
        "no digest",
        lambda f: {f.name: f.content, **beside(f, sha256=None)},
        ["sidecars"],
        "check.sidecars",
        "there is no",
    ),
    (
        "other digest",
        lambda f: {f.name: f.content, **beside(f, sha256=sha256_sidecar("0" * 64))},
        ["sidecars"],
        "check.sidecars",
        f".sha256 holds another digest, {'0' * 64}",
    ),
    (
        "other form",
        lambda f: {f.name: f.content, **beside(f, sha256=f.digest[:-1] + b"  x\n")},
        ["sidecars"],
        "check.sidecars",
        ".sha256 holds other bytes than were sent (68 bytes in place of 65)",
    ),
    (
        "other manifest",
        lambda f: {f.name: f.content, **beside(f, **{"manifest.json": other_run(f)})},
        ["sidecars"],
        "check.sidecars",
        ".manifest.json is the manifest of another run, ffee",
    ),
    (
        "broken manifest",
        lambda f: {f.name: f.content, **beside(f, **{"manifest.json": b"x" * 100_000})},
        ["sidecars"],
        "check.sidecars",
        "more than 65536 bytes in place of",
    ),
    (
        "no tag",
        lambda f: {f.name: f.content},
        [("tags", {"present": ["owner"]})],
        "check.tags",
        "owner is missing (there are: class)",
    ),
    (
        "other tag",
        lambda f: {f.name: f.content},
        [("tags", {"equals": {"class": "x"}})],
        "check.tags",
        "class=internal",
    ),
    (
        "other type",
        lambda f: {f.name: f.content},
        [("metadata", {"equals": {"Content-Type": "a/b"}})],
        "check.metadata",
        "content-type=text/csv",
    ),
    (
        "no key",
        lambda f: {f.name: f.content},
        [("kms", {"key_arn": "arn:k"})],
        "check.kms",
        "no server-side encryption",
    ),
]


@pytest.mark.parametrize(
    ("deliver", "checks", "cause", "words"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_what_is_wrong_fails_by_its_cause_and_leaves_nothing(deliver, checks, cause, words):
    checks = [("sidecars", {"within_seconds": 0}) if check == "sidecars" else check for check in checks]
    is_awaited = cause.startswith(("missing", "partial"))
    run, _, left = carried_out(deliver, *checks, **({} if is_awaited else ROOM))
    assert (run.verdict.outcome, run.verdict.cause) == ("failed", cause), run.verdict
    assert words in run.verdict.reason
    assert left == []


def test_without_a_checksum_only_the_layer_is_judged():
    run, *_ = carried_out(lambda f: {f.name: squeezed(f.content[:-1])}, "gzip", checksum="none", **ROOM)
    assert run.verdict.outcome == "passed", run.verdict
    run, *_ = carried_out(lambda f: {f.name: f.content}, "gzip", checksum="none", **ROOM)
    assert run.verdict.cause == "check.gzip"


def test_another_runs_file_is_neither_taken_nor_removed():
    world = Mover(lambda f: {f"{f.stem}_1.bin": f.content, "fileflow_20260101T000000Z_other_1.bin": b"theirs"})
    run, _, left = carried_out(world, STAMPED, **ROOM)
    assert run.verdict.outcome == "passed", run.verdict
    assert [name for _, name in left] == ["fileflow_20260101T000000Z_other_1.bin"]


def test_a_name_that_the_flow_makes_up_needs_a_listing():
    world = Mover(lambda f: {f"{f.stem}_1.bin": f.content})
    world.storage.errors["list", TARGET.uri()] = AccessDenied("s3:ListBucket on s3://target/in/ was denied")
    run, *_ = carried_out(world, STAMPED, **ROOM)
    assert run.verdict.cause == "access.denied"
    assert run.residue == () or "*" in run.residue[0]


def test_tags_that_may_not_be_read_are_a_permission_that_is_named():
    world = Mover(lambda f: {f.name: f.content})
    world.storage.errors["tags", TARGET.uri()] = AccessDenied("s3:GetObjectTagging on s3://target/in/x was denied")
    run, *_ = carried_out(world, ("tags", {"present": ["a"]}), **ROOM)
    assert (run.verdict.outcome, run.verdict.cause) == ("failed", "access.denied")
    assert "s3:GetObjectTagging" in run.verdict.reason


def test_an_endpoint_that_knows_no_tags_says_so():
    class Plain(Mover):
        def endpoint(self, location):
            return MemoryEndpoint(location, self.storage)

    run, *_ = carried_out(Plain(lambda f: {f.name: f.content}), ("tags", {"present": ["a"]}), **ROOM)
    assert run.verdict.cause == "config.invalid"
    assert "its endpoint shows no tags" in run.verdict.reason


def test_the_key_at_the_target_is_judged_once_also_where_the_check_is_named():
    target = dataclasses.replace(TARGET, kms_key_arn="arn:k")
    for checks in ((), ("kms",)):
        run, *_ = carried_out(lambda f: {f.name: f.content}, *checks, target=target, **ROOM)
        assert run.verdict.cause == "check.kms"
        assert [check.name for check in run.checks].count("kms") == 1


def test_a_wrapped_file_at_a_server_arrives_once_it_no_longer_grows():
    run, *_ = carried_out(
        lambda f: {f.name: squeezed(f.content)}, "gzip", target=SftpLocation("h", "u", "/d", "s"), **ROOM
    )
    assert run.verdict.outcome == "passed", run.verdict
    assert "size" not in [check.name for check in run.checks]


def test_what_is_sent_to_its_own_target_is_not_taken_for_arrived():
    run, _, left = carried_out(lambda _: {}, target=SOURCE)
    assert (run.verdict.cause, left) == ("config.invalid", [])
    assert "are both s3://source/out/" in run.verdict.reason
    run, _, left = carried_out(lambda file: {f"{file.name}.gz": file.content}, RENAMED, target=SOURCE, **ROOM)
    assert (run.verdict.outcome, left) == ("passed", [])


@pytest.mark.parametrize(("others", "residue"), [(1200, False), (5000, True)])
def test_a_made_up_name_is_removed_from_a_full_folder_or_said_to_stay(others, residue):
    world = Mover(lambda file: {f"z_{file.stem.rpartition('_')[2]}.bin": file.content})
    for number in range(others):
        world.storage.put(TARGET.uri(), f"a{number:05d}", b"")
    run, _, left = carried_out(world, ("renamed", {"to": "*_${run_id}.bin"}), **({} if residue else ROOM))
    assert (run.verdict.cause is None) is not residue
    assert bool(run.residue) is residue
    assert len(left) == others + residue
