"""Puts and finds files in a directory of an SFTP server."""

from __future__ import annotations

import dataclasses
import io
import logging
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, TypeVar

from pytest_fileflow.endpoints import Upload, pipeline
from pytest_fileflow.endpoints.madeup import made_up_credentials
from pytest_fileflow.endpoints.names import PROBE, checked, partial_name
from pytest_fileflow.endpoints.pipeline import Attributes, Outgoing, Requests, SftpStatus
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
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from pytest_fileflow.endpoints import Stranger
    from pytest_fileflow.endpoints.ssh import SshSessions
    from pytest_fileflow.endpoints.wire import Wire

logger = logging.getLogger(__name__)

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
        self.put_all([Upload(name, body, size)], tags)

    def put_all(self, uploads: Sequence[Upload], tags: Mapping[str, str]) -> None:
        """Write files as ``put`` does, in few round trips; each appears only after those before it."""
        del tags
        finals = [self._path(upload.name) for upload in uploads]
        partials = [self.location.path(partial_name(upload.name)) for upload in uploads]
        last, begun = uploads[-1], False
        try:
            with self._lease("write", last.name, bulk=True) as wire:
                requests = Requests(wire)
                begun = True
                handles = requests.open_for_writing(partials)
                files = [
                    Outgoing(handle, partial, upload.body, upload.size)
                    for handle, partial, upload in zip(handles, partials, uploads, strict=True)
                ]
                for upload, (written, shown) in zip(uploads, requests.write(files), strict=True):
                    self._require_all(upload, written, shown)
                for partial, final in zip(partials, finals, strict=True):
                    requests.replace(partial, final)
        except BaseException:  # whatever the body raises, Ctrl-C too: no half of a file stays there
            if begun:
                self._discard([partial_name(upload.name) for upload in uploads])
            raise
        logger.debug("put %s, %d bytes", self.location.uri(last.name), last.size)

    def stat(self, name: str) -> Stat | None:
        """Return a file's size and modification time; SFTP tells no encryption."""
        found = self._again(lambda: self._stat(name))
        return None if found is None else _shown(name, found)

    def list(self, prefix: str = "", limit: int = 1000) -> list[Stat]:
        """Return regular files of the directory; the server is asked for its names until there are enough."""
        return [*self._again(lambda: self._list(prefix, limit))]

    def folders(self, limit: int = 100) -> Sequence[str]:
        """Return directories in this one; the server is asked for all of its names."""
        return self._again(lambda: self._folders(limit))

    @contextmanager
    def open(self, name: str, offset: int = 0, version: str | None = None) -> Iterator[Iterator[bytes] | None]:
        """Stream a file from an offset on, with a bounded number of requests in flight."""
        with ExitStack() as stack:
            yield self._again(lambda: self._open(stack, name, offset, version))

    def delete(self, name: str) -> None:
        """Remove a file."""
        for error in self.delete_all([name]).values():
            raise error

    def delete_all(self, names: Sequence[str]) -> dict[str, FileflowError]:
        """Remove files without a pause between them; return the error of each that stays."""
        paths = [self._path(name) for name in names]
        return self._again(lambda: self._delete(names, paths))

    def knock(self, stranger: Stranger, name: str) -> None:
        """Log in once as a stranger, and hang up; a user whom nobody knows shows the flow's own key."""
        login = dataclasses.replace(self._sessions.login(self.location), explains=False, renewed=None)
        if stranger == "unknown_user":
            login = dataclasses.replace(login, username=name)
        else:
            other = made_up_credentials(login.credentials(login.secret_arn), login.secret_arn)
            login = dataclasses.replace(login, credentials=lambda _: other)
        login.connect().close()

    def turn(self) -> AbstractContextManager[object]:
        """Return what lets one stranger at a time knock at this server."""
        return self._sessions.turn(self.location)

    def write_in_place(self, name: str, content: bytes) -> None:
        """Write a small file under its own name; what a failure leaves of it is removed."""
        path, begun, opened = self._path(name), False, False
        try:
            with self._lease("write", name, bulk=True) as wire:
                requests = Requests(wire)
                begun = True
                [handle] = requests.open_for_writing([path])
                opened = True
                requests.write([Outgoing(handle, path, io.BytesIO(content), len(content))])
        except BaseException as error:
            if begun and (opened or not isinstance(error, AccessDenied)):
                self._discard([name])
            raise

    def prove_writing(self, name: str, tags: Mapping[str, str]) -> str | None:
        """Write a small file under the name that ``put`` writes under first, hidden, and remove it."""
        del tags
        partial = partial_name(checked(name))
        self.write_in_place(partial, PROBE)
        for error in self._again(lambda: self._delete([partial], [self.location.path(partial)])).values():
            raise error
        return None

    def _stat(self, name: str) -> Attributes | None:
        with self._lease("stat", name) as wire:
            requests = Requests(wire)
            found = _or_none(lambda: requests.stat(self._path(name)))
            if found is None:
                self._require_directory(wire)
        if found is not None:
            self._require_file(found, name)
        return found

    def _list(self, prefix: str, limit: int) -> Sequence[Stat]:
        found: list[Stat] = []
        with self._lease("list", "") as wire:
            try:
                with closing(Requests(wire).entries(self._directory)) as entries:
                    for name, attributes in entries:
                        if attributes.is_file and name.startswith(prefix):
                            found.append(_shown(name, attributes))
                        if len(found) >= limit:
                            break
            except SftpStatus as status:
                if status.code != pipeline.NO_SUCH_FILE:
                    raise
                self._require_directory(wire)
        return found[:limit]

    def _folders(self, limit: int) -> Sequence[str]:
        with self._lease("list", "") as wire:
            found = [name for name, attributes in Requests(wire).entries(self._directory) if attributes.is_directory]
        return [name for name in found if name not in (".", "..")][:limit]

    def _open(self, stack: ExitStack, name: str, offset: int, version: str | None) -> Iterator[bytes] | None:
        with ExitStack() as opening:
            wire = opening.enter_context(self._sessions.lease(self.location, bulk=True))
            with self._translated("read", name):
                requests = Requests(wire)
                handle = _or_none(lambda: requests.open_for_reading(self._path(name)))
                if handle is None:
                    self._require_directory(wire)
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

    def _delete(self, names: Sequence[str], paths: Sequence[str]) -> dict[str, FileflowError]:
        with self._lease("delete", names[-1]) as wire:
            answers = Requests(wire).remove(paths)
            refused = {name: status for name, status in zip(names, answers, strict=True) if status is not None}
            if any(status.code == pipeline.NO_SUCH_FILE for status in refused.values()):
                self._require_directory(wire)
        return {
            name: self._refused(status, "delete", self.location.uri(name))
            for name, status in refused.items()
            if status.code != pipeline.NO_SUCH_FILE
        }

    def _discard(self, names: Sequence[str]) -> None:
        """Remove what an unfinished put left behind, over another channel if need be."""
        try:
            left = self._delete(names, [self.location.path(name) for name in names])
        except FileflowError as error:
            left = dict.fromkeys(names, error)
        for name, why in left.items():
            logger.warning("%s may be left behind: %s", self.location.uri(name), why.reason)

    def _again(self, operation: Callable[[], T]) -> T:
        """Repeat an operation that does no harm once, where the connection broke under it."""
        try:
            return operation()
        except ConnectionLost as error:
            logger.info("%s; once more", error.reason)
        return operation()

    def _require_directory(self, wire: Wire) -> None:
        """Raise LocationMissing where "no such file" meant the directory."""
        if self._directory_seen or _VIRTUAL_DIRECTORIES in wire.server:
            return
        found = _or_none(lambda: Requests(wire).stat(self._directory))
        if found is None:
            raise LocationMissing(f"there is no directory {self.location.uri()}")
        if not found.is_directory and found.mode is not None:
            raise LocationMissing(f"{self.location.uri()} is not a directory")
        self._directory_seen = True

    def _require_all(self, upload: Upload, written: int, shown: int | None) -> None:
        """Raise where the server took every byte but shows fewer; where it shows none, its word must do."""
        if written != upload.size or upload.body.read(1):
            raise TesterBug(f"the stream for {upload.name} does not hold {upload.size} bytes: {written} were written")
        if shown is not None and shown != upload.size:
            uri = self.location.uri(upload.name)
            raise StorageFailed(f"the server acknowledged {upload.size} bytes of {uri} but shows {shown}")

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
    def _lease(self, action: str, name: str, *, bulk: bool = False) -> Iterator[Wire]:
        with self._translated(action, name), self._sessions.lease(self.location, bulk=bulk) as wire:
            yield wire

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
