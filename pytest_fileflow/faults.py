"""The faults that the sandbox can have: what each does, where, and the cause by which it must be caught."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_fileflow.causes import FURTHER_CHECK
from pytest_fileflow.suggest import nearest
from pytest_fileflow.transforms import WILDCARD, companions, is_transforming, renaming

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_fileflow.model import Flow, Location, Side

Part = Literal["transfer", "function", "endpoint"]


@dataclass(frozen=True)
class FaultKind:
    """One kind of fault.

    ``part`` is what misbehaves: the transfer itself, the function that carries it out, or an end.
    ``ends`` are the types of end it is possible at. ``unit`` says what a fault's amount means, and
    ``amount`` is its default; it is ``least`` or more, and less than ``below``. ``bytes_needed`` is the
    size of the smallest file that shows it. ``cause`` is the contract's; None where a good transfer
    must still pass. In a given flow another cause may show first: :mod:`~pytest_fileflow.caught`.
    """

    name: str
    does: str
    cause: str | None
    part: Part = "transfer"
    ends: tuple[str, ...] = ("S3", "SFTP")
    unit: str = ""
    amount: float | None = None
    least: float = 0
    below: float = float("inf")
    bytes_needed: int = 0


_CORRUPT, _GONE = "content.corrupt", "location.missing"
_TABLE = (
    FaultKind("drop", "the transfer leaves the file at the source", "missing.not_picked_up"),
    FaultKind("lose", "the transfer takes the file and delivers nothing", "missing.lost"),
    FaultKind(
        "delay",
        "the transfer delivers late: by default SLO and half of the grace after the trigger",
        "late",
        unit="seconds",
    ),
    FaultKind(
        "truncate",
        "the file ends too early",
        "partial.truncated",
        unit="of the bytes are delivered",
        amount=0.5,
        below=1,
        bytes_needed=1,
    ),
    FaultKind(
        "oversize",
        "zeros follow after the end of the file",
        "partial.oversize",
        unit="bytes",
        amount=1024,
        least=1,
    ),
    FaultKind(
        "bit_flip", "one bit in the middle is another", _CORRUPT, unit="is the offset of its byte", bytes_needed=1
    ),
    FaultKind(
        "block_swap", "two blocks (of 4 KiB, or half of a smaller file) changed places", _CORRUPT, bytes_needed=2
    ),
    FaultKind(
        "zeros",
        "a range in the middle is zeros",
        "content.zeros",
        unit="bytes",
        amount=4096,
        least=1,
        bytes_needed=1,
    ),
    FaultKind("crlf", "every LF became CRLF", "content.newlines", bytes_needed=1),
    FaultKind("bom", "a byte order mark was put before the file", "content.bom"),
    FaultKind("gzip", "the file was compressed", "content.recompressed"),
    FaultKind("reencode", "the bytes were taken for Latin-1 and written as UTF-8", "content.reencoded", bytes_needed=1),
    FaultKind("stale", "the bytes and the manifest are those of an earlier run", "content.stale", bytes_needed=1),
    FaultKind(
        "as_sent",
        "the file is delivered as it was sent: not wrapped or unwrapped, and not renamed",
        "content.unchanged",
    ),
    FaultKind("bare", "no sidecars, tags or metadata come along", FURTHER_CHECK),
    FaultKind("misplace", "the file is delivered to another folder", "missing.misplaced"),
    FaultKind("rename", "the file is delivered under another name", "missing.renamed"),
    FaultKind("duplicate", "the file is delivered twice", "duplicate"),
    FaultKind(
        "slow_writer",
        "the file grows slowly under its own name (in S3: a slow multipart upload)",
        None,
        unit="seconds",
        amount=2.0,
    ),
    FaultKind(
        "stalled_writer",
        "the writer stops in the middle, and neither ends nor fails (in S3: a multipart upload)",
        "partial.truncated",
        bytes_needed=1,
    ),
    FaultKind("function_error", "the function raises an error", "trigger.function_error", "function"),
    FaultKind("crash", "the function's process dies", "trigger.function_error", "function"),
    FaultKind(
        "timeout",
        "the function hangs until its time limit, here half the SLO at most",
        "trigger.timeout",
        "function",
    ),
    FaultKind("throttle", "the function is throttled", "trigger.throttled", "function"),
    FaultKind("rejected_key", "the server refuses the key", "auth.rejected", "endpoint", ("SFTP",)),
    FaultKind("changed_host_key", "the server has another host key", "hostkey.mismatch", "endpoint", ("SFTP",)),
    FaultKind("read_only_directory", "nothing can be written", "access.denied", "endpoint", ("SFTP",)),
    FaultKind("missing_directory", "the directory is gone", _GONE, "endpoint", ("SFTP",)),
    FaultKind("missing_bucket", "the bucket is gone", _GONE, "endpoint", ("S3",)),
    FaultKind("denied_prefix", "S3 denies everything below the prefix", "access.denied", "endpoint", ("S3",)),
    FaultKind("denied_kms_key", "the KMS key refuses", "kms.denied", "endpoint", ("S3",)),
    FaultKind("connection_reset", "connections are reset while data flows", "net.reset", "endpoint"),
    FaultKind("slow_network", "answers come late", None, "endpoint", unit="seconds each", amount=0.2),
    FaultKind(
        "disk_full", "the server's disk is full (S3 has none that fills up)", "storage.failed", "endpoint", ("SFTP",)
    ),
)

FAULTS: Mapping[str, FaultKind] = {kind.name: kind for kind in _TABLE}
FORM = "[source.|target.]NAME[:AMOUNT]"

# By fault, the built-in patterns whose files it cannot change, and why.
_UNCHANGED: Mapping[str, tuple[frozenset[str], str]] = {
    "reencode": (frozenset(("csv", "jsonl", "fixedwidth", "fixed")), "hold nothing but ASCII"),
    "block_swap": (frozenset(("fixed",)), "are the same line again and again"),
}


class FaultError(ValueError):
    """A text names no fault; the message says what is wrong and what was meant."""


@dataclass(frozen=True)
class Fault:
    """A fault that is switched on: its kind's name, at which end, how much."""

    name: str
    side: Side | None = None
    amount: float | None = None

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Return the fault of a text like ``truncate``, ``delay:5`` or ``source.rejected_key``.

        Raises FaultError.
        """
        front, colon, number = text.partition(":")
        end, dot, name = front.rpartition(".")
        name = name.strip().replace("-", "_").lower()
        if dot and end not in ("source", "target"):
            raise FaultError(f"{text!r}: a fault is at the source or the target, not at {end!r}")
        if name not in FAULTS:
            meant = nearest(name, FAULTS)
            known = f"did you mean {meant!r}?" if meant else f"one of {', '.join(FAULTS)}"
            raise FaultError(f"{text!r} names no fault: {known}")
        kind = FAULTS[name]
        if dot and kind.part != "endpoint":
            raise FaultError(f"{text!r}: {name} is a fault of the {kind.part}, and not of one end")
        amount = _amount(text, kind, number) if colon else None
        return cls(name, end if end in ("source", "target") else None, amount)  # type: ignore[arg-type]

    @property
    def kind(self) -> FaultKind:
        """Return what is known of faults like this one."""
        return FAULTS[self.name]

    @property
    def text(self) -> str:
        """Return the text that this is parsed from."""
        amount = "" if self.amount is None else f":{self.amount:g}"
        return f"{f'{self.side}.' if self.side else ''}{self.name}{amount}"

    @property
    def quantity(self) -> float | None:
        """Return how much: the amount given, or else the kind's default."""
        return self.kind.amount if self.amount is None else self.amount

    def side_in(self, flow: Flow) -> Side | None:
        """Return the end of a flow that this fault is at, the target before the source.

        None for faults of no end, and for those that are not possible in this flow.
        """
        if self.kind.part != "endpoint":
            return None
        sides: tuple[Side, ...] = (self.side,) if self.side else ("target", "source")
        ends: dict[Side, Location] = {"source": flow.source, "target": flow.target}
        return next((side for side in sides if self._fits(ends[side])), None)

    def problem_in(self, flow: Flow) -> str | None:
        """Return why this fault is not possible in a flow, or None."""
        kind = self.kind
        if kind.part == "endpoint":
            return None if self.side_in(flow) else self._no_end(flow)
        if self.name in _NEEDS:
            return _NEEDS[self.name](flow)
        largest = max((variant.size for variant in flow.testdata.variants), default=0)
        needed = int(self.amount or 0) + 1 if self.name == "bit_flip" else kind.bytes_needed
        if largest < needed:
            return f"{kind.name} needs a file of {needed} bytes or more; the largest of {flow.flow_id} has {largest}"
        data, pattern = flow.testdata, flow.testdata.pattern
        if self.name == "stale" and pattern == "seed":
            return f"stale needs runs that differ: all of {flow.flow_id} send the same seed file"
        if data.options or data.wrap:
            return None
        patterns, why = _UNCHANGED.get(self.name, (frozenset(), ""))
        return f"{kind.name} changes no file of pattern {pattern}: they {why}" if pattern in patterns else None

    def _fits(self, location: Location) -> bool:
        if self.name == "denied_kms_key" and getattr(location, "kms_key_arn", None) is None:
            return False
        return location.type in self.kind.ends

    def _no_end(self, flow: Flow) -> str:
        where = f"the {self.side}" if self.side else "neither end"
        is_not = "is no" if self.side else "is"
        ends = " and ".join(self.kind.ends)
        more = " with a kms_key_arn" if self.name == "denied_kms_key" else ""
        return f"{self.name} is a fault of {ends} ends{more}; {where} of {flow.flow_id} {is_not} such"


def _cannot_be_as_sent(flow: Flow) -> str | None:
    if is_transforming(flow) or renaming(flow):
        return None
    return f"as_sent is what {flow.flow_id} is for: it neither wraps nor unwraps nor renames"


def _cannot_be_bare(flow: Flow) -> str | None:
    return None if companions(flow) else f"bare changes nothing that {flow.flow_id} has a check for"


def _cannot_be_renamed(flow: Flow) -> str | None:
    if (renaming(flow) or "").startswith(WILDCARD):
        return f"rename puts something before the name, which in {flow.flow_id} may begin with anything"
    return None


_NEEDS: Mapping[str, Callable[[Flow], str | None]] = {
    "as_sent": _cannot_be_as_sent,
    "bare": _cannot_be_bare,
    "rename": _cannot_be_renamed,
}


def _amount(text: str, kind: FaultKind, number: str) -> float:
    if not kind.unit:
        raise FaultError(f"{text!r}: {kind.name} takes no amount")
    try:
        amount = float(number)
    except ValueError:
        amount = -1.0
    if not kind.least <= amount < kind.below:
        bounds = f"{kind.least:g} or more" + (f" and less than {kind.below:g}" if kind.below < float("inf") else "")
        raise FaultError(f"{text!r}: {number!r} is not a number of {bounds} ({kind.unit})")
    return amount
