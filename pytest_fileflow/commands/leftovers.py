"""Finds and removes what killed sessions left at the ends of flows: by ledger, and in S3 by tag.

A file counts as ours only by what we alone can have given it: a name that holds the run id of a run
in a ledger whose process is gone, or tags that name the run id in the file's own name.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_fileflow.endpoints import delete_all
from pytest_fileflow.errors import ConfigInvalid, FileflowError
from pytest_fileflow.model import Location, S3Location, SftpLocation
from pytest_fileflow.results.ledger import ORPHANS, Entry, Ledger, abandoned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.endpoints.ssh import SshSessions
    from pytest_fileflow.model import Flow, Stat

LISTED = 10_000  # at most so many files of a place are looked through
_RUN_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")


@dataclass(frozen=True)
class Leftover:
    """A file that a run wrote, or a copy that its transfer made, and how we know."""

    location: Location
    name: str
    run_id: str
    flow_id: str
    known_by: str

    def __str__(self) -> str:
        return f"{self.location.uri(self.name)}  (run {self.run_id} of {self.flow_id}, by its {self.known_by})"


@dataclass
class Found:
    """What is to be removed, what could not be looked at, and the notes that are of no more use once all is gone."""

    leftovers: list[Leftover] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    notes: dict[str, Path] = field(default_factory=dict)
    unseen: set[str] = field(default_factory=set)

    def add(self, leftover: Leftover) -> None:
        """Take note of a file, once."""
        place = (leftover.location.uri(), leftover.name)
        if place not in {(each.location.uri(), each.name) for each in self.leftovers}:
            self.leftovers.append(leftover)


class Ends:
    """The endpoints of flows, as a session's, with the AWS configuration of this process."""

    def __init__(self, clients: AwsClients, ssh: SshSessions) -> None:
        self._clients = clients
        self._ssh = ssh
        self._made: dict[Location, Endpoint] = {}
        self._listed: dict[Location, list[Stat]] = {}

    def __call__(self, location: Location) -> Endpoint:
        """Return the endpoint of a location."""
        if location not in self._made:
            self._made[location] = self._make(location)
        return self._made[location]

    def listed(self, location: Location) -> list[Stat]:
        """Return the files of a location, listed once; raises FileflowError."""
        if location not in self._listed:
            self._listed[location] = self(location).list(limit=LISTED)
        return self._listed[location]

    def tags(self, location: S3Location, name: str) -> dict[str, str]:
        """Return an object's tags; raises FileflowError."""
        from pytest_fileflow.clients import translated

        client: Any = self._clients.client("s3")
        with translated("s3:GetObjectTagging", location.uri(name)):
            answer = client.get_object_tagging(Bucket=location.bucket, Key=location.key(name))
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def _make(self, location: Location) -> Endpoint:
        if isinstance(location, SftpLocation):
            from pytest_fileflow.endpoints.sftp import SftpEndpoint

            return SftpEndpoint(location, self._ssh)
        from pytest_fileflow.endpoints.s3 import S3Endpoint

        return S3Endpoint(location, self._clients.client("s3"), self._clients)


def look(
    results: Path, flows: Mapping[str, Flow], ends: Ends, *, older_than: float, now: Callable[[], float] = time.time
) -> Found:
    """Find what is left at the places of flows.

    By its tags alone a file counts as left behind when it is older than a run can last, by so many seconds.
    """
    found = Found()
    for entry, note in _orphans(results):
        flow = flows.get(entry.run.flow_id)
        if note is not None:
            found.notes[entry.run.run_id] = note
        if flow is None:
            found.unseen.add(entry.run.run_id)
            found.troubles.append(f"run {entry.run.run_id}: its flow {entry.run.flow_id} is not among the flows here")
        else:
            _by_ledger(entry, flow, ends, found)
    for flow in flows.values():
        latest = now() - older_than - flow.give_up_seconds
        for location in (flow.source, flow.target):
            if isinstance(location, S3Location):
                _by_tag(location, ends, latest, found)
    return found


def _orphans(results: Path) -> Iterator[tuple[Entry, Path | None]]:
    """Yield the runs that nobody has cleaned up after, and their notes in the orphans' folder, if they are there.

    What lay in a sandbox has gone with it.
    """
    noted = [(entry, page) for page in sorted((results / ORPHANS).glob("*")) for entry in Ledger(page).entries()]
    lost: list[tuple[Entry, Path | None]] = [(entry, page / f"{entry.run.run_id}.json") for entry, page in noted]
    lost += [(entry, None) for entry in abandoned(results)]
    for entry, note in lost:
        if _RUN_ID.fullmatch(entry.run.run_id) and not entry.record.get("sandbox"):
            yield entry, note


def _by_ledger(entry: Entry, flow: Flow, ends: Ends, found: Found) -> None:
    run = entry.run
    for side, location in (("source", flow.source), ("target", flow.target)):
        try:
            _require_same_place(entry, side, location)
            written = {name for of_side, name in run.written if of_side == side and run.run_id in name}
            names = {name for name in written if ends(location).stat(name) is not None}
            names |= {stat.name for stat in ends.listed(location) if run.run_id in stat.name}
        except FileflowError as error:
            found.unseen.add(run.run_id)
            found.troubles.append(f"run {run.run_id}: {error.cause}: {error.reason}")
            continue
        for name in sorted(names):
            found.add(Leftover(location, name, run.run_id, run.flow_id, "ledger"))


def _require_same_place(entry: Entry, side: str, location: Location) -> None:
    told = entry.record.get(side)
    where = told.get("location") if isinstance(told, dict) else None
    if where is not None and where != location.uri(entry.run.file.name):
        raise ConfigInvalid(f"its {side} was {where}, and the flow's is {location.uri()} now")


def _by_tag(location: S3Location, ends: Ends, latest: float, found: Found) -> None:
    try:
        for stat in ends.listed(location):
            ids = _RUN_ID.findall(stat.name)
            if not ids or (stat.modified or 0) > latest:
                continue
            tags = ends.tags(location, stat.name)
            if tags.get("synthetic") == "true" and tags.get("test_run_id") in ids:
                found.add(Leftover(location, stat.name, tags["test_run_id"], tags.get("flow_id", "?"), "tags"))
    except FileflowError as error:
        trouble = f"{location.uri()}: {error.cause}: {error.reason}"
        if trouble not in found.troubles:
            found.troubles.append(trouble)


def remove(found: Found, ends: Ends) -> list[str]:
    """Remove what was found, and the notes of runs of which nothing is left; return what stays, a line each."""
    stays: list[str] = []
    left = set(found.unseen)
    by_place: dict[Location, list[Leftover]] = {}
    for leftover in found.leftovers:
        by_place.setdefault(leftover.location, []).append(leftover)
    for location, leftovers in by_place.items():
        errors = delete_all(ends(location), [each.name for each in leftovers])
        for each in leftovers:
            if each.name in errors:
                left.add(each.run_id)
                stays.append(f"{location.uri(each.name)}: {errors[each.name].cause}: {errors[each.name].reason}")
    _forget([note for run_id, note in found.notes.items() if run_id not in left])
    return stays


def _forget(notes: Sequence[Path]) -> None:
    import contextlib

    for note in notes:
        note.unlink(missing_ok=True)
        for folder in (note.parent, note.parent.parent):
            with contextlib.suppress(OSError):  # others are in it
                folder.rmdir()
