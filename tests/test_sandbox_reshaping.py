from __future__ import annotations

import io
import json
import re
import zipfile

import pytest

from pytest_fileflow.sandbox.ends import TransferError
from pytest_fileflow.sandbox.reshaping import new_name, reshaped

CONTENT = bytes(range(256)) * 5000


def work(unwraps: tuple[str, ...] = (), adds: tuple[str, ...] = (), name: str | None = None) -> dict[str, object]:
    return {"unwraps": unwraps, "adds": adds, "name": name}


def through(content: bytes, *steps: dict[str, object]) -> bytes:
    for step in steps:
        body, size = reshaped(step, io.BytesIO(content), len(content), "a.csv.zip")
        with body:
            content = body.read()
        assert len(content) == size
    return content


@pytest.mark.parametrize("layers", [(), ("gzip",), ("zip",), ("zip", "gzip"), ("gzip", "gzip")], ids="-".join)
def test_what_is_put_on_can_be_taken_off(layers):
    wrapped = through(CONTENT, work(adds=layers))
    assert (wrapped == CONTENT) == (not layers)
    assert through(wrapped, work(unwraps=layers)) == CONTENT


def test_a_zip_holds_one_member_that_is_named_as_the_file():
    archive = zipfile.ZipFile(io.BytesIO(through(CONTENT, work(adds=("zip",)))))
    assert archive.namelist() == ["a.csv"]
    assert archive.testzip() is None


def test_members_of_gzip_that_follow_each_other_are_one_file():
    twice = through(CONTENT, work(adds=("gzip",))) * 2
    assert through(twice, work(unwraps=("gzip",))) == CONTENT * 2


@pytest.mark.parametrize(("layer", "words"), [("gzip", "unpacked"), ("zip", "unpacked"), ("pgp", "the partner's key")])
def test_a_layer_that_cannot_be_taken_off_is_an_error(layer, words):
    with pytest.raises(TransferError, match=words):
        through(CONTENT, work(unwraps=(layer,)))


def test_names():
    manifest = json.dumps({"test_run_id": "00ff", "created_utc": "2026-11-24T06:00:00.000Z"}).encode()
    assert new_name(work(), "a.csv", None, "acme") == "a.csv"
    to = "${file.stem}-${run_id}-${flow_id}-${date}${file.suffix}"
    assert new_name(work(name=to), "a.csv", manifest, "acme") == "a-00ff-acme-20261124.csv"
    assert re.fullmatch(r"a.csv_\d{8}T\d{12}.gz", new_name(work(name="${file.name}_*.gz"), "a.csv", b"[", "acme"))
