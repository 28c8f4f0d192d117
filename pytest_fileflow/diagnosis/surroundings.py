"""Looks for a run's file around a location, by a bounded number of listings; only looks, and changes nothing."""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pytest_fileflow import payload
from pytest_fileflow.diagnosis import naming, neighbours
from pytest_fileflow.endpoints import ListsFolders
from pytest_fileflow.model import S3Location, sidecar_names
from pytest_fileflow.streams import Changed, as_due, open_payload, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_fileflow.diagnosis.budget import Asked, Budget
    from pytest_fileflow.due import Due
    from pytest_fileflow.model import Location, Run, Side, Stat
    from pytest_fileflow.streams import Tools

FOLDERS = 12  # that are looked into around one location
CHILDREN, SIBLINGS, TOPS = 4, 4, 2  # of these at first, so that one kind does not use up the others' room
FOLDER_NAMES = 1000  # that are considered, of each folder's folders
LISTED_S3, LISTED = 1000, 5000  # names: one page; a server sends all of its names anyway
HASHED = 3  # files of another name whose bytes are compared
TELLING_BYTES = 64  # a file that is shorter may have the bytes of another by chance
SKEW_SECONDS = 300.0  # a server's clock may be this much behind


@dataclass(frozen=True)
class Found:
    """A file that is the run's, or a part of it, and what else of the run lies beside it."""

    location: Location
    stat: Stat
    names: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        """Return where it lies."""
        return self.location.uri(self.stat.name)

    @property
    def strays(self) -> tuple[tuple[Location, str], ...]:
        """Return the copies that the flow made, told by the run id in their names: these may be removed."""
        return tuple((self.location, name) for name in self.names)


class Surroundings:
    """What lies around the ends of a run."""

    def __init__(self, run: Run, due: Due, tools: Tools, budget: Budget) -> None:
        self.looked_into: list[str] = []
        self._run = run
        self._due = due
        self._tools = tools
        self._budget = budget

    def begin_listing(self, location: Location) -> Asked[list[Stat]]:
        """Ask for what lies in a folder."""
        endpoint = self._tools.endpoint(location)
        limit = LISTED_S3 if isinstance(location, S3Location) else LISTED
        return self._budget.begin(f"what lies in {location.uri()}", lambda: endpoint.list(limit=limit))

    def in_folder(self, location: Location, listed: list[Stat], side: Side) -> Found | None:
        """Return the run's file under another name in a folder of its own; the whole one before a part of it."""
        own = {name for written, name in self._run.written if written == side} | {self._run.file.name}
        if side == "target" and not self._due.name.fits(self._run.file.name):
            own -= {self._run.file.name}  # there it should have another one
        if isinstance(location, S3Location) and len(listed) >= LISTED_S3:
            listed = [*listed, *self._by_stem(location)]
        mine = {
            stat.name: stat for stat in listed if naming.holds(stat.name, self._run.run_id) and stat.name not in own
        }
        best = self._best(mine.values())
        if best is None:
            return None
        return Found(location, best, tuple(mine))

    def by_content(self, location: Location, listed: list[Stat]) -> Found | None:
        """Return a file of any name that came after the seed and has the size and the SHA-256 of the run's."""
        like = self._strangers(stat for stat in listed if stat.size == self._due.size)
        return next((Found(location, stat) for stat in like if self.digest(location, stat) == self._due.sha256), None)

    def by_beginning(self, location: Location, listed: list[Stat]) -> Found | None:
        """Return a file under a temporary name of any kind that begins as the run's file does, and is shorter."""
        size = self._due.size
        if size is None:  # nor can it be known how it begins
            return None
        like = self._strangers(stat for stat in listed if naming.is_temporary(stat.name) and stat.size < size)
        return next((Found(location, stat) for stat in like if self._begins_alike(location, stat)), None)

    def _strangers(self, stats: Iterable[Stat]) -> list[Stat]:
        """Return the newest of files that came after the seed, whose bytes can tell whether they are the run's."""
        own = {name for _, name in self._run.written}
        since = _epoch(self._run.timeline.get("seeded", "")) - SKEW_SECONDS
        fresh = [stat for stat in stats if stat.name not in own and (stat.modified is None or stat.modified >= since)]
        telling = [stat for stat in fresh if stat.size >= TELLING_BYTES]
        newest = sorted(telling, key=lambda stat: -(stat.modified or 0.0))[:HASHED]
        if not newest:
            return []
        is_unique = self._budget.begin("whether the bytes are this run's alone", self._is_unique).answer_or(False)
        return newest if is_unique else []

    def _begins_alike(self, location: Location, stat: Stat) -> bool:
        endpoint, tools, run, due = self._tools.endpoint(location), self._tools, self._run, self._due

        def compared() -> bool:
            with (
                open_payload(as_due(due, run), tools) as expected,
                endpoint.open(stat.name, version=stat.version) as chunks,
            ):
                chunk = next(iter(chunks), b"") if chunks is not None else b""
                return len(chunk) >= TELLING_BYTES and expected.read(len(chunk)) == chunk

        return self._budget.begin(f"how {location.uri(stat.name)} begins", compared).answer_or(False)

    def digest(self, location: Location, stat: Stat) -> str | None:
        """Return a file's hex SHA-256, None where it cannot be read in time or changes."""
        endpoint, tools = self._tools.endpoint(location), self._tools

        def hashed() -> str | None:
            sha256 = hashlib.sha256()
            try:
                for chunk in read(endpoint, stat, tools):
                    if not self._budget.left():
                        return None
                    sha256.update(chunk)
            except Changed:
                return None
            return sha256.hexdigest()

        return self._budget.begin(f"the SHA-256 of {location.uri(stat.name)}", hashed).answer_or(None)

    def around(
        self, location: Location, avoid: Callable[[Location], bool], *, only_set_aside: bool = False
    ) -> Found | None:
        """Return the run's file in a folder near another, nearest first: its folders, its parent, those beside it.

        Where the endpoint cannot list folders, nothing is looked into.
        """
        if not isinstance(self._tools.endpoint(location), ListsFolders):
            return None
        seen = {neighbours.place_of(location)}
        asked: list[tuple[Location, Asked[list[Stat]]]] = []
        for near in self._near(location, only_set_aside=only_set_aside):
            if len(asked) == FOLDERS:
                break
            place = neighbours.place_of(near)
            if place in seen or avoid(near):
                continue
            seen.add(place)
            self.looked_into.append(near.uri())
            asked.append((near, self._begin_narrow(near)))
        for near, begun in asked:
            found = self._in_other(near, begun.answer_or([]))
            if found is not None:
                return found
        return None

    def glued_to_prefix(self, location: Location) -> Found | None:
        """Return the run's file where folder and name were put together without the slash between them."""
        above = neighbours.parent(location)
        if not isinstance(location, S3Location) or not isinstance(above, S3Location):
            return None
        glued = location.key("")[len(above.key("")) : -1] + self._stem
        what = f"what lies at {above.uri(glued)}"
        asked = self._budget.begin(what, lambda: self._tools.endpoint(above).list(glued, LISTED_S3))
        return self._in_other(above, asked.answer_or([]))

    @property
    def _stem(self) -> str:
        """Return what the names begin with that the file was sent with, or should have."""
        run_id = self._run.run_id
        names = (self._run.file.name, self._due.name.beginning)
        return posixpath.commonprefix([naming.stem(name, run_id) for name in names])

    def _near(self, location: Location, *, only_set_aside: bool) -> Iterator[Location]:
        """Yield the folders to look into, the likeliest first; finding them out costs up to three listings."""
        above, top = neighbours.parent(location), neighbours.root(location)
        inside = self._folders(location)
        beside = [] if above is None else neighbours.nearest_first(self._folders(above), location)
        if only_set_aside:
            yield from filter(neighbours.is_set_aside, (*inside, *beside))
            return
        day = self._run.timeline.get("prepared", "")[:10]
        inside.sort(key=lambda each: not neighbours.is_of_day(each, day))
        is_further = top is not None and top not in (above, location)
        tops = neighbours.nearest_first(self._folders(top), location) if top is not None and is_further else []
        yield from inside[:CHILDREN]
        if above is not None:
            yield above
        yield from beside[:SIBLINGS]
        if top is not None and is_further:
            yield top
        yield from tops[:TOPS]
        yield from (*inside[CHILDREN:], *beside[SIBLINGS:], *tops[TOPS:])

    def _folders(self, location: Location) -> list[Location]:
        def asked() -> Sequence[str]:
            endpoint = self._tools.endpoint(location)
            return endpoint.folders(FOLDER_NAMES) if isinstance(endpoint, ListsFolders) else ()

        names = self._budget.begin(f"what folders lie in {location.uri()}", asked).answer_or(())
        return [neighbours.child(location, name) for name in sorted(names) if name]

    def _begin_narrow(self, location: Location) -> Asked[list[Stat]]:
        """Ask for what is the run's in another folder; nothing is where a fixture makes no endpoint for that."""
        prefix, limit = (self._stem, LISTED_S3) if isinstance(location, S3Location) else ("", LISTED)

        def asked() -> list[Stat]:
            endpoint = self._tools.endpoint(location)
            return endpoint.list(prefix, limit) if getattr(endpoint, "location", None) == location else []

        return self._budget.begin(f"what lies in {location.uri()}", asked)

    def _by_stem(self, location: Location) -> list[Stat]:
        endpoint = self._tools.endpoint(location)
        what = f"what lies at {location.uri(self._stem)}"
        return self._budget.begin(what, lambda: endpoint.list(self._stem, LISTED_S3)).answer_or([])

    def _in_other(self, location: Location, listed: list[Stat]) -> Found | None:
        """Return the run's file in a folder where none of its names belongs; sidecars alone are not it."""
        mine = {stat.name: stat for stat in listed if naming.holds(stat.name, self._run.run_id)}
        own = next((stat for name, stat in mine.items() if self._due.name.fits(name)), None)
        sidecars = {*self._run.file.sidecars, *(sidecar_names(own.name) if own else ())}
        best = own or self._best(stat for stat in mine.values() if stat.name not in sidecars)
        return None if best is None else Found(location, best, tuple(mine))

    def _best(self, stats: Iterable[Stat]) -> Stat | None:
        """Return the likeliest of files that hold the run id: one of the right size, and not under a temporary name."""
        file, sizes = self._run.file, (self._due.size, self._run.file.size)

        def rank(stat: Stat) -> tuple[bool, bool, int, str]:
            right = stat.size in sizes and not naming.is_companion(stat.name, file.name)
            return (not right, naming.is_temporary(stat.name), len(stat.name), stat.name)

        fit = [
            stat
            for stat in stats
            if not naming.is_companion(stat.name, file.name) or (stat.size in sizes and stat.size >= TELLING_BYTES)
        ]
        return min(fit, key=rank, default=None)

    def _is_unique(self) -> bool:
        """Tell whether no other run has the same bytes, as with some patterns all have."""
        other = self._run.run_id[::-1]
        if other == self._run.run_id:
            return False
        with (
            open_payload(self._run, self._tools) as mine,
            open_payload(self._run, self._tools, other) as theirs,
        ):
            return mine.read(payload.BUFFER_BYTES) != theirs.read(payload.BUFFER_BYTES)


def _epoch(stamp: str) -> float:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp() if stamp else 0.0
