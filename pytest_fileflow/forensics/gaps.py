"""Damage in one place that changes the size: bytes that are missing, were put in, or follow after the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.forensics.evidence import Reader, Shape, counted

if TYPE_CHECKING:
    from pytest_fileflow.forensics.evidence import Piece, Source

NAMED = {0: "zero", 9: "tab", 10: "LF", 13: "CR", 26: "Ctrl-Z", 32: "space", 255: "0xff byte"}
LINE_END_BYTES = 64  # that are looked at for CRLFs


class Missing:
    """A file from which some bytes are missing, and in which all others follow one another."""

    def __init__(self, source: Source, missing: int):
        self._source = source
        self._missing = missing
        self._at: int | None = None
        self._reader: Reader | None = None

    def feed(self, piece: Piece) -> bool:
        """Take the next bytes."""
        actual = piece.actual
        if self._reader is None:
            if piece.first is None:
                return True
            self._at = piece.first
            self._reader = Reader(self._source, piece.first + self._missing)
            actual = actual[piece.first - piece.start :]
        return self._reader.read(len(actual)) == actual

    def shape(self) -> Shape | None:
        """Return the shape; a file that only ends too early has none."""
        if self._at is None:
            return None
        says = f"{counted(self._missing)} {_is(self._missing)} missing at offset {self._at}, all others are right"
        return Shape("missing", None, says, {"missing_at": self._at})


class Inserted:
    """A file in which further bytes stand in one place, in its middle or after its end."""

    def __init__(self, source: Source, inserted: int):
        self._source = source
        self._count = inserted
        self._at: int | None = None
        self._taken = 0  # of the inserted bytes
        self._byte: bytes | None = None
        self._is_uniform = True
        self._start = b""  # of the inserted bytes
        self._before: Reader | None = None  # the bytes before, as long as the inserted ones are the same
        self._again: Reader | None = None  # the same for the file from its beginning
        self._rest: Reader | None = None

    def feed(self, piece: Piece) -> bool:
        """Take the next bytes."""
        actual = piece.actual
        if self._at is None:
            if piece.first is None:
                return True
            self._begin(piece.first)
            actual = actual[piece.first - piece.start :]
        inserted = actual[: self._count - self._taken]
        if inserted:
            self._classify(inserted)
        rest = actual[len(inserted) :]
        return not rest or (self._rest is not None and self._rest.read(len(rest)) == rest)

    def _begin(self, at: int) -> None:
        self._at = at
        self._rest = Reader(self._source, at)
        if self._count <= at:
            self._before = Reader(self._source, at - self._count)
        if at == self._source.size and at:
            self._again = Reader(self._source)

    def _classify(self, data: bytes) -> None:
        self._byte = self._byte or data[:1]
        self._is_uniform = self._is_uniform and data.count(self._byte) == len(data)
        self._start += data[: max(0, LINE_END_BYTES - len(self._start))]
        self._taken += len(data)
        if self._before is not None and self._before.read(len(data)) != data:
            self._before = None
        if self._again is not None and not self._is_again(self._again, data):
            self._again = None

    def _is_again(self, again: Reader, data: bytes) -> bool:
        while data:
            if again.position == self._source.size:
                again.rewind()
            right = again.read(len(data))
            if not data.startswith(right):
                return False
            data = data[len(right) :]
        return True

    def shape(self) -> Shape | None:
        """Return the shape, by what the further bytes are."""
        if self._at is None or self._taken < self._count:
            return None
        return self._after_end() if self._at == self._source.size else self._in_the_middle(self._at)

    def _after_end(self) -> Shape:
        count, size = self._count, self._source.size
        evidence = {"extra_bytes": count}
        if self._again is not None and count % size == 0:
            return Shape(
                "repeats_itself",
                None,
                f"the file repeats itself: what was sent stands there {count // size + 1} times",
                evidence,
            )
        if self._is_uniform or self._is_crlf:
            return Shape("padded", None, f"it is padded with {self._padding()}", evidence)
        if self._before is not None:
            return Shape("end_repeated", None, f"after the end follows its end once more, {counted(count)}", evidence)
        if self._again is not None:
            return Shape("begun_again", None, f"after the end it begins again, for {counted(count)}", evidence)
        return Shape("extended", None, "after the end follow bytes that were not sent", evidence)

    def _in_the_middle(self, at: int) -> Shape:
        evidence = {"inserted_at": at}
        if self._before is not None:
            what = f"{counted(self._count)} before offset {at} {_is(self._count)} there twice"
            return Shape("repeated", None, f"{what}, all others are right", evidence)
        what = self._padding() if self._is_uniform else f"{counted(self._count)} that were not sent"
        return Shape(
            "inserted",
            None,
            f"at offset {at} {what} {'was' if self._count == 1 else 'were'} put in, all others are right",
            evidence,
        )

    @property
    def _is_crlf(self) -> bool:
        return self._count <= LINE_END_BYTES and self._start == b"\r\n" * (self._count // 2)

    def _padding(self) -> str:
        if not self._is_uniform:
            return counted(self._count // 2, "CRLF")
        return counted(self._count, NAMED.get(ord(self._byte), "equal byte") if self._byte else "byte")


def _is(number: int) -> str:
    return "is" if number == 1 else "are"
