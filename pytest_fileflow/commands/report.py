"""``fileflow report``: writes one HTML page of what became of the flows over the last weeks."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import click

from pytest_fileflow.commands.reading import Reading, nothing_ran, read, reading_options
from pytest_fileflow.errors import FileflowError
from pytest_fileflow.results.words import plain

DEFAULT_FILE = "report-history.html"
DEFAULT_DAYS = 30
NOT_WRITTEN = 2


@click.command("report", short_help="write an HTML page of what became of the flows over the last weeks")
@reading_options(flow_help="only flows whose id fits")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=DEFAULT_FILE,
    metavar="FILE",
    help=f"default {DEFAULT_FILE}",
)
def command(reading: Reading, output: Path) -> int:
    """Write one HTML file from the records of runs: each flow's state, last 30 days, latencies and runs.

    It needs nothing from elsewhere. Exit status: 0 where it was written, 2 where it could not be, or nothing ran.
    """
    from pytest_fileflow.reporting.page import page

    since = reading.since or _first_day()
    try:
        history = read(replace(reading, since=since), reading.flow)
        if not history.flows():
            for note in history.notes:
                sys.stderr.write(f"{note}\n")
            return _say(nothing_ran(reading.flow, reading.places))
        text = page(history, reading.places, since, reading.flow)
    except FileflowError as error:
        return _say(f"{error.cause}: {error.reason}")
    try:
        _write(output, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        return _say(f"{output} cannot be written: {error.strerror or type(error).__name__}")
    sys.stdout.write(f"{output}\n")
    return 0


def _write(output: Path, content: bytes) -> None:
    """Write a file whole, that which a link leads to; a pipe or a device is written to. Raises OSError."""
    from pytest_fileflow.results.store import write_whole

    if output.exists() and not output.is_file():
        output.write_bytes(content)
    else:
        write_whole(output.resolve(), content)


def _first_day() -> datetime:
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=DEFAULT_DAYS - 1)


def _say(problem: str) -> int:
    sys.stderr.write(f"fileflow report: {plain(problem)}\n")
    return NOT_WRITTEN
