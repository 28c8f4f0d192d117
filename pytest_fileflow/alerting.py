"""A session's part in alerting: whom its flows name, what with, and what a person sees of it in the terminal."""

from __future__ import annotations

import functools
import json
import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from pytest_fileflow.aws_errors import translated
from pytest_fileflow.settings import DEFAULT_RESULTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.alerts import Watched
    from pytest_fileflow.results.alerts.memory import Memory
    from pytest_fileflow.session import FlowSession

KIND = "alerts"  # of the files that workers hand over
SANDBOX_STATE = "alerts-sandbox.json"
SANDBOX_TEXT = "alerts-sandbox.txt"


def leave_watched(session: FlowSession) -> None:
    """Tell the controller, from a worker, who wants to hear of which flow: records do not say, it collects none.

    Every worker collects all flows, so any of them will do, whatever becomes of the others.
    """
    if session.handover is not None:
        session.handover.leave(session.input["workerid"], KIND, json.dumps(_watched(session)))


def _watched(session: FlowSession) -> dict[str, list[Any]]:
    from pytest_fileflow.cases import cases_of

    return {
        flow_id: [flow.alerts, [case.label for case in cases_of(flow, canary=True)]]
        for flow_id, flow in session.flows.items()
        if flow.alerts
    }


def alert(session: FlowSession) -> None:
    """Tell those whom the flows of a session name, on the controller; the words go to its notes and troubles."""
    from pytest_fileflow.results.alerts import Settings, tell
    from pytest_fileflow.results.alerts.channel import Means

    settings, sandbox = session.settings, session.settings.sandbox
    address = f"{session.sandbox().endpoint_url}/_fileflow/webhook" if sandbox else ""
    told = tell(
        [report["record"] for report in session.all_reports],
        _gathered(session),
        _memory(session),
        Means(_once(session.aws), address),
        Settings(
            session.token, datetime.now(timezone.utc), settings.remind_hours, settings.report_url, sandbox=sandbox
        ),
    )
    session.notes += told.notes
    session.troubles += told.troubles
    if sandbox and told.messages:
        _show(session, told.messages)


def _show(session: FlowSession, messages: list[str]) -> None:
    """Write what was told in the sandbox, where nobody reads it, to a file: that of the last session that told any."""
    from pytest_fileflow.errors import ResultsStoreFailed
    from pytest_fileflow.results.store import Directory

    place, text = Directory(session.settings.results), f"\n{'-' * 60}\n\n".join(messages)
    try:
        before = place.read_state(SANDBOX_TEXT)
        written = place.write_state(SANDBOX_TEXT, text.encode("utf-8", "replace"), before.version if before else None)
    except ResultsStoreFailed as error:
        session.troubles.append(f"alerts: what was told in the sandbox cannot be written: {error.reason}")
        return
    if written:  # else another session, at the same time, has written its own
        session.notes.append(f"alerts: the text of it is in state/{SANDBOX_TEXT} beside the results")


def _once(make: Callable[[], AwsClients]) -> Callable[[], AwsClients]:
    """Return a function that calls another once, whichever thread comes first: channels are told side by side."""
    lock, made = threading.Lock(), functools.cache(make)

    def get() -> AwsClients:
        with lock, translated("use", "the AWS configuration"):
            return made()

    return get


def _gathered(session: FlowSession) -> dict[str, Watched]:
    from pytest_fileflow.results.alerts import Watched

    found = _watched(session)
    for left in session.handover.left(KIND).values() if session.handover is not None else ():
        found.update(json.loads(left))
    return {flow_id: Watched(*each) for flow_id, each in found.items()}


def _memory(session: FlowSession) -> Memory:
    from pytest_fileflow.results.alerts.memory import STATE, Memory
    from pytest_fileflow.results.store import Directory, open_store

    settings, own = session.settings, Directory(session.config.rootpath / DEFAULT_RESULTS)
    here = Directory(settings.results)
    if settings.sandbox:  # what it plays is gone with it
        return Memory(SANDBOX_STATE, here, None)
    shared = next((place for place in settings.places if place.is_remote), None)  # by other machines too
    if shared is not None:
        return Memory(STATE, open_store(str(shared), session.aws), here)
    return Memory(STATE, here, None if here == own else own)
