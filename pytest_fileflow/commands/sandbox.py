"""``fileflow sandbox``: runs the stand-in for AWS and SFTP until it is ended, to try flows by hand."""

from __future__ import annotations

import contextlib
import json
import signal
import stat
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
    you put there is moved as by the real transfer. Flows that are added or changed meanwhile are taken in. Nothing
    outside this machine is touched, and nothing stays.
    """
    from pytest_fileflow.commands.collecting import CannotCollect
    from pytest_fileflow.errors import FileflowError
    from pytest_fileflow.sandbox import Sandbox

    try:
        configs = Configs(paths, env)
        flows = configs.read()
        if not flows:
            return _end(f"there are no flows in {', '.join(paths) or FOLDER} that can be used", CANNOT)
        ended = _told_to_end()
        with Sandbox.start() as sandbox:
            sandbox.provision(flows)
            return _serve(sandbox, flows, form, file, ended, configs=configs)
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


def _serve(
    sandbox: Sandbox,
    flows: Sequence[Flow],
    form: str,
    file: Path | None,
    ended: threading.Event,
    *,
    configs: Configs | None = None,
) -> int:
    from pytest_fileflow.commands.by_hand import Commands

    commands = Commands(sandbox)
    try:
        lines = [f"{line}\n" for line in FORMATS[form](sandbox, commands.of(flows))]
        if file is None:
            sys.stdout.writelines(lines)
            sys.stdout.flush()
        else:
            _put(file, lines)
        while not ended.wait(LOOK_SECONDS):
            if not sandbox.is_running:
                return _end(f"the sandbox has ended by itself: {sandbox.log_tail(5)}", FAILED)
            changed = _taken_in(sandbox, configs) if configs is not None else None
            if changed and file is not None:
                _put(file, [f"{line}\n" for line in FORMATS[form](sandbox, commands.of(changed))])
    except OSError as error:
        return _end(f"{file}: {error.strerror or error}", CANNOT)
    finally:
        if file is not None:
            file.unlink(missing_ok=True)
    return 0


def _taken_in(sandbox: Sandbox, configs: Configs) -> Sequence[Flow] | None:
    """Have the sandbox make what changed configs name, and return their flows; None where nothing has changed."""
    from pytest_fileflow.commands.collecting import CannotCollect
    from pytest_fileflow.errors import FileflowError

    if not configs.have_changed():
        return None
    try:
        flows = configs.read()
        sandbox.provision(flows)
    except CannotCollect as error:
        sys.stderr.write(f"fileflow sandbox: not taken in: {error}\n")
        return None
    except FileflowError as error:
        sys.stderr.write(f"fileflow sandbox: not taken in: {error.reason}\n")
        return None
    sys.stderr.write(f"fileflow sandbox: taken in: {', '.join(flow.flow_id for flow in flows)}\n")
    return flows


class Configs:
    """The configs in files and folders, read again once one of their files is another."""

    def __init__(self, paths: Sequence[str], env: str | None) -> None:
        self._paths = paths
        self._options = ["--fileflow-sandbox", *([f"--fileflow-env={env}"] if env else [])]
        self._seen = self._look()

    def have_changed(self) -> bool:
        """Tell whether a file was added, changed or removed since they were last read or this was asked."""
        seen, self._seen = self._seen, self._look()
        return self._seen != seen

    def read(self) -> Sequence[Flow]:
        """Return the flows, and say which are left out; raises CannotCollect."""
        from pytest_fileflow.commands.collecting import collect

        found = collect(self._paths, *self._options)
        for broken in found.broken:
            sys.stderr.write(f"left out: {broken.name} is wrong: {broken.problems[0]}\n")
        return found.flows

    def _look(self) -> dict[Path, tuple[int, int]]:
        from pytest_fileflow.claims import SUFFIXES

        given = [Path(path) for path in self._paths or (FOLDER,)]
        folders = [path for path in (*given, Path("environments")) if path.is_dir()]
        inside = (file for folder in folders for file in folder.rglob("*") if file.suffix in SUFFIXES)
        seen = {}
        for file in (*given, *inside):
            with contextlib.suppress(OSError):  # gone between the listing and the look, or no file but an id
                told = file.stat()
                if stat.S_ISREG(told.st_mode):
                    seen[file] = (told.st_mtime_ns, told.st_size)
        return seen


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
