"""What ``fileflow push`` and ``pull`` have in common: the difference is shown first, and then made on consent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytest_fileflow.results.words import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_fileflow.results.places import Place
    from pytest_fileflow.stores.folder import Folder, FolderOfFlows
    from pytest_fileflow.stores.moving import Change, Side
    from pytest_fileflow.stores.shelf import Shelf
    from pytest_fileflow.stores.sides import Bucket, Flows

DONE, NOT_DONE, CANNOT = 0, 1, 2
AT_A_TIME = 16


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--delete``, ``--dry-run`` and ``--yes``."""
    for option in (
        click.option("--yes", is_flag=True, help="do it without asking"),
        click.option("--dry-run", is_flag=True, help="only show the difference; exit status 1 where there is one"),
        click.option("--delete", is_flag=True, help="remove what is only at the destination, too"),
    ):
        command = option(command)
    return command


def place_of(text: str) -> Place:
    """Read the name of a store; raises click.BadParameter."""
    from pytest_fileflow.results.places import PlaceError, config_store

    try:
        return config_store(text)
    except PlaceError as error:
        raise click.BadParameter(str(error), param_hint="STORE") from None


def sides(place: Place, folder: Path) -> tuple[Bucket | Flows, Folder | FolderOfFlows]:
    """Look at a store and at a folder; raises FileflowError or CannotMove."""
    import boto3

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.stores import folder as local
    from pytest_fileflow.stores import sides as remote

    clients = AwsClients(boto3.Session())
    if place.kind == "s3":
        return remote.Bucket.seen(place, clients, _shelf), local.Folder.seen(folder)
    flows, table = local.FolderOfFlows.seen(folder), remote.Flows.seen(place, clients)
    # A flow without an enabled version is not in a table any more, unless it lies here as a disabled one.
    gone = {
        name
        for name, versions in table.versions.items()
        if not any(item.is_enabled for item in versions) and not local.is_disabled(flows.contents.get(name, b"{}"))
    }
    counting = {name: content for name, content in table.contents.items() if name not in gone}
    return remote.Flows(table.table, counting, table.versions), flows


def _shelf(name: str) -> Shelf:
    import tempfile

    from pytest_fileflow.caches import cache_folder
    from pytest_fileflow.stores.shelf import Shelf

    try:
        return Shelf.of(cache_folder("configs") or Path(tempfile.gettempdir(), "fileflow-configs"), name)
    except OSError:
        return Shelf.of(Path(tempfile.mkdtemp(prefix="fileflow-configs-")), name)


def move(source: Side, target: Side, *, delete: bool, dry_run: bool, yes: bool) -> int:
    """Show what differs, ask, and make the target like the source; return the exit status."""
    from pytest_fileflow.stores.moving import changes, shown

    found = changes(source.contents, target.contents)
    due = [change for change in found if delete or change.kind != "removed"]
    for change in due:
        for line in shown(change):
            sys.stdout.write(f"{line}\n")
    kept = len(found) - len(due)
    if kept:
        sys.stdout.write(f"{_count(kept)} only at the destination: kept (--delete removes)\n")
    if not due:
        sys.stdout.write("nothing to do\n")
        return DONE
    sys.stdout.write(f"{_summary(due)}\n")
    sys.stdout.flush()
    if dry_run or not (yes or _agrees()):
        return NOT_DONE
    return _apply(target, due)


def _agrees() -> bool:
    if not sys.stdin.isatty():
        sys.stderr.write("nothing is changed: give --yes where nobody can be asked\n")
        return False
    return click.confirm("Go on?")


def _apply(target: Side, due: Sequence[Change]) -> int:
    """Make changes, some at a time; one that cannot be made does not stop the others."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="fileflow-move") as pool:
        failed = [why for why in pool.map(lambda change: _trouble(target, change), due) if why]
    for why in failed:
        sys.stderr.write(f"{plain(why)}\n")
    sys.stdout.write(f"{len(due) - len(failed)} done" + (f", {len(failed)} not\n" if failed else "\n"))
    return NOT_DONE if failed else DONE


def _trouble(target: Side, change: Change) -> str | None:
    """Make a change; return why it could not be made, if so."""
    from pytest_fileflow.errors import FileflowError
    from pytest_fileflow.stores.moving import CannotMove, Conflict

    try:
        target.apply(change)
    except Conflict as error:
        return f"conflict: {error}; look at it and try again"
    except (CannotMove, FileflowError) as error:
        return str(error)
    return None


def _summary(due: Sequence[Change]) -> str:
    kinds = ("added", "changed", "removed")
    return ", ".join(f"{sum(change.kind == kind for change in due)} {kind}" for kind in kinds)


def _count(number: int) -> str:
    return "1 is" if number == 1 else f"{number} are"


def cannot(command: str, why: object) -> int:
    """Say why a command cannot be done; return the exit status."""
    sys.stderr.write(f"fileflow {command}: {plain(str(why))}\n")
    return CANNOT
