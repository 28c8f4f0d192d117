"""Makes of a record, of whatever age and origin, the flat row that a history keeps of it."""

from __future__ import annotations

import itertools
import json
import math
from datetime import datetime, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_fileflow.results.words import SENTENCE_LETTERS, cut, encodable

if TYPE_CHECKING:
    from collections.abc import Mapping

Row = dict[str, Any]

# By column: its type in SQL. ``began`` is in seconds since 1970, ``phases`` a JSON object.
COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "path": "VARCHAR",
        "run_id": "VARCHAR",
        "flow_id": "VARCHAR",
        "test": "VARCHAR",
        "kind": "VARCHAR",
        "direction": "VARCHAR",
        "attempt": "INTEGER",
        "outcome": "VARCHAR",
        "cause": "VARCHAR",
        "reason": "VARCHAR",
        "hint": "VARCHAR",
        "owner": "VARCHAR",
        "description": "VARCHAR",
        "began": "DOUBLE",
        "latency_seconds": "DOUBLE",
        "slo_seconds": "DOUBLE",
        "size": "BIGINT",
        "phases": "VARCHAR",
        "sandbox": "BOOLEAN",
    }
)
OUTCOMES = ("passed", "failed", "error")
MOST_PHASES = 50  # a run has seven; nobody's file makes a row too long
LARGEST_SIZE = 2**63 - 1
LARGEST_ATTEMPT = 2**31 - 1
LATEST = datetime(9999, 1, 1, tzinfo=timezone.utc).timestamp()
NAME_LETTERS = 100


def row_of(content: bytes, path: str, fallback: float | None = None) -> Row | None:
    """Return the row of a record's file, or None for what is no record.

    A field that is missing or of another type than expected is taken for absent; without ids, an
    outcome and a moment it is no record. ``fallback`` is the moment of a run that has no stamps.
    """
    if encodable(path) != path:  # a name of other bytes than UTF-8's is none of ours, and cannot be asked for
        return None
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return row(record, path, fallback)


def row(record: object, path: str, fallback: float | None = None) -> Row | None:
    """Return the row of a record, as :func:`row_of`."""
    if not isinstance(record, dict) or record.get("outcome") not in OUTCOMES:
        return None
    run_id, flow_id = _text(record, "run_id"), _text(record, "flow_id")
    began = _began(record.get("timeline"), fallback)
    if not run_id or not flow_id or began is None:
        return None
    kind = _text(record, "kind") or "transfer"
    is_transfer = kind == "transfer"
    file = record.get("file")
    attempt = _number(record, "attempt") or 1
    return {
        "path": path,
        "run_id": run_id,
        "flow_id": flow_id,
        "test": _text(record, "case") or "",
        "kind": kind,
        "direction": _text(record, "direction") or "",
        "attempt": int(attempt) if 0 < attempt <= LARGEST_ATTEMPT else 1,
        "outcome": record["outcome"],
        **{name: _text(record, name) for name in ("cause", "reason", "hint")},
        **{name: _text(record, name) or "" for name in ("owner", "description")},
        "began": began,
        "latency_seconds": _number(record, "latency_seconds") if is_transfer else None,
        "slo_seconds": _number(record, "slo_seconds") if is_transfer else None,
        "size": _size(file) if is_transfer and isinstance(file, dict) else None,
        "phases": json.dumps(_phases(record.get("phases_seconds"))),
        "sandbox": bool(record.get("sandbox")) or "rehearsal" in record,
    }


def _text(record: Row, name: str) -> str | None:
    value = record.get(name)
    return cut(str(encodable(value)), SENTENCE_LETTERS) if isinstance(value, str) else None


def _number(record: Row, name: str) -> float | None:
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _size(file: Row) -> int | None:
    size = _number(file, "size")
    return int(size) if size is not None and 0 <= size < LARGEST_SIZE else None


def _phases(told: object) -> dict[str, float]:
    if not isinstance(told, dict):
        return {}
    names = itertools.islice(told, MOST_PHASES)
    seconds = {cut(str(encodable(name)), NAME_LETTERS): _number(told, name) for name in names}
    return {name: value for name, value in seconds.items() if value is not None}


def _began(timeline: object, fallback: float | None) -> float | None:
    """Return the first stamp, or the fallback; None for what is no moment from 1970 to 9998."""
    moments = (_first(timeline), fallback)
    return next((moment for moment in moments if moment is not None and 0 <= moment < LATEST), None)


def _first(timeline: object) -> float | None:
    stamps = [stamp for stamp in timeline.values() if isinstance(stamp, str)] if isinstance(timeline, dict) else []
    try:
        return min(map(_moment, stamps), default=None)
    except (ValueError, OverflowError):
        return None


def _moment(stamp: str) -> float:
    moment = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
