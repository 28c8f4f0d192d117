"""By which cause a fault must be caught in a given flow: what the flow waits for, and what it looks at, decides too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.transforms import WILDCARD, adds, companions, renaming

if TYPE_CHECKING:
    from pytest_fileflow.faults import Fault
    from pytest_fileflow.model import Flow


def expected_cause(fault: Fault, flow: Flow) -> str | None:
    """Return the cause by which a possible fault must be caught in a flow; None where the run must still pass."""
    by_part = {"transfer": _of_transfer, "function": _of_function, "endpoint": _of_end}
    return by_part[fault.kind.part](fault, flow)


_OF_BYTES = frozenset(
    (
        *("truncate", "oversize", "bit_flip", "block_swap", "zeros", "crlf", "bom", "gzip", "reencode"),
        *("stale", "as_sent", "stalled_writer"),
    )
)
_SAME_SIZE = frozenset(("bit_flip", "block_swap", "zeros", "stale"))
_BOM_BYTES = 3
# What the tester's first look at a target does not show: only a write does.
_SHOWN_BY_WRITING = frozenset(("read_only_directory", "disk_full", "denied_kms_key", "connection_reset"))


def _of_transfer(fault: Fault, flow: Flow) -> str | None:
    if fault.name == "bare":
        return f"check.{companions(flow)[0]}"
    if fault.name == "as_sent" and renaming(flow):
        return "missing.renamed"
    layers = adds(flow)
    return _of_wrapped(fault, flow, layers) if layers and fault.name in _OF_BYTES else _of_known(fault, flow)


def _of_known(fault: Fault, flow: Flow) -> str | None:
    """Return the cause where it is known beforehand what should arrive."""
    if flow.validation.checksum == "none" and _size_change(fault, flow) <= flow.validation.size_tolerance_bytes:
        return None  # nobody looks at the bytes, and so many more or fewer are allowed
    if fault.name == "delay":
        return _of_time(fault.quantity, flow, "trigger.timeout" if _is_called(flow) else "missing.not_picked_up")
    unfinished = _never_completed(flow)
    if fault.name == "slow_writer":
        return _of_time(fault.quantity, flow, unfinished)
    return unfinished if fault.name == "stalled_writer" else fault.kind.cause


def _never_completed(flow: Flow) -> str:
    """Return what is seen of a file that is never written to its end."""
    # At S3 nothing appears before its end; then all that a function shows which is waited for is that it goes on.
    if flow.target.type == "S3" and _is_called(flow):
        return "trigger.timeout"
    # An upload that was begun is only found by a name that is known.
    is_nameless = flow.target.type == "S3" and WILDCARD in (renaming(flow) or "")
    return "missing.not_picked_up" if is_nameless else "partial.truncated"


def _of_wrapped(fault: Fault, flow: Flow, layers: tuple[str, ...]) -> str | None:
    """Return the cause in a flow that wraps: nobody knows the outer bytes, but what makes the layer whole."""
    if fault.name == "stalled_writer" and _is_called(flow):
        return "trigger.timeout"  # what has come so far looks whole until then
    if fault.name == "stalled_writer" and flow.target.type == "S3":
        return _never_completed(flow)
    if fault.name == "as_sent":
        return "content.unchanged" if flow.validation.checksum != "none" else f"check.{layers[0]}"
    if fault.name == "stale":  # as whole as the right one
        return f"check.{layers[-1]}" if flow.validation.checksum != "none" else None
    return f"check.{layers[0]}"


def _size_change(fault: Fault, flow: Flow) -> float:
    """Return by how many bytes a fault changes the largest file; infinity where that is not known beforehand."""
    amount = fault.quantity or 0
    if fault.name == "truncate":
        return max(variant.size for variant in flow.testdata.variants) * (1 - amount)
    changes = {**dict.fromkeys(_SAME_SIZE, 0.0), "bom": float(_BOM_BYTES), "oversize": amount}
    return changes.get(fault.name, float("inf"))


def _of_function(fault: Fault, flow: Flow) -> str | None:
    # What the tester does not start itself just does not happen.
    return fault.kind.cause if flow.transfer.mode == "invoke" else "missing.not_picked_up"


def _of_end(fault: Fault, flow: Flow) -> str | None:
    written_by_tester = fault.side_in(flow) == "source" or flow.contract.probe_target
    if fault.name in _SHOWN_BY_WRITING and not written_by_tester:
        return "trigger.function_error" if flow.transfer.mode == "invoke" else "missing.not_picked_up"
    return fault.kind.cause


def _of_time(seconds: float | None, flow: Flow, never: str) -> str | None:
    if seconds is None:
        return "late"
    if seconds < flow.validation.expect_within_seconds:
        return None
    return "late" if seconds < flow.give_up_seconds else never


def _is_called(flow: Flow) -> bool:
    """Return whether somebody waits for the function to return."""
    return flow.transfer.mode == "invoke" and flow.transfer.invocation == "RequestResponse"
