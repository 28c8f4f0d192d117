"""The sandbox's faults, one by one and close up: what each end answers, and who is left alone."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import paramiko
import pytest
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError, ResponseStreamingError

from pytest_fileflow.errors import ConfigInvalid
from pytest_fileflow.model import Flow, S3Location, SftpLocation, TestData, Transfer, Validation, Variant
from pytest_fileflow.sandbox import Sandbox
from pytest_fileflow.sandbox.mischief import copy_name
from pytest_fileflow.sandbox.places import place_key_id, place_of
from tests.support.sandbox_tools import Store, client, eventually, sftp_client

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:shared"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start() as running:
        yield running


def s3(flow_id: str, side: str = "to") -> S3Location:
    return S3Location("shared-bucket", f"{flow_id}/{side}/", KEY)


def sftp(flow_id: str, side: str = "to") -> SftpLocation:
    return SftpLocation("sftp.acme.example", "acme", f"/{flow_id}/{side}", "<ACME>")


def flow(flow_id: str, *faults: str, end: Any = sftp, slo: float = 60, **more: Any) -> Flow:
    """Return a flow from S3 to an end, which shares server, bucket, user and function with all others."""
    transfer = Transfer("invoke", FUNCTION, "RequestResponse", {"flow": flow_id})
    return Flow(
        flow_id,
        S3Location("shared-bucket", f"{flow_id}/from/"),
        end(flow_id),
        **{"transfer": transfer, "validation": Validation(slo, 10), "faults": faults, **more},
    )


def invoke(sandbox: Sandbox, name: str, kind: str = "RequestResponse") -> Any:
    lambdas = client(sandbox, "lambda")
    answer = lambdas.invoke(FunctionName=FUNCTION, InvocationType=kind, Payload=json.dumps({"flow": name}))
    return {**answer, "Payload": json.loads(answer["Payload"].read() or b"null")}


def refused(call: Any, *arguments: Any, **named: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(*arguments, **named)
    told = caught.value.response
    return told["ResponseMetadata"]["HTTPStatusCode"], told["Error"]["Code"], told["Error"]["Message"]


# --- S3 ------------------------------------------------------------------------------------------


def test_a_bucket_is_missing_for_one_prefix_only(sandbox: Sandbox) -> None:
    sandbox.provision([flow("gone", "target.missing_bucket", end=s3), flow("there", end=s3)])
    calls = client(sandbox, "s3")
    where = {"Bucket": "shared-bucket", "Key": "gone/to/a.csv"}
    missing = (404, "NoSuchBucket", "The specified bucket does not exist")
    assert refused(calls.put_object, **where, Body=b"a") == missing
    assert refused(calls.get_object, **where) == missing
    assert refused(calls.list_objects_v2, Bucket="shared-bucket", Prefix="gone/to/") == missing
    assert refused(calls.head_object, **where)[0] == 404
    calls.put_object(Bucket="shared-bucket", Key="there/to/a.csv", Body=b"a")
    calls.head_bucket(Bucket="shared-bucket")


def test_the_caller_says_which_prefix_a_question_about_the_bucket_is_for(sandbox: Sandbox) -> None:
    import boto3

    sandbox.provision([flow("asked", "target.missing_bucket", end=s3), flow("other", end=s3)])

    def head_bucket(flow_id: str) -> None:
        session = boto3.Session(place_key_id(place_of(s3(flow_id))), "sandbox", region_name="us-east-1")
        session.client("s3", endpoint_url=sandbox.endpoint_url).head_bucket(Bucket="shared-bucket")

    head_bucket("other")
    assert refused(head_bucket, "asked")[0] == 404


def test_a_prefix_is_denied_as_aws_words_it(sandbox: Sandbox) -> None:
    sandbox.provision([flow("denied", "denied_prefix", end=s3), flow("allowed", end=s3)])
    calls = client(sandbox, "s3")
    where = {"Bucket": "shared-bucket", "Key": "denied/to/a&b.csv"}
    status, code, message = refused(calls.put_object, **where, Body=b"a")
    assert (status, code) == (403, "AccessDenied")
    assert message.endswith(
        'is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::shared-bucket/denied/to/a&b.csv" '
        "because no identity-based policy allows the s3:PutObject action"
    )
    assert "s3:GetObject" in refused(calls.get_object, **where)[2]
    assert "s3:ListBucket" in refused(calls.list_objects_v2, Bucket="shared-bucket", Prefix="denied/to/")[2]
    answer = calls.delete_objects(Bucket="shared-bucket", Delete={"Objects": [{"Key": where["Key"]}]})
    assert [(error["Key"], error["Code"]) for error in answer["Errors"]] == [(where["Key"], "AccessDenied")]
    calls.put_object(Bucket="shared-bucket", Key="allowed/to/a.csv", Body=b"a")
    assert "Contents" in calls.list_objects_v2(Bucket="shared-bucket", Prefix="allowed/to/")


def test_a_key_refuses_what_is_encrypted_with_it(sandbox: Sandbox) -> None:
    calls, where = client(sandbox, "s3"), {"Bucket": "shared-bucket", "Key": "kms/to/a.csv"}
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": KEY}
    sandbox.provision([flow("kms", end=s3)])
    calls.put_object(**where, Body=b"a", **encrypted)
    sandbox.provision([flow("kms", "denied_kms_key", end=s3)])
    assert f'kms:GenerateDataKey on resource: "{KEY}"' in refused(calls.put_object, **where, Body=b"a", **encrypted)[2]
    assert "kms:GenerateDataKey" in refused(calls.create_multipart_upload, **where, **encrypted)[2]
    assert f'kms:Decrypt on resource: "{KEY}"' in refused(calls.get_object, **where)[2]
    calls.head_object(**where)
    calls.put_object(Bucket="shared-bucket", Key="kms/to/plain.csv", Body=b"a")


def test_connections_to_s3_break_while_data_flows(sandbox: Sandbox) -> None:
    calls = client(sandbox, "s3")
    sandbox.provision([flow("cut", end=s3)])
    Store(sandbox, s3("cut")).put("a.bin", b"a" * 300_000)
    sandbox.provision([flow("cut", "connection_reset", end=s3)])
    with pytest.raises(HTTPClientError):
        calls.put_object(Bucket="shared-bucket", Key="cut/to/b.bin", Body=b"b" * 300_000)
    with pytest.raises((HTTPClientError, IncompleteReadError, ResponseStreamingError)):
        calls.get_object(Bucket="shared-bucket", Key="cut/to/a.bin")["Body"].read()
    assert Store(sandbox, s3("cut")).names() == ["a.bin"]


# --- SFTP ----------------------------------------------------------------------------------------


def route_of(sandbox: Sandbox, location: SftpLocation) -> tuple[str, int, str]:
    return sandbox.route(location.host, location.port, location.username, location.dir)


def transport_to(sandbox: Sandbox, location: SftpLocation) -> paramiko.Transport:
    address, port, _ = route_of(sandbox, location)
    transport = paramiko.Transport(socket.create_connection((address, port), 10))
    transport.start_client(timeout=10)
    return transport


def log_in(sandbox: Sandbox, location: SftpLocation, transport: paramiko.Transport) -> paramiko.SFTPClient:
    import io

    text = client(sandbox, "secretsmanager").get_secret_value(SecretId=location.secret_arn)["SecretString"]
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(json.loads(text)["privateKey"]))
    transport.auth_publickey(location.username, key)
    session = paramiko.SFTPClient.from_transport(transport)
    assert session is not None
    return session


@pytest.fixture
def session_with(sandbox: Sandbox) -> Iterator[Any]:
    """Provide a session at the target of a flow that has a fault."""
    opened = []

    def connect(flow_id: str, fault: str) -> tuple[paramiko.SFTPClient, str]:
        sandbox.provision([flow(flow_id, fault), flow("healthy")])
        opened.append(transport_to(sandbox, sftp(flow_id)))
        return log_in(sandbox, sftp(flow_id), opened[-1]), sftp(flow_id).dir

    yield connect
    for transport in opened:
        transport.close()


def test_a_key_is_refused_at_one_folder_only(sandbox: Sandbox) -> None:
    sandbox.provision([flow("locked", "rejected_key"), flow("open")])
    with transport_to(sandbox, sftp("locked")) as transport, pytest.raises(paramiko.AuthenticationException):
        log_in(sandbox, sftp("locked"), transport)
    with transport_to(sandbox, sftp("open")) as transport:
        log_in(sandbox, sftp("open"), transport)


def test_another_host_key_than_the_pinned_one_is_offered(sandbox: Sandbox) -> None:
    sandbox.provision([flow("moved", "changed_host_key"), flow("stayed")])
    for flow_id, is_same in (("moved", False), ("stayed", True)):
        pinned = route_of(sandbox, sftp(flow_id))[2]
        with transport_to(sandbox, sftp(flow_id)) as transport:
            assert (transport.get_remote_server_key().fingerprint == pinned) is is_same


def test_a_read_only_directory_can_be_read(sandbox: Sandbox, session_with: Any) -> None:
    session, folder = session_with("frozen", "read_only_directory")
    with sftp_client(sandbox, sftp("frozen")) as plain, plain.open(f"{folder}/a.csv", "wb") as opened:
        opened.write(b"a")
    assert session.listdir(folder) == ["a.csv"]
    assert session.open(f"{folder}/a.csv", "rb").read() == b"a"
    for change in (
        lambda: session.open(f"{folder}/b.csv", "wb"),
        lambda: session.remove(f"{folder}/a.csv"),
        lambda: session.posix_rename(f"{folder}/a.csv", f"{folder}/b.csv"),
        lambda: session.rename(f"{folder}/a.csv", "/b.csv"),
        lambda: session.mkdir(f"{folder}/sub"),
    ):
        with pytest.raises(PermissionError):
            change()
    session.open("/healthy/to/a.csv", "wb").close()


def test_a_missing_directory_is_missed_alone(session_with: Any) -> None:
    session, folder = session_with("lost", "missing_directory")
    for question in (session.stat, session.lstat, session.listdir, lambda path: session.open(f"{path}/a", "wb")):
        with pytest.raises(FileNotFoundError):
            question(folder)
    assert session.listdir("/healthy") == ["to"]


def test_a_full_disk_says_so(session_with: Any) -> None:
    session, folder = session_with("full", "disk_full")
    opened = session.open(f"{folder}/a.csv", "wb")
    with pytest.raises(OSError, match="No space left on device"):
        opened.write(b"a")


def test_connections_to_sftp_break_while_data_flows(session_with: Any) -> None:
    session, folder = session_with("torn", "connection_reset")
    assert session.listdir(folder) == []
    opened = session.open(f"{folder}/a.csv", "wb")
    with pytest.raises((OSError, EOFError, paramiko.SSHException)):
        opened.write(b"a" * 1000)
    assert not session.get_channel().get_transport().is_active()


def test_answers_come_late(session_with: Any) -> None:
    session, folder = session_with("slow", "slow_network:0.15")
    began = time.monotonic()
    session.listdir(folder)  # opendir, readdir, readdir, close
    assert 0.45 <= time.monotonic() - began < 10


# --- Switching -----------------------------------------------------------------------------------


def test_faults_go_off_with_the_next_word_about_the_flow(sandbox: Sandbox) -> None:
    sandbox.provision([flow("twice", "rejected_key", "throttle")])
    faulty = route_of(sandbox, sftp("twice"))
    with pytest.raises(ClientError, match="Rate Exceeded"):
        invoke(sandbox, "twice")
    sandbox.provision([flow("twice")])
    assert route_of(sandbox, sftp("twice")) != faulty
    Store(sandbox, flow("twice").source).put("a.csv", b"a")
    assert "FunctionError" not in invoke(sandbox, "twice")
    assert Store(sandbox, sftp("twice")).read("a.csv") == b"a"


def test_a_fault_that_a_flow_cannot_have_is_no_flow(sandbox: Sandbox) -> None:
    with pytest.raises(ConfigInvalid, match="odd: missing_bucket is a fault of S3 ends; the target of odd is no such"):
        sandbox.provision([flow("odd", "target.missing_bucket")])


def test_a_throttled_function_answers_as_aws_does(sandbox: Sandbox) -> None:
    sandbox.provision([flow("busy", "throttle"), flow("idle")])
    lambdas = client(sandbox, "lambda")
    for kind in ("RequestResponse", "Event"):
        status, code, _ = refused(invoke, sandbox, "busy", kind)
        assert (status, code) == (429, "TooManyRequestsException")
        assert "FunctionError" not in invoke(sandbox, "idle", kind)
    lambdas.invoke(FunctionName=FUNCTION, InvocationType="DryRun", Payload=json.dumps({"flow": "busy"}))


def test_a_function_fails_dies_and_hangs(sandbox: Sandbox) -> None:
    for fault, slo, kind, words in (
        ("function_error", 60, "FunctionFault", "told to let this function fail"),
        ("crash", 60, "Runtime.ExitError", "signal 9"),
        ("timeout", 2, "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
    ):
        sandbox.provision([flow(fault, fault, slo=slo)])
        Store(sandbox, flow(fault).source).put("a.csv", b"a")
        answer = invoke(sandbox, fault)
        assert (answer["FunctionError"], answer["Payload"]["errorType"]) == ("Unhandled", kind)
        assert words in answer["Payload"]["errorMessage"]


def test_writers_that_stall_keep_nobody_waiting_and_end_with_the_sandbox() -> None:
    with Sandbox.start() as own:
        stalled = [flow(f"stall{index}", "stalled_writer") for index in range(9)]  # more than there are places
        own.provision([*stalled, flow("lively")])
        for each in stalled:
            Store(own, each.source).put("a.csv", b"0123456789")
            invoke(own, each.flow_id, "Event")
        Store(own, flow("lively").source).put("b.csv", b"b")
        assert invoke(own, "lively")["Payload"]["transferred"][0]["file"] == "b.csv"
        for each in stalled:
            eventually(lambda each=each: Store(own, each.target).read("a.csv") == b"01234", 60)
        Store(own, flow("lively").source).put("c.csv", b"c")
        invoke(own, "lively", "Event")
        eventually(lambda: Store(own, sftp("lively")).read("c.csv") == b"c", 60)
        began = time.monotonic()
    assert time.monotonic() - began < 20


def test_a_slow_writer_grows_in_sight_over_sftp(sandbox: Sandbox) -> None:
    slow = flow("grower", "slow_writer:1")
    sandbox.provision([slow])
    Store(sandbox, slow.source).put("a.bin", b"x" * 1000)
    invoke(sandbox, "grower", "Event")
    target, seen = Store(sandbox, slow.target), set[int]()

    def is_whole() -> bool:
        seen.add(len(target.read("a.bin") or b""))
        return 1000 in seen

    eventually(is_whole)
    assert len(seen - {0, 1000}) >= 2


def test_what_cannot_be_damaged_fails_and_says_why(sandbox: Sandbox) -> None:
    sandbox.provision([flow("plain", "reencode"), flow("unknown", "stale")])
    for flow_id, why in (("plain", "all of the file is ASCII"), ("unknown", "no earlier run of 4 bytes")):
        Store(sandbox, flow(flow_id).source).put("a.csv", b"abc\n")
        assert why in invoke(sandbox, flow_id)["Payload"]["errorMessage"]
        assert Store(sandbox, sftp(flow_id)).names() == []


def test_damages_follow_one_another(sandbox: Sandbox) -> None:
    both = flow("both", "bit_flip:0", "bom", testdata=TestData((Variant("", 4),)))
    sandbox.provision([both])
    Store(sandbox, both.source).put("a.csv", b"abc\n")
    invoke(sandbox, "both")
    assert Store(sandbox, both.target).read("a.csv") == b"\xef\xbb\xbf\x60bc\n"


@pytest.mark.parametrize(("name", "copy"), [("a.csv", "a (1).csv"), ("a", "a (1)"), ("a.tar.gz", "a.tar (1).gz")])
def test_the_name_of_a_copy(name: str, copy: str) -> None:
    assert copy_name(name) == copy
