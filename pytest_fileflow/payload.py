"""Makes the synthetic files: any process can, since their bytes follow from pattern, run id and size alone.

Every built-in pattern is cut from a stream that is made block by block, and most blocks can be made
without those before them. No byte depends on the clock, the machine, the Python version or a
random source. The bytes of a released pattern never change: runs and their verification may be
done by different versions.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import secrets
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache, partial
from typing import TYPE_CHECKING

from pytest_fileflow import template
from pytest_fileflow.errors import ConfigInvalid, TesterBug

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from _typeshed import WriteableBuffer

    from pytest_fileflow.model import PayloadFile, TestData

BLOCK_BYTES = 1024 * 1024
BUFFER_BYTES = 64 * 1024  # of a stream: what is read in larger pieces is copied once, from its block
NAME_BYTES = 240  # NAME_MAX is 255 on Linux and macOS; sidecars and temporary names add to it
MANIFEST_SCHEMA = 1
FILE_NAME_VARIABLES = ("date", "time", "run_id", "flow_id", "size")


@dataclass(frozen=True)
class Pattern:
    """A kind of payload, and how its bytes are made. Sizes and offsets are bytes.

    ``blocks(run_id, size)`` yields blocks of about 1 MiB that are exactly ``size`` bytes together,
    the same ones in every process. ``size_problem(size)`` is None, or one sentence that names the
    size, says why it cannot be made, and names the nearest that can.
    ``blocks_from(run_id, size, offset)`` is optional: the same bytes from an offset on, for
    patterns that can start there without making all that comes before.
    """

    name: str
    extension: str
    blocks: Callable[[str, int], Iterator[bytes]]
    size_problem: Callable[[int], str | None]
    blocks_from: Callable[[str, int, int], Iterator[bytes]] | None = None


# --- Streams -----------------------------------------------------------------------------------


def open_payload(pattern: Pattern, run_id: str, size: int) -> io.BufferedReader:
    """Return a payload of ``size`` bytes as a seekable, read-only stream that holds about one block.

    Raises ConfigInvalid where the pattern cannot make this size.
    """
    _require_size(pattern, size)
    return io.BufferedReader(_PayloadStream(pattern, run_id, size), BUFFER_BYTES)


def digest(pattern: Pattern, run_id: str, size: int) -> str:
    """Return the hex SHA-256 of a payload of ``size`` bytes, made block by block.

    Raises ConfigInvalid where the pattern cannot make this size.
    """
    _require_size(pattern, size)
    sha256 = hashlib.sha256()
    for block in _exactly(pattern, size, pattern.blocks(run_id, size)):
        sha256.update(block)
    return sha256.hexdigest()


def _require_size(pattern: Pattern, size: int) -> None:
    problem = pattern.size_problem(size)
    if problem:
        raise ConfigInvalid(f"testdata of pattern {pattern.name} cannot be made: {problem}")


def _exactly(pattern: Pattern, size: int, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Pass blocks on, and raise TesterBug where they are not ``size`` bytes: patterns may be anyone's."""
    made = 0
    for block in blocks:
        made += len(block)
        if made > size:
            break
        yield block
    if made != size:
        more_or_less = "more" if made > size else f"{size - made} fewer"
        raise TesterBug(f"payload pattern {pattern.name!r} made {more_or_less} than the {size} bytes it was asked for")


class _PayloadStream(io.RawIOBase):
    """Reads a payload from any position; nothing is made before it is read."""

    def __init__(self, pattern: Pattern, run_id: str, size: int):
        self._pattern = pattern
        self._run_id = run_id
        self._size = size
        self._position = 0
        self._blocks: Iterator[bytes] = iter(())
        self._block = memoryview(b"")  # what is made and not yet read
        self._next = -1  # position of the first byte in _block; -1: no stream was started

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"cannot seek to {start + offset}, before the start")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        if self._position >= self._size or not target:
            return 0
        self._go_to(self._position)
        data = self._block[: len(target)]
        target[: len(data)] = data
        self._block = self._block[len(data) :]
        self._next += len(data)
        self._position += len(data)
        return len(data)

    def _go_to(self, position: int) -> None:
        """Bring the byte at ``position`` to the front of the block at hand."""
        ahead = position - self._next
        can_jump = self._pattern.blocks_from is not None
        if self._next < 0 or ahead < 0 or (can_jump and ahead > len(self._block)):
            self._start(position)
        while position >= self._next + len(self._block):
            self._make_next()
        self._block = self._block[position - self._next :]
        self._next = position

    def _start(self, position: int) -> None:
        pattern, run_id, size = self._pattern, self._run_id, self._size
        if pattern.blocks_from is None:
            self._next, blocks = 0, pattern.blocks(run_id, size)
        else:
            self._next, blocks = position, pattern.blocks_from(run_id, size, position)
        self._blocks = _exactly(pattern, size - self._next, blocks)
        self._block = memoryview(b"")

    def _make_next(self) -> None:
        reached = self._next + len(self._block)
        self._next = -1  # a pattern that fails is started again by the next read, not resumed
        self._block = memoryview(next(self._blocks))
        self._next = reached


# --- Patterns of equal blocks: random, fixed, fixedwidth ------------------------------------------

LINE_BYTES = 128  # of fixed
RECORD_BYTES = 64  # of fixedwidth
SENTENCE = "This file is test data made by pytest-fileflow; it holds nothing real and may be deleted."


def _mark(run_id: str) -> str:
    """Return the 16 hex digits that show the run in a text: its id, or a hash of an id of another form."""
    return run_id if re.fullmatch("[0-9a-f]{16}", run_id) else hashlib.sha256(run_id.encode()).hexdigest()[:16]


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


def _keystream(run_id: str, offset: int, length: int) -> bytes:
    """Return bytes of the AES-256-CTR keystream of a run; the offset is a multiple of 16.

    The key is the SHA-256 of the run id, the counter starts at zero (NIST SP 800-38A, 6.5).
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = hashlib.sha256(run_id.encode()).digest()
    counter = (offset // 16).to_bytes(16, "big")
    return Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(_zeros()[:length])


@cache
def _zeros() -> memoryview:
    """Return as many zeros as any block draws bytes: a keystream is what they are encrypted to."""
    return memoryview(bytes(BLOCK_BYTES))


def _random_block(run_id: str, index: int, length: int) -> bytes:
    return _keystream(run_id, index * BLOCK_BYTES, length)


def _fixed_block(run_id: str, index: int, length: int) -> bytes:  # noqa: ARG001 - every block is the same
    # The run id comes first, so that even the shortest files of two runs differ.
    line = f"{_mark(run_id)} {SENTENCE}".ljust(LINE_BYTES - 1, ".") + "\n"
    return line.encode() * -(-length // LINE_BYTES)


def _fixedwidth_block(run_id: str, index: int, length: int) -> bytes:
    """Return records: number (12), run id (16), account (8), cents (11), reference (16), newline."""
    count, before = -(-length // RECORD_BYTES), index * BLOCK_BYTES // RECORD_BYTES
    layout = f"%012d{_mark(run_id)}AC%06d%011d%s\n"
    drawn = struct.iter_unpack("<II8s", _keystream(run_id, before * 16, count * 16))
    numbers = range(before + 1, before + count + 1)
    records = [
        layout % (number, account % 1_000_000, cents, reference.hex())
        for number, (account, cents, reference) in zip(numbers, drawn, strict=True)
    ]
    return "".join(records).encode()


# --- Patterns of rows: csv, jsonl -----------------------------------------------------------------

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
        return self.row.replace("{run_id}", _mark(run_id)).replace("{hour}", hour)

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
    return struct.iter_unpack("<II64s", _keystream(run_id, index * length, length))


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
CSV = _Rows(
    "record,run_id,timestamp,account,amount,reference,note\n",
    "%012d,{run_id},{hour}:%sZ,AC%06d,%d.%02d,%s,%s\n",
    _csv_field,
)
JSONL = _Rows(
    "",
    '{"record": %d, "run_id": "{run_id}", "timestamp": "{hour}:%sZ", "account": "AC%06d", '
    '"amount": %d.%02d, "reference": "%s", "note": %s}\n',
    json.dumps,
)


# --- Which sizes can be made ----------------------------------------------------------------------


def _any_size(size: int) -> str | None:
    return None if size >= 0 else f"a size of {size} is negative; the nearest that can be made is 0 bytes"


def _rows_size(name: str, minimum: int, size: int) -> str | None:
    if size <= 0 or size >= minimum:
        return _any_size(size)
    return f"a size of {size} cannot hold one row of {name}; the smallest that is not empty is {minimum} bytes"


def _record_size(size: int) -> str | None:
    if size < 0 or size % RECORD_BYTES == 0:
        return _any_size(size)
    below = size - size % RECORD_BYTES
    nearest = f"the nearest that can be made are {below} and {below + RECORD_BYTES} bytes"
    return f"a size of {size} is no whole number of fixedwidth's {RECORD_BYTES}-byte records; {nearest}"


def _even_pattern(
    name: str,
    extension: str,
    block: Callable[[str, int, int], bytes],
    size_problem: Callable[[int], str | None] = _any_size,
) -> Pattern:
    return Pattern(name, extension, partial(_even, block), size_problem, partial(_even, block))


def _rows_pattern(name: str, rows: _Rows) -> Pattern:
    return Pattern(name, name, partial(_row_blocks, rows), partial(_rows_size, name, len(rows.header) + rows.reserve))


PATTERNS = (
    _even_pattern("random", "bin", _random_block),
    _even_pattern("fixed", "txt", _fixed_block),
    _rows_pattern("csv", CSV),
    _rows_pattern("jsonl", JSONL),
    _even_pattern("fixedwidth", "dat", _fixedwidth_block, _record_size),
)


# --- Names and sidecars ---------------------------------------------------------------------------


def new_run_id() -> str:
    """Return a new run id: 16 lower-case hex digits, never used before for all that chance allows."""
    return secrets.token_hex(8)


def file_name(testdata: TestData, pattern: Pattern, *, flow_id: str, run_id: str, size: int, now: datetime) -> str:
    """Return the name of a run's file: ``<prefix>_<UTC time>_<run_id>.<extension>``, or as ``filename`` says.

    ``now`` knows its time zone; names are in UTC. Raises ConfigInvalid where the name would not
    hold the run id, uses an unknown variable, or is no plain file name.
    """
    if now.tzinfo is None:
        raise ValueError("the time of a file name must know its time zone")
    utc = now.astimezone(timezone.utc)
    if testdata.filename is None:
        name = f"{testdata.filename_prefix}_{utc:%Y%m%dT%H%M%SZ}_{run_id}.{pattern.extension}"
    else:
        values = (f"{utc:%Y%m%d}", f"{utc:%H%M%S}", run_id, flow_id, str(size))
        name = _from_template(testdata.filename, dict(zip(FILE_NAME_VARIABLES, values, strict=True)))
    check_name(name)
    return name


def _from_template(filename: str, variables: dict[str, str]) -> str:
    if "run_id" not in template.names_in(filename):
        # Without it two runs would write to the same name, and judge each other's files.
        raise ConfigInvalid(f'testdata.filename {filename!r} does not hold "${{run_id}}"')
    try:
        return str(template.substitute(filename, variables))
    except template.UnknownVariable as error:
        raise ConfigInvalid(f"testdata.filename {filename!r}: {error}") from error


def check_name(name: str) -> None:
    """Raise ConfigInvalid unless this is one plain file name of at most 240 bytes in UTF-8."""
    if name in ("", ".", ".."):
        raise ConfigInvalid(f"{name!r} is not a file name")
    bad = next((character for character in name if character in "/\\" or not character.isprintable()), None)
    if bad is not None:
        raise ConfigInvalid(f"the file name {name!r} holds {bad!r}; only printable characters except / and \\ may")
    length = len(name.encode())
    if length > NAME_BYTES:
        raise ConfigInvalid(f"the file name {name!r} has {length} bytes in UTF-8; at most {NAME_BYTES} are possible")


def manifest(*, flow_id: str, run_id: str, case: str, file: PayloadFile, created_utc: str) -> bytes:
    """Return the manifest of a run's file: JSON that says what it is, and that it is synthetic."""
    document = {
        "schema_ver": MANIFEST_SCHEMA,
        "flow_id": flow_id,
        "test_run_id": run_id,
        "case": case,
        "file_name": file.name,
        "size_bytes": file.size,
        "sha256": file.sha256,
        "pattern": file.pattern,
        "created_utc": created_utc,
        "synthetic": True,
    }
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def sha256_sidecar(sha256: str) -> bytes:
    """Return the content of the digest's sidecar: hex digest and newline."""
    return f"{sha256}\n".encode("ascii")
