"""The patterns that are cut from equal blocks: random, fixed and fixedwidth. Any block can be made alone."""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_fileflow.payload.keystream import keystream, mark
from pytest_fileflow.payload.pattern import BLOCK_BYTES, Pattern, any_size
from pytest_fileflow.payload.tables import table_pattern
from pytest_fileflow.payload.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINE_BYTES = 128  # of fixed
RECORD_BYTES = 64  # of fixedwidth
SENTENCE = "This file is test data made by pytest-fileflow; it holds nothing real and may be deleted."


def _even(block: Callable[[str, int, int], bytes], run_id: str, size: int, offset: int = 0) -> Iterator[bytes]:
    """Cut a payload from blocks of BLOCK_BYTES.

    ``block(run_id, index, length)`` makes at least the first ``length`` bytes of a block.
    """
    while offset < size:
        index, skip = divmod(offset, BLOCK_BYTES)
        length = min(BLOCK_BYTES, skip + size - offset)
        whole = block(run_id, index, length)
        piece = whole if skip == 0 and len(whole) == length else whole[skip:length]
        yield piece
        offset += len(piece)


def _random_block(run_id: str, index: int, length: int) -> bytes:
    return keystream(run_id, index * BLOCK_BYTES, length)


def _fixed_block(run_id: str, index: int, length: int) -> bytes:  # noqa: ARG001 - every block is the same
    # The run id comes first, so that even the shortest files of two runs differ.
    line = f"{mark(run_id)} {SENTENCE}".ljust(LINE_BYTES - 1, ".") + "\n"
    return line.encode() * -(-length // LINE_BYTES)


def _fixedwidth_block(run_id: str, index: int, length: int) -> bytes:
    """Return records: number (12), run id (16), account (8), cents (11), reference (16), newline."""
    count, before = -(-length // RECORD_BYTES), index * BLOCK_BYTES // RECORD_BYTES
    layout = f"%012d{mark(run_id)}AC%06d%011d%s\n"
    drawn = struct.iter_unpack("<II8s", keystream(run_id, before * 16, count * 16))
    numbers = range(before + 1, before + count + 1)
    records = [
        layout % (number, account % 1_000_000, cents, reference.hex())
        for number, (account, cents, reference) in zip(numbers, drawn, strict=True)
    ]
    return "".join(records).encode()


def _record_size(size: int) -> str | None:
    if size < 0 or size % RECORD_BYTES == 0:
        return any_size(size)
    below = size - size % RECORD_BYTES
    nearest = f"the nearest that can be made are {below} and {below + RECORD_BYTES} bytes"
    return f"a size of {size} is no whole number of fixedwidth's {RECORD_BYTES}-byte records; {nearest}"


def _even_pattern(
    name: str,
    extension: str,
    block: Callable[[str, int, int], bytes],
    size_problem: Callable[[int], str | None] = any_size,
) -> Pattern:
    return Pattern(name, extension, partial(_even, block), size_problem, partial(_even, block))


RANDOM = _even_pattern("random", "bin", _random_block)
FIXED = _even_pattern("fixed", "txt", _fixed_block)
FIXEDWIDTH = replace(
    _even_pattern("fixedwidth", "dat", _fixedwidth_block, _record_size),
    tally=partial(Tally, has_header=False, quotes=False),
    configure=partial(table_pattern, "fixedwidth"),
)
