"""Tells those whom flows name that a flow fails, still fails, cannot be tested, or has recovered: each once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_fileflow.results.alerts.book import Session, advance, forget_old, settle, take
from pytest_fileflow.results.alerts.delivery import SECONDS, deliver
from pytest_fileflow.results.alerts.message import WORDS, Message, counted
from pytest_fileflow.results.alerts.standing import standings
from pytest_fileflow.results.alerts.targets import channels_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from pytest_fileflow.results.alerts.book import Book, Letter
    from pytest_fileflow.results.alerts.channel import Channel, Means
    from pytest_fileflow.results.alerts.delivery import Outcome
    from pytest_fileflow.results.alerts.memory import Memory
    from pytest_fileflow.results.record import Record

__all__ = ["Told", "Watched", "tell"]


@dataclass(frozen=True)
class Watched:
    """A flow as alerting needs it: the ``alerts`` of its config, and the names of its cases."""

    alerts: Mapping[str, Any]
    cases: Collection[str] = ()


@dataclass(frozen=True)
class Told:
    """What a person is to know of it: what was told, and what could not be; ``messages`` are what was told in full."""

    notes: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Settings:
    """``name`` of the session, its time (UTC), hours between reminders, where a message leads to, seconds a channel."""

    name: str
    now: datetime
    remind_hours: float = 24.0
    report_url: str = ""
    sandbox: bool = False
    seconds: float = SECONDS


def tell(
    records: Iterable[Record], flows: Mapping[str, Watched], memory: Memory, means: Means, settings: Settings
) -> Told:
    """Tell what has changed with these records, and what earlier sessions could not tell.

    The change is written down before it is told, as a letter that this session holds: of two
    sessions at once, one tells it. What is told is crossed out afterwards: a session that dies in
    between leaves the letter to a later one, so it arrives at least once.
    """
    found = standings(records)
    channels: dict[str, Channel] = {}
    keys: dict[str, set[str]] = {}
    for flow_id, flow in flows.items():
        own = dict(channels_of(flow.alerts))
        channels |= own
        keys[flow_id] = set(own)
    session = Session(
        settings.name,
        settings.now,
        {flow_id: standing for flow_id, standing in found.items() if keys.get(flow_id)},
        keys,
        {flow_id: flow.cases for flow_id, flow in flows.items()},
        settings.remind_hours,
    )

    def plan(book: Book) -> tuple[Book, tuple[Book, dict[str, Letter], list[str]]]:
        kept, old = forget_old(advance(book, session), session.now)
        kept, mine = take(kept, session, channels)
        return kept, (kept, mine, old)

    book, letters, old = memory.update(plan)
    frame = Message((), settings.report_url, settings.sandbox)
    outcomes = deliver(letters, channels, means, frame, settings.seconds)
    if letters:
        sent = [each for outcome in outcomes for each in outcome.sent]
        memory.update(lambda book: (settle(book, session, sent), None))
    troubles = [f"alerts: nobody could be told of {flow_id} for a week: given up" for flow_id in old]
    troubles += [line for outcome in outcomes for line in _untold(outcome)]
    messages = [_message(outcome, frame) for outcome in outcomes if outcome.told]
    return Told(list(_notes(book, session, outcomes, settings)), [*memory.troubles, *troubles], messages)


def _message(outcome: Outcome, frame: Message) -> str:
    """Return what a channel was told, as text, whatever form and number of messages it had there."""
    message = dataclasses.replace(frame, news=tuple(outcome.told))
    text = f"to {outcome.channel.name}\n\n{message.title}\n\n{message.text()}\n"
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def _notes(book: Book, session: Session, outcomes: list[Outcome], settings: Settings) -> Iterable[str]:
    where = ", in the sandbox" if settings.sandbox else ""
    told = [outcome for outcome in outcomes if outcome.told]
    for outcome in told:
        yield f"alerts: {counted(tuple(outcome.told))}: told to {outcome.channel.name}{where}"
    if not any(session.channels.values()):
        yield "alerts: nobody is to be told: none of these flows has alerts in its config"
    elif not outcomes:
        unwell = {flow_id: trouble for flow_id, trouble in book.troubles.items() if flow_id in session.standings}
        known = [
            f"{flow_id} {WORDS['failing']} since {each.since}" for flow_id, each in sorted(unwell.items()) if each.told
        ]
        more = f" and {len(known) - 3} more" if len(known) > 3 else ""  # noqa: PLR2004 - as many as a line takes
        yield f"alerts: nothing new to tell{where}{': ' if known else ''}{', '.join(known[:3])}{more}"


def _untold(outcome: Outcome) -> Iterable[str]:
    if outcome.untold:
        news = counted(tuple(outcome.untold))
        yield f"NOT TOLD alerts: {news}: {outcome.channel.name}: {outcome.reason}; the next session tries again"
