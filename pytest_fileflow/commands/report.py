"""``fileflow report``: writes one HTML page of what became of the flows over the last weeks."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_fileflow.commands.reading import add_reading, nothing_ran, read
from pytest_fileflow.errors import FileflowError
from pytest_fileflow.results.words import plain

if TYPE_CHECKING:
    import argparse

    from pytest_fileflow.commands import Commands

DEFAULT_FILE = "report-history.html"
DEFAULT_DAYS = 30
NOT_WRITTEN = 2


def add(commands: Commands) -> None:
    """Add the command."""
    report = commands.add_parser(
        "report",
        help="write an HTML page of what became of the flows over the last weeks",
        description=(
            "Writes one HTML file from the records of runs: for each flow its state, its last 30 days, its latencies "
            "and its runs. It needs nothing from elsewhere. "
            "Exit status: 0 where it was written, 2 where it could not be, or nothing ran."
        ),
    )
    add_reading(report, flow_help="only flows whose id fits")
    report.add_argument(
        "-o", "--output", type=Path, default=Path(DEFAULT_FILE), metavar="FILE", help=f"default {DEFAULT_FILE}"
    )
    report.set_defaults(run=_report)


def _report(given: argparse.Namespace, _: list[str]) -> int:
    from pytest_fileflow.reporting.page import page

    given.since = given.since or _first_day()
    try:
        history = read(given, given.flow)
        if not history.flows():
            for note in history.notes:
                sys.stderr.write(f"{note}\n")
            return _say(nothing_ran(given.flow, given.places))
        text = page(history, given.places, given.since, given.flow)
    except FileflowError as error:
        return _say(f"{error.cause}: {error.reason}")
    try:
        _write(given.output, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        return _say(f"{given.output} cannot be written: {error.strerror or type(error).__name__}")
    sys.stdout.write(f"{given.output}\n")
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
