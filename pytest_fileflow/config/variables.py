"""Which names a run gives a value to, and in which fields: all others are variables of an environment."""

from __future__ import annotations

from pytest_fileflow.config import alerting
from pytest_fileflow.config.rules import NAME_VARIABLES, RUN_VARIABLES

_OF_RUNS = RUN_VARIABLES | NAME_VARIABLES | alerting.VARIABLES


def is_of_a_run(name: str) -> bool:
    """Return whether a run, or an alert about it, gives a variable its value."""
    return name in _OF_RUNS or name.startswith(alerting.SECRET)
