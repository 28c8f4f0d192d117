"""``fileflow sandbox``: runs the stand-in for AWS and SFTP until it is ended, to try flows by hand."""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_fileflow.commands.completing import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_fileflow.commands.by_hand import ByHand
    from pytest_fileflow.model import Flow
    from pytest_fileflow.sandbox import Sandbox

FAILED, CANNOT = 1, 2
LOOK_SECONDS = 1.0


@click.command("sandbox", short_help="run the stand-in for AWS and SFTP, and print how to use it by hand")
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
@click.option("--env", metavar="NAME", help="with the variables of environments/NAME.yaml")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "sh", "json"]),
    default="text",
    help="what is printed: for people (text), to be sourced by a shell (sh), or for scripts (json)",
)
@click.option(
    "--write",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="print to a file that is there once all is ready, and gone when it ends",
)
def command(paths: tuple[str, ...], env: str | None, form: str, file: Path | None) -> int:
    """Run the stand-in with all that the flows in files and folders (default flows/) name, until Ctrl-C.

    It prints what to export, and for each end of each flow the command with which aws or sftp gets there. A file that
    you put there is moved as by the real transfer. Nothing outside this machine is touched, and nothing stays.
    """
    from pytest_fileflow.commands.collecting import CannotCollect, collect
    from pytest_fileflow.errors import FileflowError
    from pytest_fileflow.sandbox import Sandbox

    try:
        found = collect(paths, "--fileflow-sandbox", *([f"--fileflow-env={env}"] if env else []))
        for broken in found.broken:
            sys.stderr.write(f"left out: {broken.name} is wrong: {broken.problems[0]}\n")
        if not found.flows:
            return _end(f"there are no flows in {', '.join(paths) or FOLDER} that can be used", CANNOT)
        ended = _told_to_end()
        with Sandbox.start() as sandbox:
            sandbox.provision(found.flows)
            return _serve(sandbox, found.flows, form, file, ended)
    except CannotCollect as error:
        return _end(str(error), CANNOT)
    except FileflowError as error:
        return _end(error.reason, CANNOT)


def _told_to_end() -> threading.Event:
    """Return what is set once somebody wants this to end."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    return ended


def _serve(sandbox: Sandbox, flows: Sequence[Flow], form: str, file: Path | None, ended: threading.Event) -> int:
    from pytest_fileflow.commands.by_hand import Commands

    lines = [f"{line}\n" for line in FORMATS[form](sandbox, Commands(sandbox).of(flows))]
    try:
        if file is None:
            sys.stdout.writelines(lines)
            sys.stdout.flush()
        else:
            _put(file, lines)
        while not ended.wait(LOOK_SECONDS):
            if not sandbox.is_running:
                return _end(f"the sandbox has ended by itself: {sandbox.log_tail(5)}", FAILED)
    except OSError as error:
        return _end(f"{file}: {error.strerror or error}", CANNOT)
    finally:
        if file is not None:
            file.unlink(missing_ok=True)
    return 0


def _put(file: Path, lines: Sequence[str]) -> None:
    """Write a file in one move, for this user alone: whoever waits for it finds all of it."""
    partial = file.with_name(f".{file.name}.part")
    partial.touch(mode=0o600)
    partial.write_text("".join(lines), encoding="utf-8")
    partial.replace(file)


def _text(sandbox: Sandbox, flows: Sequence[ByHand]) -> Iterator[str]:
    from pytest_fileflow.commands.by_hand import NAME, exports

    yield from exports(sandbox)
    for each in flows:
        yield ""
        yield f"# {each.flow.flow_id}  {each.flow.direction}"
        yield f"{each.source}   # source: put a file here"
        if each.start:
            yield f"{each.start}   # moves {NAME}"
        elif each.flow.transfer.mode == "trigger_file":
            yield f"# then put its trigger file: {each.flow.transfer.trigger_name}"
        yield f"{each.target}   # target: see it here"
    yield ""
    yield "# The sandbox runs here until Ctrl-C; type the lines above in another shell."


def _sh(sandbox: Sandbox, flows: Sequence[ByHand]) -> Iterator[str]:
    from pytest_fileflow.commands.by_hand import exports

    yield from exports(sandbox)
    for each in flows:
        lines = (each.source, each.start, each.target)
        yield from (f"# {each.flow.flow_id}: {line}" for line in lines if line)


def _json(sandbox: Sandbox, flows: Sequence[ByHand]) -> Iterator[str]:
    from pytest_fileflow.commands.by_hand import variables

    wanted, unwanted = variables(sandbox)
    told = [
        {
            "flow_id": each.flow.flow_id,
            "direction": each.flow.direction,
            "source": {"location": each.flow.source.uri(), "command": each.source},
            "start": each.start,
            "target": {"location": each.flow.target.uri(), "command": each.target},
        }
        for each in flows
    ]
    yield json.dumps({"environment": wanted, "unset": unwanted, "flows": told}, indent=2)


FORMATS = {"text": _text, "sh": _sh, "json": _json}


def _end(why: str, status: int) -> int:
    sys.stderr.write(f"fileflow sandbox: {why}\n")
    return status
