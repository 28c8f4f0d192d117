"""What became of the flows over the last weeks, for a terminal: a row a flow, what fails now first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.reporting.columns import fitted
from pytest_fileflow.results.phases import duration
from pytest_fileflow.results.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime, timedelta

    from pytest_fileflow.results.history import Day, FlowHistory, PastRun, Success

HEADER = ("state", "flow", "last run", "7 d", "30 d", "p50", "p95", "SLO", "last 14 days", "case", "last cause", "when")
NUMBERS = ("7 d", "30 d", "p50", "p95", "SLO")
SPARE = ("when", "p50", "30 d", "case", "SLO", "last run", "p95", "last 14 days", "7 d")
RUNS_HEADER = ("began (UTC)", "outcome", "case", "latency", "of SLO", "cause", "run")
RUNS_NUMBERS = ("latency", "of SLO")
RUNS_SPARE = ("of SLO", "latency", "run")
RANK = {"failing": 0, "error": 1, "passed": 2}
COLOURS = {"failing": 31, "error": 33, "passed": 32}
STRIP_DAYS = 14
PASSED_ROWS = 20  # passed flows that are listed; beyond, only the worst are
WORST_ROWS = 5
NARROWEST_FLOW = 12


@dataclass(frozen=True)
class Style:
    """What the place that a text goes to can show: how wide it is, whether it has colours, and these letters."""

    width: int | None = None
    colours: bool = False
    bars: str = "▁▂▃▄▅▆▇█"
    failing: str = "✗"
    error: str = "!"
    passed: str = "✓"
    times: str = "×"
    none: str = "·"
    cut: str = "…"

    @classmethod
    def for_terminal(cls, encoding: str, *, width: int | None, colours: bool) -> Style:
        """Return the style for an encoding: plain ASCII where it has not all letters."""
        style = cls(width, colours)
        try:
            f"{style.bars}{style.failing}{style.passed}{style.times}{style.none}{style.cut}".encode(encoding)
        except (UnicodeEncodeError, LookupError):
            return cls(width, colours, "12345678", failing="x", passed="+", times="x", none=".", cut="~")
        return style

    def coloured(self, text: str, state: str) -> str:
        """Return a text in the colour of a state, where there are colours."""
        return f"\x1b[{COLOURS[state]}m{text}\x1b[0m" if self.colours else text


def table(flows: Sequence[FlowHistory], now: datetime, style: Style, *, is_whole: bool = False) -> Iterator[str]:
    """Yield the lines: what fails, the newest trouble first; what could not be tested; what passed, the worst first.

    Of many passed flows only the worst are shown, unless it is to be whole.
    """
    ranked = sorted(flows, key=_rank)
    passed = sum(flow.state == "passed" for flow in ranked)
    more = 0 if is_whole or passed <= PASSED_ROWS else passed - WORST_ROWS
    shown = ranked[: len(ranked) - more]
    rows = [{**dict(zip(HEADER, HEADER, strict=True)), "state": ""}, *(_row(flow, now, style) for flow in shown)]
    lines = _cut_to_fit(rows, style)
    yield lines[0]
    for flow, row, line in zip(shown, rows[1:], lines[1:], strict=True):
        state = row["state"]
        yield f"{style.coloured(state, flow.state)}{line[len(state) :]}"
    if more:
        yield f"and {more} more that passed"


def _cut_to_fit(rows: list[dict[str, str]], style: Style) -> list[str]:
    names = [name for name in HEADER if any(row[name] for row in rows[1:])]
    lines = fitted(rows, names, spare=SPARE, numbers=NUMBERS, width=style.width)
    over = 0 if style.width is None else max(map(len, lines)) - style.width
    if over <= 0:
        return lines
    letters = max(NARROWEST_FLOW, max(len(row["flow"]) for row in rows) - over)
    short = [{**row, "flow": _short(row["flow"], letters, style)} for row in rows]
    return fitted(short, names, spare=SPARE, numbers=NUMBERS, width=style.width)


def _short(text: str, letters: int, style: Style) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}{style.cut}"


def _rank(flow: FlowHistory) -> tuple[object, ...]:
    if flow.state == "passed":
        of_slo = flow.p95 / flow.slo_seconds if flow.p95 is not None and flow.slo_seconds else 0.0
        return RANK[flow.state], _rate_or_all(flow.success_7), _rate_or_all(flow.success_30), -of_slo, flow.flow_id
    return RANK[flow.state], -flow.streak.since.timestamp(), 0.0, 0.0, flow.flow_id


def _rate_or_all(success: Success) -> float:
    return 1.0 if success.rate is None else success.rate


def _row(flow: FlowHistory, now: datetime, style: Style) -> dict[str, str]:
    caused = flow.last_failed if flow.state == "passed" else flow.last.began  # the run whose cause is shown
    return {
        "state": state_text(flow, now, style),
        "flow": plain(flow.flow_id),
        "last run": _age(now - flow.latest),
        "7 d": _percent(flow.success_7),
        "30 d": _percent(flow.success_30),
        "p50": _seconds(flow.p50),
        "p95": _seconds(flow.p95),
        "SLO": "-" if flow.slo_seconds is None else f"{flow.slo_seconds:g} s",
        "last 14 days": strip(flow.days[-STRIP_DAYS:], style),
        "case": "" if flow.state == "passed" else plain(flow.last.case or flow.last.kind),
        "last cause": plain(flow.last_cause or ""),
        "when": _age(now - caused) if caused else "",
    }


def state_text(flow: FlowHistory, now: datetime, style: Style) -> str:
    """Return ``✗ failing ×3 since 24 Nov``, or ``✓ passed ×12``."""
    word = flow.last.word if flow.state == "error" else flow.state
    count = f"{getattr(style, flow.state)} {word} {style.times}{flow.streak.runs}"
    return count if flow.state == "passed" else f"{count} since {_when(flow.streak.since, now)}"


def strip(days: Iterable[Day], style: Style) -> str:
    """Return a letter a day: a bar for its p95 latency, or that something failed, was not tested, or did not run."""
    days = tuple(days)
    highest = max((day.p95 for day in days if day.p95 is not None), default=0.0)
    return "".join(_letter(day, highest, style) for day in days)


def _letter(day: Day, highest: float, style: Style) -> str:
    if day.failed or day.outcome is None:
        return style.times if day.failed else style.none
    if day.errors and (day.p95 is None or not day.passed):
        return style.error
    if not day.p95 or not highest:
        return style.bars[0]
    return style.bars[min(len(style.bars) - 1, int(len(style.bars) * day.p95 / highest))]


def counts(flows: Sequence[FlowHistory]) -> str:
    """Return how many flows stand how, in one line."""
    number = {state: sum(flow.state == state for flow in flows) for state in RANK}
    parts = [
        f"{number['failing']} failing" if number["failing"] else "",
        f"{number['error']} could not be tested" if number["error"] else "",
        f"{number['passed']} passed",
    ]
    flows_text = "1 flow" if len(flows) == 1 else f"{len(flows)} flows"
    return f"{flows_text}: {', '.join(filter(None, parts))}"


def runs_lines(flow: FlowHistory, runs: Sequence[PastRun], style: Style) -> Iterator[str]:
    """Yield the last runs of a flow, newest first, and what was said of the last one that did not pass."""
    facts = (flow.flow_id, flow.direction, flow.owner, flow.description)
    yield "  ".join(plain(fact) for fact in facts if fact)
    rows = [{name: name for name in RUNS_HEADER}, *(_run_row(run, style) for run in runs)]
    width = None if style.width is None else style.width - 2
    for line in fitted(rows, RUNS_HEADER, spare=RUNS_SPARE, numbers=RUNS_NUMBERS, width=width):
        yield f"  {line}"
    worst = next((run for run in runs if run.outcome != "passed"), None)
    if worst is not None:
        yield f"  the last that did not pass, {worst.began:%Y-%m-%d %H:%M:%S} UTC:"
        for name, text in (("reason", worst.reason), ("hint", worst.hint), ("record", worst.where)):
            if text:
                yield f"    {name:<8} {plain(text)}"


def _run_row(run: PastRun, style: Style) -> dict[str, str]:
    sign = {"failed": style.failing, "error": style.error, "passed": style.passed}[run.outcome]
    of_slo = run.latency_seconds / run.slo_seconds if run.latency_seconds is not None and run.slo_seconds else None
    marks = ", ".join([f"attempt {run.attempt}"] * (run.attempt > 1) + ["sandbox"] * run.sandbox)
    return {
        "began (UTC)": f"{run.began:%Y-%m-%d %H:%M}",
        "outcome": f"{sign} {run.word}",
        "case": plain(f"{run.case or run.kind}{f' ({marks})' if marks else ''}"),
        "latency": _seconds(run.latency_seconds),
        "of SLO": "-" if of_slo is None else f"{100 * of_slo:.1f} %",
        "cause": plain(run.cause or ""),
        "run": plain(run.run_id),
    }


def _percent(success: Success) -> str:
    # Rounded down: 999 of 1000 are not 100 %.
    return "-" if success.rate is None else f"{100 * success.passed // success.counted} %"


def _seconds(value: float | None) -> str:
    return "-" if value is None else duration(value)


def _when(moment: datetime, now: datetime) -> str:
    return f"{moment:%H:%M}" if moment.date() == now.date() else f"{moment.day} {moment:%b}"


def _age(passed: timedelta) -> str:
    minutes = max(0, int(passed.total_seconds() // 60))
    hours, days = minutes // 60, minutes // (60 * 24)
    if hours < 1:
        return f"{minutes} min ago" if minutes else "just now"
    return f"{hours} h ago" if days < 2 else f"{days} d ago"  # noqa: PLR2004 - yesterday is told in hours
