"""The steps of a run as Lambda functions, for a state machine: each module adapts one step, and has a ``handler``.

What they share: ``life`` is what a step does, ``state`` what travels between two of them, ``host`` what
a function has to work with. pytest is not imported here, nor is it in the functions' package.
"""

from __future__ import annotations

from typing import Final

STEPS: Final = (
    *("list_flows", "prepare", "seed", "trigger", "check_arrival", "verify"),
    *("ask", "diagnose", "clean_up", "record", "notify"),
)
"""The modules that are functions: ``pytest_fileflow.aws.<step>.handler``."""
