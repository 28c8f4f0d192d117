"""The alarms on a session's metrics, as inputs of PutMetricAlarm; none names a flow, so a new one needs no edit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pytest_fileflow.results.cloudwatch import (
    CANARY_FAILURES,
    NAMESPACE,
    RUN_SUCCESS,
    SUITE_ERRORS,
    SUITE_FAILURES,
    SUITE_RUNS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR: Final = 3600
DAY_HOURS: Final = 24
MOST_HOURS: Final = 168  # AWS: an alarm looks back seven days at most
QUERY_HOURS: Final = 3  # AWS: an alarm on a query looks back three hours at most
CANARY_HOURS: Final = 3
DEFAULT_MISSING_AFTER: Final = 26  # a daily suite may come two hours late

# AWS: what an alarm watches a flow at a time must have both GROUP BY and ORDER BY.
_WORST_OF_EACH_FLOW: Final = (
    *("SELECT", f"MIN({RUN_SUCCESS})", "FROM", f'SCHEMA("{NAMESPACE}", FlowId)'),
    *("GROUP BY", "FlowId", "ORDER BY", "MIN()", "ASC"),
)

Alarm = dict[str, Any]


def alarms(missing_after: int = DEFAULT_MISSING_AFTER, sns_topic: str | None = None) -> list[Alarm]:
    """Return the alarms; ``missing_after`` is the hours after which a suite that has not run is missed, 168 at most."""
    return [{**alarm, **_actions(alarm, sns_topic)} for alarm in _alarms(missing_after)]


def _alarms(missing_after: int) -> Iterator[Alarm]:
    yield _counted(
        "fileflow-failed",
        "At least one flow failed, or its config is wrong, in the last 24 hours: see the suite's report.",
        SUITE_FAILURES,
        DAY_HOURS,
    )
    yield _counted(
        "fileflow-not-judged",
        "At least one run could not be judged in the last 24 hours: the tester is at fault, or was ended too early.",
        SUITE_ERRORS,
        DAY_HOURS,
    )
    yield _counted(
        "fileflow-canary-failed",
        f"At least one canary did not pass in the last {CANARY_HOURS} hours: an end of a flow does not answer.",
        CANARY_FAILURES,
        CANARY_HOURS,
    )
    yield {
        "AlarmName": "fileflow-flow-failed",
        "AlarmDescription": "A flow did not pass; FlowId says which. OK after three hours is no recovery.",
        "Metrics": [
            {
                "Id": "flows",
                "Expression": " ".join(_WORST_OF_EACH_FLOW),
                "Period": HOUR,
                "ReturnData": True,
            }
        ],
        "EvaluationPeriods": QUERY_HOURS,
        "DatapointsToAlarm": 1,
        "Threshold": 1.0,
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "notBreaching",
    }
    yield {
        "AlarmName": "fileflow-missing",
        "AlarmDescription": f"No transfer was run in the last {missing_after} hours: the suite did not run.",
        "Namespace": NAMESPACE,
        "MetricName": SUITE_RUNS,
        "Statistic": "Sum",
        # Hours, and not one long period: AWS looks some periods further back before it calls data missing.
        "Period": HOUR,
        "EvaluationPeriods": missing_after,
        "DatapointsToAlarm": missing_after,
        "Threshold": 1.0,
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "breaching",
    }


def _counted(name: str, description: str, metric: str, hours: int) -> Alarm:
    """Return an alarm on a count that must have been 0 in each of the last hours; hours without data are well."""
    return {
        "AlarmName": name,
        "AlarmDescription": description,
        "Namespace": NAMESPACE,
        "MetricName": metric,
        "Statistic": "Maximum",
        "Period": HOUR,
        "EvaluationPeriods": hours,
        "DatapointsToAlarm": 1,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
    }


def _actions(alarm: Alarm, sns_topic: str | None) -> Alarm:
    if sns_topic is None:
        return {}
    # A query forgets after three hours: its OK would be taken for a recovery.
    return {"AlarmActions": [sns_topic], **({} if "Metrics" in alarm else {"OKActions": [sns_topic]})}
