"""What is wrong with the bytes of a file that arrived: cut short, too long, or others than were sent."""

from __future__ import annotations

import itertools
import json
import logging
import re
from functools import partial
from typing import TYPE_CHECKING

from pytest_fileflow.diagnosis.budget import DIAGNOSIS_SECONDS, Budget
from pytest_fileflow.diagnosis.reading import reading
from pytest_fileflow.diagnosis.surroundings import Surroundings
from pytest_fileflow.diagnosis.words import failed, seconds
from pytest_fileflow.due import Due
from pytest_fileflow.errors import FileflowError, TesterBug
from pytest_fileflow.forensics import GROWTH, compare_only, examine
from pytest_fileflow.forensics.comparing import BLOCK_BYTES
from pytest_fileflow.forensics.evidence import Budget as Deadline
from pytest_fileflow.forensics.evidence import Source, counted
from pytest_fileflow.streams import Changed, as_due, delivered, may_be_of_another_run, open_payload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_fileflow.arrival import GaveUp, Oversize
    from pytest_fileflow.forensics import Findings
    from pytest_fileflow.forensics.comparing import Difference
    from pytest_fileflow.model import CheckResult, Flow, Run, Stat, Verdict
    from pytest_fileflow.streams import Tools

logger = logging.getLogger(__name__)

SUSPECTS_SECONDS = 2.0  # of a diagnosis, in which other runs must be known: the rest is for the comparison
SUSPECTS = 50  # other runs whose bytes are tried
TELLING_BYTES = 16  # fewer bytes are another run's by chance
MANIFEST_BYTES = 64 * 1024
IN_TIME = f"within {DIAGNOSIS_SECONDS:g} s"
RUN_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)  # what stands in somebody's manifest goes into a sentence


def of_truncated(flow: Flow, run: Run, stat: Stat, end: GaveUp, tools: Tools, *, budget: Budget) -> Verdict:
    """Return the verdict on a file that had not its full size when the wait was over."""
    due = Due.of(flow, run)
    growing = " and was still changing" if end.growing else ""
    when = f"{seconds(flow.give_up_seconds)} after the trigger"
    if due.size is None:
        reason = f"{flow.target.uri(stat.name)} had {stat.size} bytes{growing} {when}: it was never whole and at rest"
        return failed("partial.truncated", reason, {"bytes": stat.size})
    unchanged = _of_still_wrapped(flow, run, stat, tools, budget)
    if unchanged is not None:
        return unchanged
    findings = _examine(flow, run, stat, tools, budget)
    if findings is not None and _named(findings):
        return _of_named(flow, stat, findings)
    reason = f"{flow.target.uri(stat.name)} had {stat.size} of {due.size} bytes{growing} {when}; {_so_far(findings)}"
    cause = "partial.oversize" if stat.size > due.size else "partial.truncated"
    return failed(cause, reason, {"bytes": stat.size, **_evidence(findings, budget)})


def of_unwrapped(flow: Flow, run: Run, check: CheckResult) -> Verdict | None:
    """Return the verdict on a file that a flow should have wrapped and did not; None where that is not the matter."""
    due = Due.of(flow, run)
    if check.name not in due.adds or run.observed is None or run.observed.sha256 != run.file.sha256:
        return None
    layers = " and ".join(due.adds)
    reason = f"{run.observed.location} arrived as it was sent ({run.observed.size} bytes): the flow put no {layers} on"
    return failed("content.unchanged", reason, {"bytes": run.observed.size})


def _of_still_wrapped(flow: Flow, run: Run, stat: Stat, tools: Tools, budget: Budget) -> Verdict | None:
    """Return the verdict on a file that a flow should have unwrapped and did not; None where that is not the matter."""
    due = Due.of(flow, run)
    if not due.depth or stat.size != run.file.size:
        return None
    if Surroundings(run, due, tools, budget).digest(flow.target, stat) != run.file.sha256:
        return None
    layers = " and ".join(flow.validation.unwraps)
    reason = (
        f"{flow.target.uri(stat.name)} arrived as it was sent ({stat.size} bytes): the flow did not take {layers} off"
    )
    return failed("content.unchanged", reason, {"bytes": stat.size})


def _so_far(findings: Findings | None) -> str:
    if findings is None:
        return "these could not be read"
    if findings.shape is not None:
        return findings.shape.says
    if not findings.difference.prefix_right:
        return f"these differ from what was sent from byte {findings.difference.offset} on"
    if not findings.difference.is_whole:
        return _in_part(findings.difference)
    if findings.difference.actual_size > findings.difference.expected_size:
        return "what was sent is among them, and more"
    return "these are the right bytes so far"


def _in_part(difference: Difference) -> str:
    if not difference.compared:
        return f"no byte could be compared {IN_TIME}"
    return f"the first {difference.compared} bytes are right, and the rest could not be compared {IN_TIME}"


def of_oversize(flow: Flow, run: Run, end: Oversize, tools: Tools, budget: Budget) -> Verdict:
    """Return the verdict on a file that is longer than it should be and no longer grows."""
    unchanged = _of_still_wrapped(flow, run, end.stat, tools, budget)
    if unchanged is not None:
        return unchanged
    findings = _examine(flow, run, end.stat, tools, budget)
    if findings is not None and _named(findings):
        return _of_named(flow, end.stat, findings)
    due = Due.of(flow, run).size or 0
    reason = (
        f"{flow.target.uri(end.stat.name)} has {end.stat.size} bytes, {end.stat.size - due} more than the {due} "
        f"{'sent' if due == run.file.size else 'due'}{_in_excess(findings)}"
    )
    return failed("partial.oversize", reason, {"bytes": end.stat.size, **_evidence(findings, budget)})


def _in_excess(findings: Findings | None) -> str:
    if findings is None:
        return ""
    if findings.shape is not None:
        return f": {findings.shape.says}"
    if not findings.difference.prefix_right:
        return f", and other ones from byte {findings.difference.offset} on"
    if not findings.difference.is_whole:
        return f": {_in_part(findings.difference)}"
    return ": what was sent, and more"


def of_wrong_bytes(flow: Flow, run: Run, tools: Tools, budget: Budget) -> Verdict:
    """Return the verdict on a file of the right size, or one within the tolerance, whose SHA-256 is another."""
    due = Due.of(flow, run)
    stat = _stat(flow, run, tools, budget)
    uri = flow.target.uri(stat.name if stat else due.name.text)
    findings = _examine(flow, run, stat, tools, budget) if stat else None
    if stat is not None and findings is not None and _named(findings):
        return _of_named(flow, stat, findings)
    if stat is not None and stat.size != due.size:
        reason = (
            f"{uri} has {stat.size} bytes in place of {due.size}, within the "
            "tolerance, but then its SHA-256 cannot be right: a transfer that changes the file needs checksum: none"
            f"{_also(findings)}"
        )
        return failed("content.corrupt", reason, _evidence(findings, budget))
    if findings is None or findings.difference.offset is None:
        told = "" if findings is None or findings.difference.is_whole else f"; {_in_part(findings.difference)}"
        return failed(
            "content.corrupt", f"{uri} has the right size and a wrong SHA-256{told}", _evidence(findings, budget)
        )
    reason = (
        f"{uri} has the right size and wrong bytes: the first differs at offset {findings.difference.offset}"
        f"{_which_differ(findings)}"
    )
    return failed("content.corrupt", reason, _evidence(findings, budget))


def _which_differ(findings: Findings) -> str:
    difference = findings.difference
    if not difference.is_whole:
        return f"; only the first {difference.compared} bytes could be compared {IN_TIME}"
    how = findings.shape.says if findings.shape else _how_many(difference)
    blocks = -(-difference.expected_size // BLOCK_BYTES)
    return f", and {difference.blocks} of {blocks} blocks of 4 KiB differ{how and f'; {how}'}"


def _stat(flow: Flow, run: Run, tools: Tools, budget: Budget) -> Stat | None:
    try:
        return budget.ask("a second look", lambda: delivered(flow, run, tools))
    except FileflowError as error:
        logger.info("a second look at %s failed: %s", run.file.name, error.reason)
        return None


def _also(findings: Findings | None) -> str:
    if findings is None:
        return ""
    if findings.shape is not None:
        return f"; {findings.shape.says}"
    if findings.difference.offset is None and not findings.difference.is_whole:
        return f"; {_in_part(findings.difference)}"
    return f"; the first difference at offset {findings.difference.offset}"


def _how_many(difference: Difference) -> str:
    if difference.wrong_bits is None or difference.wrong_bytes is None:
        return ""
    return f"in all {counted(difference.wrong_bits, 'bit')} in {counted(difference.wrong_bytes)}"


def _named(findings: Findings) -> bool:
    """Return whether the damage has a shape that is a cause of its own, whatever the size."""
    return findings.shape is not None and findings.shape.cause is not None


def _of_named(flow: Flow, stat: Stat, findings: Findings) -> Verdict:
    shape, difference = findings.shape, findings.difference
    if shape is None or shape.cause is None:
        raise ValueError("this damage has no cause of its own")
    sizes = f"{difference.actual_size} bytes in place of {difference.expected_size}, "
    sizes = "" if difference.actual_size == difference.expected_size else sizes
    reason = f"{flow.target.uri(stat.name)} {shape.says} ({sizes}the first difference at offset {difference.offset})"
    return failed(shape.cause, reason, {"bytes": difference.actual_size, **_evidence(findings)})


def _evidence(findings: Findings | None, budget: Budget | None = None) -> dict[str, object]:
    """Return what was found out about the bytes; where nothing was, why."""
    if findings is None:
        return {"unanswered": [*budget.notes]} if budget is not None and budget.notes else {}
    difference = findings.difference
    evidence: dict[str, object] = {} if difference.offset is None else {"first_difference": difference.offset}
    if not difference.is_whole:
        ends = f"cut short after {DIAGNOSIS_SECONDS:g} s: compared up to byte {difference.compared} only"
        return {**evidence, "examination": ends}
    if difference.offset is None:
        return {}
    evidence["blocks_differing"] = difference.blocks
    if difference.actual_size == difference.expected_size and difference.wrong_bytes is not None:
        evidence |= {"bytes_differing": difference.wrong_bytes, "bits_differing": difference.wrong_bits}
    if findings.shape is not None:
        evidence |= {"damage": findings.shape.name, **findings.shape.evidence}
    if findings.cut_short:
        ends = f"after {DIAGNOSIS_SECONDS:g} s, or {GROWTH} times the size that was sent"
        evidence["examination"] = f"cut short {ends}: the damage may have a known shape"
    return evidence


def _examine(flow: Flow, run: Run, stat: Stat, tools: Tools, budget: Budget) -> Findings | None:
    """Compare what lies at the target with what is due; None where that fails, which hides no verdict."""
    due, deadline = Due.of(flow, run), Deadline(tools.clock.monotonic, budget.left())
    if due.size is None:
        return None
    meant = as_due(due, run)
    source = Source(partial(open_payload, meant, tools), due.size, deadline)
    try:
        with reading(flow.target, stat, tools, budget) as chunks:
            # A transfer that may change the bytes is not told how: the size alone is judged.
            if flow.validation.checksum == "none":
                return compare_only(chunks, stat.size, source)
            suspects = {
                run_id: Source(partial(open_payload, meant, tools, run_id, stat.size), stat.size, deadline)
                for run_id in _suspects(flow, meant, stat, tools, budget)
            }
            return examine(chunks, stat.size, source, suspects)
    except Changed:
        budget.notes.append("how the bytes differ could not be told: the file changed while it was read")
    except FileflowError as error:
        budget.note("how the bytes differ", error)
    except Exception as error:  # noqa: BLE001 - somebody's pattern, or a bug: it must not take the verdict's place
        # Its text may hold anything: only its type is shown.
        logger.error("comparing %s: unexpected %s", run.file.name, type(error).__name__)  # noqa: TRY400
        budget.note("how the bytes differ", TesterBug(f"an unexpected {type(error).__name__} of the tester's own"))
    return None


def _suspects(flow: Flow, run: Run, stat: Stat, tools: Tools, budget: Budget) -> dict[str, None]:
    """Return the ids of the runs whose bytes may have arrived instead, the likeliest first."""
    if stat.size == 0 or not may_be_of_another_run(run, stat.size, tools):
        return {}
    aside = Budget(tools, min(SUSPECTS_SECONDS, budget.left()))
    delivered = aside.begin("the run in the manifest", lambda: _delivered_run_id(flow, run, tools, aside))
    others = None
    if stat.size >= TELLING_BYTES:
        others = aside.begin("the other runs", lambda: list(itertools.islice(tools.other_runs(run), SUSPECTS)))
    found = dict.fromkeys([delivered.answer_or(None), *(others.answer_or([]) if others else [])])
    for note in aside.notes:
        logger.info("comparing %s: %s", run.file.name, note)
    return {run_id: None for run_id in found if run_id not in (None, run.run_id)}


def _delivered_run_id(flow: Flow, run: Run, tools: Tools, budget: Budget) -> str | None:
    """Return the run id in the manifest that lies beside the file, if one does."""
    name = run.file.sidecars[1]
    try:
        with tools.endpoint(flow.target).open(name) as chunks:
            content = b"" if chunks is None else _first(chunks, MANIFEST_BYTES, budget)
        run_id = json.loads(content)["test_run_id"]
    except (FileflowError, ValueError, LookupError, TypeError) as error:
        logger.info("the manifest beside %s tells no run: %s", run.file.name, type(error).__name__)
        return None
    return run_id if isinstance(run_id, str) and RUN_ID.fullmatch(run_id) else None


def _first(chunks: Iterator[bytes], length: int, budget: Budget) -> bytes:
    taken = b""
    for chunk in chunks:
        taken += chunk[:length]
        if len(taken) >= length or not budget.left():
            break
    return taken
