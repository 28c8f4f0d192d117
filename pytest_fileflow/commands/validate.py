"""``fileflow validate``: shows everything that is wrong with the configs, without running a flow."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from pytest_fileflow.commands.completing import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_fileflow.commands.collecting import Collected
    from pytest_fileflow.config import BrokenFlow, Problem

WRONG, CANNOT = 1, 2


@click.command("validate", short_help="show everything that is wrong with the configs, without running a flow")
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
@click.option("--env", metavar="NAME", help="with the variables of environments/NAME.yaml")
@click.option("--sandbox", is_flag=True, help="as for the sandbox: placeholders may stand where real values go")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    help="a line a problem (text), a list of objects (json), or annotations of a GitHub job (github)",
)
def command(paths: tuple[str, ...], env: str | None, sandbox: bool, form: str) -> int:
    """Show all problems of all configs in files and folders (default flows/), as pytest would, and run nothing.

    Patterns and checks of your own plugins and conftest.py files are known. Nothing is sent anywhere. Exit status: 0
    where all is right, 1 where something is wrong, 2 where it cannot be told.
    """
    from pytest_fileflow.commands.collecting import CannotCollect, collect

    options = [*(["--fileflow-sandbox"] if sandbox else []), *([f"--fileflow-env={env}"] if env else [])]
    try:
        found = collect(paths, *options)
    except CannotCollect as error:
        return _cannot(str(error))
    if not found.flows and not found.broken:
        return _cannot(f"there are no flows in {', '.join(paths) or FOLDER}")
    for line in FORMATS[form](found.broken):
        sys.stdout.write(f"{line}\n")
    (sys.stderr if form == "json" else sys.stdout).write(f"{summary(found)}\n")
    return WRONG if found.broken else 0


def summary(found: Collected) -> str:
    """Return what was found, in numbers."""
    right = f"{_count(len(found.flows), 'flow')} {'is' if len(found.flows) == 1 else 'are'} right"
    if not found.broken:
        return right
    problems = _count(sum(len(broken.problems) for broken in found.broken), "problem")
    return f"{right}, {len(found.broken)} {'is' if len(found.broken) == 1 else 'are'} not: {problems}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _text(found: tuple[BrokenFlow, ...]) -> Iterator[str]:
    return (str(problem) for broken in found for problem in broken.problems)


def _json(found: tuple[BrokenFlow, ...]) -> Iterator[str]:
    yield json.dumps([_plain(problem, broken.name) for broken in found for problem in broken.problems], indent=2)


def _plain(problem: Problem, flow_id: str) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.message,
        "flow_id": flow_id,
    }


def _github(found: tuple[BrokenFlow, ...]) -> Iterator[str]:
    """Yield workflow commands: "Setting an error message" in GitHub's documentation of Actions."""
    for broken in found:
        for problem in broken.problems:
            place = f"file={_property(problem.file)},line={problem.line},col={problem.column}"
            yield f"::error {place},title=config.invalid::{_data(f'{problem.path}  {problem.message}')}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


FORMATS = {"text": _text, "json": _json, "github": _github}


def _cannot(why: str) -> int:
    sys.stderr.write(f"fileflow validate: {why}\n")
    return CANNOT
