"""Settles what lost processes have left: runs without a record are recorded as interrupted, once."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.results.keeper import Kept
from pytest_fileflow.results.ledger import dead_pages, is_recorded
from pytest_fileflow.results.spool import Spool
from pytest_fileflow.results.store import Directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_fileflow.results.keeper import Keeper
    from pytest_fileflow.results.ledger import Entry, Ledger
    from pytest_fileflow.results.record import Record

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwnedUp:
    """A run whose process was lost: what was recorded of it, and where that lies."""

    record: Record
    kept: Kept


def own_up(page: Ledger, keeper: Keeper, until: float = float("inf")) -> list[OwnedUp]:
    """Record the runs of a page whose process is gone; what cannot be recorded stays on the page, its only witness.

    None is begun after ``until``, a monotonic moment.
    """
    told = []
    for entry in page.entries():
        if time.monotonic() > until:
            break
        kept = _kept(keeper, entry.record)
        told.append(OwnedUp(entry.record, kept))
        if not kept.problem:
            page.retire(entry)
    page.close()
    return told


def _kept(keeper: Keeper, record: Record, manifest: bytes | None = None) -> Kept:
    try:
        return keeper.keep(record, manifest)
    except Exception as error:  # noqa: BLE001 - what another version left must not hold up the others for good
        return Kept(problem=f"what the ledger holds of it cannot be recorded: {type(error).__name__}")


def settle(
    results: Path, keeper_of: Callable[[tuple[str, ...]], Keeper | None], seconds: float = float("inf")
) -> list[OwnedUp]:
    """Own up to the runs of killed sessions; ``keeper_of`` returns the keeper for places, or None to leave a page.

    No run is begun once ``seconds`` are over: what is left is for the next session.
    """
    told, until = [], time.monotonic() + seconds
    for page in dead_pages(results):
        keeper = keeper_of(page.told_places())
        if keeper is None:
            continue
        with page.claimed() as is_mine:
            if is_mine:
                _strike_recorded(results, page, keeper, until)
                told += own_up(page, keeper, until)
    return told


def _strike_recorded(results: Path, page: Ledger, keeper: Keeper, until: float) -> None:
    for entry in page.entries():
        if time.monotonic() > until:
            break
        if is_recorded(results, entry):
            _complete(results, entry, keeper)
            page.strike(entry.run.run_id)


def _complete(results: Path, entry: Entry, keeper: Keeper) -> None:
    """Give a record that lies here to those places that its process, killed meanwhile, had not reached."""
    waiting = Spool.of(results).of_run(entry.run.run_id)
    told = (waiting.record, waiting.manifest) if waiting is not None else None
    told = told or Directory(results).read(entry.named)
    if told is not None:
        record, manifest = told
        problem = _kept(keeper, record, manifest).problem
        if problem:
            logger.warning("run %s is not in all of its places: %s", entry.run.run_id, problem)
