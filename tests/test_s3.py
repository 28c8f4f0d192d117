"""S3 over HTTP: what is kept with an object, what is denied, and answers that break off."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pytest_fileflow.clients import AwsClients
from pytest_fileflow.endpoints import s3
from pytest_fileflow.endpoints.s3 import S3Endpoint
from pytest_fileflow.errors import (
    AccessDenied,
    ConnectionLost,
    ConnectionRefused,
    CredentialsUnusable,
    Interrupted,
    KmsDenied,
    LocationMissing,
    NetworkTimeout,
    StorageFailed,
    TesterBug,
)
from pytest_fileflow.model import S3Location
from tests.support.answers import Answer, AnswerServer, Request
from tests.support.proxy import TcpProxy
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as running:
        yield running


@pytest.fixture
def server(moto, monkeypatch) -> MotoServer:
    return moto.fresh(monkeypatch)


@pytest.fixture
def client(server) -> Any:
    made = AwsClients(server.session()).client("s3")
    made.create_bucket(Bucket="bucket")
    return made


def put(endpoint: S3Endpoint, name: str, content: bytes, **tags: str) -> None:
    endpoint.put(name, io.BytesIO(content), len(content), tags)


def read(endpoint: S3Endpoint, name: str) -> bytes | None:
    with endpoint.open(name) as chunks:
        return None if chunks is None else b"".join(chunks)


# --- what is kept -----------------------------------------------------------------------------------


def test_tags_and_metadata_are_shown(client):
    endpoint = S3Endpoint(S3Location("bucket", "in"), client)
    put(endpoint, "a", b"abc", flow_id="acme + co/1")
    assert endpoint.tags("a") == {"flow_id": "acme + co/1"}
    assert endpoint.tags("b") == endpoint.metadata("b") == {}
    client.put_object(Bucket="bucket", Key="in/a", ContentType="text/csv", Metadata={"Origin": "acme"})
    assert endpoint.tags("a") == {}
    assert endpoint.metadata("a") == {"content-type": "text/csv", "origin": "acme"}


def test_tags_are_kept(client):
    put(S3Endpoint(S3Location("bucket", "in"), client), "a", b"abc", flow_id="acme + co/1", test_run_id="r=1")
    kept = client.get_object_tagging(Bucket="bucket", Key="in/a")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in kept} == {"flow_id": "acme + co/1", "test_run_id": "r=1"}


def test_the_kms_key_is_used_and_told(client):
    arn = "arn:aws:kms:us-east-1:123456789012:key/0af3c1f0-0000-4000-8000-000000000000"
    endpoint = S3Endpoint(S3Location("bucket", "in", kms_key_arn=arn), client)
    put(endpoint, "a", b"abc")
    stat = endpoint.stat("a")
    assert (stat.encryption, stat.kms_key_id) == ("aws:kms", arn)
    put(S3Endpoint(S3Location("bucket", "in"), client), "b", b"abc")
    assert endpoint.stat("b").kms_key_id is None


def test_a_large_object_goes_in_parts(client, monkeypatch):
    monkeypatch.setattr(s3, "MULTIPART_THRESHOLD_BYTES", 6 * MIB)
    monkeypatch.setattr(s3, "PART_BYTES", 5 * MIB)
    endpoint = S3Endpoint(S3Location("bucket", "in"), client)
    content = bytes(range(256)) * (11 * MIB // 256)
    put(endpoint, "a", content, flow_id="acme")
    assert endpoint.stat("a").version.endswith('-3"')
    assert read(endpoint, "a") == content
    assert client.get_object_tagging(Bucket="bucket", Key="in/a")["TagSet"]


def test_an_upload_that_fails_leaves_no_parts(client, monkeypatch):
    monkeypatch.setattr(s3, "MULTIPART_THRESHOLD_BYTES", 6 * MIB)
    monkeypatch.setattr(s3, "PART_BYTES", 5 * MIB)

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= 5 * MIB:
                raise ZeroDivisionError
            return super().read(size)

    endpoint = S3Endpoint(S3Location("bucket", "in"), client)
    with pytest.raises(ZeroDivisionError):
        endpoint.put("a", Failing(bytes(11 * MIB)), 11 * MIB, {})
    assert endpoint.stat("a") is None
    assert client.list_multipart_uploads(Bucket="bucket").get("Uploads", []) == []


@pytest.mark.parametrize(("prefix", "key"), [("", "a"), ("in", "in/a"), ("in/", "in/a"), ("in/sub/", "in/sub/a")])
def test_a_prefix_is_a_folder_with_or_without_its_slash(client, prefix, key):
    endpoint = S3Endpoint(S3Location("bucket", prefix), client)
    put(endpoint, "a", b"abc")
    assert [entry["Key"] for entry in client.list_objects_v2(Bucket="bucket")["Contents"]] == [key]
    assert [stat.name for stat in endpoint.list()] == ["a"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 10])
def test_a_list_spans_pages_and_leaves_the_folder_marker_out(client, monkeypatch, limit):
    monkeypatch.setattr(s3, "PAGE", 2)
    client.put_object(Bucket="bucket", Key="in/", Body=b"")
    client.put_object(Bucket="bucket", Key="in/sub/x", Body=b"")
    client.put_object(Bucket="bucket", Key="in2/x", Body=b"")
    endpoint = S3Endpoint(S3Location("bucket", "in"), client)
    for number in range(5):
        put(endpoint, f"f{number}", b"")
    assert [stat.name for stat in endpoint.list(limit=limit)] == [f"f{number}" for number in range(min(5, limit))]


def test_the_bucket_is_checked_once(client):
    asked = []
    client.meta.events.register("before-call.s3.HeadBucket", lambda **_: asked.append(1))
    endpoint = S3Endpoint(S3Location("bucket", "in"), client)
    for _ in range(3):
        assert endpoint.stat("absent") is None
    assert len(asked) == 1


# --- what is denied -----------------------------------------------------------------------------------


def weak_client(server: MotoServer, *actions: str) -> Any:
    """Return a client of a user who may do these actions only."""
    return AwsClients(server.weak_session(*actions)).client("s3")


@pytest.mark.parametrize(
    ("action", "ask"),
    [
        ("s3:PutObject", lambda endpoint: put(endpoint, "a", b"abc")),
        ("s3:GetObject", lambda endpoint: endpoint.stat("a")),
        ("s3:GetObject", lambda endpoint: read(endpoint, "a")),
        ("s3:GetObject", lambda endpoint: endpoint.metadata("a")),
        ("s3:GetObjectTagging", lambda endpoint: endpoint.tags("a")),
        ("s3:ListBucket", lambda endpoint: endpoint.list()),
        ("s3:DeleteObject", lambda endpoint: endpoint.delete("a")),
        ("s3:PutObject", lambda endpoint: endpoint.prove_writing("a", {})),
    ],
    ids=["put", "stat", "open", "metadata", "tags", "list", "delete", "prove"],
)
def test_a_missing_permission_is_named(server, client, action, ask):
    put(S3Endpoint(S3Location("bucket", "in"), client), "a", b"abc")
    endpoint = S3Endpoint(S3Location("bucket", "in"), weak_client(server))
    with pytest.raises(AccessDenied, match=f"{action} on s3://bucket/in/") as caught:
        ask(endpoint)
    if action == "s3:GetObject":
        assert "without s3:ListBucket, S3 answers 403 for a key that does not exist" in caught.value.hint


def test_keys_that_aws_does_not_know_show_even_in_a_head(server, client):
    server.enforce_permissions()
    with pytest.raises(CredentialsUnusable, match="InvalidAccessKeyId"):
        S3Endpoint(S3Location("bucket", "in"), client).stat("a")


# --- answers that moto never gives ----------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch) -> Iterator[Callable[[Callable[[Request], Answer]], tuple[S3Endpoint, AnswerServer]]]:
    """Return an endpoint before a server that answers as the test says."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setattr("time.sleep", lambda _: None)  # botocore's pauses between its tries
    running: list[AnswerServer] = []

    def make(answer: Callable[[Request], Answer]) -> tuple[S3Endpoint, AnswerServer]:
        server = AnswerServer(answer).__enter__()
        running.append(server)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        session = boto3.Session("AKIA0000", "x", region_name="us-east-1")
        client = AwsClients(session, read_timeouts={"s3": 1}).client("s3")
        return S3Endpoint(S3Location("bucket", "in"), client), server

    yield make
    for server in running:
        server.__exit__(None, None, None)


def error(status: int, code: str, message: str = "said so") -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())


def test_expired_credentials_show_even_in_a_head(told):
    endpoint, server = told(
        lambda request: Answer(400) if request.method == "HEAD" else error(400, "ExpiredToken", "It expired.")
    )
    with pytest.raises(CredentialsUnusable, match="ExpiredToken: It expired"):
        endpoint.stat("a")
    assert [request.method for request in server.requests[-2:]] == ["HEAD", "GET"]


def test_a_head_of_a_bucket_that_may_not_be_seen_says_nothing_about_it(told):
    endpoint, _ = told(lambda request: Answer(404 if request.path.endswith("/a") else 403))
    assert endpoint.stat("a") is None


def test_a_head_in_a_bucket_that_is_gone(told):
    endpoint, _ = told(lambda request: Answer(404))
    with pytest.raises(LocationMissing, match="there is no bucket bucket"):
        endpoint.stat("a")


@pytest.mark.parametrize(
    ("answer", "expected", "reason"),
    [
        (error(403, "AccessDenied", "not authorized to perform: kms:Decrypt"), KmsDenied, "kms:Decrypt"),
        (error(400, "KMS.DisabledException", "key is disabled"), KmsDenied, "key is disabled"),
        (error(403, "InvalidObjectState", "in Glacier"), StorageFailed, "InvalidObjectState: in Glacier"),
        (error(503, "SlowDown", "Reduce your rate"), StorageFailed, "failed after 4 tries: SlowDown"),
        (error(500, "InternalError", "Oops"), StorageFailed, "failed after 4 tries: InternalError"),
    ],
)
def test_refusals_of_a_read(told, answer, expected, reason):
    endpoint, _ = told(lambda request: answer)
    with pytest.raises(expected, match=reason):
        read(endpoint, "a")


def test_an_object_that_breaks_off_is_not_taken_for_whole(told):
    endpoint, _ = told(lambda request: Answer(200, bytes(3 * MIB), length=5 * MIB))
    received: list[bytes] = []
    with (
        endpoint.open("a") as chunks,
        pytest.raises(ConnectionLost, match="during s3:GetObject on s3://bucket/in/a"),
    ):
        received.extend(chunks)
    assert len(b"".join(received)) <= 3 * MIB


def test_an_object_whose_rest_never_comes(told):
    held = threading.Event()

    def answer(request: Request) -> Answer:
        return Answer(200, b"", hold=held)

    endpoint, _ = told(answer)
    with pytest.raises(NetworkTimeout, match="did not answer in time"):
        read(endpoint, "a")
    held.set()


def test_a_connection_that_is_reset_in_the_middle(server, client, monkeypatch):
    put(S3Endpoint(S3Location("bucket", "in"), client), "a", bytes(20 * MIB))
    with TcpProxy("127.0.0.1", server.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        endpoint = S3Endpoint(S3Location("bucket", "in"), AwsClients(server.session()).client("s3"))
        proxy.reset_after = 5 * MIB
        with pytest.raises(ConnectionLost, match="broke during s3:GetObject"):
            read(endpoint, "a")


def test_a_server_that_stops_in_the_middle_is_not_waited_for(server, client, monkeypatch):
    put(S3Endpoint(S3Location("bucket", "in"), client), "a", bytes(20 * MIB))
    with TcpProxy("127.0.0.1", server.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        quick = AwsClients(server.session(), read_timeouts={"s3": 0.5}).client("s3")
        endpoint = S3Endpoint(S3Location("bucket", "in"), quick)
        proxy.stall_after = 5 * MIB
        with pytest.raises(NetworkTimeout, match="during s3:GetObject"):
            read(endpoint, "a")


def test_nobody_listens(server, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(ConnectionRefused, match="refuses connections during s3:GetObject"):
        S3Endpoint(S3Location("bucket"), AwsClients(server.session()).client("s3")).stat("a")


# --- how bytes are sent ----------------------------------------------------------------------------------


def standing_at(offset: int, content: bytes) -> io.BytesIO:
    stream = io.BytesIO(bytes(offset) + content)
    stream.seek(offset)
    return stream


@pytest.mark.parametrize("size", [0, 10, 2 * MIB])
def test_a_put_that_is_tried_again_sends_the_same_bytes(told, size):
    content = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    endpoint, server = told(lambda request: error(503, "SlowDown") if len(server.requests) < 3 else Answer())
    body = standing_at(7, content)
    endpoint.put("a", body, size, {})
    assert [request.body == content for request in server.requests] == [True, True, True]
    assert not body.closed


@pytest.mark.parametrize("passes", [0.5, 1.5, 2.5], ids=["checksum", "signature", "sending"])
def test_a_stream_that_fails_is_not_taken_for_a_broken_connection(told, passes):
    size = 4 * MIB

    class Failing(io.BytesIO):
        given = 0
        failures = 0

        def read(self, length: int | None = -1) -> bytes:
            if self.given > passes * size:
                self.failures += 1
                raise Interrupted("the session ended")
            data = super().read(length)
            self.given += len(data)
            return data

    endpoint, _ = told(lambda request: Answer())
    body = Failing(bytes(size))
    with pytest.raises(Interrupted, match="the session ended"):
        endpoint.put("a", body, size, {})
    assert body.failures == 1


@pytest.mark.parametrize("size", [10, 2 * MIB])
def test_a_stream_of_another_length_is_the_testers_fault(told, size):
    endpoint, server = told(lambda request: Answer())
    with pytest.raises(TesterBug, match=f"holds {size} bytes, not {size + 1}"):
        endpoint.put("a", io.BytesIO(bytes(size)), size + 1, {})
    assert server.requests == []


def test_no_checksum_is_asked_for_beside_our_own(told):
    endpoint, server = told(lambda request: Answer(200, b"abc"))
    assert read(endpoint, "a") == b"abc"
    assert not any("checksum" in name.lower() for name in server.requests[0].headers)


# --- how much memory it takes ---------------------------------------------------------------------------

_PEAK = """
import io, sys
import boto3
from pytest_fileflow.clients import AwsClients
from pytest_fileflow.endpoints.s3 import S3Endpoint
from pytest_fileflow.model import S3Location

class Zeros(io.RawIOBase):
    def __init__(self, size): self.size, self.here = size, 0
    def readable(self): return True
    def seekable(self): return True
    def tell(self): return self.here
    def seek(self, offset, whence=0):
        self.here = offset + {0: 0, 1: self.here, 2: self.size}[whence]
        return self.here
    def read(self, size=-1):
        size = self.size - self.here if size is None or size < 0 else min(size, self.size - self.here)
        self.here += size
        return bytes(size)

size = int(sys.argv[1])
endpoint = S3Endpoint(S3Location("bucket"), AwsClients(boto3.Session()).client("s3"))
endpoint.put("a", Zeros(size), size, {})
with endpoint.open("a") as chunks:
    assert sum(map(len, chunks)) == size
# Not ru_maxrss: it starts with what the parent had when it forked.
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("size", [120 * MIB, 200 * MIB], ids=["one piece", "parts"])
def test_memory_does_not_grow_with_the_object(server, client, size):
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(size)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150  # MiB, of which boto3 itself takes about 50


def test_objects_are_removed_with_one_request_and_what_stays_is_named(told):
    refused = (
        b"<DeleteResult><Error><Key>in/b</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>"
    )
    endpoint, server = told(lambda request: Answer(200, refused))
    errors = endpoint.delete_all(["a", "b"])
    assert [type(error) for error in errors.values()] == [AccessDenied]
    assert "s3:DeleteObject on s3://bucket/in/b was denied" in errors["b"].reason
    assert [(request.method, request.path) for request in server.requests] == [("POST", "/bucket?delete")]


def test_what_a_store_says_is_absent_is_removed(told):
    absent = b"<DeleteResult><Error><Key>in/a</Key><Code>NoSuchKey</Code></Error></DeleteResult>"
    endpoint, _ = told(lambda request: Answer(200, absent))
    assert endpoint.delete_all(["a", "b"]) == {}


def test_a_store_that_does_not_say_which_stays_is_asked_for_each(told):
    refused = b"<DeleteResult><Error><Code>InternalError</Code><Message>no</Message></Error></DeleteResult>"
    endpoint, server = told(lambda request: Answer(200, refused) if request.method == "POST" else Answer(204))
    assert endpoint.delete_all(["a", "b"]) == {}
    assert [request.method for request in server.requests] == ["POST", "DELETE", "DELETE"]


def test_a_store_that_cannot_remove_several_at_once_is_asked_for_each(told):
    def answer(request: Request) -> Answer:
        return error(501, "NotImplemented") if request.method == "POST" else Answer(204)

    endpoint, server = told(answer)
    assert endpoint.delete_all(["a", "b"]) == {}
    removed = [request.path for request in server.requests if request.method == "DELETE"]
    assert removed == ["/bucket/in/a", "/bucket/in/b"]


# --- proving that writing is allowed ---------------------------------------------------------------


def test_a_proof_leaves_no_upload_behind(client):
    S3Endpoint(S3Location("bucket", "in"), client).prove_writing("probe", {"flow_id": "acme"})
    assert "Uploads" not in client.list_multipart_uploads(Bucket="bucket")
    assert "Contents" not in client.list_objects_v2(Bucket="bucket")


def takes_parts(request: Request) -> Answer:
    if request.method == "POST":
        begun = "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
        return Answer(200, begun.encode())
    return Answer(204 if request.method == "DELETE" else 200, headers={"ETag": '"e"'})


def test_a_proof_asks_for_all_that_an_object_is_written_with(told):
    endpoint, server = told(takes_parts)
    key = "arn:aws:kms:us-east-1:123456789012:key/k"
    S3Endpoint(S3Location("bucket", "in", key), endpoint._client).prove_writing("probe", {"flow_id": "acme"})
    begun, part, withdrawn = server.requests
    sent = {name.lower(): value for name, value in begun.headers.items()}
    assert sent["x-amz-server-side-encryption-aws-kms-key-id"] == key
    assert sent["x-amz-tagging"] == "flow_id=acme"
    assert (part.method, "partNumber=1" in part.path) == ("PUT", True)
    assert (withdrawn.method, "uploadId=u1" in withdrawn.path) == ("DELETE", True)


@pytest.mark.parametrize("refused", [("POST",), ("PUT",), ("PUT", "DELETE")])
def test_a_proof_that_is_refused_is_withdrawn(told, refused):
    answer = error(403, "AccessDenied", "not authorized to perform: kms:GenerateDataKey")
    endpoint, server = told(lambda request: answer if request.method in refused else takes_parts(request))
    with pytest.raises(KmsDenied, match="s3:PutObject") as caught:
        endpoint.prove_writing("probe", {})
    asked = [request.method for request in server.requests]
    assert asked == (["POST"] if "POST" in refused else ["POST", "PUT", "DELETE"])
    assert ("stays open" in str(caught.value.evidence.get("upload"))) == ("DELETE" in refused)


def test_a_proof_that_cannot_be_withdrawn_is_a_proof_all_the_same(told):
    denied = error(403, "AccessDenied", "no s3:AbortMultipartUpload for you")
    endpoint, _ = told(lambda request: denied if request.method == "DELETE" else takes_parts(request))
    assert "could not be aborted and stays open" in endpoint.prove_writing("probe", {})
