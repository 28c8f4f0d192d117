"""Refuses file names that would lead out of an endpoint's own folder."""

from __future__ import annotations

import unicodedata

from pytest_fileflow.errors import ConfigInvalid

_SEPARATORS = frozenset("/\\")
_SPECIAL = frozenset(("", ".", ".."))


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
