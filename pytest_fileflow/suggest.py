"""Names the known name that an unknown one was probably meant to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the most similar known name, whatever its case, or None where none is similar.

    >>> nearest("s3", ["SFTP", "S3"])
    'S3'
    >>> nearest("carrier pigeon", ["SFTP", "S3"]) is None
    True
    """
    import difflib

    by_folded = {candidate.casefold(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return by_folded[matches[0]] if matches else None
