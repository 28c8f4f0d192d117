from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from pytest_fileflow.cli import main

ACME = """\
flow_id: acme
source: {type: S3, bucket: one-bucket}
target: {type: S3, bucket: other-bucket}
"""
WRONG = """\
flow_id: beta
source: {type: S3, bukket: one-bucket}
target: {type: S3, bucket: other-bucket}
validation: {checks: [mime]}
"""
TWICE = "duplicate flow_id 'acme': it is defined at flows/acme.yaml:1 too; rename one of them"
CONFTEST = """\
def pytest_fileflow_register(registry):
    registry.check("mine", lambda options, expected: None)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    (tmp_path / "flows").mkdir()
    return tmp_path


def write(**files: str) -> None:
    for name, text in files.items():
        (Path("flows") / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_all_problems_of_all_files_are_told_at_once(capsys):
    write(acme=ACME, beta=WRONG, gamma=ACME)
    assert main(["validate"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "flows/beta.yaml:2:1  $.source  bucket is missing",
        'flows/beta.yaml:2:20  $.source.bukket  unknown key "bukket"; did you mean "bucket"?',
        'flows/beta.yaml:4:23  $.validation.checks[0]  unknown check "mime"; did you mean "mine"?',
        f"flows/gamma.yaml:1:1  $.flow_id  {TWICE}",
        "1 flow is right, 2 are not: 4 problems",
    ]


@pytest.fixture(autouse=True)
def conftest(here: Path) -> None:
    (here / "flows/conftest.py").write_text(CONFTEST, encoding="utf-8")


def test_what_plugins_and_the_ini_file_say_holds_and_nothing_is_left_behind(here, capsys):
    (here / "pytest.ini").write_text("[pytest]\naddopts = -n 2 --junitxml=junit.xml -k nobody -m smoke\n")
    (here / "flows/test_python.py").write_text("raise SystemExit('imported')")
    write(acme=f"{ACME}validation: {{checks: [mine]}}\n")
    assert main(["validate", "flows/acme.yaml", "flows"]) == 0
    assert capsys.readouterr().out == "1 flow is right\n"
    assert not (here / "junit.xml").exists()


def test_placeholders_may_stand_in_the_sandbox(capsys):
    write(acme=ACME.replace("one-bucket", '"<BUCKET>"'))
    assert main(["validate"]) == 1
    assert "placeholder <BUCKET> is not replaced" in capsys.readouterr().out
    assert main(["validate", "--sandbox"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "fileflow validate: file or directory not found: nowhere"),
        ([], "fileflow validate: there are no flows in flows"),
    ],
)
def test_what_cannot_be_looked_at_is_no_success(capsys, arguments, message):
    assert main(["validate", *arguments]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(message)
    assert told.out == ""


def test_a_broken_conftest_is_shown_as_pytest_shows_it(here, capsys):
    (here / "flows/conftest.py").write_text("import no_such_module_here")
    write(acme=ACME)
    assert main(["validate"]) == 2
    assert "No module named 'no_such_module_here'" in capsys.readouterr().err


def test_as_json_it_is_a_list_of_objects(capsys):
    write(beta=WRONG.replace("mime", "mine"))
    assert main(["validate", "--format=json"]) == 1
    told = capsys.readouterr()
    listed = json.loads(told.out)
    assert [problem["path"] for problem in listed] == ["$.source", "$.source.bukket"]
    assert listed[1] == {
        "file": "flows/beta.yaml",
        "line": 2,
        "column": 20,
        "path": "$.source.bukket",
        "message": 'unknown key "bukket"; did you mean "bucket"?',
        "flow_id": "beta",
    }
    assert told.err == "0 flows are right, 1 is not: 2 problems\n"
    write(beta=ACME)
    assert main(["validate", "--format=json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_github_gets_annotations_with_its_escapes(capsys):
    Path("flows/a,b: 100%.json").write_text('{"flow_id": "a", "source": {"type": "S3", "bucket": "a%\\nb"}}')
    assert main(["validate", "--format=github"]) == 1
    first, second, _ = capsys.readouterr().out.splitlines()
    place = "::error file=flows/a%2Cb%3A 100%25.json,line=1,col="
    assert first == f"{place}1,title=config.invalid::$  target is missing"
    assert second.startswith(f"{place}53,title=config.invalid::$.source.bucket  ")
    assert second.endswith('not "a%25\\nb"')


def definitions(text: str) -> dict:
    return json.loads(text)["$defs"]


def test_the_schema_names_patterns_and_checks_and_leaves_the_list_open(capsys):
    assert main(["schema"]) == 0
    shown = definitions(capsys.readouterr().out)
    check = shown["validation"]["properties"]["checks"]["items"]
    named, any_other = shown["testdata"]["properties"]["pattern"]["anyOf"]
    assert {"random", "csv"} <= set(named["enum"])
    assert any_other == {"type": "string"}
    for place in (check, check["properties"]["name"]):
        assert "mine" in place["anyOf"][0]["enum"]  # of the conftest.py here


def test_a_schema_without_own_plugins_is_said_to_be_so(here, capsys):
    (here / "flows/conftest.py").write_text("import no_such_module_here")
    assert main(["schema", "flow"]) == 0
    told = capsys.readouterr()
    assert "random" in definitions(told.out)["testdata"]["properties"]["pattern"]["anyOf"][0]["enum"]
    assert told.err.startswith("fileflow schema: names of your own plugins are left out: ")


@pytest.mark.parametrize("kind", ["flow", "endpoints", "environment"])
def test_each_schema_is_sound_and_takes_what_may_be_written(capsys, kind):
    assert main(["schema", kind]) == 0
    shown = json.loads(capsys.readouterr().out)
    Draft202012Validator.check_schema(shown)
    source = {"type": "SFTP", "host": "${host}", "port": "${port}", "username": "u", "dir": "/", "secret_arn": "s"}
    written = {
        "flow": {
            "flow_id": "acme",
            "enabled": "${on}",
            "source": source,
            "target": {"use": "landing", "bucket": "${env:BUCKET}"},
            "validation": {"expect_within_seconds": "${slo}", "checks": ["theirs", {"name": "mine", "level": 1}]},
            "testdata": {"size_bytes": "${size}", "pattern": "theirs"},
        },
        "endpoints": {"endpoints": {"acme": source}, "defaults": {"validation": {"expect_within_seconds": "${slo}"}}},
        "environment": {"variables": {"host": "sftp.example.com"}},
    }
    Draft202012Validator(shown).validate(written[kind])
    source["port"] = "many"
    if kind != "environment":
        assert not Draft202012Validator(shown).is_valid(written[kind])


def test_an_environment_gives_variables_their_values_and_shared_endpoints_are_judged(here, capsys):
    write(acme=ACME.replace("one-bucket", "'${bucket}'").replace("{type: S3, bucket: other-bucket}", "{use: landing}"))
    (here / "environments").mkdir()
    (here / "environments/prod.yaml").write_text("variables: {bucket: one-bucket}")
    shared = here / "flows/endpoints.yaml"
    shared.write_text("endpoints: {landing: {type: S3, bucket: other-bucket}}")
    assert main(["validate", "--env", "prod"]) == 0
    assert main(["validate"]) == 1
    assert "flows/acme.yaml:2:28  $.source.bucket  unknown variable ${bucket}" in capsys.readouterr().out
    shared.write_text("endpoints: {landing: {type: S3, bukket: other-bucket}}")
    assert main(["validate", "--env", "prod"]) == 1
    assert 'flows/endpoints.yaml:1:33  $.endpoints.landing.bukket  unknown key "bukket"' in capsys.readouterr().out
    assert main(["validate", "--env", "test"]) == 2
    assert "prod" in capsys.readouterr().err
