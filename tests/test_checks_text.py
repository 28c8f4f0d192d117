"""The checks over text: a right file passes, each wrong one says what is wrong, wherever chunks are cut."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fileflow.checks import Expected
from pytest_fileflow.checks.csv_header import _Patterns
from pytest_fileflow.checks.lines import LONGEST_LINE
from pytest_fileflow.errors import ConfigInvalid
from pytest_fileflow.registry import Registry, register_builtin_checks

REGISTRY = Registry()
register_builtin_checks(REGISTRY)
CSV = Expected(0, "", rows=2, header="id,amount,note\n")
PLAIN = Expected(0, "", rows=3)
UNKNOWN = Expected(0, "")
BARE_CSV = Expected(0, "", rows=2, is_csv=True)
RECORDS = Expected(0, "", rows=2, header="a  b", is_csv=False)
COLONS = Expected(0, "", header='"a, b":c', delimiter=":")
UTF16 = Expected(0, "", rows=2, header="id,note", is_csv=True, is_utf16=True)
WIDE = 'id,note\n\u0a0a,"\u0a22\n"\n2,b\n'


def judged(name, options, data, expected=UNKNOWN, step=None):
    check = REGISTRY.check_for(name)(options, expected)
    step = step or len(data) or 1
    for start in range(0, len(data), step):
        check.feed(data[start : start + step])
    return check.result()


RIGHT = [
    ("rows", {}, PLAIN, b"a\nb\nc\n", "3 rows"),
    ("rows", {}, PLAIN, b"a\nb\nc", "3 rows"),
    ("rows", {}, PLAIN, b"a\r\n\r\nc\r\n", "3 rows"),
    ("rows", {}, CSV, b'id,amount,note\n1,2,"a\nb"\n2,3,"say ""hi""\n"\n', "2 rows"),
    ("rows", {}, CSV, b"id,amount,note\r\n1,2,\r\n2,3,", "2 rows"),
    ("rows", {"header": False}, CSV, b"1,2,\n2,3,\n", "2 rows"),
    ("rows", {"format": "lines"}, CSV, b'id\n1"\n2\n', "2 rows"),
    ("rows", {}, BARE_CSV, b'1,"a\nb"\n2,c\n', "2 rows"),
    ("rows", {}, RECORDS, b'a  b\n1 "x\n2 y \n', "2 rows"),
    ("csv_header", {}, COLONS, b'"a, b":c\n1:"x,""y"":"\n', "2 columns, and as many fields in 2 rows"),
    ("rows", {}, UTF16, WIDE.encode("utf-16-le"), "2 rows"),
    ("rows", {}, UTF16, WIDE.encode("utf-16"), "2 rows"),
    ("rows", {}, UTF16, WIDE.encode(), "2 rows"),
    ("csv_header", {}, UTF16, WIDE.encode("utf-16-le"), "2 columns, and as many fields in 3 rows"),
    ("csv_header", {}, UTF16, ("\ufeff" + WIDE).encode("utf-16-be"), "2 columns, and as many fields in 3 rows"),
    ("rows", {"equals": 2}, UNKNOWN, b"a\nb\n", "2 rows"),
    ("rows", {"equals": 0}, UNKNOWN, b"", "0 rows"),
    ("rows", {"equals": 0, "header": True}, UNKNOWN, b"id\n", "0 rows"),
    ("rows", {"min": 1}, UNKNOWN, b"a\nb\n", "2 rows"),
    ("rows", {"min": 1, "max": 2.0}, UNKNOWN, b"a\nb\n", "2 rows"),
    ("rows", {"max": 2}, PLAIN, b"a\nb\n", "2 rows"),
    ("csv_header", {}, CSV, b"id,amount,note\n1,2,x\n", "3 columns, and as many fields in 2 rows"),
    ("csv_header", {}, CSV, b"id,amount,note", "3 columns, and as many fields in 1 row"),
    (
        "csv_header",
        {},
        CSV,
        b'"id",amount,"note"\r\n1,"2,5","a\nb ""c"","\r\n',
        "3 columns, and as many fields in 2 rows",
    ),
    ("csv_header", {}, CSV, b'\xef\xbb\xbf"id",amount,note\n', "3 columns, and as many fields in 1 row"),
    ("csv_header", {"delimiter": ";"}, CSV, b'id;amount;note\n1;"2;3";x\n', "3 columns, and as many fields in 2 rows"),
    ("csv_header", {"delimiter": "|", "quotechar": "'"}, CSV, b"id|amount|note\n1|'2|\n3'|\"x\n", None),
    ("csv_header", {"columns": ["a", "b"]}, UNKNOWN, b"a,b\n1,2\n", "2 columns, and as many fields in 2 rows"),
    ("csv_header", {"columns": ["größe"]}, UNKNOWN, "größe\n1\n".encode(), "1 column, and as many fields in 2 rows"),
    ("csv_header", {"columns": ["größe"]}, UNKNOWN, "größe\n1\n".encode("latin-1"), None),
    ("csv_header", {}, Expected(0, "", header="a;b,c;d\n"), b"a;b,c;d\n", "3 columns, and as many fields in 1 row"),
    ("jsonl", {}, UNKNOWN, b'{"a": 1}\n{}\r\n {"b": [1e999, 12]} \n', "3 objects"),
    ("jsonl", {}, UNKNOWN, b'{"a": ' + b"9" * 5000 + b"}", "1 object"),
    ("jsonl", {"required": ["a"]}, UNKNOWN, b'{"a": 1, "b": 2}\n{"a": null}\n', "2 objects with a"),
    ("jsonl", {}, UNKNOWN, b"", "0 objects"),
    ("fixedwidth", {"width": 3}, UNKNOWN, b"abc\ndef\n", "2 records"),
    ("fixedwidth", {"width": 3}, UNKNOWN, b"abc\ndef", "2 records"),
    ("fixedwidth", {"width": 3}, UNKNOWN, "äöü\nabc\n".encode(), "2 records"),
    ("fixedwidth", {"width": 3, "encoding": "latin-1"}, UNKNOWN, "äöü\n".encode("latin-1"), "1 record"),
    ("fixedwidth", {"width": 3, "newline": "crlf"}, UNKNOWN, b"abc\r\nd\ne\r\n", "2 records"),
    (
        "fixedwidth",
        {"width": 3, "newline": "none", "encoding": "cp037"},
        UNKNOWN,
        "abcdef".encode("cp037"),
        "2 records",
    ),
    ("fixedwidth", {"record_bytes": 4}, UNKNOWN, b"abc\n\xff\xfe\xfd\n", "2 records"),
    ("fixedwidth", {"record_bytes": 5, "newline": "crlf"}, UNKNOWN, b"abc\r\ndef\r\n", "2 records"),
    ("fixedwidth", {"record_bytes": 3, "newline": "none"}, UNKNOWN, b"a\nbcd\n", "2 records"),
    ("fixedwidth", {"width": 3}, UNKNOWN, b"", "0 records"),
    ("encoding", {}, UNKNOWN, "äöü\n€\n".encode(), "utf-8, 2 line ends"),
    ("encoding", {}, UNKNOWN, b"a\r\nb\nc\r", "utf-8, 3 line ends"),
    ("encoding", {"bom": "forbidden", "newline": "lf", "final_newline": True}, UNKNOWN, b"a\nb\n", None),
    ("encoding", {"newline": "crlf"}, UNKNOWN, b"a\r\nb\r\n", "utf-8, 2 line ends, each with CRLF"),
    ("encoding", {"newline": "any"}, UNKNOWN, b"a\rb\r", "utf-8, 2 line ends, each with CR"),
    ("encoding", {"newline": "any"}, UNKNOWN, b"a", "utf-8, 0 line ends"),
    ("encoding", {"final_newline": False}, UNKNOWN, b"a\nb", "utf-8, 1 line end"),
    ("encoding", {"final_newline": True}, UNKNOWN, b"", "utf-8, 0 line ends"),
    ("encoding", {"bom": "required"}, UNKNOWN, b"\xef\xbb\xbfa\n", "utf-8 with a byte order mark, 1 line end"),
    ("encoding", {"charset": "cp1252"}, UNKNOWN, b"\x80\n", "cp1252, 1 line end"),
    ("encoding", {"charset": "ascii"}, UNKNOWN, b"a\n", "ascii, 1 line end"),
    ("encoding", {"charset": "utf-16", "bom": "required", "newline": "crlf"}, UNKNOWN, "ä\r\n".encode("utf-16"), None),
    ("encoding", {"charset": "utf-16-le", "newline": "lf"}, UNKNOWN, "ä\n\u0a0d\n".encode("utf-16-le"), None),
    ("encoding", {"charset": "shift_jis"}, UNKNOWN, "日本\n".encode("shift_jis"), "shift_jis, 1 line end"),
]
WRONG = [
    ("rows", {}, PLAIN, b"a\nb\n", "3 rows", "2 rows (1 too few)"),
    ("rows", {}, PLAIN, b"", "3 rows", "0 rows (3 too few)"),
    ("rows", {"equals": 1}, UNKNOWN, b"a\nb\nc", "1 row", "3 rows (2 too many)"),
    ("rows", {"min": 3}, UNKNOWN, b"a\n", "at least 3 rows", "1 row (2 too few)"),
    ("rows", {"max": 1}, UNKNOWN, b"a\nb\n", "at most 1 row", "2 rows (1 too many)"),
    ("rows", {"min": 2, "max": 3}, UNKNOWN, b"a\n", "2 to 3 rows", "1 row (1 too few)"),
    ("rows", {}, CSV, b"1,2,\n2,3,\n", "2 rows beside the header", "1 row (1 too few)"),
    (
        "rows",
        {},
        CSV,
        b'id\n1,"a\n2\n',
        "2 rows beside the header",
        "1 row (1 too few), and a quote that is never closed",
    ),
    ("csv_header", {}, CSV, b"", None, "no header: the file is empty"),
    ("csv_header", {}, CSV, b"id,note,amount\n", None, "a header of 3 columns, in another order"),
    ("csv_header", {}, CSV, b"id,amount\n", None, "a header of 2 columns, without note"),
    ("csv_header", {}, CSV, b"secret,amount,note\n", None, "a header of 3 columns, without id and with 1 other"),
    ("csv_header", {}, CSV, b"id,amount,note,secret\n", None, "a header of 4 columns, with 1 other"),
    ("csv_header", {}, CSV, b"id,amount,note,id\n", None, "a header of 4 columns, some twice"),
    (
        "csv_header",
        {},
        CSV,
        b"id;amount;note\n",
        None,
        "a header of 1 column, without id, amount, note and with 1 other",
    ),
    ("csv_header", {}, CSV, b"id,amount,note\n1,2,3\n1,2\n", None, "row 3 (line 3) has 2 fields, not 3"),
    ("csv_header", {}, CSV, b"id,amount,note\n1,2,3,4\n", None, "row 2 (line 2) has 4 fields, not 3"),
    ("csv_header", {}, CSV, b'id,amount,note\n1,2,"a\n\0\nb"\n1\n', None, "row 3 (line 5) has 1 field, not 3"),
    ("csv_header", {}, CSV, b"id,amount,note\n\n", None, "row 2 (line 2) has 1 field, not 3"),
    ("csv_header", {}, CSV, b'id,amount,note\n1,2,"a\n\n', None, "row 2 (line 2) has a quote that is never closed"),
    (
        *("csv_header", {}, CSV, b'id,amount,note\n1,2,5" pipe"s\n', None),
        "row 2 (line 2) has a quote within a field, which must stand twice in a quoted one (RFC 4180)",
    ),
    (
        "csv_header",
        {},
        CSV,
        b"id,amount,note\n" + b"x" * (LONGEST_LINE + 1),
        None,
        "row 2 (line 2) is longer than 16 MiB",
    ),
    ("jsonl", {}, UNKNOWN, b'{}\n{"a": }\n', None, "line 2, column 7: Expecting value"),
    ("jsonl", {}, UNKNOWN, b'{}\n{"a": 1\n', None, "line 2, column 8: Expecting ',' delimiter"),
    ("jsonl", {}, UNKNOWN, b"{}\n\n{}\n", None, "line 2 is empty"),
    ("jsonl", {}, UNKNOWN, b"[1]\n", None, "line 1 is a list, not an object"),
    ("jsonl", {}, UNKNOWN, b"12345678\n", None, "line 1 is a number, not an object"),
    ("jsonl", {}, UNKNOWN, b"true\n", None, "line 1 is true or false, not an object"),
    ("jsonl", {}, UNKNOWN, b'"secret"\n', None, "line 1 is a string, not an object"),
    # Together these would be objects, one a line.
    ("jsonl", {}, UNKNOWN, b'{"a": [1\n2]}\n{}, {}\n', None, "line 1, column 9: Expecting ',' delimiter"),
    ("jsonl", {}, UNKNOWN, b"null", None, "line 1 is null, not an object"),
    ("jsonl", {}, UNKNOWN, b'{"a": NaN}\n', None, "line 1: NaN is no JSON"),
    ("jsonl", {}, UNKNOWN, b'{"a": "\xff"}\n', None, "line 1, byte 8: not UTF-8"),
    ("jsonl", {}, UNKNOWN, b"\xef\xbb\xbf{}\n", None, "line 1 begins with a byte order mark"),
    ("jsonl", {}, UNKNOWN, b"{} {}\n", None, "line 1, column 4: Extra data"),
    ("jsonl", {}, UNKNOWN, b'{"a":' * 200000, None, "line 1 nests too deep"),
    (
        "jsonl",
        {"required": ["b", "a"]},
        UNKNOWN,
        b'{"b": 1}\n',
        "a JSON object with b, a in every line",
        "line 1 lacks a",
    ),
    ("jsonl", {}, UNKNOWN, b'{"a": "' + b"x" * LONGEST_LINE, None, "line 1 is longer than 16 MiB"),
    (
        "fixedwidth",
        {"width": 3},
        UNKNOWN,
        b"abc\nab\nabc\n",
        "records of 3 characters and LF",
        "record 2 has 2 characters, not 3",
    ),
    ("fixedwidth", {"width": 3}, UNKNOWN, b"abc\nabcd\nabc\n", None, "record 2 has more than 3 characters"),
    ("fixedwidth", {"width": 3}, UNKNOWN, b"abc\r\nabc\r\n", None, "record 1 ends with CR, not LF"),
    ("fixedwidth", {"width": 3}, UNKNOWN, b"abc\nab", None, "record 2, the last, has 2 characters, not 3"),
    ("fixedwidth", {"width": 3}, UNKNOWN, b"abc\nab\n", None, "record 2, the last, has 2 characters, not 3"),
    ("fixedwidth", {"width": 3}, UNKNOWN, "äö\nabc\n".encode(), None, "record 1 has 2 characters, not 3"),
    ("fixedwidth", {"width": 3}, UNKNOWN, b"abc\nab\xff\n", None, "record 2 is not utf-8"),
    ("fixedwidth", {"width": 3}, UNKNOWN, b"abc\nab\xc3", None, "record 2 is not utf-8"),
    (
        "fixedwidth",
        {"width": 3, "newline": "crlf"},
        UNKNOWN,
        b"abc\nabc\nabc\n",
        None,
        "record 1 ends with LF, not CRLF",
    ),
    (
        "fixedwidth",
        {"width": 3, "newline": "crlf"},
        UNKNOWN,
        b"abcd\r\nabc\r\n",
        None,
        "record 1 has more than 3 characters",
    ),
    (
        "fixedwidth",
        {"width": 3, "newline": "none"},
        UNKNOWN,
        b"abcd",
        "records of 3 characters",
        "record 2, the last, has 1 character, not 3",
    ),
    (
        "fixedwidth",
        {"record_bytes": 4},
        UNKNOWN,
        b"abc\nabc",
        "records of 3 bytes and LF",
        "record 2, the last, has no LF",
    ),
    ("fixedwidth", {"record_bytes": 4}, UNKNOWN, "äb\nabc\nx".encode(), None, "record 3, the last, has 1 byte, not 3"),
    ("encoding", {}, UNKNOWN, b"a\nb\xffc\n", "utf-8", "not utf-8 at offset 3 (line 2)"),
    ("encoding", {}, UNKNOWN, b"a\nb\xe2\x82", None, "not utf-8 at offset 3 (line 2)"),
    ("encoding", {}, UNKNOWN, b"a\r\xff", None, "not utf-8 at offset 2 (line 2)"),
    ("encoding", {}, UNKNOWN, "ä\n".encode("latin-1"), None, "not utf-8 at offset 0 (line 1)"),
    ("encoding", {"charset": "ascii"}, UNKNOWN, "a\nä".encode(), "ascii", "not ascii at offset 2 (line 2)"),
    ("encoding", {"charset": "cp1252"}, UNKNOWN, b"a\x81", "cp1252", "not cp1252 at offset 1 (line 1)"),
    ("encoding", {"charset": "utf-16-le"}, UNKNOWN, b"a\0\n\0b", None, "not utf-16-le at offset 4 (line 2)"),
    (
        "encoding",
        {"charset": "utf-16"},
        UNKNOWN,
        "a\n".encode("utf-16") + b"\0\xdc",
        None,
        "not utf-16 at offset 6 (line 2)",
    ),
    (
        "encoding",
        {"bom": "forbidden"},
        UNKNOWN,
        b"\xef\xbb\xbfa",
        "utf-8, byte order mark forbidden",
        "begins with a byte order mark",
    ),
    ("encoding", {"bom": "required"}, UNKNOWN, b"a", None, "begins without a byte order mark"),
    ("encoding", {"newline": "lf"}, UNKNOWN, b"a\nb\r\n", "utf-8, LF", "line 2 ends with CRLF, not LF"),
    ("encoding", {"newline": "lf"}, UNKNOWN, b"a\nb\r", None, "line 2 ends with CR, not LF"),
    ("encoding", {"newline": "crlf"}, UNKNOWN, b"a\r\nb\n", "utf-8, CRLF", "line 2 ends with LF, not CRLF"),
    (
        "encoding",
        {"newline": "any"},
        UNKNOWN,
        b"a\rb\r\nc\n",
        "utf-8, one kind of line end",
        "line 2 ends with CRLF, not CR",
    ),
    (
        "encoding",
        {"final_newline": True},
        UNKNOWN,
        b"a\nb",
        "utf-8, a line end at the end",
        "the last line has no line end",
    ),
    (
        "encoding",
        {"final_newline": False},
        UNKNOWN,
        b"a\n",
        "utf-8, no line end at the end",
        "the last line has a line end",
    ),
]


@pytest.mark.parametrize("step", [1, 3, None])
@pytest.mark.parametrize("case", RIGHT)
def test_a_right_file_passes(case, step):
    name, options, expected, data, observed = case
    result = judged(name, options, data, expected, step)
    assert (result.name, result.passed) == (name, True), result
    assert observed in (None, result.observed)


@pytest.mark.parametrize("step", [1, 3, None])
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_says_what_is_wrong(case, step):
    name, options, expected, data, wanted, observed = case
    if len(data) > 10000 and step:
        step = 100_000 + step
    result = judged(name, options, data, expected, step)
    assert (result.name, result.passed, result.observed) == (name, False, observed)
    assert wanted in (None, result.expected)


@pytest.mark.parametrize("name", ["rows", "csv_header"])
def test_a_check_with_nothing_to_compare_with_is_an_error_of_the_config(name):
    with pytest.raises(ConfigInvalid, match=f"the check {name} has nothing to compare with"):
        REGISTRY.check_for(name)({}, UNKNOWN)


EACH = [
    ("rows", {"equals": 3, "format": "csv", "header": True}),
    ("csv_header", {"columns": ["a", "b"]}),
    ("jsonl", {"required": ["a"]}),
    ("fixedwidth", {"width": 2}),
    ("fixedwidth", {"width": 2, "newline": "crlf", "encoding": "cp1252"}),
    ("fixedwidth", {"record_bytes": 3}),
    *(("encoding", {"charset": charset, "newline": "any"}) for charset in ("utf-8", "utf-16", "utf-16-be", "ascii")),
    *(("encoding", {"charset": charset}) for charset in ("shift_jis", "gb18030", "big5", "euc-kr", "cp1252")),
]
# Bytes that mean something to one check or another, so that few of them make the odd files.
MEANINGFUL = [
    b"a,b\n",
    b"a",
    b",",
    b'"',
    b"\n",
    b"\r",
    b"\r\n",
    b"{}",
    b'{"a":1}',
    b"\xc3",
    b"\xa4",
    b"\xff",
    b"\0",
    b"\xd8",
]


def test_a_character_that_is_cut_before_a_fault_is_kept():
    check = REGISTRY.check_for("encoding")({"charset": "euc-kr"}, UNKNOWN)
    for chunk in (b"a\n\xa1", b"\xa1a\x80"):
        check.feed(chunk)
    assert check.result().observed == "not euc-kr at offset 5 (line 2)"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(MEANINGFUL), st.binary(max_size=4)), max_size=30).map(b"".join),
    st.lists(st.integers(1, 9), min_size=1, max_size=8),
)
def test_where_chunks_are_cut_changes_no_answer_and_no_bytes_are_a_bug(data, steps):
    for name, options in EACH:
        whole = judged(name, options, data)
        check = REGISTRY.check_for(name)(options, UNKNOWN)
        start, turn = 0, 0
        while start < len(data):
            check.feed(data[start : start + steps[turn % len(steps)]])
            start, turn = start + steps[turn % len(steps)], turn + 1
        assert check.result() == whole


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 300), st.integers(1, 300))
def test_lines_come_in_blocks_that_begin_where_the_last_ended(data, block, step):
    """With blocks far smaller than in use, so that ends and quotes fall on their edges."""
    from unittest import mock

    from pytest_fileflow.checks import lines

    data = data.replace(b"\x01", b"\n").replace(b"\x02", b'"')
    with mock.patch.object(lines, "_BLOCK", block):
        cut = lines.Lines(quote=b'"')
        blocks = [each for start in range(0, len(data), step) for each in cut.feed(data[start : start + step])]
    last, rest = cut.rest()
    assert b"".join([*blocks, last, rest]) == data
    assert all(each.endswith(b"\n") and each.count(b'"') % 2 == 0 for each in [*blocks, *filter(None, [last])])
    parts = rest.split(b'"')
    assert not any(b"\n" in part for part in parts[::2])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([b",", b"\n", b"\r", b'"', b"a", b'"a"', b'""']), max_size=16).map(b"".join))
def test_misplaced_quotes_are_found_the_fast_way_as_they_are_the_slow_one(data):
    patterns = _Patterns(b",", b'"')
    bare = patterns.without_quoted(data)
    assert patterns.has_misplaced(bare) == bool(patterns.misplaced.search(bare))
    rows = data.replace(b"\r", b"") + b"\n"
    bare = patterns.without_quoted(rows)
    if rows.count(b'"') % 2 == 0 and not patterns.has_misplaced(bare):
        read = csv.reader(io.StringIO(rows.decode(), newline=""), strict=True)
        assert [max(len(row), 1) for row in read] == [len(each) + 1 for each in patterns.delimiters(bare)]
