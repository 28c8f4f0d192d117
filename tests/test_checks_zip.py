"""The check zip: what is in an archive, that all of it is whole, and what else an archive may be."""

from __future__ import annotations

import io
import random
import warnings
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fileflow.checks import Chain, Expected
from pytest_fileflow.checks.rows import Rows
from pytest_fileflow.checks.zip import Zip, make

ROWS = b"1,2\n" * 50_000
NOISE = random.Random(2).randbytes(3000)


def archive(*members, compression=zipfile.ZIP_DEFLATED, comment=b""):
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as made:
        warnings.simplefilter("ignore")  # of names that stand twice
        for name, data in members:
            made.writestr(zipfile.ZipInfo(name), data, compression)
        made.comment = comment
    return buffer.getvalue()


def judged(options, data, step=1 << 16, behind=()):
    with Chain([("zip", make(options, Expected(0, ""))), *behind]) as chain:
        for start in range(0, len(data), step):
            chain.feed(data[start : start + step])
        return chain.results()


ONE = archive(("orders.csv", ROWS))
TWO = archive(("orders.csv", ROWS), ("readme.txt", b"hello"), ("empty/", b""))
STORED = archive(("noise.bin", NOISE), compression=zipfile.ZIP_STORED)


@pytest.mark.parametrize(
    ("options", "data", "observed"),
    [
        ({}, ONE, "an archive of 1 file, whole; inside 200000 bytes"),
        ({"member": "orders_*.csv"}, archive(("orders_1.csv", ROWS)), "an archive of 1 file named orders_*.csv, whole"),
        ({"member": "orders.csv", "members": 2}, TWO, "an archive of 2 files, one of them named orders.csv, whole"),
        ({}, archive(("orders.csv", ROWS), comment=b"made by hand"), "an archive of 1 file, whole"),
        ({}, archive(("orders.csv", ROWS), compression=zipfile.ZIP_BZIP2), "an archive of 1 file, whole"),
        ({}, archive(("orders.csv", ROWS), compression=zipfile.ZIP_LZMA), "an archive of 1 file, whole"),
        ({}, archive(("orders.csv", ROWS), ("folder/", b"")), "an archive of 1 file, whole"),
        ({}, archive(("orders.csv", b"")), "an archive of 1 file, whole; inside 0 bytes"),
    ],
)
@pytest.mark.parametrize("step", [7, 1 << 20])
def test_a_right_archive_passes(options, data, observed, step):
    (result,) = judged(options, data, step)
    assert (result.name, result.passed) == ("zip", True)
    assert result.observed.startswith(observed)


def test_the_checks_behind_see_the_file_inside():
    zipped, rows = judged({"member": "orders.csv", "members": 2}, TWO, behind=[("rows", Rows(50_000, 50_000))])
    assert (zipped.passed, rows.passed, rows.observed) == (True, True, "50000 rows")


def damaged(data, at, value=0xFF):
    return data[:at] + bytes([data[at] ^ value]) + data[at + 1 :]


def encrypted():
    """Say in both headers that the member is encrypted; zipfile itself cannot encrypt."""
    data = damaged(STORED, 6, 1)
    return damaged(data, data.find(b"PK\1\2") + 8, 1)


@pytest.mark.parametrize(
    ("options", "data", "observed"),
    [
        ({}, b"", "this is not zip"),
        ({}, b"plain text", "this is not zip"),
        ({}, b"#!/bin/sh\n" + ONE, "this is not zip"),
        ({}, TWO, "an archive of 2 files"),
        ({}, archive(), "an archive of 0 files"),
        ({"members": 3, "member": "*"}, TWO, "an archive of 2 files"),
        ({"member": "*.txt"}, ONE, "an archive in which 0 of 1 file have this name"),
        ({"member": "*", "members": 2}, TWO, "an archive in which 2 of 2 files have this name"),
        ({}, ONE[:-1], f"cut off after {len(ONE) - 1} bytes: the end of the archive is missing"),
        ({}, ONE[:100], "cut off after 100 bytes: the end of the archive is missing"),
        ({}, archive(("a", b"1"), comment=b"made by hand")[:-5], "cut off after 110 bytes"),
        ({}, ONE + b"\0" * 10, "10 bytes follow the archive"),
        ({}, damaged(STORED, 1000), "a file in it is damaged: the CRC-32 of its content is wrong"),
        ({}, damaged(STORED, STORED.find(b"PK\1\2")), "the directory of the archive is damaged"),
        ({}, damaged(ONE, 60), "a file in it is damaged: it cannot be unpacked"),
        (
            {},
            damaged(STORED, STORED.find(b"PK\1\2") + 10, 77),
            "a file in it is compressed in a way that is not known here",
        ),
        ({}, encrypted(), "the file is encrypted"),
        ({"max_bytes": 1000}, ONE, "more than 1000 bytes inside: not read on"),
        ({"max_bytes": 1000, "members": 2, "member": "readme.txt"}, TWO, "more than 1000 bytes in a file: not read on"),
    ],
)
def test_a_wrong_archive_says_what_is_wrong(options, data, observed):
    zipped, behind = judged(options, data, behind=[("rows", Rows(1, 1))])
    assert (zipped.name, zipped.passed, zipped.observed) == ("zip", False, observed)
    assert (behind.passed, behind.observed) == (False, "not judged: zip could not be opened")


def test_a_damaged_member_is_found_though_another_is_asked_for():
    both = archive(("noise.bin", NOISE), ("orders.csv", ROWS), compression=zipfile.ZIP_STORED)
    (result,) = judged({"members": 2, "member": "orders.csv"}, damaged(both, 1000))
    assert (result.passed, result.observed) == (False, "a file in it is damaged: the CRC-32 of its content is wrong")


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([ONE, TWO, STORED, archive(("a", b"1"), compression=zipfile.ZIP_LZMA), archive(("ä", b"1"))]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=4),
    st.integers(0, 30),
)
def test_no_bytes_are_a_bug(data, flips, cut):
    for at, value in flips:
        data = damaged(data, -1 - at % min(len(data), 400), value)  # the directory and what is near it
    check = Zip(max_bytes=1 << 20)
    with Chain([("zip", check)]) as chain:
        chain.feed(data[: len(data) - cut])
        (result,) = chain.results()
    assert result.name == "zip"
