"""Keeps transfers back until their flow's contract has landed, and lets those of a failed one fail with its cause."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pytest_fileflow.flight import Flight
    from pytest_fileflow.model import Run, Verdict

# What only the tester's own process suffered from says nothing about the flow.
_SAYS_NOTHING: Final = frozenset(("tester.bug", "tester.interrupted"))


def refused_by(contract: Verdict, run_id: str) -> Verdict | None:
    """Return the verdict of a transfer, from that of its flow's contract, a run of this id; None where it may begin."""
    if contract.outcome == "passed" or contract.cause in _SAYS_NOTHING:
        return None
    reason = f"not sent: the contract failed: {contract.reason}"
    return dataclasses.replace(contract, reason=reason, evidence={**contract.evidence, "contract_run_id": run_id})


@dataclasses.dataclass
class _Contract:
    """A flow's contract: the one on its way, who waits for it, and what became of the last."""

    on_its_way: Flight | None = None
    waiting: list[Flight] = dataclasses.field(default_factory=list)
    last: Run | None = None


class Contracts:
    """The contracts of this process, by flow; the caller of every method holds a lock."""

    def __init__(self) -> None:
        self._of: dict[str, _Contract] = {}

    def launched(self, flight: Flight) -> None:
        """Note that a flow's contract is on its way."""
        self._of.setdefault(flight.case.flow.flow_id, _Contract()).on_its_way = flight

    def holds(self, flight: Flight) -> bool:
        """Keep a transfer whose flow's contract is on its way; return whether it is kept."""
        contract = self._of.get(flight.case.flow.flow_id)
        if flight.case.kind != "transfer" or contract is None or contract.on_its_way is None:
            return False
        contract.waiting.append(flight)
        return True

    def landed(self, flight: Flight, run: Run | None) -> list[Flight]:
        """Note what became of a contract, None where it was never begun; return the transfers that waited for it."""
        contract = self._of[flight.case.flow.flow_id]
        if contract.on_its_way is not flight:
            return []
        contract.on_its_way, contract.last = None, run
        waiting, contract.waiting = contract.waiting, []
        return waiting

    def refusal(self, flight: Flight) -> Verdict | None:
        """Return the verdict of a transfer that need not begin, since its flow's contract failed.

        A transfer that is run again, and its contract was not, finds out by itself.
        """
        contract = self._of.get(flight.case.flow.flow_id)
        run = contract.last if contract else None
        if flight.case.kind != "transfer" or run is None or run.verdict is None or run.attempt < flight.attempt:
            return None
        return refused_by(run.verdict, run.run_id)

    def give_up(self) -> None:
        """Keep nobody any longer."""
        for contract in self._of.values():
            contract.waiting.clear()
