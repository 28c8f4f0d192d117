"""``fileflow clean``: removes what killed sessions left at the ends of flows."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_fileflow.commands.completing import FOLDER
from pytest_fileflow.commands.reading import DEFAULT_PLACE, span

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from pytest_fileflow.commands.leftovers import Ends, Found

LEFT, CANNOT = 1, 2
DEFAULT_AGE = "1h"


@click.command("clean", short_help="remove what killed sessions left at the ends of flows")
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_PLACE,
    metavar="FOLDER",
    help=f"the results folder whose ledger knows the runs (default {DEFAULT_PLACE})",
)
@click.option("--env", metavar="NAME", help="with the variables of environments/NAME.yaml")
@click.option("--dry-run", is_flag=True, help="show what would be removed, and remove nothing")
@click.option("--yes", is_flag=True, help="do not ask before it is removed")
@click.option(
    "--older-than",
    type=span,
    default=DEFAULT_AGE,
    metavar="1h|2d",
    help=f"what is known by its tags alone must be this much older than a run can last (default {DEFAULT_AGE})",
)
def command(
    paths: tuple[str, ...],
    *,
    results: Path,
    env: str | None,
    dry_run: bool,
    yes: bool,
    older_than: timedelta,
) -> int:
    """Remove what killed sessions left at the ends of the flows in files and folders (default flows/).

    Ours is a file whose name holds the run id of a killed run in the ledger of the results folder, and an object in S3
    whose tags name the run id in its own name. Nothing else is touched, and all is shown first. Exit status: 0 nothing
    is left, 1 something is, 2 it cannot be done.
    """
    from pytest_fileflow.commands.collecting import CannotCollect, collect
    from pytest_fileflow.commands.leftovers import look

    try:
        collected = collect(paths, *([f"--fileflow-env={env}"] if env else []))
    except CannotCollect as error:
        return _cannot(str(error))
    for broken in collected.broken:
        sys.stderr.write(f"left out: {broken.name} is wrong: {broken.problems[0]}\n")
    if not collected.flows:
        return _cannot(f"there are no flows in {', '.join(paths) or FOLDER} that can be used")
    flows = {flow.flow_id: flow for flow in collected.flows}
    with _ends() as ends:
        found = look(results, flows, ends, older_than=older_than.total_seconds())
        for leftover in found.leftovers.values():
            sys.stdout.write(f"{leftover}\n")
        for trouble in found.troubles:
            sys.stderr.write(f"cannot be looked at: {trouble}\n")
        if not _is_wanted(found, dry_run=dry_run, yes=yes):
            return LEFT
        try:
            return _removed(found, ends)
        except OSError as error:
            return _cannot(f"{error.filename} cannot be written: {error.strerror}")


def _is_wanted(found: Found, *, dry_run: bool, yes: bool) -> bool:
    """Return whether to go on: where nothing is to be removed, nobody has to agree."""
    if not found.leftovers or (yes and not dry_run):
        return True
    number = _files(len(found.leftovers))
    if not dry_run and sys.stdin.isatty():
        return click.confirm(f"Remove {number}?", err=True)
    sys.stdout.write(f"{number} would be removed" + ("" if dry_run else ": --yes removes them") + "\n")
    return False


def _removed(found: Found, ends: Ends) -> int:
    from pytest_fileflow.commands.leftovers import remove

    stays = remove(found, ends)
    for line in stays:
        sys.stderr.write(f"not removed: {line}\n")
    gone = len(found.leftovers) - len(stays)
    sys.stdout.write(f"{_files(gone)} removed\n" if found.leftovers else "nothing is left behind\n")
    return LEFT if stays or found.troubles else 0


@contextmanager
def _ends() -> Iterator[Ends]:
    import boto3

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.commands.leftovers import Ends
    from pytest_fileflow.endpoints.ssh import SshSessions
    from pytest_fileflow.secret import Secrets

    clients = AwsClients(boto3.Session())
    secrets = Secrets(clients)
    ssh = SshSessions(secrets.credentials, renewed=secrets.renewed)
    try:
        yield Ends(clients, ssh)
    finally:
        ssh.close()


def _files(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"


def _cannot(why: str) -> int:
    sys.stderr.write(f"fileflow clean: {why}\n")
    return CANNOT
