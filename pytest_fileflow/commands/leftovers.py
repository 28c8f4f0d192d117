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
from pytest_fileflow.results.ledger import ORPHANS, Entry, Ledger, dead_pages, is_recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.endpoints.ssh import SshSessions
    from pytest_fileflow.model import Flow, Stat

AT_A_TIME = 1000  # S3's own limit for one request
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


@dataclass(frozen=True)
class Lost:
    """A run that nobody has cleaned up after, and who knows of it: a note, or the page of a process that is gone."""

    entry: Entry
    page: Ledger
    is_noted: bool

    def note_clean(self) -> None:
        """Let nobody look for its files again; raises OSError."""
        if self.is_noted:
            self.page.strike(self.entry.run.run_id)
            self.page.close()
        else:
            self.page.note_clean(self.entry)


@dataclass
class Found:
    """The files to be removed, by their URIs, what could not be looked at, and the runs that they are of."""

    leftovers: dict[str, Leftover] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    lost: dict[str, Lost] = field(default_factory=dict)
    unseen: set[str] = field(default_factory=set)

    def add(self, leftover: Leftover) -> None:
        """Take note of a file, once."""
        self.leftovers.setdefault(leftover.location.uri(leftover.name), leftover)

    def cannot_see(self, run_id: str, why: str) -> None:
        """Take note of a run of which something may be left that could not be looked for."""
        self.unseen.add(run_id)
        self.troubles.append(f"run {run_id}: {why}")


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
        from pytest_fileflow.aws_errors import translated

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
    for lost in _lost(results):
        run = lost.entry.run
        found.lost[run.run_id] = lost
        if run.flow_id in flows:
            _by_ledger(lost.entry, flows[run.flow_id], ends, found)
        else:
            found.cannot_see(run.run_id, f"its flow {run.flow_id} is not among the flows here")
    for flow in flows.values():
        latest = now() - older_than - flow.give_up_seconds
        for location in (flow.source, flow.target):
            if isinstance(location, S3Location):
                _by_tag(location, ends, latest, found)
    return found


def _lost(results: Path) -> Iterator[Lost]:
    """Yield the runs that nobody has cleaned up after; what lay in a sandbox has gone with it."""
    noted = [(Ledger(folder), True) for folder in sorted((results / ORPHANS).glob("*"))]
    for page, is_noted in (*noted, *((page, False) for page in dead_pages(results))):
        for entry in page.entries():
            if _RUN_ID.fullmatch(entry.run.run_id) is None or entry.record.get("sandbox"):
                continue
            if is_noted or not is_recorded(results, entry):
                yield Lost(entry, page, is_noted)


def _by_ledger(entry: Entry, flow: Flow, ends: Ends, found: Found) -> None:
    run = entry.run
    for side, location in (("source", flow.source), ("target", flow.target)):
        try:
            _require_same_place(entry, side, location)
            written = {name for of_side, name in run.written if of_side == side and run.run_id in name}
            names = {name for name in written if ends(location).stat(name) is not None}
            names |= {stat.name for stat in ends.listed(location) if run.run_id in stat.name}
        except FileflowError as error:
            found.cannot_see(run.run_id, f"{error.cause}: {error.reason}")
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
    """Remove what was found, and let nobody look for it again; return what stays, a line each. Raises OSError."""
    stays: list[str] = []
    left = set(found.unseen)
    for location, leftovers in _batches(found):
        errors = delete_all(ends(location), [each.name for each in leftovers])
        for each in leftovers:
            if each.name in errors:
                left.add(each.run_id)
                stays.append(f"{location.uri(each.name)}: {errors[each.name].cause}: {errors[each.name].reason}")
    for run_id in found.lost.keys() - left:
        found.lost[run_id].note_clean()
    return stays


def _batches(found: Found) -> Iterator[tuple[Location, list[Leftover]]]:
    by_place: dict[Location, list[Leftover]] = {}
    for leftover in found.leftovers.values():
        by_place.setdefault(leftover.location, []).append(leftover)
    for location, leftovers in by_place.items():
        for start in range(0, len(leftovers), AT_A_TIME):
            yield location, leftovers[start : start + AT_A_TIME]
