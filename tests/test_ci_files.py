"""The workflow files: they are well-formed, pytest and fileflow take their commands, and nobody's file is lost."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import version

import pytest
import yaml

from pytest_fileflow.cli import main
from pytest_fileflow.commands.ci import SYSTEMS, VERSION, workflow_files
from tests.support.inner import flow

FILES = {path: text for system in SYSTEMS for path, text in workflow_files(system)}
GITHUB = {path: text for path, text in FILES.items() if path.startswith(".github/")}
REAL = {"daily": "not stress", "canary": "canary", "stress": "stress"}


def load(path: str) -> dict:
    # GitHub's key "on" is true in YAML 1.1, which PyYAML speaks.
    return {("on" if key is True else key): value for key, value in yaml.safe_load(FILES[path]).items()}


def steps(path: str) -> list[dict]:
    return [step for job in load(path)["jobs"].values() for step in job.get("steps", [])]


def commands() -> list[str]:
    lines = [step["run"] for path in GITHUB for step in steps(path) if "run" in step]
    jobs = load(".gitlab/fileflow.gitlab-ci.yml").values()
    return lines + [line for job in jobs if isinstance(job, dict) for line in job.get("script", [])]


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        (("vendor.github-workflows",), sorted(GITHUB)),
        (("vendor.gitlab-ci", "--data-transform", "gitlab-ci"), [".gitlab/fileflow.gitlab-ci.yml"]),
    ],
    ids=SYSTEMS,
)
def test_the_files_are_of_the_published_form(tmp_path, schema, paths):
    for system in SYSTEMS:
        assert main(["ci", system, str(tmp_path)]) == 0
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", *schema, *paths]
    checked = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_installs_the_version_that_wrote_it():
    assert not [path for path, text in FILES.items() if VERSION in text]
    pins = [pin for text in FILES.values() for pin in re.findall(r'"(pytest-fileflow\S*)"', text)]
    assert len(pins) == 4
    assert {pin.rpartition("==")[2] for pin in pins} == {version("pytest-fileflow")}


@pytest.mark.parametrize("command", [line for line in commands() if line.startswith("pytest ")])
def test_pytest_takes_the_options(suite, command):
    suite.add("flows/acme.json", flow("acme"))
    assert " -n 4 " in command
    words = ["canary" if word.startswith("$") else word for word in shlex.split(command.replace("-n 4", ""))[1:]]
    result = suite.run("--collect-only", *words)
    assert result.ret == pytest.ExitCode.OK
    assert "no tests ran" not in result.stdout.str()


def test_fileflow_takes_the_options(monkeypatch):
    taken = []
    monkeypatch.setattr(pytest, "main", lambda arguments: taken.append(arguments) or 0)
    lines = [line for line in commands() if line.startswith("fileflow ")]
    assert [main(shlex.split(line)[1:]) for line in lines] == [0, 0]
    assert all("--fileflow-summary=rehearsal.md" in arguments for arguments in taken)


@pytest.mark.parametrize("path", sorted(GITHUB))
def test_a_github_workflow_may_do_no_more_than_it_must(path):
    workflow = load(path)
    is_real = path != ".github/workflows/fileflow-change.yml"
    assert workflow["permissions"] == {"contents": "read", **({"id-token": "write"} if is_real else {})}
    assert "pull_request_target" not in FILES[path]
    assert "secrets." not in FILES[path]
    for step in steps(path):
        assert "${{" not in step.get("run", ""), "an expression in a script is how strangers' text gets run"
        if "uses" in step:
            assert re.fullmatch(r"(actions|aws-actions)/[a-z-]+@v\d+", step["uses"])
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job.get("with", job)


@pytest.mark.parametrize(("name", "markers"), REAL.items())
def test_the_scheduled_jobs_are_the_same_on_both(name, markers):
    workflow = load(f".github/workflows/fileflow-{name}.yml")
    (job,) = workflow["jobs"].values()
    assert job["with"]["markers"] == markers
    assert workflow["concurrency"] == {"group": workflow["concurrency"]["group"], "cancel-in-progress": False}
    assert len(workflow["on"]["schedule"]) == 1
    gitlab = load(".gitlab/fileflow.gitlab-ci.yml")[f"fileflow-{name}"]
    assert gitlab["variables"]["FILEFLOW_MARKERS"] == markers
    assert gitlab["resource_group"] == workflow["concurrency"]["group"]
    assert f'$FILEFLOW_JOB == "{name}"' in json.dumps(gitlab["rules"]).replace('\\"', '"')


def test_what_is_needed_afterwards_is_kept():
    kept = [
        step["with"]["path"] for path in GITHUB for step in steps(path) if "upload-artifact" in step.get("uses", "")
    ]
    jobs = load(".gitlab/fileflow.gitlab-ci.yml")
    kept += ["\n".join(jobs[name]["artifacts"]["paths"]) for name in (".fileflow", "fileflow-change")]
    assert len(kept) == 4
    for paths in kept:
        assert {"report.html", "junit.xml", "summary.md", "fileflow-results/"} <= set(paths.split())
    (cache,) = (step["with"]["path"] for path in GITHUB for step in steps(path) if "cache" in step.get("uses", ""))
    assert cache == ".pytest_cache"
    assert ".pytest_cache/" in jobs[".fileflow-real"]["cache"]["paths"]


def test_a_file_that_is_there_is_left_alone(tmp_path, capsys):
    mine = tmp_path / ".github/workflows/fileflow-daily.yml"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert main(["ci", "github", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert mine.read_text() == "mine"
    assert told.err == f"{mine} is there already and was left alone\n"
    assert len(told.out.splitlines()) == len(GITHUB) - 1


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / ".gitlab").write_text("a file, not a folder")
    assert main(["ci", "gitlab", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("fileflow ci: ")
    assert told.err.count("\n") == 1


def test_a_system_that_nobody_knows_is_refused(capsys):
    assert main(["ci", "jenkins"]) == 2
    assert "'jenkins' is not one of 'github', 'gitlab'" in capsys.readouterr().err
