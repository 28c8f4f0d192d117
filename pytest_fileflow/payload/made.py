"""Makes the bytes of a recipe: a pattern's, with the flow's options, in all that lies around them."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.errors import TesterBug
from pytest_fileflow.model import Inside
from pytest_fileflow.payload.keystream import mark
from pytest_fileflow.payload.pattern import BLOCK_BYTES
from pytest_fileflow.payload.stream import exactly, open_payload, require_size, stream_of
from pytest_fileflow.payload.wraps import WRAPPINGS, Context

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator, Mapping

    from pytest_fileflow.model import PayloadFile, Recipe
    from pytest_fileflow.payload.pattern import Pattern

_LARGE = 2**32  # bytes from which on a zip file has another form


@dataclass(frozen=True)
class Measured:
    """What a recipe makes of a run: size and hex SHA-256 of the file, the files in it, records and header."""

    size: int
    sha256: str
    inside: tuple[Inside, ...] = ()
    rows: int | None = None
    header: str | None = None


def configured(pattern: Pattern, options: Mapping[str, object]) -> Pattern:
    """Return a pattern with a flow's options; without any, the pattern as it is."""
    return pattern.configure(options) if options and pattern.configure else pattern


def extension(pattern: Pattern, wraps: tuple[str, ...]) -> str:
    """Return what a file's name ends in; ``wraps`` are names from the outside in.

    >>> from pytest_fileflow.payload.rows import CSV
    >>> extension(CSV, ("pgp", "gzip"))
    'csv.gz.pgp'
    """
    return ".".join([pattern.extension, *(WRAPPINGS[name].extension for name in reversed(wraps))])


class _Meter:
    """Measures bytes that pass."""

    def __init__(self, also: Callable[[bytes], None] | None = None):
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._also = also

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def passed(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self.size += len(block)
            self._sha256.update(block)
            if self._also is not None:
                self._also(block)
            yield block


def measure(recipe: Recipe, pattern: Pattern, run_id: str) -> Measured:
    """Make a run's file once, block by block, and measure every layer of it on the way.

    ``pattern`` is the configured one. Raises ConfigInvalid where it cannot make the recipe's size.
    """
    require_size(pattern, recipe.size)
    tally = pattern.tally() if pattern.tally is not None else None
    innermost = _Meter(tally.feed if tally is not None else None)
    meters = (*(_Meter() for _ in recipe.wraps), innermost)
    for _ in _layers(recipe, pattern, run_id, meters):
        pass
    outer, *inner = meters
    inside = tuple(Inside(wrap.name, meter.size, meter.sha256) for wrap, meter in zip(recipe.wraps, inner, strict=True))
    rows, header = (tally.rows, tally.header) if tally is not None else (None, None)
    return Measured(outer.size, outer.sha256, inside, rows, header)


def _layers(recipe: Recipe, pattern: Pattern, run_id: str, meters: tuple[_Meter, ...]) -> Iterator[bytes]:
    """Yield the bytes of the outermost layer that has a meter; ``meters`` are those of the inner layers, in order."""
    content = meters[-1].passed(exactly(pattern, recipe.size, pattern.blocks(run_id, recipe.size)))
    names = tuple(wrap.name for wrap in recipe.wraps)
    is_large = recipe.size + recipe.size // 64 + BLOCK_BYTES >= _LARGE  # and what wrappings may add to it
    outermost = len(names) + 1 - len(meters)
    for layer in range(len(names) - 1, outermost - 1, -1):
        wrap, inside = recipe.wraps[layer], names[layer + 1 :]
        name = f"{mark(run_id)}.{extension(pattern, inside)}"
        context = Context(name, f"{run_id} {len(inside)}", is_large, wrap.options)
        content = meters[layer - outermost].passed(WRAPPINGS[wrap.name].wrapped(content, context))
    return content


def open_made(file: PayloadFile, pattern: Pattern, run_id: str, depth: int = 0) -> io.BufferedReader:
    """Return a run's file, or what lies ``depth`` layers inside it, as a seekable, read-only stream.

    What another build of zlib or a changed seed can make different is held to the size and SHA-256
    that the file had when its run was prepared: TesterBug before the last bytes are given out.
    """
    recipe = file.recipe
    if depth == len(recipe.wraps) and not pattern.may_differ:
        return open_payload(pattern, run_id, recipe.size)
    size, sha256 = file.size, file.sha256
    if depth:
        size, sha256 = file.inside[depth - 1].size, file.inside[depth - 1].sha256
    blocks = functools.partial(_blocks, recipe, pattern, run_id, depth)
    return stream_of(size, lambda: _held(blocks(), size, sha256, file.name))


def open_like(recipe: Recipe, pattern: Pattern, run_id: str, size: int) -> io.BufferedReader:
    """Return what another run would have sent by the same recipe; of one that wraps nothing, a file of ``size`` bytes.

    Nobody has measured it: the stream ends where the file does, or after ``size`` bytes.
    """
    if not recipe.wraps and not pattern.may_differ:
        return open_payload(pattern, run_id, size)
    return stream_of(size, functools.partial(_blocks, recipe, pattern, run_id, 0))


def _blocks(recipe: Recipe, pattern: Pattern, run_id: str, depth: int) -> Iterator[bytes]:
    return _layers(recipe, pattern, run_id, tuple(_Meter() for _ in range(len(recipe.wraps) + 1 - depth)))


def _held(blocks: Iterator[bytes], size: int, sha256: str, name: str) -> Iterator[bytes]:
    """Pass blocks on, and raise TesterBug before the last of them where they are not the bytes of the prepared file."""
    digest, made, waiting = hashlib.sha256(), 0, b""
    for block in blocks:
        if not block:
            continue
        yield waiting
        made += len(block)
        digest.update(block)
        waiting = block
    if made != size or digest.hexdigest() != sha256:
        raise TesterBug(
            f"{name} cannot be made again: it has other bytes than when its run was prepared, by another build of "
            "zlib, or because its seed file has changed",
            hint="Let one machine prepare and send a run, and leave seed files alone while runs go on.",
        )
    yield waiting
