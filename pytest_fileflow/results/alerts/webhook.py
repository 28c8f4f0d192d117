"""Posts JSON made from a template to any address: Microsoft Teams, PagerDuty, or a program of one's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pytest_fileflow.config.alerting import FLOW_VARIABLES, SECRET
from pytest_fileflow.results.alerts.message import WORDS, cut_end, markdown
from pytest_fileflow.results.alerts.post import Request, Undelivered
from pytest_fileflow.template import UnknownVariable, names_in, substitute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.results.alerts.channel import Means
    from pytest_fileflow.results.alerts.message import Message, News
    from pytest_fileflow.results.alerts.post import Post

TEXT_LETTERS = 8000  # Teams takes 28 KB a message
SUMMARY_LETTERS = 1000  # PagerDuty: 1,024
LIST = "${flows}"

TEMPLATES: Mapping[str, Any] = {
    "generic": {
        "title": "${title}",
        "change": "${change}",
        "text": "${text}",
        "report_url": "${report_url}",
        "flows": LIST,
    },
    "teams": {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "body": [
                        {
                            "type": "RichTextBlock",
                            "inlines": [{"type": "TextRun", "text": "${title}", "weight": "Bolder"}],
                        },
                        {"type": "TextBlock", "text": "${markdown}", "wrap": True},
                    ],
                },
            }
        ],
    },
    "pagerduty": {
        "routing_key": "${secret.routing_key}",
        "event_action": "${flow.action}",
        "dedup_key": "fileflow/${flow.id}",
        "payload": {
            "summary": "${flow.summary}",
            "source": "${flow.id}",
            "severity": "${flow.severity}",
            "custom_details": {
                "cause": "${flow.cause}",
                "reason": "${flow.reason}",
                "hint": "${flow.hint}",
                "owner": "${flow.owner}",
                "cases": "${flow.cases}",
                "run_ids": "${flow.run_ids}",
                "report": "${report_url}",
            },
        },
    },
}


@dataclass(frozen=True)
class Webhook:
    """An address that takes JSON; ``template`` is the name of one that ships, or a JSON object."""

    url: str | None = field(default=None, repr=False)
    url_secret_arn: str | None = None
    secret_arn: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    template: Literal["generic", "pagerduty", "teams"] | Mapping[str, Any] = "generic"

    keeps_tickets: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Return ``webhook (template)``."""
        return f"webhook ({self.template if isinstance(self.template, str) else 'own template'})"

    @property
    def one_by_one(self) -> bool:
        """Return whether the template speaks of one flow."""
        return bool(FLOW_VARIABLES & set(names_in(self._template)))

    @property
    def _template(self) -> Any:
        return TEMPLATES[self.template] if isinstance(self.template, str) else self.template

    def send(self, message: Message, means: Means, post: Post) -> None:
        """Post it."""
        __tracebackhide__ = True
        secret = means.secret(self.secret_arn) if self.secret_arn else {}
        variables = {f"{SECRET}{name}": text for name, text in secret.items()}
        url = means.secret_url(self.url_secret_arn) if self.url_secret_arn else means.address(self.url or "")
        try:
            headers = substitute(dict(self.headers), variables)
            body = filled(self._template, message, variables)
        except UnknownVariable as error:
            raise Undelivered(f"the secret {self.secret_arn} does not hold {error.name}") from None
        post.send(Request(url, body, headers=headers if isinstance(headers, dict) else {}))


def filled(template: Any, message: Message, variables: Mapping[str, str]) -> Any:
    """Return a template with the message in it; what is put in stays within its text.

    A text that is ``${flows}`` alone becomes a list of objects. Raises UnknownVariable.
    """
    if template == LIST:
        return [flow_values(each) for each in message.ordered]
    if isinstance(template, dict):
        return {name: filled(value, message, variables) for name, value in template.items()}
    if isinstance(template, list):
        return [filled(value, message, variables) for value in template]
    return substitute(template, {**_values(message), **variables})


def _values(message: Message) -> dict[str, str]:
    one = {f"flow.{name}": text for name, text in flow_values(message.news[0]).items()} if message.news else {}
    return {
        "title": message.title,
        "text": cut_end(message.text(), TEXT_LETTERS),
        "markdown": cut_end(message.text(markdown).replace("\n", "\n\n"), TEXT_LETTERS),
        "change": message.change,
        "report_url": message.report_url,
        "flows": ", ".join(each.flow_id for each in message.ordered),
        **one,
    }


def flow_values(news: News) -> dict[str, str]:
    """Return the variables of one flow, without ``flow.`` before them."""
    facts = ("owner", "description", "cause", "reason", "hint", "cases", "run_ids", "since")
    change = news.letter.change
    severity = {"recovered": "info", "unknown": "warning"}.get(change, "error")
    return {
        "id": news.flow_id,
        "change": WORDS[change],
        "summary": cut_end(f"{news.summary}: {news.fact('reason')}", SUMMARY_LETTERS),
        "action": "resolve" if change == "recovered" else "trigger",
        "severity": severity,
        **{name: news.fact(name) for name in facts},
    }
