"""How what lies in a store is called here: file names that every file system takes, and ids that pytest reads."""

from __future__ import annotations

import hashlib
import unicodedata
from urllib.parse import quote

from pytest_fileflow.stores import FLOWS

_LONGEST_NAME = 200  # bytes; most file systems take 255, and a temporary name needs some


def readable(name: str) -> str:
    """Return a key or an id as one line, without what pytest takes for the end of a file's name.

    >>> readable("a::b.json")
    'a%3A%3Ab.json'
    """
    escaped = name.replace("::", "%3A%3A")
    return "".join(letter if letter.isprintable() else quote(letter, errors="replace") for letter in escaped)


def is_plain(path: str) -> bool:
    """Return whether a relative path is one that stays below its folder, on every file system."""
    names = path.split("/")
    return all(map(_is_plain_name, names)) and "\\" not in path and path.isprintable()


def _is_plain_name(name: str) -> bool:
    return name not in ("", ".", "..") and len(name.encode("utf-8", "replace")) <= _LONGEST_NAME


def in_one_name(key: str, suffix: str) -> str:
    """Return a path in the place of a key that cannot be one; no other key has it."""
    digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:16]
    return f"{FLOWS}/{quote(key, safe='')[:100]}-{digest}{suffix}"


class Paths:
    """Gives each key of a store a path below the folder of its copy, none to two of them."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._folders: set[str] = set()

    def path_of(self, key: str, suffix: str) -> str:
        """Return the key itself as a path where that can be, else one that is made from it."""
        folders = _above(_folded(key))
        is_free = _folded(key) not in self._taken | self._folders and not any(each in self._taken for each in folders)
        path = key if is_free and is_plain(key) else in_one_name(key, suffix)
        self._taken.add(_folded(path))
        self._folders.update(_above(_folded(path)))
        return path


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _above(path: str) -> list[str]:
    names = path.split("/")
    return ["/".join(names[:number]) for number in range(1, len(names))]
