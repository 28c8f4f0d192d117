"""How a page says states, moments and numbers."""

from __future__ import annotations

from datetime import timezone
from typing import TYPE_CHECKING

from pytest_fileflow.results.phases import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from pytest_fileflow.reporting.page.content import ShownFlow, State
    from pytest_fileflow.results.history import Day, FlowHistory, PastRun, Success

MINUTE, HOUR, DAY = 60, 3600, 86400
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
STREAKS = {"failing": "failed", "error": "not tested", "passed": "passed"}


def headline(counts: Mapping[State, int]) -> str:
    """Return what the page says first.

    >>> headline({"failing": 2, "error": 0, "stale": 1, "passing": 7})
    '2 of 10 flows fail, 1 did not run'
    """
    total = sum(counts.values())
    if not total:
        return "No flow has run"
    said = [
        words
        for number, words in (
            (counts["failing"], "fails" if counts["failing"] == 1 else "fail"),
            (counts["error"], "could not be tested"),
            (counts["stale"], "did not run"),
        )
        if number
        for words in [f"{number} {words}"]
    ]
    if not said:
        return f"All {total} flows pass" if total > 1 else "The flow passes"
    first, *others = said
    number, _, words = first.partition(" ")
    return ", ".join([f"{number} of {total} flow{'' if total == 1 else 's'} {words}", *others])


def moment(at: datetime) -> str:
    """Return ``26 Nov 2026, 06:12``, in UTC."""
    at = at.astimezone(timezone.utc)
    return f"{at.day} {MONTHS[at.month - 1]} {at.year}, {at:%H:%M}"


def age(passed: timedelta) -> str:
    """Return how long ago something was, roughly.

    >>> from datetime import timedelta
    >>> age(timedelta(minutes=5)), age(timedelta(hours=30)), age(timedelta(days=9))
    ('5 min ago', '30 h ago', '9 days ago')
    """
    seconds = max(0.0, passed.total_seconds())
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.0f} min ago"
    return f"{seconds / HOUR:.0f} h ago" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days ago"


def number(value: int) -> str:
    """Return a number with its thousands apart."""
    return f"{value:,}"


def percent(share_of: float) -> str:
    """Return a share of the SLO."""
    return f"{100 * share_of:.0f} %" if share_of >= 0.01 else "< 1 %"  # noqa: PLR2004 - what would be said as 0


def rate(success: Success) -> str:
    """Return a rate of success, which is 100 % only if all passed."""
    if success.rate is None:
        return "-"
    if success.passed == success.counted:
        return "100 %"
    return f"{1000 * success.passed // success.counted / 10:g} %"


def share(told: FlowHistory) -> float | None:
    """Return p95 as a share of the SLO."""
    return told.p95 / told.slo_seconds if told.p95 is not None and told.slo_seconds else None


def day(told: Day) -> str:
    """Return what became of a day's runs."""
    return f"{told.date.day} {MONTHS[told.date.month - 1]}: {_runs_of(told)}{f', {told.cause}' if told.cause else ''}"


def _runs_of(told: Day) -> str:
    counted = ((told.passed, "passed"), (told.failed, "failed"), (told.errors, "not tested"))
    return ", ".join(f"{count} {word}" for count, word in counted if count) or "no run"


def days(told: Sequence[Day]) -> str:
    """Return a strip in words."""
    words = {"passed": "all passed", "failed": "with a failure", "error": "not tested", None: "without a run"}
    counted = {word: sum(day.outcome == outcome for day in told) for outcome, word in words.items()}
    return f"{len(told)} days: " + ", ".join(f"{count} {word}" for word, count in counted.items() if count)


def last(shown: ShownFlow) -> tuple[str, str]:
    """Return the cause of what does not pass, and how the flow is, as short as can be."""
    told, runs = shown.history, shown.history.streak.runs
    if shown.state == "stale":
        return "", f"last ran {age(shown.age)}"
    if shown.state == "passing":
        return "", f"{runs:,} passed in a row, {age(shown.age)}"
    how_often = "first time" if runs == 1 else f"{runs:,} in a row"
    caused = shown.age + (told.latest - told.last.began)  # the run whose cause is told is not always the newest
    return told.last_cause or told.last.outcome, f"{how_often}, {age(caused)}"


def why(shown: ShownFlow) -> str:
    """Return what was seen where a flow does not pass."""
    return shown.history.last.reason or "" if shown.state in ("failing", "error") else ""


def took(run: PastRun) -> str:
    """Return a run's latency, where there is one."""
    return "" if run.latency_seconds is None else duration(run.latency_seconds)


def said(run: PastRun) -> str:
    """Return what a run said where it did not pass."""
    return f"{run.cause}: {run.reason}" if run.cause else ""


def facts(shown: ShownFlow, made: datetime) -> Iterator[tuple[str, str]]:
    """Return the numbers of a flow by their names."""
    told = shown.history
    yield "Success, 7 days", _of(told.success_7)
    yield "Success, 30 days", _of(told.success_30)
    yield "p50", "-" if told.p50 is None else duration(told.p50)
    yield "p95", "-" if told.p95 is None else duration(told.p95)
    yield "SLO", f"{told.slo_seconds:g} s" if told.slo_seconds else "-"
    yield "Newest run", f"{moment(told.latest)} ({age(shown.age)})"
    since = f" in a row since {moment(told.streak.since)}" if told.streak.runs > 1 else ""
    yield "Streak", f"{told.streak.runs:,} {STREAKS[told.state]}{since}"
    if told.state == "passed" and told.last_failed is not None:
        yield "Last failure", f"{told.last_cause or 'unknown'}, {age(made - told.last_failed)}"


def _of(success: Success) -> str:
    return f"{rate(success)} ({success.passed:,} of {success.counted:,})"


FILTERS = {
    "moment": moment,
    "number": number,
    "percent": percent,
    "rate": rate,
    "day": day,
    "took": took,
    "said": said,
}
