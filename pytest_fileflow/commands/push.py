"""``fileflow push``: puts the configs of a folder into a config store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_fileflow.commands import moving

if TYPE_CHECKING:
    from pytest_fileflow.results.places import Place
    from pytest_fileflow.stores.folder import Folder, FolderOfFlows
    from pytest_fileflow.stores.sides import Bucket, Flows


@click.command("push", short_help="put the configs of a folder into a config store, after showing what differs")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("store")
@click.option("--env", metavar="NAME", help="look at the configs with the variables of environments/NAME.yaml")
@moving.options
def command(folder: Path, store: str, *, env: str | None, delete: bool, dry_run: bool, yes: bool) -> int:
    """Put the flows, groups and environments of FOLDER, which holds flows/, into STORE.

    STORE is s3://bucket/prefix or dynamodb://table. Broken configs are not pushed, nor those that would be broken in
    the store; variables stay as they are. Nothing is overwritten that somebody else has changed meanwhile; a table
    keeps all versions, a bucket those that its versioning keeps. Exit status: 0 it is done, or there was nothing to do;
    1 it is not, or not all of it; 2 it cannot be done.
    """
    from pytest_fileflow.errors import FileflowError
    from pytest_fileflow.stores.moving import CannotMove

    place = moving.place_of(store)
    if not (folder / "flows").is_dir():
        meant = f"; did you mean `fileflow push {folder.parent} {store}`?" if folder.name == "flows" else ""
        return moving.cannot("push", f"{folder} has no folder flows{meant}")
    if not _is_right(folder, env):
        return moving.NOT_DONE
    try:
        there, here = moving.sides(place, folder)
    except (FileflowError, CannotMove, OSError) as error:
        return moving.cannot("push", error)
    lacking = _lacking(folder, place)
    for line in lacking:
        sys.stderr.write(f"{line}\n")
    if lacking:
        return moving.NOT_DONE
    status = moving.move(here, there, delete=delete, dry_run=dry_run, yes=yes)
    for line in _notes(here, there):
        sys.stdout.write(f"{line}\n")
    return status


def _is_right(folder: Path, env: str | None) -> bool:
    """Return whether all flows can be used; if not, say all that is wrong, as pytest would."""
    from pytest_fileflow.commands.collecting import CannotCollect, collect

    try:
        broken = collect([str(folder / "flows")], *([f"--fileflow-env={env}"] if env else [])).broken
    except CannotCollect as error:
        sys.stderr.write(f"{error}\n")
        return False
    for problem in (problem for each in broken for problem in each.problems):
        sys.stderr.write(f"{problem}\n")
    return not broken


def _lacking(folder: Path, place: Place) -> list[str]:
    """Return a line for each file that flows take endpoints and defaults from, and that does not go with them."""
    from pytest_fileflow.config.shared import NAMES, may_be_shared

    beside = [folder / name for name in NAMES]
    among = [path for name in NAMES for path in (folder / "flows").rglob(name)]
    if place.kind == "dynamodb":
        why, files = "a table has no place for what flows take from it: write that in the flows, or use a bucket", among
    else:
        why, files = "a bucket has no place for it there: move it into flows/", []
    return [f"{path}: {why}" for path in sorted([*beside, *files]) if path.is_file() and may_be_shared(path)]


def _notes(here: Folder | FolderOfFlows, there: Bucket | Flows) -> list[str]:
    left_out = getattr(here, "left_out", [])
    notes = [f"a table holds flows only: {', '.join(left_out)} stay here"] if left_out else []
    if getattr(there, "keeps_versions", True) is False:
        notes.append("the bucket keeps no versions: what was replaced or removed there cannot be had back")
    return notes
