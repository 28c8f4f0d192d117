from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pytest_fileflow import cli
from pytest_fileflow.cli import COMMANDS, main


def test_the_commands_are_listed_in_their_order_each_with_a_line(capsys):
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()
    names = [line.split()[0] for line in listed if line[2] != " "]
    assert names == [module.command.name for module in COMMANDS]
    assert [name for name in names if not cli.fileflow.commands[name].short_help] == []


def test_without_a_command_help_is_shown_and_that_is_an_error(capsys):
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["histroy"], "No such command 'histroy'. Did you mean 'history'?"),
        (["xyz"], "No such command 'xyz'.\n"),
        (["history", "--falw", "x"], "--flow"),
        (["history", "--limit", "0"], "'0' is not a whole number above 0"),
        (["upload", "more"], "more"),
    ],
)
def test_what_nobody_knows_is_an_error_that_names_the_nearest(capsys, arguments, message):
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert told.out == ""


def test_the_command_line_brings_nothing_heavy_along():
    heavy = "pytest boto3 botocore paramiko cryptography jsonschema yaml duckdb jinja2"
    program = f"import sys, pytest_fileflow.cli; print([m for m in {heavy.split()} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_completes_commands_in_each_shell(capsys, shell):
    assert main(["completion", shell]) == 0
    assert f"_FILEFLOW_COMPLETE={shell}_complete" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("fileflow his", {"history"}), ("fileflow history --flow ac", {"acme", "acme_2", "acme-3"})],
)
def test_commands_and_flows_are_offered(tmp_path, typed, offered):
    (tmp_path / "flows/sub").mkdir(parents=True)
    (tmp_path / "flows/acme.json").write_text('{"flows": [{"flow_id": "acme"}, {"flow_id" : "acme_2"}]}')
    (tmp_path / "flows/sub/broken.yaml").write_text("flow_id: 'acme-3'\n  : [")
    (tmp_path / "flows/beta.yml").write_text("flow_id: beta")
    asked = {"_FILEFLOW_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    program = [sys.executable, "-m", "pytest_fileflow.cli"]
    done = subprocess.run(
        program, env=os.environ | asked, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    assert {line.removeprefix("plain,") for line in done.stdout.splitlines()} == offered
