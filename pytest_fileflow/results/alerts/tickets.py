"""Opens, comments on and closes tickets, in Jira and in ServiceNow."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from pytest_fileflow.results.alerts.channel import login
from pytest_fileflow.results.alerts.message import cut_end
from pytest_fileflow.results.alerts.post import Request, Undelivered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.results.alerts.channel import Means
    from pytest_fileflow.results.alerts.message import Message
    from pytest_fileflow.results.alerts.post import Post

SUMMARY_LETTERS = 250  # Jira: 255
BODY_LETTERS = 30_000  # Jira: 32,767
SHORT_LETTERS = 160  # ServiceNow's short description
NOTE_LETTERS = 3900  # ServiceNow's description: 4,000
_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


@dataclass(frozen=True)
class _Desk:
    """A REST interface of tickets, logged in."""

    base: str
    headers: Mapping[str, str] = field(repr=False)
    post: Post

    def call(self, path: str, body: object = None, method: str = "POST") -> Any:
        return self.post.send(Request(f"{self.base}{path}", body, method, self.headers))


def _desk(url: str, secret_arn: str, means: Means, post: Post) -> _Desk:
    __tracebackhide__ = True
    headers = login(means.secret(secret_arn), secret_arn)
    return _Desk(means.address(url).rstrip("/"), headers, post)


def _reference(answer: object, *path: str) -> str:
    """Return the reference in the answer to a new ticket; raises Undelivered for any other, as a login page."""
    for name in path:
        answer = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(answer, str) or not _REFERENCE.fullmatch(answer):
        raise Undelivered(f"it answered without {'.'.join(path)}, so no ticket was opened there")
    return answer


@dataclass(frozen=True)
class Jira:
    """A Jira project: Cloud, or a server of one's own (REST API 2)."""

    base_url: str
    project: str
    secret_arn: str
    issue_type: str = "Task"
    fields: Mapping[str, Any] = field(default_factory=dict)
    transition: str | None = None

    one_by_one: ClassVar[bool] = False
    keeps_tickets: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Return ``jira (project)``."""
        return f"jira ({self.project})"

    def send(self, message: Message, means: Means, post: Post) -> str | None:
        """Open an issue, or comment on the one that there is, and close it where all of its flows have recovered."""
        __tracebackhide__ = True
        if message.ticket is None and message.change == "recovered":
            return None  # nobody has heard of it
        desk = _desk(self.base_url, self.secret_arn, means, post)
        text = f"{{noformat}}\n{_inert(cut_end(message.text(), BODY_LETTERS))}\n{{noformat}}"
        if message.ticket is not None:
            try:
                return self._comment(desk, message, message.ticket, text)
            except Undelivered as error:
                if error.status not in _GONE:
                    raise
                if message.change == "recovered":
                    return None  # somebody has deleted it
        issue = {
            **self.fields,
            "project": {"key": self.project},
            "issuetype": {"name": self.issue_type},
            "summary": cut_end(message.title, SUMMARY_LETTERS),
            "description": text,
        }
        return _reference(desk.call("/rest/api/2/issue", {"fields": issue}), "key")

    def _comment(self, desk: _Desk, message: Message, ticket: str, text: str) -> str:
        path = f"/rest/api/2/issue/{quote(ticket, safe='')}"
        desk.call(f"{path}/comment", {"body": text})
        if message.closes and self.transition:
            known = desk.call(f"{path}/transitions", method="GET")
            found = _transition(known, self.transition)
            if found is not None:  # else it is closed already, or its workflow has no such transition
                desk.call(f"{path}/transitions", {"transition": {"id": found}})
        return ticket


def _transition(known: object, name: str) -> object:
    """Return the id of a transition among those that an issue has now, None where it has no such one."""
    offered = known.get("transitions") if isinstance(known, dict) else None
    for each in offered if isinstance(offered, list) else ():
        if isinstance(each, dict) and str(each.get("name")).casefold() == name.casefold():
            return each.get("id")
    return None


def _inert(text: str) -> str:
    """Return a text that cannot end the block of plain text that it stands in."""
    return re.sub(r"\{(?=\s*noformat)", "(", text, flags=re.IGNORECASE)


@dataclass(frozen=True)
class ServiceNow:
    """A table of a ServiceNow instance (Table API)."""

    instance_url: str
    secret_arn: str
    table: str = "incident"
    fields: Mapping[str, Any] = field(default_factory=dict)
    recovery_fields: Mapping[str, Any] = field(default_factory=dict)

    one_by_one: ClassVar[bool] = False
    keeps_tickets: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Return ``servicenow (table)``."""
        return f"servicenow ({self.table})"

    def send(self, message: Message, means: Means, post: Post) -> str | None:
        """Create a record, or add a work note to the one that there is, with the fields of a recovery at the end."""
        __tracebackhide__ = True
        if message.ticket is None and message.change == "recovered":
            return None  # nobody has heard of it
        desk = _desk(self.instance_url, self.secret_arn, means, post)
        path, text = f"/api/now/table/{self.table}", cut_end(_uncoded(message.text()), NOTE_LETTERS)
        if message.ticket is not None:
            note = {**(self.recovery_fields if message.closes else {}), "work_notes": text}
            try:
                desk.call(f"{path}/{quote(message.ticket, safe='')}", note, "PATCH")
            except Undelivered as error:
                if error.status not in _GONE:
                    raise
                if message.change == "recovered":
                    return None  # somebody has deleted it
            else:
                return message.ticket
        record = {**self.fields, "short_description": cut_end(message.title, SHORT_LETTERS), "description": text}
        return _reference(desk.call(path, record), "result", "sys_id")


def _uncoded(text: str) -> str:
    """Return a text in which ServiceNow finds no ``[code]``: what stands in one is shown as HTML."""
    return re.sub(r"\[(?=/?\s*code)", "(", text, flags=re.IGNORECASE)
