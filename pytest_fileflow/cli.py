"""The command line ``fileflow``: finds the command and runs it."""

from __future__ import annotations

import argparse
import io
import sys
from typing import TYPE_CHECKING

from pytest_fileflow import __version__
from pytest_fileflow.commands import ci, cloudwatch, history, rehearse, report, upload

if TYPE_CHECKING:
    from collections.abc import Sequence

# Each has a function add(commands), which sets ``run``: from what was given, and what is left over, to the exit status.
COMMANDS = (history, report, rehearse, upload, cloudwatch, ci)

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status, which is pytest's where pytest does the work.

    What a command does not know is an error, except where it goes on to pytest (``takes_more``).
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # what its encoding has no letter for is written out
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser("fileflow", description="Proves that file transfers still work.")
    parser.add_argument("--version", action="version", version=f"pytest-fileflow {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    given, more = parser.parse_known_args(arguments)
    if more and not getattr(given, "takes_more", False):
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    try:
        status: int = given.run(given, more)
    except KeyboardInterrupt:  # as the shell says it, and without a word of where it was
        return INTERRUPTED
    return status


if __name__ == "__main__":
    sys.exit(main())
