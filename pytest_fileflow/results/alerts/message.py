"""What is said of flows whose state has changed, in one bounded text for a channel."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.results.words import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_fileflow.results.alerts.book import Letter

SHOWN = 15  # flows that a message tells all of; the others are named
NAMED = 50
TITLE_LETTERS = 90
ORDER = {"failing": 0, "still failing": 1, "unknown": 2, "recovered": 3}
WORDS = {
    "failing": "failing",
    "still failing": "still failing",
    "unknown": "cannot be tested",
    "recovered": "recovered",
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+!|~@:.-])")


@dataclass(frozen=True)
class News:
    """What there is to tell of one flow."""

    flow_id: str
    letter: Letter

    def fact(self, name: str) -> str:
        """Return a fact as one line of text; a list's items with commas between them."""
        value = self.letter.facts.get(name, "")
        return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

    @property
    def summary(self) -> str:
        """Return it in one line."""
        cause = f": {self.fact('cause')}" if self.fact("cause") else ""
        return f"{self.flow_id} {WORDS[self.letter.change]}{cause}"

    def details(self) -> Iterator[str]:
        """Yield what a person asks next: what was seen, where to look, whom to ask."""
        change, since, sessions = self.letter.change, self.fact("since"), self.fact("sessions")
        yield self.fact("reason")
        if hint := self.fact("hint"):
            yield f"hint: {hint}"
        if change == "recovered":
            yield f"it was not well since {since}"
        elif change != "failing":
            yield f"since {since}, {sessions} sessions"
        if owner := self.fact("owner"):
            yield f"owner: {owner}"
        yield f"cases: {self.fact('cases')}"
        yield f"runs: {self.fact('run_ids')}"


@dataclass(frozen=True)
class Message:
    """The news of one channel; ``ticket`` is the one that they belong to, ``closes`` that it is done with."""

    news: tuple[News, ...]
    report_url: str = ""
    sandbox: bool = False
    ticket: str | None = None
    closes: bool = False

    @property
    def change(self) -> str:
        """Return the worst of the changes."""
        return min((each.letter.change for each in self.news), key=ORDER.__getitem__)

    @property
    def title(self) -> str:
        """Return it in one short line: one flow with its cause, several by their number and names."""
        mark = "[sandbox] " if self.sandbox else ""
        if len(self.news) == 1:
            return cut_end(f"{mark}{self.news[0].summary}", TITLE_LETTERS)
        names = ", ".join(each.flow_id for each in self.ordered)
        return cut_end(f"{mark}{counted(self.news)}: {names}", TITLE_LETTERS)

    @property
    def ordered(self) -> list[News]:
        """Return the news, the worst first."""
        return sorted(self.news, key=lambda each: (ORDER[each.letter.change], each.flow_id))

    @property
    def shown(self) -> list[News]:
        """Return the flows that are told of in full."""
        return self.ordered[:SHOWN]

    @property
    def others(self) -> str:
        """Return a line that names the other flows, empty where there are none."""
        rest = self.ordered[SHOWN:]
        more = f" and {len(rest) - NAMED} more" if len(rest) > NAMED else ""
        return f"also: {', '.join(each.summary for each in rest[:NAMED])}{more}" if rest else ""

    def text(self, escape: Callable[[str], str] = str) -> str:
        """Return all of it as lines of plain text; ``escape`` is applied to each line."""
        return "\n".join(map(escape, self._lines()))

    def _lines(self) -> Iterator[str]:
        for each in self.shown:
            yield each.summary
            yield from (f"  {line}" for line in each.details())
        if self.others:
            yield self.others
        if self.report_url:
            yield f"report: {self.report_url}"


def counted(news: tuple[News, ...]) -> str:
    """Return how many flows have changed to what: ``2 flows failing, 1 recovered``."""
    changes = [each.letter.change for each in news]
    numbers = [(changes.count(change), words) for change, words in WORDS.items() if change in changes]
    first, *others = [f"{number} {words}" for number, words in numbers]
    number, _, words = first.partition(" ")
    return ", ".join([f"{number} flow{'' if number == '1' else 's'} {words}", *others])


def cut_end(text: str, letters: int) -> str:
    """Return a text cut at its end where it is too long."""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def markdown(line: str) -> str:
    """Return a line as Markdown that shows it as it is: nothing in it is a link, a mention or a format."""
    return _MARKDOWN.sub(r"\\\1", line.strip())


def in_bytes(text: str, most: int) -> str:
    """Return a text that takes no more bytes as UTF-8; its middle is left out where it is too long."""
    size = len(text.encode())
    return text if size <= most else cut(text, most // 8).encode()[:most].decode("utf-8", "ignore")
