"""``fileflow rehearse``: runs flows in the sandbox once for each fault."""

from __future__ import annotations

import sys

import click

RESULTS = "fileflow-rehearsal"


@click.command(
    "rehearse",
    short_help="run flows in the sandbox once for each fault, and show which are caught, and by which cause",
    context_settings={"ignore_unknown_options": True},
    options_metavar="[--fault FAULT] [--env NAME]",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="[source.|target.]NAME[:AMOUNT]",
    help="only this fault; may be given several times (default all)",
)
@click.option("--env", metavar="NAME", help="as --fileflow-env: with what environments/NAME.yaml says")
@click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="[FILE_OR_FOLDER ...] [pytest's options]")
def command(faults: tuple[str, ...], env: str | None, more: tuple[str, ...]) -> int:
    """Run every flow in the sandbox: once as it is, and once for each fault that it can have.

    Nothing outside is touched. Files, folders (default flows/) and every option of pytest may follow:
    fileflow rehearse flows/acme.json -n 4
    """
    import pytest

    from pytest_fileflow.commands.collecting import QUIET, places_for
    from pytest_fileflow.errors import SandboxFailed
    from pytest_fileflow.rehearsal import GRACE_SECONDS, SLO_SECONDS
    from pytest_fileflow.sandbox import check_installed

    try:
        check_installed()
    except SandboxFailed as error:  # once, and not once a run
        sys.stderr.write(f"fileflow rehearse: {error.reason}\n")
        return 2
    longest = SLO_SECONDS + GRACE_SECONDS
    sys.stdout.write(f"rehearsing in the sandbox, all at once: what never arrives is waited for {longest:g} s\n")
    sys.stdout.flush()
    own = ["-q", *QUIET, f"--fileflow-rehearse={','.join(faults) or 'all'}"]
    own += [f"--fileflow-env={env}"] if env else []
    if not any(argument.startswith("--fileflow-results") for argument in more):
        own.append(f"--fileflow-results={RESULTS}")
    return int(pytest.main([*own, *places_for(more), *more]))
