"""What alerting remembers between sessions: flows that are not well, and letters that have not reached everybody."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from pytest_fileflow.results.alerts.standing import facts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pytest_fileflow.results.alerts.standing import Standing

SCHEMA = 1
UNKNOWN_SESSIONS = 2  # a tester that cannot tell once has said so itself; one that cannot tell again is news
EARLY = 0.9  # of the time between reminders: a daily job is never a day apart to the second
LEASE = timedelta(minutes=5)  # longer than any session sends
KEPT = timedelta(days=7)
GONE = timedelta(days=400)  # longer than any time between reminders: the flow is no longer run

Change = Literal["failing", "still failing", "unknown", "recovered"]


@dataclass(frozen=True)
class Trouble:
    """A flow that is not well.

    ``failing`` are the cases that failed and have not passed since, ``since`` and ``told`` UTC stamps,
    ``tickets`` the references of its tickets by the channel's key.
    """

    state: Literal["failing", "unknown"]
    since: str
    told: str = ""
    sessions: int = 1
    failing: tuple[str, ...] = ()
    tickets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Letter:
    """A change of a flow that ``to``, channels by their keys, has not reached yet.

    ``facts`` are what standing.facts returns, with ``since`` and ``sessions``. ``tickets`` are those
    that the flow had; ``closes`` the channels whose ticket is done with. A session that is sending
    it holds it until ``held_until``.
    """

    letter_id: str
    change: Change
    made: str
    facts: Mapping[str, Any]
    to: tuple[str, ...]
    tickets: Mapping[str, str] = field(default_factory=dict)
    closes: tuple[str, ...] = ()
    held_by: str = ""
    held_until: str = ""

    def is_free(self, me: str, now: str) -> bool:
        """Return whether a session may send it."""
        return self.held_by in ("", me) or self.held_until <= now


@dataclass(frozen=True)
class Book:
    """The whole memory: troubles and letters by flow id."""

    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    letters: Mapping[str, Letter] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Return it as a JSON document."""
        return json.dumps({"schema": SCHEMA, **dataclasses.asdict(self)}, ensure_ascii=False).encode()

    @classmethod
    def load(cls, content: bytes) -> Book:
        """Read a document; raises ValueError for anything else than :meth:`dump` writes."""
        try:
            document = json.loads(content)
            if document.pop("schema") != SCHEMA:
                raise ValueError("written by another version of pytest-fileflow")
            troubles = {name: Trouble(**_tuples(each)) for name, each in document["troubles"].items()}
            letters = {name: Letter(**_tuples(each)) for name, each in document["letters"].items()}
            for letter in letters.values():
                moment(letter.made)
            for trouble in troubles.values():
                moment(trouble.told or trouble.since)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a memory of alerts: {type(error).__name__}") from None
        return cls(troubles, letters)


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def stamp(when: datetime) -> str:
    """Return a UTC stamp as records have it, in whole seconds: ``2026-11-24T06:00:00Z``."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """Return the time of a stamp; raises ValueError."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")


@dataclass(frozen=True)
class Session:
    """What a session knows: how its flows stand, where each is to be told (keys of channels), their cases' names."""

    name: str
    now: datetime
    standings: Mapping[str, Standing]
    channels: Mapping[str, Collection[str]]
    cases: Mapping[str, Collection[str]]
    remind_hours: float

    @property
    def stamp(self) -> str:
        """Return the session's time as a stamp."""
        return stamp(self.now)


def advance(book: Book, session: Session) -> Book:
    """Return the memory after a session, with a letter for each flow whose state has changed."""
    troubles, letters = dict(book.troubles), dict(book.letters)
    changes: dict[str, Change] = {}
    for flow_id, standing in session.standings.items():
        trouble, change = _step(book.troubles.get(flow_id), standing, session.cases.get(flow_id, ()), session)
        if trouble is None:
            troubles.pop(flow_id, None)
        else:
            troubles[flow_id] = trouble
        if change is not None:
            changes[flow_id] = change
    open_tickets = {pair for trouble in troubles.values() for pair in trouble.tickets.items()}
    for flow_id, change in changes.items():
        letter = _letter(change, session, flow_id, book.troubles.get(flow_id), troubles.get(flow_id))
        closes = [pair[0] for pair in letter.tickets.items() if pair not in open_tickets]
        if letter.to:
            letters[flow_id] = dataclasses.replace(letter, closes=tuple(closes) if change == "recovered" else ())
    return Book(troubles, letters)


def _step(
    before: Trouble | None, standing: Standing, cases: Collection[str], session: Session
) -> tuple[Trouble | None, Change | None]:
    """Return how a flow is remembered from now on, and what there is to tell of it."""
    failing = _failing(before, standing, cases)
    if standing.failed:
        return _failed(before, failing, session)
    if before is not None and before.state == "failing":
        recovered = standing.passed and not failing
        return (None, "recovered") if recovered else (dataclasses.replace(before, failing=failing), None)
    if standing.unjudged:
        return _unjudged(before, session)
    return None, "recovered" if before is not None and before.told else None


def _failing(before: Trouble | None, standing: Standing, cases: Collection[str]) -> tuple[str, ...]:
    """Return the cases that failed and have not passed since; a case that the flow no longer has cannot pass.

    A contract looks at all that a canary looks at, so one that is kept speaks for both.
    """
    failing = set(before.failing if before is not None else ()) - set(standing.passed)
    if standing.passed and cases:
        failing &= {*cases, "canary"}
    if "contract" in standing.passed:
        failing.discard("canary")
    return tuple(sorted(failing | set(standing.failed)))


def _failed(before: Trouble | None, failing: tuple[str, ...], session: Session) -> tuple[Trouble, Change | None]:
    now = session.stamp
    if before is None or before.state != "failing":
        tickets = before.tickets if before is not None else {}
        return Trouble("failing", now, now, failing=failing, tickets=tickets), "failing"
    after = dataclasses.replace(before, failing=failing, sessions=before.sessions + 1)
    due = moment(before.told or before.since) + timedelta(hours=EARLY * session.remind_hours)
    return (dataclasses.replace(after, told=now), "still failing") if session.now >= due else (after, None)


def _unjudged(before: Trouble | None, session: Session) -> tuple[Trouble, Change | None]:
    if before is None:
        return Trouble("unknown", session.stamp), None
    after = dataclasses.replace(before, sessions=before.sessions + 1)
    if before.told or after.sessions < UNKNOWN_SESSIONS:
        return after, None
    return dataclasses.replace(after, told=session.stamp), "unknown"


def _letter(change: Change, session: Session, flow_id: str, before: Trouble | None, after: Trouble | None) -> Letter:
    standing = session.standings[flow_id]
    records = {"unknown": standing.unjudged, "recovered": standing.passed}.get(change, standing.failed)
    trouble = after or before
    known = {"since": trouble.since, "sessions": trouble.sessions} if trouble is not None else {}
    tickets = trouble.tickets if trouble is not None else {}
    to = tuple(sorted(session.channels.get(flow_id, ())))
    letter_id = f"{session.name}/{flow_id}"
    return Letter(letter_id, change, session.stamp, {**facts(records), **known}, to, dict(tickets))


def take(book: Book, session: Session, channels: Collection[str]) -> tuple[Book, dict[str, Letter]]:
    """Return the letters that this session is to send over these channels, held by it from now on."""
    mine = {
        flow_id: dataclasses.replace(letter, held_by=session.name, held_until=stamp(session.now + LEASE))
        for flow_id, letter in book.letters.items()
        if letter.is_free(session.name, session.stamp) and set(letter.to) & set(channels)
    }
    return Book(book.troubles, {**book.letters, **mine}), mine


def forget_old(book: Book, now: datetime) -> tuple[Book, list[str]]:
    """Return the memory without letters that nobody took for days, and the flows that they were of.

    Flows that are no longer run are forgotten too, in time.
    """
    old = [flow_id for flow_id, letter in book.letters.items() if moment(letter.made) + KEPT < now]
    letters = {flow_id: letter for flow_id, letter in book.letters.items() if flow_id not in old}
    troubles = {name: each for name, each in book.troubles.items() if moment(each.told or each.since) + GONE >= now}
    return Book(troubles, letters), old


@dataclass(frozen=True)
class Sent:
    """A letter that has reached a channel, with the reference of the ticket there, if it keeps any."""

    letter_id: str
    flow_id: str
    channel: str
    ticket: str | None = None


def settle(book: Book, session: Session, sent: Collection[Sent]) -> Book:
    """Return the memory after sending: what has arrived is forgotten, the rest is free for the next session."""
    troubles, letters = dict(book.troubles), dict(book.letters)
    for each in sent:
        letter, trouble = letters.get(each.flow_id), troubles.get(each.flow_id)
        if letter is not None and letter.letter_id == each.letter_id:
            letters[each.flow_id] = dataclasses.replace(letter, to=tuple(set(letter.to) - {each.channel}))
        if trouble is not None and each.ticket is not None:
            tickets = {**trouble.tickets, each.channel: each.ticket}
            troubles[each.flow_id] = dataclasses.replace(trouble, tickets=tickets)
    freed = {
        flow_id: dataclasses.replace(letter, held_by="", held_until="") if letter.held_by == session.name else letter
        for flow_id, letter in letters.items()
        if letter.to
    }
    return Book(troubles, freed)


def merged(book: Book, newer: Book) -> Book:
    """Return a memory with what a newer one has: what a store that was down has missed."""
    return Book({**book.troubles, **newer.troubles}, {**book.letters, **newer.letters})
