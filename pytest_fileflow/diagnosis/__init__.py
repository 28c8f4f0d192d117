"""From symptoms to a cause: what the evidence at both ends says about a run that did not pass."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_fileflow.diagnosis import content, function_log, whereabouts
from pytest_fileflow.diagnosis.budget import Budget
from pytest_fileflow.diagnosis.words import failed, seconds
from pytest_fileflow.due import Due, name_due

if TYPE_CHECKING:
    from pytest_fileflow.arrival import GaveUp, Oversize
    from pytest_fileflow.diagnosis.budget import Asked
    from pytest_fileflow.diagnosis.function_log import Words
    from pytest_fileflow.model import CheckResult, Flow, Run, Verdict
    from pytest_fileflow.streams import Tools


def of_check(flow: Flow, run: Run, check: CheckResult, tools: Tools) -> Verdict:
    """Return the verdict of a file that arrived and failed a check."""
    if check.name == "sha256":
        return content.of_wrong_bytes(flow, run, tools, Budget(tools))
    if check.name == "latency":
        budget = Budget(tools)
        return _with_log(_late(flow, run), function_log.begin(flow, run, tools, budget))
    if check.name == "copies":
        where = run.observed.location if run.observed else flow.target.uri(name_due(flow, run).text)
        return failed("duplicate", f"{where} arrived intact, but was delivered more than once: {check.observed}")
    unchanged = content.of_unwrapped(flow, run, check)
    if unchanged is not None:
        return unchanged
    return failed(f"check.{check.name}", f"check {check.name}: expected {check.expected}, got {check.observed}")


def of_gave_up(flow: Flow, run: Run, end: GaveUp, tools: Tools) -> Verdict:
    """Return the verdict of a run whose file did not arrive whole before SLO and grace were over."""
    budget = Budget(tools)
    log = function_log.begin(flow, run, tools, budget)
    due = Due.of(flow, run)
    is_whole = end.stat is not None and due.size is not None and due.is_whole(end.stat.size, _tolerance(flow))
    if end.stat is not None and is_whole:
        return _with_log(whereabouts.of_restless(flow, run, end.stat, tools, budget), log)
    if end.stat is not None:
        return _with_log(content.of_truncated(flow, run, end.stat, end, tools, budget=budget), log)
    if end.seen_full:
        return whereabouts.of_vanished(flow, run, tools, log, budget)
    return whereabouts.of_missing(flow, run, tools, log, budget)


def of_oversize(flow: Flow, run: Run, end: Oversize, tools: Tools) -> Verdict:
    """Return the verdict of a file that is longer than it should be and no longer grows."""
    return content.of_oversize(flow, run, end, tools, Budget(tools))


def _tolerance(flow: Flow) -> int:
    return flow.validation.size_tolerance_bytes


def _late(flow: Flow, run: Run) -> Verdict:
    if run.latency is None:
        raise ValueError("a run without latency is not late")
    slo = flow.validation.expect_within_seconds
    reason = (
        f"arrived intact {seconds(run.latency.seconds)} after the trigger, {seconds(run.latency.seconds - slo)} over "
        f"the SLO of {seconds(slo)} (known to {seconds(run.latency.resolution)})"
    )
    return failed("late", reason)


def _with_log(verdict: Verdict, asked: Asked[Words] | None) -> Verdict:
    """Add what the function's log says to a verdict on what was seen: it may explain it, and changes no cause."""
    said = function_log.answered(asked)
    if said is None:
        return verdict
    evidence = {**verdict.evidence, **said.evidence}
    if said.cause is None or verdict.cause == "late":
        return dataclasses.replace(verdict, evidence=evidence)
    return dataclasses.replace(verdict, reason=f"{verdict.reason}; its function {said.sentence}", evidence=evidence)
