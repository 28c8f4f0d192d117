"""Which cases a flow has: its contract, a transfer for each size, and what the system must refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.model import NO_FILE, Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_fileflow.model import Flow


def cases_of(flow: Flow, *, canary: bool) -> Iterator[Case]:
    """Yield the cases of a flow in the order of their items; a canary, which doubles a contract, where it is wanted."""
    yield Case(flow, NO_FILE, "contract")
    if canary:
        yield Case(flow, NO_FILE, "canary")
    yield from (Case(flow, variant) for variant in flow.testdata.variants)
    yield from (Case(flow, NO_FILE, "rejects", refusal) for refusal in flow.negative)
