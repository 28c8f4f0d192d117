"""Files in files: what any program makes of them, and that a file is only sent as it was prepared."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow import payload, steps
from pytest_fileflow.clock import Clock
from pytest_fileflow.errors import TesterBug
from pytest_fileflow.model import Case, Flow, PayloadFile, Recipe, Run, S3Location, TestData, Variant, Wrap
from pytest_fileflow.payload import wraps
from pytest_fileflow.payload.pgp_key import KeyProblem, recipient
from pytest_fileflow.payload.zipped import zipped
from pytest_fileflow.registry import Registry, register_builtin_patterns
from pytest_fileflow.streams import Tools, open_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RUN, OTHER = "0123456789abcdef", "fedcba9876543210"
KINDS = {
    "rsa": ("rsa2048", "rsa2048"),
    "curve25519": ("ed25519", "cv25519"),
    "p256": ("nistp256", "nistp256"),
    "p384": ("nistp384", "nistp384"),
    "p521": ("nistp521", "nistp521"),
}


class Gpg:
    """GnuPG itself, with a key ring of its own."""

    def __init__(self, home: Path) -> None:
        home.mkdir(mode=0o700)
        self._environment = {**os.environ, "GNUPGHOME": str(home)}

    def __call__(self, *arguments: str, given: bytes = b"") -> bytes:
        command = ["gpg", "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, env=self._environment, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def key(self, name: str) -> str:
        primary, sub = KINDS[name]
        self("--quick-gen-key", name, primary, "sign", "never")
        listed = self("--with-colons", "--list-keys", name).decode().splitlines()
        fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr"))
        self("--quick-add-key", fingerprint, sub, "encr", "never")
        return self("--armor", "--export", name).decode()

    def stop(self) -> None:
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=self._environment, check=False, timeout=60)


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gpg]:
    assert shutil.which("gpg"), "these tests need GnuPG: .ci/run installs it"
    # An agent's socket must have a short path.
    program = Gpg(tmp_path_factory.mktemp("g") / "h")
    yield program
    program.stop()


@pytest.fixture(scope="module")
def tools() -> Tools:
    registry = Registry()
    register_builtin_patterns(registry)
    return Tools(_nowhere, _nowhere, registry, Clock())


def _nowhere(*_: object):
    raise AssertionError("nothing is to be sent")


def prepared(tools: Tools, size: int, *wrap: Wrap, pattern: str = "csv", **options: object) -> Run:
    testdata = TestData((Variant("", size),), pattern, options=options, wrap=wrap)
    flow = Flow("acme", S3Location("a"), S3Location("b"), testdata=testdata)
    return steps.prepare(Case(flow, testdata.variants[0]), tools, run_id=RUN)


def unzipped(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (member,) = archive.infolist()
        assert member.date_time == (1980, 1, 1, 0, 0, 0)
        assert member.filename.startswith(f"{RUN}.csv")
        return archive.read(member)


UNWRAP: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "zip": unzipped}
SIZES = [0, 256, 65_530, 2_300_000]


@pytest.mark.parametrize("names", [("gzip",), ("zip",), ("gzip", "zip"), ("zip", "gzip", "gzip")], ids="-".join)
@pytest.mark.parametrize("size", SIZES)
def test_other_programs_find_what_was_wrapped_and_every_layer_is_measured(tools, names, size):
    run = prepared(tools, size, *map(Wrap, names))
    file = run.file
    assert file.name.endswith("_" + ".".join([RUN, "csv", *(wraps.WRAPPINGS[name].extension for name in names[::-1])]))
    content = open_payload(run, tools).read()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
    for depth, name in enumerate(names, 1):
        content = UNWRAP[name](content)
        layer = file.inside[depth - 1]
        assert (layer.wrapping, layer.size, layer.sha256) == (name, len(content), hashlib.sha256(content).hexdigest())
        assert open_payload(run, tools, depth=depth).read() == content
    assert len(content) == size
    assert file.rows == max(0, content.count(b"\n") - 1)
    assert file.header == (content.partition(b"\n")[0].decode() if size else None)


@pytest.mark.parametrize("kind", KINDS)
def test_gpg_decrypts_what_is_encrypted_to_its_key(tools, gpg, kind):
    wrap = Wrap("pgp", {"public_key": gpg.key(kind)})
    for size in SIZES:
        run = prepared(tools, size, wrap, pattern="random")
        message = open_payload(run, tools).read()
        assert open_payload(run, tools).read() == message, "the same one every time"
        content = gpg("--decrypt", given=message)
        assert hashlib.sha256(content).hexdigest() == run.file.inside[0].sha256
    other = open_payload(run, tools, OTHER).read()
    assert other[:300] != message[:300]
    assert len(gpg("--decrypt", given=other)) == SIZES[-1]


def test_gpg_says_so_where_a_message_was_changed(tools, gpg):
    message = bytearray(open_payload(prepared(tools, 5000, Wrap("pgp", {"public_key": gpg.key("p256")})), tools).read())
    message[-100] ^= 1
    with pytest.raises(AssertionError, match=r"(?i)modif|manipul|corrupt|bad|invalid|WARNING"):
        gpg("--decrypt", given=bytes(message))


def test_a_layer_in_pgp_in_gzip_can_be_read_from_anywhere(tools, gpg):
    key = (
        {"public_key": gpg.key("curve25519")}
        if not gpg("--list-keys").count(b"curve25519")
        else {"public_key": gpg("--armor", "--export", "curve25519").decode()}
    )
    run = prepared(tools, 3_000_000, Wrap("gzip"), Wrap("pgp", key))
    whole = open_payload(run, tools).read()
    with open_payload(run, tools) as stream:
        for place in (0, 1_500_000, 7, len(whole) - 3, 1_600_000):
            stream.seek(place)
            assert stream.read(5) == whole[place : place + 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not an armored OpenPGP public key"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAA==\n-----END PGP PRIVATE KEY BLOCK-----", "is a private key"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----", "is not a whole OpenPGP"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!\n-----END PGP PUBLIC KEY BLOCK-----", "is not a whole OpenPGP"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n\n-----END PGP PUBLIC KEY BLOCK-----", "holds no key"),
    ],
)
def test_what_is_no_public_key_is_refused(text, message):
    with pytest.raises(KeyProblem, match=message):
        recipient(text)


@pytest.mark.parametrize("is_large", [False, True])
def test_a_zip_file_is_one_to_every_reader(tmp_path, is_large):
    content = os.urandom(100_000) + bytes(1_000_000)
    path = tmp_path / "a.zip"
    path.write_bytes(b"".join(zipped(iter([content[:7], content[7:]]), "a.csv", is_large=is_large)))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.read("a.csv") == content
        assert archive.infolist()[0].extract_version == (45 if is_large else 20)
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-tq", path], check=True, stdout=subprocess.DEVNULL)


def test_a_key_that_only_signs_or_was_cut_off_is_refused(gpg):
    gpg("--quick-gen-key", "signer", "ed25519", "sign", "never")
    text = gpg("--armor", "--export", "signer").decode()
    with pytest.raises(KeyProblem, match="holds no key that can be encrypted to with RSA or ECDH, only EdDSA"):
        recipient(text)
    head, rest = text.split("\n\n")
    with pytest.raises(KeyProblem, match="is not a whole OpenPGP public key"):
        recipient(f"{head}\n\n{rest[:40]}\n-----END PGP PUBLIC KEY BLOCK-----")


# --- Made again


@pytest.mark.parametrize("depth", [0, 1])
def test_what_another_zlib_makes_is_never_sent_as_what_was_prepared(tools, monkeypatch, depth):
    run = prepared(tools, 100_000, Wrap("gzip"), Wrap("gzip"))
    right = open_payload(run, tools, depth=depth).read()
    monkeypatch.setattr(wraps, "LEVEL", 9)
    with open_payload(run, tools, depth=depth) as stream:
        taken = b""
        with pytest.raises(TesterBug, match="cannot be made again"):
            while chunk := stream.read(1000):
                taken += chunk
    assert len(taken) < len(right), "an upload must not be whole"
    assert open_payload(run, tools, depth=2).read().startswith(b"record,")


def test_the_recipe_of_a_run_survives_json(tools, gpg):
    fields = [{"name": "n", "type": "id"}, {"name": "t", "type": "text", "nulls": 0.1}]
    for run in (
        prepared(tools, 5000, Wrap("gzip"), fields=fields, locale="de_DE"),
        prepared(tools, 5000),
    ):
        told = json.loads(json.dumps(dataclasses.asdict(run.file)))
        again = PayloadFile.from_dict(told)
        assert again == run.file
        anywhere = dataclasses.replace(run, file=again)
        assert hashlib.sha256(open_payload(anywhere, tools).read()).hexdigest() == run.file.sha256


def test_what_another_run_would_have_sent_ends_where_its_file_does(tools):
    run = prepared(tools, 50_000, Wrap("gzip"))
    for size in (run.file.size - 500, run.file.size + 500):
        other = open_payload(run, tools, OTHER, size).read()
        assert len(other) <= size
    assert gzip.decompress(other).count(OTHER.encode()) > 100


def test_the_manifest_tells_of_the_layers_and_rows(tools):
    run = prepared(tools, 5000, Wrap("gzip"))
    told = json.loads(steps.manifest(run))
    (inner,) = run.file.inside
    assert told["inside"] == [{"wrapping": "gzip", "size_bytes": 5000, "sha256": inner.sha256}]
    assert told["rows"] == run.file.rows > 10
    assert (told["size_bytes"], told["pattern"]) == (run.file.size, "csv")


def test_a_pattern_of_somebody_elses_is_wrapped_too(tools):
    registry = Registry()
    registry.payload(payload.Pattern("own", "bin", lambda _run, size: iter([b"x" * size]), lambda _size: None))
    run = prepared(dataclasses.replace(tools, registry=registry), 10, Wrap("gzip"), pattern="own")
    assert run.file.recipe == Recipe("own", 10, {}, (Wrap("gzip"),))
    assert run.file.rows is None
