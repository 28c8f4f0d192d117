"""How far the runs of a process, or of a whole session, have come: plain numbers for whoever shows them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from pytest_fileflow.flight import Flight


@dataclasses.dataclass(frozen=True)
class Wait:
    """A run that waits for its file: its case's name, for how long by now, and its SLO, in seconds."""

    case: str
    seconds: float
    slo_seconds: float

    @classmethod
    def of(cls, flight: Flight, now: float) -> Wait:
        """Return how long a run has waited at a monotonic moment."""
        return cls(flight.case.name, now - flight.triggered, flight.case.flow.validation.expect_within_seconds)

    @property
    def of_slo(self) -> float:
        """Return which part of its SLO it has waited, 1.0 for all of it."""
        return self.seconds / self.slo_seconds


@dataclasses.dataclass(frozen=True)
class Progress:
    """How many runs have come how far.

    ``queued`` are launched, and nothing is sent yet; ``checking`` are those that send no file
    (contracts, canaries, what must be refused); ``waiting`` are triggered; ``verifying`` have seen their
    file arrive, or have given it up; ``ending`` are cancelled and being cleaned up. ``failed`` are among
    the ``done``. ``slowest`` is the wait that has come closest to its SLO, or furthest beyond.
    """

    queued: int = 0
    checking: int = 0
    sending: int = 0
    waiting: int = 0
    verifying: int = 0
    ending: int = 0
    done: int = 0
    failed: int = 0
    slowest: Wait | None = None

    @classmethod
    def of(cls, flights: Iterable[Flight], now: float, recorded: Container[str]) -> Progress:
        """Return how far runs have come that are not ``recorded`` (run ids) yet; ``now`` is monotonic."""
        counts: Counter[str] = Counter()
        slowest, furthest = None, -1.0
        for flight in flights:
            if flight.landed.done() or (flight.run is not None and flight.run.run_id in recorded):
                continue
            phase = _phase(flight)
            counts[phase] += 1
            if phase == "waiting":
                of_slo = (now - flight.triggered) / flight.case.flow.validation.expect_within_seconds
                if of_slo > furthest:
                    slowest, furthest = flight, of_slo
        return cls(**counts, slowest=None if slowest is None else Wait.of(slowest, now))

    @classmethod
    def total(cls, parts: Iterable[Progress]) -> Progress:
        """Return the progress of several processes together."""
        parts = list(parts)
        counts = {
            field.name: sum(getattr(part, field.name) for part in parts)
            for field in dataclasses.fields(cls)
            if field.name != "slowest"
        }
        waits = [part.slowest for part in parts if part.slowest is not None]
        return cls(**counts, slowest=max(waits, key=lambda wait: wait.of_slo, default=None))

    @property
    def under_way(self) -> int:
        """Return how many runs are not done."""
        return self.queued + self.checking + self.sending + self.waiting + self.verifying + self.ending

    def without_process(self) -> Progress:
        """Return what stays true once the process of these runs is gone: what is done."""
        return Progress(done=self.done, failed=self.failed)

    def to_dict(self) -> dict[str, Any]:
        """Return primitives only."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Progress:
        """Return what ``to_dict`` was made of."""
        slowest = told["slowest"]
        return cls(**{**told, "slowest": None if slowest is None else Wait(**slowest)})


def _phase(flight: Flight) -> str:
    if flight.cancelled.is_set() or (flight.run is not None and flight.run.verdict is not None):
        return "ending"
    if flight.finishing:
        return "verifying"
    if flight.run is None:
        return "queued"
    if flight.case.kind != "transfer":
        return "checking"
    return "sending" if flight.arrival is None else "waiting"
