"""Which folders lie around a location, by name alone: nothing here asks anybody."""

from __future__ import annotations

import dataclasses
import difflib
import posixpath
from typing import TYPE_CHECKING

from pytest_fileflow.model import S3Location, SftpLocation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_fileflow.model import Location

# Where transfers put what they have dealt with, or could not deal with.
_SET_ASIDE = (
    "archive",
    "processed",
    "done",
    "error",
    "fail",
    "reject",
    "quarantine",
    "backup",
    "sent",
    "complete",
    "history",
    "old",
    "bad",
    "invalid",
)


def folder_of(location: Location) -> str:
    """Return the folder as a path without slashes at its ends; empty for a bucket, ``/`` or the login directory."""
    text = location.prefix if isinstance(location, S3Location) else posixpath.normpath(location.dir or ".")
    return "" if text == "." else text.strip("/")


def parent(location: Location) -> Location | None:
    """Return the folder that a folder lies in, None where that has no name.

    >>> parent(S3Location("b", "in/acme/")).prefix, parent(S3Location("b", "in")).prefix, parent(S3Location("b"))
    ('in/', '', None)
    """
    folder = folder_of(location)
    if not folder:
        return None
    above = posixpath.dirname(folder)
    if isinstance(location, S3Location):
        return dataclasses.replace(location, prefix=f"{above}/" if above else "")
    start = "/" if location.dir.startswith("/") else ""
    return dataclasses.replace(location, dir=f"{start}{above}" or ".")


def child(location: Location, name: str) -> Location:
    """Return a folder in a folder.

    >>> child(S3Location("b", "in"), "acme").prefix
    'in/acme/'
    """
    if isinstance(location, S3Location):
        return dataclasses.replace(location, prefix=f"{location.key(name)}/")
    return dataclasses.replace(location, dir=location.path(name))


def root(location: Location) -> Location | None:
    """Return the bucket itself; a server has no folder of that kind."""
    return dataclasses.replace(location, prefix="") if isinstance(location, S3Location) else None


def storage_of(location: Location) -> tuple[object, ...]:
    """Return what two locations share whose folders lie side by side: the bucket, or the server."""
    if isinstance(location, SftpLocation):
        return (location.host, location.port, location.dir.startswith("/"))
    return (location.bucket,)


def place_of(location: Location) -> tuple[object, ...]:
    """Return what is the same for two locations that are one folder."""
    return (*storage_of(location), folder_of(location))


def is_inside(location: Location, folder: Location) -> bool:
    """Tell whether a location is a folder, or lies in it, however deep.

    >>> outer = S3Location("b", "out")
    >>> is_inside(S3Location("b", "out/archive/"), outer), is_inside(S3Location("b"), outer)
    (True, False)
    """
    if storage_of(location) != storage_of(folder):
        return False
    outer = folder_of(folder)
    return not outer or f"{folder_of(location)}/".startswith(f"{outer}/")


def is_set_aside(location: Location) -> bool:
    """Tell whether a folder's name is one for files that have been dealt with.

    >>> is_set_aside(S3Location("b", "out/Archive/")), is_set_aside(S3Location("b", "in/"))
    (True, False)
    """
    name = posixpath.basename(folder_of(location)).lower()
    return any(word in name for word in _SET_ASIDE)


def is_of_day(location: Location, day: str) -> bool:
    """Tell whether a folder's name holds a day (``2026-11-24``), in one of the usual forms.

    >>> is_of_day(S3Location("b", "in/dt=2026-11-24/"), "2026-11-24"), is_of_day(S3Location("b", "in/"), "2026-11-24")
    (True, False)
    """
    name = posixpath.basename(folder_of(location))
    return bool(day) and day.replace("-", "") in name.replace("-", "").replace("_", "")


def nearest_first(locations: Iterable[Location], to: Location) -> list[Location]:
    """Return folders side by side in the order of how like a folder's name theirs are."""
    name = posixpath.basename(folder_of(to))

    def unlike(location: Location) -> float:
        return -difflib.SequenceMatcher(None, posixpath.basename(folder_of(location)), name).ratio()

    return sorted(locations, key=unlike)
