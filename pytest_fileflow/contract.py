"""What a flow needs before a file is sent: its contract, looked at row by row; and its canary, the cheapest look."""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_fileflow import steps
from pytest_fileflow.endpoints import ProvesWriting
from pytest_fileflow.endpoints.names import partial_name
from pytest_fileflow.errors import AccessDenied, FileflowError, Interrupted, KmsDenied
from pytest_fileflow.model import PASSED, CheckResult, S3Location, SftpLocation
from pytest_fileflow.questions import Question

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.model import Case, Flow, Location, Run, Side, Transfer, Verdict
    from pytest_fileflow.streams import Tools

Way = Literal["look", "appear", "hide", "spare"]
"""Whether a probe is written: not at all, as a file that appears and is removed, or so that none appears."""

SIDES: tuple[Side, ...] = ("source", "target")
# A probe has room for a line; what reads it is told who wrote it.
_CONTENT = "a probe of pytest-fileflow, run {}\n"

_SECRET, _NAME, _PORT, _HOST_KEY, _LOGIN = "secret", "name", "port", "host_key", "login"
_STAGES = {
    "secret.missing": _SECRET,
    "secret.malformed": _SECRET,
    "net.dns": _NAME,
    "net.refused": _PORT,
    "net.timeout": _PORT,
    "net.reset": _PORT,
    "net.negotiation": _PORT,
    "hostkey.unknown": _HOST_KEY,
    "hostkey.mismatch": _HOST_KEY,
    "config.invalid": _HOST_KEY,
    "auth.rejected": _LOGIN,
    "tester.credentials": _LOGIN,
}
_NOT_LISTED = "may not be listed, but files there may be asked for by name: a drop box"
_NEITHER = "may be written to, but neither listed nor asked for files: whether one was picked up cannot be told"
_PROBE_TARGET_HINT = "Where only the transfer has to write, and not the tester, set contract.probe_target: false."
_NOT_TRIED_HERE = "not tried: contract.probe_target is false"
_WOULD_STAY = "not tried: delete_after is false, and a probe would have to be removed"
_WOULD_START = "not tried: a file that appears would start the transfer, or stay"
_CANNOT_DRY_RUN = "not tried: this transfer_invoker does not say that it knows DryRun (knows_dry_run = True)"


@dataclass(frozen=True)
class Row:
    """One thing that was looked at; ``error`` is what was wrong with it, ``is_tried`` whether it was tried at all."""

    name: str
    expected: str
    observed: str
    error: FileflowError | None = None
    is_tried: bool = True
    may_lie: bool = False


Rows = tuple[Row, ...]


def probe_name(run: Run) -> str:
    """Return the name of a run's probe file; many transfers leave files alone that are called partial."""
    return f"fileflow-probe_{run.run_id}.part"


def contract_questions(case: Case, run: Run, tools: Tools) -> tuple[Question, ...]:
    """Return what a contract asks: both ends, and whether the function may be invoked."""
    flow = case.flow
    ends = (
        _question("source", flow, _way_at_source(flow), run, tools),
        _question("target", flow, _way_at_target(flow), run, tools),
    )
    if flow.transfer.mode != "invoke":
        return ends
    key = (tools.invoke, flow.transfer.lambda_arn)
    return (*ends, Question(lambda _run, tools: invocable(flow.transfer, tools), key))


def canary_questions(case: Case, run: Run, tools: Tools) -> tuple[Question, ...]:
    """Return what a canary asks: one request an end, and nothing is written."""
    return tuple(_question(side, case.flow, "look", run, tools) for side in SIDES)


def _way_at_source(flow: Flow) -> Way:
    if flow.transfer.mode == "event" and flow.testdata.delete_after:
        return "hide"
    return _way(flow, flow.source)


def _way_at_target(flow: Flow) -> Way:
    return _way(flow, flow.target) if flow.contract.probe_target else "look"


def _way(flow: Flow, place: Location) -> Way:
    if flow.testdata.delete_after:
        return "appear"
    # What may not be removed again must not appear. S3 leaves nothing of an upload that is aborted, a server a file.
    return "hide" if isinstance(place, S3Location) else "spare"


def _question(side: Side, flow: Flow, way: Way, run: Run, tools: Tools) -> Question:
    place = flow.source if side == "source" else flow.target
    # A transfer that sweeps its source may have delivered the probe before it is removed.
    sides: tuple[Side, ...] = SIDES if side == "source" else (side,)
    writes = tuple((written, probe_name(run)) for written in sides) if way == "appear" else ()
    if way == "hide" and isinstance(place, SftpLocation):
        writes = ((side, partial_name(probe_name(run))),)
    return Question(lambda run, tools: examine(place, way, run, tools), (tools.endpoint, place, way), writes, (place,))


def conclude(case: Case, run: Run, answers: Sequence[Rows]) -> Run:
    """Return the run with all rows as its checks, and the verdict: the first failure names the cause."""
    rows = [*_named(case, answers)]
    results = tuple(CheckResult(row.name, row.error is None, row.expected, row.observed) for row in rows)
    verdict = _verdict([row for row in rows if row.error])
    return dataclasses.replace(run, checks=results, verdict=verdict, written=_left(run, rows))


def _left(run: Run, rows: Sequence[Row]) -> tuple[tuple[Side, str], ...]:
    """Return what may still lie somewhere: a probe that was begun and not removed, or what a transfer made of it."""
    left = {row.name.partition(".")[0] for row in rows if row.may_lie}
    if any(row.name == "source.writable" and row.is_tried for row in rows) and len(dict.fromkeys(run.written)) > 1:
        left.add("target")  # whatever became of it at the source, a sweeping transfer may have taken it before
    return tuple((side, name) for side, name in run.written if side in left)


def _verdict(failed: Sequence[Row]) -> Verdict:
    errors = [row.error for row in failed if row.error]
    if not errors:
        return PASSED
    verdict = steps.verdict_of(errors[0])
    others = [f"{row.name}: {row.error.cause}: {row.error.reason}" for row in failed[1:] if row.error]
    return dataclasses.replace(verdict, evidence={**verdict.evidence, "also_wrong": others}) if others else verdict


def _named(case: Case, answers: Sequence[Rows]) -> Iterator[Row]:
    for what, rows in zip(("source", "target", "transfer"), answers, strict=False):
        for row in _lenient(rows) if what == "source" else map(_with_way_out, rows):
            yield dataclasses.replace(row, name=f"{what}.{row.name}")
        if what == "target" and case.kind == "contract" and not case.flow.contract.probe_target:
            yield Row("target.writable", f"{case.flow.target.uri()} takes a file", _NOT_TRIED_HERE, is_tried=False)


def _lenient(rows: Rows) -> Iterator[Row]:
    """Let a source pass that takes files and shows none: a transfer does not need more of it."""
    writable = any(row.name == "writable" and row.error is None and row.is_tried for row in rows)
    for row in rows:
        is_dark = row.name in ("directory", "prefix") and isinstance(row.error, AccessDenied)
        yield dataclasses.replace(row, observed=_NEITHER, error=None) if is_dark and writable else row


def _with_way_out(row: Row) -> Row:
    """Say what to do where only the transfer's own identity may write to a target."""
    error = row.error
    if row.name not in ("writable", "kms") or not isinstance(error, (AccessDenied, KmsDenied)):
        return row
    hint = f"{error.hint} {_PROBE_TARGET_HINT}"
    return dataclasses.replace(row, error=type(error)(error.reason, hint=hint, evidence=error.evidence))


def invocable(transfer: Transfer, tools: Tools) -> Rows:
    """Ask Lambda whether the function may be invoked, without invoking it."""
    expected = f"{transfer.lambda_arn} exists and may be invoked"
    if not tools.knows_dry_run:
        return (Row("invocable", expected, _CANNOT_DRY_RUN, is_tried=False),)
    try:
        tools.invoke(dataclasses.replace(transfer, invocation="DryRun"), {})
    except FileflowError as error:
        return (Row("invocable", expected, error.reason, error),)
    return (Row("invocable", expected, "a dry run was accepted"),)


def examine(place: Location, way: Way, run: Run, tools: Tools) -> Rows:
    """Look at a place, and prove that it may be written to; what comes after a failure is left out."""
    stages = _stages(place)
    reached, last = list(stages)[:-1], list(stages)[-1]
    try:
        endpoint = tools.endpoint(place)
        seen = _look(endpoint, probe_name(run))
        failure = None
    except FileflowError as error:
        seen, failure = error.reason, error
    if failure is not None and (stage := _stage(place, failure)) in reached:
        before = reached[: reached.index(stage)]
        return (*(Row(name, *stages[name]) for name in before), Row(stage, stages[stage][0], seen, failure))
    rows = (*(Row(name, *stages[name]) for name in reached), Row(last, stages[last][0], seen, failure))
    if failure is not None and not isinstance(failure, AccessDenied):
        return rows
    if tools.cancelled():
        raise Interrupted(f"the session ended before {place.uri()} was written to")
    return (*rows, *_write(endpoint, way, run))


def _look(endpoint: Endpoint, name: str) -> str:
    try:
        found = endpoint.list("", 1)
    except AccessDenied:
        endpoint.stat(name)
        return _NOT_LISTED
    return "was listed" if found else "was listed, and shows no file"


def _stages(place: Location) -> dict[str, tuple[str, str]]:
    """Return what lies on the way to a place, in order, each with what is expected and how it looks when it is so."""
    if isinstance(place, SftpLocation):
        where = f"{place.host}:{place.port}"
        return {
            _SECRET: (f"{place.secret_arn} is readable and well-formed", "it is"),
            _NAME: (f"{place.host} resolves", "it does"),
            _PORT: (f"{where} answers and speaks SSH", "it does"),
            _HOST_KEY: (f"the host key of {where} is {'the pinned one' if place.host_key else 'known'}", "it is"),
            _LOGIN: (f"{place.username} may log in", "logged in"),
            "directory": (f"{place.uri()} exists and may be listed", ""),
        }
    return {
        _NAME: ("the S3 endpoint's name resolves", "it does"),
        _PORT: ("the S3 endpoint answers", "it does"),
        _LOGIN: ("AWS accepts the credentials", "it does"),
        "prefix": (f"{place.uri()} exists and may be listed", ""),
    }


def _stage(place: Location, error: FileflowError) -> str:
    """Return where on the way to a place an error belongs."""
    if not isinstance(place, SftpLocation):
        return "prefix" if error.cause == "config.invalid" else _STAGES.get(error.cause, "prefix")
    if place.secret_arn and error.cause != "auth.rejected" and place.secret_arn in error.reason:
        return _SECRET  # what kept the secret from being read may be anything that AWS answers
    return _STAGES.get(error.cause, "directory")


def _write(endpoint: Endpoint, way: Way, run: Run) -> Rows:
    place, name = endpoint.location, probe_name(run)
    expected = f"{place.uri()} takes a file" + (", and lets it be removed" if way == "appear" else "")
    if way == "look":
        return ()
    if way == "spare":
        return (Row("writable", expected, _WOULD_STAY, is_tried=False),)
    if way == "hide" and not isinstance(endpoint, ProvesWriting):
        return (Row("writable", expected, _WOULD_START, is_tried=False),)
    key = place.kms_key_arn if isinstance(place, S3Location) else None
    written: list[str] = []
    try:
        done = _probe(endpoint, name, way, run, written)
    except FileflowError as error:
        # A refused PutObject leaves nothing; of anything else nobody can be sure.
        may_lie = bool(written) or way == "hide" or not isinstance(error, (AccessDenied, KmsDenied))
        if key and error.cause == "kms.denied":
            return (Row("kms", f"{key} may be used", error.reason, error, may_lie=may_lie),)
        return (Row("writable", expected, error.reason, error, may_lie=may_lie),)
    kms = (Row("kms", f"{key} may be used", "the probe was encrypted with it"),) if key else ()
    return (*kms, Row("writable", expected, done))


def _probe(endpoint: Endpoint, name: str, way: Way, run: Run, written: list[str]) -> str:
    tags = {"flow_id": run.flow_id, "test_run_id": run.run_id, "synthetic": "true"}
    if way == "hide" and isinstance(endpoint, ProvesWriting):
        remark = endpoint.prove_writing(name, tags)
        return f"{name} was begun and withdrawn, and never appeared{f'; {remark}' if remark else ''}"
    content = _CONTENT.format(run.run_id).encode()
    endpoint.put(name, io.BytesIO(content), len(content), tags)
    written.append(name)
    endpoint.delete(name)
    return f"{name} was written and removed"
