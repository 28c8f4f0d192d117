"""Damage that can be done again to the right bytes: byte order marks, newlines, encodings, another run's file."""

from __future__ import annotations

import codecs
from functools import cache, partial
from typing import TYPE_CHECKING, Protocol

from pytest_fileflow.forensics.evidence import Reader, Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_fileflow.forensics.evidence import Detector, Piece, Source


KEPT_BACK = 8  # bytes that no transform keeps back more of: a CR, or an unfinished character
STEP_BYTES = 64 * 1024
ASCII = bytes(range(128)) + b"\r\n."


class Transform(Protocol):
    """Changes a stream of bytes, in pieces; raises ValueError for bytes that it cannot change."""

    def feed(self, data: bytes) -> bytes:
        """Return what becomes of the next bytes, as far as that is certain."""

    def finish(self) -> bytes:
        """Return what becomes of those kept back."""


class Redone:
    """Does to the right bytes what may have been done to them, and compares with what arrived."""

    def __init__(self, source: Source, make: Callable[[], Transform], shape: Shape):
        self._source = source
        self._transform = make()
        self._shape = shape
        self._reader: Reader | None = None
        self._taken = 0  # of the right bytes
        self._made = b""  # from these, and not compared yet
        self._owed = b""  # what arrived and could not be compared yet: a transform may keep a few bytes back
        self._ended = False
        self._impossible = False
        self._keeps_ascii = _keeps_ascii(make())

    def feed(self, piece: Piece) -> bool:
        """Take the next bytes that arrived."""
        if self._changes_nothing_in(piece):
            self._taken += len(piece.actual)
            return True
        actual = self._owed + piece.actual
        if piece.expected and piece.start == self._taken and len(self._made) < len(actual):
            self._make(piece.expected)  # these are there already, for the comparison in place
        while len(self._made) < len(actual) - KEPT_BACK and not self._ended:
            self._make_more(len(piece.actual))
        compared = min(len(actual), len(self._made))
        matches = actual[:compared] == self._made[:compared]
        self._owed, self._made = actual[compared:], self._made[compared:]
        return matches and not self._impossible and not (self._owed and self._ended)

    def _changes_nothing_in(self, piece: Piece) -> bool:
        """Return whether these bytes are right and stay what they are: most text is ASCII, and far from any damage."""
        in_step = piece.first is None and piece.start == self._taken and not (self._owed or self._made)
        return in_step and self._keeps_ascii and piece.expected.isascii()

    def _make_more(self, length: int) -> None:
        if self._reader is None or self._reader.position != self._taken:
            self._reader = Reader(self._source, self._taken)
        self._make(self._reader.read(length))

    def _make(self, data: bytes) -> None:
        self._taken += len(data)
        try:
            self._made += self._transform.feed(data) if data else self._transform.finish()
        except ValueError:  # these bytes cannot be changed in this way; UnicodeError is one
            self._impossible = True
        self._ended = self._impossible or not data

    def shape(self) -> Shape | None:
        """Return the shape if nothing is missing."""
        while len(self._made) <= len(self._owed) and not self._ended:
            self._make_more(STEP_BYTES)
        return None if self._impossible or self._made != self._owed else self._shape


def _keeps_ascii(transform: Transform) -> bool:
    try:
        return transform.feed(ASCII) == ASCII
    except ValueError:
        return False


class OtherRun:
    """Compares what arrived with the bytes of another run."""

    def __init__(self, source: Source, run_id: str):
        self._reader = Reader(source)
        self._run_id = run_id

    def feed(self, piece: Piece) -> bool:
        """Take the next bytes that arrived."""
        return self._reader.read(len(piece.actual)) == piece.actual

    def shape(self) -> Shape | None:
        """Return the shape."""
        says = f"holds the bytes of run {self._run_id}, and not of this one"
        return Shape("other_run", "content.stale", says, {"stale_run_id": self._run_id})


class Function:
    """Changes bytes by a function that may be applied to any piece that does not end between CR and LF."""

    def __init__(self, function: Callable[[bytes], bytes]):
        self._function = function
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """Return what becomes of the next bytes."""
        data = self._kept + data
        self._kept = b"\r" if data.endswith(b"\r") else b""
        return self._function(data[:-1] if self._kept else data)

    def finish(self) -> bytes:
        """Return what becomes of a last CR."""
        return self._function(self._kept)


class After:
    """Puts bytes before the others."""

    def __init__(self, mark: bytes):
        self._mark = mark

    def feed(self, data: bytes) -> bytes:
        """Return the next bytes."""
        return self.finish() + data

    def finish(self) -> bytes:
        """Return the mark, if nothing has followed it."""
        mark, self._mark = self._mark, b""
        return mark


class Recode:
    """Takes bytes for text in one encoding and writes it in another."""

    def __init__(self, taken_for: str, written_as: str, *, lossy: bool = False, mark: bytes = b""):
        errors = "replace" if lossy else "strict"
        self._decoder = codecs.getincrementaldecoder(taken_for)(errors)
        self._encoder = codecs.getincrementalencoder(written_as)(errors)
        self._mark = After(mark)

    def feed(self, data: bytes) -> bytes:
        """Return the next bytes of the text."""
        return self._mark.feed(self._encoder.encode(self._decoder.decode(data)))

    def finish(self) -> bytes:
        """Return the last ones."""
        return self._mark.feed(self._encoder.encode(self._decoder.decode(b"", final=True), final=True))


class Cp1252AsLatin1:
    """Takes bytes for cp1252 and writes UTF-8; the five that it does not define are Latin-1, as in browsers."""

    def feed(self, data: bytes) -> bytes:
        """Return the next bytes of the text."""
        return codecs.charmap_decode(data, "strict", _cp1252_table())[0].encode("utf-8")

    def finish(self) -> bytes:
        """Return nothing: no byte is kept back."""
        return b""


@cache
def _cp1252_table() -> str:
    every = (bytes([number]) for number in range(256))
    return "".join(byte.decode("cp1252", "ignore") or byte.decode("latin-1") for byte in every)


class Both:
    """Does one thing and then another, as programs on Windows do: newlines become CRLF, and the text UTF-16."""

    def __init__(self, first: Callable[[], Transform], second: Callable[[], Transform]):
        self._first = first()
        self._second = second()

    def feed(self, data: bytes) -> bytes:
        """Return what becomes of the next bytes."""
        return self._second.feed(self._first.feed(data))

    def finish(self) -> bytes:
        """Return what becomes of the last ones."""
        return self._second.feed(self._first.finish()) + self._second.finish()


MARKS = (
    ("UTF-8", codecs.BOM_UTF8),
    ("UTF-32 LE", codecs.BOM_UTF32_LE),
    ("UTF-32 BE", codecs.BOM_UTF32_BE),
    ("UTF-16 LE", codecs.BOM_UTF16_LE),
    ("UTF-16 BE", codecs.BOM_UTF16_BE),
)


def marks(source: Source) -> Iterator[Detector]:
    """Yield the detectors of byte order marks that were added or removed."""
    for name, mark in MARKS:
        says = f"has the right bytes after a byte order mark ({name}, {len(mark)} bytes) that was not sent"
        yield Redone(source, partial(After, mark), Shape("bom_added", "content.bom", says, {"bom": name}))
        both = Shape(
            "bom_added", "content.bom", f"{says}, and every LF became CRLF", {"bom": name, "translation": "CRLF"}
        )
        yield Redone(source, partial(Both, _crlf, partial(After, mark)), both)
        if source.head.startswith(mark):
            says = f"has the right bytes, without the byte order mark ({name}, {len(mark)} bytes) that they began with"
            yield Redone(source, partial(_Without, len(mark)), Shape("bom_removed", "content.bom", says, {"bom": name}))


class _Without:
    """Leaves out the first bytes."""

    def __init__(self, length: int):
        self._left = length

    def feed(self, data: bytes) -> bytes:
        left, self._left = self._left, max(0, self._left - len(data))
        return data[left:]

    def finish(self) -> bytes:
        return b""


def _to_lf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _replace(old: bytes, new: bytes, data: bytes) -> bytes:
    return data.replace(old, new)


# Where several do the same to a file, the first is named.
NEWLINES: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("every LF became CRLF", partial(_replace, b"\n", b"\r\n")),
    ("every CRLF became LF", partial(_replace, b"\r\n", b"\n")),
    ("every LF became CR", partial(_replace, b"\n", b"\r")),
    ("every CR became LF", partial(_replace, b"\r", b"\n")),
    ("every CR became CRLF", partial(_replace, b"\r", b"\r\n")),
    ("every CRLF became CR", partial(_replace, b"\r\n", b"\r")),
    ("every LF without a CR became CRLF", lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")),
    ("every CR, LF and CRLF became LF", _to_lf),
    ("every CR, LF and CRLF became CRLF", lambda data: _to_lf(data).replace(b"\n", b"\r\n")),
    ("every CR, LF and CRLF became CR", lambda data: _to_lf(data).replace(b"\n", b"\r")),
)


_crlf: Callable[[], Transform] = partial(Function, NEWLINES[0][1])


def newlines(source: Source) -> Iterator[Detector]:
    """Yield the detectors of translated newlines."""
    for how, function in NEWLINES:
        says = f"has the right bytes but for its newlines: {how}"
        yield Redone(
            source, partial(Function, function), Shape("newlines", "content.newlines", says, {"translation": how})
        )


_UTF16 = (("utf-16-le", codecs.BOM_UTF16_LE, "UTF-16 LE"), ("utf-16-be", codecs.BOM_UTF16_BE, "UTF-16 BE"))
_TAKEN = {"latin-1": "Latin-1", "cp1252": "cp1252", "utf-8": "UTF-8", "cp437": "cp437", "cp850": "cp850"}
_EBCDIC = ("cp037", "cp500", "cp1140")

# Where several do the same to a file, the first is named.
RECODINGS: tuple[tuple[str, Callable[[], Transform]], ...] = (
    ("Latin-1 was written as UTF-8", partial(Recode, "latin-1", "utf-8")),
    ("cp1252 was written as UTF-8", Cp1252AsLatin1),
    *((f"{_TAKEN[taken]} was written as UTF-8", partial(Recode, taken, "utf-8")) for taken in ("cp437", "cp850")),
    *(
        (f"{_TAKEN[taken]} was written as {name} {how} a byte order mark", partial(Recode, taken, code, mark=mark))
        for taken in ("utf-8", "latin-1", "cp1252")
        for code, bom, name in _UTF16
        for how, mark in (("with", bom), ("without", b""))
    ),
    ("UTF-16 was written as UTF-8", partial(Recode, "utf-16", "utf-8")),
    *((f"{name} was written as UTF-8", partial(Recode, code, "utf-8")) for code, _, name in _UTF16),
    ("UTF-8 was written as Latin-1", partial(Recode, "utf-8", "latin-1")),
    ("UTF-8 was written as cp1252", partial(Recode, "utf-8", "cp1252")),
    *((f"ASCII or Latin-1 was written as EBCDIC ({code})", partial(Recode, "latin-1", code)) for code in _EBCDIC),
    *((f"EBCDIC ({code}) was written as Latin-1", partial(Recode, code, "latin-1")) for code in _EBCDIC),
    (
        "each byte that is not ASCII was replaced by a question mark",
        partial(Recode, "latin-1", "ascii", lossy=True),
    ),
    (
        "each byte that is not ASCII was replaced by U+FFFD, in UTF-8",
        partial(Recode, "ascii", "utf-8", lossy=True),
    ),
    ("what is not valid UTF-8 was replaced by U+FFFD", partial(Recode, "utf-8", "utf-8", lossy=True)),
    (
        "cp1252 was written as UTF-8, with U+FFFD for what it does not define",
        partial(Recode, "cp1252", "utf-8", lossy=True),
    ),
    (
        "UTF-8 was written as ASCII, with a question mark for each other character",
        partial(Recode, "utf-8", "ascii", lossy=True),
    ),
    (
        "UTF-8 was written as Latin-1, with question marks for what it lacks",
        partial(Recode, "utf-8", "latin-1", lossy=True),
    ),
    (
        "UTF-8 was written as cp1252, with question marks for what it lacks",
        partial(Recode, "utf-8", "cp1252", lossy=True),
    ),
    *(
        (
            f"what is not valid UTF-8 was replaced by U+FFFD, and all written as {name} {how} a byte order mark",
            partial(Recode, "utf-8", code, lossy=True, mark=mark),
        )
        for code, bom, name in _UTF16
        for how, mark in (("with", bom), ("without", b""))
    ),
)


_AND_CRLF: tuple[tuple[str, Callable[[], Transform]], ...] = (
    ("Latin-1 was written as UTF-8, and every LF as CRLF", partial(Recode, "latin-1", "utf-8")),
    *(
        (
            f"UTF-8 was written as {name} with a byte order mark, and every LF as CRLF",
            partial(Recode, "utf-8", code, mark=mark),
        )
        for code, mark, name in _UTF16
    ),
)


def recodings(source: Source) -> Iterator[Detector]:
    """Yield the detectors of text in another encoding."""
    on_windows: list[tuple[str, Callable[[], Transform]]] = [
        (how, partial(Both, _crlf, make)) for how, make in _AND_CRLF
    ]
    for how, make in (*RECODINGS, *on_windows):
        says = f"is the text that was sent in another encoding: {how}"
        yield Redone(source, make, Shape("reencoded", "content.reencoded", says, {"encoding": how}))
