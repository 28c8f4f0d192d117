"""Reading and writing over a channel, against servers that answer as they may and as they may not."""

from __future__ import annotations

import inspect
import io
import os
import stat

import paramiko
import pytest
from paramiko import Message, SFTPClient
from paramiko.sftp import (
    CMD_ATTRS,
    CMD_CLOSE,
    CMD_DATA,
    CMD_HANDLE,
    CMD_NAME,
    CMD_OPENDIR,
    CMD_READ,
    CMD_READDIR,
    CMD_STAT,
    CMD_STATUS,
    CMD_WRITE,
    SFTPError,
)

from pytest_fileflow.endpoints import pipeline
from pytest_fileflow.endpoints.pipeline import (
    IN_FLIGHT_BYTES,
    SAFE_BLOCK_BYTES,
    Attributes,
    Requests,
    SftpStatus,
)

HANDLE = b"\x00\x00\x00\x01"
EOF, FAILURE = 1, 4


def message(*fields: object) -> Message:
    made = Message()
    for field in fields:
        if isinstance(field, bytes):
            made.add_string(field)
        elif isinstance(field, int):
            made.add_int(field)
    made.rewind()
    return made


def status(code: int, text: bytes = b"") -> tuple[int, Message]:
    return CMD_STATUS, message(code, text, b"")


class Server:
    """Stands where paramiko's client stands: takes requests, and answers one a time it is asked to."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = content
        self.at_most = 1 << 30  # bytes in one answer
        self.fail_at: int | None = None
        self.waiting: list[tuple[object, int, int, tuple]] = []
        self.commands: list[int] = []
        self.most_in_flight = 0
        self.pages: list[bytes] = []
        self.written = bytearray()

    def get_channel(self) -> None:
        return None

    def _async_request(self, sink: object, command: int, *fields: object) -> int:
        self.commands.append(command)
        self.waiting.append((sink, len(self.commands), command, fields))
        self.most_in_flight = max(self.most_in_flight, sum(self._bytes(each) for each in self.waiting))
        return len(self.commands)

    def _read_response(self) -> None:
        sink, number, command, fields = self.waiting.pop(0)
        kind, answer = self.answer(command, *fields)
        sink._async_response(kind, answer, number)

    def answer(self, command: int, *fields: object) -> tuple[int, Message]:
        if command == CMD_READ:
            return self.read(*fields)
        if command == CMD_WRITE:
            return self.write(*fields)
        if command == CMD_OPENDIR:
            return CMD_HANDLE, message(HANDLE)
        if command == CMD_READDIR:
            return (CMD_NAME, Message(self.pages.pop(0))) if self.pages else status(EOF)
        return status(0)

    def read(self, handle: bytes, offset: int, length: int) -> tuple[int, Message]:
        if self.fail_at is not None and offset >= self.fail_at:
            return status(FAILURE, b"Input/output error")
        block = self.content[offset : offset + min(length, self.at_most)]
        return (CMD_DATA, message(block)) if block else status(EOF, b"End of file")

    def write(self, handle: bytes, offset: int, block: bytes) -> tuple[int, Message]:
        if self.fail_at is not None and offset >= self.fail_at:
            return status(FAILURE, b"No space left on device")
        self.written[offset : offset + len(block)] = block
        return status(0)

    @staticmethod
    def _bytes(request: tuple[object, int, int, tuple]) -> int:
        _, _, command, fields = request
        return {CMD_READ: lambda: fields[2], CMD_WRITE: lambda: len(fields[2])}.get(command, lambda: 0)()


def read(server: Server, size: int, offset: int = 0) -> bytes:
    return b"".join(Requests(server).read(HANDLE, offset, size))  # type: ignore[arg-type]


CONTENT = os.urandom(3 * SAFE_BLOCK_BYTES + 100)


@pytest.mark.parametrize("at_most", [1000, SAFE_BLOCK_BYTES - 1, SAFE_BLOCK_BYTES, 1 << 30])
def test_answers_shorter_than_asked_for_are_completed(at_most):
    server = Server(CONTENT)
    server.at_most = at_most
    assert read(server, len(CONTENT)) == CONTENT


@pytest.mark.parametrize("lost", [1, 99, 100, 101, SAFE_BLOCK_BYTES, len(CONTENT)])
def test_a_file_that_shrank_ends_where_it_ends_now(lost):
    server = Server(CONTENT[: len(CONTENT) - lost])
    assert read(server, len(CONTENT)) == CONTENT[: len(CONTENT) - lost]


@pytest.mark.parametrize("told", [0, 1, SAFE_BLOCK_BYTES, len(CONTENT) - 1])
def test_a_file_that_grew_is_read_to_its_end(told):
    assert read(Server(CONTENT), told) == CONTENT


def test_a_read_from_beyond_the_end_is_empty():
    assert read(Server(CONTENT), len(CONTENT), offset=len(CONTENT) + 1) == b""


def test_blocks_before_a_failure_are_handed_out_and_the_failure_is_raised():
    server = Server(CONTENT)
    server.fail_at = SAFE_BLOCK_BYTES
    blocks = Requests(server).read(HANDLE, 0, len(CONTENT))
    assert next(blocks) == CONTENT[:SAFE_BLOCK_BYTES]
    with pytest.raises(SftpStatus, match="Input/output error") as caught:
        next(blocks)
    assert caught.value.code == FAILURE


def test_an_answer_longer_than_asked_for_is_not_believed():
    server = Server()
    server.read = lambda handle, offset, length: (CMD_DATA, message(bytes(length + 1)))
    with pytest.raises(SFTPError, match="bytes in answer to a request"):
        read(server, 100)


def test_an_answer_of_another_kind_is_an_error():
    server = Server()
    server.read = lambda handle, offset, length: (CMD_ATTRS, message(0))
    with pytest.raises(SFTPError, match="answer"):
        read(server, 100)


def test_what_is_in_flight_is_bounded():
    content = bytes(4 * IN_FLIGHT_BYTES)
    reading, writing = Server(content), Server()
    assert read(reading, len(content)) == content
    assert Requests(writing).write(HANDLE, io.BytesIO(content), len(content)) == len(content)
    for server in (reading, writing):
        assert IN_FLIGHT_BYTES // 2 < server.most_in_flight <= IN_FLIGHT_BYTES + SAFE_BLOCK_BYTES


def test_every_block_written_is_acknowledged():
    server = Server()
    server.fail_at = 3 * SAFE_BLOCK_BYTES  # the last block of all
    with pytest.raises(SftpStatus, match="No space left on device"):
        Requests(server).write(HANDLE, io.BytesIO(CONTENT), len(CONTENT))


def test_a_failed_write_stops_the_stream_soon():
    server = Server()
    server.fail_at = 0
    body = io.BytesIO(bytes(8 * IN_FLIGHT_BYTES))
    with pytest.raises(SftpStatus):
        Requests(server).write(HANDLE, body, 8 * IN_FLIGHT_BYTES)
    assert body.tell() <= IN_FLIGHT_BYTES + SAFE_BLOCK_BYTES


def test_a_stream_that_ends_early_is_counted():
    server = Server()
    assert Requests(server).write(HANDLE, io.BytesIO(b"abc"), 10) == 3
    assert server.written == b"abc"


def page(*entries: tuple[bytes, bytes, tuple[object, ...]]) -> bytes:
    made = Message()
    made.add_int(len(entries))
    for name, long_name, attributes in entries:
        made.add_string(name)
        made.add_string(long_name)
        for field in attributes:
            made.add_string(field) if isinstance(field, bytes) else made.add_bytes(field.to_bytes(*_width(field)))
    return made.asbytes()


class Wide(int):
    """A number of 64 bits."""


def _width(field: int) -> tuple[int, str]:
    return (8 if isinstance(field, Wide) else 4), "big"


def test_a_listing_survives_what_servers_put_into_it():
    whole = 0x8000000F
    server = Server()
    server.pages = [
        page(
            (b"a.csv", b"", (whole, Wide(1 << 33), 1, 2, stat.S_IFREG | 0o644, 7, 8, 1, b"x@y", b"z")),
            (b"caf\xe9.csv", b"", (0x1, Wide(3))),
        ),
        page((b"sub", b"drwxr-xr-x", (0,)), (b"link", b"lrwxrwxrwx", (0x8, 7, 9))),
    ]
    entries = dict(Requests(server).entries("dir"))
    assert entries["a.csv"] == Attributes(1 << 33, stat.S_IFREG | 0o644, 8)
    assert entries["caf\\xe9.csv"].is_file
    assert entries["sub"].is_directory
    assert not entries["link"].is_file
    assert server.commands[-1] == CMD_CLOSE


def test_a_listing_that_breaks_off_closes_its_handle():
    server = Server()
    answer = server.answer
    server.answer = lambda command, *rest: status(FAILURE, b"I/O") if command == CMD_READDIR else answer(command)
    with pytest.raises(SftpStatus):
        list(Requests(server).entries("dir"))
    assert server.commands == [CMD_OPENDIR, CMD_READDIR, CMD_CLOSE]


def test_a_text_in_another_encoding_does_not_hide_the_status():
    server = Server()
    server.answer = lambda command, *rest: status(3, b"Zugriff verweigert \xfcberall")
    with pytest.raises(SftpStatus, match="verweigert") as caught:
        Requests(server).stat("a")
    assert (caught.value.code, server.commands) == (pipeline.PERMISSION_DENIED, [CMD_STAT])


def test_paramikos_private_requests_are_as_this_module_uses_them():
    """The functional tests run over them; this one says at once what to look at when paramiko changed."""
    request = list(inspect.signature(SFTPClient._async_request).parameters.values())
    assert [each.name for each in request[:3]] == ["self", "fileobj", "t"]
    assert request[3].kind is inspect.Parameter.VAR_POSITIONAL
    response = inspect.signature(SFTPClient._read_response).parameters
    assert response["waitfor"].default is None
    source = inspect.getsource(SFTPClient._read_response)
    assert "_async_response(t, msg, num)" in source, f"paramiko {paramiko.__version__} delivers answers differently"
