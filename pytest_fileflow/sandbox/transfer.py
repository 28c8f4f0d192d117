"""The reference transfer: a Lambda handler that copies what waits on its flows, S3 or SFTP at either end.

It stands in for the transfer under test. So it is a program of its own, which shares no code with
what seeds and judges: boto3, paramiko and the standard library, real requests at both ends, files
that appear whole, constant memory. It asks the sandbox, file by file, what there is to move.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import socket
import time
import urllib.request
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

import boto3
import paramiko
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator

SIDECARS = (".sha256", ".manifest.json")
SIDECAR_LIMIT = 1024 * 1024
"""Sidecars are read whole; a larger one is no sidecar."""

_REQUEST = 32 * 1024  # what every SFTP server must accept in one read (draft-ietf-secsh-filexfer-02, 3)
_WINDOW = 8 * 1024 * 1024
_TIMEOUT_SECONDS = 60.0
_MAX_CONNECTIONS = 8
_RESERVE_MILLISECONDS = 1000


class TransferError(Exception):
    """A file could not be moved; the text says which and why."""


_FAILURES = (TransferError, BotoCoreError, ClientError, paramiko.SSHException, OSError, EOFError)


class LambdaContext(Protocol):
    """What the handler uses of the context object that the runtime passes in."""

    aws_request_id: str
    invoked_function_arn: str

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the invocation may still take."""


def handler(event: object, context: LambdaContext) -> dict[str, object]:
    """Move every file that waits on the flows this event is about.

    Raises TransferError if any of them could not be moved, after trying all the others.
    """
    moved: list[dict[str, object]] = []
    failures: dict[str, str] = {}
    while (job := _next_job(event, context, list(failures))) is not None:
        label = f"{job['flow_id']}/{job['name']}"
        try:
            outcome, owner, size = _move(job)
        except _FAILURES as error:
            _forget_connections(job)
            failures[label] = f"{type(error).__name__}: {error}"
            print(f"failed {label}: {failures[label]}")  # noqa: T201 - a function's log is its output
            outcome, owner, size = "failed", None, 0
        _post("settle", {"claim_id": job["claim_id"], "outcome": outcome, "owner": owner})
        if outcome == "moved":
            moved.append({"flow_id": job["flow_id"], "file": job["name"], "size": size})
        if context.get_remaining_time_in_millis() < _RESERVE_MILLISECONDS:
            break
    if failures:
        told = "; ".join(f"{label}: {reason}" for label, reason in failures.items())
        raise TransferError(f"{len(failures)} of {len(failures) + len(moved)} files were not moved: {told}")
    return {"transferred": moved}


def _next_job(event: object, context: LambdaContext, failed: list[str]) -> dict[str, Any] | None:
    question = {
        "function": context.invoked_function_arn,
        "event": event,
        "request_id": context.aws_request_id,
        "skip": failed,
    }
    answer = _post("claim", question)
    if not answer["known"]:
        raise TransferError(f"no flow of {context.invoked_function_arn} is started by an event like this one")
    return cast("dict[str, Any] | None", answer["job"])


def _post(path: str, question: object) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{os.environ['AWS_ENDPOINT_URL']}/_fileflow/{path}",
        json.dumps(question).encode(),
        {"Content-Type": "application/json", "X-Fileflow-Token": os.environ["FILEFLOW_SANDBOX_TOKEN"]},
    )
    with _opener().open(request, timeout=_TIMEOUT_SECONDS) as response:
        return cast("dict[str, Any]", json.load(response))


@lru_cache(maxsize=1)
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _move(job: dict[str, Any]) -> tuple[str, str | None, int]:
    """Copy one file, its sidecars first; return the outcome, the flow in its manifest, and its size."""
    source, target, name = _end(job["source"]), _end(job["target"]), str(job["name"])
    sidecars = {side: body for side in SIDECARS if (body := _small(source, name + side)) is not None}
    owner = _flow_in(sidecars.get(".manifest.json"))
    if owner not in (None, job["flow_id"]):
        return "foreign", owner, 0
    opened = source.open(name)
    if opened is None:
        return "gone", owner, 0
    data, size = opened
    began = time.monotonic()
    with data:
        for side, content in sidecars.items():
            target.write(name + side, io.BytesIO(content), len(content))
        target.write(name, data, size)
    took = time.monotonic() - began
    print(f"moved {source.uri(name)} to {target.uri(name)}: {size} bytes in {took:.3f} s")  # noqa: T201
    return "moved", owner, size


def _small(source: _End, name: str) -> bytes | None:
    opened = source.open(name)
    if opened is None:
        return None
    body, size = opened
    with body:
        if size > SIDECAR_LIMIT:
            raise TransferError(f"{source.uri(name)} has {size} bytes, too many for a sidecar")
        return body.read()


def _flow_in(manifest: bytes | None) -> str | None:
    try:
        told = json.loads(manifest) if manifest is not None else None
    except ValueError:
        return None  # not ours to judge: it is copied like any other file
    flow_id = told.get("flow_id") if isinstance(told, dict) else None
    return flow_id if isinstance(flow_id, str) else None


class _End(Protocol):
    """One end of a transfer."""

    def open(self, name: str) -> tuple[BinaryIO, int] | None:
        """Return a file's stream and size, or None where there is none."""

    def write(self, name: str, body: BinaryIO, size: int) -> None:
        """Write a file that appears whole."""

    def uri(self, name: str) -> str:
        """Return what the log calls a file."""


def _end(place: dict[str, Any]) -> _End:
    return _S3End(place) if place["type"] == "S3" else _SftpEnd(place)


@lru_cache(maxsize=4)
def _client(service: str) -> Any:
    return boto3.client(service)  # type: ignore[call-overload] # the name is data here


class _S3End:
    """A bucket and prefix; encrypts with the flow's KMS key where it has one."""

    def __init__(self, place: dict[str, Any]) -> None:
        self._bucket, self._folder = place["bucket"], place["folder"]
        key = place.get("kms_key_arn")
        self._extra = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}

    def open(self, name: str) -> tuple[BinaryIO, int] | None:
        try:
            answer = _client("s3").get_object(Bucket=self._bucket, Key=self._folder + name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        return answer["Body"], answer["ContentLength"]

    def write(self, name: str, body: BinaryIO, size: int) -> None:
        # Parts are held in memory, so few at a time; S3 takes at most 10,000 of them.
        part = max(16 * 1024 * 1024, -(-size // 9000))
        limits = TransferConfig(multipart_threshold=part, multipart_chunksize=part, max_concurrency=2)
        limits.max_in_memory_upload_chunks = 3
        _client("s3").upload_fileobj(
            body, self._bucket, self._folder + name, ExtraArgs=dict(self._extra), Config=limits
        )

    def uri(self, name: str) -> str:
        return f"s3://{self._bucket}/{self._folder}{name}"


_CONNECTIONS: dict[tuple[str, int, str], paramiko.SFTPClient] = {}


class _SftpEnd:
    """A directory on an SFTP server; uploads go to a hidden name first and are then renamed."""

    def __init__(self, place: dict[str, Any]) -> None:
        self._place = place
        self._client = _connection(place)

    def open(self, name: str) -> tuple[BinaryIO, int] | None:
        try:
            opened = self._client.open(self._path(name), "rb")
        except FileNotFoundError:
            return None
        size = opened.stat().st_size or 0
        return cast("BinaryIO", io.BufferedReader(_SftpBody(opened, size), _REQUEST)), size

    def write(self, name: str, body: BinaryIO, size: int) -> None:
        temporary = self._path(f".{secrets.token_hex(8)}.part")
        try:
            self._client.putfo(body, temporary, size, confirm=False)
            self._check_size(temporary, size)
            self._client.posix_rename(temporary, self._path(name))
        except BaseException:
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                self._client.remove(temporary)
            raise

    def uri(self, name: str) -> str:
        place = self._place
        return f"sftp://{place['username']}@{place['host']}:{place['port']}{self._path(name)}"

    def _check_size(self, path: str, size: int) -> None:
        written = self._client.stat(path).st_size
        if written != size:
            raise TransferError(f"{path} has {written} of {size} bytes after the upload")

    def _path(self, name: str) -> str:
        return f"{self._place['dir'].rstrip('/')}/{name}"


class _SftpBody(io.RawIOBase):
    """Reads a remote file in windows of many requests in flight, so that memory stays flat."""

    def __init__(self, opened: paramiko.SFTPFile, size: int) -> None:
        self._opened = opened
        self._blocks = self._read_all(size)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._opened.close()
        super().close()

    def _read_all(self, size: int) -> Iterator[bytes]:
        for start in range(0, size, _WINDOW):
            end = min(start + _WINDOW, size)
            wanted = [(offset, min(_REQUEST, end - offset)) for offset in range(start, end, _REQUEST)]
            for (offset, length), block in zip(wanted, self._opened.readv(wanted), strict=True):
                if len(block) != length:
                    raise TransferError(f"the file ended at byte {offset + len(block)} of {size} while it was read")
                yield block


def _connection(place: dict[str, Any]) -> paramiko.SFTPClient:
    """Return an open session; those of the last few servers are kept between invocations."""
    key = (str(place["address"][0]), int(place["address"][1]), str(place["username"]))
    client = _CONNECTIONS.pop(key, None)
    channel = client.get_channel() if client else None
    if client is None or channel is None or channel.closed or not channel.get_transport().is_active():
        client = _connect(place)
    _CONNECTIONS[key] = client
    while len(_CONNECTIONS) > _MAX_CONNECTIONS:
        _close(_CONNECTIONS.pop(next(iter(_CONNECTIONS))))
    return client


def _forget_connections(job: dict[str, Any]) -> None:
    for place in (job["source"], job["target"]):
        if place["type"] == "SFTP":
            key = (str(place["address"][0]), int(place["address"][1]), str(place["username"]))
            client = _CONNECTIONS.pop(key, None)
            if client is not None:
                _close(client)


def _close(client: paramiko.SFTPClient) -> None:
    channel = client.get_channel()
    client.close()
    if channel is not None:
        channel.get_transport().close()


def _connect(place: dict[str, Any]) -> paramiko.SFTPClient:
    sock = socket.create_connection(tuple(place["address"]), _TIMEOUT_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(sock, default_window_size=64 * 1024 * 1024)
    transport.local_version = "SSH-2.0-fileflow_transfer"
    options = transport.get_security_options()
    options.ciphers = sorted(options.ciphers, key=lambda name: "gcm" not in name)  # twice as fast as CTR and a MAC
    transport.banner_timeout = transport.auth_timeout = transport.channel_timeout = _TIMEOUT_SECONDS
    try:
        transport.start_client(timeout=_TIMEOUT_SECONDS)
        _check_host_key(transport, place)
        _log_in(transport, place)
        client = paramiko.SFTPClient.from_transport(transport)
    except BaseException:
        transport.close()
        raise
    if client is None:
        raise TransferError(f"{place['host']} opened no SFTP session")
    client.get_channel().settimeout(_TIMEOUT_SECONDS)  # type: ignore[union-attr] # it is open
    return client


def _check_host_key(transport: paramiko.Transport, place: dict[str, Any]) -> None:
    offered = transport.get_remote_server_key().fingerprint
    if offered != place["fingerprint"]:
        raise TransferError(f"{place['host']} offered the host key {offered}, not {place['fingerprint']}")


def _log_in(transport: paramiko.Transport, place: dict[str, Any]) -> None:
    answer = _client("secretsmanager").get_secret_value(SecretId=place["secret_arn"])
    secret = json.loads(answer["SecretString"])
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(secret["privateKey"]))
    transport.auth_publickey(place["username"], key)
