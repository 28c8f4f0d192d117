from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_fileflow.cli import main
from pytest_fileflow.commands.servers import Server
from pytest_fileflow.endpoints import login
from tests.support.openssh import OpenSsh, generate_key

SECRET = "arn:aws:secretsmanager:us-west-2:123456789012:secret:sftp/acme-AbCdEf"


@pytest.fixture(scope="module")
def server():
    with OpenSsh(host_key_types=("ed25519", "ecdsa")) as running:
        yield running


@pytest.fixture(autouse=True)
def known_hosts(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(login, "KNOWN_HOSTS", (tmp_path / "known_hosts",))
    return tmp_path / "known_hosts"


def write(server: OpenSsh, flow_id: str = "acme", **more: object) -> None:
    Path("flows").mkdir(exist_ok=True)
    source = {"type": "SFTP", "host": server.host, "port": server.port, "username": "acme", "dir": "/", **more}
    flow = {"flow_id": flow_id, "source": {"secret_arn": SECRET, **source}, "target": {"type": "S3", "bucket": "one"}}
    Path(f"flows/{flow_id}.json").write_text(json.dumps(flow))


def test_a_new_server_is_shown_with_what_pins_it_and_a_caution(server, capsys):
    name, pair = f"127.0.0.1:{server.port}", server.host_keys["ed25519"]
    assert main(["hostkeys", name]) == 0
    told = capsys.readouterr()
    first, *rest = told.out.splitlines()
    assert first == name
    assert {f"  {pair.public.split()[0]} {pair.fingerprint}" for pair in server.host_keys.values()} <= set(rest)
    assert f'  pin:         host_key: "{pair.fingerprint}"' in rest
    assert f"  known_hosts: [127.0.0.1]:{server.port} {pair.public}" in rest
    assert "proves nothing yet" in told.err


def test_lines_for_known_hosts_are_taken_as_such(server, known_hosts, capsys):
    assert main(["hostkeys", "--format=known_hosts", f"127.0.0.1:{server.port}"]) == 0
    lines = capsys.readouterr().out
    assert len(lines.splitlines()) == 2
    known_hosts.write_text(lines)
    assert main(["hostkeys", f"127.0.0.1:{server.port}"]) == 0
    told = capsys.readouterr()
    assert f"  trusted: 127.0.0.1:{server.port} is the one in {known_hosts}" in told.out
    assert told.err == ""


@pytest.mark.parametrize(("asked", "kind"), [("acme", "ecdsa"), ("flows", "ed25519"), ("flows/acme.json", "ed25519")])
def test_a_pin_of_a_config_is_compared(server, capsys, asked, kind):
    write(server, host_key=server.host_keys[kind].fingerprint)
    assert main(["hostkeys", asked]) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"127.0.0.1:{server.port}  (acme)\n")
    assert f"  trusted: 127.0.0.1:{server.port} is the one in the config\n" in told.out
    assert told.err == ""


def test_another_key_than_the_pinned_one_fails_and_says_both(server, capsys):
    other = generate_key().fingerprint
    write(server, "acme", host_key=other)
    write(server, "beta", host_key=server.host_key)
    assert main(["hostkeys", "--format=json"]) == 1
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["flows"] == ["acme", "beta"]
    assert [judged["state"] for judged in shown["judged"]] == ["mismatch", "trusted"]
    assert f"but the config has {other}" in shown["judged"][0]["words"]


def test_a_server_that_cannot_be_asked_does_not_hide_the_others(server, capsys):
    assert main(["hostkeys", "127.0.0.1:1", f"127.0.0.1:{server.port}"]) == 2
    told = capsys.readouterr()
    assert "127.0.0.1:1: net.refused: 127.0.0.1:1 refuses connections\n" in told.err
    assert told.out.startswith(f"127.0.0.1:{server.port}\n")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("acmee", "'acmee' is neither HOST, HOST:PORT, a flow nor a file; did you mean the flow acme?"),
        ("a b", "'a b' is neither HOST, HOST:PORT, a flow nor a file"),
        ("acme", "the host <HOST> of acme is a placeholder"),
    ],
)
def test_what_is_no_server_is_said(server, capsys, asked, message):
    write(server, host="<HOST>")
    assert main(["hostkeys", asked]) == 2
    assert capsys.readouterr().err == f"fileflow hostkeys: {message}\n"


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("sftp.example.com", Server("sftp.example.com", 22)),
        ("sftp.example.com:2222", Server("sftp.example.com", 2222)),
        ("[::1]:2222", Server("::1", 2222)),
        ("[fe80::1%eth0]", Server("fe80::1%eth0", 22)),
        ("sftp.example.com:0", None),
        ("sftp.example.com:65536", None),
        ("a:b", None),
        ("", None),
    ],
)
def test_a_server_is_named_by_host_and_port(text, server):
    assert Server.parse(text) == server
