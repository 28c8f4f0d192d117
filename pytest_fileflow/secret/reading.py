"""Reads a secret where its name says that it is: Secrets Manager, Parameter Store, the environment, a file."""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_fileflow.aws_errors import error_code, error_message, evidence_of, translated
from pytest_fileflow.config.secret_names import ENVIRONMENT, FILE, PARAMETER, Kind, kind_of
from pytest_fileflow.errors import AccessDenied, SecretMalformed, SecretMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.exceptions import ClientError

    from pytest_fileflow.clients import AwsClients

logger = logging.getLogger(__name__)

_MISSING: Final = frozenset(
    ("ResourceNotFoundException", "ResourceNotFound", "ParameterNotFound", "ParameterVersionNotFound")
)
# What Secrets Manager answers for a secret that is scheduled for deletion, among other things.
_DELETED: Final = "InvalidRequestException"
_LONGEST: Final = 65_536  # bytes, as in Secrets Manager


@dataclass(frozen=True, repr=False)
class Secret:
    """What a secret holds, and how its store calls this version of it: ``""`` where there are no versions."""

    content: str | bytes
    version: str = ""

    def __repr__(self) -> str:
        return f"Secret(***, version={self.version!r})"


def read(clients: AwsClients, name: str, *, sandbox: bool = False) -> Secret:
    """Return what a secret holds now.

    The sandbox has a login of its own under every name, so nothing of this machine is read there.

    Raises:
        SecretMissing: there is no such secret, or it is scheduled for deletion.
        SecretMalformed: its file is none, is too large, or is open to everybody.
        AccessDenied, KmsDenied, CredentialsUnusable, NetworkError: as the names say.

    """
    __tracebackhide__ = True  # or pytest's --showlocals would print the secret
    logger.debug("reading the secret %s", name)
    kind = kind_of(name)
    if sandbox and kind in ("env", "file"):
        kind = "secretsmanager"
    return _READERS[kind](clients, name)


def _from_secrets_manager(clients: AwsClients, name: str) -> Secret:
    from botocore.exceptions import ClientError

    client = clients.client("secretsmanager", name)
    with translated("secretsmanager:GetSecretValue", name):
        try:
            answer = client.get_secret_value(SecretId=name)
        except ClientError as error:
            _raise_if_missing(error, name)
            raise
    version = ", ".join([f"version {answer['VersionId']}", *answer.get("VersionStages", ())])
    return Secret(answer.get("SecretString") or answer.get("SecretBinary") or "", version)


def _from_parameter_store(clients: AwsClients, name: str) -> Secret:
    from botocore.exceptions import ClientError

    client = clients.client("ssm", name)
    with translated("ssm:GetParameter", name):
        try:
            answer = client.get_parameter(Name=name.removeprefix(PARAMETER), WithDecryption=True)
        except ClientError as error:
            _raise_if_missing(error, name)
            raise
    return Secret(answer["Parameter"]["Value"], f"version {answer['Parameter']['Version']}")


def _raise_if_missing(error: ClientError, name: str) -> None:
    code = error_code(error)
    if code in _MISSING:
        raise SecretMissing(f"there is no secret {name}", evidence=evidence_of(error)) from error
    if code == _DELETED and "delet" in error_message(error).lower():
        raise SecretMissing(
            f"the secret {name} is scheduled for deletion",
            hint="Restore it (aws secretsmanager restore-secret) or name its successor in secret_arn.",
            evidence=evidence_of(error),
        ) from error


def _from_environment(_: AwsClients, name: str) -> Secret:
    variable = name.removeprefix(ENVIRONMENT)
    value = os.environ.get(variable)
    if not value:
        raise SecretMissing(
            f"there is no secret {name}: the environment variable is {'not set' if value is None else 'empty'}",
            hint=f"Set {variable} where the tests run: JSON, or the private key. CI services leave it empty in forks.",
        )
    return Secret(value)


def _from_file(_: AwsClients, name: str) -> Secret:
    path = Path(os.path.expanduser(name.removeprefix(FILE)))  # noqa: PTH111 - pathlib raises where nobody is called so
    try:
        found = path.stat()
        _require_private(found, name, path)
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise SecretMissing(
            f"there is no secret {name}: there is no such file", hint=f"Put the secret into {path}, or name its file."
        ) from None
    except OSError as error:
        raise AccessDenied(
            f"reading the secret {name} was denied: {error.strerror}",
            hint=f"Let the user who runs the tests read {path}.",
            evidence={"secret_arn": name},
        ) from None
    written = datetime.fromtimestamp(found.st_mtime, timezone.utc)
    return Secret(content, f"written {written:%Y-%m-%dT%H:%M:%SZ}")


def _require_private(found: os.stat_result, name: str, path: Path) -> None:
    """Raise for what is no file, or no secret any more; a group may read it: so containers are given theirs."""
    if not stat.S_ISREG(found.st_mode):
        raise SecretMalformed(f"the secret {name} is not a regular file", hint=f"Name a file: {path} is none.")
    if found.st_size > _LONGEST:
        raise SecretMalformed(f"the secret {name} has {found.st_size} bytes: a secret has at most {_LONGEST}")
    if os.name == "posix" and found.st_mode & stat.S_IRWXO:
        mode = stat.S_IMODE(found.st_mode)
        raise SecretMalformed(
            f"the file of the secret {name} is open to every user of this machine (mode {mode:04o}), and is not used",
            hint=f"chmod 600 {path}; and if others had access to this machine, change what it holds.",
        )


_READERS: Mapping[Kind, Callable[[AwsClients, str], Secret]] = {
    "secretsmanager": _from_secrets_manager,
    "ssm": _from_parameter_store,
    "env": _from_environment,
    "file": _from_file,
}
