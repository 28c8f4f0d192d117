"""What a flow must keep to beyond its shape: rules that tie values together, or need to know the session.

Every rule takes a flow that may be of any shape, and is silent where the schema already speaks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_fileflow import template
from pytest_fileflow.config.findings import Finding, is_secretive, quoted, suggestion
from pytest_fileflow.config.sizes import parse_size
from pytest_fileflow.model import TestData, Transfer, Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from pytest_fileflow.config.findings import Path

PLACEHOLDER = re.compile(r"<([A-Z][A-Z0-9_-]*)>")
_ARN_GAP = re.compile(r"\.\.\.|…")
_SECRET_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_FINE = "is not replaced (fine with --fileflow-sandbox)"

NAME_VARIABLES = frozenset({"run_id", "date", "time", "flow_id", "size"})
_RUN_VARIABLES = frozenset({"run_id", "flow_id", "file.name", "file.size", "file.sha256"})
_PLACE_VARIABLES = {
    "S3": frozenset({"uri", "bucket", "key", "path"}),
    "SFTP": frozenset({"uri", "key", "path", "host", "port", "username", "dir"}),
}
_SERVICES: tuple[tuple[Path, str, str], ...] = (
    (("source", "secret_arn"), "secretsmanager", "a secret"),
    (("target", "secret_arn"), "secretsmanager", "a secret"),
    (("source", "kms_key_arn"), "kms", "a KMS key"),
    (("target", "kms_key_arn"), "kms", "a KMS key"),
    (("transfer", "lambda_arn"), "lambda", "a Lambda function"),
    (("alerts", "sns_topic_arn"), "sns", "an SNS topic"),
    (("alerts", "slack_webhook_secret_arn"), "secretsmanager", "a secret"),
)


@dataclass(frozen=True)
class Rules:
    """The rules of a session: whether it runs in the sandbox, and which patterns and checks it knows."""

    sandbox: bool
    patterns: Mapping[str, Callable[[int], str | None]]
    checks: Collection[str]

    def broken(self, flow: object) -> Iterator[Finding]:
        """Yield what breaks a rule, save for placeholders; paths begin at the flow."""
        if not isinstance(flow, dict):
            return
        yield from _hosts(flow)
        yield from _transfer(flow)
        yield from _times(flow)
        yield from _checks(flow, self.checks)
        yield from _file_name(flow)
        yield from _sizes(flow, self.patterns)
        if not self.sandbox:
            yield from _arns(flow)

    def unreplaced(self, flow: object) -> Iterator[Finding]:
        """Yield the placeholders that stand where a real value must, outside the sandbox."""
        if not self.sandbox:
            yield from _placeholders(flow, ())


def is_placeholder(text: str) -> bool:
    """Return whether a text still has a part to be replaced."""
    return bool(PLACEHOLDER.search(text)) or (text.startswith("arn:") and bool(_ARN_GAP.search(text)))


def _part(flow: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = flow.get(name)
    return part if isinstance(part, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _hosts(flow: Mapping[str, Any]) -> Iterator[Finding]:
    for side in ("source", "target"):
        host = _part(flow, side).get("host")
        if isinstance(host, str) and host and not _is_host(host):
            message = f"{quoted(host)} is neither a DNS name nor an IP address"
            yield Finding((side, "host"), message)


def _is_host(host: str) -> bool:
    """Return whether a host is an address, or has the labels of a DNS name (RFC 1123, section 2.1)."""
    if ":" in host or re.fullmatch(r"[0-9.]+", host):
        import ipaddress

        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True
    name = PLACEHOLDER.sub("x", host)
    return all(_LABEL.fullmatch(label) for label in name.removesuffix(".").split("."))


def _transfer(flow: Mapping[str, Any]) -> Iterator[Finding]:
    transfer = _part(flow, "transfer")
    if "trigger_file" in transfer and transfer.get("mode") != "trigger_file":
        message = "trigger_file is only used with mode: trigger_file"
        yield Finding(("transfer", "trigger_file"), message, at_key=True)
    templates = [*_templates(transfer.get("payload"), ("transfer", "payload"))]
    trigger = _part(transfer, "trigger_file")
    for key in ("name", "content"):
        templates += _templates(trigger.get(key), ("transfer", "trigger_file", key))
    if templates:
        yield from _unknown_variables(templates, _run_variables(flow))
    if isinstance(trigger.get("name"), str) and not {"file.name", "run_id"} & set(template.names_in(trigger["name"])):
        message = "must hold ${file.name} or ${run_id}: what the test writes and removes must be nobody else's file"
        yield Finding(("transfer", "trigger_file", "name"), message)
    overwritten = {f"${{file.name}}{ending}" for ending in ("", ".sha256", ".manifest.json")}
    name = trigger.get("name")
    if isinstance(name, str) and name in overwritten:
        message = f"{quoted(name)} would overwrite a file of the test itself: choose another name"
        yield Finding(("transfer", "trigger_file", "name"), message)


def _run_variables(flow: Mapping[str, Any]) -> frozenset[str]:
    known = set(_RUN_VARIABLES)
    for side in ("source", "target"):
        kind = _part(flow, side).get("type")
        fields = _PLACE_VARIABLES.get(kind) if isinstance(kind, str) else None
        fields = fields or frozenset().union(*_PLACE_VARIABLES.values())
        known.update(f"{side}.{each}" for each in fields)
    return frozenset(known)


def _templates(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    return ((where, text) for where, text in _strings(value, path) if "${" in text)


def _unknown_variables(templates: Iterable[tuple[Path, str]], known: Collection[str]) -> Iterator[Finding]:
    for where, text in templates:
        for name in template.names_in(text):
            if name.startswith("{"):
                yield Finding(where, 'a "${" has no closing "}"')
            elif name not in known and is_secretive(where):
                yield Finding(where, "holds a variable that is not known (not shown)")
            elif name not in known:
                yield Finding(where, f"unknown variable ${{{_short(name)}}}{_variable_hint(name, known)}")


def _short(name: str) -> str:
    return quoted(name)[1:-1]


def _variable_hint(name: str, known: Collection[str]) -> str:
    side, _, rest = name.partition(".")
    if side in ("source", "target") and any(rest in fields for fields in _PLACE_VARIABLES.values()):
        kind = "S3" if rest in _PLACE_VARIABLES["S3"] else "SFTP"
        return f": only {kind} has it, and the {side} is no {kind}"
    return suggestion(name, known)


def _strings(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield every string in a value, with its path; notes under ``x-`` keys are nobody's values."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            if not key.startswith("x-"):
                yield from _strings(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, (*path, index))


def _times(flow: Mapping[str, Any]) -> Iterator[Finding]:
    timeout = _part(flow, "transfer").get("timeout_seconds", Transfer.timeout_seconds)
    validation = _part(flow, "validation")
    expected = validation.get("expect_within_seconds", Validation.expect_within_seconds)
    if _is_number(timeout) and _is_number(expected) and 0 < timeout < expected:
        default = "" if "expect_within_seconds" in validation else ", its default"
        message = f"timeout_seconds {timeout:g} is below expect_within_seconds {expected:g}{default}"
        yield Finding(("transfer", "timeout_seconds"), message)


def _checks(flow: Mapping[str, Any], known: Collection[str]) -> Iterator[Finding]:
    checks = _part(flow, "validation").get("checks")
    for index, check in enumerate(checks if isinstance(checks, list) else ()):
        path: Path = ("validation", "checks", index)
        name = check
        if isinstance(check, dict):
            name, path = check.get("name"), (*path, "name")
        if isinstance(name, str) and name and name not in known:
            yield Finding(path, f"unknown check {quoted(name)}{suggestion(name, known)}")


def _file_name(flow: Mapping[str, Any]) -> Iterator[Finding]:
    name = _part(flow, "testdata").get("filename")
    if not isinstance(name, str) or not name:
        return
    path: Path = ("testdata", "filename")
    yield from _unknown_variables(_templates(name, path), NAME_VARIABLES)
    if "run_id" not in template.names_in(name):
        yield Finding(path, "must hold ${run_id}, so that no two runs share a name")


def _sizes(flow: Mapping[str, Any], patterns: Mapping[str, Callable[[int], str | None]]) -> Iterator[Finding]:
    testdata = _part(flow, "testdata")
    name = testdata.get("pattern", TestData.pattern)
    if not isinstance(name, str) or not name:
        return
    if "pattern" in testdata and name not in patterns:
        yield Finding(("testdata", "pattern"), f"unknown pattern {quoted(name)}{suggestion(name, patterns)}")
    size_problem = patterns.get(name, _takes_any_size)
    for path, value in _given_sizes(testdata):
        try:
            problem = size_problem(parse_size(value))
        except ValueError as error:
            problem = f"{quoted(str(value))} {error}"
        if problem is not None:
            yield Finding(path, problem)


def _takes_any_size(_: int) -> None:
    return None


def _given_sizes(testdata: Mapping[str, Any]) -> Iterator[tuple[Path, int | float | str]]:
    """Yield the sizes of a flow that are of the right type, the default where none is given."""
    sizes = _part(testdata, "sizes")
    given: list[tuple[Path, object]] = [(("testdata", "sizes", name), value) for name, value in sizes.items()]
    if "size_bytes" in testdata:
        given.append((("testdata", "size_bytes"), testdata["size_bytes"]))
    elif "sizes" not in testdata:
        given.append((("testdata", "pattern"), TestData.variants[0].size))
    for path, value in given:
        if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
            yield path, value


def _arns(flow: Mapping[str, Any]) -> Iterator[Finding]:
    for path, service, noun in _SERVICES:
        value = _part(flow, str(path[0])).get(str(path[1]))
        if not isinstance(value, str) or not value or is_placeholder(value):
            continue
        if value.startswith("arn:"):
            if value.split(":")[2:3] != [service]:
                yield Finding(path, f"must be the ARN of {noun}: arn:aws:{service}:…")
        elif path[1] == "secret_arn" and not _SECRET_NAME.fullmatch(value):
            yield Finding(path, "must be the ARN of a Secrets Manager secret, or its name")


def _placeholders(flow: object, path: Path) -> Iterator[Finding]:
    for where, text in _strings(flow, path):
        for match in PLACEHOLDER.finditer(text):
            if f"</{match[1]}>" not in text:  # <ORDER>…</ORDER> is markup, not a placeholder
                yield Finding(where, f"placeholder <{_short(match[1])}> {_FINE}")
        if text.startswith("arn:") and _ARN_GAP.search(text):
            yield Finding(where, f'"..." in the ARN {_FINE}')
