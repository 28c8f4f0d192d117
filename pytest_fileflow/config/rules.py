"""What a flow must keep to beyond its shape: rules that tie values together, or need to know the session.

Every rule takes a flow that may be of any shape, and is silent where the schema already speaks.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_fileflow import template
from pytest_fileflow.config import alerting, arns, at_target, flow_schema
from pytest_fileflow.config.build import EMPTY, SEED
from pytest_fileflow.config.findings import Finding, is_secretive, quoted, suggestion
from pytest_fileflow.config.refusals import impossible
from pytest_fileflow.config.shape import part as _part
from pytest_fileflow.config.sizes import parse_size
from pytest_fileflow.faults import Fault, FaultError
from pytest_fileflow.model import TestData, Transfer, Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path as FolderPath

    from pytest_fileflow.config.environment import Environment
    from pytest_fileflow.config.findings import Path

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_FINE = "is not replaced (fine with --fileflow-sandbox)"

_WRAPPINGS = frozenset({"gzip", "zip", "pgp"})
_PLAIN = frozenset({"size_bytes", "sizes", "pattern", "filename_prefix", "filename", "delete_after", "tags"})
NAME_VARIABLES = frozenset({"run_id", "date", "time", "flow_id", "size"})
_RUN_VARIABLES = frozenset({"run_id", "flow_id", "file.name", "file.size", "file.sha256"})
_PLACE_VARIABLES = {
    "S3": frozenset({"uri", "bucket", "key", "path"}),
    "SFTP": frozenset({"uri", "key", "path", "host", "port", "username", "dir"}),
}


@dataclass(frozen=True)
class Rules:
    """The rules of a session: whether it runs in the sandbox, which patterns, checks and variables it knows.

    ``folder`` is where the file at hand lies.
    """

    sandbox: bool
    patterns: Mapping[str, Callable[[int], str | None]]
    checks: Mapping[str, Mapping[str, object] | None]
    environment: Environment | None = None
    folder: FolderPath | None = None

    def broken(self, flow: object) -> Iterator[Finding]:
        """Yield what breaks a rule, save for placeholders; paths begin at the flow."""
        if not isinstance(flow, dict):
            return
        yield from _hosts(flow)
        yield from _transfer(flow, self.environment)
        yield from _times(flow)
        yield from _checks(flow, self.checks)
        yield from at_target.impossible(flow)
        yield from _refusals(flow, self.environment)
        yield from _faults(flow)
        yield from _file_name(flow, self.environment)
        yield from _made_data(flow, self.patterns, self.folder)
        yield from _webhook_templates(flow, self.environment)
        yield from arns.of_channels(flow, sandbox=self.sandbox)
        if not self.sandbox:
            yield from arns.of_ends(flow)

    def of_part(self, flow: Mapping[str, Any]) -> Iterator[Finding]:
        """Yield what breaks a rule in a flow of which parts may lack, whatever the others are, placeholders too."""
        yield from _hosts(flow)
        yield from _checks(flow, self.checks)
        yield from _faults(flow)
        yield from _file_name(flow, self.environment)
        yield from _made_data(flow, self.patterns, self.folder)
        yield from _webhook_templates(flow, self.environment)
        yield from arns.of_channels(flow, sandbox=self.sandbox)
        yield from self.unreplaced(flow)
        if not self.sandbox:
            yield from arns.of_ends(flow)

    def refuses(self, flow: object) -> bool:
        """Return whether a flow breaks a rule, save for placeholders."""
        return any(True for _ in self.broken(flow))

    def finds_unreplaced(self, flow: object) -> bool:
        """Return whether a placeholder stands where a real value must."""
        return any(True for _ in self.unreplaced(flow))

    def unreplaced(self, flow: object) -> Iterator[Finding]:
        """Yield the placeholders that stand where a real value must, outside the sandbox."""
        if not self.sandbox:
            yield from _placeholders(flow, ())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _hosts(flow: Mapping[str, Any]) -> Iterator[Finding]:
    for side in ("source", "target"):
        host = _part(flow, side).get("host")
        if isinstance(host, str) and host and not _is_host(host):
            message = f"{quoted(host)} is neither a DNS name nor an IP address"
            yield Finding((side, "host"), message)


@functools.lru_cache  # a partner's flows all name the same one
def _is_host(host: str) -> bool:
    """Return whether a host is an address, or has the labels of a DNS name (RFC 1123, section 2.1)."""
    if ":" in host or re.fullmatch(r"[0-9.]+", host):
        import ipaddress

        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True
    name = arns.PLACEHOLDER.sub("x", host)
    return all(_LABEL.fullmatch(label) for label in name.removesuffix(".").split("."))


def _transfer(flow: Mapping[str, Any], environment: Environment | None) -> Iterator[Finding]:
    transfer = _part(flow, "transfer")
    trigger = _part(transfer, "trigger_file")
    templates = [*_templates(transfer.get("payload"), ("transfer", "payload"))] if "payload" in transfer else []
    if "trigger_file" in transfer:
        if transfer.get("mode") != "trigger_file":
            message = "trigger_file is only used with mode: trigger_file"
            yield Finding(("transfer", "trigger_file"), message, at_key=True)
        for key in ("name", "content"):
            templates += _templates(trigger.get(key), ("transfer", "trigger_file", key))
    if templates:
        yield from _unknown_variables(templates, _run_variables(flow), environment)
    name = trigger.get("name")
    if isinstance(name, str):
        yield from _trigger_name(name)
    awkward = _part(flow, "testdata").get("awkward")
    is_long = isinstance(awkward, list) and "long" in awkward and transfer.get("mode") == "trigger_file"
    if is_long and "file.name" in template.names_in(trigger.get("name", Transfer.trigger_name)):
        message = "a name of 255 bytes leaves no room for the ending of the trigger file: name that by ${run_id}"
        yield Finding(("testdata", "awkward"), message)


def _trigger_name(name: str) -> Iterator[Finding]:
    path: Path = ("transfer", "trigger_file", "name")
    if not {"file.name", "run_id"} & set(template.names_in(name)):
        message = "must hold ${file.name} or ${run_id}: what the test writes and removes must be nobody else's file"
        yield Finding(path, message)
    if name in {f"${{file.name}}{ending}" for ending in ("", ".sha256", ".manifest.json")}:
        yield Finding(path, f"{quoted(name)} would overwrite a file of the test itself: choose another name")


def _run_variables(flow: Mapping[str, Any]) -> frozenset[str]:
    kinds = (_part(flow, side).get("type") for side in ("source", "target"))
    return _variables_between(*(kind if isinstance(kind, str) else None for kind in kinds))


@functools.lru_cache
def _variables_between(source: str | None, target: str | None) -> frozenset[str]:
    """Return the variables of a run; where the type of an endpoint is not known, those of any."""
    known = set(_RUN_VARIABLES)
    for side, kind in (("source", source), ("target", target)):
        fields = _PLACE_VARIABLES.get(kind or "") or frozenset().union(*_PLACE_VARIABLES.values())
        known.update(f"{side}.{each}" for each in fields)
    return frozenset(known)


RUN_VARIABLES = _variables_between(None, None)
"""Whatever a payload or a trigger file may hold, whichever the endpoints."""


def _templates(value: object, path: Path) -> Iterator[tuple[Path, str]]:
    return ((where, text) for where, text in _strings(value, path) if "${" in text)


def _unknown_variables(
    templates: Iterable[tuple[Path, str]], known: Collection[str], environment: Environment | None
) -> Iterator[Finding]:
    """Yield the names that no run has; a variable of the environment is still there where another name is wrong."""
    own = environment.variables if environment is not None else ()
    for where, text in templates:
        for name in _names_in(text):
            if name.startswith("{"):
                yield Finding(where, 'a "${" has no closing "}"')
            elif name in known or name in own:
                continue
            elif is_secretive(where):
                yield Finding(where, "holds a variable that is not known (not shown)")
            else:
                hint = _variable_hint(name, known, None if environment is None else own)
                yield Finding(where, f"unknown variable ${{{_short(name)}}}{hint}")


@functools.lru_cache  # flows have their templates in common
def _names_in(text: str) -> tuple[str, ...]:
    return template.names_in(text)


def _short(name: str) -> str:
    return quoted(name)[1:-1]


def _variable_hint(name: str, known: Collection[str], own: Collection[str] | None) -> str:
    side, _, rest = name.partition(".")
    if side in ("source", "target") and any(rest in fields for fields in _PLACE_VARIABLES.values()):
        kind = "S3" if rest in _PLACE_VARIABLES["S3"] else "SFTP"
        return f": only {kind} has it, and the {side} is no {kind}"
    hint = suggestion(name, {*known, *(own or ())})
    return hint if own is not None or "did you mean" in hint else f"{hint}; no --fileflow-env was given"


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


def _checks(flow: Mapping[str, Any], known: Mapping[str, Mapping[str, object] | None]) -> Iterator[Finding]:
    checks = _part(flow, "validation").get("checks")
    for index, check in enumerate(checks if isinstance(checks, list) else ()):
        path: Path = ("validation", "checks", index)
        name = check
        if isinstance(check, dict):
            name, path = check.get("name"), (*path, "name")
        if isinstance(name, str) and name and name not in known:
            yield Finding(path, f"unknown check {quoted(name)}{suggestion(name, known)}")
        elif isinstance(name, str) and (schema := known.get(name)) is not None:
            yield from _options(check if isinstance(check, dict) else {}, schema, ("validation", "checks", index))


def _options(check: Mapping[str, Any], schema: Mapping[str, object], path: Path) -> Iterator[Finding]:
    """Yield what a check's own schema does not accept of the options that a flow gives it."""
    options = {key: value for key, value in check.items() if key != "name" and not key.startswith("x-")}
    if not flow_schema.fits(options, schema):
        from pytest_fileflow.config.explain import explain_options

        yield from explain_options(options, schema, path)


def _refusals(flow: Mapping[str, Any], environment: Environment | None) -> Iterator[Finding]:
    refusals = flow.get("negative")
    seen: set[str] = set()
    for index, refusal in enumerate(refusals if isinstance(refusals, list) else ()):
        path: Path = ("negative", index)
        name = refusal
        if isinstance(refusal, dict):
            name, path = refusal.get("name"), (*path, "name")
        if isinstance(name, str) and name in seen:
            yield Finding(path, f"{quoted(name)} is named twice, and each makes an item of that name")
        seen |= {name} if isinstance(name, str) else set()
        if isinstance(refusal, dict) and "payload" in refusal:
            templates = _templates(refusal["payload"], ("negative", index, "payload"))
            yield from _unknown_variables(templates, _run_variables(flow), environment)
    yield from impossible(flow)


def _faults(flow: Mapping[str, Any]) -> Iterator[Finding]:
    faults = _part(flow, "sandbox").get("faults")
    for index, fault in enumerate(faults if isinstance(faults, list) else ()):
        if isinstance(fault, str) and fault:
            try:
                Fault.parse(fault)
            except FaultError as error:
                yield Finding(("sandbox", "faults", index), str(error))


def _webhook_templates(flow: Mapping[str, Any], environment: Environment | None) -> Iterator[Finding]:
    for path, webhook in arns.webhooks(flow):
        if webhook.get("template") == "pagerduty" and "secret_arn" not in webhook:
            message = (
                "pagerduty needs secret_arn beside it: a secret that holds routing_key, the key of the integration"
            )
            yield Finding((*path, "template"), message)
        for key, known in (("headers", frozenset[str]()), ("template", alerting.VARIABLES)):
            for where, text in _templates(_part(webhook, key), (*path, key)):
                secrets = {name for name in _names_in(text) if name.startswith(alerting.SECRET)}
                if secrets and "secret_arn" not in webhook:
                    yield Finding(where, "${secret.…} needs secret_arn: the secret whose texts they are")
                yield from _unknown_variables([(where, text)], known | secrets, environment)


def _file_name(flow: Mapping[str, Any], environment: Environment | None) -> Iterator[Finding]:
    name = _part(flow, "testdata").get("filename")
    if not isinstance(name, str) or not name:
        return
    path: Path = ("testdata", "filename")
    yield from _unknown_variables(_templates(name, path), NAME_VARIABLES, environment)
    if "run_id" not in template.names_in(name):
        yield Finding(path, "must hold ${run_id}, so that no two runs share a name")


def _made_data(
    flow: Mapping[str, Any], patterns: Mapping[str, Callable[[int], str | None]], folder: FolderPath | None
) -> Iterator[Finding]:
    testdata = _part(flow, "testdata")
    if _PLAIN.issuperset(testdata) and testdata.get("pattern") != SEED:
        yield from _sizes(testdata, patterns, None)
        return
    from pytest_fileflow.config import made_data

    if not flow_schema.is_valid_part("testdata", testdata):
        return
    found = [*made_data.findings(testdata, folder)]
    for finding in found:
        yield Finding(("testdata", *finding.path), finding.message, finding.at_key)
    if not found and SEED not in testdata:
        yield from _sizes(testdata, patterns, made_data.size_problem_of(testdata))


def _sizes(
    testdata: Mapping[str, Any],
    patterns: Mapping[str, Callable[[int], str | None]],
    own: Callable[[int], str | None] | None,
) -> Iterator[Finding]:
    """Yield the sizes that cannot be made; ``own`` judges those of a pattern with options."""
    name = testdata.get("pattern", TestData.pattern)
    if not isinstance(name, str) or not name:
        return
    if "pattern" in testdata and name not in patterns:
        hint = f": it lies around a pattern, as in wrap: [{name}]" if name in _WRAPPINGS else suggestion(name, patterns)
        yield Finding(("testdata", "pattern"), f"unknown pattern {quoted(name)}{hint}")
    size_problem = own or patterns.get(name, _takes_any_size)
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
    elif "sizes" not in testdata and testdata.get("pattern") != EMPTY:
        given.append((("testdata", "pattern"), TestData.variants[0].size))
    for path, value in given:
        if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
            yield path, value


def _placeholders(flow: object, path: Path) -> Iterator[Finding]:
    for where, text in _strings(flow, path):
        for match in arns.PLACEHOLDER.finditer(text):
            if f"</{match[1]}>" not in text:  # <ORDER>…</ORDER> is markup, not a placeholder
                yield Finding(where, f"placeholder <{_short(match[1])}> {_FINE}")
        if text.startswith("arn:") and arns.ARN_GAP.search(text):
            yield Finding(where, f'"..." in the ARN {_FINE}')
