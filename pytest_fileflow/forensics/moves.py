"""Damage in which every byte was sent, but not in this order: pieces that changed places, were repeated, moved up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.forensics.comparing import BLOCK_BYTES
from pytest_fileflow.forensics.evidence import Reader, Shape, counted

if TYPE_CHECKING:
    from pytest_fileflow.forensics.evidence import Piece, Source

WINDOW_BYTES = 24  # of what arrived are searched for in what was sent: shorter pieces are not found
SEARCHES = 4  # through all that was sent; where a piece begins that follows another is known without one
COPIES = 16  # a file in more pieces than these is not explained by them
SEARCH_BYTES = 1024 * 1024
SHORT_BYTES = 64 * 1024  # a damage within so many bytes is tried out for every length of the pieces


@dataclass(frozen=True)
class Copy:
    """``length`` bytes that arrived at offset ``at`` and were sent at offset ``sent``; -1 for a fill of zeros."""

    at: int
    sent: int
    length: int

    @property
    def is_in_place(self) -> bool:
        """Return whether they stand where they belong."""
        return self.at == self.sent


class Moved:
    """A file that is put together from a few pieces of what was sent, and from zeros at its end."""

    def __init__(self, source: Source, size: int):
        self._source = source
        self._size = size  # of what arrived
        self._copies: list[Copy] = []
        self._at = 0  # up to where what arrived is explained
        self._buffer = b""  # what follows there
        self._reader: Reader | None = None  # of the piece at hand, which began at _began
        self._began = (0, 0)
        self._searches = 0
        self._zeros_from: int | None = None

    def feed(self, piece: Piece) -> bool:
        """Take the next bytes."""
        if piece.first is None:
            return True
        if not self._copies:  # the first difference is in this piece
            self._at = piece.first
            self._copies.append(Copy(0, 0, piece.first))
            self._buffer = piece.actual[piece.first - piece.start :]
        else:
            self._buffer += piece.actual
        return self._explain()

    def _explain(self) -> bool:
        while self._buffer:
            if self._zeros_from is not None:
                if self._buffer.strip(b"\0"):
                    return False
                self._advance(len(self._buffer))
            elif self._reader is not None:
                self._follow(self._reader)
            elif len(self._buffer) < min(WINDOW_BYTES, self._size - self._at):
                return True  # the next bytes are needed to tell where these belong
            elif not self._find_next():
                return False
        return True

    def _advance(self, length: int) -> None:
        self._at += length
        self._buffer = self._buffer[length:]

    def _follow(self, reader: Reader) -> None:
        expected = reader.read(len(self._buffer))
        length = _common(self._buffer, expected)
        self._advance(length)
        if self._buffer:
            self._end_copy()

    def _end_copy(self) -> None:
        at, sent = self._began
        self._copies.append(Copy(at, sent, self._at - at))
        self._reader = None

    def _find_next(self) -> bool:
        """Find where the next piece begins in what was sent."""
        if len(self._copies) >= COPIES:
            return False
        window = self._buffer[: min(WINDOW_BYTES, self._size - self._at)]
        likely = (self._at, *(copy.sent + copy.length for copy in self._copies))
        sent = next((place for place in dict.fromkeys(likely) if self._source.at(place, len(window)) == window), None)
        if sent is None and not window.strip(b"\0"):
            self._zeros_from = self._at
            return True
        if sent is None and len(window) == WINDOW_BYTES and self._searches < SEARCHES:
            self._searches += 1
            sent = _search(self._source, window)
        if sent is None:
            return False
        self._reader = Reader(self._source, sent)
        self._began = self._earliest(self._at, sent)
        return True

    def _earliest(self, at: int, sent: int) -> tuple[int, int]:
        """Let a piece begin earlier where neighbours are the same by chance: where a copy or a block begins."""
        while len(self._copies) > 1 and self._is_same(sent, self._copies[-1].length):
            length = self._copies.pop().length
            at, sent = at - length, sent - length
        back = at % BLOCK_BYTES
        if back and self._is_same(sent, back):
            last = self._copies[-1]
            self._copies[-1] = Copy(last.at, last.sent, last.length - back)
            at, sent = at - back, sent - back
        return at, sent

    def _is_same(self, sent: int, length: int) -> bool:
        """Return whether the bytes before an offset are also those at the end of the last copy."""
        last = self._copies[-1]
        if length > min(sent, last.length, BLOCK_BYTES):
            return False
        return self._source.at(sent - length, length) == self._source.at(last.sent + last.length - length, length)

    def shape(self) -> Shape | None:
        """Return the shape, if every byte is explained."""
        if not self._copies or self._buffer:
            return None
        if self._reader is not None:
            self._end_copy()
        if self._zeros_from is not None:
            self._copies.append(Copy(self._zeros_from, -1, self._at - self._zeros_from))
        return _shape([copy for copy in self._copies if copy.length], self._size == self._source.size)


def _shape(copies: list[Copy], same_size: bool) -> Shape:
    moved = [copy for copy in copies if not copy.is_in_place]
    name, says = (_same_size(moved) if same_size else None) or (
        "rearranged",
        f"all of it was sent, in another order: it is put together from {len(copies)} pieces of what was sent",
    )
    return Shape(
        name, None, says, {"pieces": [f"{copy.length} bytes at {copy.at}, {_sent_at(copy)}" for copy in copies]}
    )


def _sent_at(copy: Copy) -> str:
    return "zeros" if copy.sent < 0 else f"sent at {copy.sent}"


def _same_size(moved: list[Copy]) -> tuple[str, str] | None:
    if len(moved) == 1 and moved[0].sent >= 0:
        only = moved[0]
        what = f"a copy of {counted(only.length)} from offset {only.sent} on"
        return "repeated_in_place", f"{what} stands at offset {only.at}, in place of what belongs there"
    if len(moved) == 2:  # noqa: PLR2004 - a pair
        one, other = moved
        if (one.at, one.length, one.sent) == (other.sent, other.length, other.at):
            where = f"{counted(one.length)} at offset {one.at} and as many at offset {one.sent}"
            return "swapped", f"{where} have changed places"
        if (one.at + one.length, one.at, one.sent) == (other.at, other.sent, one.at + other.length):
            where = f"{counted(other.length)} at offset {one.at} and the {one.length} after them"
            return "swapped", f"{where} have changed places"
        if other.sent < 0 and one.sent == one.at + other.length:
            what = f"at offset {one.at} there is a gap of {counted(other.length)}"
            return "moved_up", f"{what}: the rest moved up, and the end was filled with zeros"
    return None


class Swapped:
    """Two pieces of a file that changed places, of any length, within a few thousand bytes."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._actual = b""
        self._expected = b""

    def feed(self, piece: Piece) -> bool:
        """Take the next bytes."""
        if piece.first is None:
            return True
        since = 0
        if self._first is None:
            self._first, since = piece.first, piece.first - piece.start
        until = since + max(0, SHORT_BYTES - len(self._actual))
        self._actual += piece.actual[since:until]
        self._expected += piece.expected[since:until]
        return piece.actual[until:] == piece.expected[until:]

    def shape(self) -> Shape | None:
        """Return the shape, if there is a length at which they have changed places."""
        if self._first is None:
            return None
        bits = int.from_bytes(self._actual, "little") ^ int.from_bytes(self._expected, "little")
        until = (bits.bit_length() + 7) // 8  # behind the last wrong byte
        pair = _pair(self._actual[:until], self._expected[:until], self._first)
        return _shape(list(pair), same_size=True) if pair else None


def _pair(actual: bytes, expected: bytes, offset: int) -> tuple[Copy, Copy] | None:
    """Return the two pieces, given all that lies between the first and the last wrong byte."""
    whole = len(actual)
    for length in range(1, whole // 2 + 1):
        rest = whole - length
        if (
            actual[0] == expected[rest]
            and actual[rest] == expected[0]
            and actual == (expected[rest:] + expected[length:rest] + expected[:length])
        ):
            return Copy(offset, offset + rest, length), Copy(offset + rest, offset, length)
    front = (expected + expected).find(actual)  # how many bytes went from the front to the end
    if 0 < front < whole:
        return Copy(offset, offset + front, whole - front), Copy(offset + whole - front, offset, front)
    return None


def _search(source: Source, window: bytes) -> int | None:
    reader, kept = Reader(source), b""
    while True:
        place = reader.position - len(kept)
        data = reader.read(SEARCH_BYTES)
        if not data:
            return None
        found = (kept + data).find(window)
        if found >= 0:
            return place + found
        kept = (kept + data)[-(WINDOW_BYTES - 1) :]


def _common(one: bytes, other: bytes) -> int:
    """Return how many bytes both begin with."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    bits = int.from_bytes(one[:length], "big") ^ int.from_bytes(other[:length], "big")
    return length - (bits.bit_length() + 7) // 8
