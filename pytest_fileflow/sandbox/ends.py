"""The ends that the reference transfer reads from and writes to: S3 prefixes and SFTP directories."""

from __future__ import annotations

import contextlib
import io
import json
import secrets
import socket
import sys
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, Protocol, cast
from urllib.parse import urlencode

import boto3
import paramiko
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from pytest_fileflow.sandbox.damage import Pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_SECONDS = 60.0
_REQUEST = 32 * 1024  # what every SFTP server must accept in one read (draft-ietf-secsh-filexfer-02, 3)
_WINDOW = 8 * 1024 * 1024
_PART = 5 * 1024 * 1024  # S3's smallest, but for the last
_STEPS = 10  # in which a slow writer's file grows
_MAX_CONNECTIONS = 8
_HEADERS = ("content-type", "content-encoding", "content-disposition", "content-language", "cache-control")


class TransferError(Exception):
    """A file could not be moved; the text says which and why."""


FAILURES = (TransferError, BotoCoreError, ClientError, paramiko.SSHException, OSError, EOFError)


def wait_for_ever() -> NoReturn:
    """Hang until this process is ended from outside."""
    while True:
        time.sleep(3600)


class End(Protocol):
    """One end of a transfer."""

    def open(self, name: str) -> tuple[BinaryIO, int] | None:
        """Return a file's stream and size, or None where there is none."""

    def write(self, name: str, body: BinaryIO, size: int | None) -> None:
        """Write a file that appears whole; its size is None where only the end of the stream tells."""

    def grow(self, name: str, body: BinaryIO, size: int, seconds: float | None) -> None:
        """Write a file over a time, in sight where that is possible; without a time, stop in its middle for ever."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def elsewhere(self, folder: str) -> End:
        """Return a folder beside this one, made where it must be."""

    def uri(self, name: str) -> str:
        """Return what the log calls a file."""


def end_of(place: dict[str, Any]) -> End:
    """Return the end that a job names."""
    return _S3End(place) if place["type"] == "S3" else _SftpEnd(place)


@lru_cache(maxsize=4)
def _client(service: str) -> Any:
    return boto3.client(service)  # type: ignore[call-overload] # the name is data here


class _S3End:
    """A bucket and prefix; encrypts with the flow's KMS key where it has one, and adds its tags and metadata."""

    def __init__(self, place: dict[str, Any]) -> None:
        self._place = place
        self._bucket, self._folder = place["bucket"], place["folder"]
        key = place.get("kms_key_arn")
        self._extra: dict[str, Any] = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}
        if place.get("tags"):
            self._extra["Tagging"] = urlencode(place["tags"])
        self._extra |= _stored_with(place.get("metadata") or {})

    def open(self, name: str) -> tuple[BinaryIO, int] | None:
        try:
            answer = _client("s3").get_object(Bucket=self._bucket, Key=self._folder + name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        return answer["Body"], answer["ContentLength"]

    def write(self, name: str, body: BinaryIO, size: int | None) -> None:
        # Parts are held in memory, so few at a time; S3 takes at most 10,000 of them.
        part = max(16 * 1024 * 1024, -(-(size or 0) // 9000))
        limits = TransferConfig(multipart_threshold=part, multipart_chunksize=part, max_concurrency=2)
        limits.max_in_memory_upload_chunks = 3
        _client("s3").upload_fileobj(
            body, self._bucket, self._folder + name, ExtraArgs=dict(self._extra), Config=limits
        )

    def grow(self, name: str, body: BinaryIO, size: int, seconds: float | None) -> None:
        where = {"Bucket": self._bucket, "Key": self._folder + name}
        where["UploadId"] = _client("s3").create_multipart_upload(**where, **self._extra)["UploadId"]
        if seconds is None:
            _client("s3").upload_part(**where, PartNumber=1, Body=body.read(min(size // 2, _PART)))
            wait_for_ever()
        length = max(_PART, -(-size // 9000))
        pause, parts = seconds / max(1, -(-size // length)), list[dict[str, object]]()
        while (piece := body.read(length)) or not parts:
            time.sleep(pause)
            part = _client("s3").upload_part(**where, PartNumber=len(parts) + 1, Body=piece)
            parts.append({"PartNumber": len(parts) + 1, "ETag": part["ETag"]})
        _client("s3").complete_multipart_upload(**where, MultipartUpload={"Parts": parts})

    def remove(self, name: str) -> None:
        _client("s3").delete_object(Bucket=self._bucket, Key=self._folder + name)

    def elsewhere(self, folder: str) -> End:
        parent = self._folder.rstrip("/").rpartition("/")[0]
        return _S3End({**self._place, "folder": f"{parent}/{folder}/".lstrip("/")})

    def uri(self, name: str) -> str:
        return f"s3://{self._bucket}/{self._folder}{name}"


def _stored_with(metadata: dict[str, str]) -> dict[str, Any]:
    """Return metadata as arguments: the headers that objects are stored with, and the writer's own names."""
    headers = {name: "".join(map(str.title, name.split("-"))) for name in _HEADERS}
    named = {headers[name]: value for name, value in metadata.items() if name in headers}
    return {**named, "Metadata": {name: value for name, value in metadata.items() if name not in headers}}


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
        return cast("BinaryIO", io.BufferedReader(Pieces(_windows(opened, size), opened), _REQUEST)), size

    def write(self, name: str, body: BinaryIO, size: int | None) -> None:
        temporary = self._path(f".{secrets.token_hex(8)}.part")
        try:
            self._client.putfo(body, temporary, size or 0, confirm=False)
            if size is not None:
                self._check_size(temporary, size)
            self._client.posix_rename(temporary, self._path(name))
        except BaseException:  # Ctrl-C and a time limit too: no part of a file may stay
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                self._client.remove(temporary)
            raise

    def grow(self, name: str, body: BinaryIO, size: int, seconds: float | None) -> None:
        with self._client.open(self._path(name), "wb") as opened:
            if seconds is None:
                self._copy(body, opened, size // 2)
                wait_for_ever()
            piece = max(1, -(-size // _STEPS))
            for _ in range(_STEPS):
                time.sleep(seconds / _STEPS)
                self._copy(body, opened, piece)
            self._copy(body, opened, sys.maxsize)  # what a damage has added

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._client.remove(self._path(name))

    def elsewhere(self, folder: str) -> End:
        directory = f"{self._place['dir'].rstrip('/').rpartition('/')[0]}/{folder}"
        with contextlib.suppress(OSError):  # it is there
            self._client.mkdir(directory)
        return _SftpEnd({**self._place, "dir": directory})

    def uri(self, name: str) -> str:
        place = self._place
        return f"sftp://{place['username']}@{place['host']}:{place['port']}{self._path(name)}"

    def _copy(self, body: BinaryIO, opened: paramiko.SFTPFile, count: int) -> None:
        while count > 0 and (block := body.read(min(count, _REQUEST))):
            opened.write(block)
            count -= len(block)

    def _check_size(self, path: str, size: int) -> None:
        written = self._client.stat(path).st_size
        if written != size:
            raise TransferError(f"{path} has {written} of {size} bytes after the upload")

    def _path(self, name: str) -> str:
        return f"{self._place['dir'].rstrip('/')}/{name}"


def _windows(opened: paramiko.SFTPFile, size: int) -> Iterator[bytes]:
    """Read a remote file in windows of many requests in flight, so that memory stays flat."""
    for start in range(0, size, _WINDOW):
        end = min(start + _WINDOW, size)
        wanted = [(offset, min(_REQUEST, end - offset)) for offset in range(start, end, _REQUEST)]
        for (offset, length), block in zip(wanted, opened.readv(wanted), strict=True):
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


def forget_connections(job: dict[str, Any]) -> None:
    """Close the sessions of a job that failed: they may be what is broken."""
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
    sock = socket.create_connection(tuple(place["address"]), TIMEOUT_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(sock, default_window_size=64 * 1024 * 1024)
    transport.local_version = "SSH-2.0-fileflow_transfer"
    options = transport.get_security_options()
    options.ciphers = sorted(options.ciphers, key=lambda name: "gcm" not in name)  # twice as fast as CTR and a MAC
    transport.banner_timeout = transport.auth_timeout = transport.channel_timeout = TIMEOUT_SECONDS
    try:
        transport.start_client(timeout=TIMEOUT_SECONDS)
        _check_host_key(transport, place)
        _log_in(transport, place)
        client = paramiko.SFTPClient.from_transport(transport)
    except BaseException:  # whatever it is, the connection must not stay open
        transport.close()
        raise
    if client is None:
        raise TransferError(f"{place['host']} opened no SFTP session")
    client.get_channel().settimeout(TIMEOUT_SECONDS)  # type: ignore[union-attr] # it is open
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
