"""Which negative cases a flow cannot have: those that nothing could be learnt from."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from pytest_fileflow import template
from pytest_fileflow.config.findings import Finding, quoted
from pytest_fileflow.config.shape import part
from pytest_fileflow.model import BAD_PAYLOAD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_fileflow.config.findings import Path

_OPTIONS = {
    "wrong_key": ("side",),
    "unknown_user": ("side",),
    "forbidden_write": ("side", "dir", "prefix"),
    "missing_source": ("payload",),
    "bad_payload": ("payload",),
}
_ALL_OPTIONS = dict.fromkeys(option for options in _OPTIONS.values() for option in options)
_OF_TYPE = {"dir": "SFTP", "prefix": "S3"}
_NAMES_THE_FILE = frozenset(
    {"run_id", "file.name"} | {f"{side}.{field}" for side in ("source", "target") for field in ("uri", "key", "path")}
)


def impossible(flow: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the negative cases that this flow cannot have, and options that have no meaning there."""
    refusals = flow.get("negative")
    for index, given in enumerate(refusals if isinstance(refusals, list) else ()):
        refusal = given if isinstance(given, dict) else {"name": given}
        name = refusal.get("name")
        if isinstance(name, str) and name in _OPTIONS:
            path: Path = ("negative", index)
            yield from _options(name, refusal, path, flow)
            at = (*path, "name") if isinstance(given, dict) else path
            if name == "forbidden_write":
                yield from _write(refusal, path, at, flow)
            elif name in ("missing_source", "bad_payload"):
                yield from _start(name, refusal, at, flow)


def _options(name: str, refusal: Mapping[str, Any], path: Path, flow: Mapping[str, Any]) -> Iterator[Finding]:
    for option in _ALL_OPTIONS:
        if option not in refusal:
            continue
        if option not in _OPTIONS[name]:
            yield Finding((*path, option), f"{name} has no {option}", at_key=True)
        elif option in _OF_TYPE and _is_of_other_type(_OF_TYPE[option], refusal, flow):
            where = f"the {refusal['side']}" if "side" in refusal else "neither end"
            is_not = "is not" if "side" in refusal else "is"
            yield Finding((*path, option), f"{option} is for {_OF_TYPE[option]}: {where} {is_not} such", at_key=True)


def _is_of_other_type(wanted: str, refusal: Mapping[str, Any], flow: Mapping[str, Any]) -> bool:
    types = [end.get("type") for _, end in _ends(refusal, flow)]
    return wanted not in types and all(kind in _OF_TYPE.values() for kind in types)


def _ends(refusal: Mapping[str, Any], flow: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(side, part(flow, side)) for side in ("source", "target") if refusal.get("side", side) == side]


def _write(refusal: Mapping[str, Any], path: Path, at: Path, flow: Mapping[str, Any]) -> Iterator[Finding]:
    for option, kind in _OF_TYPE.items():
        for side, end in _ends(refusal, flow):
            place = refusal.get(option, "/" if option == "dir" else None)
            theirs = end.get(option, "")
            if end.get("type") != kind or not isinstance(place, str) or not isinstance(theirs, str):
                continue
            if _folder(place) == _folder(theirs):
                message = f"{quoted(place)} is where this flow itself writes at its {side}: name another {option}"
                yield Finding((*path, option) if option in refusal else at, f"{message}, or the other side")


def _folder(place: str) -> str:
    return posixpath.normpath(posixpath.join("/", place))


def _start(name: str, refusal: Mapping[str, Any], at: Path, flow: Mapping[str, Any]) -> Iterator[Finding]:
    transfer = part(flow, "transfer")
    mode = transfer.get("mode", "invoke" if "lambda_arn" in transfer else "event")
    if mode == "event":
        yield Finding(at, f"{name} is not possible in an event flow: there is nothing to start")
    elif mode == "trigger_file" and name == "bad_payload":
        yield Finding(at, "bad_payload is not possible with a trigger file: there is no function to invoke")
    elif mode == "invoke":
        own = transfer.get("payload", {})
        payload = refusal.get("payload", own if name == "missing_source" else dict(BAD_PAYLOAD))
        if name == "bad_payload" and payload == own:
            yield Finding(at, "this is the payload that the flow itself has: choose another")
        if name == "missing_source" and not _NAMES_THE_FILE & set(template.names_in(payload)):
            message = "needs a payload that names the file, with ${file.name} or ${source.key} for example: "
            yield Finding(at, f"missing_source {message}a function that takes whatever lies there cannot miss a file")
