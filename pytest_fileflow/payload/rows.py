"""The patterns of made-up bookings, one a line: csv and jsonl."""

from __future__ import annotations

import itertools
import json
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache, partial
from typing import TYPE_CHECKING

from pytest_fileflow.payload.keystream import keystream, mark
from pytest_fileflow.payload.pattern import Pattern, any_size
from pytest_fileflow.payload.tables import table_pattern
from pytest_fileflow.payload.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROWS = 3600  # rows a block: one an hour and second, so a block is an hour of records
FIRST_HOUR = datetime(2026, 1, 1, tzinfo=timezone.utc)  # of the records' timestamps, which are as synthetic
REFERENCE_CHARACTERS = 128  # so a row is longer than that
NOTES = (
    "monthly settlement",
    "refund",
    "standing order, first instalment",
    'invoice marked "urgent", second reminder',
    "fee",
    "correction of an earlier booking",
    "payment on account",
    "",
)


@dataclass(frozen=True)
class _Rows:
    """A text format of one record a line.

    ``row`` is a %-template of record number, minute and second, account, whole amount, cents,
    reference and note, once ``{run_id}`` and ``{hour}`` are put in. ``note`` writes a text as the
    format wants it; padding is text that needs no escaping, so each character is one byte.
    """

    header: str
    row: str
    note: Callable[[str], str]

    def layout(self, run_id: str, index: int) -> str:
        """Return the template of the rows of a block."""
        hour = (FIRST_HOUR + timedelta(hours=index)).strftime("%Y-%m-%dT%H")
        return self.row.replace("{run_id}", mark(run_id)).replace("{hour}", hour)

    def last(self, run_id: str, number: int, size: int) -> bytes:
        """Return a row of exactly ``size`` bytes, its note filled up as far as it takes."""
        index, second = divmod(number - 1, ROWS)
        account, cents, reference = next(itertools.islice(_drawn(run_id, index), second, None))
        values = (number, _minutes()[second], account % 1_000_000, cents // 100, cents % 100, reference.hex())
        layout = self.layout(run_id, index)
        missing = size - len((layout % (*values, self.note(""))).encode())
        return (layout % (*values, self.note("x" * missing))).encode()

    @property
    def reserve(self) -> int:
        """Return the bytes of a row without a note, with the longest record number and amount."""
        widest = (10**12 - 1, "00:00", 0, 2**32 // 100, 99, "0" * REFERENCE_CHARACTERS, self.note(""))
        return len((self.layout("", 0) % widest).encode())


@cache
def _minutes() -> Sequence[str]:
    return tuple(f"{minute:02}:{second:02}" for minute in range(60) for second in range(60))


def _drawn(run_id: str, index: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield account, cents and reference of every row of a block, from the run's keystream."""
    length = ROWS * 72
    return struct.iter_unpack("<II64s", keystream(run_id, index * length, length))


def _row_block(rows: _Rows, run_id: str, index: int, count: int) -> bytes:
    """Return the first ``count`` rows of a block."""
    layout = rows.layout(run_id, index)
    notes = tuple(rows.note(note) for note in NOTES)
    numbers = range(index * ROWS + 1, index * ROWS + count + 1)
    lines = [
        layout % (number, clock, account % 1_000_000, cents // 100, cents % 100, reference.hex(), notes[cents & 7])
        for number, clock, (account, cents, reference) in zip(numbers, _minutes(), _drawn(run_id, index), strict=False)
    ]
    return "".join(lines).encode()


def _row_blocks(rows: _Rows, run_id: str, size: int) -> Iterator[bytes]:
    """Yield a header and whole rows; the last row's note is as long as the size asks for."""
    if not size:
        return
    yield rows.header.encode()
    remaining = size - len(rows.header)
    reserve = rows.reserve
    for index in itertools.count():
        block = _row_block(rows, run_id, index, min(ROWS, remaining // REFERENCE_CHARACTERS + 1))
        if len(block) + reserve <= remaining:
            yield block
            remaining -= len(block)
            continue
        kept = block[: block.rfind(b"\n", 0, remaining - reserve) + 1]
        number = index * ROWS + kept.count(b"\n") + 1
        yield kept + rows.last(run_id, number, remaining - len(kept))
        return


def _csv_field(text: str) -> str:
    """Quote a field where RFC 4180 (2.6, 2.7) asks for it."""
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text


# Lines end with "\n" and not RFC 4180's CRLF: that is what most producers on Linux write, and what
# a transfer in text mode damages visibly.
_CSV = _Rows(
    "record,run_id,timestamp,account,amount,reference,note\n",
    "%012d,{run_id},{hour}:%sZ,AC%06d,%d.%02d,%s,%s\n",
    _csv_field,
)
_JSONL = _Rows(
    "",
    '{"record": %d, "run_id": "{run_id}", "timestamp": "{hour}:%sZ", "account": "AC%06d", '
    '"amount": %d.%02d, "reference": "%s", "note": %s}\n',
    json.dumps,
)


def _rows_size(name: str, minimum: int, size: int) -> str | None:
    if size <= 0 or size >= minimum:
        return any_size(size)
    return f"a size of {size} cannot hold one row of {name}; the smallest that is not empty is {minimum} bytes"


def _rows_pattern(name: str, rows: _Rows) -> Pattern:
    tally = partial(Tally, has_header=bool(rows.header), quotes=bool(rows.header))
    size_problem = partial(_rows_size, name, len(rows.header) + rows.reserve)
    return Pattern(
        name, name, partial(_row_blocks, rows), size_problem, tally=tally, configure=partial(table_pattern, name)
    )


CSV = _rows_pattern("csv", _CSV)
JSONL = _rows_pattern("jsonl", _JSONL)
