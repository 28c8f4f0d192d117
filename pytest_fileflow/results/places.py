"""Where results and configs may lie, as it is written: a folder, ``s3://bucket/prefix`` or ``dynamodb://table``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pytest_fileflow.suggest import nearest

Kind = Literal["folder", "s3", "dynamodb"]

SCHEMES = ("s3", "dynamodb")
FORMS = "a folder, s3://bucket/prefix or dynamodb://table"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_TABLE = re.compile(r"[a-zA-Z0-9_.-]{3,255}")


class PlaceError(ValueError):
    """A text that names no place; the message says why, in one line."""


@dataclass(frozen=True)
class Place:
    """A place. ``name`` is the folder, bucket or table; ``prefix`` ends with a slash, or is empty."""

    kind: Kind
    name: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str, purpose: str = "results", forms: str = FORMS) -> Place:
        """Read a place, for messages one for a purpose, and of which forms it may be; raises PlaceError."""
        scheme, separator, rest = text.partition("://")
        if not separator:
            if not text.strip():
                raise PlaceError(f"it is empty; give {forms}")
            scheme, colon, rest = text.partition(":")
            if colon and scheme in SCHEMES:
                raise PlaceError(f"did you mean {scheme}://{rest.lstrip('/')}?")
            return cls("folder", text)
        if scheme == "s3":
            bucket, _, prefix = rest.partition("/")
            if not _BUCKET.fullmatch(bucket):
                raise PlaceError(f"{bucket!r} is not the name of a bucket, as in s3://bucket/prefix")
            parts = [part for part in prefix.split("/") if part]
            return cls("s3", bucket, "".join(f"{part}/" for part in parts))
        if scheme == "dynamodb":
            if not _TABLE.fullmatch(rest):
                raise PlaceError(f"{rest!r} is not the name of a table, as in dynamodb://table")
            return cls("dynamodb", rest)
        meant = nearest(scheme, SCHEMES)
        remedy = f"; did you mean {meant}://?" if meant else f": give {forms}"
        raise PlaceError(f"{scheme}:// is no place for {purpose}{remedy}")

    @property
    def is_remote(self) -> bool:
        """Return whether it lies behind a network."""
        return self.kind != "folder"

    def __str__(self) -> str:
        if self.kind == "folder":
            return self.name
        return f"{self.kind}://{self.name}{'/' if self.prefix else ''}{self.prefix.rstrip('/')}"


def config_store(text: str) -> Place:
    """Read the name of a config store; raises PlaceError."""
    forms = "s3://bucket/prefix or dynamodb://table"
    place = Place.parse(text, "configs", forms)
    if not place.is_remote:
        raise PlaceError(f"a config store is {forms}; a folder is named as an argument, or with fileflow_paths")
    return place
