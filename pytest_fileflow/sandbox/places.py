"""Names the folders that flows are between, and reads from a notification which file in which of them it is about."""

from __future__ import annotations

import hashlib
import posixpath
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from pytest_fileflow.model import S3Location

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.model import Location

Place = tuple[str, ...]
"""A folder: ``("S3", bucket, "folder/")`` or ``("SFTP", host, port, username, "/dir")``."""


def place_of(location: Location) -> Place:
    """Return the folder that a location names."""
    if isinstance(location, S3Location):
        return ("S3", location.bucket, location.key(""))
    return sftp_place(location.host, location.port, location.username, location.dir)


def sftp_place(host: str, port: int, username: str, directory: str) -> Place:
    """Return a folder on an SFTP server, its path made absolute and plain."""
    path = posixpath.normpath(posixpath.join("/", directory))
    return ("SFTP", host, str(port), username, f"/{path.lstrip('/')}")


def s3_place(bucket: str, key: str) -> tuple[Place, str]:
    """Return the folder and the plain name of an object."""
    folder, slash, name = key.rpartition("/")
    return ("S3", bucket, folder + slash), name


def place_key_id(place: Place) -> str:
    """Return the access key id by which a caller says that all it asks is about one folder."""
    digest = hashlib.sha256("\n".join(place).encode()).hexdigest()
    return f"FILEFLOWPLACE{digest[:16].upper()}"


def named_files(event: object) -> list[tuple[Place, str]]:
    """Return the folders and names that a notification is about: S3's own form, or the SFTP servers'."""
    if not isinstance(event, dict):
        return []
    try:
        if event.get("source") == "sftp":
            folder, _, name = str(event["path"]).rpartition("/")
            return [(sftp_place(event["host"], int(event["port"]), event["username"], folder), name)]
        return [_record(part["s3"]) for part in event.get("Records", ())]
    except (KeyError, TypeError, ValueError):
        return []  # a payload of a flow's own that only looks alike


def _record(s3: Mapping[str, Mapping[str, object]]) -> tuple[Place, str]:
    # AWS: the key is URL-encoded, with "+" for a space
    return s3_place(str(s3["bucket"]["name"]), unquote_plus(str(s3["object"]["key"])))
