"""Counts in the end what became of all cases: metrics of the suite, alerts, and whether every case has a record."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pytest_fileflow.aws import logs
from pytest_fileflow.aws.executions import papers_of
from pytest_fileflow.aws.host import careful, host
from pytest_fileflow.aws.state import Execution
from pytest_fileflow.results.cloudwatch.data import suite_data
from pytest_fileflow.results.cloudwatch.publishing import publish

if TYPE_CHECKING:
    from pytest_fileflow.aws.host import Context, Event, Host
    from pytest_fileflow.results.record import Record

SHOWN = 20  # of each kind of thing, that stand in the answer


@careful
def handler(event: Event, context: Context) -> Event:  # noqa: ARG001 - Lambda's own shape
    """Return the summary of an execution; ``event`` is ``{"execution": {…}}``."""
    here = host()
    execution = Execution.parse(event["execution"])
    with logs.about("notify", execution.name):
        papers = papers_of(here.results, execution.name, here.clients)
        suite = papers.read_suite()
        expected = dict(suite["expected"])
        # An execution of the same name, more than 90 days ago, may have left others.
        outcomes = [outcome for outcome in papers.outcomes() if outcome.record["run_id"] in expected]
        recorded = {outcome.record["run_id"] for outcome in outcomes}
        # What a stopped execution has left says nothing of this one.
        records = [outcome.record for outcome in outcomes if outcome.record["run_id"] not in suite["settled"]]
        unrecorded = [name for run_id, name in expected.items() if run_id not in recorded]
        problems = list(suite["problems"])
        troubles = [*suite["troubles"], *(outcome.problem for outcome in outcomes if outcome.problem)]
        troubles += _published(here, records, len(problems), len(unrecorded))
        notes, untold = _told(here, execution, records, suite["watched"])
        summary = _summary(records, problems, unrecorded, [*troubles, *untold])
        summary["settled"] = len(outcomes) - len(records)
        if not unrecorded:
            for name in (*suite["settles"], execution.name):
                papers_of(here.results, name, here.clients).close()
        logs.say_summary(summary, notes)
    return summary


def _published(here: Host, records: list[Record], broken: int, unrecorded: int) -> list[str]:
    if not here.settings.cloudwatch:
        return []
    now = datetime.now(timezone.utc)
    told = publish(suite_data(records, now, broken, unrecorded), here.clients, now)
    return [f"the metrics of the suite are not published: {told.problem}"] if told.problem else []


def _told(
    here: Host, execution: Execution, records: list[Record], watched: dict[str, list[Any]]
) -> tuple[list[str], list[str]]:
    """Tell those who want to hear of a change; return what was told, and what could not be."""
    if not here.settings.alerts:
        return [], []
    from pytest_fileflow.results.alerts import Settings, Watched, tell
    from pytest_fileflow.results.alerts.channel import Means
    from pytest_fileflow.results.alerts.memory import STATE, Memory

    address = f"{here.sandbox.endpoint_url}/_fileflow/webhook" if here.sandbox is not None else ""
    told = tell(
        records,
        {flow_id: Watched(*each) for flow_id, each in watched.items()},
        Memory(STATE, here.store, None),
        Means(lambda: here.clients, address),
        Settings(
            execution.name,
            datetime.now(timezone.utc),
            here.settings.remind_hours,
            here.settings.report_url,
            sandbox=here.sandbox is not None,
        ),
    )
    return told.notes, told.troubles


def _summary(records: list[Record], problems: list[str], unrecorded: list[str], troubles: list[str]) -> Event:
    failed = [record for record in records if record["outcome"] == "failed"]
    errors = [record for record in records if record["outcome"] == "error"]
    return {
        "is_complete": not problems and not unrecorded,
        "runs": len(records),
        "passed": len(records) - len(failed) - len(errors),
        "failed": len(failed),
        "errors": len(errors),
        "unrecorded": len(unrecorded),
        "broken": len(problems),
        "failures": [f"{each['flow_id']}[{each['case']}] {each['cause']}" for each in [*failed, *errors]][:SHOWN],
        "without_record": unrecorded[:SHOWN],
        "problems": problems[:SHOWN],
        "troubles": troubles[:SHOWN],
    }
