"""Refuses file names that would lead out of an endpoint's own folder, and names files while they are written."""

from __future__ import annotations

import hashlib
import unicodedata

from pytest_fileflow.errors import ConfigInvalid
from pytest_fileflow.model import NAME_BYTES

_SEPARATORS = frozenset("/\\")
_SPECIAL = frozenset(("", ".", ".."))
PROBE = b"a probe of pytest-fileflow\n"  # what is written to prove that a place may be written to
_PREFIX, _SUFFIX = ".", ".part"


def checked(name: str) -> str:
    """Return a plain file name as it came.

    >>> checked("a b.csv")
    'a b.csv'

    Raises:
        ConfigInvalid: the name is empty, ``.`` or ``..``, or holds a separator or a control character.

    """
    if name in _SPECIAL or _SEPARATORS.intersection(name) or any(map(_is_control, name)):
        raise ConfigInvalid(f"{name!r} is not a plain file name")
    return name


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"


def partial_name(name: str) -> str:
    """Return the name that a file has on a server while it is written, at most 255 bytes long.

    >>> partial_name("a.csv")
    '.a.csv.part'
    """
    partial = f"{_PREFIX}{name}{_SUFFIX}"
    if len(partial.encode()) <= NAME_BYTES:
        return partial
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return f"{_PREFIX}{digest}{_SUFFIX}"
