"""The names that a config may give a secret: in Secrets Manager, in Parameter Store, in the environment, in a file."""

from __future__ import annotations

import dataclasses
import os
import re
from typing import TYPE_CHECKING, Any, Final, Literal

from pytest_fileflow.model import SftpLocation
from pytest_fileflow.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_fileflow.model import Flow, Location

Kind = Literal["secretsmanager", "ssm", "env", "file"]

ENVIRONMENT: Final = "env:"
FILE: Final = "file:"
PARAMETER: Final = "ssm:"
FORMS: Final = "an ARN or a name in Secrets Manager, an ARN in Parameter Store or ssm:/path, env:NAME, or file:/path"

_SECRET_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z_-]{0,20}):")
_FORMS_BY_SCHEME: Final = {
    # A version or a label may follow a parameter's name.
    PARAMETER: (re.compile(r"/?[\w.-]+(/[\w.-]+)*(:[\w.-]+)?", re.ASCII), "a parameter: letters, digits and . _ - /"),
    ENVIRONMENT: (re.compile(r"[A-Za-z_][A-Za-z0-9_]*"), "an environment variable: letters, digits and _"),
    FILE: (re.compile(r"(?!.*//)[^\x00-\x1f\x7f]{1,4096}"), "a file: file:/path, file:~/path, or a path from here on"),
}


def kind_of(name: str) -> Kind:
    """Return where a secret of this name is.

    >>> [kind_of(name) for name in ("sftp/acme", "ssm:/sftp/acme", "env:ACME", "file:~/acme.json")]
    ['secretsmanager', 'ssm', 'env', 'file']
    >>> kind_of("arn:aws:ssm:eu-west-1:111111111111:parameter/sftp/acme")
    'ssm'
    """
    if name.startswith(ENVIRONMENT):
        return "env"
    if name.startswith(FILE):
        return "file"
    return "ssm" if name.startswith(PARAMETER) or _service(name) == "ssm" else "secretsmanager"


def is_plain(name: str) -> bool:
    """Return whether a text has the form of a name that is no ARN."""
    scheme, form = _form_of(name)
    return bool((form or _SECRET_NAME).fullmatch(name.removeprefix(scheme)))


def problem_of(name: str) -> str | None:
    """Return why a text can name no secret, in words that do not repeat it: it may be a secret itself."""
    if name.startswith("arn:"):
        return _problem_of_arn(name)
    if is_plain(name):
        return None
    scheme, form = _form_of(name)
    if form is not None:
        return f"{scheme} must be followed by the name of {_FORMS_BY_SCHEME[scheme][1]}"
    other = _SCHEME.match(name)
    near = nearest(other[1].lower(), [*(each.rstrip(":") for each in _FORMS_BY_SCHEME), "arn"]) if other else None
    return f"must name a secret by {FORMS}" + (f'; did you mean "{near}:"?' if near else "")


def _problem_of_arn(arn: str) -> str | None:
    if _service(arn) == "secretsmanager" or (_service(arn) == "ssm" and ":parameter/" in arn):
        return None
    return "must be the ARN of a secret: arn:aws:secretsmanager:… or arn:aws:ssm:…:parameter/…"


def _service(name: str) -> str:
    fields = name.split(":", 3)
    return fields[2] if fields[0] == "arn" and len(fields) > 3 else ""  # noqa: PLR2004 - arn, partition, service, rest


def _form_of(name: str) -> tuple[str, re.Pattern[str] | None]:
    found = next((scheme for scheme in _FORMS_BY_SCHEME if name.startswith(scheme)), "")
    return found, _FORMS_BY_SCHEME[found][0] if found else None


def anchored(flow: Flow, folder: Path) -> Flow:
    """Return the flow with the files of its secrets named from the root: what a config names lies beside it."""
    source, target = _at(flow.source, folder), _at(flow.target, folder)
    alerts = _all_at(flow.alerts, folder) if flow.alerts else flow.alerts
    checks = tuple(
        [dataclasses.replace(each, options=_all_at(each.options, folder)) for each in flow.validation.checks]
    )
    if (source, target, alerts, checks) == (flow.source, flow.target, flow.alerts, flow.validation.checks):
        return flow
    validation = dataclasses.replace(flow.validation, checks=checks)
    return dataclasses.replace(flow, source=source, target=target, alerts=alerts, validation=validation)


def at(name: str, folder: Path) -> str:
    """Return a secret's name, one of a file with its whole path.

    >>> from pathlib import Path
    >>> at("file:keys/acme.pem", Path("/flows")), at("file:/run/acme", Path("/flows")), at("env:ACME", Path("/flows"))
    ('file:/flows/keys/acme.pem', 'file:/run/acme', 'env:ACME')
    """
    if not name.startswith(FILE):
        return name
    path = os.path.expanduser(name.removeprefix(FILE))  # noqa: PTH111 - pathlib raises where nobody is called so
    return f"{FILE}{os.path.normpath(folder.absolute() / path)}"


def anchored_values(block: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a part of a config with the files of its secrets named from the root, as :func:`anchored` does."""
    return _all_at(block, folder)


def _at(place: Location, folder: Path) -> Location:
    if not isinstance(place, SftpLocation) or not place.secret_arn.startswith(FILE):
        return place
    return dataclasses.replace(place, secret_arn=at(place.secret_arn, folder))


def _all_at(block: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {name: _value_at(name, value, folder) for name, value in block.items()}


def _value_at(name: str, value: Any, folder: Path) -> Any:
    if isinstance(value, str):
        return at(value, folder) if name.endswith("secret_arn") else value
    if isinstance(value, list):
        return [_value_at(name, each, folder) for each in value]
    return _all_at(value, folder) if isinstance(value, dict) else value
