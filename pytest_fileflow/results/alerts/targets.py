"""Makes channels of a flow's ``alerts``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_fileflow.results.alerts.channel import key_of
from pytest_fileflow.results.alerts.chat import Slack
from pytest_fileflow.results.alerts.tickets import Jira, ServiceNow
from pytest_fileflow.results.alerts.topic import Topic
from pytest_fileflow.results.alerts.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_fileflow.results.alerts.channel import Channel

KINDS: Mapping[str, Callable[[Any], Channel]] = {
    "sns_topic_arn": Topic,
    "slack_webhook_secret_arn": Slack,
    "jira": lambda block: Jira(**block),
    "servicenow": lambda block: ServiceNow(**block),
    "webhook": lambda block: Webhook(**block),
}


def channels_of(alerts: Mapping[str, Any]) -> Iterator[tuple[str, Channel]]:
    """Yield the channels of a flow with their keys; those of the same settings have the same key."""
    given = [(kind, each) for kind, value in alerts.items() for each in (value if isinstance(value, list) else [value])]
    for kind, block in given:
        # An editor's notes are no settings.
        plain = (
            {name: value for name, value in block.items() if not name.startswith("x-")}
            if isinstance(block, dict)
            else block
        )
        yield key_of(kind, plain), KINDS[kind](plain)
