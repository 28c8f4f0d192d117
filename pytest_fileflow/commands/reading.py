"""What commands that look back have in common: which records they read, and how."""

from __future__ import annotations

import argparse
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_fileflow.results.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.history import History

DEFAULT_PLACE = "fileflow-results"

_SPAN = re.compile(r"(\d{1,5})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def add_reading(parser: argparse.ArgumentParser, flow_help: str) -> None:
    """Add places, ``--flow``, ``--since``, ``--rollup``, ``--no-rollup`` and ``--sandbox``."""
    parser.add_argument(
        "places",
        nargs="*",
        default=[DEFAULT_PLACE],
        metavar="PLACE",
        help=f"results folders and s3://bucket/prefix places (default {DEFAULT_PLACE})",
    )
    parser.add_argument("--flow", metavar="GLOB", help=flow_help)
    parser.add_argument("--since", type=_moment, metavar="7d|2026-11-01", help="how far to look back (default 30 days)")
    parser.add_argument(
        "--rollup",
        metavar="FOLDER",
        help="where to keep what was read, so that the next time only new records are (default the user's cache)",
    )
    parser.add_argument("--no-rollup", action="store_true", help="read every record, and keep nothing")
    parser.add_argument("--sandbox", action="store_true", help="show runs of the sandbox too")


def _moment(text: str) -> datetime:
    span = _SPAN.fullmatch(text)
    if span:
        return datetime.now(timezone.utc) - int(span[1]) * _UNITS[span[2]]
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        meant = f"{text!r} is neither a span, as 7d, 24h or 2w, nor a date, as 2026-11-01"
        raise argparse.ArgumentTypeError(meant) from None


def read(given: argparse.Namespace, flow: str | None) -> History:
    """Read the history that was asked for, of flows whose id fits, and note what waits; raises FileflowError."""
    from pytest_fileflow.results.history import History
    from pytest_fileflow.results.history.rollup import default_folder

    kept = None if given.no_rollup else Path(given.rollup) if given.rollup else default_folder()
    history = History.open(given.places, _clients, since=given.since, flow=flow, sandbox=given.sandbox, rollups=kept)
    history.notes += tuple(line for place in dict.fromkeys(given.places) for line in _waiting(place))
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
