"""What a payload pattern is: a name, and how bytes of it are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_fileflow.payload.tally import Tally

BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Pattern:
    """A kind of payload, and how its bytes are made. Sizes and offsets are bytes.

    ``blocks(run_id, size)`` yields blocks of about 1 MiB that are exactly ``size`` bytes together,
    the same ones in every process. ``size_problem(size)`` is None, or one sentence that names the
    size, says why it cannot be made, and names the nearest that can.
    ``blocks_from(run_id, size, offset)`` is optional: the same bytes from an offset on, for
    patterns that can start there without making all that comes before. ``tally()`` is optional too:
    what counts the records of a file that is fed to it, and keeps its header. ``configure(options)``
    returns the pattern with a flow's options, where it takes any. ``may_differ``: its bytes may not
    be the same when they are made again, and are held to what they were.
    """

    name: str
    extension: str
    blocks: Callable[[str, int], Iterator[bytes]]
    size_problem: Callable[[int], str | None]
    blocks_from: Callable[[str, int, int], Iterator[bytes]] | None = None
    tally: Callable[[], Tally] | None = None
    configure: Callable[[Mapping[str, object]], Pattern] | None = None
    may_differ: bool = False


def any_size(size: int) -> str | None:
    """Return what is wrong with a size where only a negative one is."""
    return None if size >= 0 else f"a size of {size} is negative; the nearest that can be made is 0 bytes"
