"""What the checks of a place, and the changes that a flow makes to its files, must keep to beyond their shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_fileflow import template
from pytest_fileflow.config.findings import Finding, quoted, suggestion
from pytest_fileflow.config.shape import part
from pytest_fileflow.transforms import NAME_VARIABLES, OWN_VARIABLES, RENAMED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_fileflow.config.findings import Path

_OF_S3 = frozenset(("kms", "metadata", "tags"))
_LABELS = frozenset(("metadata", "tags"))


def impossible(flow: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what a flow cannot have, or has in vain."""
    validation = part(flow, "validation")
    checks = validation.get("checks")
    seen: set[str] = set()
    for index, given in enumerate(checks if isinstance(checks, list) else ()):
        options = given if isinstance(given, dict) else {"name": given}
        name, path = options.get("name"), ("validation", "checks", index)
        at: Path = (*path, "name") if isinstance(given, dict) else path
        if not isinstance(name, str):
            continue
        if name in _OF_S3:
            yield from _of_s3(name, options, flow, at)
        elif name == RENAMED:
            yield from _renamed(options, path, at, is_second=name in seen)
        seen.add(name)
    yield from _unwraps(validation, part(flow, "testdata"))


def _of_s3(name: str, options: Mapping[str, Any], flow: Mapping[str, Any], at: Path) -> Iterator[Finding]:
    target = part(flow, "target")
    if target.get("type") == "SFTP":
        yield Finding(at, f"{name} is for S3 targets: an SFTP server keeps nothing of the kind")
    elif name in _LABELS and not ("equals" in options or "present" in options):
        yield Finding(at, f"{name} needs equals or present: what must be there")
    elif name == "kms" and "key_arn" not in options and "kms_key_arn" not in target:
        yield Finding(at, "kms needs key_arn, or kms_key_arn at the target: which key it must be")


def _renamed(options: Mapping[str, Any], path: Path, at: Path, *, is_second: bool) -> Iterator[Finding]:
    if is_second:
        yield Finding(at, "renamed is named twice, and a file has one name")
    to = options.get("to")
    if "to" not in options and at == path:
        yield Finding(at, 'renamed needs to: the name at the target, as in {name: renamed, to: "${file.name}.gz"}')
    if not isinstance(to, str) or not to:
        return
    names = template.names_in(to)
    for name in names:
        if name.startswith("{"):
            yield Finding((*path, "to"), 'a "${" has no closing "}"')
        elif name not in NAME_VARIABLES:
            yield Finding(
                (*path, "to"), f"unknown variable ${{{quoted(name)[1:-1]}}}{suggestion(name, NAME_VARIABLES)}"
            )
    if not OWN_VARIABLES & set(names):
        message = "must hold ${run_id}, ${file.name} or ${file.stem}: what is judged and removed must be the run's own"
        yield Finding((*path, "to"), message)


def _unwraps(validation: Mapping[str, Any], testdata: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a layer that is taken off although the test data has it not."""
    unwraps, wraps = validation.get("unwraps"), testdata.get("wrap", [])
    if not isinstance(unwraps, list) or not isinstance(wraps, list):
        return
    has = [wrap.get("name") if isinstance(wrap, dict) else wrap for wrap in wraps]
    for index, layer in enumerate(unwraps):
        if isinstance(layer, str) and has[index : index + 1] != [layer]:
            there = f"testdata.wrap has {', '.join(map(str, has))}" if has else "testdata.wrap has none"
            yield Finding(("validation", "unwraps", index), f"{quoted(layer)} is not there to be taken off: {there}")
            return
