"""Which S3 requests count as the arrival of a file, and what the notification says; in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from werkzeug.test import Client

from pytest_fileflow.sandbox.aws import TRANSFER_KEY_ID, Gateway, Tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from werkzeug.test import TestResponse

Arrivals = list[tuple[tuple[str, ...], str, dict[str, Any]]]


class Server:
    """The gateway, called without a socket, with everything that arrived."""

    def __init__(self) -> None:
        self.arrived: Arrivals = []
        gateway = Gateway(Tables(), "token", {})
        gateway.arrived = lambda *arrival: self.arrived.append(arrival)
        self._client = Client(gateway)
        self.send("PUT", "/box")

    def send(
        self, method: str, path: str, body: bytes = b"", key_id: str = "FILEFLOWSANDBOX", **headers: str
    ) -> TestResponse:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        scope = f"AWS4-HMAC-SHA256 Credential={key_id}/20261124/us-east-1/s3/aws4_request, Signature=0"
        return self._client.open(path, method=method, data=body, headers={"Authorization": scope, **named})

    @property
    def names(self) -> list[tuple[tuple[str, ...], str]]:
        return [(place, name) for place, name, _ in self.arrived]


@pytest.fixture
def server() -> Iterator[Server]:
    yield Server()
    from moto.s3.models import s3_backends

    s3_backends.reset()


def test_put_copy_and_completed_multipart_uploads_arrive(server: Server) -> None:
    server.send("PUT", "/box/in/a.csv", b"12345")
    server.send("PUT", "/box/in/b.csv?x-id=CopyObject", x_amz_copy_source="/box/in/a.csv")
    begun = server.send("POST", "/box/in/c.csv?uploads")
    upload = begun.text.partition("<UploadId>")[2].partition("<")[0]
    part = server.send("PUT", f"/box/in/c.csv?partNumber=1&uploadId={upload}", b"c")
    assert part.status_code == 200
    assert len(server.arrived) == 2, "a part is no file yet"
    tag = part.headers["ETag"]
    listed = f"<Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part>"
    whole = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    assert server.send("POST", f"/box/in/c.csv?uploadId={upload}", whole).status_code == 200
    folder = ("S3", "box", "in/")
    assert server.names == [(folder, "a.csv"), (folder, "b.csv"), (folder, "c.csv")]
    events = [event["Records"][0]["eventName"] for _, _, event in server.arrived]
    assert events == [f"ObjectCreated:{how}" for how in ("Put", "Copy", "CompleteMultipartUpload")]


def test_notification_has_s3s_own_form(server: Server) -> None:
    server.send("PUT", quote("/box/in/räk + 1.csv"), b"12345")
    ((_, name, event),) = server.arrived
    assert name == "räk + 1.csv"
    s3 = event["Records"][0]["s3"]
    assert (s3["bucket"]["name"], s3["bucket"]["arn"]) == ("box", "arn:aws:s3:::box")
    assert s3["object"]["key"] == "in/r%C3%A4k+%2B+1.csv"
    assert (s3["object"]["size"], s3["object"]["eTag"]) == (5, "827ccb0eea8a706c4c34a16891f84e7b")


def test_presigned_upload_arrives(server: Server) -> None:
    server.send("PUT", "/box/in/a.csv?X-Amz-Signature=0&X-Amz-Expires=60", b"1")
    assert server.names == [(("S3", "box", "in/"), "a.csv")]


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
@pytest.mark.parametrize(
    ("key_id", "code"),
    [("AKIANOBODYSKEY000000", "InvalidAccessKeyId"), ("", "AccessDenied")],
    ids=["stranger", "unsigned"],
)
def test_who_is_not_known_is_refused(server: Server, method: str, key_id: str, code: str) -> None:
    headers = {} if key_id else {"Authorization": ""}
    answer = server.send(method, "/box/in/a.csv", b"1", key_id, **headers)
    assert (answer.status_code, server.names) == (403, [])
    assert (f"<Code>{code}</Code>" in answer.text) == (method != "HEAD")


def test_a_presigned_url_is_as_good_as_its_key(server: Server) -> None:
    path = "/box/in/a.csv?X-Amz-Signature=0&X-Amz-Credential={}%2F20261124%2Fus-east-1%2Fs3%2Faws4_request"
    assert server.send("PUT", path.format("AKIANOBODY"), b"1", Authorization="").status_code == 403
    assert server.send("PUT", path.format("FILEFLOWSANDBOX"), b"1", Authorization="").status_code == 200


def test_keys_that_the_sandboxs_iam_has_handed_out_are_known(server: Server) -> None:
    from pytest_fileflow.sandbox.backends import backend

    iam = backend("iam")
    iam.create_user("us-east-1", "partner")
    key = iam.create_access_key("partner")
    assert server.send("PUT", "/box/in/a.csv", b"1", key.access_key_id).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/box/in/a.csv"),
        ("HEAD", "/box/in/a.csv"),
        ("DELETE", "/box/in/a.csv"),
        ("PUT", "/box/in/a.csv?tagging"),
        ("PUT", "/box/in/a.csv?acl"),
        ("PUT", "/box/"),
        ("PUT", "/nobodys-box/in/a.csv"),
        ("POST", "/box?delete"),
    ],
)
def test_nothing_else_does(server: Server, method: str, path: str) -> None:
    server.send("PUT", "/box/in/a.csv", b"1")
    del server.arrived[:]
    tagging = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    server.send(method, path, tagging if "tagging" in path else b"")
    assert server.arrived == []


def test_what_the_transfer_itself_writes_is_no_news(server: Server) -> None:
    assert server.send("PUT", "/box/in/a.csv", b"1", key_id=TRANSFER_KEY_ID).status_code == 200
    assert server.arrived == []
