"""``fileflow hostkeys``: fetches the host keys of SFTP servers, and holds them against what is pinned."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_fileflow.commands.completing import FOLDER, flow_ids, named_in
from pytest_fileflow.commands.servers import SECONDS, Server, Shown, ask, servers_of
from pytest_fileflow.config.arns import is_placeholder
from pytest_fileflow.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MISMATCH, CANNOT = 1, 2
CAUTION = (
    "A key that came over the network proves nothing yet: before you pin it, compare the fingerprint with what the "
    "server's owner says by another way."
)


class _NoServer(Exception):
    """What was named is no server; the message says why."""


@click.command("hostkeys", short_help="fetch the host keys of SFTP servers, to pin them or to compare them with pins")
@click.argument("whom", nargs=-1, metavar="[HOST[:PORT] | FLOW_ID | PATH]...", shell_complete=flow_ids)
@click.option("--env", metavar="NAME", help="with the variables of environments/NAME.yaml")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 600, min_open=True),
    default=SECONDS,
    help=f"seconds that a step may take (default {SECONDS:g})",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "known_hosts"]),
    default="text",
    help="for people (text), for scripts (json), or lines for a known_hosts file alone (known_hosts)",
)
def command(whom: tuple[str, ...], env: str | None, timeout: float, form: str) -> int:
    """Fetch the host keys of servers by name, of a flow's, or of all in files and folders (default flows/).

    Nobody logs in. Keys are compared with host_key in the configs, or with known_hosts files where nothing is pinned.
    Exit status: 0 all is well or new, 1 a server shows another key than is pinned, 2 a server cannot be asked.
    """
    from pytest_fileflow.commands.collecting import CannotCollect
    from pytest_fileflow.endpoints.login import KNOWN_HOSTS

    try:
        servers = list(_servers(whom or (FOLDER,), [f"--fileflow-env={env}"] if env else []))
    except (_NoServer, CannotCollect) as error:
        sys.stderr.write(f"fileflow hostkeys: {error}\n")
        return CANNOT
    shown = ask(servers, timeout, KNOWN_HOSTS)
    for line in FORMATS[form](shown):
        sys.stdout.write(f"{line}\n")
    for each in shown:
        if each.error is not None:
            sys.stderr.write(f"{each.server}: {each.error.cause}: {each.error.reason}\n")
    states = {judged.state for each in shown for judged in each.judged}
    if "new" in states:
        sys.stderr.write(f"{CAUTION}\n")
    if "mismatch" in states:
        return MISMATCH
    return CANNOT if any(each.error for each in shown) else 0


def _servers(whom: Sequence[str], options: Sequence[str]) -> Iterator[Server]:
    """Yield the servers that are meant; raises _NoServer and CannotCollect."""
    known = set(named_in(Path(FOLDER)))
    places = [name for name in whom if Path(name).exists()]
    wanted = {name for name in whom if name in known} - set(places)
    if places or wanted:
        yield from _configured(places, wanted, options)
    for name in whom:
        if name not in wanted and name not in places:
            yield _by_address(name, known)


def _configured(places: Sequence[str], wanted: set[str], options: Sequence[str]) -> Iterator[Server]:
    from pytest_fileflow.commands.collecting import collect

    # As in the sandbox, where one placeholder more does not make a flow's servers unknown.
    found = [*collect(places, "--fileflow-sandbox", *options).flows] if places else []
    if wanted:
        found += [flow for flow in collect([], "--fileflow-sandbox", *options).flows if flow.flow_id in wanted]
    missing = wanted - {flow.flow_id for flow in found}
    if missing:
        raise _NoServer(f"the config of {min(missing)} cannot be used: fileflow validate --sandbox says why")
    servers = list(servers_of({flow.flow_id: flow for flow in found}.values()))
    if not servers:
        raise _NoServer(f"there is no SFTP server in the flows of {', '.join((*places, *sorted(wanted)))}")
    for server in servers:
        if is_placeholder(server.host):
            raise _NoServer(f"the host {server.host} of {', '.join(server.flows)} is a placeholder")
        yield server


def _by_address(name: str, known: set[str]) -> Server:
    server = Server.parse(name)
    near = nearest(name, known)
    if server is None or (near is not None and not {".", ":"} & set(name)):
        hint = f"; did you mean the flow {near}?" if near else ""
        raise _NoServer(f"{name!r} is neither HOST, HOST:PORT, a flow nor a file{hint}")
    return server


def _text(shown: Sequence[Shown]) -> Iterator[str]:
    for each in shown:
        if not each.keys:
            continue
        yield f"{each.server}" + (f"  ({', '.join(each.server.flows)})" if each.server.flows else "")
        yield from (f"  {key}" for key in each.keys)
        yield from (f"  {judged.state}: {judged.words}" for judged in each.judged)
        yield f'  pin:         host_key: "{each.keys[0].fingerprint}"'
        yield f"  known_hosts: {each.server.name} {each.keys[0].line}"


def _json(shown: Sequence[Shown]) -> Iterator[str]:
    yield json.dumps(
        [
            {
                "host": each.server.host,
                "port": each.server.port,
                "flows": each.server.flows,
                "keys": [{"type": key.type, "fingerprint": key.fingerprint, "line": key.line} for key in each.keys],
                "judged": [{"state": judged.state, "words": judged.words} for judged in each.judged],
                "error": each.error and f"{each.error.cause}: {each.error.reason}",
            }
            for each in shown
        ],
        indent=2,
    )


def _known_hosts(shown: Sequence[Shown]) -> Iterator[str]:
    return (f"{each.server.name} {key.line}" for each in shown for key in each.keys)


FORMATS = {"text": _text, "json": _json, "known_hosts": _known_hosts}
