"""Names the damage of a file: compares what arrived with what was sent, once, and proves what was done to it.

Every known shape of damage is a detector. All are fed from one reading of what arrived, and are dropped
with the first byte that they cannot explain, so that what is left at the end explains every byte. Where
several do, the first of this order is named:

1. a file that only ends too early: no shape
2. another run's bytes
3. the right bytes packed (gzip, base64, …), or what was sent packed, unpacked
4. a byte order mark added or removed
5. newlines translated
6. text in another encoding
7. of another size: bytes missing or put in at one place, or pieces in another order
8. of the right size: one flipped bit, ranges of zeros, two pieces that changed places, pieces in another order
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.forensics.comparing import Tally
from pytest_fileflow.forensics.evidence import OutOfTimeError, Piece, Shape
from pytest_fileflow.forensics.gaps import Inserted, Missing
from pytest_fileflow.forensics.moves import Moved, Swapped
from pytest_fileflow.forensics.transforms import OtherRun, marks, newlines, recodings
from pytest_fileflow.forensics.wrappings import wrappings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_fileflow.forensics.comparing import Difference
    from pytest_fileflow.forensics.evidence import Detector, Source

FIRST_BYTES = 4096  # that all detectors get; few are left after them
PIECE_BYTES = 256 * 1024
# What arrived is read no further than known damage can make it: UTF-16 doubles, U+FFFD trebles the right bytes.
GROWTH, GROWTH_BYTES = 4, 1024 * 1024


@dataclass(frozen=True)
class Findings:
    """How what arrived differs from what was sent, and the shape of the damage where it was proven.

    ``cut_short``: a shape may exist, but the time or the bytes that may be looked at were not enough.
    """

    difference: Difference
    shape: Shape | None = None
    cut_short: bool = False


def examine(actual: Iterable[bytes], size: int, source: Source, suspects: Mapping[str, Source]) -> Findings:
    """Compare what arrived, ``size`` bytes in chunks, with what was sent, and look for the shape of the damage.

    ``suspects`` are the bytes of other runs, of the size that arrived, by run id. Once the budget of ``source``
    is over, or ``actual`` raises OutOfTimeError, what was read till then is all that is told, and no shape is
    looked for. Memory is constant.
    """
    return _read(actual, size, source, _Bench(size, source, _detectors(size, source, suspects)))


def _read(actual: Iterable[bytes], size: int, source: Source, bench: _Bench) -> Findings:
    tally, expected, limit = Tally(), source.open(), GROWTH * source.size + GROWTH_BYTES
    try:
        for data in _cut(actual):
            start, right = tally.position, expected.read(len(data))
            tally.add(data, right)
            bench.feed(Piece(start, data, right, tally.offset))
            if tally.position > limit:
                bench.stop()
            if tally.position > source.size and not bench.is_looking:
                break
            if tally.position < size:
                source.budget.check()
    except OutOfTimeError:
        bench.stop()
        if tally.position < min(size, source.size):
            return Findings(tally.so_far(source.size, size), cut_short=True)
    difference = tally.difference(source.size, size)
    return Findings(difference, bench.shape(difference), bench.cut_short)


def compare_only(actual: Iterable[bytes], size: int, source: Source) -> Findings:
    """Compare as ``examine`` does, and look for no shape."""
    return _read(actual, size, source, _Bench(size, source, ()))


def _cut(chunks: Iterable[bytes]) -> Iterator[bytes]:
    wanted = FIRST_BYTES
    for chunk in chunks:
        start = 0
        while start < len(chunk):
            yield chunk[start : start + wanted]
            start, wanted = start + wanted, PIECE_BYTES


class _Bench:
    """The detectors that are not disproved yet, in the order of their precedence."""

    def __init__(self, size: int, source: Source, detectors: Iterable[Detector]):
        self._size = size
        self._source = source
        self._budget = source.budget
        self._alive = list(detectors)
        self.cut_short = False

    def feed(self, piece: Piece) -> None:
        """Hand a piece to all, and drop those that it disproves."""
        try:
            self._alive = [detector for detector in self._alive if self._survives(detector, piece)]
        except OutOfTimeError:
            self.stop()

    def _survives(self, detector: Detector, piece: Piece) -> bool:
        self._budget.check()
        return detector.feed(piece)

    def stop(self) -> None:
        """Look no further: nothing that needs all bytes can be proven any more."""
        self.cut_short = self.cut_short or bool(self._alive)
        self._alive = []

    @property
    def is_looking(self) -> bool:
        """Return whether any shape is still possible."""
        return bool(self._alive)

    def shape(self, difference: Difference) -> Shape | None:
        """Return the first shape that explains all bytes."""
        if difference.offset is None or (difference.prefix_right and self._size < self._source.size):
            self.cut_short = False
            return None
        try:
            return self._first_of(difference)
        except OutOfTimeError:
            self.cut_short = True
            return None

    def _first_of(self, difference: Difference) -> Shape | None:
        in_place = _in_place(difference)
        for detector in self._alive:
            if in_place is not None and isinstance(detector, (Swapped, Moved)):
                break
            shape = detector.shape()
            if shape is not None:
                return shape
        return in_place


def _detectors(size: int, source: Source, suspects: Mapping[str, Source]) -> Iterator[Detector]:
    for run_id, other in suspects.items():
        yield OtherRun(other, run_id)
    yield from wrappings(source)
    yield from marks(source)
    yield from newlines(source)
    yield from recodings(source)
    if size > source.size:
        yield Inserted(source, size - source.size)
    elif size < source.size:
        yield Missing(source, source.size - size)
    else:
        yield Swapped()
    yield Moved(source, size)


def _in_place(difference: Difference) -> Shape | None:
    """Return what the wrong bytes of a file of the right size are by themselves."""
    if difference.actual_size != difference.expected_size:
        return None
    if difference.wrong_bits == 1:
        return Shape("bit_flipped", None, "a single bit is flipped")
    if difference.zeros:
        ranges, (first, end) = difference.zeros, difference.zeros[0]
        listed = [f"{start} to {end - 1}" for start, end in ranges[:10]]
        where = f"bytes {first} to {end - 1}, {end - first} of {difference.actual_size}"
        if len(ranges) > 1:
            total = sum(end - first for first, end in ranges)
            where = f"{total} bytes of {difference.actual_size} in {len(ranges)} ranges, the first {first} to {end - 1}"
        says = f"has zeros in place of what was sent: {where}; all other bytes are right"
        return Shape("zeros", "content.zeros", says, {"zero_ranges": listed})
    return None
