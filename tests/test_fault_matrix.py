"""Every fault in every direction, each run for real, and the cause that is named for it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from tests.support.matrix import PAIRS, name_of, plain, run_all


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str | None, dict[str, Any]]]:
    return run_all(tmp_path_factory.mktemp("matrix"))


@pytest.mark.parametrize("name", [name_of(*pair) for pair in PAIRS])
def test_each_fault_is_caught_by_its_cause(outcomes, name):
    expected, record = outcomes[name]
    assert record["cause"] == expected, record["reason"]
    assert record["outcome"] == ("failed" if expected else "passed")


def test_no_two_faults_share_a_message(outcomes):
    """Apart from names and numbers."""
    kinds: dict[str, set[str]] = defaultdict(set)
    for name, (_, record) in outcomes.items():
        if record["reason"]:
            kinds[plain(record)].add(name.split()[1].rpartition(".")[2])
    assert {message: names for message, names in kinds.items() if len(names) > 1} == {}
