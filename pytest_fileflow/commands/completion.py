"""``fileflow completion``: prints the script with which a shell completes commands, options and ids of flows."""

from __future__ import annotations

import sys

import click
from click.shell_completion import get_completion_class

PROGRAM = "fileflow"
VARIABLE = "_FILEFLOW_COMPLETE"  # the one that click looks for, by the program's name
SHELLS = ("bash", "zsh", "fish")


@click.command("completion", short_help="print the script with which a shell completes on Tab")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> int:
    """Print the script with which SHELL completes commands, options and ids of flows.

    In bash and zsh: eval "$(fileflow completion bash)". In fish: fileflow completion fish | source
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows all of SHELLS"  # noqa: S101 - for the type checker
    sys.stdout.write(f"{kind(context.find_root().command, {}, PROGRAM, VARIABLE).source()}\n")
    return 0
