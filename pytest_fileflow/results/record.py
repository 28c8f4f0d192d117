"""The run record: one JSON-safe document a run, and the texts that are made from it."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pytest_fileflow.model import format_size

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
    return {
        "schema": SCHEMA,
        "run_id": run.run_id,
        "flow_id": run.flow_id,
        "case": run.case,
        "direction": run.direction,
        "attempt": run.attempt,
        **_verdict(run.verdict),
        "description": flow.description,
        "owner": flow.owner,
        "tags": list(flow.tags),
        "file": {"name": name, "size": run.file.size, "sha256": run.file.sha256},
        "source": {"type": flow.source.type, "location": flow.source.uri(name)},
        "target": {"type": flow.target.type, "location": flow.target.uri(name)},
        "observed": _observed(run),
        "timeline": dict(run.timeline),
        "latency_seconds": round(run.latency.seconds, 3) if run.latency else None,
        "latency_resolution_seconds": round(run.latency.resolution, 3) if run.latency else None,
        "slo_seconds": flow.validation.expect_within_seconds,
        "checks": [check.to_dict() for check in run.checks],
        # Evidence may come from anybody's endpoint or check; a record crosses processes, as plain JSON.
        "evidence": json.loads(json.dumps({**run.evidence, **run.verdict.evidence}, default=str)),
        "residue": list(run.residue),
    }


def _verdict(verdict: Verdict) -> Record:
    return {
        "outcome": verdict.outcome,
        "cause": verdict.cause,
        "reason": verdict.reason,
        "hint": verdict.hint,
    }


def _observed(run: Run) -> Record | None:
    if run.observed is None:
        return None
    return {"size": run.observed.size, "sha256": run.observed.sha256, "location": run.observed.location}


def run_seconds(record: Record) -> float:
    """Return how long the run itself took, from its first stamp to its last."""
    stamps = [datetime.fromisoformat(stamp.replace("Z", "+00:00")) for stamp in record["timeline"].values()]
    return (max(stamps) - min(stamps)).total_seconds() if stamps else 0.0


def properties(record: Record) -> list[tuple[str, str | int | float]]:
    """Return the flat facts of a record by the contract's names, for JUnit properties; absent ones are left out."""
    facts = {
        **{name: record[name] for name in ("run_id", "flow_id", "case", "direction", "attempt", "outcome", "cause")},
        "size": record["file"]["size"],
        "sha256": record["file"]["sha256"],
        "source": record["source"]["location"],
        "target": record["target"]["location"],
        **{name: record[name] for name in ("latency_seconds", "latency_resolution_seconds", "slo_seconds")},
    }
    return [(name, value) for name, value in facts.items() if value not in (None, "")]


def summary_text(record: Record, where: str = "") -> str:
    """Return the short text for an operator: expected, seen, where, cause and hint."""
    return "\n".join(_summary_lines(record, where)) + "\n"


def _summary_lines(record: Record, where: str) -> Iterator[str]:
    yield headline(record)
    size = format_size(record["file"]["size"])
    yield _line("flow", f"{record['flow_id']} [{record['case']}]  {record['direction']}  run {record['run_id']}")
    yield _line("expected", f"{size} within {record['slo_seconds']:g} s at {record['target']['location']}")
    yield _line("observed", _observed_text(record))
    yield _line("source", record["source"]["location"])
    for check in record["checks"]:
        if check["outcome"] == "failed":
            yield _line("check", f"{check['name']}: expected {check['expected']}, observed {check['observed']}")
    if record["cause"]:
        yield _line("cause", record["cause"])
        yield _line("hint", record["hint"])
    yield from _evidence_lines(record["evidence"])
    for name in record["residue"]:
        yield _line("residue", name)
    if where:
        yield _line("record", where)


def headline(record: Record) -> str:
    """Return the verdict in one line: the cause and the sentence, or how long it took."""
    if record["cause"]:
        return plain(f"{record['cause']}: {record['reason']}")
    return f"passed: arrived intact after {latency_text(record)}"


def latency_text(record: Record) -> str:
    """Return ``3.21 s (± 0.05 s)``, or a dash where nothing arrived."""
    if record["latency_seconds"] is None:
        return "-"
    return f"{record['latency_seconds']:.2f} s (± {record['latency_resolution_seconds']:.2f} s)"


def _observed_text(record: Record) -> str:
    observed = record["observed"]
    if observed is None:
        return "nothing was verified at the target"
    return f"{observed['size']} bytes after {latency_text(record)} at {observed['location']}"


def _evidence_lines(evidence: Record) -> Iterator[str]:
    for name, value in evidence.items():
        lines = [str(line) for line in value] if isinstance(value, list) else str(value).splitlines()
        for number, line in enumerate(lines or ["(empty)"]):
            yield _line("" if number else name, line)


def _line(name: str, text: str) -> str:
    return f"  {name:<10} {plain(text)}"


def plain(text: str) -> str:
    """Return a text with control characters written out: what a server or a log says must not steer a terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


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
