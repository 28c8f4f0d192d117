"""Turns the records of a session into CloudWatch's data: each case of a flow once, by its last attempt."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pytest_fileflow.results.attempts import final_attempts, was_interrupted
from pytest_fileflow.results.cloudwatch import (
    CANARY_FAILURES,
    CANARY_SUCCESS,
    LATENCY,
    PHASE,
    RUN_SUCCESS,
    SLO,
    SLO_USED,
    SUITE_ERRORS,
    SUITE_FAILURES,
    SUITE_RUNS,
)
from pytest_fileflow.results.phases import phases
from pytest_fileflow.results.record import sends_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_fileflow.results.record import Record

Datum = dict[str, Any]  # a MetricDatum of PutMetricData


def metric_data(records: Iterable[Record], now: datetime, broken: int = 0) -> list[Datum]:
    """Return what a session publishes.

    ``broken`` is how many flows could not be run since their configs are wrong: they count as failures.
    A run has the time at which it ended, the session that of its last run; ``now`` is for those without
    a stamp, and none is later.
    """
    final = final_attempts(records)
    return [*(datum for record in final for datum in run_data(record, now)), *suite_data(final, now, broken)]


def run_data(record: Record, now: datetime) -> list[Datum]:
    """Return what is published of one run."""
    return list(_of_run(record, min(_ended(record) or now, now)))


def suite_data(records: Iterable[Record], now: datetime, broken: int = 0, unrecorded: int = 0) -> list[Datum]:
    """Return what is published of a session as a whole; a run that has no record counts as an error."""
    final = final_attempts(records)
    ended = max((min(_ended(record) or now, now) for record in final), default=now)
    return list(_of_session(final, broken, unrecorded, ended))


def is_canary(record: Record) -> bool:
    """Return whether a run was a canary's, which may come hourly and must not speak for a daily transfer."""
    return bool(record.get("kind") == "canary")


def _of_run(record: Record, ended: datetime) -> Iterator[Datum]:
    if was_interrupted(record):
        return
    flow = {"FlowId": record["flow_id"]}
    passed = int(record["outcome"] == "passed")
    yield _datum(CANARY_SUCCESS if is_canary(record) else RUN_SUCCESS, flow, passed, "Count", ended)
    if not sends_file(record):
        return
    latency, slo = record["latency_seconds"], record["slo_seconds"]
    yield _datum(SLO, flow, slo, "Seconds", ended)
    if latency is not None:
        yield _datum(LATENCY, flow, latency, "Seconds", ended)
        yield _datum(SLO_USED, flow, round(100 * latency / slo, 3), "Percent", ended)
    for phase in phases(record["timeline"]):
        if phase.is_complete:  # how long a wait was that was given up, only its limit says
            yield _datum(PHASE, {**flow, "Phase": phase.name}, round(phase.seconds, 3), "Seconds", ended)


def _of_session(records: Sequence[Record], broken: int, unrecorded: int, ended: datetime) -> Iterator[Datum]:
    canaries = [record for record in records if is_canary(record)]
    others = [record for record in records if not is_canary(record)]
    if others or broken or unrecorded:
        runs = sum(sends_file(record) and not was_interrupted(record) for record in others)
        failures = sum(record["outcome"] == "failed" for record in others) + broken
        errors = sum(record["outcome"] == "error" for record in others) + unrecorded
        for name, number in ((SUITE_RUNS, runs), (SUITE_FAILURES, failures), (SUITE_ERRORS, errors)):
            yield _datum(name, {}, number, "Count", ended)
    if canaries:
        bad = sum(record["outcome"] != "passed" for record in canaries)
        yield _datum(CANARY_FAILURES, {}, bad, "Count", ended)


def _ended(record: Record) -> datetime | None:
    stamp = max(record["timeline"].values(), default=None)
    return None if stamp is None else datetime.fromisoformat(stamp.replace("Z", "+00:00")).astimezone(timezone.utc)


def _datum(name: str, dimensions: dict[str, str], value: float, unit: str, ended: datetime) -> Datum:
    named = [{"Name": dimension, "Value": text} for dimension, text in dimensions.items()]
    return {"MetricName": name, "Dimensions": named, "Timestamp": ended, "Value": float(value), "Unit": unit}
