"""The check ``zip``: an archive of the members that it should have, each whole, and one of them for the checks behind.

A zip file is read from its end: what is in it, the central directory says, and what stands before
may be anything. So it is kept in a temporary file, and read once all of it is there; nothing but
its directory is held in memory.
"""

from __future__ import annotations

import fnmatch
import lzma
import struct
import tempfile
import zipfile
import zlib
from typing import TYPE_CHECKING

from pytest_fileflow.checks.chain import MOST_BYTES, LayerBroken
from pytest_fileflow.checks.options import text, whole_number
from pytest_fileflow.checks.words import bytes_text, count_text
from pytest_fileflow.model import CheckResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_fileflow.checks.chain import Expected

_PIECE_BYTES = 256 * 1024
_STARTS = (b"PK\x03\x04", b"PK\x05\x06")  # of a member, and of the end of an archive without members
_END = b"PK\x05\x06"
_END_BYTES = 22  # of the end record, which ends with the length of a comment and the comment
_COMMENT_BYTES = 0xFFFF
_ENCRYPTED = 0x1
# What zipfile and its decompressors raise for bytes that are no right archive.
_FAULTS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, LookupError, OSError, OverflowError, RuntimeError, TypeError, ValueError),
)

_WRONG_CRC = "the CRC-32 of its content is wrong"


def make(options: Mapping[str, object], expected: Expected) -> Zip:  # noqa: ARG001 - as all checks are made
    """Return the check."""
    return Zip(text(options, "member"), whole_number(options, "members") or 1, whole_number(options, "max_bytes"))


class Zip:
    """Unpacks the member that a pattern names, or the only one; reads all others to see that they are whole."""

    def __init__(self, member: str | None = None, members: int = 1, max_bytes: int | None = None):
        self.max_bytes = max_bytes
        self._member = member
        self._members = members
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - close() does
        self._size = 0

    def peel(self, chunk: bytes) -> Iterable[bytes]:
        """Keep the next bytes: there is nothing to yield before the end."""
        self._file.write(chunk)
        self._size += len(chunk)
        return ()

    def end(self) -> Iterator[bytes]:
        """Yield the file inside, and read all others."""
        self._check_both_ends()
        try:
            archive = zipfile.ZipFile(self._file)
        except _FAULTS:
            raise LayerBroken("the directory of the archive is damaged") from None
        with archive:
            chosen, others = self._chosen(archive)
            for info in others:
                self._read_through(archive, info)
            yield from self._content(archive, chosen)

    def _check_both_ends(self) -> None:
        """Refuse what zipfile puts up with: bytes before and after the archive."""
        self._file.seek(0)
        if not self._file.read(4).startswith(_STARTS):
            raise LayerBroken("this is not zip")
        self._file.seek(max(0, self._size - _END_BYTES - _COMMENT_BYTES))
        tail = self._file.read()
        at = tail.rfind(_END)
        if at < 0 or len(tail) - at < _END_BYTES:
            raise LayerBroken(f"cut off after {bytes_text(self._size)}: the end of the archive is missing")
        beyond = len(tail) - at - _END_BYTES - int.from_bytes(tail[at + 20 : at + 22], "little")
        if beyond:
            raise LayerBroken(
                f"{bytes_text(beyond)} follow the archive" if beyond > 0 else f"cut off after {bytes_text(self._size)}"
            )

    def _chosen(self, archive: zipfile.ZipFile) -> tuple[zipfile.ZipInfo, list[zipfile.ZipInfo]]:
        """Return the member that is wanted, and the others."""
        files = [info for info in archive.infolist() if not info.is_dir()]
        if len(files) != self._members:
            raise LayerBroken(f"an archive of {count_text(len(files), 'file')}")
        fitting = [info for info in files if self._member is None or fnmatch.fnmatchcase(info.filename, self._member)]
        if len(fitting) != 1:
            raise LayerBroken(f"an archive in which {len(fitting)} of {count_text(len(files), 'file')} have this name")
        return fitting[0], [info for info in files if info is not fitting[0]]

    def _read_through(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        most, size = MOST_BYTES if self.max_bytes is None else self.max_bytes, 0
        for piece in self._content(archive, info):
            size += len(piece)
            if size > most:
                raise LayerBroken(f"more than {bytes_text(most)} in a file: not read on")

    def _content(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
        if info.flag_bits & _ENCRYPTED:
            raise LayerBroken("the file is encrypted")
        try:
            with archive.open(info) as member:
                while piece := member.read(_PIECE_BYTES):
                    yield piece
        except NotImplementedError:
            raise LayerBroken("a file in it is compressed in a way that is not known here") from None
        except _FAULTS as error:
            crc = "CRC-32" in str(error)
            raise LayerBroken(f"a file in it is damaged: {_WRONG_CRC if crc else 'it cannot be unpacked'}") from None

    def result(self) -> CheckResult:
        """Return what the archive is to hold; where it does not, or a file is damaged, the layer is broken."""
        named = f", one of them named {self._member}" if self._member and self._members > 1 else ""
        named = f" named {self._member}" if self._member and self._members == 1 else named
        wanted = f"{count_text(self._members, 'file')}{named}"
        return CheckResult("zip", True, f"an archive of {wanted}", f"an archive of {wanted}, whole")

    def close(self) -> None:
        """Remove what was kept."""
        self._file.close()
