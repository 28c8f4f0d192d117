"""The check ``gzip``: every member whole and right, nothing behind them, and the file inside for the checks behind."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from pytest_fileflow.checks.chain import LayerBroken
from pytest_fileflow.checks.options import whole_number
from pytest_fileflow.checks.words import bytes_text, count_text
from pytest_fileflow.model import CheckResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_fileflow.checks.chain import Expected

_MEMBER = 16 + zlib.MAX_WBITS  # a gzip header and trailer around the data (RFC 1952), which zlib verifies
_MAGIC = b"\x1f\x8b"
_PIECE_BYTES = 256 * 1024
# What zlib says of a trailer that does not fit the data before it, in words for a person.
_TRAILERS = {
    "incorrect data check": "the CRC-32 of its content is wrong",
    "incorrect length check": "the length of its content is wrong",
}


def make(options: Mapping[str, object], expected: Expected) -> Gzip:  # noqa: ARG001 - as all checks are made
    """Return the check."""
    return Gzip(whole_number(options, "max_bytes"))


class Gzip:
    """Unpacks gzip, member by member."""

    def __init__(self, max_bytes: int | None = None):
        self.max_bytes = max_bytes
        self._member = zlib.decompressobj(_MEMBER)
        self._member_bytes = 0  # of the member at hand that were taken
        self._whole = 0
        self._whole_bytes = 0

    def peel(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what the next bytes hold of the file inside."""
        piece = b""
        # A full piece may leave more of it in zlib, whose input is at its end.
        while chunk or len(piece) == _PIECE_BYTES:
            if self._member.eof:
                self._member = zlib.decompressobj(_MEMBER)
            piece = self._inflate(chunk)
            rest = self._member.unused_data or self._member.unconsumed_tail
            self._member_bytes += len(chunk) - len(rest)
            if self._member.eof:
                self._whole += 1
                self._whole_bytes += self._member_bytes
                self._member_bytes = 0
            chunk = rest
            if piece:
                yield piece
            if self._member.eof and not chunk:
                return

    def _inflate(self, chunk: bytes) -> bytes:
        try:
            return self._member.decompress(chunk, _PIECE_BYTES)
        except zlib.error as error:
            raise LayerBroken(self._fault(str(error).rpartition(": ")[2])) from None

    def _fault(self, words: str) -> str:
        if words == "incorrect header check":
            return self._something_else() if self._whole else "this is not gzip"
        return f"damaged: {_TRAILERS.get(words, words)}"

    def _something_else(self) -> str:
        return f"something else follows the gzip data, which ends after {bytes_text(self._whole_bytes)}"

    def end(self) -> Iterable[bytes]:
        """Return nothing more; raises LayerBroken where the last member is not whole."""
        if not self._whole and not self._member_bytes:
            raise LayerBroken("this is not gzip: it is empty")
        if self._whole and 0 < self._member_bytes < len(_MAGIC):
            raise LayerBroken(self._something_else())
        if not self._member.eof:
            raise LayerBroken(f"cut off after {bytes_text(self._whole_bytes + self._member_bytes)}")
        return ()

    def result(self) -> CheckResult:
        """Return whether all members are whole: once one is not, the layer is broken."""
        members = count_text(self._whole, "member")
        return CheckResult("gzip", passed=True, expected="whole gzip", observed=f"whole gzip of {members}")

    def close(self) -> None:
        """Hold nothing that would have to be given back."""
