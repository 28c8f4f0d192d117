"""Judges what arrived: its size, digest, time and encryption, and where its bytes differ."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pytest_fileflow.model import CheckResult

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from pytest_fileflow.model import Latency, Stat

BLOCK_BYTES = 4096  # the unit in which differences are counted: a page, and a common disk block


@dataclass(frozen=True)
class Expected:
    """What should have arrived: size and tolerance in bytes, hex SHA-256."""

    size: int
    sha256: str
    size_tolerance: int = 0


class StreamCheck(Protocol):
    """One check over the arrived bytes, which are fed to it once, in order, in chunks of any size."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; nothing of them may be kept beyond a bounded amount."""

    def result(self) -> CheckResult:
        """Return the judgement of all bytes fed."""


class Sha256Check:
    """Compares the SHA-256 of the arrived bytes with the expected one."""

    def __init__(self, expected: Expected):
        self._expected = expected
        self._sha256 = hashlib.sha256()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._sha256.update(chunk)

    @property
    def hexdigest(self) -> str:
        """Return the hex SHA-256 of the bytes so far."""
        return self._sha256.hexdigest()

    def result(self) -> CheckResult:
        """Return whether all bytes fed have the expected digest."""
        expected = self._expected.sha256.lower()
        return CheckResult("sha256", self.hexdigest == expected, expected, self.hexdigest)


def size_check(expected: Expected, observed_size: int) -> CheckResult:
    """Judge the size of what arrived, in bytes, within the tolerance either way."""
    difference = observed_size - expected.size
    tolerance = f" ± {expected.size_tolerance}" if expected.size_tolerance else ""
    return CheckResult(
        "size",
        abs(difference) <= expected.size_tolerance,
        f"{_bytes(expected.size)}{tolerance}",
        f"{_bytes(observed_size)}{_by_how_much(difference)}",
    )


def _by_how_much(difference: int) -> str:
    return f" ({abs(difference)} too {'many' if difference > 0 else 'few'})" if difference else ""


def _bytes(number: int) -> str:
    return f"{number} byte{'' if number == 1 else 's'}"


def latency_check(slo_seconds: float, latency: Latency) -> CheckResult:
    """Judge whether the file may have arrived within the SLO, in seconds.

    The true arrival lies up to the resolution before the one that was seen, so only a file whose
    earliest possible arrival is over the SLO counts as late.
    """
    return CheckResult(
        "latency",
        latency.seconds - latency.resolution <= slo_seconds,
        f"within {_seconds(slo_seconds)}",
        f"{_seconds(latency.seconds)} (± {_seconds(latency.resolution)})",
    )


def _seconds(value: float) -> str:
    return f"{f'{value:.3f}'.rstrip('0').rstrip('.')} s"


def kms_check(expected_arn: str | None, stat: Stat) -> CheckResult | None:
    """Judge the key that an S3 object is encrypted with; None where no key is asked for.

    S3 names the key by its key ARN, even where the writer named an alias (HeadObject,
    ``x-amz-server-side-encryption-aws-kms-key-id``). So an expected alias can only be checked for
    encryption with ``aws:kms`` (or ``aws:kms:dsse``) at all, and the texts say so.
    """
    if not expected_arn:
        return None
    with_kms = (stat.encryption or "").startswith("aws:kms")
    if "alias/" in expected_arn:
        expected = f"encrypted with aws:kms (S3 does not tell whether by {expected_arn})"
        return CheckResult("kms", with_kms, expected, _encryption(stat))
    right_key = with_kms and _same_key(expected_arn, stat.kms_key_id or "")
    return CheckResult("kms", right_key, f"encrypted with aws:kms by {expected_arn}", _encryption(stat))


def _same_key(expected: str, observed: str) -> bool:
    """Compare key ARNs, or the key ids alone where one of both is no ARN."""
    if expected.startswith("arn:") and observed.startswith("arn:"):
        return expected == observed
    return expected.rpartition(":key/")[2] == observed.rpartition(":key/")[2]


def _encryption(stat: Stat) -> str:
    if not stat.encryption:
        return "no server-side encryption reported"
    return f"encrypted with {stat.encryption}{f' by {stat.kms_key_id}' if stat.kms_key_id else ''}"


@dataclass(frozen=True)
class Difference:
    """Where and how much two streams differ. Sizes and offsets are bytes.

    ``offset`` is the first position at which they differ, None where they are equal; where one
    ends before the other it is the end of the shorter. ``blocks`` counts the 4 KiB blocks, from
    the start of the file, that are not the same in both: changed, missing or extra.
    ``compared`` bytes exist in both. ``prefix_right``: all of these are equal.
    """

    offset: int | None
    blocks: int
    compared: int
    actual_size: int
    expected_size: int
    prefix_right: bool


def compare(actual: Iterator[bytes], expected: BinaryIO) -> Difference:
    """Compare two streams to their ends, in constant memory.

    ``expected`` is a seekable, buffered stream (its reads are short only at the end), read from its start.
    """
    expected_size = expected.seek(0, io.SEEK_END)
    expected.seek(0)
    tally = _Tally()
    for chunk in actual:
        tally.add(chunk, expected.read(len(chunk)))
    return tally.difference(expected_size)


class _Tally:
    """What is known of two streams that were read side by side up to ``position``."""

    def __init__(self) -> None:
        self.position = 0
        self.offset: int | None = None
        self.blocks = 0
        self._counted = -1  # index of the last block counted: it may go on in the next chunk

    def add(self, actual: bytes, expected: bytes) -> None:
        """Take the bytes that follow in both; ``expected`` is shorter only at its end."""
        start, overlap = self.position, len(expected)
        self.position += len(actual)
        if actual[:overlap] == expected:
            return
        here = 0
        while here < overlap:
            until = min(overlap, here + BLOCK_BYTES - (start + here) % BLOCK_BYTES)
            self._compare_block(start + here, actual[here:until], expected[here:until])
            here = until

    def _compare_block(self, start: int, actual: bytes, expected: bytes) -> None:
        if actual == expected:
            return
        if self.offset is None:
            self.offset = start + next(i for i, (a, e) in enumerate(zip(actual, expected, strict=True)) if a != e)
        self._count(start // BLOCK_BYTES)

    def _count(self, first: int, last: int | None = None) -> None:
        last = first if last is None else last
        self.blocks += max(0, last - max(first, self._counted + 1) + 1)
        self._counted = max(last, self._counted)

    def difference(self, expected_size: int) -> Difference:
        """Return the result, once all of the actual stream was added."""
        shorter, longer = sorted((self.position, expected_size))
        prefix_right = self.offset is None
        if shorter != longer:
            self.offset = shorter if self.offset is None else self.offset
            self._count(shorter // BLOCK_BYTES, (longer - 1) // BLOCK_BYTES)
        return Difference(self.offset, self.blocks, shorter, self.position, expected_size, prefix_right)
