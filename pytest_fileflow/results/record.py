"""The run record: one JSON-safe document a run, and the texts that are made from it."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from pytest_fileflow.due import Due, name_due
from pytest_fileflow.model import format_size
from pytest_fileflow.results.phases import duration, phases, phases_seconds, total_seconds
from pytest_fileflow.results.words import bounded, encodable, evidence_lines, plain, plain_json, sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_fileflow.model import Case, Run, Verdict

SCHEMA = 1

Record = dict[str, Any]  # the JSON document of the contract, section 4; crosses processes as it is


def make_record(case: Case, run: Run) -> Record:
    """Return a finished run's record.

    Raises ValueError for a run without a verdict: a run that was not judged has no record.
    """
    if run.verdict is None:
        raise ValueError(f"run {run.run_id} has no verdict yet")
    flow, name = case.flow, run.file.name
    record = {
        "schema": SCHEMA,
        "run_id": run.run_id,
        "flow_id": run.flow_id,
        "case": run.case,
        "kind": case.kind,
        "direction": run.direction,
        "attempt": run.attempt,
        **_verdict(run.verdict),
        "description": flow.description,
        "owner": flow.owner,
        "tags": list(flow.tags),
        "file": {"name": name, "size": run.file.size, "sha256": run.file.sha256},
        "source": {"type": flow.source.type, "location": flow.source.uri(name)},
        "target": {"type": flow.target.type, "location": flow.target.uri(name_due(flow, run).text)},
        **_due(case, run),
        "observed": _observed(run),
        "timeline": dict(run.timeline),
        "phases_seconds": phases_seconds(run.timeline),
        "latency_seconds": round(run.latency.seconds, 3) if run.latency else None,
        "latency_resolution_seconds": round(run.latency.resolution, 3) if run.latency else None,
        "slo_seconds": flow.validation.expect_within_seconds,
        "checks": [{name: sentence(text) for name, text in check.to_dict().items()} for check in run.checks],
        # Evidence may come from anybody's endpoint or check; a record crosses processes, as plain JSON.
        "evidence": bounded(plain_json({**run.evidence, **run.verdict.evidence})),
        "residue": list(run.residue),
        **_rehearsal(case),
    }
    return {field: encodable(value) for field, value in record.items()}


def _due(case: Case, run: Run) -> Record:
    """Return, for a flow that does more than copy alone, what should arrive; what cannot be known is None."""
    if case.kind != "transfer" or not run.file.name:
        return {}
    due = Due.of(case.flow, run)
    if (due.name.exact, due.size, due.sha256) == (run.file.name, run.file.size, run.file.sha256):
        return {}
    return {"due": {"name": due.name.text, "size": due.size, "sha256": due.sha256, "wrapped_in": list(due.adds)}}


def _rehearsal(case: Case) -> Record:
    """Return, for a rehearsal alone, which flow and fault it is of, and the cause that it must have."""
    told = case.rehearsal
    return {"rehearsal": {"flow_id": told.flow_id, "fault": told.fault, "must_be": told.cause}} if told else {}


def _verdict(verdict: Verdict) -> Record:
    return {
        "outcome": verdict.outcome,
        "cause": verdict.cause,
        # Both may quote a server: as they are kept here, they are shown everywhere.
        "reason": None if verdict.reason is None else sentence(verdict.reason),
        "hint": None if verdict.hint is None else sentence(verdict.hint),
    }


def _observed(run: Run) -> Record | None:
    if run.observed is None:
        return None
    return {"size": run.observed.size, "sha256": run.observed.sha256, "location": run.observed.location}


def run_seconds(record: Record) -> float:
    """Return how long the run itself took, from its first stamp to its last."""
    return total_seconds(record["timeline"])


def sends_file(record: Record) -> bool:
    """Return whether this is the run of a transfer: contract, canary and negative cases only look, or try."""
    return bool(record.get("kind", "transfer") == "transfer")


PROPERTIES = (
    *("run_id", "flow_id", "case", "direction", "attempt", "outcome", "cause", "reason", "hint"),
    *("size", "sha256", "source", "target"),
    *("latency_seconds", "latency_resolution_seconds", "slo_seconds"),
)


def properties(record: Record) -> list[tuple[str, str | int | float]]:
    """Return the flat facts of a record by the contract's names, for JUnit properties; absent ones are left out."""
    facts = {
        **record,
        "size": record["file"]["size"] if sends_file(record) else None,
        "sha256": record["file"]["sha256"],
        "source": record["source"]["location"],
        "target": record["target"]["location"],
        "slo_seconds": record["slo_seconds"] if sends_file(record) else None,
    }
    return [(name, facts[name]) for name in PROPERTIES if facts[name] not in (None, "")]


def summary_text(record: Record, where: str = "") -> str:
    """Return the short text for an operator: expected, seen, where, cause and hint."""
    return "\n".join(_summary_lines(record, where)) + "\n"


def _summary_lines(record: Record, where: str) -> Iterator[str]:
    yield headline(record)
    yield from _what_was_run(record)
    for check in record["checks"]:
        if check["outcome"] == "failed":
            yield _line("check", f"{check['name']}: expected {check['expected']}, observed {check['observed']}")
    if record["cause"]:
        yield _line("cause", record["cause"])
        yield _line("hint", record["hint"])
    if took := phases(record["timeline"]):
        yield _line("phases", ", ".join(f"{phase.title} {duration(phase.seconds)}" for phase in took))
    for name, lines in evidence_lines(record["evidence"]):
        for number, line in enumerate(lines):
            yield _line("" if number else name, line)
    for name in record["residue"]:
        yield _line("residue", name)
    if where:
        yield _line("record", where)


def _what_was_run(record: Record) -> Iterator[str]:
    yield _line("flow", f"{record['flow_id']} [{record['case']}]  {record['direction']}  run {record['run_id']}")
    if where := circumstances(record):
        yield _line("where", where)
    yield _line("expected", expected_text(record))
    yield _line("observed", observed_text(record))
    yield _line("source", record["source"]["location"])
    if not sends_file(record):
        yield _line("target", record["target"]["location"])


def circumstances(record: Record) -> str:
    """Return that a run was no run of the real system, with the faults that were switched on; else an empty text."""
    if not record.get("sandbox"):
        return ""
    faults = ", ".join(record.get("faults", ()))
    told = record.get("rehearsal")
    must_be = f"; it must be {told['must_be'] or 'passed'}" if told else ""
    return f"in the sandbox{f', with {faults} switched on' if faults else ''}{must_be}"


def headline(record: Record) -> str:
    """Return the verdict in one line: the cause and the sentence, or what was well."""
    if record["cause"]:
        return plain(f"{record['cause']}: {record['reason']}")
    if sends_file(record):
        return f"passed: arrived intact after {latency_text(record)}"
    return f"passed: {_KEPT[record['kind']]} ({_checks_passed(record)})"


_KEPT = {"contract": "the contract is kept", "canary": "both ends answer", "rejects": "it was refused as it must be"}


def _checks_passed(record: Record) -> str:
    passed = sum(check["outcome"] == "passed" for check in record["checks"])
    return f"{passed} of {len(record['checks'])} check{'' if len(record['checks']) == 1 else 's'} passed"


def expected_text(record: Record) -> str:
    """Return what should have come to pass."""
    if sends_file(record):
        return f"{_due_text(record)} within {record['slo_seconds']:g} s at {record['target']['location']}"
    if record["kind"] == "rejects":
        return f"{record['case'].removeprefix('rejects-')} is refused"
    return "both ends answer" if record["kind"] == "canary" else "all that the flow needs is there and may be used"


def _due_text(record: Record) -> str:
    due, sent = record.get("due"), format_size(record["file"]["size"])
    if due is None:
        return sent
    return " in ".join([sent, *reversed(due["wrapped_in"])]) if due["size"] is None else format_size(due["size"])


def observed_text(record: Record) -> str:
    """Return what was seen in its place."""
    observed = record["observed"]
    if observed is not None:
        return f"{observed['size']} bytes after {latency_text(record)} at {observed['location']}"
    if not sends_file(record):
        return _checks_passed(record)
    was_part = (record["cause"] or "").startswith("partial.")
    return "not verified, since it was never whole" if was_part else "nothing was verified at the target"


def latency_text(record: Record) -> str:
    """Return ``3.21 s (± 0.05 s)``, or a dash where nothing arrived."""
    if record["latency_seconds"] is None:
        return "-"
    return f"{record['latency_seconds']:.2f} s (± {record['latency_resolution_seconds']:.2f} s)"


def _line(name: str, text: str) -> str:
    return f"  {name:<10} {plain(text)}"


def metrics_csv(record: Record) -> str:
    """Return one header line and one row of numbers; times are seconds, sizes bytes."""
    row = {
        "recorded": max(record["timeline"].values(), default=""),
        "flow_id": record["flow_id"],
        "case": record["case"],
        "run_id": record["run_id"],
        "direction": record["direction"],
        "outcome": record["outcome"],
        "cause": record["cause"] or "",
        "run_success": int(record["outcome"] == "passed"),
        "size_bytes": record["file"]["size"],
        "latency_seconds": record["latency_seconds"],
        "latency_resolution_seconds": record["latency_resolution_seconds"],
        "slo_seconds": record["slo_seconds"],
    }
    text = io.StringIO()
    writer = csv.DictWriter(text, list(row), lineterminator="\n")
    writer.writeheader()
    writer.writerow(row)
    return text.getvalue()
