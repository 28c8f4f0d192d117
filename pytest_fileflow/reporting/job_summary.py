"""Writes a session's summary where it is asked for, and on the page of a GitHub job, once, from the controller."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_fileflow import __version__

if TYPE_CHECKING:
    from pytest_fileflow.reporting.markdown import Told
    from pytest_fileflow.session import FlowSession

GITHUB = "GITHUB_STEP_SUMMARY"  # GitHub's runner names a file here, which all of a step's commands append to
MOST_BYTES = 1024 * 1024  # GitHub: a step's summary that is larger is not shown at all


def write_summaries(session: FlowSession) -> None:
    """Write the file of ``--fileflow-summary``, and append to GitHub's, if this is a GitHub job."""
    own, github = session.settings.summary, os.environ.get(GITHUB)
    if own is None and not github:
        return
    told = _told(session)
    if github:
        _write(session, Path(github), told, is_shared=True)
    if own is not None and not (github and own == Path(github)):
        _write(session, own, told, is_shared=False)


def _told(session: FlowSession) -> Told:
    import pytest

    from pytest_fileflow.reporting.markdown import Told
    from pytest_fileflow.reporting.others import others

    versions = f"pytest-fileflow {__version__}, pytest {pytest.__version__}"
    workers = session.config.getoption("numprocesses", None)
    parallel = f", {workers} workers" if workers else ""
    return Told(
        reports=session.all_reports,
        others=others(session.config),
        notes=tuple(session.notes),
        troubles=tuple(session.troubles),
        environment=f"{versions}, Python {platform.python_version()}{parallel}",
        faults=session.settings.rehearse,
    )


def _write(session: FlowSession, path: Path, told: Told, *, is_shared: bool) -> None:
    from pytest_fileflow.reporting.markdown import summary

    try:
        taken = path.stat().st_size if is_shared and path.exists() else 0
        text = summary(told, MOST_BYTES - taken)
        if text is None:
            session.troubles.append(f"SUMMARY NOT WRITTEN {path}: it is full: GitHub shows {MOST_BYTES} bytes a step")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if is_shared else "wb") as file:
            file.write(text.encode("utf-8", "replace"))
    except OSError as error:
        session.troubles.append(f"SUMMARY NOT WRITTEN {path}: {error.strerror or type(error).__name__}")
        return
    if not is_shared:
        session.notes.append(f"summary: {path}")
