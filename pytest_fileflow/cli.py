"""The command line ``fileflow``: finds the command and runs it."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import click

from pytest_fileflow import __version__
from pytest_fileflow.commands import (
    ci,
    clean,
    cloudwatch,
    completion,
    history,
    hostkeys,
    init,
    plan,
    pull,
    push,
    rehearse,
    report,
    sandbox,
    schema,
    show,
    upload,
    validate,
)
from pytest_fileflow.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

# Each has a click command ``command`` that returns the exit status; help lists them in this order.
COMMANDS = (
    *(init, validate, show, plan, schema, push, pull, hostkeys, sandbox, rehearse),
    *(history, report, upload, clean, cloudwatch, ci, completion),
)

INTERRUPTED = 130


class _Fileflow(click.Group):
    """The commands in the order given, with the nearest one for a name that is none, and a silent end by Ctrl-C."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(click.UsageError.exit_code)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            meant = nearest(name, self.commands)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {meant!r}?" if meant else ""))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # as the shell says it, and without a word of where it was
            return INTERRUPTED


@click.group(
    cls=_Fileflow,
    commands={str(module.command.name): module.command for module in COMMANDS},
    no_args_is_help=False,  # before click 8.2 it counts as success
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="pytest-fileflow %(version)s")
def fileflow() -> None:
    """Proves that file transfers still work."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status, which is pytest's where pytest does the work.

    What a command does not know is an error, except where it goes on to pytest.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # what its encoding has no letter for is written out
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = fileflow.main(arguments, completion.PROGRAM, completion.VARIABLE, standalone_mode=False)
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return int(status or 0)


if __name__ == "__main__":
    sys.exit(main())
