"""Compares run records of the same case, whoever has carried it out: in all but names, times and request ids."""

from __future__ import annotations

import json
import re
from typing import Any

_SEEN = ("expected", "observed")


def alike(record: dict[str, Any]) -> dict[str, Any]:
    """Return what two records of the same case have in common."""
    text = json.dumps(record, ensure_ascii=False)
    for part, stand_in in ((record["file"]["sha256"], "SHA256"), (record["file"]["name"], "FILE")):
        text = text.replace(part, stand_in) if part else text
    told = json.loads(text.replace(record["run_id"], "RUN"))
    told.pop("faults", None)  # a session knows them, since it has switched them on
    told["reason"] = told["reason"] and blurred(told["reason"])
    told["checks"] = [{**check, **{name: blurred(check[name]) for name in _SEEN}} for check in told["checks"]]
    size = told["file"].pop("size")  # of a compressed file, it follows from the run id
    for name in ("latency_seconds", "latency_resolution_seconds"):
        told[name] = told[name] is None
    for name in ("timeline", "phases_seconds", "evidence"):
        told[name] = sorted(told[name])
    if told["observed"]:
        seen = told["observed"]
        told["observed"] = {**seen, "sha256": seen["sha256"] == "SHA256", "size": seen["size"] - size}
    return told


def blurred(text: str) -> str:
    """Return a text without what differs from run to run: digests, fingerprints, times and sizes."""
    text = re.sub(r"SHA256:\S+|\b[0-9a-f]{64}\b", "DIGEST", text)
    return re.sub(r"[0-9.]+", "#", text)
