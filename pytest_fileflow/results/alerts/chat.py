"""Tells Slack, by an incoming webhook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_fileflow.results.alerts.channel import last_part
from pytest_fileflow.results.alerts.message import WORDS, cut_end
from pytest_fileflow.results.alerts.post import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_fileflow.results.alerts.channel import Means
    from pytest_fileflow.results.alerts.message import Message, News
    from pytest_fileflow.results.alerts.post import Post

TEXT_LETTERS = 2900  # Slack: 3,000 letters of text in a block, 50 blocks (message.SHOWN bounds them)
HEADER_LETTERS = 150


@dataclass(frozen=True)
class Slack:
    """A Slack channel, by the secret of its incoming webhook."""

    slack_webhook_secret_arn: str

    one_by_one: ClassVar[bool] = False
    keeps_tickets: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Return ``slack (secret's name)``."""
        return f"slack ({last_part(self.slack_webhook_secret_arn)})"

    def send(self, message: Message, means: Means, post: Post) -> None:
        """Post it."""
        __tracebackhide__ = True
        url = means.secret_url(self.slack_webhook_secret_arn)
        blocks = list(_blocks(message))
        post.send(Request(url, {"text": escaped(message.title), "blocks": blocks}))


def _blocks(message: Message) -> Iterator[dict[str, Any]]:
    yield {"type": "header", "text": _plain(message.title, HEADER_LETTERS)}
    for each in message.shown:
        yield {"type": "section", "text": {"type": "mrkdwn", "text": cut_end(_heading(each), TEXT_LETTERS)}}
        yield {"type": "section", "text": _plain("\n".join(each.details()), TEXT_LETTERS)}
    if message.others:
        yield {"type": "section", "text": _plain(message.others, TEXT_LETTERS)}
    if message.report_url:
        yield {"type": "section", "text": _plain(f"report: {message.report_url}", TEXT_LETTERS)}


def _heading(news: News) -> str:
    cause = f": {escaped(news.fact('cause'))}" if news.fact("cause") else ""
    return f"*{escaped(news.flow_id)}* {WORDS[news.letter.change]}{cause}"


def _plain(text: str, letters: int) -> dict[str, Any]:
    """Return a text in which Slack looks for no format, link or mention."""
    return {"type": "plain_text", "text": cut_end(text, letters), "emoji": False}


def escaped(text: str) -> str:
    """Return a text as Slack's own markup shows it: its three control characters written out."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
