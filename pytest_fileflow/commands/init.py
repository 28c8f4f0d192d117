"""``fileflow init``: writes a first flow and what belongs around it, so that it passes in the sandbox at once."""

from __future__ import annotations

import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytest_fileflow.commands import first_flow
from pytest_fileflow.commands.ci import SYSTEMS, workflow_files, write_new
from pytest_fileflow.commands.completing import FOLDER, named_in
from pytest_fileflow.commands.first_flow import DIRECTIONS, S3, SCHEMA_FILE, SFTP, Document, TooMany, ends, placeholders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_fileflow.commands.first_flow import Ask
    from pytest_fileflow.config import Problem

DEFAULT_SLO = 300
THERE, CANNOT = 1, 2
FORMS = {"yaml": first_flow.as_yaml, "json": first_flow.as_json}


def _end_options(command: Callable[..., int]) -> Callable[..., int]:
    for field in reversed((*SFTP, *S3)):
        help_text = f"{field.question.format(side='source or target')}; again for the target, if both ends are alike"
        command = click.option(field.option, field.key, multiple=True, help=help_text)(command)
    return command


@click.command("init", short_help="write a first flow, that passes in the sandbox at once, and what belongs around it")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--direction", type=click.Choice(DIRECTIONS), help=f"from where to where (default {DIRECTIONS[0]})")
@click.option("--flow-id", help="its name (default after the direction)")
@_end_options
@click.option("--lambda-arn", help="the function that moves the file (default none: its arrival starts the transfer)")
@click.option("--slo", type=click.IntRange(1), help=f"seconds in which it must arrive (default {DEFAULT_SLO})")
@click.option("--format", "form", type=click.Choice(list(FORMS)), default="yaml", help="of the flow (default yaml)")
@click.option("--ci", type=click.Choice([*SYSTEMS, "none"]), help="whose workflow files to write (default none)")
@click.option("--yes", is_flag=True, help="ask nothing: what is not given is a default or a placeholder")
@click.option("--force", is_flag=True, help="write over files that are there")
def command(folder: Path, *, form: str, yes: bool, force: bool, **given: Any) -> int:
    """Write a first flow into FOLDER (default here), pytest's settings, the schema for editors, and files for CI.

    On a terminal it asks for what no option says; an empty answer leaves a placeholder. What is there already is added
    to (the settings of pytest) or left alone. Exit status: 0 done, 1 there is such a flow already, 2 it cannot be done.
    """
    ask = _asked if not yes and sys.stdin.isatty() else _default
    try:
        flow = _flow(given, ask)
    except TooMany as error:
        raise click.UsageError(str(error)) from None
    ci = given["ci"] or ask("Workflow files for CI", "none", [*SYSTEMS, "none"])
    file = Path(FOLDER) / f"{flow['flow_id']}.{form}"
    text = FORMS[form](flow)
    problems = _problems(text, file)
    if problems:
        return _cannot("this would be no flow:", *map(str, problems))
    if not force and flow["flow_id"] in named_in(folder / FOLDER):
        sys.stderr.write(
            f"fileflow init: {folder / FOLDER} has a flow {flow['flow_id']} already: give another --flow-id\n"
        )
        return THERE
    try:
        _Project(folder, force=force).write(file, text, ci)
    except OSError as error:
        return _cannot(f"{error.filename} cannot be written: {error.strerror}")
    for line in _next_steps(folder, len(placeholders(flow))):
        sys.stdout.write(f"{line}\n")
    return 0


def _asked(question: str, default: str, choices: Sequence[str] = ()) -> str:
    answer: str = click.prompt(question, default=default, type=click.Choice(choices) if choices else None, err=True)
    return answer


def _default(_question: str, default: str, _choices: Sequence[str] = ()) -> str:
    return default


def _flow(given: dict[str, Any], ask: Ask) -> Document:
    """Return the flow that the options and answers describe; raises TooMany."""
    direction = given["direction"] or ask("Direction", DIRECTIONS[0], DIRECTIONS)
    flow_id = given["flow_id"] or ask("Name of the flow", f"first_{direction.replace('-', '_to_')}")
    flow: Document = {"flow_id": flow_id, **dict(ends(direction, given, ask))}
    function = given["lambda_arn"] or ask("ARN of the function that moves the file (none: its arrival does)", "none")
    if function != "none":
        flow["transfer"] = {"lambda_arn": function}
    else:
        flow["transfer"] = {"mode": "event"}
    slo = given["slo"] or ask("Seconds in which it must arrive", str(DEFAULT_SLO))
    flow["validation"] = {"expect_within_seconds": int(slo) if str(slo).isdigit() else slo}
    flow["testdata"] = {"sizes": {"smoke": "4KiB", "typical": "1MiB"}}
    return flow


def _problems(text: str, file: Path) -> tuple[Problem, ...]:
    """Return what is wrong with a flow that is not written yet, as collecting it in the sandbox would."""
    from pytest_fileflow.config import BrokenFlow, load_file
    from pytest_fileflow.registry import Registry, register_builtin_patterns

    registry = Registry()
    register_builtin_patterns(registry)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / f"trial{file.suffix}"
        trial.write_text(text, encoding="utf-8")
        (loaded,) = load_file(trial, display=str(file), sandbox=True, patterns=registry.size_problems(), checks={})
    return loaded.problems if isinstance(loaded, BrokenFlow) else ()


@dataclass(frozen=True)
class _Project:
    """The folder of a project, in which nothing is written over unless that is asked for."""

    folder: Path
    force: bool

    def write(self, flow: Path, text: str, ci: str) -> None:
        """Write a flow and what belongs around it, and say so; raises OSError."""
        from pytest_fileflow.commands import pytest_ini, schema

        self._write(flow, text)
        done = pytest_ini.configure(self.folder)
        if done.is_written:
            sys.stdout.write(f"{done.file}\n")
        if done.advice:
            sys.stderr.write(f"{done.advice}\n")
        self._write(Path(SCHEMA_FILE), schema.text("flow", self.folder))
        for path, content in workflow_files(ci) if ci != "none" else ():
            self._write(Path(path), content)

    def _write(self, path: Path, text: str) -> None:
        file = self.folder / path
        if self.force and file.exists():
            file.write_text(text, encoding="utf-8")
        elif not write_new(file, text):
            sys.stderr.write(f"{file} is there already and was left alone\n")
            return
        sys.stdout.write(f"{file}\n")


def _next_steps(folder: Path, unknown: int) -> Iterator[str]:
    there = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    yield ""
    yield f"{there}pytest {FOLDER}/ --fileflow-sandbox   # it passes, on this machine alone"
    left = f"{unknown} placeholder{'' if unknown == 1 else 's'}" if unknown else "nothing"
    yield f"{there}fileflow validate                 # what is left before it runs for real: {left}"


def _cannot(*lines: str) -> int:
    sys.stderr.write("fileflow init: " + "\n".join(lines) + "\n")
    return CANNOT
