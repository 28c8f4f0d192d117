"""What a config may say of checks: options are held to a schema, those of plugins to the one that they bring."""

from __future__ import annotations

import re

import pytest

from pytest_fileflow.causes import CHECK_HINTS, hint_for
from pytest_fileflow.config import load_file, schema
from pytest_fileflow.model import Flow
from pytest_fileflow.registry import BUILTIN_CHECKS, Registry, register_builtin_checks
from tests.test_readme import section

FLOW = """flow_id: acme
source: {type: S3, bucket: landing}
target: {type: S3, bucket: landing}
validation:
  checks:
    - """
KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
MINE = {
    "type": "object",
    "properties": {
        "level": {"type": "integer", "maximum": 9},
        "word": {"type": "string", "pattern": "^a"},
        "kind": {"oneOf": [{"const": 1}, {"const": 2}]},
        "never": {"not": {}},
    },
    "required": ["level"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def registry():
    registry = Registry()
    register_builtin_checks(registry)
    registry.check("mine", print, MINE)
    registry.check("broken", print, {"type": "nonsense"})
    registry.check("free", print)
    return registry


def load(registry, tmp_path, check):
    path = tmp_path / "f.yaml"
    path.write_text(f"{FLOW}{check}\n", encoding="utf-8")
    (loaded,) = load_file(path, display="f", sandbox=False, patterns={"random": {}.get}, checks=registry.checks())
    return loaded


@pytest.mark.parametrize(
    "check",
    [
        *("rows", "csv_header", "jsonl", "encoding", "gzip", "zip", "free"),
        "{name: rows, min: 1, max: 5, header: true, format: csv, x-why: note}",
        "{name: csv_header, columns: [a, b], delimiter: ';', quotechar: \"'\"}",
        '{name: csv_header, delimiter: "\\t"}',
        "{name: jsonl, required: [id]}",
        "{name: fixedwidth, width: 80, newline: none, encoding: cp037}",
        "{name: fixedwidth, record_bytes: 64}",
        "{name: encoding, charset: utf-16, bom: required, newline: any, final_newline: false}",
        "{name: gzip, max_bytes: 1000}",
        "{name: zip, members: 1}",
        "{name: zip, members: 3, member: '*.csv', max_bytes: 1000}",
        "{name: pgp, secret_arn: 'arn:aws:secretsmanager:eu-west-1:111111111111:secret:x'}",
        f"{{name: pgp, secret_arn: x, public_key: '{KEY}', signed_by: {'AB' * 20}}}",
        "{name: mine, level: 3, word: abc, kind: 1, x-why: note}",
        "{name: free, level: [1]}",
    ],
)
def test_right_options_are_accepted(registry, tmp_path, check):
    assert isinstance(load(registry, tmp_path, check), Flow)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("{name: rows, minimm: 5}", '6:20  $.validation.checks[0].minimm  unknown key "minimm"; did you mean "min"?'),
        ("{name: rows, min: five}", '6:25  $.validation.checks[0].min  must be a whole number, not "five"'),
        ("{name: rows, equals: 3, min: 1}", "6:7  $.validation.checks[0]  min and max are of no use beside equals"),
        ("{name: rows, format: cvs}", 'format  must be csv or lines, not "cvs"; did you mean "csv"?'),
        ("{name: csv_header, columns: []}", "columns  must not be empty"),
        ("{name: csv_header, columns: [1]}", 'columns[0]  must be a string, not 1: put it in quotes: "1"'),
        ("{name: csv_header, delimiter: '; '}", "must be one character, a tab or a printable one of ASCII"),
        ("{name: jsonl, required: id}", 'required  must be a list, not "id"'),
        ("fixedwidth", '"fixedwidth" needs options: {name: pgp, secret_arn: …} or {name: fixedwidth, width: …}'),
        ("{name: fixedwidth}", "$.validation.checks[0]  width is missing"),
        ("{name: fixedwidth, width: 5, record_bytes: 6}", "record_bytes is of no use beside width"),
        ("{name: fixedwidth, record_bytes: 6, encoding: utf-8}", "encoding is of no use beside record_bytes"),
        ("{name: encoding, charset: utf8}", 'not "utf8"; did you mean "utf-8"?'),
        ("{name: encoding, newline: LF}", 'must be lf, crlf or any, not "LF"; did you mean "lf"?'),
        ("{name: gzip, max_bytes: 0}", "max_bytes  must be at least 1, not 0"),
        ("{name: zip, members: 2}", "member is missing: which of the members"),
        ("pgp", '"pgp" needs options'),
        ("{name: pgp}", "$.validation.checks[0]  secret_arn is missing"),
        (
            f"{{name: pgp, secret_arn: x, signed_by: {'AB' * 20}}}",
            "public_key is missing: signed_by is a fingerprint in",
        ),
        ("{name: pgp, secret_arn: x, public_key: y}", "public_key  must be what gpg --armor --export prints"),
        ("{name: pgp, secret_arn: 'arn:aws:x:<ACCOUNT_ID>:x'}", "placeholder <ACCOUNT_ID> is not replaced"),
        ("mine", "6:7  $.validation.checks[0]  level is missing"),
        ("{name: mine, level: 10}", "6:27  $.validation.checks[0].level  must be at most 9, not 10"),
        ("{name: mine, level: 1, levl: 1}", 'levl  unknown key "levl"; did you mean "level"?'),
        ("{name: mine, level: 1, word: b}", 'word  must match ^a, not "b"'),
        ("{name: mine, level: 1, kind: 3}", "kind  does not fit what the check takes (oneOf)"),
        ("{name: mine, level: 1, never: 3}", "never  is not accepted"),
        ("broken", "the schema that it was registered with is none"),
    ],
)
def test_wrong_options_are_named_with_their_place(registry, tmp_path, check, said):
    lines = [str(problem) for problem in load(registry, tmp_path, check).problems]
    assert any(said in line for line in lines), lines
    assert len(lines) == 1


def test_every_check_has_options_in_the_schema_a_hint_and_a_row_in_the_readme():
    described = section("Further checks") + section("Flows that do more than copy")
    table = dict(re.findall(r"^\| `([a-z_]+)` \| .* \| (.*) \|$", described, re.MULTILINE))
    for name in BUILTIN_CHECKS:
        options = set(schema()["$defs"][f"check_{name}"]["properties"]) - {"name"}
        assert set(re.findall(r"`([a-z_]+)`", table[name])) == options, name
        assert hint_for(f"check.{name}") == CHECK_HINTS[name]
    assert hint_for("check.mine") == hint_for("check.<name>")


@pytest.mark.parametrize(
    "check", re.findall(r"^  checks:\n((?:    - .*\n(?:      .*\n)*)+)", section("Further checks"), re.MULTILINE)
)
def test_the_checks_that_the_readme_shows_are_accepted(registry, tmp_path, check):
    loaded = load(registry, tmp_path, check.removeprefix("    - "))
    assert isinstance(loaded, Flow), loaded
    assert len(loaded.validation.checks) > 1
