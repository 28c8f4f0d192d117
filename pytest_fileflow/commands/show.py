"""``fileflow show``: prints a flow as it is meant, and where each of its values comes from."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_fileflow.commands.completing import flow_ids

if TYPE_CHECKING:
    from pytest_fileflow.collection import Flows
    from pytest_fileflow.config import BrokenFlow
    from pytest_fileflow.model import Flow

WRONG, CANNOT = 1, 2


@click.command("show", short_help="print a flow as it is meant, with where each value comes from")
@click.argument("flow_id", shell_complete=flow_ids)
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
@click.option("--env", metavar="NAME", help="with the variables and SLO factors of environments/NAME.yaml")
@click.option("--sandbox", is_flag=True, help="as for the sandbox: placeholders may stand where real values go")
@click.option(
    "--format",
    "form",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    help="YAML with the origins in comments, or JSON: the flow, and the origins by path",
)
def command(flow_id: str, paths: tuple[str, ...], env: str | None, sandbox: bool, form: str) -> int:
    """Print a flow of files and folders (default flows/) with its variables, endpoints, defaults and factors put in.

    Each value is followed by where it is written, and by "default" where that is nowhere. Exit status: 1 where the
    flow cannot be used, and why; 2 where there is no such flow.
    """
    from pytest_fileflow.collection import BROKEN, CASE, Flows
    from pytest_fileflow.commands.collecting import CannotCollect, items_in
    from pytest_fileflow.suggest import nearest

    options = [*(["--fileflow-sandbox"] if sandbox else []), *([f"--fileflow-env={env}"] if env else [])]
    try:
        items = items_in(paths, *options)
    except CannotCollect as error:
        return _cannot(str(error))
    broken = {found.name: found for item in items if (found := item.stash.get(BROKEN, None)) is not None}
    flows = {
        case.flow.flow_id: (case.flow, item.parent)
        for item in items
        if (case := item.stash.get(CASE, None)) is not None and isinstance(item.parent, Flows)
    }
    if flow_id in flows:
        return _shown(*flows[flow_id], form)
    if flow_id in broken:
        return _told(broken[flow_id])
    if Path(flow_id).is_file():
        return _cannot(f"{flow_id} is a file: give the id of a flow first, fileflow show FLOW_ID {flow_id}")
    meant = nearest(flow_id, [*flows, *broken])
    return _cannot(f"there is no flow {flow_id!r}" + (f"; did you mean {meant!r}?" if meant else ""))


def _shown(flow: Flow, file: Flows, form: str) -> int:
    from pytest_fileflow.commands.resolved import as_json, yaml_lines

    explained = file.collector.loader.explain(file.path, file.display, flow.flow_id)
    if explained is None:
        return _cannot(f"{file.display} has changed meanwhile")
    environment = file.collector.settings.environment
    if form == "json":
        sys.stdout.write(json.dumps(as_json(explained, flow, environment), indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in yaml_lines(explained, flow, environment))
    return 0


def _told(broken: BrokenFlow) -> int:
    sys.stdout.writelines(f"{problem}\n" for problem in broken.problems)
    return WRONG


def _cannot(why: str) -> int:
    sys.stderr.write(f"fileflow show: {why}\n")
    return CANNOT
