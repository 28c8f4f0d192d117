"""``fileflow upload``: delivers records that wait for their store, and records the runs of killed sessions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_fileflow.commands.reading import DEFAULT_PLACE

if TYPE_CHECKING:
    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.keeper import Keeper

SECONDS = 3600.0


@click.command(
    "upload", short_help="deliver the records that wait for their store, and record the runs of killed sessions"
)
@click.option(
    "--results",
    "names",
    multiple=True,
    metavar="PLACE",
    help=f"the results folder in which they wait (default {DEFAULT_PLACE}/), "
    "or s3://bucket/prefix or dynamodb://table to deliver to that place alone; may be given again",
)
def command(names: tuple[str, ...]) -> int:
    """Deliver the records that a store behind a network did not take at the time.

    The runs of sessions that were killed are recorded as interrupted. Exit status: 0 nothing waits, 1 something still
    does, 2 it cannot be done.
    """
    from pytest_fileflow.delivery import deliver, upload_command
    from pytest_fileflow.results.places import Place, PlaceError

    try:
        places = list(map(Place.parse, names))
    except PlaceError as error:
        return _cannot(f"--results: {error}")
    folders = [Path(place.name) for place in places if not place.is_remote]
    if len(folders) > 1:
        return _cannot(f"--results: {folders[1]} is a second folder; call it once for each")
    local = folders[0] if folders else Path(DEFAULT_PLACE)
    if not local.is_dir():
        return _cannot(f"--results: there is no folder {local}")
    clients = _Clients()
    done = deliver(
        local,
        clients,
        keeper_of=lambda names: _keeper(names, local, clients),
        seconds=SECONDS,
        command=upload_command(local, Path()),
        here=Path(),
        places=[str(place) for place in places if place.is_remote],
    )
    for line in done.notes or ([] if done.troubles else ["nothing waits"]):
        sys.stdout.write(f"{line}\n")
    for line in done.troubles:
        sys.stderr.write(f"{line}\n")
    return 1 if done.troubles else 0


def _keeper(names: tuple[str, ...], local: Path, clients: _Clients) -> Keeper | None:
    from pytest_fileflow.results.keeper import Keeper
    from pytest_fileflow.results.places import Place, PlaceError
    from pytest_fileflow.results.spool import Spool

    try:
        places = [Place.parse(name) for name in names] or [Place("folder", str(local))]
    except PlaceError as error:
        sys.stderr.write(f"a killed session's results cannot go to {', '.join(names)}: {error}\n")
        return None
    return Keeper(places, clients, Spool.of(local))


class _Clients:
    """The command's own AWS clients, from the standard configuration, made once somebody needs them."""

    def __init__(self) -> None:
        self._made: AwsClients | None = None

    def __call__(self) -> AwsClients:
        if self._made is None:
            import boto3

            from pytest_fileflow.clients import AwsClients

            self._made = AwsClients(boto3.Session())
        return self._made


def _cannot(why: str) -> int:
    sys.stderr.write(f"fileflow upload: {why}\n")
    return 2
