"""The patterns that no size is asked of: an empty file, and a file of the user's own, sent as it is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_fileflow.errors import TesterBug
from pytest_fileflow.payload.pattern import BLOCK_BYTES, Pattern
from pytest_fileflow.payload.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SEED = "seed"
_HAS_HEADER = {".csv": True, ".jsonl": False, ".ndjson": False}


def _nothing(_run_id: str, _size: int) -> Iterator[bytes]:
    return iter(())


def _no_size(size: int) -> str | None:
    return None if size == 0 else f"a size of {size} is not empty; the only one that can be made is 0 bytes"


def seed_pattern(options: Mapping[str, object]) -> Pattern:
    """Return the pattern of a seed file: ``path`` is where its bytes lie, ``seed`` how the config names it."""
    path, name = Path(str(options.get("path", ""))), str(options["seed"])
    suffix = Path(name).suffix
    return Pattern(
        SEED,
        suffix.removeprefix(".") or "bin",
        lambda _run_id, _size: _blocks(path, name),
        lambda _size: None,
        tally=_tally(suffix.lower()),
        may_differ=True,
    )


def _blocks(path: Path, name: str) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from iter(partial(file.read, BLOCK_BYTES), b"")
    except OSError as error:
        raise TesterBug(f"the seed file {name} cannot be read: {error.strerror}") from error


def _tally(suffix: str) -> Callable[[], Tally] | None:
    has_header = _HAS_HEADER.get(suffix)
    return None if has_header is None else partial(Tally, has_header=has_header, quotes=has_header)


EMPTY = Pattern("empty", "bin", _nothing, _no_size)
SEED_FILE = Pattern(
    SEED,
    "bin",
    _nothing,
    lambda size: f"a size of {size} is not asked of a seed: it is sent as it is",
    configure=seed_pattern,
    may_differ=True,
)
