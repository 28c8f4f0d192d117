"""Makes, of the schema of flows, that of the file which flows share, where a part need not be whole."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_fileflow.config.findings import Path

Schema = dict[str, Any]

_MAY_BE_PARTIAL = ("flow", "s3", "sftp", "transfer", "jira", "servicenow", "webhook")
_OF_ONE_FLOW = ("$schema", "flow_id", "version")
_NO_TEXT = ({"integer"}, {"number"}, {"boolean"})
_MAY_BE_A_NUMBER = {"integer", "string"}


def schema_of_shared(flow_schema: Schema) -> Schema:
    """Return the schema of ``endpoints.yaml``: endpoints by name, and defaults, a flow of which parts may lack."""
    defs = copy.deepcopy(flow_schema["$defs"])
    for name in _MAY_BE_PARTIAL:
        _require_nothing(defs[name])
    defs["named"] = {**defs["endpoint"], "required": ["type"], "allOf": defs["endpoint"]["else"]["allOf"]}
    for key in ("if", "then", "else"):
        del defs["named"][key]
    flow = defs.pop("flow")
    del defs["file_of_flows"]
    defs["endpoint"]["if"] = {"anyOf": [{"required": ["use"]}, {"not": {"required": ["type"]}}]}
    properties = {key: value for key, value in flow["properties"].items() if key not in _OF_ONE_FLOW}
    defs["defaults"] = {
        **flow,
        "title": "Defaults",
        "description": "A flow of which parts may lack: what flows below this folder have where they say nothing else.",
        "properties": properties,
    }
    return {
        "$schema": flow_schema["$schema"],
        "title": "pytest-fileflow endpoints and defaults",
        "description": "endpoints.yaml: what the flows beside it and below share.",
        "type": "object",
        "errorMessage": "must be an object with endpoints and defaults",
        "properties": {
            "$schema": flow_schema["$defs"]["flow"]["properties"]["$schema"],
            "endpoints": {
                "title": "Endpoints",
                "description": 'By the name that flows give: source: {use: NAME}. Keys beside "use" are put over them.',
                "type": "object",
                "propertyNames": {
                    "pattern": "^[A-Za-z0-9_][A-Za-z0-9_./-]*$",
                    "errorMessage": 'must start with a letter, digit or "_" and go on with these, ".", "/" and "-"',
                },
                "patternProperties": {"^x-": True},
                "additionalProperties": {"$ref": "#/$defs/named"},
                "examples": [{"landing": {"type": "S3", "bucket": "partner-landing"}}],
            },
            "defaults": {"$ref": "#/$defs/defaults"},
        },
        "patternProperties": {"^x-": True},
        "additionalProperties": False,
        "$defs": defs,
    }


def _require_nothing(part: Schema) -> None:
    part.pop("required", None)
    for key in ("then", "else"):
        if key in part:
            part[key].pop("required", None)


def paths_without_text(defs: Mapping[str, Schema], part: Schema | None = None, path: Path = ()) -> Iterator[Path]:
    """Yield the paths of a flow at which no text may stand, or one beside numbers: there, digits mean a number."""
    if path in (("source",), ("target",)):
        part = {"properties": {**defs["s3"]["properties"], **defs["sftp"]["properties"]}}
    whole = resolved(defs["flow"] if part is None else part, defs)
    kinds = whole.get("type", ())
    if ({kinds} if isinstance(kinds, str) else set(kinds)) in (*_NO_TEXT, _MAY_BE_A_NUMBER):
        yield path
    for key, inner in whole.get("properties", {}).items():
        yield from paths_without_text(defs, inner, (*path, key))


def resolved(part: Schema, defs: Mapping[str, Schema]) -> Schema:
    """Return a part of a schema with what it refers to put under it."""
    name = part.get("$ref", "").rpartition("/")[2]
    return {**defs[name], **part} if name in defs else part
