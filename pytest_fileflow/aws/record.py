"""Writes a run's record, its metrics, and what became of it, for those who count in the end."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from pytest_fileflow.aws import logs
from pytest_fileflow.aws.executions import Outcome, papers_of
from pytest_fileflow.aws.host import careful, host
from pytest_fileflow.aws.life import Kit, to_record
from pytest_fileflow.aws.state import State, handed_on
from pytest_fileflow.portable import dump
from pytest_fileflow.results.cloudwatch.data import run_data
from pytest_fileflow.results.cloudwatch.publishing import publish
from pytest_fileflow.results.record import make_record
from pytest_fileflow.steps import manifest

if TYPE_CHECKING:
    from pytest_fileflow.aws.host import Context, Event, Host
    from pytest_fileflow.results.record import Record


@careful
def handler(event: Event, context: Context) -> Event:
    """Record a run; return its outcome. A try that follows another writes the same.

    Raises ResultsStoreFailed where the store does not take it.
    """
    here = host()
    state = State.load(event)
    case = state.case
    with (
        logs.about("record", state.execution.name, case.flow.flow_id, state.run_id),
        here.tools(state.execution, context, case.flow) as tools,
    ):
        papers = papers_of(here.results, state.execution.name, here.clients)
        run = to_record(state, Kit(tools, papers, context.aws_request_id))
        record = {**make_record(case, run), "sandbox": here.sandbox is not None}
        sent = case.kind == "transfer" and run.file.name
        where = here.store.write(record, manifest(run) if sent else None)
        if case.kind == "contract" and run.verdict is not None:
            papers.write_contract(run.flow_id, {"run_id": run.run_id, "verdict": handed_on(dump(run.verdict))})
        problem = _published(here, record)
        papers.write_outcome(Outcome(record, where, problem))
        logs.say_recorded(record, where)
    return {"outcome": record["outcome"]}


def _published(here: Host, record: Record) -> str:
    """Publish the metrics of a run; return what kept them from it, or an empty text."""
    if not here.settings.cloudwatch:
        return ""
    now = datetime.now(timezone.utc)
    told = publish(run_data(record, now), here.clients, now)
    return told.problem and f"the metrics of {record['flow_id']} are not published: {told.problem}"
