"""Rehearses failures in the sandbox: each flow once for each fault, and whether it is caught by its cause."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_fileflow.caught import expected_cause
from pytest_fileflow.faults import FAULTS, Fault
from pytest_fileflow.model import NO_FILE, Case, Rehearsal, S3Location, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from pytest_fileflow.model import Flow, Location, Side

NOTHING = "nothing"
"""The rehearsal without a fault: the flow must pass."""

SIZE = 64 * 1024  # sixteen blocks of 4 KiB: room for every kind of damage
SLO_SECONDS = 20.0
GRACE_SECONDS = 8.0
MOST_SETTLE_SECONDS = 2.0
_ORDER = {"WRONG": 0, "caught": 1, "passed": 1, "ended": 2}
_BUCKET_LETTERS = 38  # of 63: the fault's name follows


def cases(flow: Flow, faults: Sequence[str], size_problem: Callable[[int], str | None]) -> Iterator[Case]:
    """Yield a flow's rehearsals: one without a fault, then one for each fault that is possible in it.

    ``faults`` are texts of faults; empty for all, at either end. Each rehearsal has a flow_id,
    folders and a function of its own, so that none disturbs another, and a short SLO; a fault of an
    end has a server or bucket of its own, and is met by the flow's contract first, as in life.
    """
    variant = _variant(flow, size_problem)
    yield Case(_rehearsed(flow, NOTHING, None), variant, rehearsal=Rehearsal(flow.flow_id, NOTHING, None))
    for fault in possible(flow, faults):
        rehearsed = _rehearsed(flow, fault.text.replace(":", "-"), fault)
        rehearsal = Rehearsal(flow.flow_id, fault.text, expected_cause(fault, rehearsed))
        if fault.kind.part == "endpoint":
            yield Case(rehearsed, NO_FILE, "contract", rehearsal=rehearsal)
        yield Case(rehearsed, variant, rehearsal=rehearsal)


def possible(flow: Flow, texts: Sequence[str]) -> Iterator[Fault]:
    """Yield the faults that a flow can have, each at every end where it is possible."""
    for fault in [Fault.parse(text) for text in texts or FAULTS]:
        sides: tuple[Side | None, ...] = (None,)
        if fault.kind.part == "endpoint":
            sides = (fault.side,) if fault.side else ("source", "target")
        for side in sides:
            at = dataclasses.replace(fault, side=side)
            if at.problem_in(flow) is None:
                yield at


def _variant(flow: Flow, size_problem: Callable[[int], str | None]) -> Variant:
    if size_problem(SIZE) is None:
        return Variant("", SIZE)
    return min(flow.testdata.variants, key=lambda variant: (variant.size < SIZE, variant.size))


def _rehearsed(flow: Flow, name: str, fault: Fault | None) -> Flow:
    """Return a flow under another name, with a fault, between places of its own."""
    plain = name.replace(".", "-").replace("_", "-")
    faulty = fault.side_in(flow) if fault else None
    transfer = flow.transfer
    if transfer.lambda_arn is not None:
        arn = _own_function(transfer.lambda_arn, f"{flow.flow_id}-{plain}".replace(".", "-"))
        transfer = dataclasses.replace(transfer, lambda_arn=arn)
    return dataclasses.replace(
        _shortened(flow),
        flow_id=f"{flow.flow_id}--{name}",
        source=_own_place(flow.source, plain, is_faulty=faulty == "source"),
        target=_own_place(flow.target, plain, is_faulty=faulty == "target"),
        transfer=transfer,
        negative=(),
        faults=(fault.text,) if fault else (),
    )


def _shortened(flow: Flow) -> Flow:
    rules = dataclasses.replace(
        flow.validation,
        expect_within_seconds=SLO_SECONDS,
        grace_seconds=GRACE_SECONDS,
        post_arrival_wait_seconds=min(flow.validation.post_arrival_wait_seconds, MOST_SETTLE_SECONDS),
    )
    return dataclasses.replace(
        flow, validation=rules, transfer=dataclasses.replace(flow.transfer, timeout_seconds=None)
    )


def _own_place(location: Location, name: str, *, is_faulty: bool) -> Location:
    """Return a folder of a rehearsal's own; beside a fault of the end, a server or bucket of its own too."""
    if isinstance(location, S3Location):
        bucket = f"{location.bucket[:_BUCKET_LETTERS]}-{name}" if is_faulty else location.bucket
        return dataclasses.replace(location, bucket=bucket, prefix=location.key(f"{name}/"))
    host = f"{name}.{location.host}" if is_faulty else location.host
    return dataclasses.replace(location, host=host, dir=location.path(name))


def _own_function(arn: str, name: str) -> str:
    """Return a function's ARN with a longer function name; an alias or version stays behind it."""
    head, marker, tail = arn.rpartition(":function:")
    function, colon, qualifier = tail.partition(":")
    return f"{head}{marker}{function}-{name}{colon}{qualifier}"


def was_ended(record: Mapping[str, Any]) -> bool:
    """Return whether a rehearsed run was ended before it had a verdict."""
    return bool(record["cause"] == "tester.interrupted")


def problem(record: Mapping[str, Any]) -> str:
    """Return how a rehearsed run's verdict differs from what it must be, or an empty text."""
    told = record["rehearsal"]
    if record["cause"] == told["must_be"] or was_ended(record) or record["kind"] == "contract":
        return ""  # what its contract does not see, a transfer may
    seen = f"{record['cause']}: {record['reason']}" if record["cause"] else "it passed"
    if told["must_be"] is None:
        return f"with {told['fault']} this flow must pass, but {seen}"
    return f"{told['fault']} was not caught as {told['must_be']}: {seen}"


def matrix(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a table, a line a flow and fault: what it was found to be; the wrong ones first, with what it must be."""
    rows = sorted(
        ((_word(record), record["rehearsal"], record["cause"] or "passed") for record in records),
        key=lambda row: (_ORDER[row[0]], row[1]["flow_id"], row[1]["fault"] != NOTHING, row[1]["fault"]),
    )
    cells = [
        (
            word,
            told["flow_id"],
            told["fault"],
            f"{cause}, must be {told['must_be'] or 'passed'}" if word == "WRONG" else cause,
        )
        for word, told, cause in rows
    ]
    cells.insert(0, ("", "flow", "fault", "was"))
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _word(record: Mapping[str, Any]) -> str:
    if was_ended(record):
        return "ended"
    if problem(record):
        return "WRONG"
    return "caught" if record["cause"] else "passed"


def conclusion(records: Sequence[Mapping[str, Any]], faults: Sequence[str]) -> list[str]:
    """Return how many rehearsals were as they must be, and which faults none of the flows can have."""
    words = [_word(record) for record in records]
    ended, wrong = words.count("ended"), words.count("WRONG")
    parts = [f"{len(words) - ended - wrong} of {len(words)} are as they must be"]
    parts += [f"{ended} were interrupted"] if ended else []
    had = {record["rehearsal"]["fault"].rpartition(".")[2] for record in records}
    missed = [text for text in faults if Fault.parse(text).text.rpartition(".")[2] not in had]
    return [", ".join(parts), *(f"NOT REHEARSED {text}: none of these flows can have it" for text in missed)]
