from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from pytest_fileflow.cases import cases_of
from pytest_fileflow.config import flow_loader
from pytest_fileflow.model import Case, Flow, PayloadFile, Recipe, Run, S3Location, SftpLocation, Verdict
from pytest_fileflow.portable import dump, load_case, load_flow, load_run, load_stat
from pytest_fileflow.registry import Registry, register_builtin_checks, register_builtin_patterns
from tests.support import made_up

EXAMPLES = 60
ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for folder in (ROOT / "flows", ROOT / "tests" / "data" / "seed")
    for path in folder.iterdir()
    if path.suffix in (".json", ".yaml")
)


def handed_on(value: object) -> Any:
    return json.loads(json.dumps(dump(value)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_case_of_a_real_flow_comes_back_as_it_was(path):
    registry = Registry()
    register_builtin_patterns(registry)
    register_builtin_checks(registry)
    loader = flow_loader(sandbox=True, patterns=registry.size_problems(), checks=registry.checks())
    flows = loader.load(path, path.name)
    assert flows
    for flow in flows:
        assert isinstance(flow, Flow)
        cases = list(cases_of(flow, canary=True))
        assert [load_case(handed_on(case)) for case in cases] == cases


@settings(max_examples=EXAMPLES, deadline=None)
@given(made_up.cases)
def test_any_case_comes_back_as_it_was(case):
    back = load_case(handed_on(case))
    assert back == case
    assert [_unlike(end) for end in (back.flow.source, back.flow.target)] == [
        _unlike(end) for end in (case.flow.source, case.flow.target)
    ]
    assert load_flow(handed_on(case.flow)) == case.flow


def _unlike(location: S3Location | SftpLocation) -> object:
    """Return what does not count when places are compared, and must be handed on all the same."""
    return getattr(location, "max_runs", None)


@settings(max_examples=EXAMPLES, deadline=None)
@given(made_up.runs)
def test_any_run_comes_back_as_it_was(run):
    assert load_run(handed_on(run)) == run


@settings(max_examples=EXAMPLES, deadline=None)
@given(made_up.stats)
def test_any_look_at_a_file_comes_back_as_it_was(stat):
    assert load_stat(handed_on(stat)) == stat
    assert load_stat(None) is None


@settings(max_examples=EXAMPLES, deadline=None)
@given(made_up.runs)
def test_what_comes_back_is_of_the_types_of_the_model(run):
    """Lists where tuples belong would be equal to nothing, and no keys of anything."""
    back = load_run(handed_on(run))
    hash((back.written, back.strays, back.residue, back.checks, back.file.inside))
    if back.verdict is not None:
        hash(back.verdict.strays)


def test_a_file_that_is_made_by_options_alone_comes_back():
    """Most flows with options wrap nothing, and the wraps are left out then."""
    file = PayloadFile("a.csv", 3, "00", "csv", made_by=Recipe("csv", 3, {"header": True}))
    run = Run("id", "acme", "3B", "S3->S3", 1, file)
    assert load_run(handed_on(run)) == run


def test_what_has_its_default_is_left_out():
    flow = Flow("acme", S3Location("in"), S3Location("out"))
    case = Case(flow, flow.testdata.variants[0])
    assert dump(case) == {
        "flow": {
            "flow_id": "acme",
            "source": {"type": "S3", "bucket": "in"},
            "target": {"type": "S3", "bucket": "out"},
        },
        "variant": {"name": "", "size": 1024 * 1024},
    }
    run = Run("id", "acme", "1MiB", "S3->S3", 1, PayloadFile("a.bin", 3, "00"))
    told = {"run_id": "id", "flow_id": "acme", "case": "1MiB", "direction": "S3->S3", "attempt": 1}
    assert dump(run) == {**told, "file": {"name": "a.bin", "size": 3, "sha256": "00"}}
    assert dump(dataclasses.replace(run, verdict=Verdict("passed")))["verdict"] == {"outcome": "passed"}


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"flow": {}, "variant": {"name": "", "size": 1}},
        {"flow": {"flow_id": "a", "source": {"type": "FTP"}, "target": {}}, "variant": {"name": "", "size": 1}},
        {"flow": None, "variant": None},
    ],
)
def test_what_is_no_case_raises_what_it_says(told):
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        load_case(told)
