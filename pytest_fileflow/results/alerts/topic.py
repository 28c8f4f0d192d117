"""Publishes to an SNS topic."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_fileflow.config.arns import names_one
from pytest_fileflow.errors import FileflowError
from pytest_fileflow.results.alerts.channel import last_part
from pytest_fileflow.results.alerts.message import in_bytes
from pytest_fileflow.results.alerts.post import Undelivered

if TYPE_CHECKING:
    from pytest_fileflow.results.alerts.channel import Means
    from pytest_fileflow.results.alerts.message import Message
    from pytest_fileflow.results.alerts.post import Post

SUBJECT_LETTERS = 99  # SNS: ASCII, no control characters, less than 100 characters
MESSAGE_BYTES = 256 * 1024 - 1024  # SNS: 256 KiB with the attributes


@dataclass(frozen=True)
class Topic:
    """An SNS topic."""

    sns_topic_arn: str

    one_by_one: ClassVar[bool] = False
    keeps_tickets: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Return ``sns (topic)``."""
        return f"sns ({last_part(self.sns_topic_arn)})"

    def send(self, message: Message, means: Means, post: Post) -> None:  # noqa: ARG002 - boto3 sends it
        """Publish it; subscribers may filter by the attributes ``change`` and ``sandbox``."""
        from pytest_fileflow.aws_errors import translated

        if not names_one(self.sns_topic_arn):
            raise Undelivered("what should name its topic is no ARN (not shown)")
        text = in_bytes(message.text(), MESSAGE_BYTES)
        try:
            client = means.clients().client("sns", self.sns_topic_arn)
            with translated("sns:Publish", self.sns_topic_arn):
                client.publish(
                    TopicArn=self.sns_topic_arn,
                    Subject=subject(message.title),
                    Message=text,
                    MessageAttributes={
                        "change": {"DataType": "String", "StringValue": message.change},
                        "sandbox": {"DataType": "String", "StringValue": str(message.sandbox).lower()},
                    },
                    **self._order(text),
                )
        except FileflowError as error:
            raise Undelivered(error.reason) from None

    def _order(self, text: str) -> dict[str, Any]:
        """Return what a FIFO topic asks for."""
        if not self.sns_topic_arn.endswith(".fifo"):
            return {}
        return {"MessageGroupId": "fileflow", "MessageDeduplicationId": hashlib.sha256(text.encode()).hexdigest()}


def subject(title: str) -> str:
    """Return a title as SNS takes it for a subject."""
    text = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in title)
    return text[:SUBJECT_LETTERS].strip() or "file flows"
