"""Where files are put and found: one shape over S3 and SFTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from pytest_fileflow.model import Location, Stat

CHUNK_BYTES = 1024 * 1024


class Endpoint(Protocol):
    """A bucket and prefix, or a server and directory.

    Names are plain file names relative to the location. Every method is safe to call from
    several threads at once, returns or raises within a time limit, and raises only
    :class:`~pytest_fileflow.errors.FileflowError`: vendor errors are translated in one place an
    adapter. "Not there" is an answer (``None``, an empty list), never an error; a bucket or
    directory that does not exist is :class:`~pytest_fileflow.errors.LocationMissing`.
    """

    @property
    def location(self) -> Location:
        """Return where this is."""

    def put(self, name: str, body: BinaryIO, size: int, tags: Mapping[str, str]) -> None:
        """Write a whole file of ``size`` bytes from a seekable stream.

        The file appears whole under its name or not at all. Tags are kept where the storage has
        them.
        """

    def stat(self, name: str) -> Stat | None:
        """Return the file as it is now, or None where there is none."""

    def list(self, prefix: str = "", limit: int = 1000) -> list[Stat]:
        """Return at most ``limit`` files whose names start with ``prefix``, in no promised order; no folders."""

    def open(
        self, name: str, offset: int = 0, version: str | None = None
    ) -> AbstractContextManager[Iterator[bytes] | None]:
        """Stream a file's bytes from an offset on, in chunks, in constant memory.

        Enters as None where there is no such file. Where the storage can tell, a file that is no
        longer at ``version`` counts as not there.
        """

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""
