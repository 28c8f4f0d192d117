"""The embedded SFTP servers: keys and passwords, separate trees, whole uploads, many sessions at once."""

from __future__ import annotations

import io
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncssh
import paramiko
import pytest

from pytest_fileflow.sandbox.sftp import TRANSFER_VERSION, Account, SftpServers
from tests.support.sandbox_tools import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Servers:
    """SFTP servers in this process, with everything that arrived."""

    def __init__(self, directory: Path) -> None:
        self.pair = asyncssh.generate_private_key("ssh-ed25519")
        self.arrived: list[tuple[tuple[str, ...], str, dict[str, object]]] = []
        self.servers = SftpServers(directory, lambda *arrival: self.arrived.append(arrival))

    def account(self, host: str = "one", username: str = "ann", password: str | None = None) -> None:
        self.servers.ensure([Account(host, 22, username, "/in", self.pair.public_data, password)])

    @contextmanager
    def session(
        self,
        host: str = "one",
        username: str = "ann",
        password: str | None = None,
        version: str | None = None,
    ) -> Iterator[paramiko.SFTPClient]:
        port, _ = self.servers.address(host, 22)
        key = paramiko.Ed25519Key.from_private_key(io.StringIO(self.pair.export_private_key().decode()))
        with socket.create_connection(("127.0.0.1", port), 30) as sock, paramiko.Transport(sock) as transport:
            transport.local_version = version or transport.local_version
            transport.start_client(timeout=30)
            if password is None:
                transport.auth_publickey(username, key)
            else:
                transport.auth_password(username, password)
            client = paramiko.SFTPClient.from_transport(transport)
            assert client is not None
            yield client


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    running = Servers(tmp_path)
    yield running
    running.servers.stop()


def test_key_is_checked_for_each_user(servers: Servers) -> None:
    servers.account()
    with servers.session() as session:
        assert session.listdir("/in") == []
    with pytest.raises(paramiko.AuthenticationException), servers.session(username="stranger"):
        pass
    servers.pair = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(paramiko.AuthenticationException), servers.session():
        pass


def test_password_opens_only_where_there_is_one(servers: Servers) -> None:
    servers.account(password="right")
    servers.account("two")
    with servers.session(password="right") as session:
        assert session.listdir("/") == ["in"]
    with pytest.raises(paramiko.AuthenticationException), servers.session(password="wrong"):
        pass
    with pytest.raises(paramiko.BadAuthenticationType), servers.session("two", password="right"):
        pass


def test_users_and_hosts_see_their_own_files_only(servers: Servers) -> None:
    for host, user in (("one", "ann"), ("one", "bob"), ("two", "ann"), ("one", "..")):
        servers.account(host, user)
        with servers.session(host, user) as session:
            session.putfo(io.BytesIO(b"x"), f"/in/{host}-{user}")
    for host, user in (("one", "ann"), ("one", "bob"), ("two", "ann"), ("one", "..")):
        with servers.session(host, user) as session:
            assert session.listdir("/in") == [f"{host}-{user}"]
            assert sorted(session.listdir("/../..")) == ["in"], "the root is as far up as it goes"


def test_server_runs_no_commands_and_forwards_nothing(servers: Servers) -> None:
    servers.account()
    with servers.session() as session:
        transport = session.get_channel().get_transport()  # type: ignore[union-attr]
        shell = transport.open_session()
        with pytest.raises(paramiko.SSHException):
            shell.exec_command("id")
        with pytest.raises(paramiko.ChannelException):
            transport.open_channel("direct-tcpip", ("127.0.0.1", 22), ("127.0.0.1", 0))


def test_each_whole_upload_is_told_before_the_client_hears_of_it(servers: Servers) -> None:
    servers.account()
    with servers.session() as session:
        with session.open("/in/a.csv", "wb") as opened:
            opened.write(b"12345")
            opened.flush()
            assert servers.arrived == []
        assert [name for _, name, _ in servers.arrived] == ["a.csv"]
        session.posix_rename("/in/a.csv", "in/./b.csv")
        place, name, event = servers.arrived[-1]
        assert (place, name) == (("SFTP", "one", "22", "ann", "/in"), "b.csv")
        assert event == {
            "source": "sftp",
            "host": "one",
            "port": 22,
            "username": "ann",
            "path": "/in/b.csv",
            "size": 5,
        }
        session.rename("/in/b.csv", "/in/c.csv")
        with session.open("/in/c.csv", "rb") as opened:
            opened.read()
        session.mkdir("/in/folder")
        session.rename("/in/folder", "/in/other")
        assert [name for _, name, _ in servers.arrived] == ["a.csv", "b.csv", "c.csv"]


def test_upload_that_breaks_off_has_not_arrived(servers: Servers) -> None:
    servers.account()
    for leave in ("channel", "transport", "socket"):
        with servers.session() as session:
            opened = session.open("/in/a.csv", "wb")
            opened.write(b"half")
            opened.flush()
            assert session.stat("/in/a.csv").st_size == 4
            channel = session.get_channel()
            assert channel is not None
            if leave == "channel":
                channel.close()
            elif leave == "transport":
                channel.get_transport().close()
            else:
                channel.get_transport().sock.shutdown(socket.SHUT_RDWR)
        eventually(lambda: servers.servers.connections == 0)
        assert servers.arrived == [], leave


def test_what_the_transfer_itself_writes_is_no_news(servers: Servers) -> None:
    servers.account()
    with servers.session(version=TRANSFER_VERSION) as session:
        session.putfo(io.BytesIO(b"x"), "/in/a.csv")
        session.rename("/in/a.csv", "/in/b.csv")
    assert servers.arrived == []


def test_sixty_sessions_at_once(servers: Servers) -> None:
    for index in range(20):
        servers.account(f"host{index}")
    together = threading.Barrier(60)
    body = bytes(range(256)) * 1000

    def work(index: int) -> bytes:
        with servers.session(f"host{index % 20}") as session:
            together.wait(60)
            session.putfo(io.BytesIO(body), f"/in/{index}")
            with session.open(f"/in/{index}", "rb") as opened:
                opened.prefetch()
                return opened.read()

    with ThreadPoolExecutor(60) as threads:
        assert set(threads.map(work, range(60))) == {body}
    assert len(servers.arrived) == 60


@pytest.mark.parametrize("path", ["/x", "/in/../x", "x", "/inside"])
def test_nothing_appears_outside_of_the_folders_that_flows_name(servers: Servers, path: str) -> None:
    servers.account()
    with servers.session() as session:
        session.putfo(io.BytesIO(b"x"), "/in/a.csv")
        for write in (
            lambda: session.open(path, "wb"),
            lambda: session.open(path, "ab"),
            lambda: session.rename("/in/a.csv", path),
            lambda: session.posix_rename("/in/a.csv", path),
            lambda: session.mkdir(path),
        ):
            with pytest.raises(PermissionError, match="may not write in /"):
                write()
        assert session.listdir("/") == ["in"]
    with servers.session(version=TRANSFER_VERSION) as session:
        session.mkdir(path)
