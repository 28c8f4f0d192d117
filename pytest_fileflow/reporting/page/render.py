"""Makes HTML of a page's content: the template, what it looks like, and its scripts, all in one file.

The template escapes whatever it is given, and writes out letters that cannot be seen. A policy in the
page allows its own two scripts, by their digests, and nothing else: neither others' nor any request.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from pytest_fileflow.reporting.details import SYMBOLS, style
from pytest_fileflow.reporting.page import words
from pytest_fileflow.reporting.page.series import in_words
from pytest_fileflow.results.phases import duration
from pytest_fileflow.results.words import plain

if TYPE_CHECKING:
    import jinja2

    from pytest_fileflow.reporting.page.content import Content, ShownFlow


class Badge(NamedTuple):
    """A state as it is shown: never by its colour alone."""

    symbol: str
    words: str


STATES = {
    "failing": Badge("✗", "failing"),
    "error": Badge("!", "not tested"),
    "stale": Badge("◌", "no run"),
    "passing": Badge("✓", "passing"),
}
OUTCOMES = {outcome: Badge(symbol, outcome) for outcome, symbol in SYMBOLS.items()}


def render(content: Content) -> str:
    """Return the page."""
    uplot = f"/*\n{_asset('uplot/LICENSE')}*/\n{_asset('uplot/uPlot.iife.min.js')}"
    script = _asset("page.js")
    return (
        _environment()
        .from_string(_asset("page.html.jinja"))
        .render(
            content=content,
            flows=[_flow(flow, content) for flow in content.flows],
            points=sum(len(flow.series.runs) for flow in content.flows),
            headline=words.headline(content.counts),
            states=STATES,
            outcomes=OUTCOMES,
            policy=Markup(" ").join(map(_allowed, (uplot, script))),
            styles=_trusted("\n".join((_asset("uplot/uPlot.min.css"), style(), _asset("page.css")))),
            uplot=_trusted(uplot),
            script=_trusted(script),
        )
    )


def _environment() -> jinja2.Environment:
    import jinja2

    found = jinja2.Environment(
        autoescape=True, finalize=_shown, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.filters |= {"duration": duration, "plain": plain, **words.FILTERS}
    return found


def _shown(value: object) -> object:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _trusted(text: str) -> Markup:
    return Markup(text)  # noqa: S704 - it is of this package


def _allowed(script: str) -> Markup:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _trusted(f"'sha256-{digest}'")


def _flow(shown: ShownFlow, content: Content) -> dict[str, Any]:
    told = shown.history
    return {
        "shown": shown,
        "share": words.share(told),
        "rate": 1 if told.success_30.rate is None else told.success_30.rate,
        "find": " ".join(
            (told.flow_id, told.owner, told.direction, told.description, *shown.tags, told.last_cause or "")
        ).lower(),
        "about": " · ".join(filter(None, (told.owner, told.direction, *shown.tags))),
        "last": words.last(shown),
        "why": words.why(shown),
        "days_in_words": words.days(told.days),
        "facts": list(words.facts(shown, content.made)),
        "tags": [plain(tag) for tag in shown.tags],
        "chart": _plain_cases(shown.series.columns()) if shown.series.runs else None,
        "chart_in_words": in_words(told, shown.series),
    }


def _plain_cases(columns: dict[str, Any]) -> dict[str, Any]:
    return {**columns, "cases": [plain(case) for case in columns["cases"]]}
