"""Which of a session's runs count: each case of each flow by its last attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_fileflow.results.record import Record


def final_attempts(records: Iterable[Record]) -> list[Record]:
    """Return the last attempt of each case of each flow: what a rerun has settled counts no longer."""
    last: dict[tuple[str, str], Record] = {}
    for record in records:
        case = (record["flow_id"], record["case"])
        if case not in last or record["attempt"] >= last[case]["attempt"]:
            last[case] = record
    return list(last.values())


def was_interrupted(record: Record) -> bool:
    """Return whether a run was ended before it could be judged: that says nothing about the flow."""
    return bool(record["cause"] == "tester.interrupted")
