"""Writes tables: rows of fields as csv, jsonl or records of a fixed width, exactly as many bytes as asked for.

The last row of csv and jsonl is as long as the size asks for: its last text begins with the run id and
goes on with "x".
"""

from __future__ import annotations

import functools
import itertools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.payload import cells
from pytest_fileflow.payload.fields import MARK, table
from pytest_fileflow.payload.formats import format_of
from pytest_fileflow.payload.keystream import keystream, mark
from pytest_fileflow.payload.pattern import BLOCK_BYTES, Pattern, any_size
from pytest_fileflow.payload.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_fileflow.payload.fields import Field, Table

ROWS = 4096  # a block, where rows are not very long
LEAST_ROWS = 16
NUMBER_DIGITS = 15  # of an id, at most: a file of 5 TiB has fewer rows
EXTENSIONS = {"csv": "csv", "jsonl": "jsonl", "fixedwidth": "dat"}
_NUMBER = "\ue000"  # holds the place of an id's digits: a character that no config can write


def table_pattern(form: str, options: Mapping[str, object]) -> Pattern:
    """Return the pattern of a table as a flow's options describe it."""
    writer = _writer(table(form, options))
    return Pattern(form, EXTENSIONS[form], writer.blocks, writer.size_problem, tally=writer.tally)


@dataclass(frozen=True)
class _Column:
    """A field's cells as they stand in a row: ``pool`` has all of them; a field without one is numbered or constant."""

    field: Field
    pool: tuple[str, ...] = ()


class _Writer:
    """Makes a table's bytes, from the cells of its fields, which are made once."""

    def __init__(self, described: Table):
        self._table = described
        self._format = format_of(described)
        self._columns = tuple(map(self._column, described.fields))
        self._pools = sum(1 for column in self._columns if column.pool)
        self._head = self._made_head()
        bare = self._length(self._format.row([""] * len(self._columns)) + described.newline)
        lengths = [self._lengths(column) for column in self._columns]
        self._shortest = bare + sum(min(each) for each in lengths)
        longest = [max(each) for each in lengths]
        self._rows = _rows_a_block(bare + sum(longest))
        if described.filler is not None:
            longest[described.filler] = self._length(self._filled("0" * MARK))
        self._reserve = bare + sum(longest)  # what the last row needs; of a fixed width, any row

    def _column(self, field: Field) -> _Column:
        if field.type in ("id", "constant", "run_id"):
            return _Column(field)
        return _Column(field, tuple([self._format.cell(field, text) for text in cells.pool(field)]))

    def _length(self, text: str) -> int:
        return len(text.encode(self._table.encoding))

    def _lengths(self, column: _Column) -> set[int]:
        few = range(10**NUMBER_DIGITS - 1, 10**NUMBER_DIGITS)
        return set(map(self._length, set(column.pool) or self._unpooled(column.field, "0" * MARK, few)))

    def _made_head(self) -> bytes:
        described = self._table
        names = self._format.separator.join(map(self._format.name, described.fields)) + described.newline
        return (("\ufeff" if described.bom else "") + (names if described.header else "")).encode(described.encoding)

    def tally(self) -> Tally:
        """Return what counts the rows that are made."""
        described = self._table
        return Tally(has_header=described.header, quotes=described.form == "csv", encoding=described.encoding)

    def size_problem(self, size: int) -> str | None:
        """Return what is wrong with a size in bytes, with the nearest that can be made."""
        least = len(self._head) + self._reserve
        is_fixed = self._table.filler is None
        step = self._reserve if is_fixed else self._table.unit
        over = (size - least) % step
        if size <= 0 or (size >= least and not over):
            return any_size(size)
        if size < least:
            return (
                f"a size of {size} cannot hold one row of these fields; the smallest that can be made is {least} bytes"
            )
        what = f"records of {step} bytes" if is_fixed else f"characters of {step} bytes"
        nearest = f"the nearest that can be made are {size - over} and {size - over + step} bytes"
        return f"a size of {size} is no whole number of {what}; {nearest}"

    def blocks(self, run_id: str, size: int) -> Iterator[bytes]:
        """Yield byte order mark and header, whole rows, and the last row, which fills the size up."""
        if not size:
            return
        yield self._head
        left = size - len(self._head)
        before, between = self._format.opening, self._format.separator
        ending = self._format.closing + self._table.newline
        for index in itertools.count():
            columns = self._block(run_id, index, min(self._rows, left // self._shortest + 1))
            rows = list(map(between.join, zip(*columns, strict=True)))
            block = f"{before}{(ending + before).join(rows)}{ending}".encode(self._table.encoding)
            if len(block) + self._reserve > left:
                yield self._end(run_id, columns, [f"{before}{row}{ending}" for row in rows], left)
                return
            yield block
            left -= len(block)

    def _end(self, run_id: str, columns: Sequence[Sequence[str]], rows: Sequence[str], left: int) -> bytes:
        """Return as many rows as there is room for, and the last one, ``left`` bytes together."""
        if self._table.filler is None:
            return "".join(rows[: left // self._reserve]).encode(self._table.encoding)
        fitting = 0
        for row in rows:
            length = self._length(row)
            if length + self._reserve > left:
                break
            left -= length
            fitting += 1
        last = [column[fitting] for column in columns]
        last[self._table.filler] = self._filled(mark(run_id))
        missing = left - self._length(self._format.row(last) + self._table.newline)
        last[self._table.filler] = self._filled(mark(run_id) + "x" * (missing // self._table.unit))
        return f"{''.join(rows[:fitting])}{self._format.row(last)}{self._table.newline}".encode(self._table.encoding)

    def _filled(self, text: str) -> str:
        filler = self._table.filler or 0
        return self._format.cell(self._table.fields[filler], text)

    def _block(self, run_id: str, index: int, count: int) -> list[Sequence[str]]:
        """Return the cells of the first rows of a block, column by column."""
        numbers = range(index * self._rows, index * self._rows + count)
        pooled = itertools.count(index * self._pools)
        return [
            self._picked(column.pool, run_id, next(pooled), count)
            if column.pool
            else self._unpooled(column.field, mark(run_id), numbers)
            for column in self._columns
        ]

    def _picked(self, pool: Sequence[str], run_id: str, turn: int, count: int) -> Sequence[str]:
        """Take ``count`` cells of a pool as the run's keystream says."""
        length = self._rows * 2
        drawn = int.from_bytes(keystream(run_id, turn * length, length)[: count * 2], "little")
        places = drawn & int.from_bytes((cells.POOL - 1).to_bytes(2, "little") * count, "little")
        chosen = struct.unpack(f"<{count}H", places.to_bytes(count * 2, "little"))
        return list(map(pool.__getitem__, chosen))

    def _unpooled(self, field: Field, run: str, numbers: range) -> Sequence[str]:
        if field.type != "id":
            return [self._format.cell(field, run if field.type == "run_id" else field.value)] * len(numbers)
        is_fixed = self._table.form == "fixedwidth"
        width = (field.width or 1) // (self._table.unit if is_fixed else 1)
        digits = max(1, width - len(field.prefix))
        numbers = range(numbers.start + field.start, numbers.stop + field.start)
        if is_fixed:  # a number that has outgrown its width begins anew
            layout, limit = f"{field.prefix.replace('%', '%%')}%0{digits}d", 10**digits
            return [layout % (number % limit) for number in numbers]
        around = self._format.cell(field, field.prefix + _NUMBER).replace("%", "%%")
        layout = around.replace(_NUMBER, f"%0{digits}d")
        return [layout % number for number in numbers]


def _rows_a_block(longest: int) -> int:
    rows = ROWS
    while rows > LEAST_ROWS and rows * longest > 4 * BLOCK_BYTES:
        rows //= 2
    return rows


@functools.lru_cache(maxsize=64)
def _writer(described: Table) -> _Writer:
    return _Writer(described)
