"""``fileflow plan``: prints what flows would write, invoke and delete, and touches nothing."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Taker:
    """A plugin of pytest's that keeps the plan."""

    def __init__(self) -> None:
        self.plan: Mapping[str, Any] | None = None

    def pytest_fileflow_planned(self, plan: Mapping[str, Any]) -> None:
        self.plan = plan


@click.command(
    "plan",
    short_help="print what flows would write, invoke and delete, and touch nothing",
    context_settings={"ignore_unknown_options": True},
    options_metavar="[--env NAME] [--sandbox] [--format text|json]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "json")),
    default="text",
    help="text for people (default), or json for scripts: the plan alone on stdout, the rest on stderr",
)
@click.option("--env", metavar="NAME", help="as --fileflow-env: with what environments/NAME.yaml says")
@click.option("--sandbox", is_flag=True, help="as --fileflow-sandbox: placeholders may stand where real values go")
@click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="[FILE_OR_FOLDER ...] [pytest's options]")
def command(form: str, env: str | None, sandbox: bool, more: tuple[str, ...]) -> int:
    """Print for each case what would be written, invoked, read and deleted, and what the allow-list refuses.

    Files, folders (default flows/) and every option of pytest may follow:
    fileflow plan flows/ -m smoke --fileflow-group nightly

    Exit status: 0, or 1 where something is refused or a config is broken.
    """
    import pytest

    from pytest_fileflow.commands.collecting import QUIET, places_for

    own = ["-q", *QUIET, "--fileflow-plan", *places_for(more)]
    own += [*([f"--fileflow-env={env}"] if env else []), *(["--fileflow-sandbox"] if sandbox else [])]
    if form == "text":
        return int(pytest.main([*own, *more]))
    taker = _Taker()
    with contextlib.redirect_stdout(sys.stderr):
        status = int(pytest.main([*own, *more], plugins=[taker]))
    if taker.plan is not None:
        sys.stdout.write(f"{json.dumps(taker.plan, indent=2, default=str)}\n")
    return status
