"""Decodes a stream up to the first bytes that are no text, wherever chunks are cut."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_fileflow.checks.chain import Expected, StreamCheck
    from pytest_fileflow.model import CheckResult

_UTF16 = {codecs.BOM_UTF16_LE: codecs.utf_16_le_decode, codecs.BOM_UTF16_BE: codecs.utf_16_be_decode}
_BOM_BYTES = 2
_HEAD_BYTES = 4096  # of a text without any NUL: it is not in UTF-16


class _Utf16(codecs.BufferedIncrementalDecoder):
    """Decodes UTF-16 by its byte order mark, which stays in the text, and is missed at offset 0."""

    def __init__(self) -> None:
        super().__init__()
        self._decode: Callable[[bytes, str, bool], tuple[str, int]] | None = None

    def _buffer_decode(self, data: bytes, errors: str, final: bool) -> tuple[str, int]:  # type: ignore[override]
        if self._decode is None:
            if len(data) < _BOM_BYTES and not (final and data):
                return "", 0
            self._decode = _UTF16.get(bytes(data[:_BOM_BYTES]))
        if self._decode is None:
            raise UnicodeDecodeError("utf-16", bytes(data), 0, len(data), "no byte order mark")
        return self._decode(data, errors, final)


def decoder_for(charset: str) -> codecs.IncrementalDecoder:
    """Return a decoder that refuses what is no text in a character set."""
    return _Utf16() if charset == "utf-16" else codecs.getincrementaldecoder(charset)()


def decoded(decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> tuple[str, int | None]:
    """Return the text of the next bytes up to the first fault, and where that is, from the chunk's start.

    A fault lies before the chunk, at a negative offset, where a character that began there does not
    go on as it must.
    """
    before = decoder.getstate()
    try:
        return decoder.decode(chunk, final), None
    except UnicodeDecodeError as error:
        decoder.setstate(before)  # those of East Asian character sets forget what they have held back
        offset = error.start - len(before[0])
        return decoder.decode(chunk[: max(offset, 0)]), offset


def as_utf8(check: StreamCheck, expected: Expected) -> StreamCheck:
    """Return a check that works on the bytes of ASCII, for a text that may have been sent in UTF-16."""
    return _AsUtf8(check) if expected.is_utf16 else check


class _AsUtf8:
    """Hands a text in UTF-16 on in UTF-8; one that the flow has written in another encoding, as it is."""

    def __init__(self, check: StreamCheck):
        self._check = check
        self._head = b""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._is_known = False

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if not self._is_known:
            chunk = self._head = self._head + chunk
            self._is_known = b"\0" in chunk or len(chunk) >= _HEAD_BYTES or self._has_bom()
            if not self._is_known:
                return
            if b"\0" in chunk or self._has_bom():
                is_big = chunk.startswith(codecs.BOM_UTF16_BE)
                self._decoder = codecs.getincrementaldecoder("utf-16-be" if is_big else "utf-16-le")("replace")
        self._check.feed(chunk if self._decoder is None else self._decoder.decode(chunk).encode("utf-8", "replace"))

    def _has_bom(self) -> bool:
        return self._head[:_BOM_BYTES] in _UTF16

    def result(self) -> CheckResult:
        """Return the check's judgement."""
        if not self._is_known:
            self._check.feed(self._head)
        elif self._decoder is not None:
            self._check.feed(self._decoder.decode(b"", final=True).encode())
        return self._check.result()
