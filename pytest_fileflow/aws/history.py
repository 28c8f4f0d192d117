"""How large the history of an execution becomes, which decides where its cases run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_fileflow.arrival import Arrival, Expectation
from pytest_fileflow.aws.life import HELD_SECONDS
from pytest_fileflow.aws.waiting import BY_STEPS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_fileflow.model import Case

MOST_EVENTS: Final = 25_000
"""AWS: Step Functions quotas, the most events of one execution of a standard workflow."""
ROOM: Final = 20_000  # what is planned with: tries that follow others take events too
MOST_INLINE: Final = 40
"""AWS: an inline map runs 40 iterations at a time."""
MOST_BYTES: Final = 200 * 1024
"""Of a list within a state, which AWS allows 256 KiB."""

LONGEST_SECONDS: Final = 20 * 3600
"""What a run may wait for its file: an execution ends after a day, and nobody is told of anything then."""

CASE_EVENTS: Final = 70
"""Of a case that does not wait: its steps, each five events and two of the choice after it, and its iteration."""
LOOK_EVENTS: Final = 10
"""Of a look at the target: a wait, a step and a choice."""
HELD_EVENTS: Final = 18
"""Of a transfer that is kept back once: a wait, two steps and two choices."""


def looks(case: Case) -> int:
    """Return how often a case looks at its target at most: until its time is over."""
    if case.kind != "transfer":
        return 0
    flow = case.flow
    arrival, now, number = Arrival(Expectation.of(flow, None), 0.0, pace=BY_STEPS), 0.0, 0
    while now < flow.give_up_seconds:
        now = max(arrival.next_look(now), now + 1.0)
        number += 1
    return number + 1


def events(cases: Iterable[Case]) -> int:
    """Return how many events cases make at most, run within one execution."""
    held = HELD_EVENTS * len(HELD_SECONDS)
    return sum(CASE_EVENTS + LOOK_EVENTS * looks(case) + held * (case.kind == "transfer") for case in cases)


def fits_inline(cases: list[Case], size: int) -> bool:
    """Return whether cases, whose list has so many bytes, can run within the execution itself."""
    return len(cases) <= MOST_INLINE and size <= MOST_BYTES and events(cases) <= ROOM
