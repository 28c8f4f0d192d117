"""The check ``sidecars``: digest and manifest came along with the file, as they were sent."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from pytest_fileflow.model import SIDECAR_ENDINGS, CheckResult, sidecar_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_fileflow.checks.chain import Expected
    from pytest_fileflow.checks.place import Delivery

ENDINGS = dict(zip(("sha256", "manifest"), SIDECAR_ENDINGS, strict=True))
WITHIN_SECONDS = 10.0
LOOK_SECONDS = 0.5
MOST_BYTES = 64 * 1024  # a sidecar has less
_DIGEST = re.compile(rb"\s*([0-9a-fA-F]{64})\b")
_RUN_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)  # what stands in somebody's manifest goes into a sentence


class Sidecars:
    """Waits for sidecars up to ``within_seconds`` after the file itself, and compares them byte by byte.

    In a flow that renames they may have the old name or the new one before their ending.
    """

    def __init__(self, files: Sequence[str] = tuple(ENDINGS), within_seconds: float = WITHIN_SECONDS):
        self._endings = tuple(ENDINGS[name] for name in files)
        self._within = within_seconds

    def look(self, delivery: Delivery) -> CheckResult:
        """Judge them; one that is not right yet is looked at again."""
        until = delivery.clock.monotonic() + self._within
        while problems := list(self._problems(delivery)):
            left = until - delivery.clock.monotonic()
            if left <= 0 or delivery.cancelled():
                break
            delivery.clock.sleep(min(LOOK_SECONDS, left))
        named = dict(zip(SIDECAR_ENDINGS, delivery.run.file.sidecars, strict=True))
        names = " and ".join(named[ending] for ending in self._endings)
        expected = f"{names} beside it within {self._within:g} s, as sent"
        return CheckResult("sidecars", not problems, expected, "; ".join(problems) or "as sent")

    def _problems(self, delivery: Delivery) -> Iterator[str]:
        for ending in self._endings:
            problem = _problem(delivery, ending, delivery.sidecars[ending])
            if problem is not None:
                yield problem


def make(options: Mapping[str, object], expected: Expected) -> Sidecars:  # noqa: ARG001 - as all checks are made
    """Return the check."""
    files, within = options.get("files"), options.get("within_seconds", WITHIN_SECONDS)
    names = tuple(map(str, files)) if isinstance(files, list | tuple) else tuple(ENDINGS)
    return Sidecars(names, float(str(within)))


def _problem(delivery: Delivery, ending: str, sent: bytes) -> str | None:
    """Return what is wrong with a sidecar, or None."""
    at = SIDECAR_ENDINGS.index(ending)
    names = dict.fromkeys(sidecar_names(name)[at] for name in (delivery.stat.name, delivery.run.file.name))
    for name in names:
        found = _content(delivery, name)
        if found is not None:
            how = None if found == sent else _difference(delivery, ending, sent, found)
            return how and f"{delivery.endpoint.location.uri(name)} {how}"
    return f"there is no {delivery.endpoint.location.uri(next(iter(names)))}"


def _content(delivery: Delivery, name: str) -> bytes | None:
    with delivery.endpoint.open(name) as chunks:
        if chunks is None:
            return None
        content = b""
        for chunk in chunks:
            content += chunk[: MOST_BYTES + 1 - len(content)]
            if len(content) > MOST_BYTES:
                break
        return content


def _difference(delivery: Delivery, ending: str, sent: bytes, found: bytes) -> str:
    """Return how a sidecar differs from the one that was sent, as the end of a sentence."""
    if ending == ENDINGS["manifest"]:
        run_id = _run_id(found)
        if run_id is not None and run_id != delivery.run.run_id:
            return f"is the manifest of another run, {run_id}"
    else:
        digest = _DIGEST.match(found)
        if digest is not None and digest[1].lower() != sent.strip():
            return f"holds another digest, {digest[1].decode().lower()}"
    more = "more than " if len(found) > MOST_BYTES else ""
    length = min(len(found), MOST_BYTES)
    return f"holds other bytes than were sent ({more}{length} bytes in place of {len(sent)})"


def _run_id(manifest: bytes) -> str | None:
    try:
        told = json.loads(manifest)["test_run_id"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return told if isinstance(told, str) and _RUN_ID.fullmatch(told) else None
