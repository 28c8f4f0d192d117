"""Brings seed files here: one that lies in S3 is fetched once, and kept for the runs and sessions to come."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_fileflow.errors import ConfigInvalid, Interrupted, LocationMissing, TesterBug
from pytest_fileflow.model import S3Location
from pytest_fileflow.payload import SEED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.model import Location

    Open = Callable[[Location], Endpoint]

MAX_BYTES = 5 * 1024**3  # of a seed in S3: what a flow sends again and again is a sample, and not an archive
_S3 = "s3://"
_turn = threading.Lock()  # many runs may want a file at the same moment, and one of them fetches it


def pinned(options: Mapping[str, object], endpoint: Open) -> tuple[dict[str, object], int]:
    """Return a seed's options with its version in S3, and its size in bytes as it is now.

    Raises LocationMissing where there is no such object, ConfigInvalid where a local file is gone or
    the object is too large, and what S3 answers otherwise.
    """
    name = str(options[SEED])
    if not name.startswith(_S3):
        return dict(options), _local_size(options)
    place, key = _object(name)
    stat = endpoint(place).stat(key)
    if stat is None:
        raise LocationMissing(f"there is no seed file {name}")
    if stat.size > MAX_BYTES:
        raise ConfigInvalid(f"the seed file {name} has {stat.size} bytes; at most {MAX_BYTES} are fetched")
    return {**options, "version": stat.version}, stat.size


def place_of(options: Mapping[str, object]) -> S3Location | None:
    """Return where in S3 a seed lies, None for a local file, and where there is no seed."""
    name = str(options.get(SEED))
    return _object(name)[0] if name.startswith(_S3) else None


def foreseen(options: Mapping[str, object], endpoint: Open) -> tuple[dict[str, object], int]:
    """Return what :func:`pinned` would, for a plan: an object in S3, which nobody has looked at, is an empty file.

    Raises ConfigInvalid where a local file is gone.
    """
    name = str(options[SEED])
    if not name.startswith(_S3):
        return dict(options), _local_size(options)
    place, key = _object(name)
    endpoint(place).stat(key)
    with endpoint(place).open(key):
        return {**options, "path": os.devnull}, 0


def _local_size(options: Mapping[str, object]) -> int:
    try:
        with Path(str(options["path"])).open("rb") as file:
            return os.fstat(file.fileno()).st_size
    except (FileNotFoundError, KeyError) as error:
        raise ConfigInvalid(f"there is no seed file {options[SEED]} any more") from error
    except OSError as error:
        raise ConfigInvalid(f"the seed file {options[SEED]} cannot be read: {error.strerror}") from error


def local_path(options: Mapping[str, object], endpoint: Open, cancelled: Callable[[], bool]) -> Path:
    """Return where the bytes of a pinned seed lie on this machine; one in S3 is fetched if it is not there yet."""
    name = str(options[SEED])
    if not name.startswith(_S3) or "path" in options:
        return Path(str(options["path"]))
    kept = _folder() / hashlib.sha256(f"{name} {options['version']}".encode()).hexdigest()
    with _turn:
        if not kept.exists():
            place, key = _object(name)
            with endpoint(place).open(key, version=str(options["version"])) as chunks:
                if chunks is None:
                    raise LocationMissing(f"the seed file {name} is another one than when the run was prepared")
                _write(kept, chunks, cancelled)
    return kept


def _object(uri: str) -> tuple[S3Location, str]:
    bucket, _, key = uri.removeprefix(_S3).partition("/")
    prefix, _, name = key.rpartition("/")
    return S3Location(bucket, prefix), name


def _write(path: Path, chunks: Iterator[bytes], cancelled: Callable[[], bool]) -> None:
    """Write a file whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as part:
        try:
            part.writelines(_until(cancelled, chunks))
            part.flush()
            Path(part.name).replace(path)
        except BaseException:  # Ctrl-C too: half a file is no use to anybody
            Path(part.name).unlink(missing_ok=True)
            raise


def _until(cancelled: Callable[[], bool], chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        if cancelled():
            raise Interrupted("the session ended while a seed file was being fetched")
        yield chunk


def _folder() -> Path:
    """Return the folder of fetched files: this user's alone, since what lies there is sent."""
    folder = Path(tempfile.gettempdir()) / f"fileflow-seeds-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    told = folder.lstat()
    if told.st_uid != os.getuid() or told.st_mode & 0o022:
        raise TesterBug(f"{folder} is not this user's alone: seed files are kept there")
    return folder
