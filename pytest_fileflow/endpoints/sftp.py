"""Puts and finds files in a directory of an SFTP server."""

from __future__ import annotations

import hashlib
import logging
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

from pytest_fileflow.endpoints import pipeline
from pytest_fileflow.endpoints.names import checked
from pytest_fileflow.endpoints.pipeline import Attributes, Requests, SftpStatus
from pytest_fileflow.endpoints.ssh import BROKEN, translate
from pytest_fileflow.errors import (
    AccessDenied,
    ConnectionLost,
    FileflowError,
    LocationMissing,
    StorageFailed,
    TesterBug,
)
from pytest_fileflow.model import SftpLocation, Stat

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from typing import BinaryIO

    import paramiko

    from pytest_fileflow.endpoints.ssh import SshSessions

logger = logging.getLogger(__name__)

NAME_BYTES = 255  # NAME_MAX of the file systems behind most servers
_PREFIX, _SUFFIX = ".", ".part"
# AWS Transfer Family over S3: a directory without files in it does not exist, and appears with the first.
_VIRTUAL_DIRECTORIES = "AWS_SFTP"

T = TypeVar("T")


class SftpEndpoint:
    """A directory on an SFTP server, over sessions that all endpoints of a process share.

    A relative directory starts at the login directory. That the directory exists is checked once,
    at the first answer that leaves it open. Tags are not kept: SFTP has none.
    """

    location: SftpLocation

    def __init__(self, location: SftpLocation, sessions: SshSessions) -> None:
        self.location = location
        self._sessions = sessions
        self._directory_seen = False

    def put(self, name: str, body: BinaryIO, size: int, tags: Mapping[str, str]) -> None:
        """Write a file under a temporary name beside it, check its size, and rename it into place."""
        del tags
        final, partial = self._path(name), self.location.path(partial_name(name))
        begun = False
        try:
            with self._lease("write", name, bulk=True) as client:
                requests = Requests(client)
                handle = requests.open_for_writing(partial)
                begun = True
                _write(requests, handle, body, size, name)
                _require_size(requests, partial, size, self.location.uri(name))
                requests.replace(partial, final)
        except BaseException:
            if begun:
                self._discard(partial_name(name))
            raise
        logger.debug("put %s, %d bytes", self.location.uri(name), size)

    def stat(self, name: str) -> Stat | None:
        """Return a file's size and modification time; SFTP tells no encryption."""
        found = self._again(lambda: self._stat(name))
        return None if found is None else _shown(name, found)

    def list(self, prefix: str = "", limit: int = 1000) -> list[Stat]:
        """Return regular files of the directory; the server is asked for all of its names."""
        return [*self._again(lambda: self._list(prefix, limit))]

    @contextmanager
    def open(self, name: str, offset: int = 0, version: str | None = None) -> Iterator[Iterator[bytes] | None]:
        """Stream a file from an offset on, with a bounded number of requests in flight."""
        with ExitStack() as stack:
            yield self._again(lambda: self._open(stack, name, offset, version))

    def delete(self, name: str) -> None:
        """Remove a file."""
        self._again(lambda: self._delete(self._path(name), name))

    def _stat(self, name: str) -> Attributes | None:
        with self._lease("stat", name) as client:
            requests = Requests(client)
            found = _or_none(lambda: requests.stat(self._path(name)))
            if found is None:
                self._require_directory(client)
        if found is not None:
            self._require_file(found, name)
        return found

    def _list(self, prefix: str, limit: int) -> Sequence[Stat]:
        found: list[Stat] = []
        with self._lease("list", "") as client:
            try:
                for name, attributes in Requests(client).entries(self._directory):
                    if len(found) < limit and attributes.is_file and name.startswith(prefix):
                        found.append(_shown(name, attributes))
            except SftpStatus as status:
                if status.code != pipeline.NO_SUCH_FILE:
                    raise
                self._require_directory(client)
        return found

    def _open(self, stack: ExitStack, name: str, offset: int, version: str | None) -> Iterator[bytes] | None:
        with ExitStack() as opening:
            client = opening.enter_context(self._sessions.lease(self.location, bulk=True))
            with self._translated("read", name):
                requests = Requests(client)
                handle = _or_none(lambda: requests.open_for_reading(self._path(name)))
                if handle is None:
                    self._require_directory(client)
                    return None
                found = requests.fstat(handle)
                self._require_file(found, name)
                if version is not None and found.version != version:
                    requests.close(handle)
                    return None
            blocks = self._blocks(requests, handle, name, offset, found.size or 0)
            opening.enter_context(self._closing(requests, handle, name))
            opening.callback(blocks.close)
            stack.push(opening.pop_all())
        return blocks

    def _blocks(
        self, requests: Requests, handle: bytes, name: str, offset: int, size: int
    ) -> Generator[bytes, None, None]:
        with self._translated("read", name):
            yield from requests.read(handle, offset, size)

    @contextmanager
    def _closing(self, requests: Requests, handle: bytes, name: str) -> Iterator[None]:
        """Close a handle after a good end; after a bad one, its whole channel is given up."""
        yield
        with self._translated("read", name):
            requests.close(handle)

    def _delete(self, path: str, name: str) -> None:
        with self._lease("delete", name) as client:
            requests = Requests(client)
            try:
                requests.remove(path)
            except SftpStatus as status:
                if status.code != pipeline.NO_SUCH_FILE:
                    raise
                self._require_directory(client)

    def _discard(self, name: str) -> None:
        """Remove what an unfinished put left behind, over another channel if need be."""
        try:
            self._delete(self.location.path(name), name)
        except FileflowError as error:
            logger.warning("%s may be left behind: %s", self.location.uri(name), error.reason)

    def _again(self, operation: Callable[[], T]) -> T:
        """Repeat an operation that does no harm once, where the connection broke under it."""
        try:
            return operation()
        except ConnectionLost as error:
            logger.info("%s; once more", error.reason)
        return operation()

    def _require_directory(self, client: paramiko.SFTPClient) -> None:
        """Raise LocationMissing where "no such file" meant the directory."""
        if self._directory_seen or _has_virtual_directories(client):
            return
        found = _or_none(lambda: Requests(client).stat(self._directory))
        if found is None:
            raise LocationMissing(f"there is no directory {self.location.uri()}")
        if not found.is_directory and found.mode is not None:
            raise LocationMissing(f"{self.location.uri()} is not a directory")
        self._directory_seen = True

    def _require_file(self, found: Attributes, name: str) -> None:
        if not found.is_file:
            kind = "a directory" if found.is_directory else "not a regular file"
            raise StorageFailed(f"{self.location.uri(name)} is {kind}")

    @property
    def _directory(self) -> str:
        return self.location.dir or "."

    def _path(self, name: str) -> str:
        return self.location.path(checked(name))

    @contextmanager
    def _lease(self, action: str, name: str, *, bulk: bool = False) -> Iterator[paramiko.SFTPClient]:
        with self._translated(action, name), self._sessions.lease(self.location, bulk=bulk) as client:
            yield client

    @contextmanager
    def _translated(self, action: str, name: str) -> Iterator[None]:
        uri = self.location.uri(name)
        try:
            yield
        except SftpStatus as status:
            raise self._refused(status, action, uri) from status
        except BROKEN as error:
            where = f"{self.location.host}:{self.location.port}"
            raise translate(error, doing=f"trying to {action} {uri}", where=where) from error

    def _refused(self, status: SftpStatus, action: str, uri: str) -> FileflowError:
        said = status.text.strip() or "no reason"
        evidence = {"sftp_status": status.code, "sftp_text": said}
        if status.code == pipeline.PERMISSION_DENIED:
            return AccessDenied(f"{self.location.username} may not {action} {uri}: {said}", evidence=evidence)
        if status.code == pipeline.NO_SUCH_FILE:
            return LocationMissing(f"there is no directory for {uri}: {said}", evidence=evidence)
        if status.code in {pipeline.NO_CONNECTION, pipeline.CONNECTION_LOST}:
            return ConnectionLost(f"the server lost its storage while trying to {action} {uri}: {said}")
        reason = f"the server could not {action} {uri}: {said} (SFTP status {status.code})"
        return StorageFailed(reason, evidence=evidence)


def partial_name(name: str) -> str:
    """Return the name that a file has while it is written, at most 255 bytes long.

    >>> partial_name("a.csv")
    '.a.csv.part'
    """
    partial = f"{_PREFIX}{name}{_SUFFIX}"
    if len(partial.encode()) <= NAME_BYTES:
        return partial
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return f"{_PREFIX}{digest}{_SUFFIX}"


def _write(requests: Requests, handle: bytes, body: BinaryIO, size: int, name: str) -> None:
    written = requests.write(handle, body, size)
    requests.close(handle)
    if written != size or body.read(1):
        raise TesterBug(f"the stream for {name} does not hold {size} bytes: {written} were written")


def _require_size(requests: Requests, path: str, size: int, uri: str) -> None:
    """Raise where the server took every byte but shows fewer; where it shows none, its word must do."""
    try:
        shown = requests.stat(path).size
    except SftpStatus as status:
        if status.code != pipeline.PERMISSION_DENIED:
            raise
        return
    if shown is not None and shown != size:
        raise StorageFailed(f"the server acknowledged {size} bytes of {uri} but shows {shown}")


def _or_none(question: Callable[[], T]) -> T | None:
    try:
        return question()
    except SftpStatus as status:
        if status.code == pipeline.NO_SUCH_FILE:
            return None
        raise


def _shown(name: str, found: Attributes) -> Stat:
    if found.size is None:
        raise StorageFailed(f"the server does not tell the size of {name}")
    modified = None if found.mtime is None else float(found.mtime)
    return Stat(name=name, size=found.size, version=found.version, modified=modified)


def _has_virtual_directories(client: paramiko.SFTPClient) -> bool:
    channel = client.get_channel()
    return channel is not None and _VIRTUAL_DIRECTORIES in channel.get_transport().remote_version
