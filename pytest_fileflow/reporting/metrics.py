"""Publishes a session's metrics, once, from the controller; what fails is a line at the end and no more."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from pytest_fileflow.errors import FileflowError

if TYPE_CHECKING:
    from pytest_fileflow.session import FlowSession


def publish_metrics(session: FlowSession) -> None:
    """Publish where it is asked for; a rehearsal's flows are none that anybody watches."""
    if not session.settings.cloudwatch:
        return
    if session.settings.rehearse is not None:
        session.notes.append("metrics: a rehearsal publishes none")
        return
    from pytest_fileflow.aws_errors import translated
    from pytest_fileflow.reporting.others import others
    from pytest_fileflow.results.cloudwatch import NAMESPACE
    from pytest_fileflow.results.cloudwatch.data import metric_data
    from pytest_fileflow.results.cloudwatch.publishing import publish

    now = datetime.now(timezone.utc)
    broken = sum(other.is_config for other in others(session.config))
    data = metric_data((report["record"] for report in session.all_reports), now, broken)
    try:
        with translated("cloudwatch:PutMetricData", f"namespace {NAMESPACE}"):
            clients = session.aws()
    except FileflowError as error:
        session.troubles.append(f"METRICS NOT PUBLISHED {error.cause}: {error.reason}")
        return
    told = publish(data, clients, now)
    if told.problem:
        missing = len(data) - told.sent
        session.troubles.append(f"METRICS NOT PUBLISHED {told.problem} ({missing} of {len(data)})")
    if told.sent:
        inside = ", inside the sandbox only" if session.settings.sandbox else ""
        session.notes.append(f"metrics: {told.sent} in CloudWatch's namespace {NAMESPACE}{inside}")
