from __future__ import annotations

import doctest
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_fileflow import logs, secret
from pytest_fileflow.diagnosis import function_log, naming, neighbours
from pytest_fileflow.model import S3Location, SftpLocation
from pytest_fileflow.secret import Credentials

RUN_ID = "00112233445566ff"
NAME = f"acme_20261124T060000Z_{RUN_ID}.csv"


@pytest.mark.parametrize("module", [naming, neighbours, function_log, secret, logs], ids=lambda module: module.__name__)
def test_the_examples_in_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    "name", [f".{NAME}.part", f"{NAME}.filepart", f"{NAME}.tmp", f".{NAME}.swp", f"tmp_{NAME}", f"{NAME}~"]
)
def test_names_of_files_that_are_being_written(name):
    assert naming.is_temporary(name)
    assert not naming.is_temporary(NAME)


@pytest.mark.parametrize("ending", ["done", "ok", "ctl", "md5", "asc", "sha256", "manifest.json", "TRG", "xml"])
def test_what_is_written_beside_a_file_is_no_copy_of_it(ending):
    assert naming.is_companion(f"{NAME}.{ending}", NAME)
    assert not naming.is_copy_of(f"{NAME}.{ending}", NAME)


@given(st.text(string.ascii_letters + string.digits + "._- ()", min_size=1, max_size=20))
def test_no_name_is_a_copy_of_itself_and_a_stem_leads_every_name_made_from_it(more):
    assert not naming.is_copy_of(NAME, NAME)
    assert f"{naming.stem(NAME, RUN_ID)}{more}".startswith(naming.stem(NAME, RUN_ID))
    assert naming.holds(f"{more}{NAME.upper()}", RUN_ID)


def sftp(folder: str) -> SftpLocation:
    return SftpLocation("host", "user", folder, "arn")


@pytest.mark.parametrize(
    ("folder", "above"),
    [("/a/b", "/a"), ("/a/b/", "/a"), ("/a", "/"), ("a/b", "a"), ("a", "."), ("/", None), (".", None), ("", None)],
)
def test_the_parent_of_a_directory(folder, above):
    found = neighbours.parent(sftp(folder))
    assert (found and found.dir) == above


@given(st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=4), max_size=4))
def test_a_folder_is_a_child_of_its_parent(parts):
    for start in (S3Location("b"), sftp("/"), sftp("")):
        here = start
        for part in parts:
            deeper = neighbours.child(here, part)
            above = neighbours.parent(deeper)
            assert above is not None
            assert neighbours.place_of(above) == neighbours.place_of(here)
            assert neighbours.is_inside(deeper, start)
            assert not neighbours.is_inside(start, deeper)
            here = deeper


# --- secrets ------------------------------------------------------------------------------------

KEY = (
    "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE\nQyNTUxOQAAACBX\n"
    "-----END OPENSSH PRIVATE KEY-----"
)


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        KEY.replace("\n", "\\n"),
        KEY[20:],
        KEY[:70],
        "password=hunter2-and-more",
        '{"passphrase": "opensesame"}',
    ],
)
def test_no_secret_that_is_known_is_left_in_a_text(text):
    known = [Credentials(private_key=KEY, passphrase="opensesame", password="hunter2")]
    masked = secret.mask(f"START\n{text}\nEND", known)
    assert not any(part in masked for part in ("b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE", "hunter2", "opensesame"))


def test_a_private_key_that_nobody_knows_is_masked_too():
    assert secret.mask(f"START\n{KEY}\nEND", []) == "START\n***\nEND"
    openpgp = "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlFgEZ\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----"
    assert secret.mask(f"START\n{openpgp}\nEND", []) == "START\n***\nEND"
    assert secret.mask("nothing to hide", []) == "nothing to hide"
