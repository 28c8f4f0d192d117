"""How a flow stands after a session: which of its cases failed, passed, or could not be judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_fileflow.results.record import headline
from pytest_fileflow.results.words import cut, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_fileflow.results.record import Record

# Which kind of case tells the most: what keeps a file from being sent at all, but what is well once one has arrived.
RANK = ("contract", "transfer", "rejects", "canary")
RANK_OF_PASSED = ("transfer", "contract", "rejects", "canary")
TEXT_LETTERS = 500  # of a reason or a hint in a message
NAMES = 10  # cases and run ids in a message


@dataclass(frozen=True)
class Standing:
    """One flow's cases in a session by their outcome, each with its last record."""

    failed: dict[str, Record] = field(default_factory=dict)
    passed: dict[str, Record] = field(default_factory=dict)
    unjudged: dict[str, Record] = field(default_factory=dict)


def standings(records: Iterable[Record]) -> dict[str, Standing]:
    """Return how each flow stands, by its id.

    Only the last attempt of a case counts. What was interrupted, and what was rehearsed, says nothing of a flow.
    """
    last: dict[tuple[str, str], Record] = {}
    for record in records:
        if record["cause"] == "tester.interrupted" or "rehearsal" in record:
            continue
        key = (record["flow_id"], record["case"])
        if key not in last or record["attempt"] >= last[key]["attempt"]:
            last[key] = record
    found: dict[str, Standing] = {}
    for (flow_id, case), record in last.items():
        standing = found.setdefault(flow_id, Standing())
        by_outcome = {"failed": standing.failed, "passed": standing.passed}
        by_outcome.get(record["outcome"], standing.unjudged)[case] = record
    return found


def facts(records: dict[str, Record]) -> dict[str, Any]:
    """Return what a message says of these cases of a flow, JSON-safe: the most telling one speaks for all."""
    is_well = all(record["outcome"] == "passed" for record in records.values())
    rank = RANK_OF_PASSED if is_well else RANK
    telling = min(records.values(), key=lambda record: _position(record.get("kind", "transfer"), rank))
    return {
        "owner": _short(telling.get("owner")),
        "description": _short(telling.get("description")),
        "cause": _short(telling["cause"]),
        "reason": _short(telling["reason"] or headline(telling)),
        "hint": _short(telling["hint"]),
        "cases": _names(sorted(records)),
        "run_ids": _names([record["run_id"] for record in records.values()]),
    }


def _position(kind: str, rank: tuple[str, ...]) -> int:
    return rank.index(kind) if kind in rank else len(rank)


def _short(text: object) -> str:
    return cut(plain(str(text or "")), TEXT_LETTERS)


def _names(names: list[str]) -> list[str]:
    more = len(names) - NAMES
    return [*map(plain, names[:NAMES]), *([f"and {more} more"] if more > 0 else [])]
