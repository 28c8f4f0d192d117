"""Files of fields: as many records as they say, exactly as long as asked for, and the same for ever."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fileflow import payload
from pytest_fileflow.config.table_rules import of_table
from pytest_fileflow.model import Recipe
from pytest_fileflow.payload.fields import ENCODINGS

RUN, OTHER = "0123456789abcdef", "fedcba9876543210"
BY_NAME = {pattern.name: pattern for pattern in payload.PATTERNS}
NEWLINES = {"lf": "\n", "crlf": "\r\n"}

BOOKINGS = [
    {"name": "account", "type": "id", "width": 20, "prefix": "AC"},
    {"name": "amount", "type": "decimal", "min": -500, "max": 99999.99, "width": 20},
    {"name": "booked", "type": "date", "format": "%d.%m.%y", "width": 16},
    {"name": "paid, ok?", "type": "boolean", "nulls": 0.25, "width": 10},
    {"name": "state", "type": "enum", "values": ["NEW", 'he said "no"', 7], "width": 24},
    {"name": "who", "type": "name", "width": 30},
    {"name": "run", "type": "run_id", "width": 32},
    {"name": "note", "type": "text", "nulls": 0.1, "quotes": True, "width": 40},
]


def make(form: str, options: dict, size: int, run_id: str = RUN):
    pattern = payload.configured(BY_NAME[form], options)
    problem = pattern.size_problem(size)
    if problem is not None:
        size = int(re.findall(r"(\d+) bytes", problem)[-1])
        assert pattern.size_problem(size) is None
    measured = payload.measure(Recipe(form, size, options), pattern, run_id)
    content = b"".join(pattern.blocks(run_id, size))
    assert (len(content), hashlib.sha256(content).hexdigest()) == (size, measured.sha256)
    return content, measured


def decoded(content: bytes, encoding: str) -> str:
    return content.decode(ENCODINGS[encoding]).removeprefix("\ufeff")


def drawn(charset: str, *, newlines: bool) -> list[dict]:
    text = {**BOOKINGS[-1], "charset": charset, "newlines": newlines}
    return [*BOOKINGS[:5], {**BOOKINGS[5], "charset": charset}, BOOKINGS[6], text]


ENCODED = st.sampled_from(["utf-8", "utf-16", "latin-1", "cp1252"])
SCRIPTS = {"latin-1": ("ascii", "latin"), "cp1252": ("ascii", "latin")}
ANY_SCRIPT = ("latin", "cyrillic", "cjk", "emoji")
SIZES = st.integers(0, 3000) | st.integers(290_000, 291_000)
FEW = settings(deadline=None, max_examples=12)


@st.composite
def layouts(draw, form: str) -> dict:
    encoding = draw(ENCODED)
    charset = draw(st.sampled_from(SCRIPTS.get(encoding, ANY_SCRIPT)))
    return {
        "fields": drawn(charset, newlines=form != "fixedwidth" and draw(st.booleans())),
        "encoding": encoding,
        "newline": draw(st.sampled_from(list(NEWLINES))),
        "bom": encoding.startswith("utf") and draw(st.booleans()),
        **({"locale": draw(st.sampled_from(["de_DE", "fr_FR"]))} if draw(st.booleans()) else {}),
    }


@FEW
@given(st.data(), SIZES)
def test_pythons_csv_reads_as_many_records_as_are_told(data, size):
    options = {
        **data.draw(layouts("csv")),
        "header": data.draw(st.booleans()),
        "delimiter": data.draw(st.sampled_from([",", ";", "|", "\t"])),
        "quote": data.draw(st.sampled_from(["minimal", "all"])),
    }
    assert list(of_table(options, "csv")) == []
    content, measured = make("csv", options, size)
    text = decoded(content, options["encoding"])
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=options["delimiter"], strict=True))
    names = [field["name"] for field in BOOKINGS]
    if options["header"] and content:
        assert rows.pop(0) == names
        assert next(csv.reader([measured.header], delimiter=options["delimiter"])) == names
    else:
        assert measured.header is None
    assert {len(row) for row in rows} <= {len(BOOKINGS)}
    assert [row[0] for row in rows] == [f"AC{number:018d}" for number in range(1, len(rows) + 1)]
    assert all(row[6] == RUN for row in rows)
    assert not rows or rows[-1][-1].startswith(RUN)
    assert text.count("\r\n") == (0 if options["newline"] == "lf" else len(rows) + (measured.header is not None))
    assert measured.rows == len(rows)


@FEW
@given(st.data(), SIZES)
def test_every_line_of_jsonl_is_a_record(data, size):
    options = data.draw(layouts("jsonl"))
    content, measured = make("jsonl", options, size)
    lines = decoded(content, options["encoding"]).split(NEWLINES[options["newline"]])
    assert lines.pop() == ""
    records = [json.loads(line) for line in lines]
    assert measured.rows == len(records)
    assert all(list(record) == [field["name"] for field in BOOKINGS] for record in records)
    kinds = {type(record["amount"]) for record in records}
    assert kinds <= ({str} if "locale" in options else {float})
    assert {record["paid, ok?"] for record in records} <= {True, False, None}


@FEW
@given(st.data(), SIZES)
def test_records_of_a_fixed_width_are_that_many_bytes(data, size):
    options = {**data.draw(layouts("fixedwidth")), "header": data.draw(st.booleans())}
    assert list(of_table(options, "fixedwidth")) == []
    content, measured = make("fixedwidth", options, size)
    unit = 2 if options["encoding"] == "utf-16" else 1
    length = sum(field["width"] for field in BOOKINGS) + len(NEWLINES[options["newline"]]) * unit
    mark = "\ufeff".encode(ENCODINGS[options["encoding"]]) if options["bom"] and content else b""
    assert content.startswith(mark)
    body = content[len(mark) :]
    assert len(body) % length == 0
    records = [body[at : at + length].decode(ENCODINGS[options["encoding"]]) for at in range(0, len(body), length)]
    assert all(record.endswith(NEWLINES[options["newline"]]) for record in records)
    assert measured.rows == len(records) - (options["header"] and bool(records))
    assert all(RUN in record for record in records[1:])


def test_null_and_an_empty_text_of_a_single_column_are_records_too():
    options = {"fields": [{"name": "note", "type": "text", "nulls": 0.5}], "header": False}
    content, measured = make("csv", options, 5000)
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert len(rows) == measured.rows
    assert [] not in rows
    assert 0.3 < rows.count([""]) / len(rows) < 0.7


def test_quote_all_tells_null_from_empty():
    fields = [{"name": "a", "type": "constant", "value": ""}, {"name": "b", "type": "text", "nulls": 1}]
    content, _ = make("csv", {"fields": fields, "quote": "all"}, 400)
    assert set(content.decode().splitlines()[1:-1]) == {'"",'}


@pytest.mark.parametrize(
    ("locale", "grouping", "written"),
    [
        (None, False, r"-?\d{1,7}\.\d{3}"),
        ("de_DE", False, r"-?\d{1,7},\d{3}"),
        ("de_DE", True, r"-?\d{1,3}(\.\d{3})*,\d{3}"),
        ("fr_FR", True, r"-?\d{1,3}(\u00a0\d{3})*,\d{3}"),
        ("en_US", True, r"-?\d{1,3}(,\d{3})*\.\d{3}"),
    ],
)
def test_numbers_are_written_as_the_locale_does(locale, grouping, written):
    amount = {"name": "a", "type": "decimal", "min": -1234567, "max": "1234567.891", "scale": 3, "grouping": grouping}
    options = {"fields": [amount, {"name": "t", "type": "text"}], **({"locale": locale} if locale else {})}
    content, _ = make("csv", options, 20_000)
    values = [row[0] for row in csv.reader(io.StringIO(content.decode()))][1:]
    assert all(re.fullmatch(written, value) for value in values)
    assert len(set(values)) > 100


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ({"type": "date"}, r"20\d\d-\d\d-\d\d"),
        ({"type": "date", "min": "2024-02-28", "max": "2024-02-29", "format": "%Y%m%d"}, "2024022[89]"),
        ({"type": "date", "locale": "en_US"}, r"\d\d/\d\d/20\d\d"),
        ({"type": "date", "format": "%%%d %y"}, r"%\d\d 2\d"),
        ({"type": "datetime"}, r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
        ({"type": "datetime", "min": "2026-01-31T23:59:59", "max": "2026-01-31"}, "2026-01-31T23:59:59Z"),
        ({"type": "integer", "min": 7, "max": 7}, "7"),
        ({"type": "boolean", "values": ["J", "N"]}, "[JN]"),
        ({"type": "constant", "value": 3}, "3"),
        ({"type": "id", "start": 98, "prefix": "%d-"}, r"%d-\d+"),
    ],
)
def test_values_are_what_their_field_says(field, written):
    options = {"fields": [{"name": "a", **field}, {"name": "t", "type": "text"}]}
    content, _ = make("csv", options, 4000)
    values = [row[0] for row in csv.reader(io.StringIO(content.decode()))][1:]
    assert len(values) > 20
    assert all(re.fullmatch(written, value) for value in values), values[:5]


def test_without_fields_there_are_usual_ones():
    content, measured = make("csv", {"encoding": "latin-1", "delimiter": ";", "locale": "de_DE"}, 5000)
    rows = list(csv.DictReader(io.StringIO(content.decode("latin-1")), delimiter=";"))
    assert measured.rows == len(rows) > 20
    assert re.fullmatch(r"-?\d+,\d\d", rows[0]["amount"])


def test_two_runs_differ_and_a_run_is_in_its_file():
    fields = [{"name": "a", "type": "constant", "value": "x"}, {"name": "t", "type": "text", "nulls": 1}]
    contents = [make("csv", {"fields": fields}, 300, run)[0] for run in (RUN, OTHER)]
    assert contents[0] != contents[1]
    assert [run.encode() in content for run, content in zip((RUN, OTHER), contents, strict=True)] == [True, True]


# The bytes of a released pattern never change: other versions make them again to compare.
GOLDEN = {
    ("csv", "utf-8"): "2863bb8478ffeef5a3634c8417a612fe787937d4053a6d11ea0417640ab8f1af",
    ("csv", "utf-16"): "3868df75a9a8846bcd29dde1d976741300f9288b3233d949f86ad0356e257e9a",
    ("jsonl", "utf-8"): "a245d03b80dd990686610ad4bd0305b7de5a701888738901bbd3762d03a1f183",
    ("fixedwidth", "cp1252"): "5eac2b0262618e779d2acfcb3d315dd8ffca3060aebb871157bbb7b887fa054d",
}


@pytest.mark.parametrize(("form", "encoding"), GOLDEN)
def test_the_bytes_never_change_from_one_version_to_the_next(form, encoding):
    options = {"fields": drawn("latin", newlines=form == "csv"), "encoding": encoding, "locale": "de_DE"}
    _, measured = make(form, options, 400_000)
    assert measured.sha256 == GOLDEN[form, encoding]


@pytest.mark.parametrize(
    ("form", "options", "size", "message"),
    [
        (
            "csv",
            {},
            10,
            "a size of 10 cannot hold one row of these fields; the smallest that can be made is 174 bytes",
        ),
        (
            "csv",
            {"encoding": "utf-16"},
            1001,
            (
                "a size of 1001 is no whole number of characters of 2 bytes; "
                "the nearest that can be made are 1000 and 1002 bytes"
            ),
        ),
        (
            "fixedwidth",
            {},
            1000,
            (
                "a size of 1000 is no whole number of records of 151 bytes; "
                "the nearest that can be made are 906 and 1057 bytes"
            ),
        ),
        ("jsonl", {}, -1, "a size of -1 is negative; the nearest that can be made is 0 bytes"),
    ],
)
def test_a_size_that_cannot_be_made_is_told_with_the_nearest(form, options, size, message):
    options = {"newline": "lf", **options}
    assert payload.configured(BY_NAME[form], options).size_problem(size) == message
