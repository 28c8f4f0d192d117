"""Where files are put and found: one shape over S3 and SFTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from pytest_fileflow.errors import AuthRejected, FileflowError, NetworkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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


@dataclass(frozen=True)
class Upload:
    """A file to write: its name, a seekable stream, and its size in bytes."""

    name: str
    body: BinaryIO
    size: int


@runtime_checkable
class TakesSeveral(Protocol):
    """An endpoint that moves several small files for little more than the price of one."""

    def put_all(self, uploads: Sequence[Upload], tags: Mapping[str, str]) -> None:
        """Write files as ``put`` does; each appears only after those before it."""

    def delete_all(self, names: Sequence[str]) -> dict[str, FileflowError]:
        """Remove files; return the error of each that stays. Raises where none could be tried."""


@runtime_checkable
class ProvesWriting(Protocol):
    """An endpoint that can show that it may be written to without a file that appears, and starts something."""

    def prove_writing(self, name: str, tags: Mapping[str, str]) -> str | None:
        """Begin a small file as ``put`` would, with all it is written with, and withdraw it; raises as ``put`` does.

        Returns what is to be said of it although it may be written, if there is anything.
        """


@runtime_checkable
class ListsFolders(Protocol):
    """An endpoint that can tell what folders lie in its own."""

    def folders(self, limit: int = 100) -> Sequence[str]:
        """Return the plain names of at most ``limit`` folders directly in this one, in no promised order."""


@runtime_checkable
class KeepsVersions(Protocol):
    """An endpoint whose storage may keep what was overwritten."""

    def versions(self, prefix: str, limit: int = 100) -> Sequence[tuple[Stat, bool]] | None:
        """Return the versions of files whose names start so, each with whether it is the newest of its name.

        Deletions are no versions. None where the storage keeps none, as far as it has been seen to.
        """


@runtime_checkable
class ShowsUploads(Protocol):
    """An endpoint where a file appears whole, and what is written of it until then can be told."""

    def unfinished(self, name: str) -> Sequence[int]:
        """Return how many bytes there are so far of each upload of a file that was begun and not completed."""


Stranger = Literal["wrong_key", "unknown_user"]


@runtime_checkable
class Guarded(Protocol):
    """An endpoint that can be tried as somebody whom it must not let in."""

    def knock(self, stranger: Stranger, name: str) -> None:
        """Ask once to be let in as a stranger, over a connection of its own; returns where that works.

        ``wrong_key`` has the flow's identity and a key made up for the occasion; ``unknown_user`` is
        nobody whom the system knows: a user called ``name``, or an unsigned request. Raises what the
        refusal was translated to; NotTried where no stranger can be made.
        """

    def turn(self) -> AbstractContextManager[object]:
        """Return what is to be held while a stranger knocks: a server takes few at a time."""


@runtime_checkable
class OpenToNobody(Protocol):
    """An endpoint where a request without any identity can be made, and must be refused."""

    def nobody(self) -> Endpoint:
        """Return the same endpoint for somebody without any identity; raises NotTried where that cannot be made."""


@runtime_checkable
class WritesInPlace(Protocol):
    """An endpoint whose ``put`` takes more permissions than a write does, and that can do with less."""

    def write_in_place(self, name: str, content: bytes) -> None:
        """Write a small file at once under its own name, no other file and no renaming."""


def put_all(endpoint: Endpoint, uploads: Sequence[Upload], tags: Mapping[str, str]) -> None:
    """Write files, each only after those before it appeared."""
    if isinstance(endpoint, TakesSeveral) and _means_the_same(endpoint, "put", "put_all"):
        endpoint.put_all(uploads, tags)
        return
    for upload in uploads:
        endpoint.put(upload.name, upload.body, upload.size, tags)


def delete_all(endpoint: Endpoint, names: Sequence[str]) -> dict[str, FileflowError]:
    """Remove files; return the error of each that stays. Raises nothing that has a cause."""
    if not names:
        return {}
    if not isinstance(endpoint, TakesSeveral) or not _means_the_same(endpoint, "delete", "delete_all"):
        return delete_each(endpoint, names)
    try:
        return endpoint.delete_all(names)
    except FileflowError as error:
        return dict.fromkeys(names, error)


def _means_the_same(endpoint: object, one: str, several: str) -> bool:
    """Return whether two methods are of one class: somebody's subclass may have replaced the first alone."""
    owners = [next((kind for kind in type(endpoint).__mro__ if name in vars(kind)), None) for name in (one, several)]
    return owners[0] is owners[1] and one not in getattr(endpoint, "__dict__", ())


def delete_each(endpoint: Endpoint, names: Sequence[str]) -> dict[str, FileflowError]:
    """Remove files one by one; return the error of each that stays."""
    errors: dict[str, FileflowError] = {}
    for position, name in enumerate(names):
        try:
            endpoint.delete(name)
        except (NetworkError, AuthRejected) as error:  # noqa: PERF203 - a few names
            # Each further try would wait as long, for the same answer.
            return {**errors, **dict.fromkeys(names[position:], error)}
        except FileflowError as error:
            errors[name] = error
    return errors
