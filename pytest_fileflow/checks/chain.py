"""Composes further checks: each sees the stream as deep as the layers that stand before it have opened it."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pytest_fileflow.checks.words import by_how_much, bytes_text
from pytest_fileflow.errors import SecretMissing
from pytest_fileflow.model import CheckResult
from pytest_fileflow.transforms import LAYERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from pytest_fileflow.model import Inside
    from pytest_fileflow.secret import Credentials

WRAPPINGS = frozenset(LAYERS)
"""The names of the built-in checks that are layers."""

ROOM_BYTES = 64 * 1024 * 1024  # how far a file may go beyond what is expected inside, for the text to say how far
MOST_BYTES = 10 * 1024**3  # what is read of a file inside where nobody knows its size: bombs grow by a thousand


def no_credentials(secret: str) -> Credentials:
    """Refuse: the default where nobody can look into secrets."""
    raise SecretMissing(f"the secret {secret} cannot be read here: no secrets were handed to the checks")


@dataclass(frozen=True)
class Expected:
    """What should have arrived: size and tolerance in bytes, hex SHA-256.

    Size and SHA-256 are None where nobody can know them, since the flow wraps the file. ``inside`` are the files
    in it, from the outside in, None for one that cannot be known either; ``rows`` and ``header`` are those of the
    innermost one, where it has any. ``is_csv``: whether line ends between quotes end no row of it, None where nobody
    knows; ``is_utf16``: it was sent in UTF-16; ``delimiter``: what stands between its fields. ``credentials`` reads a
    secret by its name or ARN, for checks that need a key.
    """

    size: int | None
    sha256: str | None
    size_tolerance: int = 0
    inside: tuple[Inside | None, ...] = ()
    rows: int | None = None
    header: str | None = None
    is_csv: bool | None = None
    is_utf16: bool = False
    delimiter: str | None = None
    credentials: Callable[[str], Credentials] = field(default=no_credentials, repr=False, compare=False)


class StreamCheck(Protocol):
    """One check over the arrived bytes, which are fed to it once, in order, in chunks of any size."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; nothing of them may be kept beyond a bounded amount."""

    def result(self) -> CheckResult:
        """Return the judgement of all bytes fed."""


class LayerBroken(Exception):
    """A layer cannot be taken off; the text says what is wrong with it, and shows none of its bytes."""


@runtime_checkable
class Layer(Protocol):
    """A check that takes a layer off: the checks behind it see the file inside.

    ``max_bytes`` bounds the file inside; with None the bound follows from what is expected.
    ``peel`` and ``end`` raise LayerBroken once the layer is not what it should be.
    """

    max_bytes: int | None

    def peel(self, chunk: bytes) -> Iterable[bytes]:
        """Take the next bytes; yield those that they hold of the file inside, in pieces of a bounded size."""

    def end(self) -> Iterable[bytes]:
        """Yield what is left of the file inside, now that all bytes were taken."""

    def result(self) -> CheckResult:
        """Return what is wanted of the layer, and, after the end, what was found; callable at any time."""

    def close(self) -> None:
        """Give back what the layer holds; it may be in the middle of a file, or have been called before."""


class Chain:
    """The further checks of a run, by name and in the order in which the flow lists them.

    ``inside`` are the expected files inside, one for each layer. A context manager, which closes the layers.
    """

    def __init__(self, made: Sequence[tuple[str, StreamCheck | Layer]], inside: Sequence[Inside | None] = ()):
        self._names = tuple(name for name, _ in made)
        self._readers: list[StreamCheck] = []
        self._peeling: _Peeling | None = None
        for index, (name, check) in enumerate(made):
            if isinstance(check, Layer):
                rest = Chain(made[index + 1 :], inside[1:])
                self._peeling = _Peeling(name, check, rest, inside[0] if inside else None)
                break
            self._readers.append(check)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the outermost file."""
        for reader in self._readers:
            reader.feed(chunk)
        if self._peeling:
            self._peeling.feed(chunk)

    def results(self) -> tuple[CheckResult, ...]:
        """Return the judgements of all checks, in their order, now that all bytes were fed. To be called once."""
        deeper = self._peeling.results() if self._peeling else ()
        return (*(reader.result() for reader in self._readers), *deeper)

    def not_judged(self, why: str) -> tuple[CheckResult, ...]:
        """Return a failure for each check: one that could not look must not show as passed."""
        return tuple(CheckResult(name, False, "the file inside", why) for name in self._names)

    def close(self) -> None:
        """Close all layers."""
        if self._peeling:
            self._peeling.close()

    def __enter__(self) -> Chain:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Peeling:
    """A layer at work: feeds what is inside to the chain behind it, and holds it to what is expected there."""

    def __init__(self, name: str, layer: Layer, rest: Chain, expected: Inside | None):
        self._name = name
        self._layer = layer
        self._rest = rest
        self._expected = expected
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._broken: str | None = None
        self._limit = layer.max_bytes
        if self._limit is None:
            self._limit = expected.size + ROOM_BYTES if expected else MOST_BYTES

    def feed(self, chunk: bytes) -> None:
        if self._broken is None:
            self._take(partial(self._layer.peel, chunk))

    def _take(self, pieces: Callable[[], Iterable[bytes]]) -> None:
        try:
            for piece in pieces():
                self._measure(piece)
                self._rest.feed(piece)
        except LayerBroken as error:
            self._broken = str(error)
            self.close()

    def _measure(self, piece: bytes) -> None:
        self._size += len(piece)
        self._sha256.update(piece)
        if self._limit is not None and self._size > self._limit:
            raise LayerBroken(f"more than {bytes_text(self._limit)} inside: not read on")

    def results(self) -> tuple[CheckResult, ...]:
        if self._broken is None:
            self._take(self._layer.end)
        own = self._layer.result()
        if self._broken is not None:
            mine = dataclasses.replace(own, passed=False, observed=self._broken)
            return (mine, *self._rest.not_judged(f"not judged: {self._name} could not be opened"))
        return (self._with_inside(own), *self._rest.results())

    def _with_inside(self, own: CheckResult) -> CheckResult:
        """Add the file inside to what a layer says of itself."""
        digest, expected = self._sha256.hexdigest(), self._expected
        difference = self._size - expected.size if expected else 0
        found = f"{own.observed}; inside {bytes_text(self._size)}{by_how_much(difference)}, SHA-256 {digest}"
        if expected is None:
            return dataclasses.replace(own, observed=found)
        wanted = expected.sha256.lower()
        passed = own.passed and not difference and digest == wanted
        text = f"{own.expected}; inside {bytes_text(expected.size)}, SHA-256 {wanted}"
        return CheckResult(own.name, passed, text, found)

    def close(self) -> None:
        self._layer.close()
        self._rest.close()
