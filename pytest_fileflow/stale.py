"""Makes files of earlier runs, for the sandbox to deliver in the place of a run's own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NoReturn

from pytest_fileflow import payload, steps
from pytest_fileflow.clock import Clock
from pytest_fileflow.errors import TesterBug
from pytest_fileflow.model import sidecar_names
from pytest_fileflow.sandbox import EarlierFile
from pytest_fileflow.streams import Tools, open_payload

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_fileflow.model import Case
    from pytest_fileflow.registry import Registry


def earlier_file(case: Case, registry: Registry, place: Callable[[str], Path]) -> EarlierFile:
    """Write the file that a run of a case before this one would have sent; ``place`` gives a path for a name."""
    tools = Tools(_nowhere, _nowhere, registry, Clock())
    run = steps.prepare(case, tools)
    path = place(f"stale-{run.run_id}")
    with open_payload(run, tools) as body, path.open("wb") as file:
        shutil.copyfileobj(body, file, 1024 * 1024)
    digest, manifest = sidecar_names("")
    sidecars = {
        digest: payload.sha256_sidecar(run.file.sha256).decode(),
        manifest: steps.manifest(run).decode(),
    }
    return EarlierFile(str(path), run.file.size, sidecars)


def _nowhere(*_: object) -> NoReturn:
    raise TesterBug("a run that is only made up reaches no end")
