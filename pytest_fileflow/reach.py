"""What a case may touch, known before it begins: its flow's ends, function and seed, and where it tries to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow import negative, seeds

if TYPE_CHECKING:
    from pytest_fileflow.allow import AllowList
    from pytest_fileflow.errors import NotAllowed
    from pytest_fileflow.model import Case, Location


def reach_of(case: Case) -> tuple[Location | str, ...]:
    """Return the locations that a case names, and its function; each once."""
    flow = case.flow
    function = (flow.transfer.lambda_arn,) if flow.transfer.lambda_arn else ()
    seed = seeds.place_of(flow.testdata.options) if case.kind == "transfer" else None
    named = (flow.source, flow.target, *((seed,) if seed is not None else ()), *negative.places_of(case), *function)
    return tuple(dict.fromkeys(named))


def refusal(case: Case, allow: AllowList) -> NotAllowed | None:
    """Return the error of a case that names what is not allowed, or None."""
    return allow.refusal(case.flow.flow_id, reach_of(case)) if allow.lists else None
