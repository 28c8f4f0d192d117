"""``fileflow history``: shows what became of the flows over the last weeks."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import click

from pytest_fileflow.commands.completing import flow_ids
from pytest_fileflow.commands.reading import Reading, nothing_ran, read, reading_options
from pytest_fileflow.errors import FileflowError
from pytest_fileflow.results.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_fileflow.reporting.history import Style
    from pytest_fileflow.results.history import FlowHistory, History

DEFAULT_RUNS = 10
DETAILED_FLOWS = 5  # at most so many flows show their last runs, too
NOT_PASSED, NOT_READ = 1, 2


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise click.BadParameter(f"{text!r} is not a whole number above 0")
    return int(text)


@dataclass(frozen=True)
class _Wish:
    """What is to be shown, and how."""

    reading: Reading
    runs: str | None
    limit: int
    json: bool

    @property
    def flow(self) -> str | None:
        """The pattern of ids that was asked for."""
        return self.reading.flow


@click.command("history", short_help="show what became of the flows over the last weeks, what fails now first")
@reading_options(flow_help="only flows whose id fits, each with its last runs")
@click.option("--runs", metavar="FLOW", shell_complete=flow_ids, help="only the last runs of this flow")
@click.option(
    "--limit", type=_number, default=str(DEFAULT_RUNS), metavar="N", help=f"how many runs (default {DEFAULT_RUNS})"
)
@click.option("--json", "as_json", is_flag=True, help="print it as one JSON document")
@click.option(
    "--athena-ddl",
    metavar="PLACE",
    help="print, instead, the table with which Athena reads the records of s3://bucket/prefix",
)
def command(reading: Reading, runs: str | None, limit: int, as_json: bool, athena_ddl: str | None) -> int:
    """Show a line a flow from the records of its runs: its state, success, latencies and last cause.

    Exit status: 0 where every flow has passed, 1 where one is failing or could not be tested, 2 where nothing could be
    read.
    """
    return _shown(_Wish(reading, runs, limit, as_json)) if athena_ddl is None else _table(athena_ddl)


def _table(place: str) -> int:
    from pytest_fileflow.results.athena import NoTablePlace, ddl

    try:
        sys.stdout.write(ddl(place))
    except NoTablePlace as error:
        return _say(str(error))
    return 0


def _shown(wish: _Wish) -> int:
    narrow = wish.flow if wish.runs is None else _literal(wish.runs)
    try:
        history = read(wish.reading, narrow)
        flows = history.flows()
    except FileflowError as error:
        return _say(f"{error.cause}: {error.reason}")
    if not flows:
        for note in history.notes:
            sys.stderr.write(f"{note}\n")
        return _say(f"{nothing_ran(wish.runs or wish.flow, wish.reading.places)}{_hint(wish.runs)}")
    lines = _document(wish, history, flows) if wish.json else _text(wish, history, flows)
    try:
        for line in lines:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:  # into `head`, which has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if all(flow.state == "passed" for flow in flows) else NOT_PASSED


def _hint(flow_id: str | None) -> str:
    is_pattern = flow_id is not None and any(letter in flow_id for letter in "*?[")
    return "; --runs takes the id of one flow, --flow takes patterns" if is_pattern else ""


def _say(problem: str) -> int:
    sys.stderr.write(f"fileflow history: {plain(problem)}\n")
    return NOT_READ


def _literal(flow_id: str) -> str:
    """Return the pattern that fits only this id."""
    return re.sub(r"([*?[])", r"[\1]", flow_id)


def _document(wish: _Wish, history: History, flows: list[FlowHistory]) -> Iterator[str]:
    from pytest_fileflow.results.history.document import document

    wanted = flows if wish.flow or wish.runs else []
    runs = {flow.flow_id: history.runs(flow.flow_id, wish.limit) for flow in wanted}
    yield json.dumps(document(flows, runs, history.notes, history.now), indent=2)


def _text(wish: _Wish, history: History, flows: list[FlowHistory]) -> Iterator[str]:
    from pytest_fileflow.reporting.history import counts, runs_lines, table

    style = _style(sys.stdout)
    if wish.runs is None:
        yield from table(flows, history.now, style, is_whole=wish.flow is not None)
        yield ""
    if wish.runs is not None or (wish.flow is not None and len(flows) <= DETAILED_FLOWS):
        for flow in flows:
            yield from runs_lines(flow, history.runs(flow.flow_id, wish.limit), style)
            yield ""
    yield from history.notes
    yield counts(flows)


def _style(output: TextIO) -> Style:
    from pytest_fileflow.reporting.history import Style

    is_terminal = output.isatty()
    return Style.for_terminal(
        output.encoding or "ascii",
        width=shutil.get_terminal_size().columns if is_terminal else None,
        colours=is_terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb",
    )
