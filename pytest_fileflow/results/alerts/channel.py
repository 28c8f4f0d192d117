"""What a channel is, and what all of them need to reach those they tell."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pytest_fileflow.config.arns import names_one
from pytest_fileflow.errors import FileflowError
from pytest_fileflow.results.alerts.post import Undelivered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.alerts.message import Message
    from pytest_fileflow.results.alerts.post import Post


class Channel(Protocol):
    """Somebody who is told."""

    @property
    def name(self) -> str:
        """Return what people call it; no secret stands in it."""

    @property
    def one_by_one(self) -> bool:
        """Return whether each flow needs a message of its own."""

    @property
    def keeps_tickets(self) -> bool:
        """Return whether :meth:`send` opens tickets, and wants them back."""

    def send(self, message: Message, means: Means, post: Post) -> str | None:
        """Tell a message; return the reference of its ticket, where the channel keeps any. Raises Undelivered."""


@dataclass(frozen=True)
class Means:
    """What channels work with. In the sandbox ``sandbox_url`` takes the place of every address."""

    clients: Callable[[], AwsClients]
    sandbox_url: str = ""

    def address(self, url: str) -> str:
        """Return where an address of a config really is."""
        return f"{self.sandbox_url}/{url.partition('://')[2]}" if self.sandbox_url else url

    def secret_url(self, secret_arn: str) -> str:
        """Return the address in a secret: its whole text, or ``url`` of its JSON. Raises Undelivered."""
        __tracebackhide__ = True
        text = self._text(secret_arn).strip()
        if not text.startswith("{"):
            return text
        url = _fields(text, secret_arn).get("url")
        if url is None:
            raise Undelivered(f"the secret {secret_arn} holds no url")
        return url

    def secret(self, secret_arn: str) -> dict[str, str]:
        """Return the texts in a secret of JSON, by name. Raises Undelivered."""
        __tracebackhide__ = True
        return _fields(self._text(secret_arn), secret_arn)

    def _text(self, secret_arn: str) -> str:
        from pytest_fileflow.secret import read

        if not names_one(secret_arn):
            raise Undelivered("what should name its secret is neither an ARN nor a name (not shown)")
        try:
            content = read(self.clients(), secret_arn, sandbox=bool(self.sandbox_url)).content
        except FileflowError as error:
            raise Undelivered(error.reason) from None
        return content.decode("utf-8", "replace") if isinstance(content, bytes) else content


def _fields(text: str, secret_arn: str) -> dict[str, str]:
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Undelivered(f"the secret {secret_arn} is not a JSON object")
    return {name: value for name, value in content.items() if isinstance(value, str)}


def login(secret: Mapping[str, str], secret_arn: str) -> dict[str, str]:
    """Return the header that logs in with ``user`` and ``token``, or with a bearer's ``token`` alone.

    Raises Undelivered.
    """
    from urllib3 import make_headers

    __tracebackhide__ = True
    if "token" not in secret:
        raise Undelivered(f"the secret {secret_arn} holds no token")
    if "user" not in secret:
        return {"Authorization": f"Bearer {secret['token']}"}
    pair = f"{secret['user']}:{secret['token']}"
    try:
        return {"Authorization": make_headers(basic_auth=pair)["authorization"]}
    except UnicodeError:
        raise Undelivered(f"user and token in the secret {secret_arn} are not Latin-1 text") from None


def key_of(kind: str, block: object) -> str:
    """Return the key of a channel: the same for the same settings, and nobody reads them out of it."""
    text = json.dumps([kind, block], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def last_part(arn: str) -> str:
    """Return what an ARN names, or the name itself; nothing of a text that is neither."""
    if not names_one(arn):
        return "not shown"
    return arn.rpartition(":")[2] or arn
