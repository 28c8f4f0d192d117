"""Clients for the sandbox's tests: plain boto3 and paramiko, and waiting with a deadline."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import time
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import boto3
import paramiko

from pytest_fileflow.model import Flow, S3Location, SftpLocation, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_fileflow.sandbox import Sandbox

FUNCTION = "arn:aws:lambda:us-west-2:<ACCOUNT_ID>:function:file-transfer"


def client(sandbox: Sandbox, service: str, region: str = "us-west-2") -> Any:
    return _client(sandbox, service, region)


@lru_cache(maxsize=64)
def _client(sandbox: Sandbox, service: str, region: str) -> Any:
    variables = sandbox.environment()
    session = boto3.Session(
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=region,
    )
    return session.client(service, endpoint_url=sandbox.endpoint_url)


def eventually(look: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return the first true answer; fails after a deadline."""
    deadline = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
        time.sleep(0.02)
    return answer


@contextmanager
def sftp_client(sandbox: Sandbox, location: SftpLocation) -> Iterator[paramiko.SFTPClient]:
    address, port, fingerprint = sandbox.route(location.host, location.port)
    secret = client(sandbox, "secretsmanager").get_secret_value(SecretId=location.secret_arn)
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(json.loads(secret["SecretString"])["privateKey"]))
    with socket.create_connection((address, port), 10) as sock, paramiko.Transport(sock) as transport:
        transport.start_client(timeout=10)
        assert transport.get_remote_server_key().fingerprint == fingerprint
        transport.auth_publickey(location.username, key)
        session = paramiko.SFTPClient.from_transport(transport)
        assert session is not None
        yield session


class Store:
    """One end of a flow, by hand."""

    def __init__(self, sandbox: Sandbox, location: S3Location | SftpLocation) -> None:
        self.sandbox, self.location = sandbox, location

    def put(self, name: str, body: bytes) -> None:
        if isinstance(self.location, S3Location):
            key = self.location.key(name)
            client(self.sandbox, "s3").put_object(Bucket=self.location.bucket, Key=key, Body=body)
            return
        with sftp_client(self.sandbox, self.location) as session:
            temporary = self.location.path(f".{name}.part")
            session.putfo(io.BytesIO(body), temporary)
            session.posix_rename(temporary, self.location.path(name))

    def read(self, name: str) -> bytes | None:
        if isinstance(self.location, S3Location):
            s3 = client(self.sandbox, "s3")
            try:
                answer = s3.get_object(Bucket=self.location.bucket, Key=self.location.key(name))
            except s3.exceptions.NoSuchKey:
                return None
            return answer["Body"].read()
        with sftp_client(self.sandbox, self.location) as session:
            try:
                with session.open(self.location.path(name), "rb") as opened:
                    opened.prefetch()
                    return opened.read()
            except FileNotFoundError:
                return None

    def names(self) -> list[str]:
        if isinstance(self.location, S3Location):
            prefix = self.location.key("")
            listed = client(self.sandbox, "s3").list_objects_v2(Bucket=self.location.bucket, Prefix=prefix)
            return sorted(item["Key"].removeprefix(prefix) for item in listed.get("Contents", []))
        with sftp_client(self.sandbox, self.location) as session:
            return sorted(session.listdir(self.location.dir))

    def seed(self, flow_id: str, name: str, body: bytes) -> None:
        """Write the sidecars, then the file."""
        digest = hashlib.sha256(body).hexdigest()
        self.put(f"{name}.sha256", f"{digest}\n".encode())
        self.put(f"{name}.manifest.json", json.dumps({"flow_id": flow_id, "sha256": digest}).encode())
        self.put(name, body)


def s3(flow_id: str, side: str) -> S3Location:
    return S3Location(f"bucket-{side}", f"partners/{flow_id}/")


def sftp(flow_id: str, side: str) -> SftpLocation:
    return SftpLocation(f"{side}.example.com", flow_id, f"/deep/{side}", f"<{flow_id.upper()}_{side}_SECRET>")


ENDS = {"S3": s3, "SFTP": sftp}


def make_flow(flow_id: str, source: str, target: str, transfer: Transfer) -> Flow:
    return Flow(flow_id, ENDS[source](flow_id, "source"), ENDS[target](flow_id, "target"), transfer)
