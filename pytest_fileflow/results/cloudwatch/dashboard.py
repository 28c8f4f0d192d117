"""The dashboard on a session's metrics, as a body for PutDashboard; it finds the flows by search, and names none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pytest_fileflow.results.cloudwatch import (
    LATENCY,
    NAMESPACE,
    PHASE,
    RUN_SUCCESS,
    SLO,
    SLO_USED,
    SUITE_ERRORS,
    SUITE_FAILURES,
    SUITE_RUNS,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUR: Final = 3600
DAY: Final = 86400
WIDTH: Final = 24  # AWS: the columns of a dashboard
LINES: Final = 20  # of a graph with a line a flow: the worst ones
ROWS: Final = 100
DEFAULT_LOG_GROUPS: Final = "/aws/lambda/"  # all of a name's beginning

# Texts that the dashboard's own selectors replace, wherever they stand in it.
FLOW: Final = "FILEFLOW_SELECTED_FLOW"
RUN: Final = "test_run_id"

Widget = dict[str, Any]


def dashboard(region: str, log_groups: Sequence[str] = ()) -> dict[str, Any]:
    """Return the body. Without ``log_groups`` the logs of all functions are searched."""
    rows = (
        (
            (6, _numbers("Today: share that passed", region, [_query("success", f"AVG({RUN_SUCCESS})")])),
            (9, _numbers("Today: transfers run, failures, not judged", region, _counts())),
            (9, _failing(region)),
        ),
        ((12, _success(region)), (12, _slo_used(region))),
        ((12, _latency_of_one(region)), (12, _phases_of_one(region))),
        ((24, _logs(region, log_groups)),),
    )
    return {"start": "-P7D", "periodOverride": "inherit", "variables": _variables(), "widgets": _placed(rows)}


def _placed(rows: Sequence[Sequence[tuple[int, Widget]]], height: int = 6) -> list[Widget]:
    placed: list[Widget] = []
    for number, row in enumerate(rows):
        x = 0
        for width, widget in row:
            placed.append({"x": x, "y": number * height, "width": width, "height": height, **widget})
            x += width
    return placed


def _variables() -> list[dict[str, Any]]:
    return [
        {
            "type": "pattern",
            "pattern": FLOW,
            "inputType": "select",
            "id": "flow",
            "label": "Flow",
            "defaultValue": "__FIRST",
            "visible": True,
            "search": f'{{{NAMESPACE},FlowId}} MetricName="{LATENCY}"',
            "populateFrom": "FlowId",
        },
        {
            "type": "pattern",
            "pattern": RUN,
            "inputType": "input",
            "id": "run",
            "label": "Run id (test_run_id: all)",
            "defaultValue": RUN,
            "visible": True,
        },
    ]


def _counts() -> list[list[Any]]:
    named = ((SUITE_RUNS, "transfers"), (SUITE_FAILURES, "failures"), (SUITE_ERRORS, "not judged"))
    return [[NAMESPACE, metric, {"label": label, "stat": "Sum"}] for metric, label in named]


def _numbers(title: str, region: str, metrics: list[list[Any]]) -> Widget:
    return _metric(title, region, metrics, view="singleValue", period=DAY, **_last("-PT24H"), setPeriodToTimeRange=True)


def _last(start: str) -> dict[str, str]:
    return {"start": start, "end": "P0D"}


def _failing(region: str) -> Widget:
    worst = f"GROUP BY FlowId ORDER BY MIN() ASC LIMIT {ROWS}"
    return _metric(
        "Today, the worst first: 0 is a flow of which something failed",
        region,
        [_query("worst", f"MIN({RUN_SUCCESS})", worst)],
        view="table",
        period=DAY,
        **_last("-PT24H"),
        table={"layout": "vertical", "stickySummary": True, "summaryColumns": ["MIN"]},
    )


def _success(region: str) -> Widget:
    return _metric(
        "Success over 7 days, a point a day",
        region,
        [_query("success", f"AVG({RUN_SUCCESS})")],
        view="timeSeries",
        period=DAY,
        **_last("-P7D"),
        yAxis={"left": {"min": 0, "max": 1, "label": "share that passed", "showUnits": False}},
    )


def _slo_used(region: str) -> Widget:
    worst = f"SORT({_search(SLO_USED, 'p95', DAY)}, MAX, DESC, {LINES})"
    return _metric(
        f"p95 latency against the SLO, the {LINES} flows that are nearest to it",
        region,
        [[{"expression": worst, "id": "used", "label": "${PROP('Dim.FlowId')}"}]],
        view="timeSeries",
        period=DAY,
        yAxis={"left": {"min": 0, "label": "% of the SLO", "showUnits": False}},
        annotations={"horizontal": [{"label": "SLO", "value": 100, "fill": "above"}]},
    )


def _latency_of_one(region: str) -> Widget:
    metrics = [
        [NAMESPACE, LATENCY, "FlowId", FLOW, {"stat": "p95", "label": "latency, p95"}],
        ["...", {"stat": "p50", "label": "latency, p50"}],
        [NAMESPACE, SLO, "FlowId", FLOW, {"stat": "Maximum", "label": "SLO"}],
    ]
    axis = {"left": {"min": 0, "label": "s", "showUnits": False}}
    return _metric(f"{FLOW}: latency", region, metrics, view="timeSeries", period=HOUR, yAxis=axis)


def _phases_of_one(region: str) -> Widget:
    every = f"SEARCH('{{{NAMESPACE},FlowId,Phase}} MetricName=\"{PHASE}\" FlowId=\"{FLOW}\"', 'Average', {HOUR})"
    return _metric(
        f"{FLOW}: where the time goes",
        region,
        [[{"expression": every, "id": "phases", "label": "${PROP('Dim.Phase')}"}]],
        view="timeSeries",
        stacked=True,
        period=HOUR,
        yAxis={"left": {"min": 0, "label": "s", "showUnits": False}},
    )


def _logs(region: str, log_groups: Sequence[str]) -> Widget:
    if log_groups:
        source = " | ".join(f"SOURCE '{group}'" for group in log_groups)
    else:
        source = f"SOURCE logGroups(namePrefix: ['{DEFAULT_LOG_GROUPS}'])"
    lines = (f"{source}", "fields @timestamp, @log, @message", f"filter @message like /{RUN}/")
    query = "\n| ".join((*lines, "sort @timestamp desc", "limit 100"))
    title = f"What functions logged of {RUN}"
    return {"type": "log", "properties": {"title": title, "region": region, "query": query, "view": "table"}}


def _query(name: str, what: str, more: str = "") -> list[Any]:
    words = ("SELECT", what, "FROM", f'SCHEMA("{NAMESPACE}", FlowId)', more)
    return [{"expression": " ".join(words).rstrip(), "id": name, "period": DAY}]


def _search(metric: str, statistic: str, period: int) -> str:
    return f"SEARCH('{{{NAMESPACE},FlowId}} MetricName=\"{metric}\"', '{statistic}', {period})"


def _metric(title: str, region: str, metrics: list[list[Any]], **more: Any) -> Widget:
    return {"type": "metric", "properties": {"title": title, "region": region, "metrics": metrics, **more}}
