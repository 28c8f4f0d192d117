"""A session's config stores: read once, by the controller; their local copies stand in for them in the arguments."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow.results.places import Place, PlaceError, config_store
from pytest_fileflow.stores import FLOWS, SUFFIXES, read_store
from pytest_fileflow.stores.shelf import Shelf, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.stores.shelf import Entry

# As pytest itself shows an id: relative to where it was called, and as a path, with one slash.
_STORED = re.compile(r"(?:\.\.?/)*(s3|dynamodb):/{1,2}(?=[^/])", re.DOTALL)


@dataclass(frozen=True)
class Copy:
    """A store, its local copy, and a line on what reading it took."""

    place: Place
    snapshot: Snapshot
    said: str = ""


def address(argument: str) -> str | None:
    """Return the address of an argument that names something in a store, with what follows it; else None.

    >>> address("../s3:/bucket/flows/acme.json::acme"), address("flows/acme.json")
    ('s3://bucket/flows/acme.json::acme', None)
    """
    found = _STORED.match(argument)
    return f"{found[1]}://{argument[found.end() :]}" if found else None


def wanted(arguments: Iterable[str], stores: Sequence[Place], *, is_added: bool) -> tuple[Place, ...]:
    """Return the stores to be read: those that arguments name something in, and all others where they are added.

    Raises pytest.UsageError.
    """
    named = [_store_of(found.split("::", 1)[0], stores) for found in map(address, arguments) if found]
    return tuple(dict.fromkeys([*named, *(stores if is_added else ())]))


def _store_of(uri: str, stores: Iterable[Place]) -> Place:
    """Return the store in which an address lies; where none is known, one with the usual layout."""
    for place in stores:
        if f"{uri}/".startswith(f"{place}/"):
            return place
    above = uri.partition(f"/{FLOWS}/")[0] if uri.startswith("s3:") else "/".join(uri.split("/")[:3])
    try:
        return config_store(above.removesuffix(f"/{FLOWS}"))
    except PlaceError as error:
        raise pytest.UsageError(f"{uri}: {error}") from None


class ConfigStores:
    """The copies of a session's stores."""

    def __init__(self, copies: Sequence[Copy] = (), temporary: Path | None = None):
        self.copies = tuple(copies)
        self._temporary = temporary

    @classmethod
    def read(cls, places: Sequence[Place], clients: Callable[[], AwsClients], caches: Path | None) -> ConfigStores:
        """Read stores, below a folder of caches or, where that cannot be written, for this session alone.

        Raises pytest.UsageError.
        """
        temporary: list[Path] = []

        def shelf(name: str) -> Shelf:
            try:
                if caches is not None and not temporary:
                    return Shelf.of(caches, name)
            except OSError:
                pass  # no home, or a read-only one, as in containers
            if not temporary:
                temporary.append(Path(tempfile.mkdtemp(prefix="fileflow-configs-")))
            return Shelf.of(temporary[0], name)

        try:
            copies = [_copy(place, clients, shelf) for place in places]
        except BaseException:  # Ctrl-C too: these copies are for this session alone
            for folder in temporary:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(copies, *temporary)

    @classmethod
    def told(cls, lines: Iterable[tuple[str, str]]) -> ConfigStores:
        """Return, on a worker, what the controller has read."""
        return cls([Copy(Place.parse(place), Snapshot.load(Path(folder))) for place, folder in lines])

    def to_tell(self) -> list[tuple[str, str]]:
        """Return what workers are to be told."""
        return [(str(copy.place), str(copy.snapshot.folder)) for copy in self.copies]

    @property
    def roots(self) -> tuple[Path, ...]:
        """Return the config roots: folders that hold ``flows/``, ``groups/`` and ``environments/`` of a store."""
        return tuple(copy.snapshot.folder for copy in self.copies)

    def told_as_addresses(self, text: str) -> str:
        """Return a text about files with addresses in the place of the copies' paths."""
        for copy in self.copies:
            text = text.replace(str(copy.snapshot.folder), str(copy.place))
        return text

    def entries(self) -> Mapping[str, Entry]:
        """Return what is a flow in the stores, by the paths of the local copies."""
        return {
            f"{copy.snapshot.folder}/{entry.path}": entry
            for copy in self.copies
            for entry in copy.snapshot.of_kind(FLOWS)
        }

    def arguments(self, given: Sequence[str]) -> list[str]:
        """Return pytest's arguments with local copies in the place of addresses, and those that none names beside them.

        Raises pytest.UsageError.
        """
        made, named = [], set()
        for argument in given:
            found = address(argument)
            if found is None:
                made.append(argument)
                continue
            uri, colons, names = found.partition("::")
            place = _store_of(uri, [copy.place for copy in self.copies])
            (copy,) = (each for each in self.copies if each.place == place)
            named.add(place)
            made.append(f"{_path_in(copy, uri)}{colons}{names}")
        others = [copy for copy in self.copies if copy.place not in named and copy.snapshot.of_kind(FLOWS)]
        return made + [str(copy.snapshot.folder / FLOWS) for copy in others]

    def close(self) -> None:
        """Remove copies that were made for this session alone."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _copy(place: Place, clients: Callable[[], AwsClients], shelf: Callable[[str], Shelf]) -> Copy:
    from pytest_fileflow.errors import FileflowError

    try:
        reading = read_store(place, clients, shelf)
    except FileflowError as error:
        raise pytest.UsageError(f"config store {place}: {error.cause}: {error.reason}") from None
    except OSError as error:
        raise pytest.UsageError(f"config store {place}: it cannot be kept on this machine: {error}") from None
    snapshot = reading.snapshot
    if not snapshot.entries:
        raise pytest.UsageError(f"config store {place} is empty: {_nothing(place)}")
    number = len(snapshot.of_kind(FLOWS))
    said = f"{place}: {number} flow file{'s' * (number != 1)}, {reading.fetched} read anew, {reading.requests} requests"
    return Copy(place, snapshot, said)


def _nothing(place: Place) -> str:
    if place.kind == "dynamodb":
        return "it has no flow with an enabled version; `fileflow push` fills it"
    if place.prefix.endswith(f"{FLOWS}/"):
        return f"name the prefix above {FLOWS}/"
    ends = " or ".join(SUFFIXES[FLOWS])
    return f"nothing lies below {place}/{FLOWS}/ that ends in {ends}; `fileflow push` fills it"


def _path_in(copy: Copy, uri: str) -> Path:
    """Return the path of what an address names: a file, a folder, or all flows; raises pytest.UsageError."""
    folder, entries = copy.snapshot.folder, copy.snapshot.of_kind(FLOWS)
    if uri.rstrip("/") in (str(copy.place), f"{copy.place}/{FLOWS}"):
        return folder / FLOWS
    for entry in entries:
        if uri in (entry.uri, entry.display):
            return folder / entry.path
    below = f"{uri.rstrip('/')}/".removeprefix(f"{copy.place}/")
    if any(entry.path.startswith(below) for entry in entries):
        return folder / below
    from pytest_fileflow.suggest import nearest

    near = nearest(uri, [entry.uri for entry in entries])
    meant = f"; did you mean {near}?" if near else f"; it holds {len(entries)} others"
    raise pytest.UsageError(f"{uri} is not in the config store {copy.place}{meant}")
