"""The shipped schema: sound, helpful in an editor, at one with the model and with what explains it."""

from __future__ import annotations

import dataclasses
import json
import keyword
import re
from importlib import resources
from typing import TYPE_CHECKING, Any, get_args

import pytest
from jsonschema import Draft202012Validator

from pytest_fileflow.config import flow_schema, schema
from pytest_fileflow.config.explain import KEYWORDS
from pytest_fileflow.config.flow_schema import Kind
from pytest_fileflow.config.rules import _PLACE_VARIABLES
from pytest_fileflow.config.sizes import MAX_BYTES
from pytest_fileflow.model import Contract, Flow, S3Location, SftpLocation, TestData, Transfer, Validation
from pytest_fileflow.payload.fields import ALL_HAVE, ENCODINGS, KEYS, LOCALES, NEWLINES, OPTIONS, Field, Table
from pytest_fileflow.payload.words import CHARSETS
from pytest_fileflow.payload.wraps import WRAPPINGS
from pytest_fileflow.results.alerts.targets import KINDS
from pytest_fileflow.results.alerts.tickets import Jira, ServiceNow
from pytest_fileflow.results.alerts.webhook import TEMPLATES, Webhook

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFS = schema()["$defs"]
SIZELESS = dict.fromkeys(("size_bytes", "tags", "seed"))
APPLICATORS = {
    "$ref",
    "$defs",
    "properties",
    "patternProperties",
    "propertyNames",
    "items",
    "allOf",
    "if",
    "then",
    "else",
}
SILENT = {"$schema", "title", "description", "examples", "default", "errorMessage", "const"}


def subschemas(part: Any, *, conditional: bool = False) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield every schema in a schema, and whether it stands in an ``if``, whose errors nobody sees."""
    if not isinstance(part, dict):
        return
    yield part, conditional
    for name in ("properties", "patternProperties", "$defs"):
        for each in part.get(name, {}).values():
            yield from subschemas(each, conditional=conditional)
    for name in ("items", "propertyNames", "additionalProperties", "then", "else", "if"):
        yield from subschemas(part.get(name), conditional=conditional or name == "if")
    for each in part.get("allOf", ()):
        yield from subschemas(each, conditional=conditional)


def referred(part: dict[str, Any], defs: dict[str, Any] = DEFS) -> dict[str, Any]:
    """Return what a part of the schema refers to: a definition, or a property of one."""
    found: dict[str, Any] = {"$defs": defs}
    for step in part.get("$ref", "#/no").split("/")[1:]:
        found = found.get(step, {})
    return found


def test_it_is_a_sound_schema_of_the_draft_it_names() -> None:
    Draft202012Validator.check_schema(schema())
    assert schema()["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


def test_it_ships_with_the_package() -> None:
    shipped = resources.files("pytest_fileflow.config").joinpath("flow.schema.json").read_text(encoding="utf-8")
    assert json.loads(shipped) == schema()


def test_each_caller_has_a_copy_of_its_own() -> None:
    schema()["$defs"].clear()
    assert schema()["$defs"] == DEFS


@pytest.mark.parametrize(
    ("name", "model", "elsewhere"),
    [
        ("s3", S3Location, {"type": None}),
        ("sftp", SftpLocation, {"type": None}),
        ("transfer", Transfer, {"trigger_file": ["trigger_name", "trigger_content"]}),
        ("validation", Validation, {}),
        ("testdata", TestData, {"sizes": ["variants"], **dict.fromkeys(OPTIONS), "fields": ["options"], **SIZELESS}),
        ("flow", Flow, {"$schema": None, "sandbox": ["faults"]}),
        ("contract", Contract, {}),
        ("jira", Jira, {}),
        ("servicenow", ServiceNow, {}),
        ("webhook", Webhook, {}),
    ],
)
def test_properties_and_the_models_fields_are_the_same(name: str, model: Any, elsewhere: dict[str, Any]) -> None:
    properties = set(DEFS[name]["properties"])
    assert set(elsewhere) <= properties
    expected = properties - set(elsewhere) | {field for fields in elsewhere.values() for field in fields or ()}
    assert {field.name for field in dataclasses.fields(model)} - {"origin"} == expected


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("s3", S3Location),
        ("sftp", SftpLocation),
        ("transfer", Transfer),
        ("validation", Validation),
        ("testdata", TestData),
        ("flow", Flow),
        ("jira", Jira),
        ("servicenow", ServiceNow),
        ("webhook", Webhook),
    ],
)
def test_the_defaults_that_it_shows_are_the_models(name: str, model: Any) -> None:
    shown = {key: part["default"] for key, part in DEFS[name]["properties"].items() if "default" in part}
    if name == "testdata":
        shown = {key: default for key, default in shown.items() if key not in OPTIONS}
        assert shown.pop("size_bytes") == TestData.variants[0].size
    if name == "transfer":
        trigger = DEFS[name]["properties"]["trigger_file"]["properties"]
        assert (trigger["name"]["default"], trigger["content"]["default"]) == ("${file.name}.done", "")
    fields = {field.name: field for field in dataclasses.fields(model)}
    for key, default in shown.items():
        field = fields[key]
        made = field.default_factory() if field.default is dataclasses.MISSING else field.default
        assert made == default, key


def test_there_is_a_channel_for_every_kind_of_alert_and_a_template_for_every_name() -> None:
    assert set(DEFS["alerts"]["properties"]) == set(KINDS)
    assert set(DEFS["template_name"]["enum"]) == set(TEMPLATES)


def test_a_field_has_what_its_types_know_and_the_model_keeps() -> None:
    properties = DEFS["field"]["properties"]
    assert set(properties) == ALL_HAVE.union(*KEYS.values())
    assert properties["type"]["enum"] == list(KEYS)
    renamed = {"min": "minimum", "max": "maximum"}
    fields = {field.name: field.default for field in dataclasses.fields(Field)}
    assert {renamed.get(key, key) for key in properties} == set(fields)
    shown = {key: part["default"] for key, part in properties.items() if "default" in part}
    assert shown == {key: fields[key] for key in shown}


def test_what_can_be_chosen_is_what_there_is() -> None:
    testdata, field = DEFS["testdata"]["properties"], DEFS["field"]["properties"]
    assert testdata["locale"]["enum"] == field["locale"]["enum"] == list(LOCALES)
    assert testdata["encoding"]["enum"] == list(ENCODINGS)
    assert testdata["newline"]["enum"] == list(NEWLINES)
    assert field["charset"]["enum"] == list(CHARSETS)
    assert DEFS["wrap_name"]["enum"] == list(WRAPPINGS)
    assert (testdata["delimiter"]["default"], testdata["quote"]["default"]) == (Table.delimiter, Table.quote)


def test_every_keyword_that_can_refuse_is_put_into_words() -> None:
    used = {name for part, hidden in subschemas(schema()) if not hidden for name in part}
    assert used - APPLICATORS - SILENT == set(KEYWORDS)


def test_what_needs_words_of_its_own_has_them() -> None:
    for part, hidden in subschemas(schema()):
        if not hidden:
            assert "pattern" not in part or part["errorMessage"]
            assert "not" not in part or part["not"]["errorMessage"]


def test_an_editor_has_something_to_show_everywhere() -> None:
    for part, _ in subschemas(schema()):
        for key, each in part.get("properties", {}).items():
            if "const" not in each:
                described = {**referred(each), **each}
                assert described.get("title"), key
                assert described.get("description"), key


def test_objects_are_closed_but_for_notes_and_what_alerts_and_checks_take() -> None:
    opened = []
    for part, hidden in subschemas(schema()):
        if not hidden and "properties" in part and part.get("additionalProperties") is not False:
            opened.append(part["title"])
        elif "properties" in part and not hidden:
            assert part["patternProperties"] == {"^x-": True}
    assert opened == ["Endpoint", "Check"]


def test_examples_and_defaults_are_valid() -> None:
    for part, _ in subschemas(schema()):
        values = [*part.get("examples", ()), *([part["default"]] if "default" in part else [])]
        validator = Draft202012Validator({**part, "$defs": DEFS})
        for value in values:
            validator.validate(value)


def test_the_limit_of_a_size_is_the_same_for_numbers_and_texts() -> None:
    assert DEFS["size"]["maximum"] == MAX_BYTES == 5 * 1024**4


def test_both_validators_agree_at_the_edges() -> None:
    least = {
        "flow_id": "a",
        "source": {"type": "S3", "bucket": "aa"},
        "target": {"type": "S3", "bucket": "aa"},
    }
    for change in (
        {"flow_id": "a\n"},
        {"flow_id": "é"},
        {"version": 1.0},
        {"version": True},
        {"version": 10**30},
        {"description": "\x00"},
        {"testdata": {"size_bytes": "٣B"}},
        {"testdata": {"filename_prefix": "a\u2028"}},
        {"testdata": {"filename_prefix": "a\x85"}},
        {"tags": ["a\n"]},
    ):
        document = {**least, **change}
        assert flow_schema.is_valid(document) == (not list(flow_schema.errors(document))), change


def test_reserved_names_are_those_that_pytest_cannot_use_as_markers() -> None:
    reserved = set(DEFS["tag"]["not"]["enum"])
    assert {word for word in keyword.kwlist if word in {"and", "or", "not", "True", "False", "None"}} <= reserved
    assert {"skip", "skipif", "xfail", "parametrize", "usefixtures", "filterwarnings", "timeout"} <= reserved
    assert set(DEFS["size_name"]["not"]["enum"]) - reserved == {"contract", "canary", "negative"}


def test_every_name_that_the_pattern_allows_can_be_selected(pytester: pytest.Pytester) -> None:
    names = ["nightly", "a/b+c.d-e_f", "1st", "2026"]
    pattern = re.compile(DEFS["tag"]["pattern"])
    assert all(pattern.search(name) for name in names)
    pytester.makeconftest(
        f"names = {names!r}\n"
        "def pytest_configure(config):\n"
        "    for name in names: config.addinivalue_line('markers', name + ': a tag')\n"
        "def pytest_collection_modifyitems(items):\n"
        "    for name in names: items[0].add_marker(name)\n"
    )
    pytester.makepyfile("def test_one(): pass\ndef test_other(): pass\n")
    for name in names:
        result = pytester.runpytest_inprocess("-m", name, "--strict-markers", "-p", "no:cacheprovider")
        result.assert_outcomes(passed=1, deselected=1)


def test_the_variables_of_a_place_are_those_that_it_has() -> None:
    assert {"bucket"} == _PLACE_VARIABLES["S3"] - _PLACE_VARIABLES["SFTP"]
    assert {"host", "port", "username", "dir"} == _PLACE_VARIABLES["SFTP"] - _PLACE_VARIABLES["S3"]


def test_the_schema_of_shared_files_is_sound_and_takes_parts_of_flows() -> None:
    shared = schema("endpoints")
    Draft202012Validator.check_schema(shared)
    validator = Draft202012Validator(shared)
    validator.validate({"endpoints": {"a": {"type": "SFTP", "host": "h", "x-why": 1}, "x-note": 1}})
    validator.validate({"defaults": {"target": {"use": "a"}, "source": {"port": 22}, "transfer": {"mode": "invoke"}}})
    validator.validate({"defaults": {"alerts": {"jira": {"project": "OPS"}, "webhook": {"headers": {"A": "b"}}}}})
    for wrong in (
        {"endpoints": {"a": {"host": "h"}}},
        {"endpoints": {"a": {"type": "S3", "use": "b"}}},
        {"defaults": {"source": {"prot": 22}}},
        {"defaults": {"flow_id": "a"}},
        {"defaults": {"validation": {"checks": [{"level": 1}]}}},
    ):
        assert not validator.is_valid(wrong), wrong


def resolved(part: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with what it refers to, as an editor shows it."""
    while "$ref" in part:
        own = {key: value for key, value in part.items() if key != "$ref"}
        part = {**referred(part, defs), **own}
    return part


@pytest.mark.parametrize("kind", get_args(Kind))
def test_an_editor_can_explain_every_key_and_show_what_may_stand_there(kind: Kind) -> None:
    whole, shows_itself = schema(kind), ("examples", "enum", "const", "default", "properties")
    parts = [part for part, conditional in subschemas(whole) if not conditional]
    keys = [
        (name, resolved(each, whole.get("$defs", {})))
        for part in parts
        for name, each in part.get("properties", {}).items()
    ]
    explained = [(name, each) for name, each in keys if set(each) != {"const"}]  # another place describes those
    assert [name for name, each in explained if not {"title", "description"} <= set(each)] == []
    silent = [(name, each) for name, each in explained if not any(key in each for key in shows_itself)]
    assert [name for name, each in silent if each.get("type") != "boolean"] == []
