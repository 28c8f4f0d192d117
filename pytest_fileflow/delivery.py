"""Delivers what earlier sessions could not: records that wait for their store, and runs of killed sessions."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_fileflow.results.settling import settle
from pytest_fileflow.results.spool import Spool
from pytest_fileflow.results.store import open_store
from pytest_fileflow.results.words import plain
from pytest_fileflow.settings import DEFAULT_RESULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.keeper import Keeper
    from pytest_fileflow.results.settling import OwnedUp
    from pytest_fileflow.results.spool import Delivery
    from pytest_fileflow.session import FlowSession

SECONDS = 30.0  # at the end of a session; what is left then waits on
LINES = 10


@dataclass(frozen=True)
class Outcome:
    """Lines that say what was done, and what could not be."""

    notes: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


def after_session(session: FlowSession) -> None:
    """Own up to killed sessions, deliver what waits, and say so; the sandbox delivers nothing anywhere."""
    recording, here = session.recording, session.config.invocation_params.dir
    if recording.played:
        played = ", ".join(map(str, recording.played))
        session.notes.append(f"{played}: played in the sandbox, and gone with it; the records below stay")
    local = session.settings.results
    done = deliver(
        local,
        session.aws,
        keeper_of=recording.keeper_of,
        seconds=0 if session.settings.sandbox else SECONDS,
        command=upload_command(local, here),
        here=here,
    )
    session.notes += done.notes
    session.troubles += done.troubles


def deliver(
    local: Path,
    clients: Callable[[], AwsClients],
    *,
    keeper_of: Callable[[tuple[str, ...]], Keeper | None],
    seconds: float,
    command: str,
    here: Path,
    places: Sequence[str] = (),
) -> Outcome:
    """Do all of it for one results folder, and begin nothing more once ``seconds`` are over; 0: deliver nothing.

    ``command`` is what a user may call to try again, ``here`` where paths are shown from.
    """
    lost = settle(local, keeper_of, seconds or SECONDS)
    told = Spool.of(local).deliver(lambda place: open_store(place, clients), seconds, tuple(places)) if seconds else []
    notes = list(_of_killed(lost, _from(here, local)))
    troubles: list[str] = []
    for delivery in told:
        if delivery.delivered:
            notes.append(f"delivered: {_records(delivery.delivered)} that had waited for {delivery.place}")
        troubles += _waiting(delivery, _from(here, local / "spool"), command)
    troubles += [f"NOT RECORDED: run {one.record['run_id']}: {one.kept.problem}" for one in lost if one.kept.problem]
    return Outcome(notes, troubles)


def upload_command(local: Path, here: Path) -> str:
    """Return the command that delivers what waits in a results folder."""
    shown = _from(here, local)
    return "fileflow upload" if shown == DEFAULT_RESULTS else f"fileflow upload --results {shlex.quote(shown)}"


def _waiting(delivery: Delivery, spool: str, command: str) -> Iterator[str]:
    if not delivery.waiting:
        return
    verb = "waits" if delivery.waiting == 1 else "wait"
    yield (
        f"NOT DELIVERED: {_records(delivery.waiting)} {verb} in {spool} for {delivery.place}: {plain(delivery.why)}; "
        f"the next session tries again, or: {command}"
    )
    for line in delivery.refused[:LINES]:
        yield f"refused for good: {plain(line)}"


def _of_killed(lost: Sequence[OwnedUp], local: str) -> Iterator[str]:
    recorded = [one.record for one in lost if not one.kept.problem]
    if not recorded:
        return
    yield f"recorded as interrupted: {_runs(len(recorded))} of a session that was killed"
    # What lay in a sandbox has gone with it.
    residue = [name for record in recorded if not record.get("sandbox") for name in record["residue"]]
    for name in residue[:LINES]:
        yield f"may be left behind by a killed session: {plain(name)}"
    if residue:
        files = "1 file" if len(residue) == 1 else f"{len(residue)} files"
        yield f"may be left behind by killed sessions: {files} in all, noted in {local}/orphans for `fileflow clean`"


def _records(number: int) -> str:
    return f"{number} record{'' if number == 1 else 's'}"


def _runs(number: int) -> str:
    return f"{number} run{'' if number == 1 else 's'}"


def _from(here: Path, path: Path) -> str:
    """Return a path as it is shortest to say."""
    shown = os.path.relpath(path, here)
    return str(path) if shown.startswith("..") else shown
