"""A history as one JSON document, of a shape that others may rely on."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_fileflow.clock import format_stamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pytest_fileflow.results.history.values import Day, FlowHistory, PastRun, Success

SCHEMA = 1


def document(
    flows: Sequence[FlowHistory], runs: Mapping[str, Sequence[PastRun]], notes: Sequence[str], now: datetime
) -> dict[str, Any]:
    """Return the document: times are UTC stamps, latencies seconds, rates from 0 to 1, days oldest first."""
    return {
        "schema": SCHEMA,
        "generated": format_stamp(now),
        "notes": list(notes),
        "flows": [_flow(flow) for flow in flows],
        "runs": {flow_id: [_run(run) for run in each] for flow_id, each in runs.items()},
    }


def _flow(flow: FlowHistory) -> dict[str, Any]:
    return {
        "flow_id": flow.flow_id,
        "owner": flow.owner,
        "description": flow.description,
        "direction": flow.direction,
        "state": flow.state,
        "streak": {"runs": flow.streak.runs, "since": format_stamp(flow.streak.since)},
        "latest": format_stamp(flow.latest),
        "last": _run(flow.last),
        "last_cause": flow.last_cause,
        "last_failed": format_stamp(flow.last_failed) if flow.last_failed else None,
        "success_7": _success(flow.success_7),
        "success_30": _success(flow.success_30),
        "slo_seconds": flow.slo_seconds,
        "p50_seconds": flow.p50,
        "p95_seconds": flow.p95,
        "days": [_day(day) for day in flow.days],
    }


def _success(success: Success) -> dict[str, Any]:
    return {"passed": success.passed, "counted": success.counted, "rate": success.rate}


def _day(day: Day) -> dict[str, Any]:
    return {
        "date": day.date.isoformat(),
        "passed": day.passed,
        "failed": day.failed,
        "errors": day.errors,
        "p50_seconds": day.p50,
        "p95_seconds": day.p95,
        "cause": day.cause,
    }


def _run(run: PastRun) -> dict[str, Any]:
    return {**dataclasses.asdict(run), "began": format_stamp(run.began)}
