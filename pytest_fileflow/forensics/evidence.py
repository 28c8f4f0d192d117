"""What detectors of damage work with: the right bytes from any offset on, a budget of time, and what they found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

HEAD_BYTES = 64 * 1024  # of the right bytes are kept: most detectors are disproved within them
STEP_BYTES = 4 * 1024 * 1024  # that are made, at most, between two looks at the clock


class OutOfTimeError(Exception):
    """The budget is used up: what is not proven by now stays unknown."""


class Budget:
    """A deadline: ``check`` raises once ``seconds`` are over."""

    def __init__(self, now: Callable[[], float], seconds: float):
        self._now = now
        self._until = now() + seconds

    def check(self) -> None:
        """Raise OutOfTimeError where no time is left."""
        if self._now() >= self._until:
            raise OutOfTimeError


class Source:
    """The right bytes of a file, ``size`` of them. ``open_`` returns them as a new seekable, buffered stream."""

    def __init__(self, open_: Callable[[], BinaryIO], size: int, budget: Budget):
        self.size = size
        self.open = open_
        self.budget = budget
        self._head: bytes | None = None

    @property
    def head(self) -> bytes:
        """Return the first bytes, which are made once."""
        if self._head is None:
            self._head = self.open().read(min(HEAD_BYTES, self.size))
        return self._head

    def at(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from an offset on, or as many as there are; none before the start."""
        return Reader(self, offset).read(length) if offset >= 0 else b""


class Reader:
    """Reads a source from ``position`` on; a stream of its own is opened only behind the head."""

    def __init__(self, source: Source, position: int = 0):
        self.position = position
        self._source = source
        self._stream: BinaryIO | None = None

    def read(self, length: int) -> bytes:
        """Return the next bytes: fewer than asked for only at the end. Raises OutOfTimeError."""
        head = self._source.head
        if self.position + length <= len(head) or self._source.size == len(head):
            data = head[self.position : self.position + length]
        else:
            data = self._opened().read(length)
        self.position += len(data)
        return data

    def rewind(self) -> None:
        """Go back to the start."""
        self.position = 0
        self._stream = None

    def _opened(self) -> BinaryIO:
        self._source.budget.check()
        if self._stream is None:
            self._stream = self._source.open()
            # Some patterns make all that comes before: not without a look at the clock.
            for step in range(STEP_BYTES, self.position, STEP_BYTES):
                self._stream.seek(step)
                self._stream.read(1)
                self._source.budget.check()
            self._stream.seek(self.position)
        return self._stream


@dataclass(frozen=True)
class Piece:
    """Bytes that arrived at offset ``start``, and those that should stand there: fewer at the end of the right ones.

    ``first`` is the offset of the first difference between the files, None where there was none up to here.
    """

    start: int
    actual: bytes
    expected: bytes
    first: int | None


@dataclass(frozen=True)
class Shape:
    """A proven explanation of every byte that arrived.

    With a ``cause`` of its own, ``says`` goes on after the file's name: "has the right bytes, but …". Without
    one, the size decides between the causes, and ``says`` is a clause that follows the numbers.
    """

    name: str
    cause: str | None
    says: str
    evidence: Mapping[str, object] = field(default_factory=dict)


class Detector(Protocol):
    """Looks for damage of one shape in bytes that are fed to it once, in order."""

    def feed(self, piece: Piece) -> bool:
        """Take the next bytes; return False once this shape is disproved. Raises OutOfTimeError."""

    def shape(self) -> Shape | None:
        """Return the shape if it explains all bytes fed, which are all there are. Raises OutOfTimeError."""


def counted(number: int, noun: str = "byte") -> str:
    """Return a number with its noun.

    >>> counted(1), counted(20, "bit")
    ('1 byte', '20 bits')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"
