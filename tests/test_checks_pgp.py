"""The check pgp, with a real GnuPG: which files pass, what is wrong with the others, and that nothing stays behind."""

from __future__ import annotations

import logging
import os
import random
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_fileflow.checks import Chain, Expected, gnupg, pgp
from pytest_fileflow.checks.gzip import Gzip
from pytest_fileflow.checks.rows import Rows
from pytest_fileflow.errors import ConfigInvalid, SecretMalformed, SecretMissing, ToolMissing
from pytest_fileflow.secret import Credentials

from .support.pgp import Party

ARN = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:pgp/inbound"
DATA = random.Random(3).randbytes(400_000)
PASSPHRASE = "open sesame 4711"
INTACT = "encrypted for the key in the secret"
DAMAGED = "damaged or cut off: the integrity check (MDC) failed"
NO_PGP = "this is not OpenPGP data, or no more than its beginning"


@pytest.fixture(scope="module")
def party():
    with Party() as party:
        party.make_key("receiver")
        party.make_key("sender")
        party.make_key("stranger")
        yield party


@pytest.fixture(scope="module")
def sealed(party):
    return party.gpg("--encrypt", "--recipient", "receiver", stdin=DATA)


@pytest.fixture(scope="module")
def key(party):
    return party.private_key("receiver")


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path, monkeypatch):
    """Keyrings are made in a folder of the test's own, and all are gone after it."""
    home = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    yield home
    assert list(home.iterdir()) == []
    home.rmdir()


def made(key, options=None, passphrase=None):
    expected = Expected(0, "", credentials=lambda secret: Credentials(key, passphrase))
    return pgp.make({"secret_arn": ARN, **(options or {})}, expected)


def judged(key, data, options=None, *, passphrase=None, step=1 << 16, behind=()):
    with Chain([("pgp", made(key, options, passphrase)), *behind]) as chain:
        for start in range(0, len(data), step):
            chain.feed(data[start : start + step])
        return chain.results()


def outcome(*arguments, **more):
    (result,) = judged(*arguments, **more)
    assert result.name == "pgp"
    return result.passed, result.observed.partition("; inside ")[0]


@pytest.mark.parametrize("step", [1000, 1 << 20])
def test_what_is_encrypted_for_the_key_passes(sealed, key, step):
    (result,) = judged(key, sealed, step=step)
    assert (result.passed, result.expected) == (True, INTACT)
    assert result.observed.startswith("encrypted; inside 400000 bytes, SHA-256 ")


def test_ascii_armor_passes_too(party, key):
    armored = party.gpg("--armor", "--encrypt", "--recipient", "receiver", stdin=DATA)
    assert outcome(key, armored) == (True, "encrypted")


def test_layers_compose(party, key):
    import gzip

    data = party.gpg("--encrypt", "--recipient", "receiver", stdin=gzip.compress(b"1,2\n" * 100_000))
    results = judged(key, data, behind=[("gzip", Gzip()), ("rows", Rows(100_000, 100_000))])
    assert [(result.name, result.passed) for result in results] == [("pgp", True), ("gzip", True), ("rows", True)]


def test_a_key_with_a_passphrase_needs_the_right_one(party):
    party.make_key("guarded", PASSPHRASE)
    key = party.private_key("guarded", PASSPHRASE)
    data = party.gpg("--encrypt", "--recipient", "guarded", stdin=DATA)
    assert outcome(key, data, passphrase=PASSPHRASE) == (True, "encrypted")
    for wrong in ("open barley", None):
        assert outcome(key, data, passphrase=wrong) == (False, "the passphrase in the secret does not open its key")


def test_damage_of_any_kind_fails(sealed, key):
    middle, last = bytearray(sealed), bytearray(sealed)
    middle[200_000] ^= 1
    last[-1] ^= 1
    for data in (middle, last, sealed[:-10], sealed[:200_000], sealed + b"x"):
        zipped, rows = judged(key, bytes(data), behind=[("rows", Rows(0, None))])
        assert (zipped.passed, zipped.observed) == (False, DAMAGED)
        assert (rows.passed, rows.observed) == (False, "not judged: pgp could not be opened")


@pytest.mark.parametrize("data", [b"", b"id,amount\n1,2\n", DATA, b"\x01", b"-----BEGIN PGP MESSAGE-----\n\n"])
def test_what_is_no_openpgp_at_all_says_so(key, data):
    assert outcome(key, data) == (False, NO_PGP)


def test_what_is_protected_otherwise_says_how(party, sealed, key):
    assert outcome(party.private_key("stranger"), sealed) == (
        False,
        "encrypted for another key than the one in the secret",
    )
    assert outcome(key, party.gpg("--sign", "--local-user", "sender", stdin=DATA)) == (
        False,
        "signed, but not encrypted",
    )
    assert outcome(key, party.gpg("--store", stdin=DATA)) == (False, "OpenPGP, but not encrypted")
    symmetric = party.gpg("--symmetric", stdin=DATA, passphrase=PASSPHRASE)
    assert outcome(key, symmetric, passphrase=PASSPHRASE) == (False, "encrypted with a passphrase, and not for a key")


def test_the_signature_is_valid_and_by_whom_it_should_be(party, sealed, key):
    sender, stranger = party.fingerprint("sender"), party.fingerprint("stranger")
    signed = party.gpg("--encrypt", "--recipient", "receiver", "--sign", "--local-user", "sender", stdin=DATA)
    both = party.public_key("sender", "stranger")
    right = {"public_key": party.public_key("sender")}
    assert outcome(key, signed) == (True, "encrypted, signed"), "not judged where nobody asks"
    assert outcome(key, signed, right) == (True, f"encrypted, signed by {sender}")
    assert outcome(key, signed, {"public_key": both}) == (True, f"encrypted, signed by {sender}")
    spaced = f"{sender[:20]}  {sender[20:]}".lower()
    assert outcome(key, signed, {"public_key": both, "signed_by": spaced}) == (True, f"encrypted, signed by {sender}")
    (other,) = judged(key, signed, {"public_key": both, "signed_by": stranger})
    assert (other.passed, other.expected) == (False, f"{INTACT}, signed by {stranger}")
    assert other.observed.startswith(f"encrypted, signed by {sender}; inside 400000 bytes")
    unknown = outcome(key, signed, {"public_key": party.public_key("stranger")})
    assert unknown == (False, f"encrypted, signed with another key: {sender[-16:]}")
    assert outcome(key, sealed, right) == (False, "encrypted, not signed")


def test_a_signature_by_a_key_that_has_expired_fails(party):
    then = ("--faked-system-time", str(int(time.time()) - 3 * 86400))
    party.make_key("early", "", "0", *then)
    party.make_key("late", "", "seconds=86400", *then)
    signed = party.gpg(*then, "--encrypt", "--recipient", "early", "--sign", "--local-user", "late", stdin=DATA)
    passed, observed = outcome(party.private_key("early"), signed, {"public_key": party.public_key("late")})
    assert not passed
    assert observed.startswith("encrypted, signed with a key that has expired: ")


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, "privateKey in the secret"),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
            "is not an OpenPGP private key",
        ),
        (
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nhush\n-----END PGP PRIVATE KEY BLOCK-----\n",
            "is not an OpenPGP private",
        ),
    ],
)
def test_a_secret_without_a_key_is_named_and_not_shown(key, reason):
    with pytest.raises(SecretMalformed, match=reason) as caught:
        made(key)
    assert ARN in caught.value.reason
    assert "hush" not in f"{caught.value.reason} {caught.value.hint}"


def test_a_public_key_is_no_private_one(party):
    with pytest.raises(SecretMalformed):
        made(party.public_key("receiver"))


def test_a_public_key_that_is_none_or_not_the_signers_is_an_error_of_the_config(party, key):
    with pytest.raises(ConfigInvalid, match="public_key of the check pgp is not an OpenPGP public key"):
        made(key, {"public_key": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"})
    options = {"public_key": party.public_key("sender"), "signed_by": party.fingerprint("stranger")}
    with pytest.raises(ConfigInvalid, match=f"is that of {party.fingerprint('sender')}, not of signed_by"):
        made(key, options)


def test_without_anybody_to_read_secrets_the_secret_is_named():
    with pytest.raises(SecretMissing, match=ARN):
        pgp.make({"secret_arn": ARN}, Expected(0, ""))


def test_without_gnupg_it_says_what_to_install(monkeypatch, key):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolMissing, match="needs the program gpg, which is not on PATH") as caught:
        made(key)
    assert caught.value.cause == "tester.tool_missing"
    assert "apt-get install gnupg" in caught.value.hint


def test_a_program_that_hangs_is_not_waited_for_without_end(monkeypatch, key):
    monkeypatch.setattr(gnupg, "_SILENT_SECONDS", 0.2)
    monkeypatch.setattr(gnupg.Keyring, "add", lambda self, keys: [gnupg.Event("IMPORT_OK", ("17", "0" * 40))])
    monkeypatch.setattr(gnupg.Keyring, "command", lambda self, *arguments: ["sleep", "60"])
    check = made(key)
    with pytest.raises(ToolMissing, match="gpg hangs"), Chain([("pgp", check)]) as chain:
        chain.feed(bytes(1 << 20))


def test_an_import_that_hangs_is_not_waited_for_either(monkeypatch, key):
    monkeypatch.setattr(gnupg, "_SILENT_SECONDS", 0.2)
    monkeypatch.setattr(gnupg.Keyring, "command", lambda self, *arguments: ["sleep", "60"])
    with pytest.raises(ToolMissing, match="gpg hangs"):
        made(key)


def processes():
    """Return the command lines and environments of all processes that can be seen."""
    seen = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            seen.append((place / "cmdline").read_bytes() + (place / "environ").read_bytes())
        except OSError:  # it has ended
            continue
    return seen


def test_the_keyring_is_private_and_neither_key_nor_passphrase_is_anywhere_to_be_seen(
    nothing_stays, sealed, key, caplog
):
    caplog.set_level(logging.DEBUG)
    with Chain([("pgp", made(key, passphrase=PASSPHRASE))]) as chain:
        chain.feed(sealed[:1000])
        (home,) = nothing_stays.iterdir()
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        mine = [each for each in processes() if os.fsencode(home) in each]
        assert mine, "GnuPG is at work"
        listed = subprocess.check_output(["gpgconf", "--homedir", home, "--list-dirs", "socketdir"], text=True)
        assert not any(PASSPHRASE.encode() in each or key[200:240].encode() in each for each in mine)
    assert not Path(listed.strip()).exists(), "the folder of the agent's sockets is gone, wherever it lay"
    assert key[200:240] not in caplog.text
    assert PASSPHRASE not in caplog.text
    assert not any(os.fsencode(home) in each for each in processes()), "neither gpg nor its agent is left"


def test_the_keyring_of_the_user_is_left_alone(monkeypatch, nothing_stays, sealed, key, tmp_path):
    monkeypatch.setenv("GNUPGHOME", str(tmp_path))
    assert outcome(key, sealed) == (True, "encrypted")
    assert list(tmp_path.iterdir()) == []


def test_a_long_temporary_folder_is_left_for_a_short_one(monkeypatch, tmp_path, sealed, key):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert outcome(key, sealed) == (True, "encrypted")
    assert list(long.iterdir()) == []


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_bytes_are_a_bug(sealed, key, data):
    small = data.draw(st.one_of(st.binary(max_size=60), st.integers(1, 300).map(lambda cut: sealed[:cut])))
    results = judged(key, small, step=data.draw(st.integers(1, 100)))
    assert [result.passed for result in results] == [False]


def test_events_are_told_apart_from_other_lines():
    told = "gpg: hello\n[GNUPG:] ENC_TO AB 18 0\n[GNUPG:] \n[GNUPG:] GOODMDC\n"
    assert gnupg.events_in(told) == [gnupg.Event("ENC_TO", ("AB", "18", "0")), gnupg.Event("GOODMDC")]
