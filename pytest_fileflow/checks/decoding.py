"""Decodes a stream up to the first bytes that are no text, wherever chunks are cut."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_UTF16 = {codecs.BOM_UTF16_LE: codecs.utf_16_le_decode, codecs.BOM_UTF16_BE: codecs.utf_16_be_decode}
_BOM_BYTES = 2


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
    kept = len(decoder.getstate()[0])
    try:
        return decoder.decode(chunk, final), None
    except UnicodeDecodeError as error:  # the decoder is as it was before
        offset = error.start - kept
        return decoder.decode(chunk[: max(offset, 0)]), offset
