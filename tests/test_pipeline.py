"""Reading and writing over a channel, against servers that answer as they may and as they may not."""

from __future__ import annotations

import io
import os
import stat

import pytest
from paramiko import Message
from paramiko.sftp import (
    CMD_ATTRS,
    CMD_CLOSE,
    CMD_DATA,
    CMD_HANDLE,
    CMD_NAME,
    CMD_OPEN,
    CMD_OPENDIR,
    CMD_READ,
    CMD_READDIR,
    CMD_REMOVE,
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
    Outgoing,
    Requests,
    SftpStatus,
)

HANDLE = b"\x00\x00\x00\x01"
EOF, FAILURE = 1, 4


def message(*fields: object) -> bytes:
    made = Message()
    for field in fields:
        if isinstance(field, bytes):
            made.add_string(field)
        elif isinstance(field, int):
            made.add_int(field)
    return made.asbytes()


def status(code: int, text: bytes = b"") -> tuple[int, bytes]:
    return CMD_STATUS, message(code, text, b"")


class Server:
    """Stands where the wire stands: takes requests, and answers one a time it is asked to."""

    server = "SSH-2.0-Unknown"

    def __init__(self, content: bytes = b"") -> None:
        self.content = content
        self.at_most = 1 << 30  # bytes in one answer
        self.fail_at: int | None = None
        self.waiting: list[tuple[int, int, Message]] = []
        self.commands: list[int] = []
        self.unanswered_before: list[tuple[int, int]] = []  # a command, and how many waited when it was sent
        self.in_flight: dict[int, int] = {}
        self.most_in_flight = 0
        self.pages: list[bytes] = []
        self.written = bytearray()

    def ask(self, command: int, *fields: bytes) -> int:
        self.unanswered_before.append((command, len(self.waiting)))
        self.commands.append(command)
        number = len(self.commands)
        self.waiting.append((number, command, Message(b"".join(fields))))
        self.in_flight[number] = self.bytes_of(command, b"".join(fields))
        self.most_in_flight = max(self.most_in_flight, sum(self.in_flight.values()))
        return number

    def flush(self) -> None:
        self.flushed = len(self.commands)

    def answer(self) -> tuple[int, int, bytes]:
        number, command, fields = self.waiting.pop(0)
        del self.in_flight[number]
        kind, answer = self.answer_to(command, fields)
        return kind, number, answer

    def answer_to(self, command: int, fields: Message) -> tuple[int, bytes]:
        if command == CMD_READ:
            return self.read(fields.get_string(), fields.get_int64(), fields.get_int())
        if command == CMD_WRITE:
            return self.write(fields.get_string(), fields.get_int64(), fields.get_string())
        if command == CMD_STAT:
            return CMD_ATTRS, message(1, 0, len(self.written))
        if command in {CMD_OPEN, CMD_OPENDIR}:
            return CMD_HANDLE, message(HANDLE)
        if command == CMD_READDIR:
            return (CMD_NAME, self.pages.pop(0)) if self.pages else status(EOF)
        return status(0)

    def read(self, handle: bytes, offset: int, length: int) -> tuple[int, bytes]:
        if self.fail_at is not None and offset >= self.fail_at:
            return status(FAILURE, b"Input/output error")
        block = self.content[offset : offset + min(length, self.at_most)]
        return (CMD_DATA, block) if block else status(EOF, b"End of file")

    def write(self, handle: bytes, offset: int, block: bytes) -> tuple[int, bytes]:
        if self.fail_at is not None and offset >= self.fail_at:
            return status(FAILURE, b"No space left on device")
        self.written[offset : offset + len(block)] = block
        return status(0)

    @staticmethod
    def bytes_of(command: int, fields: bytes) -> int:
        if command == CMD_READ:
            return int.from_bytes(fields[-4:], "big")
        return len(fields) - 20 if command == CMD_WRITE else 0  # two lengths, handle and offset


class OpenSsh(Server):
    server = "SSH-2.0-OpenSSH_9.2p1"


def read(server: Server, size: int, offset: int = 0) -> bytes:
    return b"".join(Requests(server).read(HANDLE, offset, size))  # type: ignore[arg-type]


def write(server: Server, content: bytes, size: int | None = None) -> tuple[int, int | None]:
    wanted = len(content) if size is None else size
    return Requests(server).write([Outgoing(HANDLE, "a", io.BytesIO(content), wanted)])[0]  # type: ignore[arg-type]


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
    server.read = lambda handle, offset, length: (CMD_DATA, bytes(length + 1))
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
    assert write(writing, content) == (len(content), len(content))
    for server in (reading, writing):
        assert IN_FLIGHT_BYTES // 2 < server.most_in_flight <= IN_FLIGHT_BYTES + SAFE_BLOCK_BYTES


def test_every_block_written_is_acknowledged():
    server = Server()
    server.fail_at = 3 * SAFE_BLOCK_BYTES  # the last block of all
    with pytest.raises(SftpStatus, match="No space left on device"):
        write(server, CONTENT)


def test_a_failed_write_stops_the_stream_soon():
    server = Server()
    server.fail_at = 0
    body = io.BytesIO(bytes(8 * IN_FLIGHT_BYTES))
    with pytest.raises(SftpStatus):
        Requests(server).write([Outgoing(HANDLE, "a", body, 8 * IN_FLIGHT_BYTES)])  # type: ignore[arg-type]
    assert body.tell() <= IN_FLIGHT_BYTES + SAFE_BLOCK_BYTES


def test_a_stream_that_ends_early_is_counted():
    server = Server()
    assert write(server, b"abc", 10) == (3, 3)
    assert server.written == b"abc"


def test_a_server_that_works_in_order_is_asked_for_everything_at_once():
    server = OpenSsh()
    assert write(server, CONTENT) == (len(CONTENT), len(CONTENT))
    assert server.unanswered_before == [(CMD_WRITE, 0), (CMD_CLOSE, 1), (CMD_STAT, 2)]


def test_any_other_server_is_asked_one_thing_after_the_other():
    server = Server()
    assert write(server, CONTENT) == (len(CONTENT), len(CONTENT))
    assert server.unanswered_before[-2:] == [(CMD_CLOSE, 0), (CMD_STAT, 0)]


@pytest.mark.parametrize("kind", [Server, OpenSsh])
@pytest.mark.parametrize("size", [100, 2 * IN_FLIGHT_BYTES])
def test_a_handle_is_closed_once_where_a_write_fails(kind, size):
    server = kind()
    server.fail_at = 0
    with pytest.raises(SftpStatus, match="No space left"):
        write(server, bytes(size))
    assert server.commands.count(CMD_CLOSE) == 1


@pytest.mark.parametrize("kind", [Server, OpenSsh])
def test_a_server_that_shows_no_file_but_takes_it(kind):
    server = kind()
    answer = server.answer_to
    server.answer_to = lambda command, fields: status(3) if command == CMD_STAT else answer(command, fields)
    assert write(server, CONTENT) == (len(CONTENT), None)


def test_the_end_of_a_file_that_was_read_to_its_end_is_not_waited_for():
    server = Server(CONTENT)
    requests = Requests(server)  # type: ignore[arg-type]
    assert b"".join(requests.read(HANDLE, 0, len(CONTENT))) == CONTENT
    requests.close(HANDLE)
    assert [command for _, command, _ in server.waiting] == [CMD_CLOSE]
    assert server.flushed == len(server.commands)


def test_a_reader_that_stops_early_leaves_no_blocks_to_the_next_one():
    server = Server(CONTENT)
    requests = Requests(server)  # type: ignore[arg-type]
    assert next(requests.read(HANDLE, 0, len(CONTENT)))
    requests.close(HANDLE)
    assert server.waiting == []


def test_answers_that_an_earlier_user_did_not_wait_for_are_passed_over():
    server = OpenSsh(CONTENT)
    next(Requests(server).read(HANDLE, 0, len(CONTENT)))  # type: ignore[arg-type]
    assert server.waiting
    assert write(server, b"abc") == (3, 3)


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


@pytest.mark.parametrize("kind", [Server, OpenSsh])
@pytest.mark.parametrize("pages", [0, 1, 3, 10])
def test_a_listing_of_many_pages_is_whole_and_in_order(kind, pages):
    server = kind()
    server.pages = [page((b"f%d" % number, b"", (0x4, stat.S_IFREG))) for number in range(pages)]
    names = [name for name, _ in Requests(server).entries("dir")]  # type: ignore[arg-type]
    assert names == [f"f{number}" for number in range(pages)]
    assert server.commands.count(CMD_CLOSE) == 1


@pytest.mark.parametrize("cut", [1, 4, 9, 30])
def test_an_answer_that_ends_too_early_is_an_error(cut):
    server = Server()
    server.pages = [page((b"a.csv", b"-rw-r--r--", (0xF, Wide(3), 1, 2, stat.S_IFREG, 7, 8)))[:-cut]]
    with pytest.raises(SFTPError, match="ends within a field"):
        list(Requests(server).entries("dir"))  # type: ignore[arg-type]


def test_a_listing_that_breaks_off_closes_its_handle():
    server = Server()
    answer = server.answer_to
    server.answer_to = lambda command, fields: (
        status(FAILURE, b"I/O") if command == CMD_READDIR else answer(command, fields)
    )
    with pytest.raises(SftpStatus):
        list(Requests(server).entries("dir"))
    assert server.commands == [CMD_OPENDIR, CMD_READDIR, CMD_CLOSE]


def test_a_text_in_another_encoding_does_not_hide_the_status():
    server = Server()
    server.answer_to = lambda command, fields: status(3, b"Zugriff verweigert \xfcberall")
    with pytest.raises(SftpStatus, match="verweigert") as caught:
        Requests(server).stat("a")
    assert (caught.value.code, server.commands) == (pipeline.PERMISSION_DENIED, [CMD_STAT])


class Folder(OpenSsh):
    """A server with files: each path is a handle, and one may not be opened or written."""

    def __init__(self, refused: str = "", full: str = "") -> None:
        super().__init__()
        self.refused, self.full = refused.encode(), full.encode()
        self.open: set[bytes] = set()
        self.files: dict[bytes, bytearray] = {}

    def answer_to(self, command: int, fields: Message) -> tuple[int, bytes]:
        name = fields.get_string()
        if command == CMD_OPEN:
            if name == self.refused:
                return status(3, b"Permission denied")
            self.open.add(name)
            self.files[name] = bytearray()
            return CMD_HANDLE, message(name)
        if command == CMD_WRITE:
            offset, block = fields.get_int64(), fields.get_string()
            if name == self.full:
                return status(FAILURE, b"No space left on device")
            self.files[name][offset : offset + len(block)] = block
        if command == CMD_CLOSE:
            self.open.remove(name)
        if command == CMD_STAT:
            return CMD_ATTRS, message(1, 0, len(self.files[name]))
        if command == CMD_REMOVE:
            return status(0) if self.files.pop(name, None) is not None else status(2, b"No such file")
        return status(0)

    def settle(self) -> None:
        while self.waiting:
            self.answer()


NAMES = ["a", "b", "c"]


def write_all(server: Server, contents: list[bytes]) -> list[tuple[int, int | None]]:
    requests = Requests(server)  # type: ignore[arg-type]
    handles = requests.open_for_writing(NAMES)
    files = zip(handles, NAMES, contents, strict=True)
    return requests.write([Outgoing(handle, name, io.BytesIO(body), len(body)) for handle, name, body in files])


def test_several_small_files_are_written_in_two_round_trips():
    server = Folder()
    contents = [b"first", b"", CONTENT]
    assert write_all(server, contents) == [(len(content), len(content)) for content in contents]
    assert server.files == {name.encode(): content for name, content in zip(NAMES, contents, strict=True)}
    assert server.open == set()
    alone = [command for command, before in server.unanswered_before if not before]
    assert alone == [CMD_OPEN, CMD_WRITE]  # only what begins a round trip is sent when nothing is on its way


@pytest.mark.parametrize("refused", NAMES)
def test_a_file_that_may_not_be_opened_leaves_no_other_open(refused):
    server = Folder(refused=refused)
    with pytest.raises(SftpStatus, match="Permission denied"):
        write_all(server, [b"1", b"2", b"3"])
    server.settle()
    assert server.open == set()


@pytest.mark.parametrize("full", NAMES)
def test_a_file_that_cannot_be_written_leaves_no_other_open(full):
    server = Folder(full=full)
    with pytest.raises(SftpStatus, match="No space left on device"):
        write_all(server, [bytes(3 * IN_FLIGHT_BYTES)] * 3)
    server.settle()
    assert server.open == set()


def test_files_are_removed_together_and_each_refusal_is_told():
    server = Folder()
    write_all(server, [b"1", b"2", b"3"])
    first, absent, second = Requests(server).remove(["a", "absent", "b"])  # type: ignore[arg-type]
    assert (first, absent.code, second) == (None, 2, None)
    assert set(server.files) == {b"c"}
