"""A run's details as one block of HTML: the verdict, a timeline, the checks, and the evidence, folded away.

It needs no script, and nothing from elsewhere. Every text that comes from a config, a server or a name
is escaped here. What a colour says is said in words as well.
"""

from __future__ import annotations

from html import escape
from importlib import resources
from typing import TYPE_CHECKING

from pytest_fileflow.results.phases import duration, phases, slo_ends_after, total_seconds
from pytest_fileflow.results.record import circumstances, expected_text, headline, observed_text, sends_file
from pytest_fileflow.results.words import evidence_lines, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_fileflow.results.phases import Phase
    from pytest_fileflow.results.record import Record

SYMBOLS = {"passed": "✓", "failed": "✗", "error": "!"}


def style() -> str:
    """Return what all details of a page look like, as CSS: it goes into each page once."""
    return resources.files(__package__).joinpath("details.css").read_text(encoding="utf-8")


def details(record: Record) -> str:
    """Return a run's details as one escaped HTML block."""
    return "".join(
        (
            f'<div class="fileflow {escape(record["outcome"])}">',
            _verdict(record),
            _timeline(record),
            _checks(record["checks"]),
            _rows(_facts(record)),
            _folded("Evidence", evidence_lines(record["evidence"])),
            _folded("Stamps (UTC)", ((plain(name), [plain(stamp)]) for name, stamp in record["timeline"].items())),
            "</div>",
        )
    )


def _verdict(record: Record) -> str:
    outcome = f'<span class="outcome">{_symbol(record["outcome"])}</span>'
    sentence = headline(record)
    hint = f"<p>Look first: {_text(record['hint'])}</p>" if record["hint"] else ""
    if not record["cause"]:
        sentence = sentence.removeprefix("passed: ")
    return f"<p>{outcome} &nbsp;<strong>{_text(sentence)}</strong></p>{hint}"


def _timeline(record: Record) -> str:
    took = phases(record["timeline"])
    if not took:
        return ""
    whole = total_seconds(record["timeline"])
    rows = "".join(_phase(phase, whole, record) for phase in took)
    return f'<table class="phases"><caption>Timeline, {duration(whole)} in all</caption>{rows}</table>'


def _phase(phase: Phase, whole: float, record: Record) -> str:
    said, mark = [duration(phase.seconds)], ""
    if phase.name == "wait" and sends_file(record):
        said.append(f"SLO {record['slo_seconds']:g} s")
        ends = slo_ends_after(record["timeline"], record["slo_seconds"])
        if ends is not None and ends <= whole:
            mark = f'<span class="slo" style="left:{_percent(ends, whole)}"></span>'
            said[-1] += " at the mark"
    said += [] if phase.is_complete else ["ended here"]
    place = f"left:min({_percent(phase.start, whole)},100% - 2px);width:{_percent(phase.seconds, whole)}"
    bar = f'<span class="bar{"" if phase.is_complete else " cut"}" style="{place}"></span>'
    return f'<tr><th>{phase.title}</th><td><span class="track">{bar}{mark}</span></td><td>{", ".join(said)}</td></tr>'


def _percent(seconds: float, whole: float) -> str:
    return f"{min(100.0, 100 * seconds / whole) if whole else 0:.2f}%"


def _checks(checks: list[dict[str, str]]) -> str:
    if not checks:
        return ""
    head = "".join(f"<th>{title}</th>" for title in ("Check", "Outcome", "Expected", "Observed"))
    rows = "".join(_check(check) for check in checks)
    return f'<table class="checks"><caption>Checks</caption><tr>{head}</tr>{rows}</table>'


def _check(check: dict[str, str]) -> str:
    kind = "" if check["outcome"] == "passed" else ' class="failed"'
    cells = f"<td>{_text(check['name'])}</td><td{kind}>{_symbol(check['outcome'])}</td>"
    return f"<tr>{cells}<td>{_text(check['expected'])}</td><td>{_text(check['observed'])}</td></tr>"


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    yield "Flow", f"{record['flow_id']} [{record['case']}], {record['direction']}"
    yield "Where", circumstances(record)
    yield "About", record.get("description", "")
    yield "Owner", record["owner"]
    yield "Tags", ", ".join(record.get("tags", ()))
    yield "Expected", expected_text(record)
    yield "Observed", observed_text(record)
    if record["file"]["name"]:
        yield "File", f"{record['file']['name']}, {record['file']['size']} bytes"
    yield "Source", record["source"]["location"]
    yield "Target", record["target"]["location"]
    yield "Run", f"{record['run_id']} (attempt {record['attempt']})"
    for number, name in enumerate(record["residue"]):
        yield "" if number else "Left behind", name


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    cells = (f"<tr><th>{title}</th><td>{_text(value)}</td></tr>" for title, value in rows if value)
    return f'<table class="facts">{"".join(cells)}</table>'


def _folded(title: str, pieces: Iterable[tuple[str, list[str]]]) -> str:
    texts = [(escape(name), escape("\n".join(lines))) for name, lines in pieces]
    if not texts:
        return ""
    cells = "".join(f"<tr><th>{name}</th><td><pre>{text}</pre></td></tr>" for name, text in texts)
    return f"<details><summary>{title}</summary><table>{cells}</table></details>"


def _symbol(outcome: str) -> str:
    return f"{SYMBOLS.get(outcome, '')} {_text(outcome)}".lstrip()


def _text(value: str) -> str:
    return escape(plain(value))
