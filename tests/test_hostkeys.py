"""Which host keys are trusted: pins and known_hosts files, as ssh-keygen writes them."""

from __future__ import annotations

import subprocess

import pytest

from pytest_fileflow.endpoints.hostkeys import HostKey, trust
from pytest_fileflow.errors import ConfigInvalid, HostKeyMismatch, HostKeyUnknown
from tests.support.openssh import KeyPair, generate_key


def host_key(pair: KeyPair) -> HostKey:
    import base64

    kind, encoded = pair.public.split()
    return HostKey(kind, base64.b64decode(encoded))


@pytest.fixture(scope="module")
def keys() -> dict[str, KeyPair]:
    return {kind: generate_key(kind) for kind in ("ed25519", "ecdsa", "rsa")}


@pytest.fixture
def known(tmp_path):
    path = tmp_path / "known_hosts"

    def write(*lines: str):
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def test_a_fingerprint_is_the_one_that_openssh_shows(keys):
    for pair in keys.values():
        assert host_key(pair).fingerprint == pair.fingerprint
        assert host_key(pair).line == pair.public


@pytest.mark.parametrize("form", ["fingerprint", "padded", "line", "line with comment"])
def test_a_pin_trusts_its_key_alone(keys, form):
    pair = keys["ed25519"]
    pin = {
        "fingerprint": pair.fingerprint,
        "padded": f" {pair.fingerprint}= ",
        "line": pair.public,
        "line with comment": f"{pair.public} root@partner",
    }[form]
    trusted = trust("sftp.example.com", 22, pin, [])
    assert trusted.accepts(host_key(pair))
    assert not trusted.accepts(host_key(keys["rsa"]))
    assert not trusted.accepts(host_key(generate_key()))


@pytest.mark.parametrize("pin", ["", "SHA256:", "SHA256:abc", "MD5:12:34", "ssh-ed25519", "ssh-ed25519 AAAA", "x y"])
def test_a_pin_that_is_none_is_refused(pin):
    with pytest.raises(ConfigInvalid, match=r"host_key of sftp\.example\.com:22"):
        trust("sftp.example.com", 22, pin, [])


def test_a_pin_overrides_known_hosts(keys, known):
    path = known(f"sftp.example.com {keys['rsa'].public}")
    assert not trust("sftp.example.com", 22, keys["ed25519"].fingerprint, [path]).accepts(host_key(keys["rsa"]))


@pytest.mark.parametrize(
    ("names", "server", "matches"),
    [
        ("sftp.example.com", ("sftp.example.com", 22), True),
        ("sftp.example.com", ("SFTP.Example.com", 22), True),
        ("sftp.example.com", ("sftp.example.com", 2222), False),
        ("[sftp.example.com]:2222", ("sftp.example.com", 2222), True),
        ("[sftp.example.com]:2222", ("sftp.example.com", 22), False),
        ("other,sftp.example.com,10.0.0.1", ("10.0.0.1", 22), True),
        ("*.example.com", ("sftp.example.com", 22), True),
        ("*.example.com", ("example.com", 22), False),
        ("sftp?.example.com", ("sftp1.example.com", 22), True),
        ("*.example.com,!sftp.example.com", ("sftp.example.com", 22), False),
        ("[*]:2222", ("sftp.example.com", 2222), True),
        ("[a-z]", ("b", 22), False),
    ],
)
def test_known_hosts_names(keys, known, names, server, matches):
    path = known("# a comment", "", f"{names}\t{keys['ed25519'].public} a comment")
    assert trust(*server, None, [path]).accepts(host_key(keys["ed25519"])) is matches


@pytest.mark.parametrize(("name", "port"), [("sftp.example.com", 22), ("[sftp.example.com]:2222", 2222)])
def test_hashed_names(keys, known, name, port):
    path = known(f"{name} {keys['ed25519'].public}")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
    assert "|1|" in path.read_text()
    assert "example" not in path.read_text()
    assert trust("sftp.example.com", port, None, [path]).accepts(host_key(keys["ed25519"]))
    assert not trust("other.example.com", port, None, [path]).accepts(host_key(keys["ed25519"]))


def test_several_keys_of_one_host_are_all_good(keys, known):
    other = generate_key()
    path = known(*(f"h {pair.public}" for pair in (keys["rsa"], keys["ed25519"], other)))
    trusted = trust("h", 22, None, [path])
    assert all(trusted.accepts(host_key(pair)) for pair in (keys["rsa"], keys["ed25519"], other))
    assert trusted.types == ("ssh-rsa", "ssh-ed25519")


def test_a_revoked_key_is_refused_even_where_it_is_known(keys, known):
    path = known(
        f"h {keys['rsa'].public}",
        f"@revoked * {keys['rsa'].public}",
        f"@cert-authority * {keys['ecdsa'].public}",
    )
    trusted = trust("h", 22, None, [path])
    assert not trusted.accepts(host_key(keys["rsa"]))
    assert not trusted.accepts(host_key(keys["ecdsa"]))
    refusal = trusted.refusal([host_key(keys["rsa"])])
    assert isinstance(refusal, HostKeyMismatch)
    assert "revoked" in refusal.reason


def test_damaged_lines_and_missing_files_are_passed_over(keys, known, tmp_path):
    path = known("h", "h ssh-rsa", "h ssh-rsa !!!", "h ssh-rsa AAAA", "|1|x|y ssh-rsa AAAA", f"h {keys['rsa'].public}")
    path.write_bytes(b"\xff\xfe\n" + path.read_bytes())
    assert trust("h", 22, None, [tmp_path / "absent", path]).accepts(host_key(keys["rsa"]))


def test_an_unknown_key_comes_with_what_to_pin(keys, known):
    path = known(f"other {keys['rsa'].public}")
    refusal = trust("h", 2222, None, [path]).refusal([host_key(keys["ed25519"])])
    assert isinstance(refusal, HostKeyUnknown)
    assert refusal.reason == f"h:2222 offers ssh-ed25519 {keys['ed25519'].fingerprint}, which is not in {path}"
    assert f'"host_key": "{keys["ed25519"].fingerprint}"' in refusal.hint
    assert refusal.evidence["public_key"] == keys["ed25519"].public


def test_a_changed_key_is_shown_with_the_one_expected(keys, known):
    path = known(f"h {keys['rsa'].public}")
    for trusted in (trust("h", 22, None, [path]), trust("h", 22, keys["rsa"].fingerprint, [])):
        refusal = trusted.refusal([host_key(keys["ed25519"])])
        assert isinstance(refusal, HostKeyMismatch)
        assert keys["rsa"].fingerprint in refusal.reason
        assert keys["ed25519"].fingerprint in refusal.reason
