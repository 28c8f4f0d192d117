"""Makes the list of cases that an execution runs."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import TYPE_CHECKING

from pytest_fileflow.aws import history, logs, settling
from pytest_fileflow.aws.executions import papers_of
from pytest_fileflow.aws.host import careful, host
from pytest_fileflow.aws.listing import Request, Source
from pytest_fileflow.aws.state import Execution, State, handed_on
from pytest_fileflow.cases import cases_of
from pytest_fileflow.judging import as_ours
from pytest_fileflow.portable import dump

if TYPE_CHECKING:
    from pytest_fileflow.aws.host import Context, Event, Host
    from pytest_fileflow.aws.settling import Unsettled


@careful
def handler(event: Event, context: Context) -> Event:  # noqa: ARG001 - Lambda's own shape
    """Return the cases, or where their list lies in S3, with what is told to each of their steps.

    ``event`` is ``{"request": {…}, "execution": {…}}``: the input of the execution, and its names.
    Raises ConfigInvalid for a request that cannot be met, and what reading the store raises.
    """
    here = host()
    execution = Execution.parse(event["execution"])
    with logs.about("list_flows", execution.name):
        source = Source(
            *(here.config_store, here.clients, here.registry, here.copies),
            here.settings.environment,
            here.sandbox is not None,
        )
        request = Request.parse(event["request"])
        listed = source.list(request)
        execution = dataclasses.replace(execution, allow=listed.allow, contracts="contract" in request.kinds)
        here.allow_list(execution)  # what is wrong with it would keep every step from being done
        papers = papers_of(here.results, execution.name, here.clients)
        papers.open({"id": execution.id, "started": execution.started})
        unsettled, troubles = _unsettled(here, execution)
        # Transfers wait for their flow's contract: so that all of them begin before the first transfer does.
        cases = sorted(listed.cases, key=lambda case: case.kind != "contract")
        items = [handed_on(dump(case)) for case in cases] + [run for each in unsettled for run in each.runs]
        states = [State.load({"case": item, "execution": dump(execution)}) for item in items]
        papers.write_suite(
            {
                "expected": [[state.run_id, state.case.name] for state in states],
                "settled": [state.run_id for state in states if state.stopped],
                "settles": [each.name for each in unsettled],
                "problems": list(listed.problems),
                "troubles": troubles,
                "watched": {
                    flow.flow_id: [dump(flow.alerts), [case.label for case in cases_of(flow, canary=True)]]
                    for flow in listed.flows
                    if flow.alerts
                },
            }
        )
        is_inline = history.fits_inline([state.case for state in states], len(json.dumps(items)))
        if not is_inline:
            papers.write_cases(items)
        logs.say_listed(len(items), [*listed.problems, *troubles])
    return {
        "number": len(items),
        "is_inline": is_inline,
        "items": items if is_inline else [],
        "bucket": papers.place.name,
        "key": papers.cases_key,
        "execution": {"allow": [], **dump(execution)},
    }


def _unsettled(here: Host, execution: Execution) -> tuple[list[Unsettled], list[str]]:
    """Return what stopped executions have left, and what keeps that from being known: no flow has to wait for that."""
    after = timedelta(minutes=here.settings.settle_minutes)
    try:
        return settling.unsettled(here.results, execution.name, here.clients, after), []
    except Exception as error:  # noqa: BLE001 - it is what others have left; the next execution tries again
        return [], [f"what stopped executions have left is not known: {as_ours(error).reason}"]
