"""``fileflow clean`` against moto's S3 and OpenSSH: what a killed session left goes, and nothing beside it."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

import boto3
import pytest

from pytest_fileflow.cli import main
from pytest_fileflow.clients import AwsClients
from pytest_fileflow.commands.leftovers import Ends, look
from pytest_fileflow.endpoints.ssh import SshSessions
from pytest_fileflow.model import Flow, PayloadFile, Run, S3Location
from pytest_fileflow.results.ledger import Entry, Ledger, abandoned
from pytest_fileflow.secret import Secrets
from tests.support.openssh import OpenSsh
from tests.support.s3server import MotoServer

RUN_ID, OTHER_ID = "0123456789abcdef", "fedcba9876543210"
BUCKET = "example-landing"
SECRET = "sftp/acme"


@pytest.fixture(scope="module")
def moto():
    with MotoServer() as running:
        yield running


@pytest.fixture(scope="module")
def server():
    with OpenSsh() as running:
        yield running


@pytest.fixture
def s3(moto, server, tmp_path, monkeypatch):
    """Both ends with what killed runs and others left there, and the flow that leads from one to the other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    moto.fresh(monkeypatch)
    login = json.dumps({"privateKey": server.private_key})
    boto3.client("secretsmanager").create_secret(Name=SECRET, SecretString=login)
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    place = {"host": server.host, "port": server.port, "username": server.user, "host_key": server.host_key}
    flow = {
        "flow_id": "acme",
        "source": {"type": "SFTP", **place, "dir": str(server.root), "secret_arn": SECRET},
        "target": {"type": "S3", "bucket": BUCKET, "prefix": "in/"},
    }
    Path("flows").mkdir()
    Path("flows/acme.json").write_text(json.dumps(flow))
    yield client
    for path in server.root.iterdir():
        path.unlink()


def run(run_id: str = RUN_ID) -> Run:
    name = f"acme_{run_id}.bin"
    names = (name, f"{name}.sha256", f"{name}.manifest.json")
    written = tuple((side, each) for side in ("source", "target") for each in names)
    began = {"prepared": "2026-11-24T06:00:00.000Z"}
    return Run(run_id, "acme", "5MiB", "SFTP->S3", 1, PayloadFile(name, 5, "aa"), began, written=written)


def killed(run_id: str = RUN_ID, *, is_noted: bool = False, **record: object) -> None:
    """Leave in the ledger what a killed session does; noted, where another has found it since."""
    page = Ledger.of(Path("fileflow-results"), f"session{run_id}", "main")
    entry = Entry("flows/acme.json::acme[5MiB]", run(run_id), {"run_id": run_id, "residue": ["x"], **record})
    page.enter(entry)
    if is_noted:
        page.retire(entry)
    page.close()


def lying(server: OpenSsh, s3) -> set[str]:
    listed = s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {path.name for path in server.root.iterdir()} | {each["Key"] for each in listed}


def put(server: OpenSsh, s3, *names: str) -> None:
    for name in names:
        if "/" in name:
            s3.put_object(Bucket=BUCKET, Key=name, Body=b"hello")
        else:
            (server.root / name).write_text("hello")
            server.own(server.root / name)


OURS = (f"acme_{RUN_ID}.bin", f".acme_{RUN_ID}.bin.part", f"in/acme_{RUN_ID}.bin", f"in/acme_{RUN_ID}.bin.sha256")
FOREIGN = (f"acme_{OTHER_ID}.bin", "acme.bin", f"in/acme_{OTHER_ID}.bin", "in/acme.bin", f"else/acme_{RUN_ID}.bin")


@pytest.mark.parametrize("is_noted", [False, True], ids=["not settled", "settled"])
def test_what_a_killed_session_left_is_removed_and_nothing_beside_it(s3, server, capsys, is_noted):
    put(server, s3, *OURS, *FOREIGN)
    killed(is_noted=is_noted)
    assert main(["clean", "--dry-run"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == len(OURS) + 1
    assert f"s3://{BUCKET}/in/acme_{RUN_ID}.bin  (run {RUN_ID} of acme, by its ledger)" in shown
    assert shown[-1] == "4 files would be removed"
    assert main(["clean"]) == 1  # nobody is there to be asked
    assert lying(server, s3) == {*OURS, *FOREIGN}
    assert main(["clean", "--yes"]) == 0
    assert capsys.readouterr().out.endswith("4 files removed\n")
    assert lying(server, s3) == set(FOREIGN)
    assert not Path("fileflow-results/orphans").exists()
    assert main(["clean", "--yes"]) == 0
    assert capsys.readouterr().out == "nothing is left behind\n"
    # What is still to be recorded names nothing that is gone.
    assert [entry.record["residue"] for entry in abandoned(Path("fileflow-results"))] == ([] if is_noted else [[]])


def test_runs_that_go_on_and_those_of_a_sandbox_are_left_alone(s3, server, capsys):
    put(server, s3, *OURS)
    page = Ledger.of(Path("fileflow-results"), "alive", "main")
    page.enter(Entry("flows/acme.json::acme[5MiB]", run(), {"run_id": RUN_ID}))
    killed(OTHER_ID, sandbox=True)
    assert main(["clean", "--yes"]) == 0
    assert lying(server, s3) == set(OURS)
    page.close()


def test_what_cannot_be_removed_or_looked_at_stays_noted(s3, server, capsys):
    put(server, s3, *OURS)
    killed(is_noted=True, source={"type": "SFTP", "location": "sftp://acme@elsewhere:22/outbox/acme.bin"})
    assert main(["clean", "--yes"]) == 1
    told = capsys.readouterr()
    assert "its source was sftp://acme@elsewhere:22/outbox/acme.bin, and the flow's is sftp://" in told.err
    assert lying(server, s3) == {name for name in OURS if "/" not in name}
    assert len(list(Path("fileflow-results/orphans").rglob("*.json"))) == 1
    Path("flows/acme.json").write_text(Path("flows/acme.json").read_text().replace('"acme"', '"beta"', 1))
    assert main(["clean", "--yes"]) == 1
    assert f"run {RUN_ID}: its flow acme is not among the flows here" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_a_file_that_the_server_keeps_is_named(s3, server, capsys):
    put(server, s3, *OURS[:1])
    killed()
    server.root.chmod(0o555)
    try:
        assert main(["clean", "--yes"]) == 1
    finally:
        server.root.chmod(0o755)
    assert f"acme_{RUN_ID}.bin: access.denied: " in capsys.readouterr().err
    assert lying(server, s3) == set(OURS[:1])


def tagged(s3, key: str, **tags: str) -> None:
    words = "&".join(f"{name}={value}" for name, value in tags.items())
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"hello", Tagging=words)


def test_by_its_tags_an_object_is_ours_once_no_run_can_wait_for_it(s3):
    tagged(s3, f"in/acme_{RUN_ID}.bin", synthetic="true", test_run_id=RUN_ID, flow_id="acme")
    tagged(s3, f"in/acme_{OTHER_ID}.bin", synthetic="true", test_run_id=RUN_ID)
    tagged(s3, f"in/a_{RUN_ID}.bin", synthetic="false", test_run_id=RUN_ID)
    tagged(s3, "in/acme.bin", synthetic="true", test_run_id=RUN_ID)
    tagged(s3, f"else/acme_{RUN_ID}.bin", synthetic="true", test_run_id=RUN_ID)
    flow = Flow("acme", S3Location(BUCKET, "in/"), S3Location(BUCKET, "in"))
    clients = AwsClients(boto3.Session())
    lasts = flow.give_up_seconds

    def found(after: float) -> list[str]:
        ends = Ends(clients, SshSessions(Secrets(clients).credentials))
        seen = look(Path("none"), {"acme": flow}, ends, older_than=3600, now=lambda: time.time() + after)
        assert seen.troubles == []
        return [leftover.name for leftover in seen.leftovers.values()]

    assert found(3600) == []
    assert found(3600 + lasts - 60) == []
    assert found(3600 + lasts + 60) == [f"acme_{RUN_ID}.bin"]


def test_a_run_id_that_is_none_finds_nothing(s3, server):
    put(server, s3, *FOREIGN)
    bad = dataclasses.replace(run(), run_id="a", written=(("source", "acme.bin"),))
    page = Ledger.of(Path("fileflow-results"), "session", "main")
    page.enter(Entry("flows/acme.json::acme[5MiB]", bad, {"run_id": "a"}))
    page.close()
    assert main(["clean", "--yes"]) == 0
    assert lying(server, s3) == set(FOREIGN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--older-than", "soon"], "'soon' is no span, as 7d, 24h or 2w"),
        (["nowhere"], "fileflow clean: file or directory not found: nowhere"),
    ],
)
def test_what_means_nothing_is_refused(s3, capsys, arguments, message):
    assert main(["clean", *arguments]) == 2
    assert message in capsys.readouterr().err
