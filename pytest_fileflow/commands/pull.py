"""``fileflow pull``: brings the configs of a config store into a folder."""

from __future__ import annotations

from pathlib import Path

import click

from pytest_fileflow.commands import moving


@click.command("pull", short_help="bring the configs of a config store into a folder, after showing what differs")
@click.argument("store")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@moving.options
def command(store: str, folder: Path, delete: bool, dry_run: bool, yes: bool) -> int:
    """Bring the flows, groups and environments of STORE into FOLDER, below flows/, groups/ and environments/.

    STORE is s3://bucket/prefix or dynamodb://table. What was changed here shows as a difference, and is overwritten on
    consent only. Exit status: 0 it is done, or there was nothing to do; 1 it is not, or not all of it; 2 it cannot be
    done.
    """
    from pytest_fileflow.errors import FileflowError
    from pytest_fileflow.stores.moving import CannotMove

    try:
        there, here = moving.sides(moving.place_of(store), folder)
    except (FileflowError, CannotMove, OSError) as error:
        return moving.cannot("pull", error)
    return moving.move(there, here, delete=delete, dry_run=dry_run, yes=yes)
