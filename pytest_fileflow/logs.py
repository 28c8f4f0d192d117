"""Finds what a function wrote about an invocation, in its log group in CloudWatch Logs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_fileflow.aws_errors import translated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.model import Transfer

logger = logging.getLogger(__name__)

REQUESTS: Final = 4  # for one invocation, pages included
SKEW_SECONDS: Final = 5.0  # how far Lambda's clock may be behind this one
EVENTS: Final = 1000
_ACTION = "logs:FilterLogEvents"


@dataclass(frozen=True)
class FunctionLog:
    """What a function wrote about an invocation, oldest line first; there may be lines of others between."""

    lines: tuple[str, ...]


class FunctionLogs:
    """Reads functions' logs by the request id of an invocation, or by what they wrote of a run.

    ``masked`` takes secrets out of a text.
    """

    def __init__(self, clients: AwsClients, masked: Callable[[str], str] = str) -> None:
        self._clients = clients
        self._masked = masked

    def find(self, transfer: Transfer, request_id: str | None, run_id: str, since: float) -> FunctionLog | None:
        """Return what the transfer's function wrote since then (seconds since the epoch), None where there is nothing.

        Raises:
            AccessDenied, LocationMissing, CredentialsUnusable, NetworkError, StorageFailed: it cannot be read.

        """
        arn = transfer.lambda_arn
        if arn is None:
            return None
        reading = _Reading(self._clients.client("logs", arn), log_group(arn), int((since - SKEW_SECONDS) * 1000))
        for word in dict.fromkeys(word for word in (request_id, run_id) if word):
            found = reading.around(word)
            if found:
                return FunctionLog(tuple(self._masked("\n".join(found)).split("\n")))
        return None


class _Reading:
    """One look into a log group, within a number of requests."""

    def __init__(self, client: Any, group: str, start: int) -> None:
        self._client = client
        self._where = {"logGroupName": group, "startTime": max(0, start)}
        self._left = REQUESTS

    def around(self, word: str) -> list[str]:
        """Return all lines of the invocations that wrote a word, also those without it.

        A line does not name its request in every format; it does lie between lines that do, in their
        stream: an environment runs one invocation at a time.
        """
        # Not every stand-in filters as CloudWatch does.
        named = [event for event in self._events(filterPattern=f'"{word}"') if word in event["message"]]
        streams = {event["logStreamName"]: None for event in sorted(named, key=lambda event: int(event["timestamp"]))}
        lines: list[str] = []
        for stream in streams:
            own = [event for event in named if event["logStreamName"] == stream]
            whole = self._between(stream, own) if self._left else own
            lines += [str(event["message"]).rstrip("\n") for event in whole]
        return lines

    def _between(self, stream: str, named: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        times = [int(event["timestamp"]) for event in named]
        window = {"startTime": min(times), "endTime": max(times) + 1}
        events = self._events(logStreamNames=[stream], **window)
        ids = [event.get("eventId") for event in events]
        places = [ids.index(event.get("eventId")) for event in named if event.get("eventId") in ids]
        if not places:
            return named
        # Of more lines than one answer holds, the last are not among them.
        beyond = [event for event in named if event.get("eventId") not in ids]
        return [*events[min(places) : None if beyond else max(places) + 1], *beyond]

    def _events(self, **more: Any) -> list[Mapping[str, Any]]:
        """Return matching events; an answer may be an empty page with more behind it."""
        found: list[Mapping[str, Any]] = []
        page: dict[str, Any] = {}
        while self._left:
            self._left -= 1
            with translated(_ACTION, str(self._where["logGroupName"])):
                answer = self._client.filter_log_events(**{**self._where, **more, "limit": EVENTS, **page})
            found += answer.get("events", ())
            if found or not answer.get("nextToken"):
                break
            page = {"nextToken": answer["nextToken"]}
        return found


def log_group(arn: str) -> str:
    """Return the log group that Lambda makes for a function, named by an ARN or by its name.

    >>> log_group("arn:aws:lambda:eu-central-1:123456789012:function:copy:live"), log_group("copy:live")
    ('/aws/lambda/copy', '/aws/lambda/copy')
    """
    return f"/aws/lambda/{arn.rpartition(':function:')[2].split(':')[0]}"
