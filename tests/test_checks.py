from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_fileflow.checks import Expected, Sha256Check, latency_check, size_check
from pytest_fileflow.checks.kms import judge_key
from pytest_fileflow.model import Latency, Stat

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER_KEY = KEY.replace("1234abcd", "ffffffff")
ALIAS = "arn:aws:kms:eu-central-1:111122223333:alias/transfers"


@pytest.mark.parametrize(
    ("expected", "tolerance", "observed", "passed", "texts"),
    [
        (5242880, 0, 5242880, True, ("5242880 bytes", "5242880 bytes")),
        (5242880, 0, 5242879, False, ("5242880 bytes", "5242879 bytes (1 too few)")),
        (100, 10, 110, True, ("100 bytes ± 10", "110 bytes (10 too many)")),
        (100, 10, 111, False, ("100 bytes ± 10", "111 bytes (11 too many)")),
        (100, 10, 90, True, ("100 bytes ± 10", "90 bytes (10 too few)")),
        (100, 10, 89, False, ("100 bytes ± 10", "89 bytes (11 too few)")),
        (1, 0, 0, False, ("1 byte", "0 bytes (1 too few)")),
        (0, 0, 0, True, ("0 bytes", "0 bytes")),
    ],
)
def test_the_size_is_judged_to_the_byte(expected, tolerance, observed, passed, texts):
    result = size_check(Expected(expected, "", tolerance), observed)
    assert (result.name, result.passed, (result.expected, result.observed)) == ("size", passed, texts)


@given(st.lists(st.binary(max_size=100)))
def test_the_digest_does_not_depend_on_how_the_bytes_are_cut(chunks):
    digest = hashlib.sha256(b"".join(chunks)).hexdigest()
    check = Sha256Check(Expected(0, digest.upper()))
    for chunk in chunks:
        check.feed(chunk)
    assert check.hexdigest == digest
    assert check.result().to_dict() == {
        "name": "sha256",
        "outcome": "passed",
        "expected": digest,
        "observed": digest,
    }


def test_another_digest_fails():
    check = Sha256Check(Expected(1, hashlib.sha256(b"a").hexdigest()))
    check.feed(b"b")
    result = check.result()
    assert not result.passed
    assert result.observed == hashlib.sha256(b"b").hexdigest()


@pytest.mark.parametrize(
    ("slo", "seconds", "resolution", "passed", "texts"),
    [
        (420, 3.21, 0.05, True, ("within 420 s", "3.21 s (± 0.05 s)")),
        (1.5, 1.5, 0, True, ("within 1.5 s", "1.5 s (± 0 s)")),
        (420, 420.04, 0.05, True, ("within 420 s", "420.04 s (± 0.05 s)")),
        (420, 420.06, 0.05, False, ("within 420 s", "420.06 s (± 0.05 s)")),
        (1000000, 1234567.8, 0, False, ("within 1000000 s", "1234567.8 s (± 0 s)")),
    ],
)
def test_only_what_must_have_arrived_after_the_slo_is_late(slo, seconds, resolution, passed, texts):
    result = latency_check(slo, Latency(seconds, resolution))
    assert (result.name, result.passed, (result.expected, result.observed)) == ("latency", passed, texts)


@pytest.mark.parametrize(
    ("arn", "encryption", "key", "passed", "observed"),
    [
        (KEY, "aws:kms", KEY, True, f"encrypted with aws:kms by {KEY}"),
        (KEY, "aws:kms:dsse", KEY, True, f"encrypted with aws:kms:dsse by {KEY}"),
        (KEY, "aws:kms", OTHER_KEY, False, f"encrypted with aws:kms by {OTHER_KEY}"),
        (
            KEY,
            "aws:kms",
            KEY.rpartition("/")[2],
            True,
            "encrypted with aws:kms by 1234abcd-12ab-34cd-56ef-1234567890ab",
        ),
        (KEY.rpartition("/")[2], "aws:kms", KEY, True, f"encrypted with aws:kms by {KEY}"),
        (KEY, "aws:kms", KEY.replace("eu-central-1", "eu-west-1"), False, None),
        (KEY, "aws:kms", None, False, "encrypted with aws:kms"),
        (KEY, "AES256", None, False, "encrypted with AES256"),
        (KEY, None, KEY, False, "no server-side encryption reported"),
        (KEY, None, None, False, "no server-side encryption reported"),
        (ALIAS, "aws:kms", KEY, True, f"encrypted with aws:kms by {KEY}"),
        (ALIAS, "AES256", None, False, "encrypted with AES256"),
        (ALIAS, None, None, False, "no server-side encryption reported"),
    ],
)
def test_the_encryption_key_is_the_expected_one(arn, encryption, key, passed, observed):
    result = judge_key(arn, Stat("f", 1, encryption=encryption, kms_key_id=key))
    assert (result.name, result.passed) == ("kms", passed)
    assert observed in (None, result.observed)
    assert arn in result.expected
    assert ("S3 does not tell" in result.expected) == (arn == ALIAS)
