"""Whatever a file holds, loading it gives flows or problems with a position, and never raises."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pytest_fileflow.config import BrokenFlow, load_file, loader, may_hold_flow, reading, schema
from pytest_fileflow.config.rules import Rules
from pytest_fileflow.model import Flow
from tests.test_config_flows import FULL, LEAST, PATTERNS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHECKS = dict.fromkeys(("rows", "gzip", "lines"))
QUICK = settings(
    max_examples=100,
    deadline=None,  # the first example imports what explains
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
KEYS = st.sampled_from([*FULL, *FULL["source"], *FULL["transfer"], *FULL["testdata"], "flows", "x-a", "<<", "on", ""])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["S3", "SFTP", "acme", "${file.name}", "${", "<ID>", "arn:aws:...", "5MiB", "a/../b", "random"]),
    st.integers(min_value=10**200, max_value=10**310),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=6),
    max_leaves=30,
)
YAML_BITS = st.lists(
    st.sampled_from(
        [
            "flow_id: a",
            "source:",
            "target:",
            "type: S3",
            "bucket: bb",
            ",",
            "\n",
            "\n  ",
            " ",
            "- ",
            "? ",
            ": ",
        ]
    )
    | st.sampled_from(["{", "}", "[", "]", "&a ", "*a", "<<: ", "!!set ", "!x ", "!!int ", "!!binary ", "!!float "])
    | st.sampled_from(["---\n", "...\n", "'", '"', "|\n", ">-\n", "#", "%YAML 1.1\n", "\t", "2026-01-01", "22:30"])
    | st.sampled_from(["on", "~", "0x", ".nan", "=", "\\ud800", "\u2028", "\ufeff", "\x00"]),
    max_size=30,
).map("".join)


def load(path: Path, data: bytes, modes: tuple[bool, ...] = (True, False)) -> tuple[Flow | BrokenFlow, ...]:
    """Load bytes in and outside the sandbox, and hold the outcome against what is promised of any."""
    path.write_bytes(data)
    assert may_hold_flow(path) in (True, False)
    lines = data.count(b"\n") + data.count(b"\r") + data.count(b"\xc2\x85") + data.count(b"\xe2\x80") + 1
    loaded = []
    for sandbox in modes:
        loaded = load_file(path, display="f", sandbox=sandbox, patterns=PATTERNS, checks=CHECKS)
        assert loaded
        for each in loaded:
            if isinstance(each, BrokenFlow):
                assert each.problems
                assert each.name
                assert 1 <= each.line <= lines
                for problem in each.problems:
                    assert 1 <= problem.line <= lines
                    assert problem.column >= 1
                    assert problem.path.startswith("$")
                    assert str(problem).isprintable()
                marks = [(problem.line, problem.column) for problem in each.problems]
                assert marks == sorted(marks)
            else:
                assert isinstance(each, Flow)
    return loaded


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
@QUICK
@given(data=st.binary(max_size=60))
def test_random_bytes(tmp_path: Path, suffix: str, data: bytes) -> None:
    load(tmp_path / f"a{suffix}", data)


@QUICK
@given(value=VALUES)
def test_random_json(tmp_path: Path, value: object) -> None:
    load(tmp_path / "a.json", json.dumps(value).encode())


@QUICK
@given(value=VALUES)
def test_random_json_read_as_yaml(tmp_path: Path, value: object) -> None:
    load(tmp_path / "a.yaml", json.dumps(value, ensure_ascii=False).encode("utf-8", errors="replace"))


@QUICK
@given(text=YAML_BITS)
def test_random_yaml(tmp_path: Path, text: str) -> None:
    load(tmp_path / "a.yaml", text.encode())


@QUICK
@given(data=st.data())
def test_a_good_file_with_a_few_bytes_changed(tmp_path: Path, data: st.DataObject) -> None:
    suffix, text = data.draw(
        st.sampled_from([(".json", json.dumps(FULL, indent=1)), (".yaml", yaml.safe_dump(FULL, sort_keys=False))])
    )
    at = data.draw(st.integers(0, len(text)))
    bits = data.draw(st.text(alphabet='{}[]",:\n\t -x\\0&*!%#é', max_size=3))
    load(tmp_path / f"a{suffix}", (text[:at] + bits + text[at + data.draw(st.integers(0, 5)) :]).encode())


_WORDS = (  # most are something else to YAML than they look
    "yes No on OFF ~ null y n true 0 -0 007 0o7 0x1F 1_000 1e3 1.5e+3 +1 -.5 .5 1. .inf -.INF .NaN 22:30 1:2.5 = << "
    "2026-01-01 2026-01-01T00:00:00Z <A> <A_1 ... … arn:aws:...:x a..b ${x} !!str !!int !!float !!bool !x 5MiB café "
    "\u00a0 \u2028 \x85 \U0001f600 'it''s' \"a\\x3cA>\" \"..\\x2e\" '<A>' \"\\u003cB>\" '007' \"yes\" |- >- &a *a # "
    "x#y x: :x"
)
PLAIN_WORDS = _WORDS.split(" ")
YAML_VALUES = st.one_of(
    st.sampled_from(PLAIN_WORDS),
    st.lists(st.sampled_from([*PLAIN_WORDS, "\n   ", "\n", " "]), min_size=1, max_size=4).map(" ".join),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=8),
    st.text(max_size=8).map(json.dumps),
    st.lists(st.sampled_from(PLAIN_WORDS), max_size=3).map(lambda words: f"[{', '.join(words)}]"),
    st.lists(st.sampled_from(PLAIN_WORDS), max_size=3).map(
        lambda words: "\n" + "\n".join(f"  - {each}" for each in words)
    ),
)
YAML_KEYS = st.sampled_from(["x-a", "x-b", "description", "owner", "'x-c'", '"x-\\x64"', "? x-e\n", *PLAIN_WORDS])
YAML_LINES = st.lists(st.builds("{}: {}".format, YAML_KEYS, YAML_VALUES), max_size=4).map("\n".join)
FLOW_LINES = "source: {type: S3, bucket: from}\ntarget: {type: S3, bucket: to}\n"
OFTEN = settings(QUICK, max_examples=500)


@OFTEN
@given(text=st.one_of(YAML_LINES, YAML_BITS))
def test_what_is_read_fast_equals_what_pyyaml_reads(text: str) -> None:
    try:
        quick = reading.read_values(text, "yaml")
    except reading.DeclinedError:
        return
    reference = list(yaml.load_all(text, Loader=reading.yaml_base_loader()))
    assert repr(quick) == repr([each for each in reference if each is not None])  # 1 is neither 1.0 nor True


@pytest.mark.parametrize("line_break", ["\u2028", "\u2029", "\x85", "\r"])
def test_what_only_yaml_takes_for_a_line_break_leads_to_the_careful_reader(line_break: str) -> None:
    text = f"x-a: {line_break}# a comment\nflow_id: a\n{FLOW_LINES}"
    assert loader.quick(text, "yaml", "f", Rules(sandbox=False, patterns=PATTERNS, checks=())) is None


@OFTEN
@given(lines=YAML_LINES, word=st.sampled_from(PLAIN_WORDS))
def test_the_fast_way_gives_no_other_flow_than_the_careful_one(lines: str, word: str) -> None:
    for text in (f"{lines}\nflow_id: a\n{FLOW_LINES}", f"flow_id: a\nowner: {word}\n{FLOW_LINES}{lines}"):
        rules = Rules(sandbox=False, patterns=PATTERNS, checks=CHECKS)
        quick = loader.quick(text, "yaml", "f", rules)
        if quick is not None:
            assert quick == loader.careful(text, "yaml", loader.Source("f", "a"), rules)


@OFTEN
@given(value=VALUES, form=st.sampled_from(["json", "yaml"]), is_ascii=st.booleans())
def test_the_fast_way_gives_no_other_flow_than_the_careful_one_for_json(
    value: object, form: reading.Format, is_ascii: bool
) -> None:
    flow = {"x-first": value, **LEAST, "transfer": {"payload": value}, "description": "flow_id: b"}
    text = json.dumps(flow, ensure_ascii=is_ascii, indent=1)
    rules = Rules(sandbox=False, patterns=PATTERNS, checks=())
    quick = loader.quick(text, form, "f", rules)
    if quick is not None:
        assert quick == loader.careful(text, form, loader.Source("f", "a"), rules)


@OFTEN
@given(text=YAML_LINES)
def test_no_placeholder_is_missed_for_the_way_it_is_written(text: str) -> None:
    if reading.may_hold_placeholder(text):
        return
    try:
        documents = reading.read_values(text, "yaml")
    except reading.DeclinedError:
        return
    assert not any(Rules(sandbox=False, patterns={}, checks=()).finds_unreplaced(each) for each in documents)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything below a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


CHANGES = ("delete", "rename", None, True, -1, 1.5, "", "a\n", "../x", [1], {"a": 1})


def mutants() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a full config with one key deleted, renamed or of another type, everywhere and in every way."""
    for path in places(FULL):
        for change in (
            "delete",
            "rename",
            None,
            True,
            0,
            -1,
            1.5,
            "",
            "a\n",
            "x y",
            "../x",
            [],
            [1],
            {},
            {"a": 1},
        ):
            mutant = copy.deepcopy(FULL)
            inner: Any = mutant
            for step in path[:-1]:
                inner = inner[step]
            if change in ("delete", "rename") and isinstance(inner, dict):
                value = inner.pop(path[-1])
                if change == "rename":
                    inner[f"{path[-1]}s"] = value
            else:
                inner[path[-1]] = change
            yield f"{change!r} at {path}", mutant


def test_no_change_to_a_good_config_is_wrongly_accepted(tmp_path: Path) -> None:
    oracle = Draft202012Validator(schema())
    refused = 0
    for number, (name, mutant) in enumerate(mutants()):
        text = json.dumps(mutant).encode()
        loaded = load(tmp_path / "a.json", text, modes=(False,))
        if not oracle.is_valid(mutant):
            refused += 1
            assert isinstance(loaded[0], BrokenFlow), name
        if number % 4 == 0:  # JSON is YAML too: both ways must see the same things wrong
            again = load(tmp_path / "a.yaml", text, modes=(False,))
            assert paths_of(again) == paths_of(loaded), name
    assert refused > 400


def paths_of(loaded: tuple[Flow | BrokenFlow, ...]) -> list[list[str] | None]:
    """Return the paths of what is wrong with each flow, None for a good one."""
    return [[problem.path for problem in each.problems] if isinstance(each, BrokenFlow) else None for each in loaded]


def test_what_the_schema_accepts_and_no_rule_refuses_is_a_flow(tmp_path: Path) -> None:
    for key in FULL:
        if key not in LEAST:
            mutant = {name: value for name, value in FULL.items() if name != key}
            assert isinstance(load(tmp_path / "a.json", json.dumps(mutant).encode())[0], Flow), key
