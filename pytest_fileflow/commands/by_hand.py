"""What a person types to use a running sandbox: variables to export, and a command for each end of each flow."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow import template
from pytest_fileflow.model import Flow, Location, PayloadFile, Run, SftpLocation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_fileflow.sandbox import Sandbox

NAME, CONTENT = "hello.txt", b"hello\n"
# Of another shell, which may have more of them set than this process.
OFTEN_SET = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN")


@dataclass(frozen=True)
class ByHand:
    """A flow, and the commands with which its ends are seen and its transfer is started."""

    flow: Flow
    source: str
    start: str | None
    target: str


def variables(sandbox: Sandbox) -> tuple[dict[str, str], list[str]]:
    """Return the variables to set so that any AWS SDK reaches the sandbox alone, and those to unset."""
    wanted = sandbox.environment()
    present = [name for name in os.environ if name.startswith(sandbox.unset)]
    return wanted, sorted({*OFTEN_SET, *present} - wanted.keys())


def exports(sandbox: Sandbox) -> Iterator[str]:
    """Yield the same as lines for a shell."""
    wanted, unwanted = variables(sandbox)
    yield f"unset {' '.join(unwanted)}"
    yield from (f"export {name}={shlex.quote(value)}" for name, value in wanted.items())


class Commands:
    """Makes the commands; the keys and the ssh_config that they name lie in a folder that goes with the sandbox.

    A file for ssh, and not options on the command line, where ssh takes no user called ``<ACME_USER>``.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._folder = sandbox.file("by-hand")
        self._folder.mkdir(mode=0o700)
        self._config = self._folder / "ssh_config"
        self._keys: dict[str, Path] = {}

    def of(self, flows: Sequence[Flow]) -> list[ByHand]:
        """Return the commands of flows, in the place of those returned before; raises FileflowError."""
        self._config.write_text("", encoding="utf-8")
        return [
            ByHand(
                flow,
                self._look(flow.source, f"{flow.flow_id}.source"),
                _start(flow),
                self._look(flow.target, f"{flow.flow_id}.target"),
            )
            for flow in sorted(flows, key=lambda flow: flow.flow_id)
        ]

    def _look(self, end: Location, name: str) -> str:
        if not isinstance(end, SftpLocation):
            return f"aws s3 ls {shlex.quote(end.uri())}"
        with self._config.open("a", encoding="utf-8") as config:
            config.writelines(f"{line}\n" for line in self._way(end, name))
        return f"sftp -F {shlex.quote(str(self._config))} {shlex.quote(f'{name}:{end.dir}')}"

    def _way(self, end: SftpLocation, name: str) -> Iterator[str]:
        """Yield the part of the ssh_config that is about an end."""
        address, port, _ = self._sandbox.route(end.host, end.port, end.username, end.dir)
        yield f"Host {name}"
        yield f"  HostName {address}"
        yield f"  Port {port}"
        yield f'  User "{end.username}"'
        yield f'  IdentityFile "{self._key(end.secret_arn)}"'
        yield "  IdentitiesOnly yes"
        yield f'  UserKnownHostsFile "{self._known_hosts(address, port)}"'

    def _known_hosts(self, address: str, port: int) -> Path:
        from pytest_fileflow.commands.servers import Server, keys_of

        file = self._folder / f"known_hosts.{port}"
        if not file.exists():
            server = Server(address, port)
            file.write_text("".join(f"{server.name} {key.line}\n" for key in keys_of(server)))
        return file

    def _key(self, secret_arn: str) -> Path:
        if secret_arn not in self._keys:
            file = self._keys[secret_arn] = self._folder / f"key.{len(self._keys)}"
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as opened:
                opened.write(_private_key(self._sandbox, secret_arn))
        return self._keys[secret_arn]


def _private_key(sandbox: Sandbox, secret_arn: str) -> str:
    import boto3

    own = sandbox.environment()
    session = boto3.Session(own["AWS_ACCESS_KEY_ID"], own["AWS_SECRET_ACCESS_KEY"], region_name=own["AWS_REGION"])
    client = session.client("secretsmanager", endpoint_url=sandbox.endpoint_url)
    return str(json.loads(client.get_secret_value(SecretId=secret_arn)["SecretString"])["privateKey"])


def _start(flow: Flow) -> str | None:
    """Return the command that starts a flow's transfer of NAME, or None where its arrival does."""
    if flow.transfer.mode != "invoke" or flow.transfer.lambda_arn is None:
        return None
    from pytest_fileflow.steps import template_variables

    file = PayloadFile(NAME, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    run = Run("by-hand", flow.flow_id, "", flow.direction, 1, file)
    payload = json.dumps(template.substitute(flow.transfer.payload, template_variables(flow, run)))
    function = shlex.quote(flow.transfer.lambda_arn)
    given = f"--cli-binary-format raw-in-base64-out --payload {shlex.quote(payload)}"
    return f"aws lambda invoke --function-name {function} {given} /dev/stdout"
