"""A session in Markdown, as GitHub and GitLab show it: the verdict, what did not pass, and the rest folded away.

Every text that comes from a config, a server or a name is escaped here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pytest_fileflow.model import format_size
from pytest_fileflow.rehearsal import conclusion, matrix, problem, was_ended
from pytest_fileflow.reporting.details import SYMBOLS
from pytest_fileflow.reporting.terminal import faults_switched_on, notes, ranked, share_of_slo
from pytest_fileflow.results.attempts import final_attempts, was_interrupted
from pytest_fileflow.results.record import sends_file
from pytest_fileflow.results.words import cut, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from pytest_fileflow.reporting.others import Other
    from pytest_fileflow.results.record import Record

T = TypeVar("T")

ROWS = 1000  # of one table; a summary that is too large has fewer
CELL_LETTERS = 400
_MARKS = re.compile(r"[\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# What GitHub and GitLab make links of, or mentions: a blank of no width behind it keeps them from it.
_LINKS = re.compile(r"([@#!](?=\w)|\b(?:https?|ftp):(?=//)|\bwww(?=\.))", re.IGNORECASE)
_BLOCK = re.compile(r"^(\d*)(?=[-+.)#=:])")  # would make a list or a heading of the line


@dataclass(frozen=True)
class Told:
    """What a summary tells: the reports of all runs, the items without one, and the session's own lines.

    ``faults`` are those of a rehearsal, none of them for all; it is None where flows simply ran.
    """

    reports: Sequence[dict[str, Any]]
    others: Sequence[Other]
    notes: Sequence[str]
    troubles: Sequence[str]
    environment: str
    faults: tuple[str, ...] | None = None


def summary(told: Told, most_bytes: int) -> str | None:
    """Return the summary with as many rows as fit into a number of bytes; None where it does not fit at all."""
    rows = ROWS
    while True:
        text = "\n".join(_lines(told, rows)) + "\n"
        if len(text.encode("utf-8", "replace")) <= most_bytes:
            return text
        if rows == 0:
            return None
        rows //= 2


def escaped(text: str) -> str:
    r"""Return a text that shows as it is, in a table too: no markup, no HTML, nobody mentioned.

    >>> escaped("a|b <i> snake_case *x*")
    'a\\|b &lt;i&gt; snake_case \\*x\\*'
    """
    text = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _LINKS.sub(r"\1&#8203;", text)
    text = _MARKS.sub(lambda mark: "&#36;" if mark[0] == "$" else f"\\{mark[0]}", text)
    return _BLOCK.sub(r"\1\\", text)


def _lines(told: Told, rows: int) -> Iterator[str]:
    records = final_attempts(report["record"] for report in told.reports)
    if told.faults is None:
        yield from _session(records, told.others, rows)
    else:
        yield from _rehearsal([record for record in records if record["kind"] == "transfer"], told.faults, rows)
        yield from _others(told.others, rows)
    again = len(told.reports) - len(records)
    yield "### Notes"
    yield ""
    yield from (f"- **{escaped(line)}**" for line in told.troubles)
    if errors := sorted({report["store_error"] for report in told.reports} - {""}):
        yield from (f"- **NOT RECORDED {escaped(error)}**" for error in errors)
    if again:
        yield f"- {again} earlier attempt{' was' if again == 1 else 's were'} repeated; the last one counts here"
    lines = (*_runs(told, records), *told.notes, told.environment)
    yield from (f"- {escaped(line)}" for line in lines)


def _runs(told: Told, records: Sequence[Record]) -> list[str]:
    """Return what the terminal says below its table; of a rehearsal, the verdict and its table say it all."""
    if told.faults is not None or not told.reports:
        return []
    return [*faults_switched_on(records), *notes(told.reports)]


def _session(records: Sequence[Record], others: Sequence[Other], rows: int) -> Iterator[str]:
    in_order = ranked(records)
    bad = [record for record in in_order if record["outcome"] != "passed"]
    good = [record for record in in_order if record["outcome"] == "passed"]
    yield f"## {'✗' if bad or others else '✓'} File flows: {_verdict(bad, good, others)}"
    yield ""
    if any(record.get("sandbox") for record in records):
        yield "**In the sandbox**: nothing real was touched, and nothing is known about the real systems."
        yield ""
    yield from _table("What did not pass", ("Flow", "What was seen"), _bad, bad, rows)
    yield from _others(others, rows)
    if good:
        yield f"<details><summary>{len(good)} passed</summary>"
        yield ""
        yield from _table("", ("Flow", "Case", "Direction", "Latency", "SLO", "of SLO"), _good, good, rows)
        yield "</details>"
        yield ""


def _verdict(bad: Sequence[Record], good: Sequence[Record], others: Sequence[Other]) -> str:
    if not bad and not others:
        return f"all {len(good)} passed"
    failed = sum(record["outcome"] == "failed" for record in bad)
    interrupted = sum(was_interrupted(record) for record in bad)
    broken = sum(other.is_config for other in others)
    counts = (
        (failed, "failed"),
        (len(bad) - failed - interrupted, "not judged (the tester is at fault)"),
        (interrupted, "interrupted"),
        (broken, "not run (the config is wrong)"),
        (len(others) - broken, "other tests failed"),
        (len(good), "passed"),
    )
    return ", ".join(f"{number} {words}" for number, words in counts if number)


def _bad(record: Record) -> tuple[str, ...]:
    # Few columns of several lines: a table that is too wide hides its last columns.
    flow = [f"{SYMBOLS.get(record['outcome'], '')} **{_cell(record['flow_id'])}**", _cell(_case(record))]
    flow += [f"owner: {_cell(record['owner'])}"] if record.get("owner") else []
    seen = [f"**{_cell(record['cause'] or record['outcome'])}**", _cell(record["reason"] or "")]
    seen += [f"Look first: {_cell(record['hint'])}"] if record["hint"] else []
    return "<br>".join((*flow, f"run {_cell(record['run_id'])}")), "<br>".join(seen)


def _good(record: Record) -> tuple[str, ...]:
    latency = record["latency_seconds"]
    slo = f"{record['slo_seconds']:g} s" if sends_file(record) else ""
    took = ("", "") if latency is None else (f"{latency:.2f} s", f"{100 * share_of_slo(record):.1f} %")
    return tuple(map(_cell, (record["flow_id"], _case(record), record["direction"], took[0], slo, took[1])))


def _case(record: Record) -> str:
    return str(record["case"] or format_size(record["file"]["size"]))


def _rehearsal(records: Sequence[Record], faults: Sequence[str], rows: int) -> Iterator[str]:
    wrong = any(problem(record) or was_ended(record) for record in records)
    first, *missed = conclusion(records, faults)
    yield f"## {'✗' if wrong or missed else '✓'} Rehearsal in the sandbox: {escaped(first)}"
    yield ""
    yield from (f"- {escaped(line)}" for line in missed)
    lines = matrix(records)
    shown = lines[: rows + 1]
    yield from ("", "<details><summary>Every flow and fault</summary>", "", "<pre>")
    yield from (line.replace("&", "&amp;").replace("<", "&lt;") for line in map(plain, shown))
    if len(lines) > len(shown):
        yield f"and {len(lines) - len(shown)} more"
    yield from ("</pre>", "", "</details>", "")


def _others(others: Sequence[Other], rows: int) -> Iterator[str]:
    return _table("What else did not pass", ("Test", "What was said"), _other, others, rows)


def _other(other: Other) -> tuple[str, ...]:
    return _cell(other.node_id), _cell(other.words)


def _table(
    title: str, header: Sequence[str], cells: Callable[[T], Sequence[str]], items: Sequence[T], rows: int
) -> Iterator[str]:
    if not items:
        return
    if title:
        yield from (f"### {title}", "")
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for item in items[:rows]:
        yield f"| {' | '.join(cells(item))} |"
    yield ""
    if len(items) > rows:
        yield from (f"and {len(items) - rows} more", "")


def _cell(text: str) -> str:
    return escaped(cut(" ".join(text.split()), CELL_LETTERS))
