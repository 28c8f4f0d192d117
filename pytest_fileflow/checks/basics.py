"""Judges what every arrived file is judged by: its size, digest, time and encryption."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pytest_fileflow.checks.words import by_how_much, bytes_text
from pytest_fileflow.model import CheckResult

if TYPE_CHECKING:
    from pytest_fileflow.checks.chain import Expected
    from pytest_fileflow.model import Latency, Stat


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
