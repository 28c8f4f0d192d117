"""SFTP packets over a channel that hands bytes out and takes them as it likes."""

from __future__ import annotations

import struct

import pytest
from paramiko.sftp import CMD_DATA, CMD_INIT, CMD_READ, CMD_STAT, CMD_STATUS, CMD_VERSION, CMD_WRITE, SFTPError

from pytest_fileflow.endpoints.wire import PIECE_BYTES, Wire


def packet(kind: int, *fields: bytes) -> bytes:
    content = b"".join(fields)
    return struct.pack(">IB", len(content) + 1, kind) + content


def number(value: int) -> bytes:
    return struct.pack(">I", value)


VERSION = packet(CMD_VERSION, number(3), number(24), b"posix-rename@openssh.com", number(1), b"1")


class Channel:
    """Gives bytes in portions of a size, and takes no more than ``takes`` at a time."""

    def __init__(self, *packets: bytes, portion: int = 1 << 30, takes: int = 1 << 30) -> None:
        self.incoming = b"".join((VERSION, *packets))
        self.portion = portion
        self.takes = takes
        self.sent: list[bytes] = []

    def recv(self, size: int) -> bytes:
        some = min(size, self.portion)
        given, self.incoming = self.incoming[:some], self.incoming[some:]
        return given

    def send(self, data: bytes) -> int:
        assert isinstance(data, bytes)
        self.sent.append(data[: self.takes])
        return len(self.sent[-1])

    @property
    def everything(self) -> bytes:
        return b"".join(self.sent)


def connected(*packets: bytes, **options: int) -> tuple[Wire, Channel]:
    channel = Channel(*packets, **options)
    made = Wire(channel)  # type: ignore[arg-type]
    assert channel.everything == packet(CMD_INIT, number(3))
    channel.sent.clear()
    return made, channel


@pytest.mark.parametrize("portion", [1, 3, 9, 1000, 1 << 30])
def test_packets_come_whole_however_they_are_cut(portion):
    block = bytes(range(256)) * 40
    session, _ = connected(
        packet(CMD_DATA, number(1), number(len(block)), block),
        packet(CMD_STATUS, number(2), number(0)),
        packet(CMD_DATA, number(3), number(0)),
        portion=portion,
    )
    assert session.answer() == (CMD_DATA, 1, block)
    assert session.answer() == (CMD_STATUS, 2, number(0))
    assert session.answer() == (CMD_DATA, 3, b"")


def test_what_a_server_adds_to_its_data_is_passed_over():
    session, _ = connected(
        packet(CMD_DATA, number(1), number(3), b"abc", b"\1"), packet(CMD_STATUS, number(2), number(0))
    )
    assert [session.answer()[2], session.answer()[2]] == [b"abc", number(0)]


@pytest.mark.parametrize("takes", [1, 1000, 1 << 30])
def test_requests_go_out_in_order_and_whole(takes):
    session, channel = connected(packet(CMD_STATUS, number(2), number(0)), takes=takes)
    block = bytes(2 * PIECE_BYTES)
    assert session.ask(CMD_STAT, number(1), b"a") == 1
    assert session.ask(CMD_WRITE, number(len(block)), block) == 2
    session.answer()
    stat = packet(CMD_STAT, number(1), number(1), b"a")
    assert channel.everything == stat + packet(CMD_WRITE, number(2), number(len(block)), block)
    assert max(map(len, channel.sent)) <= PIECE_BYTES


def test_small_requests_share_a_packet_and_large_ones_do_not_wait():
    session, channel = connected(packet(CMD_STATUS, number(1), number(0)))
    session.ask(CMD_READ, b"x")
    session.ask(CMD_READ, b"y")
    assert channel.sent == []
    session.answer()
    assert len(channel.sent) == 1
    session.ask(CMD_WRITE, bytes(PIECE_BYTES))
    assert len(channel.sent) == 3


def test_numbers_stay_in_their_32_bits():
    session, _ = connected()
    session._number = 0xFFFFFFFE
    assert [session.ask(CMD_STAT), session.ask(CMD_STAT)] == [0xFFFFFFFF, 0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"Welcome to sftp.example!\n", "a packet of 1466264675 bytes"),
        (number(4) + b"abcd", "a packet of 4 bytes"),
        (packet(CMD_DATA, number(1), number(100), b"abc"), "100 bytes in a shorter packet"),
    ],
)
def test_what_is_no_sftp_is_an_error(answer, reason):
    session, _ = connected(answer)
    with pytest.raises(SFTPError, match=reason):
        session.answer()


def test_a_session_begins_with_the_servers_version():
    channel = Channel()
    channel.incoming = packet(CMD_STATUS, number(1), number(4))
    with pytest.raises(SFTPError, match="kind 101 where the server's version"):
        Wire(channel)  # type: ignore[arg-type]


@pytest.mark.parametrize("begun", [b"", number(20), number(20) + b"\x65"])
def test_a_channel_that_ends_is_an_error(begun):
    session, _ = connected(begun)
    with pytest.raises(EOFError):
        session.answer()


def test_a_channel_that_takes_no_more_is_an_error():
    session, channel = connected()
    channel.takes = 0
    session.ask(CMD_STAT, b"a")
    with pytest.raises(EOFError):
        session.answer()
