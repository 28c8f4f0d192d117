"""``fileflow history``: shows what became of the flows over the last weeks."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, TextIO

from pytest_fileflow.commands.reading import add_reading, nothing_ran, read
from pytest_fileflow.errors import FileflowError
from pytest_fileflow.results.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_fileflow.commands import Commands
    from pytest_fileflow.reporting.history import Style
    from pytest_fileflow.results.history import FlowHistory, History

DEFAULT_RUNS = 10
DETAILED_FLOWS = 5  # at most so many flows show their last runs, too
NOT_PASSED, NOT_READ = 1, 2


def add(commands: Commands) -> None:
    """Add the command."""
    history = commands.add_parser(
        "history",
        help="show what became of the flows over the last weeks, what fails now first",
        description=(
            "Shows a line a flow from the records of its runs: its state, success, latencies and last cause. "
            "Exit status: 0 where every flow has passed, 1 where one is failing or could not be tested, "
            "2 where nothing could be read."
        ),
    )
    add_reading(history, flow_help="only flows whose id fits, each with its last runs")
    history.add_argument("--runs", metavar="FLOW", help="only the last runs of this flow")
    history.add_argument(
        "--limit", type=_number, default=DEFAULT_RUNS, metavar="N", help=f"how many runs (default {DEFAULT_RUNS})"
    )
    history.add_argument("--json", action="store_true", help="print it as one JSON document")
    history.add_argument(
        "--athena-ddl",
        metavar="PLACE",
        help="print, instead, the table with which Athena reads the records of s3://bucket/prefix",
    )
    history.set_defaults(run=_history)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _history(given: argparse.Namespace, _: list[str]) -> int:
    return _table(given.athena_ddl) if given.athena_ddl is not None else _shown(given)


def _table(place: str) -> int:
    from pytest_fileflow.results.athena import NoTablePlace, ddl

    try:
        sys.stdout.write(ddl(place))
    except NoTablePlace as error:
        return _say(str(error))
    return 0


def _shown(given: argparse.Namespace) -> int:
    narrow = given.flow if given.runs is None else _literal(given.runs)
    try:
        history = read(given, narrow)
        flows = history.flows()
    except FileflowError as error:
        return _say(f"{error.cause}: {error.reason}")
    if not flows:
        for note in history.notes:
            sys.stderr.write(f"{note}\n")
        return _say(f"{nothing_ran(given.runs or given.flow, given.places)}{_hint(given.runs)}")
    lines = _document(given, history, flows) if given.json else _text(given, history, flows)
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


def _document(given: argparse.Namespace, history: History, flows: list[FlowHistory]) -> Iterator[str]:
    from pytest_fileflow.results.history.document import document

    wanted = flows if given.flow or given.runs else []
    runs = {flow.flow_id: history.runs(flow.flow_id, given.limit) for flow in wanted}
    yield json.dumps(document(flows, runs, history.notes, history.now), indent=2)


def _text(given: argparse.Namespace, history: History, flows: list[FlowHistory]) -> Iterator[str]:
    from pytest_fileflow.reporting.history import counts, runs_lines, table

    style = _style(sys.stdout)
    if given.runs is None:
        yield from table(flows, history.now, style, is_whole=given.flow is not None)
        yield ""
    if given.runs is not None or (given.flow is not None and len(flows) <= DETAILED_FLOWS):
        for flow in flows:
            yield from runs_lines(flow, history.runs(flow.flow_id, given.limit), style)
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
