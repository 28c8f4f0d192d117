"""What a function's log says about an invocation: that its last try failed, timed out, or neither.

Lambda's own lines, as text and as JSON, and the line in which its runtimes report an unhandled error
(docs.aws.amazon.com/lambda: "Working with Lambda function logs", "Telemetry API event schema").
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pytest_fileflow.diagnosis.words import seconds
from pytest_fileflow.errors import FileflowError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_fileflow.diagnosis.budget import Asked, Budget
    from pytest_fileflow.logs import FunctionLog
    from pytest_fileflow.model import Flow, Run
    from pytest_fileflow.streams import Tools

MESSAGE_CHARACTERS = 300
LOG_TAIL_BYTES = 4096  # as much as Lambda itself returns of a synchronous invocation's

_START = re.compile(r"^START RequestId: (?P<id>\S+)")
_END = re.compile(r"^(END|REPORT) RequestId: (?P<id>\S+)")
_STATUS = re.compile(r"^REPORT RequestId: .*\bStatus: (?P<status>\w+)(?:\s+Error Type: (?P<type>[\w.]+))?")
_TIMED_OUT = re.compile(r"\bTask timed out after (?P<seconds>[\d.]+) seconds")
_EXITED = re.compile(r"^RequestId: \S+ Error: (?P<error>.+)")
_PYTHON = re.compile(r"^\[ERROR\] (?P<error>[A-Za-z_][\w.]*(: .*)?)$")
_PYTHON_TRACE = "Traceback (most recent call last)"
_NODE = re.compile(
    r"^\S+\t\S+\tERROR\t(Invoke Error|Uncaught Exception|Unhandled Promise Rejection)\s*\t(?P<json>\{.*)"
)
_FAILED = frozenset(("error", "failure"))


@dataclass(frozen=True)
class Words:
    """What a log says: the cause and the sentence where the last try failed, and what is kept as evidence."""

    cause: str | None = None
    sentence: str = ""
    evidence: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class _Try:
    """One try of an invocation, as far as its lines tell."""

    lines: tuple[str, ...] = ()
    ended: bool = False
    timed_out: str | None = None
    failed: bool = False
    error: str | None = None

    def told(self, error: str | None, *, failed: bool = True) -> _Try:
        """Take in that it failed; the first text that says how is kept."""
        return replace(self, failed=self.failed or failed, error=self.error or error)


def begin(flow: Flow, run: Run, tools: Tools, budget: Budget) -> Asked[Words] | None:
    """Ask for the log of a function that ran by itself; the answer of a synchronous one holds its log."""
    transfer, find = flow.transfer, tools.function_log
    if find is None or transfer.lambda_arn is None:
        return None
    is_invoked = transfer.mode == "invoke"
    if is_invoked and transfer.invocation == "RequestResponse":
        return None
    request_id = run.evidence.get("lambda_request_id")
    known = request_id if isinstance(request_id, str) else None
    stamp = run.timeline.get("triggered" if is_invoked else "prepared", "")
    since = datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp() if stamp else 0.0
    return budget.begin("the function's log", lambda: words(find(transfer, known, run.run_id, since), known))


def answered(asked: Asked[Words] | None) -> Words | None:
    """Return what the log says, or why it could not be read; None where nobody was asked."""
    if asked is None:
        return None
    try:
        return asked.answer()
    except FileflowError as error:
        return Words(evidence={"log": f"could not be read: {error.reason}"})


def words(log: FunctionLog | None, request_id: str | None) -> Words:
    """Return what a log says about an invocation; its last try counts, since Lambda repeats what fails."""
    if log is None or not log.lines:
        return Words(evidence={"log": "holds nothing of this run"})
    tries = [_read(each) for each in _split(log.lines, request_id)]
    last = tries[-1]
    evidence: dict[str, object] = {"log_tail": tail([line for each in tries for line in each.lines])}
    if request_id:
        evidence["lambda_request_id"] = request_id
    times = f" {len(tries)} times, at last" if len(tries) > 1 else ""
    if last.timed_out is not None:
        return Words("trigger.timeout", f"ran into its own time limit{times}{last.timed_out}", evidence)
    if last.failed:
        return Words("trigger.function_error", f"failed{times} with {last.error or 'an unnamed error'}", evidence)
    if not last.ended:
        evidence["log"] = "does not show an end of the function's last try"
    return Words(evidence=evidence)


def tail(lines: Sequence[str]) -> str:
    """Return the last 4 KiB of a log, from the start of a line where there is one.

    >>> tail(["a" * 4090, "b" * 10])
    'bbbbbbbbbb'
    """
    whole = "\n".join(lines).encode()
    cut = whole[-LOG_TAIL_BYTES:]
    if len(whole) > len(cut) and b"\n" in cut:
        cut = cut.partition(b"\n")[2]
    return cut.decode("utf-8", "ignore")


def _split(lines: Sequence[str], request_id: str | None) -> Iterator[list[str]]:
    """Yield the lines of each try, those of other invocations left out; all of them where none has a beginning."""
    tries: list[list[str]] = []
    is_own = False
    for line in lines:
        started = _started(line)
        if started is not None:
            is_own = request_id is None or started == request_id
            if is_own:
                tries.append([])
        if is_own and tries:
            tries[-1].append(line)
    yield from tries or [list(lines)]


def _started(line: str) -> str | None:
    text = _START.match(line)
    if text is not None:
        return text["id"]
    event = _event(line)
    return str(event["record"].get("requestId")) if event.get("type") == "platform.start" else None


def _read(lines: Sequence[str]) -> _Try:
    told = _Try(tuple(lines))
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        told = _json(told, _event(line)) if line.startswith("{") else _text(told, line, following)
    return told


def _text(told: _Try, line: str, following: str) -> _Try:
    limit = _TIMED_OUT.search(line)
    if limit is not None:
        return replace(told, timed_out=f" after {seconds(float(limit['seconds'].rstrip('.')))}")
    if _END.match(line):
        return _report(replace(told, ended=True), line)
    exited = _EXITED.match(line)
    if exited is not None:
        return told.told(_cut(exited["error"]))
    error = _PYTHON.match(line)
    if error is not None and (_PYTHON_TRACE in following or not following or _END.match(following)):
        return told.told(_cut(error["error"]))
    node = _NODE.match(line)
    return told if node is None else told.told(_described(_parsed(node["json"])) or "an error it did not describe")


def _report(told: _Try, line: str) -> _Try:
    report = _STATUS.match(line)
    if report is None:
        return told
    status = report["status"].lower()
    if status == "timeout":
        return replace(told, timed_out=told.timed_out or "")
    return told.told(report["type"]) if status in _FAILED else told


def _json(told: _Try, event: dict[str, Any]) -> _Try:
    kind, record = event.get("type"), event.get("record")
    if kind in ("platform.report", "platform.runtimeDone") and isinstance(record, dict):
        status = record.get("status")
        told = replace(told, ended=True)
        if status == "timeout":
            duration = record.get("metrics", {}).get("durationMs")
            after = f" after {seconds(duration / 1000)}" if isinstance(duration, (int, float)) else ""
            return replace(told, timed_out=told.timed_out or after)
        if status == "success":
            return replace(told, failed=False)
        return told.told(record.get("errorType")) if status in _FAILED else told
    # An error that was only logged names its logger; one that nobody handled does not.
    if event.get("logger") is not None:
        return told
    described = _described(event) or _described(event.get("message"))
    return told if described is None else told.told(described)


def _described(report: object) -> str | None:
    """Return ``errorType: errorMessage`` of a runtime's report of an error."""
    if not isinstance(report, dict) or "errorType" not in report:
        return None
    parts = (report.get("errorType"), report.get("errorMessage"))
    return _cut(": ".join(str(part) for part in parts if part))


def _event(line: str) -> dict[str, Any]:
    parsed = _parsed(line) if line.startswith("{") else None
    if not isinstance(parsed, dict):
        return {}
    return (
        parsed
        if isinstance(parsed.get("record", {}), dict) or not str(parsed.get("type")).startswith("platform.")
        else {}
    )


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_CHARACTERS else f"{line[:MESSAGE_CHARACTERS]}…"
