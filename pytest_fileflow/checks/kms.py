"""The check ``kms``: an S3 object is encrypted with the key that it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.model import CheckResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.checks.chain import Expected
    from pytest_fileflow.checks.place import Delivery
    from pytest_fileflow.model import Stat


class Kms:
    """Compares the key an object is encrypted with; ``key_arn`` None stands for the target's own."""

    def __init__(self, key_arn: str | None = None):
        self._key_arn = key_arn

    def look(self, delivery: Delivery) -> CheckResult:
        """Judge the encryption that S3 reports."""
        wanted = self._key_arn or getattr(delivery.endpoint.location, "kms_key_arn", None)
        return judge_key(str(wanted or ""), delivery.stat)


def make(options: Mapping[str, object], expected: Expected) -> Kms:  # noqa: ARG001 - as all checks are made
    """Return the check."""
    key = options.get("key_arn")
    return Kms(None if key is None else str(key))


def judge_key(wanted_arn: str, stat: Stat) -> CheckResult:
    """Judge the key that an S3 object is encrypted with.

    S3 names the key by its key ARN, even where the writer named an alias (HeadObject,
    ``x-amz-server-side-encryption-aws-kms-key-id``). So an expected alias can only be checked for
    encryption with ``aws:kms`` (or ``aws:kms:dsse``) at all, and the texts say so.
    """
    with_kms = (stat.encryption or "").startswith("aws:kms")
    if "alias/" in wanted_arn:
        expected = f"encrypted with aws:kms (S3 does not tell whether by {wanted_arn})"
        return CheckResult("kms", with_kms, expected, _encryption(stat))
    right_key = with_kms and _same_key(wanted_arn, stat.kms_key_id or "")
    return CheckResult("kms", right_key, f"encrypted with aws:kms by {wanted_arn}", _encryption(stat))


def _same_key(expected: str, observed: str) -> bool:
    """Compare key ARNs, or the key ids alone where one of both is no ARN."""
    if expected.startswith("arn:") and observed.startswith("arn:"):
        return expected == observed
    return expected.rpartition(":key/")[2] == observed.rpartition(":key/")[2]


def _encryption(stat: Stat) -> str:
    if not stat.encryption:
        return "no server-side encryption reported"
    return f"encrypted with {stat.encryption}{f' by {stat.kms_key_id}' if stat.kms_key_id else ''}"
