"""The look around a target, and for second copies, over real OpenSSH and over S3 by HTTP."""

from __future__ import annotations

import dataclasses
import io
import itertools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow import diagnosis, steps
from pytest_fileflow.arrival import Arrived, GaveUp
from pytest_fileflow.clients import AwsClients
from pytest_fileflow.clock import Clock
from pytest_fileflow.endpoints.s3 import S3Endpoint
from pytest_fileflow.endpoints.sftp import SftpEndpoint
from pytest_fileflow.endpoints.ssh import SshSessions, Timeouts
from pytest_fileflow.errors import LocationMissing
from pytest_fileflow.model import Case, Flow, Latency, S3Location, SftpLocation, TestData, Validation, Variant
from pytest_fileflow.registry import Registry, register_builtin_patterns
from pytest_fileflow.secret import Credentials
from pytest_fileflow.streams import Tools
from tests.support.openssh import OpenSsh
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_fileflow.model import Location

SIZE = 20_000


class Servers:
    """Where a flow may end: a bucket, a versioned bucket, a server's directory."""

    def __init__(self, client: Any, sshd: OpenSsh, sessions: SshSessions) -> None:
        self.client, self.sshd, self.sessions = client, sshd, sessions

    def endpoint(self, location: Location):
        if isinstance(location, S3Location):
            return S3Endpoint(location, self.client)
        return SftpEndpoint(location, self.sessions)

    def end(self, kind: str, folder: str) -> Location:
        if kind == "sftp":
            return self.sshd.location(self.sshd.directory(folder))
        return S3Location(kind, f"{folder}/")


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with MotoServer() as moto, OpenSsh() as sshd, pytest.MonkeyPatch.context() as patch:
        for name, value in moto.environment.items():
            patch.setenv(name, value)
        client = AwsClients(moto.session()).client("s3")
        for bucket in ("plain", "versioned"):
            client.create_bucket(Bucket=bucket)
        client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
        credentials = Credentials(private_key=sshd.private_key)
        sessions = SshSessions(lambda _: credentials, timeouts=Timeouts(operation=10))
        yield Servers(client, sshd, sessions)
        sessions.close()


class Scene:
    """A run that was seeded in a bucket; its target is one of the servers."""

    def __init__(self, servers: Servers, kind: str, name: str) -> None:
        registry = Registry()
        register_builtin_patterns(registry)
        self.servers = servers
        made: dict[Location, Any] = {}
        self.tools = Tools(
            lambda location: made.setdefault(location, servers.endpoint(location)),
            lambda transfer, payload: None,
            registry,
            Clock(),
        )
        self.target = servers.end(kind, f"{name}/in")
        variant = Variant("", SIZE)
        source = S3Location("plain", f"sources/{kind}/{name}/")
        rules = Validation(expect_within_seconds=5, grace_seconds=1)
        self.flow = Flow("flow", source, self.target, validation=rules, testdata=TestData((variant,)))
        run = steps.enter_ledger(self.flow, steps.prepare(Case(self.flow, variant), self.tools))
        self.run = steps.seed(self.flow, run, self.tools)
        self.name = self.run.file.name
        with self.tools.endpoint(source).open(self.name) as chunks:
            self.content = b"".join(chunks)

    def beside(self, *parts: str) -> Location:
        base = self.target.prefix.rstrip("/") if isinstance(self.target, S3Location) else self.target.dir
        folder = os.path.normpath("/".join((base, *parts)))
        if isinstance(self.target, SftpLocation):
            Path(folder).mkdir(exist_ok=True)
            self.servers.sshd.own(Path(folder))
            return dataclasses.replace(self.target, dir=folder)
        return dataclasses.replace(self.target, prefix=f"{folder}/")

    def put(self, location: Location, name: str | None = None, content: bytes | None = None) -> str:
        body = self.content if content is None else content
        self.tools.endpoint(location).put(name or self.name, io.BytesIO(body), len(body), {})
        return location.uri(name or self.name)

    def missing(self):
        verdict = diagnosis.of_gave_up(self.flow, self.run, GaveUp(None, 0.0, False, False), self.tools)
        self.run = dataclasses.replace(self.run, verdict=verdict)
        return verdict

    def verify(self):
        stat = self.tools.endpoint(self.target).stat(self.name)
        self.run = steps.verify(self.flow, self.run, Arrived(stat, Latency(1.0, 0.1), 0.0), self.tools)
        return self.run.verdict

    def left(self, *places: Location) -> list[str]:
        self.run = steps.clean_up(self.flow, self.run, self.tools)
        assert self.run.residue == ()
        return [stat.name for place in (self.target, *places) for stat in self.tools.endpoint(place).list()]


NUMBERS = itertools.count()
KINDS = ["plain", "versioned", "sftp"]


@pytest.fixture(params=KINDS)
def scene(request, servers) -> Scene:
    return Scene(servers, request.param, f"scene{next(NUMBERS)}")


def test_the_folders_in_a_folder_are_told_apart_from_its_files(scene):
    scene.put(scene.beside("inner"))
    scene.put(scene.target)
    endpoint = scene.tools.endpoint(scene.target)
    assert list(endpoint.folders()) == ["inner"]
    assert list(endpoint.folders(limit=0)) == []
    if isinstance(scene.target, SftpLocation):
        with pytest.raises(LocationMissing):
            scene.tools.endpoint(dataclasses.replace(scene.target, dir=f"{scene.target.dir}/nowhere")).folders()


@pytest.mark.parametrize("where", [("..", "in2"), ("acme",), ("..",)], ids=["beside", "below", "above"])
def test_a_misplaced_file_is_found_and_removed(scene, where):
    place = scene.beside(*where)
    uri = scene.put(place)
    verdict = scene.missing()
    assert verdict.cause == "missing.misplaced", verdict
    assert uri in verdict.reason
    assert scene.left(place) == []


def test_a_renamed_file_is_found_and_removed(scene):
    uri = scene.put(scene.target, f"{scene.name}.processed")
    verdict = scene.missing()
    assert verdict.cause == "missing.renamed"
    assert uri in verdict.reason
    assert scene.left() == []


def test_a_name_without_the_run_id_is_known_by_its_bytes(scene):
    uri = scene.put(scene.target, "latest.bin")
    verdict = scene.missing()
    assert verdict.cause == "missing.renamed"
    assert uri in verdict.reason
    assert scene.left() == ["latest.bin"]


def test_nothing_found_is_said_within_the_budget(scene):
    began = time.monotonic()
    verdict = scene.missing()
    assert verdict.cause == "missing.not_picked_up"
    assert "unanswered" not in verdict.evidence
    assert time.monotonic() - began < 5


def test_directories_that_may_not_be_listed_are_passed_over(servers):
    scene = Scene(servers, "sftp", "locked")
    closed = servers.sshd.root / "locked"
    scene.put(scene.beside("..", "in2"))
    closed.chmod(0o311)  # may be passed through, and not listed
    try:
        verdict = scene.missing()
    finally:
        closed.chmod(0o755)
    assert verdict.cause == "missing.not_picked_up"
    assert any("could not be told" in note and "may not list" in note for note in verdict.evidence["unanswered"])


def test_a_second_copy_is_a_duplicate(scene):
    scene.put(scene.target)
    assert scene.verify().outcome == "passed"
    assert scene.run.checks[-1].observed == "1 copy"
    again = Scene(scene.servers, "sftp" if isinstance(scene.target, SftpLocation) else scene.target.bucket, "twice")
    again.put(again.target)
    again.put(again.target, f"{again.name}.1")
    verdict = again.verify()
    assert verdict.cause == "duplicate"
    assert f"2 copies: {again.name}, {again.name}.1" in verdict.reason
    assert again.left() == []


def test_a_second_delivery_under_the_same_name_shows_where_versions_are_kept(servers):
    scene = Scene(servers, "versioned", "same-name")
    scene.put(scene.target, content=b"the beginning, by a writer that grows the object")
    scene.put(scene.target)
    assert scene.verify().outcome == "passed", scene.run.verdict
    scene.put(scene.target)
    verdict = scene.verify()
    assert verdict.cause == "duplicate"
    assert f"2 copies: 2 versions of {scene.name}" in verdict.reason
    plain = Scene(servers, "plain", "same-name")
    plain.put(plain.target)
    plain.put(plain.target)
    assert plain.verify().outcome == "passed"


def test_versions_cost_a_passing_run_one_request(servers):
    for kind in ("plain", "versioned"):
        scene = Scene(servers, kind, "counted")
        scene.put(scene.target)
        stat = scene.tools.endpoint(scene.target).stat(scene.name)
        asked: list[str] = []
        counting = lambda model, asked=asked, **_: asked.append(model.name)  # noqa: E731
        servers.client.meta.events.register("before-call.s3", counting)
        run = steps.verify(scene.flow, scene.run, Arrived(stat, Latency(1.0, 0.1), 0.0), scene.tools)
        servers.client.meta.events.unregister("before-call.s3", counting)
        assert run.verdict.outcome == "passed"
        assert asked == ["GetObject", "ListObjectVersions" if kind == "versioned" else "ListObjectsV2"]


def test_versions_that_may_not_be_listed_fail_no_good_transfer(servers, monkeypatch):
    from botocore.exceptions import ClientError

    asked = []

    def denied(**_: object) -> None:
        asked.append(1)
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectVersions")

    scene = Scene(servers, "versioned", "denied")
    scene.put(scene.target)
    monkeypatch.setattr(servers.client, "list_object_versions", denied)
    for _ in range(2):
        assert scene.verify().outcome == "passed"
    assert len(asked) == 1
    assert scene.run.checks[-1].observed == "1 copy"


def test_an_upload_that_was_never_completed_is_a_writer_that_stopped(servers):
    scene = Scene(servers, "plain", "stopped")
    where = {"Bucket": "plain", "Key": scene.target.key(scene.name)}
    upload = servers.client.create_multipart_upload(**where)["UploadId"]
    servers.client.upload_part(**where, UploadId=upload, PartNumber=1, Body=scene.content[:12_345])
    servers.client.create_multipart_upload(Bucket="plain", Key=f"{where['Key']}.other")
    verdict = scene.missing()
    assert verdict.cause == "partial.truncated"
    assert verdict.reason.endswith(f"was begun there and never completed, with 12345 of {SIZE} bytes so far")
    servers.client.abort_multipart_upload(**where, UploadId=upload)
    assert scene.missing().cause == "missing.not_picked_up"
