from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pytest_fileflow.cli import main
from pytest_fileflow.commands import ci, schema
from pytest_fileflow.commands.first_flow import DIRECTIONS
from pytest_fileflow.registry import Registry, register_builtin_patterns

SECRET = "arn:aws:secretsmanager:us-west-2:123456789012:secret:sftp/acme-AbCdEf"
FUNCTION = "arn:aws:lambda:us-west-2:123456789012:function:file-transfer"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return tmp_path


@pytest.fixture
def quick(monkeypatch) -> None:
    """What own plugins add to the schema is another test's concern, and takes a pytest run each time."""
    registry = Registry()
    register_builtin_patterns(registry)
    monkeypatch.setattr(schema, "_registry", lambda folder: registry)


def init(*arguments: str) -> int:
    return main(["init", "--yes", *arguments])


def test_a_flow_of_each_direction_passes_in_the_sandbox_at_once(here):
    for direction in DIRECTIONS:
        assert init("--direction", direction) == 0
    program = [sys.executable, "-m", "pytest", "flows/", "--fileflow-sandbox", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    assert "8 of 8 runs passed" in done.stdout
    assert "4 of 4 contracts kept" in done.stdout


def test_options_become_a_flow_that_is_ready_for_the_real_system(capsys):
    given = ["--flow-id=acme", "--direction=sftp-s3", "--host=sftp.acme.example", "--username=acme", "--dir=/outbox"]
    given += [f"--secret-arn={SECRET}", "--bucket=example-landing", "--prefix=acme/", f"--lambda-arn={FUNCTION}"]
    assert init(*given, "--slo=420") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == ["flows/acme.yaml", "pytest.ini", ".fileflow/flow.schema.json"]
    assert [line.partition("  ")[0] for line in said[-2:]] == ["pytest flows/ --fileflow-sandbox", "fileflow validate"]
    text = Path("flows/acme.yaml").read_text()
    assert "ANGLE" not in text
    assert yaml.safe_load(text) == {
        "flow_id": "acme",
        "source": {
            "type": "SFTP",
            "host": "sftp.acme.example",
            "username": "acme",
            "dir": "/outbox",
            "secret_arn": SECRET,
        },
        "target": {"type": "S3", "bucket": "example-landing", "prefix": "acme/"},
        "transfer": {"lambda_arn": FUNCTION},
        "validation": {"expect_within_seconds": 420},
        "testdata": {"sizes": {"smoke": "4KiB", "typical": "1MiB"}},
    }
    assert main(["validate"]) == 0


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("form", ["yaml", "json"])
def test_placeholders_hold_it_up_outside_the_sandbox_alone(capsys, form):
    assert init("--format", form, "--direction=s3-s3", "--bucket=one-bucket") == 0
    assert capsys.readouterr().out.endswith(": 1 placeholder\n")
    assert main(["validate", "--sandbox"]) == 0
    assert main(["validate"]) == 1
    problems = capsys.readouterr().out.splitlines()[1:-1]
    assert [line.partition("  ")[2] for line in problems] == [
        "$.target.bucket  placeholder <TARGET_BUCKET> is not replaced (fine with --fileflow-sandbox)"
    ]


@pytest.mark.parametrize(("form", "said"), [("yaml", "# yaml-language-server: $schema="), ("json", '"$schema": "')])
def test_an_editor_finds_the_schema_without_a_network(form, said):
    assert init("--format", form) == 0
    (flow,) = Path("flows").iterdir()
    text = flow.read_text()
    place = text[text.index(said) + len(said) :].split()[0].strip('",')
    assert "flow_id" in json.loads((flow.parent / place).read_text())["$defs"]["flow"]["properties"]


@pytest.mark.usefixtures("quick")
def test_nothing_is_written_over_unless_that_is_asked_for(capsys):
    assert init("--ci", "github") == 0
    flow, shown = Path("flows/first_sftp_to_s3.yaml"), Path(".fileflow/flow.schema.json")
    shown.write_text("mine")
    before = flow.read_text()
    assert init("--slo", "60") == 1
    assert "has a flow first_sftp_to_s3 already: give another --flow-id" in capsys.readouterr().err
    assert init("--flow-id", "second") == 0
    assert f"{shown} is there already and was left alone" in capsys.readouterr().err
    assert (flow.read_text(), shown.read_text()) == (before, "mine")
    assert {path for path, _ in ci.workflow_files("github") if not Path(path).exists()} == set()
    assert init("--slo", "60", "--force") == 0
    assert "expect_within_seconds: 60" in flow.read_text()
    assert shown.read_text() != "mine"


INI = "[pytest]\naddopts = -q  # mine\n"
TOML = '[project]\nname = "mine"\n\n[tool.pytest.ini_options]  # mine\naddopts = "-q"\n'


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("pytest.ini", INI, "[pytest]\nfileflow_paths = flows\naddopts = -q  # mine\n"),
        ("tox.ini", f"[tox]\n{INI}", "[tox]\n[pytest]\nfileflow_paths = flows\naddopts = -q  # mine\n"),
        ("setup.cfg", "[tool:pytest]\n", "[tool:pytest]\nfileflow_paths = flows\n"),
        ("pyproject.toml", TOML, TOML.replace("# mine\n", '# mine\nfileflow_paths = ["flows"]\n')),
        ("pytest.ini", "[pytest]\nfileflow_paths = mine\n", "[pytest]\nfileflow_paths = mine\n"),
        (
            "pyproject.toml",
            '[tool]\npytest.ini_options.addopts = "-q"\n',
            '[tool]\npytest.ini_options.addopts = "-q"\n',
        ),
    ],
)
def test_pytests_own_settings_are_added_to(name, text, expected, capsys):
    Path(name).write_text(text)
    assert init() == 0
    assert Path(name).read_text() == expected
    assert [path.name for path in Path().iterdir() if path.is_file()] == [name]
    assert ("add fileflow_paths" in capsys.readouterr().err) == (expected == text and "fileflow_paths" not in text)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("name", "text"), [("tox.ini", "[tox]\n"), ("pyproject.toml", '[project]\nname = "a"\n')])
def test_a_file_in_which_pytest_finds_no_settings_stays_as_it_is(name, text):
    Path(name).write_text(text)
    assert init() == 0
    assert Path(name).read_text() == text
    assert Path("pytest.ini").read_text() == "[pytest]\ntestpaths = flows\nfileflow_paths = flows\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.usefixtures("quick")
def test_a_terminal_is_asked_for_what_no_option_says(here, monkeypatch, capsys):
    answers = ["s3-s3x", "s3-s3", "mine", "one-bucket", "", "", "in/", "none", "90", "none"]
    monkeypatch.setattr(sys, "stdin", Terminal("\n".join(answers) + "\n"))
    assert main(["init", "new project"]) == 0
    told = capsys.readouterr()
    assert "Bucket at the source [<SOURCE_BUCKET>]: " in told.err
    assert "cd 'new project' && fileflow validate" in told.out
    flow = yaml.safe_load((here / "new project/flows/mine.yaml").read_text())
    assert flow["source"] == {"type": "S3", "bucket": "one-bucket", "prefix": "outbox/"}
    assert flow["target"] == {"type": "S3", "bucket": "<TARGET_BUCKET>", "prefix": "in/"}
    assert flow["validation"] == {"expect_within_seconds": 90}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--flow-id", "../etc"], 2, "flows/../etc.yaml:3:10  $.flow_id  must start with a letter or digit"),
        (["--host", "a", "--host", "b"], 2, "--host is given 2 times, and sftp-s3 takes 1"),
        (["--direction", "ftp-s3"], 2, "'ftp-s3' is not one of"),
        (["--slo", "0"], 2, "--slo"),
    ],
)
def test_what_would_be_no_flow_is_not_written(here, capsys, arguments, status, message):
    assert init(*arguments) == status
    assert message in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(here, capsys):
    (here / "flows").write_text("a file, not a folder")
    assert init() == 2
    told = capsys.readouterr().err
    assert told.startswith("fileflow init: flows cannot be written: ")
    assert told.count("\n") == 1
