"""What the controller does once, when all runs of a session are in: deliver, publish, tell. It changes no verdict."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow import delivery
from pytest_fileflow.errors import FileflowError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_fileflow.session import FlowSession


def after_session(session: FlowSession) -> None:
    """Do all that was asked for; what was done goes to ``session.notes``, what failed to ``session.troubles``.

    A fault in one part keeps no other from being done. Ctrl-C ends what may wait for others.
    """
    from pytest_fileflow.reporting.job_summary import write_summaries
    from pytest_fileflow.reporting.metrics import publish_metrics

    try:
        attempt(session, "deliver what waits", lambda: delivery.after_session(session))
        attempt(session, "publish metrics", lambda: publish_metrics(session))
        attempt(session, "tell by alerts", lambda: _alert(session))
    except KeyboardInterrupt:
        session.troubles.append("INTERRUPTED: what was to be delivered, published and told is not complete")
    attempt(session, "write summaries", lambda: write_summaries(session))  # last: it tells what could not be done


def _alert(session: FlowSession) -> None:
    if session.settings.alerts:
        from pytest_fileflow.alerting import alert

        alert(session)


def attempt(session: FlowSession, what: str, part: Callable[[], None]) -> None:
    """Do a part; a fault in it, which may be anybody's, is a line at the end and no more."""
    try:
        part()
    except Exception as error:  # noqa: BLE001 - the verdicts are in, and nothing may keep them from being reported
        session.troubles.append(f"NOT DONE: to {what}: {_in_words(error)}")


def _in_words(error: Exception) -> str:
    """Return what happened; the texts of errors that are not ours may hold secrets, so only their place is said."""
    if isinstance(error, FileflowError):
        return f"{error.cause}: {error.reason}"
    if isinstance(error, pytest.UsageError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"tester.bug: {type(error).__name__} in {Path(place.filename).name}, line {place.lineno}"
