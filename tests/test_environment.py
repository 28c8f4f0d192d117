"""Environments: what is read of a file, and what is said of one that cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator

from pytest_fileflow.config.environment import BadEnvironment, Environment, read_environment
from pytest_fileflow.config.flow_schema import schema

if TYPE_CHECKING:
    from pathlib import Path

NAMES = 'must start with a letter or "_" and go on with letters, digits, "_", "." and "-"'
FULL = """
description: Production
variables: {bucket: landing-prod, slo: 420, ratio: 0.5, strict: true}
slo_factor: 2
slo_factors: {acme_*: 3, acme_one: 4, acme_o*: 5, nightly: 6, "*x": 7}
allow: ["s3://landing-prod/*"]
results: [s3://example-results/prod, local]
max_bytes: 20GiB
max_runs: 500
max_runs_per_host: 4
"""


def read(root: Path, text: str, name: str = "prod.yaml") -> Environment:
    (root / "environments").mkdir(exist_ok=True)
    (root / "environments" / name).write_text(text, encoding="utf-8")
    return read_environment(name.partition(".")[0], [root])


def test_everything_that_an_environment_may_say(tmp_path: Path) -> None:
    prod = read(tmp_path, FULL)
    assert (prod.name, prod.root, prod.file) == ("prod", tmp_path, "environments/prod.yaml")
    assert prod.variables == {"bucket": "landing-prod", "slo": 420, "ratio": 0.5, "strict": True}
    assert prod.allow == ("s3://landing-prod/*",)
    assert prod.results == ("s3://example-results/prod", "local")
    assert (prod.max_bytes, prod.max_runs, prod.max_runs_per_host) == (20 * 1024**3, 500, 4)
    assert prod.where("allow", 0) == "environments/prod.yaml:6"


def test_an_empty_file_and_one_place_for_results(tmp_path: Path) -> None:
    assert read(tmp_path, "") == Environment("prod", tmp_path, "environments/prod.yaml")
    assert read(tmp_path, '{"results": "x"}', "dev.json").results == ("x",)


@pytest.mark.parametrize(
    ("flow_id", "tags", "factor", "key"),
    [
        ("acme_one", ("nightly",), 4, "acme_one"),
        ("acme_other", ("nightly",), 5, "acme_o*"),
        ("acme", ("nightly",), 6, "nightly"),
        ("acme_x", (), 3, "acme_*"),
        ("x", (), 7, "*x"),
        ("globex_", ("daily",), 2, None),
    ],
)
def test_the_closest_factor_counts(
    tmp_path: Path, flow_id: str, tags: tuple[str, ...], factor: float, key: str
) -> None:
    assert read(tmp_path, FULL).factor(flow_id, tags) == (factor, ("slo_factors", key) if key else ("slo_factor",))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("variabels: {}", ['1:1  $.variabels  unknown key "variabels"; did you mean "variables"?']),
        ("[1]", ["1:1  $  must be an object with variables, slo_factor, allow and the like, not a list"]),
        ("variables: {a b: 1}", [f'1:13  $.variables["a b"]  {NAMES}, not "a b"']),
        (
            "variables:\n  run_id: 1\n  secret.x: 2\n",
            [
                '2:3  $.variables.run_id  "run_id" is a variable that every run has: choose another name',
                '3:3  $.variables["secret.x"]  "secret.x" is a variable that every run has: choose another name',
            ],
        ),
        ("variables: {a: [1]}", ["1:16  $.variables.a  must be a string or a number or true or false, not a list"]),
        ("variables: {a: 1, a: 2}", ['1:19  $.variables.a  the key "a" stands twice: first in line 1']),
        ("slo_factor: 0", ["1:13  $.slo_factor  must be above 0, not 0"]),
        ("slo_factors: {a: x}", ['1:18  $.slo_factors.a  must be a number, not "x"']),
        ("max_bytes: 1.5B", ["1:12  $.max_bytes  does not come to whole bytes"]),
        ("max_runs: -1", ["1:11  $.max_runs  must be at least 1, not -1"]),
        ("a: b: c", ['1:5  $  a ":" cannot stand here: put the text in quotes, or check the indentation']),
        ("a: &x 1\n---\nb: 1", ["3:1  $  a second document begins here: the file holds one"]),
    ],
)
def test_what_is_said_of_a_broken_one(tmp_path: Path, text: str, lines: list[str]) -> None:
    with pytest.raises(BadEnvironment) as caught:
        read(tmp_path, text)
    assert str(caught.value).splitlines() == [f"environments/prod.yaml:{line}" for line in lines]


def test_one_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    read(tmp_path, "")
    read(tmp_path, "", "dev.yml")
    with pytest.raises(BadEnvironment) as caught:
        read_environment("prd", [tmp_path])
    assert str(caught.value) == (
        f"there is no environments/prd.yaml, .yml or .json in {tmp_path}; did you mean 'prod'? (there are dev, prod)"
    )
    with pytest.raises(BadEnvironment, match="there is no folder environments/ with such files"):
        read_environment("prod", [tmp_path / "elsewhere"])
    with pytest.raises(BadEnvironment, match=r"'\.\./x' is not the name of an environment"):
        read_environment("../x", [tmp_path])
    with pytest.raises(BadEnvironment, match=r"environments/prod\.json lies beside prod\.yaml: keep one of them"):
        read(tmp_path, "{}", "prod.json")


def test_the_schema_is_sound_and_its_examples_are_valid() -> None:
    whole = schema("environment")
    Draft202012Validator.check_schema(whole)
    for part in whole["properties"].values():
        for value in [*part.get("examples", ()), *([part["default"]] if "default" in part else [])]:
            Draft202012Validator({**part, "$defs": whole["$defs"]}).validate(value)
        assert part["title"]
        assert part["description"]
