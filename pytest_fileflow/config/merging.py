"""Puts a flow over the defaults that it has in common with others, as far as they can be meant for it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config import flow_schema, refusals
from pytest_fileflow.config.shape import part

if TYPE_CHECKING:
    from collections.abc import Mapping

Config = dict[str, Any]

_OF_FUNCTIONS = frozenset({"lambda_arn", "invocation", "payload"})
_EXCLUSIVE = (("size_bytes", "sizes"), ("url", "url_secret_arn"))
"""Of each pair a flow has one; where it says one, the other is no default for it."""


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> Config:
    """Return one map put over another: maps within become one, and lists and plain values replace each other."""
    found = {**under, **over}
    for key, value in over.items():
        if isinstance(value, dict):
            below = under.get(key)
            if isinstance(below, dict):
                found[key] = merged(below, value)
    return found


def with_defaults(flow: Config, defaults: Mapping[str, Any]) -> Config:
    """Return a flow over the defaults that can be meant for it; the ends are somebody else's."""
    meant = {key: value for key, value in defaults.items() if key not in ("source", "target")}
    if isinstance(flow.get("transfer"), dict) or "transfer" not in flow:
        meant["transfer"] = _transfer(part(flow, "transfer"), part(defaults, "transfer"))
    if not meant.get("transfer"):
        meant.pop("transfer", None)
    if "testdata" in meant:
        meant["testdata"] = _without_rivals(part(flow, "testdata"), meant["testdata"])
    if isinstance(part(meant, "alerts").get("webhook"), dict):
        webhook = _without_rivals(part(part(flow, "alerts"), "webhook"), meant["alerts"]["webhook"])
        meant["alerts"] = {**meant["alerts"], "webhook": webhook}
    return merged(meant, flow)


def _transfer(own: Mapping[str, Any], default: Mapping[str, Any]) -> Config:
    """Leave out what starts a function where the flow says that it starts otherwise, and so for a trigger file."""
    mode = own.get("mode", default.get("mode"))
    unfit = set(_OF_FUNCTIONS) if own.get("mode") in ("event", "trigger_file") else set()
    if mode != "trigger_file":
        unfit.add("trigger_file")
    return {key: value for key, value in default.items() if key not in unfit}


def _without_rivals(own: Mapping[str, Any], default: Any) -> Any:
    unfit = {other for pair in _EXCLUSIVE for other in pair if (set(pair) - {other}) & set(own)}
    return {key: value for key, value in default.items() if key not in unfit} if isinstance(default, dict) else default


def possible_cases(whole: Config) -> Any:
    """Return the negative cases that are defaults without those that this flow cannot have."""
    if not isinstance(whole["negative"], list):
        return whole["negative"]
    unfit = {finding.path[1] for finding in refusals.impossible(whole)}
    return [case for index, case in enumerate(whole["negative"]) if index not in unfit]


def end_over(own: Mapping[str, Any], endpoint: Mapping[str, Any], default: Mapping[str, Any]) -> Config:
    """Return an end of a flow over the endpoint that it names, over a default where that is for the same type."""
    kind = own.get("type", endpoint.get("type", default.get("type")))
    meant: Mapping[str, Any] = {}
    if default.get("type", kind) == kind:
        meant = {key: value for key, value in default.items() if key in _keys_of(kind)}
    return {key: value for key, value in {**meant, **endpoint, **own}.items() if key != "use"}


def _keys_of(kind: object) -> frozenset[str]:
    known = _keys_by_type()
    return known.get(kind, frozenset[str]().union(*known.values())) if isinstance(kind, str) else frozenset()


@functools.cache
def _keys_by_type() -> dict[str, frozenset[str]]:
    defs = flow_schema.schema()["$defs"]
    return {name.upper(): frozenset(defs[name]["properties"]) for name in ("s3", "sftp")}
