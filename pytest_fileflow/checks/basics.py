"""Judges what every arrived file is judged by: its size, digest and time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pytest_fileflow.checks.words import by_how_much, bytes_text
from pytest_fileflow.model import CheckResult

if TYPE_CHECKING:
    from pytest_fileflow.checks.chain import Expected
    from pytest_fileflow.model import Latency


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
        expected = (self._expected.sha256 or "").lower()
        return CheckResult("sha256", self.hexdigest == expected, expected, self.hexdigest)


def size_check(expected: Expected, observed_size: int) -> CheckResult:
    """Judge the size of what arrived, in bytes, within the tolerance either way."""
    if expected.size is None:
        raise ValueError("a size that is not known cannot be judged")
    difference = observed_size - expected.size
    tolerance = f" ± {expected.size_tolerance}" if expected.size_tolerance else ""
    return CheckResult(
        "size",
        abs(difference) <= expected.size_tolerance,
        f"{bytes_text(expected.size)}{tolerance}",
        f"{bytes_text(observed_size)}{by_how_much(difference)}",
    )


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
