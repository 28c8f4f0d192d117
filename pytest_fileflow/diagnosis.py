"""From symptoms to a cause: what the evidence at both ends says about a run that did not pass."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pytest_fileflow import checks
from pytest_fileflow.errors import FileflowError, hint_for
from pytest_fileflow.model import Verdict
from pytest_fileflow.streams import Changed, open_payload, read

if TYPE_CHECKING:
    from pytest_fileflow.arrival import GaveUp, Oversize
    from pytest_fileflow.checks import Difference
    from pytest_fileflow.model import CheckResult, Flow, Run, Stat
    from pytest_fileflow.streams import Tools

logger = logging.getLogger(__name__)

NEARBY_NAMES = 10  # names from the target's listing that are kept as evidence


def of_check(flow: Flow, run: Run, failed: CheckResult, tools: Tools) -> Verdict:
    """Return the verdict of a file that arrived and failed a check."""
    if failed.name == "sha256":
        return _corrupt(flow, run, tools)
    if failed.name == "latency":
        return _late(flow, run)
    return _verdict(f"check.{failed.name}", f"check {failed.name}: expected {failed.expected}, got {failed.observed}")


def of_gave_up(flow: Flow, run: Run, end: GaveUp, tools: Tools) -> Verdict:
    """Return the verdict of a run whose file did not arrive whole before SLO and grace were over."""
    if end.stat is not None and abs(end.stat.size - run.file.size) <= flow.validation.size_tolerance_bytes:
        reason = f"{flow.target.uri(end.stat.name)} has its full size but is rewritten again and again: never at rest"
        return _verdict("content.corrupt", reason, _nearby(flow, tools))
    if end.stat is not None:
        return _truncated(flow, run, end, tools)
    waited = f"within {_seconds(flow.give_up_seconds)} of the trigger (SLO {_seconds(_slo(flow))})"
    if end.seen_full:
        reason = f"{run.file.name} appeared at {flow.target.uri()} and was gone again before it could be verified"
        return _verdict("missing.lost", reason, _nearby(flow, tools))
    where = f"{run.file.name} did not arrive at {flow.target.uri()} {waited}"
    return _missing(flow, run, where, tools)


def of_oversize(flow: Flow, run: Run, end: Oversize) -> Verdict:
    """Return the verdict of a file that is longer than it should be and no longer grows."""
    extra = end.stat.size - run.file.size
    reason = f"{flow.target.uri(run.file.name)} has {end.stat.size} bytes, {extra} more than the {run.file.size} sent"
    return _verdict("partial.oversize", reason)


def _missing(flow: Flow, run: Run, where: str, tools: Tools) -> Verdict:
    evidence = _nearby(flow, tools)
    try:
        source = tools.endpoint(flow.source).stat(run.file.name)
    except FileflowError as error:
        # Whether it was picked up cannot be told; that the source cannot be read is what is known.
        reason = f"{where}, and what became of it at the source cannot be told: {error.reason}"
        return Verdict("failed", error.cause, reason, error.hint, evidence)
    if source is None:
        return _verdict("missing.lost", f"{where}, and is gone from {flow.source.uri()}", evidence)
    return _verdict("missing.not_picked_up", f"{where}, and still lies at {flow.source.uri()}", evidence)


def _nearby(flow: Flow, tools: Tools) -> dict[str, object]:
    try:
        listed = tools.endpoint(flow.target).list(limit=NEARBY_NAMES)
    except FileflowError as error:
        return {"listing": [f"could not be listed: {error.reason}"]}
    return {"listing": [f"{stat.name} ({stat.size} bytes)" for stat in listed]}


def _truncated(flow: Flow, run: Run, end: GaveUp, tools: Tools) -> Verdict:
    stat = end.stat
    if stat is None:  # pragma: no cover - the caller asked
        raise ValueError("nothing lies at the target")
    growing = " and was still changing" if end.growing else ""
    difference = _compare(flow, run, stat, tools)
    if difference is None:
        so_far = "these could not be read"
    elif difference.prefix_right:
        so_far = "these are the right bytes so far"
    else:
        so_far = f"these differ from what was sent from byte {difference.offset} on"
    reason = (
        f"{flow.target.uri(stat.name)} had {stat.size} of {run.file.size} bytes{growing} "
        f"{_seconds(flow.give_up_seconds)} after the trigger; {so_far}"
    )
    return _verdict("partial.truncated", reason, {"bytes": stat.size})


def _corrupt(flow: Flow, run: Run, tools: Tools) -> Verdict:
    stat = tools.endpoint(flow.target).stat(run.file.name)
    if stat is not None and stat.size != run.file.size:
        reason = (
            f"{flow.target.uri(run.file.name)} has {stat.size} bytes in place of {run.file.size}, within the "
            "tolerance, but then its SHA-256 cannot be right: a transfer that changes the file needs checksum: none"
        )
        return _verdict("content.corrupt", reason)
    difference = _compare(flow, run, stat, tools) if stat else None
    if difference is None or difference.offset is None:
        reason = f"{flow.target.uri(run.file.name)} has the right size and a wrong SHA-256"
        return _verdict("content.corrupt", reason)
    blocks = -(-run.file.size // checks.BLOCK_BYTES)
    reason = (
        f"{flow.target.uri(run.file.name)} has the right size and wrong bytes: the first differs at offset "
        f"{difference.offset}, and {difference.blocks} of {blocks} blocks of 4 KiB differ"
    )
    evidence: dict[str, object] = {
        "first_difference": difference.offset,
        "blocks_differing": difference.blocks,
    }
    return _verdict("content.corrupt", reason, evidence)


def _compare(flow: Flow, run: Run, stat: Stat, tools: Tools) -> Difference | None:
    try:
        with open_payload(run, tools) as expected:
            return checks.compare(read(tools.endpoint(flow.target), stat, tools), expected)
    except (FileflowError, Changed) as error:
        logger.info("comparing %s failed: %s", run.file.name, error)
        return None


def _late(flow: Flow, run: Run) -> Verdict:
    if run.latency is None:
        raise ValueError("a run without latency is not late")
    over = run.latency.seconds - _slo(flow)
    reason = (
        f"arrived intact {_seconds(run.latency.seconds)} after the trigger, {_seconds(over)} over the "
        f"SLO of {_seconds(_slo(flow))} (known to {_seconds(run.latency.resolution)})"
    )
    return _verdict("late", reason)


def _slo(flow: Flow) -> float:
    return flow.validation.expect_within_seconds


def _seconds(value: float) -> str:
    return f"{value:.2f} s".replace(".00 s", " s")


def _verdict(cause: str, reason: str, evidence: dict[str, object] | None = None) -> Verdict:
    return Verdict("failed", cause, reason, hint_for(cause), evidence or {})
