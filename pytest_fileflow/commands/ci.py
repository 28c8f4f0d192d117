"""``fileflow ci``: writes the workflow files of GitHub or GitLab that run the flows daily, hourly and for each change.

They ship inside the package, so that they fit the version that is installed, and pin it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_fileflow import __version__

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pytest_fileflow.commands import Commands

WORKFLOWS = Path(__file__).with_name("workflows")
SYSTEMS = ("github", "gitlab")
VERSION = "@VERSION@"  # in a workflow file: the version of the plugin that it installs


def add(commands: Commands) -> None:
    """Add the command."""
    ci = commands.add_parser(
        "ci",
        help="write workflow files for GitHub or GitLab",
        description=(
            "Writes workflow files for the daily job, the hourly canary, the weekly stress sizes and the sandbox for "
            "each change. A file that is there already is left alone, and the exit status is 1."
        ),
    )
    ci.add_argument("system", choices=SYSTEMS, help="whose files")
    ci.add_argument("folder", nargs="?", default=".", type=Path, help="the root of the repository (default here)")
    ci.set_defaults(run=_ci)


def workflow_files(system: str) -> Iterator[tuple[str, str]]:
    """Yield the path in a repository and the text of each file of a system."""
    root = WORKFLOWS / system
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        text = file.read_text(encoding="utf-8").replace(VERSION, __version__)
        yield file.relative_to(root).as_posix(), text


def _ci(given: argparse.Namespace, _more: list[str]) -> int:
    there = 0
    for path, text in workflow_files(given.system):
        file = given.folder / path
        try:
            written = _write(file, text)
        except OSError as error:
            sys.stderr.write(f"fileflow ci: {file} cannot be written: {error.strerror}\n")
            return 2
        if written:
            sys.stdout.write(f"{file}\n")
        else:
            sys.stderr.write(f"{file} is there already and was left alone\n")
            there += 1
    return 1 if there else 0


def _write(file: Path, text: str) -> bool:
    """Return whether a file was written: nobody's own is replaced. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        return False
    return True
