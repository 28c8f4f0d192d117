"""What commands that look back have in common: which records they read, and how."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import datetime, timedelta, timezone
from functools import reduce, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pytest_fileflow.commands.completing import flow_ids
from pytest_fileflow.results.words import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.history import History

DEFAULT_PLACE = "fileflow-results"

_SPAN = re.compile(r"(\d{1,5})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def span(text: str) -> timedelta:
    """Return the time that a text as ``7d`` means; for click."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no span, as 7d, 24h or 2w")
    return int(found[1]) * _UNITS[found[2]]


def _moment(text: str) -> datetime:
    if _SPAN.fullmatch(text):
        return datetime.now(timezone.utc) - span(text)
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        meant = f"{text!r} is neither a span, as 7d, 24h or 2w, nor a date, as 2026-11-01"
        raise click.BadParameter(meant) from None


@dataclass(frozen=True)
class Reading:
    """Which records are to be read: of which places and flows, since when, and where what was read is kept."""

    places: tuple[str, ...]
    flow: str | None
    since: datetime | None
    rollup: Path | None
    no_rollup: bool
    sandbox: bool


def reading_options(flow_help: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return a decorator that adds the places and options of reading, and passes them on as ``reading``."""
    options = (
        click.argument("places", nargs=-1, metavar="[PLACE]..."),
        click.option("--flow", metavar="GLOB", shell_complete=flow_ids, help=flow_help),
        click.option("--since", type=_moment, metavar="7d|2026-11-01", help="how far to look back (default 30 days)"),
        click.option(
            "--rollup",
            type=click.Path(path_type=Path),
            metavar="FOLDER",
            help="where to keep what was read, so that the next time only new records are (default the user's cache)",
        ),
        click.option("--no-rollup", is_flag=True, help="read every record, and keep nothing"),
        click.option("--sandbox", is_flag=True, help="show runs of the sandbox too"),
    )

    def decorated(callback: Callable[..., int]) -> Callable[..., int]:
        @wraps(callback)
        def with_reading(**given: Any) -> int:
            own = {field.name: given.pop(field.name) for field in fields(Reading)}
            own["places"] = own["places"] or (DEFAULT_PLACE,)
            return callback(reading=Reading(**own), **given)

        return reduce(lambda inner, option: option(inner), reversed(options), with_reading)

    return decorated


def read(reading: Reading, flow: str | None) -> History:
    """Read the history that was asked for, of flows whose id fits, and note what waits; raises FileflowError."""
    from pytest_fileflow.results.history import History
    from pytest_fileflow.results.history.rollup import default_folder

    kept = None if reading.no_rollup else reading.rollup or default_folder()
    history = History.open(
        reading.places, _clients, since=reading.since, flow=flow, sandbox=reading.sandbox, rollups=kept
    )
    history.notes += tuple(line for place in dict.fromkeys(reading.places) for line in _waiting(place))
    return history


def _waiting(place: str) -> Iterator[str]:
    """Yield what is to be said of records that wait in a results folder for another place, a line each place."""
    from pytest_fileflow.delivery import upload_command
    from pytest_fileflow.results import places
    from pytest_fileflow.results.spool import Spool

    if places.Place.parse(place).is_remote:
        return
    folder = Path(place)
    spool = Spool.of(folder)
    for name, paths in spool.waiting().items():
        number = "1 record waits" if len(paths) == 1 else f"{len(paths)} records wait"
        shown = "is" if len(paths) == 1 else "are"
        yield plain(f"{number} in {spool.root} for {name} and {shown} not shown: {upload_command(folder, Path())}")


def nothing_ran(flow: str | None, places: Sequence[str]) -> str:
    """Return what is said where no run was found."""
    return f"no runs of {flow or 'any flow'} in {', '.join(places)}"


def _clients() -> AwsClients:
    import boto3

    from pytest_fileflow.clients import AwsClients

    return AwsClients(boto3.Session())
