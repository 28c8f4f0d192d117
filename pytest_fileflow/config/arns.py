"""What names a resource of AWS in a flow: ARNs, names of secrets, and the placeholders for them."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config import secret_names
from pytest_fileflow.config.findings import Finding
from pytest_fileflow.config.shape import part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_fileflow.config.findings import Path

PLACEHOLDER = re.compile(r"<([A-Z][A-Z0-9_-]*)>")
ARN_GAP = re.compile(r"\.\.\.|…")
_ARN = re.compile(r"arn:[a-z-]+:[a-z0-9-]+:[^\s?#&]+")
_WHOLE_ARN = re.compile(r"arn:[a-z-]+:[a-z0-9-]+:[a-z0-9-]*:(?:[0-9]{12})?:.+")
_ADDRESS = re.compile(r"//|hooks\.slack\.com/|\.(?:office|azure)\.com[:/]", re.IGNORECASE)  # also without https:
_SECRETS = ("secretsmanager", "a secret")
_TOPICS = ("sns", "an SNS topic")
_ENDS: tuple[tuple[Path, str, str], ...] = (
    (("source", "secret_arn"), *_SECRETS),
    (("target", "secret_arn"), *_SECRETS),
    (("source", "kms_key_arn"), "kms", "a KMS key"),
    (("target", "kms_key_arn"), "kms", "a KMS key"),
    (("transfer", "lambda_arn"), "lambda", "a Lambda function"),
)
_CHANNELS: tuple[tuple[Path, str, str], ...] = (
    (("alerts", "sns_topic_arn"), *_TOPICS),
    (("alerts", "slack_webhook_secret_arn"), *_SECRETS),
    (("alerts", "jira", "secret_arn"), *_SECRETS),
    (("alerts", "servicenow", "secret_arn"), *_SECRETS),
)


def is_placeholder(text: str) -> bool:
    """Return whether a text still has a part to be replaced."""
    return bool(PLACEHOLDER.search(text)) or (text.startswith("arn:") and bool(ARN_GAP.search(text)))


def names_one(text: str) -> bool:
    """Return whether a text may be an ARN or a secret's name, which is no secret, and so may be shown."""
    filled = PLACEHOLDER.sub("x", text)
    return not _ADDRESS.search(text) and bool(_ARN.fullmatch(filled) or secret_names.is_plain(filled))


def webhooks(flow: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the webhook of a flow, or each of a list, with its path."""
    path: Path = ("alerts", "webhook")
    given = part(flow, "alerts").get("webhook")
    for index, webhook in enumerate(given if isinstance(given, list) else [given]):
        if isinstance(webhook, dict):
            yield ((*path, index) if isinstance(given, list) else path), webhook


def of_ends(flow: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with the names in the ends and the transfer, outside the sandbox."""
    for path, service, noun in _ENDS:
        value = part(flow, str(path[0])).get(str(path[1]))
        if not isinstance(value, str) or not value or is_placeholder(value):
            continue
        problem = _problem(value, service, noun)
        if problem is not None:
            yield Finding(path, problem)


def of_channels(flow: Mapping[str, Any], *, sandbox: bool) -> Iterator[Finding]:
    """Yield what is wrong with the names in the alerts, in words that repeat none: it may be a secret itself."""
    for path, value, service, noun in _named_in_alerts(flow):
        problem = channel_problem(value, service)
        if problem is None and not is_placeholder(value) and (not sandbox or _WHOLE_ARN.fullmatch(value)):
            problem = _problem(value, service, noun)
        if problem is not None:
            yield Finding(path, problem)


def channel_problem(value: str, service: str) -> str | None:
    """Return why a text can name nothing of a service: ``secretsmanager`` or ``sns``."""
    is_secret = service != "sns"
    if is_secret and value.startswith(secret_names.FILE) and not secret_names.is_plain(value):
        return secret_names.problem_of(value)
    if _ADDRESS.search(value):
        meant = "the secret that holds it is" if is_secret else "the ARN of an SNS topic is"
        ending = ": put it into Secrets Manager, and name that" if is_secret else ""
        return f"this is an address (not shown), and {meant} meant{ending}"
    if is_secret and not names_one(value) and not is_placeholder(value):
        return secret_names.problem_of(value) or f"must name a secret by {secret_names.FORMS}"
    return None


def _problem(value: str, service: str, noun: str) -> str | None:
    """Return why a text that has no placeholder names nothing of a service."""
    if service == "secretsmanager":
        return secret_names.problem_of(value)
    if value.startswith("arn:") and value.split(":")[2:3] != [service]:
        return f"must be the ARN of {noun}: arn:aws:{service}:…"
    return None


def _named_in_alerts(flow: Mapping[str, Any]) -> Iterator[tuple[Path, str, str, str]]:
    named = [
        (path, functools.reduce(part, map(str, path[:-1]), flow), service, noun) for path, service, noun in _CHANNELS
    ]
    for where, webhook in webhooks(flow):
        named += [((*where, key), webhook, *_SECRETS) for key in ("url_secret_arn", "secret_arn")]
    for path, around, service, noun in named:
        value = around.get(str(path[-1]))
        if isinstance(value, str) and value:
            yield path, value, service, noun
