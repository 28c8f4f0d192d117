"""``fileflow ci``: writes the workflow files of GitHub or GitLab that run the flows daily, hourly and for each change.

They ship inside the package, so that they fit the version that is installed, and pin it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_fileflow import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKFLOWS = Path(__file__).with_name("workflows")
SYSTEMS = ("github", "gitlab")
VERSION = "@VERSION@"  # in a workflow file: the version of the plugin that it installs


def workflow_files(system: str) -> Iterator[tuple[str, str]]:
    """Yield the path in a repository and the text of each file of a system."""
    root = WORKFLOWS / system
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        text = file.read_text(encoding="utf-8").replace(VERSION, __version__)
        yield file.relative_to(root).as_posix(), text


@click.command("ci", short_help="write workflow files for GitHub or GitLab")
@click.argument("system", type=click.Choice(SYSTEMS))
@click.argument("folder", default=".", type=click.Path(path_type=Path))
def command(system: str, folder: Path) -> int:
    """Write workflow files for the daily job, the hourly canary, the weekly stress sizes and each change.

    SYSTEM says whose files, and FOLDER is the root of the repository (default here). A file that is there already is
    left alone, and the exit status is 1.
    """
    there = 0
    for path, text in workflow_files(system):
        file = folder / path
        try:
            written = write_new(file, text)
        except OSError as error:
            sys.stderr.write(f"fileflow ci: {file} cannot be written: {error.strerror}\n")
            return 2
        if written:
            sys.stdout.write(f"{file}\n")
        else:
            sys.stderr.write(f"{file} is there already and was left alone\n")
            there += 1
    return 1 if there else 0


def write_new(file: Path, text: str) -> bool:
    """Return whether a file was written: nobody's own is replaced. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        return False
    return True
