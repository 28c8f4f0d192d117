"""What a case would do, found out by doing it: with the steps of a real run, at endpoints that only take note.

So there are no rules of a plan's own that could differ from what a run does.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_fileflow import reach, steps
from pytest_fileflow.clock import Clock
from pytest_fileflow.due import name_due
from pytest_fileflow.endpoints import delete_each
from pytest_fileflow.endpoints.names import PROBE, checked, partial_name
from pytest_fileflow.errands import ERRANDS
from pytest_fileflow.errors import FileflowError
from pytest_fileflow.invoke import Started
from pytest_fileflow.model import S3Location
from pytest_fileflow.streams import Tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from pytest_fileflow.allow import AllowList
    from pytest_fileflow.endpoints import Endpoint, Stranger, Upload
    from pytest_fileflow.model import Case, Location, Stat, Transfer
    from pytest_fileflow.registry import Registry

RUN_ID: Final = "0" * 16
"""What stands for the id of a run that there is not yet."""


@dataclass(frozen=True)
class Action:
    """One thing that a case does: ``write``, ``delete``, ``read``, ``list``, ``invoke``, ….

    ``where`` is a URI or a function; ``size`` is in bytes where something is sent.
    """

    what: str
    where: str
    size: int | None = None
    detail: object = None

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


@dataclass(frozen=True)
class CasePlan:
    """What a case does, in order, each thing once; or why it does nothing: ``refused`` or ``skipped``."""

    name: str
    origin: str
    size: int = 0
    actions: tuple[Action, ...] = ()
    refused: str | None = None
    skipped: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        plain = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return {**plain, "actions": [action.to_dict() for action in self.actions]}


@dataclass
class _Notes:
    """What is taken note of while a case is played through."""

    actions: dict[tuple[object, ...], Action] = field(default_factory=dict)

    def take(self, what: str, where: str, size: int | None = None, detail: object = None) -> None:
        self.actions.setdefault((what, where, repr(detail)), Action(what, where, size, detail))


class _NotingEndpoint:
    """An endpoint where nothing is, that takes all, and to which nobody goes."""

    def __init__(self, location: Location, notes: _Notes, who: str | None = None) -> None:
        self.location = location
        self._notes = notes
        self._who = who

    def put(self, name: str, body: BinaryIO, size: int, tags: Mapping[str, str]) -> None:
        del body, tags
        self._write(name, size)

    def put_all(self, uploads: Sequence[Upload], tags: Mapping[str, str]) -> None:
        for upload in uploads:
            self.put(upload.name, upload.body, upload.size, tags)

    def stat(self, name: str) -> Stat | None:
        self._note("look for", name)
        return None

    def list(self, prefix: str = "", limit: int = 1000) -> list[Stat]:
        del prefix, limit
        self._note("list")
        return []

    @contextmanager
    def open(self, name: str, offset: int = 0, version: str | None = None) -> Iterator[Iterator[bytes] | None]:
        del offset, version
        self._note("read", name)
        yield iter(())

    def delete(self, name: str) -> None:
        self._note("delete", checked(name))

    def delete_all(self, names: Sequence[str]) -> dict[str, FileflowError]:
        return delete_each(self, names)

    def knock(self, stranger: Stranger, name: str) -> None:
        del name
        self._notes.take("try to be let in", self.location.uri(), detail=stranger)

    def turn(self) -> AbstractContextManager[object]:
        return nullcontext()

    def _write(self, name: str, size: int) -> None:
        self._note("write", checked(name), size)

    def _note(self, what: str, name: str = "", size: int | None = None) -> None:
        self._notes.take(what, self.location.uri(name), size, self._who)


class _NotingS3(_NotingEndpoint):
    def prove_writing(self, name: str, tags: Mapping[str, str]) -> str | None:
        del tags
        self._note("begin and abort an upload of", checked(name), len(PROBE))
        return None

    def nobody(self) -> Endpoint:
        return _NotingS3(self.location, self._notes, "unsigned")


class _NotingSftp(_NotingEndpoint):
    def put_all(self, uploads: Sequence[Upload], tags: Mapping[str, str]) -> None:
        del tags
        for upload in uploads:
            self._note("write", partial_name(checked(upload.name)), upload.size)
        for upload in uploads:
            self._notes.take("rename to", self.location.uri(upload.name))

    def put(self, name: str, body: BinaryIO, size: int, tags: Mapping[str, str]) -> None:
        from pytest_fileflow.endpoints import Upload

        self.put_all([Upload(name, body, size)], tags)

    def write_in_place(self, name: str, content: bytes) -> None:
        self._write(name, len(content))

    def prove_writing(self, name: str, tags: Mapping[str, str]) -> str | None:
        del tags
        partial = partial_name(checked(name))
        self.write_in_place(partial, PROBE)
        self.delete(partial)
        return None


@dataclass
class _NotingTools:
    notes: _Notes = field(default_factory=_Notes)
    seconds: float = 0.0

    def endpoint(self, location: Location) -> Endpoint:
        kind = _NotingS3 if isinstance(location, S3Location) else _NotingSftp
        return kind(location, self.notes)

    def invoke(self, transfer: Transfer, payload: object) -> Started:
        detail = {"invocation": transfer.invocation, "payload": payload}
        self.notes.take("invoke", str(transfer.lambda_arn), detail=detail)
        return Started(None, None, '{"error": "only planned"}')

    def tools(self, registry: Registry, allow: AllowList) -> Tools:
        clock = Clock(monotonic=self._hours_later, sleep=lambda _seconds: None)  # no wait is sat out
        return Tools(self.endpoint, self.invoke, registry, clock, knows_dry_run=True, allow=allow)

    def _hours_later(self) -> float:
        self.seconds += 3600.0
        return self.seconds


def plan_case(case: Case, registry: Registry, allow: AllowList, *, clean_up: bool) -> CasePlan:
    """Return what a case would do; nothing is sent, asked or written anywhere."""
    name, origin, size = case.name, case.flow.origin, case.variant.size
    refused = reach.refusal(case, allow)
    if refused is not None:
        return CasePlan(name, origin, size, refused=f"{refused.cause}: {refused.reason} ({refused.hint})")
    noting = _NotingTools()
    play: Callable[[Case, Tools, bool], None] = _transfer if case.kind == "transfer" else _errand
    try:
        play(case, noting.tools(registry, allow), clean_up)
    except FileflowError as error:
        return CasePlan(name, origin, size, refused=f"{error.cause}: {error.reason}")
    return CasePlan(name, origin, size, tuple(noting.notes.actions.values()))


def _transfer(case: Case, tools: Tools, clean_up: bool) -> None:
    flow = case.flow
    run = steps.prepare(case, tools, run_id=RUN_ID, is_planned=True)
    steps.check_target(flow, run, tools)
    run = steps.enter_ledger(flow, run)
    run = steps.trigger(flow, steps.seed(flow, run, tools), tools)
    target = tools.endpoint(flow.target)
    with target.open(name_due(flow, run).text):
        target.list()  # for copies
    if clean_up:
        steps.clean_up(flow, run, tools)
        if (due := name_due(flow, run)).exact is None:
            target.delete(due.text)  # whatever lies there under such a name


def _errand(case: Case, tools: Tools, clean_up: bool) -> None:  # noqa: ARG001 - it cleans up in any case
    errand = ERRANDS[case.kind]
    run = steps.prepare_errand(case, tools, run_id=RUN_ID)
    questions = errand.questions(case, run, tools)
    written = tuple(dict.fromkeys(name for question in questions for name in question.writes))
    run = dataclasses.replace(run, written=written)
    answers: list[Any] = [question.ask(run, tools) for question in questions]
    run = errand.conclude(case, run, answers)
    steps.clean_up(case.flow, run, tools)
