"""Takes letters to their channels: all channels at once, each within a time, whatever one of them does."""

from __future__ import annotations

import dataclasses
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_fileflow.errors import FileflowError
from pytest_fileflow.results.alerts.book import Sent
from pytest_fileflow.results.alerts.message import Message, News
from pytest_fileflow.results.alerts.post import Post, Undelivered, quiet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_fileflow.results.alerts.book import Letter
    from pytest_fileflow.results.alerts.channel import Channel, Means

SECONDS = 30.0  # for all that one channel is told
MARGIN_SECONDS = 2.0  # what a channel has left, beyond it, to say that it could not be told


@dataclass
class Outcome:
    """What became of the messages to one channel: what was sent, the news that were not, and why."""

    channel: Channel
    sent: list[Sent] = field(default_factory=list)
    told: list[News] = field(default_factory=list)
    untold: list[News] = field(default_factory=list)
    reason: str = ""


def deliver(
    letters: Mapping[str, Letter],
    channels: Mapping[str, Channel],
    means: Means,
    frame: Message,
    seconds: float = SECONDS,
) -> list[Outcome]:
    """Send letters, by flow id, to those channels, by key, that they are for; return what became of it.

    ``frame`` is the message without its news. A channel that hangs is left behind after ``seconds``;
    what it was told until then may arrive all the same.
    """
    deadline = time.monotonic() + seconds
    rounds = []
    for key, channel in channels.items():
        news = [News(flow_id, letter) for flow_id, letter in letters.items() if key in letter.to]
        if news:
            rounds.append(_Round(key, channel, tuple(_messages(key, channel, news, frame))))
    for each in rounds:
        each.start(means, deadline)
    return [each.outcome(deadline + MARGIN_SECONDS) for each in rounds]


def _messages(key: str, channel: Channel, news: list[News], frame: Message) -> Iterator[Message]:
    """Yield the messages of a channel: one, or one a flow, or one a ticket and one for those without."""
    if channel.one_by_one:
        yield from (dataclasses.replace(frame, news=(each,)) for each in news)
        return
    by_ticket: dict[str | None, list[News]] = {}
    for each in news:
        by_ticket.setdefault(each.letter.tickets.get(key), []).append(each)
    for ticket, group in by_ticket.items():
        closes = any(key in each.letter.closes for each in group)
        yield dataclasses.replace(frame, news=tuple(group), ticket=ticket, closes=closes)


class _Round:
    """One channel's messages, told one after the other in a thread of their own."""

    def __init__(self, key: str, channel: Channel, messages: tuple[Message, ...]) -> None:
        self._key = key
        self._channel = channel
        self._messages = messages
        self._lock = threading.Lock()
        self._outcome = Outcome(channel)
        self._thread: threading.Thread | None = None

    def start(self, means: Means, deadline: float) -> None:
        # A daemon: a server that never lets go must not hold up the end of the process.
        self._thread = threading.Thread(target=self._run, args=(means, deadline), daemon=True, name="fileflow-alert")
        self._thread.start()

    def _run(self, means: Means, deadline: float) -> None:
        with quiet():
            post = Post(deadline)
            for message in self._messages:
                reason = ""
                try:
                    ticket = self._channel.send(message, means, post)
                except (Undelivered, FileflowError) as error:
                    reason = error.reason
                except Exception as error:  # noqa: BLE001 - no fault of a channel's may fail a session
                    reason = f"a fault in the tester itself: {type(error).__name__}"
                with self._lock:
                    if reason:
                        self._outcome.reason = reason
                        continue
                    self._outcome.told += message.news
                    self._outcome.sent += [
                        Sent(each.letter.letter_id, each.flow_id, self._key, ticket) for each in message.news
                    ]

    def outcome(self, deadline: float) -> Outcome:
        """Return what has become of it by now."""
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            found = dataclasses.replace(self._outcome, sent=[*self._outcome.sent], told=[*self._outcome.told])
        found.untold = [each for message in self._messages for each in message.news if each not in found.told]
        if found.untold and not found.reason:
            found.reason = "it did not answer in time"
        return found
