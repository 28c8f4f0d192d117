"""How long flows usually take: decides when to look and what to launch first, and no verdict."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REMEMBERED = 10  # latencies of a case that are kept, the newest last
LONGEST_SECONDS = 10**9


def usual_seconds(kept: object) -> dict[str, float]:
    """Return the median latency of each case by its name, from what a cache held: anything may stand there."""
    if not isinstance(kept, dict):
        return {}
    latencies = {name: _numbers(values) for name, values in kept.items()}
    return {name: statistics.median(values) for name, values in latencies.items() if values}


def learned(kept: object, records: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return what a cache is to hold after these runs: only arrivals tell how long a flow takes."""
    latencies = {name: _numbers(values) for name, values in kept.items()} if isinstance(kept, dict) else {}
    for record in records:
        if record["latency_seconds"] is not None:
            name = f"{record['flow_id']}[{record['case']}]"
            latencies[name] = [*latencies.get(name, ()), record["latency_seconds"]][-REMEMBERED:]
    return latencies


def _numbers(values: object) -> list[float]:
    if not isinstance(values, list):
        return []
    return [float(value) for value in values if isinstance(value, (int, float)) and 0 <= value <= LONGEST_SECONDS]
