"""The reference transfer moves files in all four directions, started in each way that a flow can be."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow.model import Flow, S3Location, SftpLocation, Transfer
from pytest_fileflow.sandbox import Sandbox
from tests.support.sandbox_tools import FUNCTION, Store, client, eventually, make_flow, sftp_client

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTIONS = [(source, target) for source in ("S3", "SFTP") for target in ("S3", "SFTP")]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start() as running:
        yield running


def invoke(sandbox: Sandbox, function: str, payload: object, kind: str = "RequestResponse") -> Any:
    answer = client(sandbox, "lambda").invoke(FunctionName=function, InvocationType=kind, Payload=json.dumps(payload))
    return {**answer, "Payload": answer["Payload"].read()}


def arrived_whole(sandbox: Sandbox, flow: Flow, name: str, body: bytes) -> None:
    target = Store(sandbox, flow.target)
    eventually(lambda: target.read(name) is not None)
    assert target.read(name) == body
    assert target.names() == [name, f"{name}.manifest.json", f"{name}.sha256"]
    assert Store(sandbox, flow.source).read(name) == body, "it copies: the source stays"


@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
@pytest.mark.parametrize("kind", ["Event", "RequestResponse"])
def test_invocation_moves_the_file(sandbox: Sandbox, source: str, target: str, kind: str) -> None:
    flow_id = f"{kind}_{source}_{target}".lower()
    payload = {"flowConfigId": flow_id, "file": "${file.name}"}
    flow = make_flow(flow_id, source, target, Transfer("invoke", FUNCTION, payload=payload))
    sandbox.provision([flow])
    body = os.urandom(300_001)
    Store(sandbox, flow.source).seed(flow_id, "data.bin", body)
    assert Store(sandbox, flow.target).names() == [], "nothing moves before the invocation"

    answer = invoke(sandbox, FUNCTION, {"flowConfigId": flow_id, "file": "data.bin"}, kind)

    assert answer["StatusCode"] == (202 if kind == "Event" else 200)
    if kind == "RequestResponse":
        moved = {"flow_id": flow_id, "file": "data.bin", "size": len(body)}
        assert json.loads(answer["Payload"]) == {"transferred": [moved]}
    arrived_whole(sandbox, flow, "data.bin", body)


@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
def test_a_file_that_is_not_there_fails_the_invocation(sandbox: Sandbox, source: str, target: str) -> None:
    flow_id = f"absent_{source}_{target}".lower()
    payload = {"flowConfigId": flow_id, "file": "${source.uri}"}
    flow = make_flow(flow_id, source, target, Transfer("invoke", FUNCTION, payload=payload))
    sandbox.provision([flow])
    Store(sandbox, flow.source).seed(flow_id, "there.bin", b"x")
    event = {"flowConfigId": flow_id, "file": flow.source.uri("absent.bin")}

    answer = invoke(sandbox, FUNCTION, event)

    assert answer["FunctionError"] == "Unhandled"
    assert "absent.bin to move" in json.loads(answer["Payload"])["errorMessage"]
    assert Store(sandbox, flow.target).names() == [], "only what was asked for is moved"


@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
def test_seeding_starts_an_event_flow(sandbox: Sandbox, source: str, target: str) -> None:
    flow_id = f"seeded_{source}_{target}".lower()
    flow = make_flow(flow_id, source, target, Transfer("event"))
    sandbox.provision([flow])
    body = os.urandom(70_000)

    Store(sandbox, flow.source).seed(flow_id, "räksmörgås + 1.csv", body)

    arrived_whole(sandbox, flow, "räksmörgås + 1.csv", body)


@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
def test_trigger_file_starts_the_transfer_of_its_file(sandbox: Sandbox, source: str, target: str) -> None:
    flow_id = f"trigger_{source}_{target}".lower()
    flow = make_flow(flow_id, source, target, Transfer("trigger_file", trigger_name="${file.name}.done"))
    sandbox.provision([flow])
    store = Store(sandbox, flow.source)
    store.seed(flow_id, "one.csv", b"one")
    store.seed(flow_id, "two.csv", b"two")
    store.put("two.csv.done", b"")

    arrived_whole(sandbox, flow, "two.csv", b"two")
    assert Store(sandbox, flow.target).read("one.csv") is None, "its trigger file is still missing"


def test_constant_trigger_name_sweeps_everything_that_waits(sandbox: Sandbox) -> None:
    flow = make_flow("sweep", "SFTP", "S3", Transfer("trigger_file", trigger_name="GO_${run_id}"))
    sandbox.provision([flow])
    store = Store(sandbox, flow.source)
    store.put("one.csv", b"one")
    store.put("two.csv", b"two")
    store.put("GO_17", b"")
    eventually(lambda: Store(sandbox, flow.target).names() == ["one.csv", "two.csv"])


def test_flows_that_share_everything_move_only_their_own_files(sandbox: Sandbox) -> None:
    source, function = S3Location("shared-bucket", "in"), "arn:aws:lambda:...:function:shared"
    flows = [
        Flow(f"share{i}", source, S3Location("shared-out", f"to{i}"), Transfer("invoke", function)) for i in range(3)
    ]
    sandbox.provision(flows)
    for index in (2, 0, 1):
        Store(sandbox, source).seed(f"share{index}", f"file{index}.bin", b"x" * (index + 1))

    moved = json.loads(invoke(sandbox, function, {})["Payload"])["transferred"]

    pairs = [(f"share{i}", f"file{i}.bin", i + 1) for i in range(3)]
    assert sorted((part["flow_id"], part["file"], part["size"]) for part in moved) == pairs
    for index, flow in enumerate(flows):
        name = f"file{index}.bin"
        assert Store(sandbox, flow.target).names() == [name, f"{name}.manifest.json", f"{name}.sha256"]
    assert json.loads(invoke(sandbox, function, {})["Payload"]) == {"transferred": []}, "each only once"


def test_files_that_were_there_before_the_flow_are_moved_too(sandbox: Sandbox) -> None:
    early = make_flow("early", "SFTP", "S3", Transfer("invoke", "early-function"))
    sandbox.provision([early])
    Store(sandbox, early.source).put("before.csv", b"before")
    late = Flow("late", early.source, S3Location("late-bucket"), Transfer("invoke", "late-function"))
    sandbox.provision([late])
    invoke(sandbox, "late-function", {})
    assert Store(sandbox, late.target).read("before.csv") == b"before"


def test_sidecars_hidden_and_partial_files_are_no_data(sandbox: Sandbox) -> None:
    flow = make_flow("no_data", "SFTP", "S3", Transfer("invoke", "no-data"))
    sandbox.provision([flow])
    for name in ("a.csv.sha256", "a.csv.manifest.json", ".hidden", "half.part"):
        with (
            sftp_client(sandbox, flow.source) as session,
            session.open(flow.source.path(name), "wb") as opened,
        ):
            opened.write(b"x")
    assert json.loads(invoke(sandbox, "no-data", {})["Payload"]) == {"transferred": []}
    assert Store(sandbox, flow.target).names() == []


def test_upload_without_rename_counts_when_it_is_closed(sandbox: Sandbox) -> None:
    flow = make_flow("direct", "SFTP", "SFTP", Transfer("event"))
    sandbox.provision([flow])
    target = Store(sandbox, flow.target)
    with sftp_client(sandbox, flow.source) as session:
        opened = session.open(flow.source.path("direct.csv"), "wb")
        opened.write(b"half")
        opened.flush()
        assert target.names() == []
        opened.write(b" and half")
        opened.close()
    assert eventually(lambda: target.read("direct.csv")) == b"half and half"


def test_kms_key_of_the_flow_encrypts_the_copy(sandbox: Sandbox) -> None:
    key = "arn:aws:kms:...:key/..."
    flow = Flow("kms", S3Location("kms-in"), S3Location("kms-out", "", key), Transfer("invoke", "kms"))
    sandbox.provision([flow])
    for name, size in (("small.bin", 10), ("parts.bin", 17 * 1024 * 1024)):
        Store(sandbox, flow.source).put(name, bytes(size))
    assert "FunctionError" not in invoke(sandbox, "kms", {})
    for name in ("small.bin", "parts.bin"):
        head = client(sandbox, "s3").head_object(Bucket="kms-out", Key=name)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)


def test_multipart_upload_and_copy_start_event_flows(sandbox: Sandbox) -> None:
    flow = make_flow("multi", "S3", "S3", Transfer("event"))
    sandbox.provision([flow])
    s3, source = client(sandbox, "s3"), flow.source
    assert isinstance(source, S3Location)
    created = s3.create_multipart_upload(Bucket=source.bucket, Key=source.key("multi.bin"))
    upload = {"Bucket": source.bucket, "Key": source.key("multi.bin"), "UploadId": created["UploadId"]}
    parts = []
    for number in (1, 2):
        part = s3.upload_part(**upload, PartNumber=number, Body=bytes([number]) * 5 * 1024 * 1024)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    copied = {"Bucket": source.bucket, "Key": source.key("multi.bin")}
    s3.copy_object(Bucket=source.bucket, Key=source.key("copy.bin"), CopySource=copied)
    target = Store(sandbox, flow.target)
    eventually(lambda: target.names() == ["copy.bin", "multi.bin"])
    assert target.read("multi.bin") == target.read("copy.bin") == b"\1" * 5242880 + b"\2" * 5242880


def test_sixty_files_at_once_each_arrive_once(sandbox: Sandbox) -> None:
    flow = make_flow("sixty", "SFTP", "SFTP", Transfer("event"))
    sandbox.provision([flow])
    assert isinstance(flow.source, SftpLocation)
    with sftp_client(sandbox, flow.source) as session:
        for index in range(60):
            with session.open(flow.source.path(f"{index:02}.bin"), "wb") as opened:
                opened.write(bytes([index]) * 1000)
    target = Store(sandbox, flow.target)
    eventually(lambda: len([name for name in target.names() if not name.startswith(".")]) == 60, 40)
    assert target.names() == [f"{index:02}.bin" for index in range(60)]


def test_failing_target_fails_the_invocation_and_leaves_the_file_waiting(sandbox: Sandbox) -> None:
    flow = make_flow("failing", "S3", "SFTP", Transfer("invoke", "failing"))
    sandbox.provision([flow])
    Store(sandbox, flow.source).put("a.csv", b"a")
    assert isinstance(flow.target, SftpLocation)
    with sftp_client(sandbox, flow.target) as session:
        session.rmdir(flow.target.dir)
    answer = invoke(sandbox, "failing", {})
    error = json.loads(answer["Payload"])
    assert (answer["FunctionError"], error["errorType"]) == ("Unhandled", "TransferError")
    assert "1 of 1 files were not moved: failing/a.csv" in error["errorMessage"]

    with sftp_client(sandbox, flow.target) as session:
        session.mkdir(flow.target.dir)
    assert "FunctionError" not in invoke(sandbox, "failing", {})
    assert Store(sandbox, flow.target).names() == ["a.csv"]


EVENTS = """
import json
import pytest

@pytest.fixture(scope="session", autouse=True)
def heard(fileflow_sandbox, aws_session):
    yield
    logs = aws_session.client("logs")
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    streams = sum(len(logs.describe_log_streams(logGroupName=name)["logStreams"]) for name in groups)
    with open("heard.json", "w") as file:
        json.dump({"groups": groups, "streams": streams}, file)
"""


@pytest.mark.parametrize("source", ["S3", "SFTP"])
def test_a_contract_starts_no_event_flow(suite, source: str) -> None:
    place = {
        "S3": {"type": "S3", "bucket": "landing", "prefix": "in/"},
        "SFTP": {"type": "SFTP", "host": "sftp.acme.example", "username": "acme", "dir": "/in", "secret_arn": "<ACME>"},
    }
    config = {
        "flow_id": "seeded",
        "source": place[source],
        "target": {"type": "S3", "bucket": "landed"},
        "validation": {"expect_within_seconds": 30},
        "testdata": {"size_bytes": 1024},
    }
    suite.pytester.makeconftest(EVENTS)
    suite.add("flows/seeded.json", config)
    suite.run_apart("flows", "--fileflow-sandbox", "-m", "contract").assert_outcomes(passed=1, deselected=1)
    (record,) = suite.records()
    rows = {check["name"]: check["observed"] for check in record["checks"]}
    assert "never appeared" in rows["source.writable"]
    assert json.loads((suite.path / "heard.json").read_text()) == {"groups": [], "streams": 0}
    suite.run_apart("flows", "--fileflow-sandbox").assert_outcomes(passed=2)
    assert json.loads((suite.path / "heard.json").read_text())["streams"] > 0, "the transfer itself is heard"
