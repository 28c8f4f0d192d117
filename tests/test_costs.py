"""What a suite costs: the model against AWS's tiers, the pace of the product and the state machine, and the docs."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone

import pytest

from pytest_fileflow.arrival import Arrival, Expectation
from pytest_fileflow.aws.waiting import BY_STEPS
from pytest_fileflow.results.cloudwatch.data import run_data, suite_data
from tests.support import costs
from tests.test_reports import record

cost = costs.script()
PRICES = cost.Prices()
MACHINE = costs.ROOT / "deploy" / "terraform" / "machine"


@pytest.mark.parametrize("name", costs.TABLES)
def test_the_docs_show_the_table_that_the_script_makes(name):
    assert costs.in_docs(name) == costs.made(name), "run: python -m tests.support.costs"


@pytest.mark.parametrize(
    ("metrics", "usd"),
    [
        (0, 0),
        (1, 0.3),
        (10_000, 3000),
        (10_001, 3000.1),
        (250_000, 27_000),
        (1_000_000, 64_500),
        (1_000_001, 64_500.02),
    ],
)
def test_custom_metrics_are_charged_by_their_tiers(metrics, usd):
    assert PRICES.metric_months(metrics) == pytest.approx(usd)


@pytest.mark.parametrize("seconds", [1, 5, 60, 420, 900, 3600, 6 * 3600])
def test_a_wait_is_looked_at_as_often_as_the_steps_do(seconds):
    arrival = Arrival(Expectation(size=1, tolerance=0, slo=10**6, give_up=10**6, settle=0.0), 0.0, pace=BY_STEPS)
    now, number = 0.0, 0
    while now < seconds:
        now += max(1, math.ceil(arrival.next_look(now) - now))
        number += 1
    assert cost.Waiting().looks(seconds) == number


def steps_of(*named: str) -> list[str]:
    """Return the states that a case goes through; a step names the one that comes next, in this order."""
    case = json.loads((MACHINE / "case.asl.json").read_text().replace("${suffix}", ""))
    way, name, nexts = [], case["StartAt"], iter(named)
    while name is not None:
        way.append(name)
        state = case["States"][name]
        if state["Type"] == "Choice":
            told = next(nexts, None)
            name = next((each["Next"] for each in state["Choices"] if each["StringEquals"] == told), state["Default"])
        else:
            name = state.get("Next")
    return way


def test_the_transitions_are_those_of_the_state_machine():
    suite = cost.Suite()
    looked = steps_of("seed", "trigger", "wait", "wait", "verify")
    assert looked[-1] == "Record"
    assert len(looked) == suite.transitions + 2 * suite.transitions_a_look
    assert len(steps_of("ask")) == suite.transitions_asked
    functions = [name for name in steps_of("seed", "trigger", "verify") if name != "Route"]
    assert len(functions) == suite.steps
    assert len([name for name in steps_of("ask") if name != "Route"]) == suite.steps_asked


def test_the_metrics_are_those_that_are_published():
    moments = ("begun", "prepared", "seeded", "triggered", "arrived", "verified", "cleaned")
    stamps = {name: f"2026-05-04T06:00:{number:02}.000Z" for number, name in enumerate(moments)}
    run = record(kind="transfer", timeline=stamps)
    canary = record(kind="canary", flow_id="beta", timeline=stamps)
    now = datetime(2026, 5, 4, 7, tzinfo=timezone.utc)
    suite = cost.Suite()
    assert len(run_data(run, now)) == suite.metrics
    assert len(run_data(canary, now)) == suite.canary_metrics
    assert len(suite_data([run, canary], now)) == suite.suite_metrics


def test_four_flows_by_hand():
    (row,) = [row for row in cost.month([cost.Suite()], PRICES) if row[0].startswith("Step Functions")]
    # 30 days of 4 transfers with 28 looks, 4 contracts and one execution
    assert row[1] == f"{30 * (4 * (10 + 3 * 28) + 4 * 6 + 6) * 0.025 / 1000:.2f}"


def test_what_is_asked_for_is_what_is_calculated(capsys):
    def together(*arguments: str) -> float:
        assert cost.main(arguments) == 0
        line = next(line for line in capsys.readouterr().out.splitlines() if "**together**" in line)
        return float(line.split("**")[3].replace(",", ""))

    plain = together("--flows", "300")
    assert together("--flows", "300", "--canaries", "24") > 2 * plain
    assert together("--flows", "300", "--looks", "5") < plain
    assert together("--flows", "300", "--alarmed", "0") == pytest.approx(plain - 30, abs=0.011)
    assert together("--flows", "300", "--metrics", "20") > plain
    assert together("--flows", "300", "--memory", "2048") > plain


def test_the_parts_make_the_whole():
    for flows in cost.SIZES:
        suite = cost.Suite(flows=flows)
        assert cost.total(suite, PRICES) == pytest.approx(sum(part(suite, PRICES) for _, part in cost.PARTS))
        assert all(part(suite, PRICES) > 0 for _, part in cost.PARTS)


def test_a_suite_takes_as_many_waits_as_its_places_need():
    by_places = {places: cost.Suite(flows=200, concurrency=places).suite_seconds for places in (4, 40, 200, 1000)}
    assert by_places[4] == 50 * by_places[200]
    assert by_places[40] == 5 * by_places[200]
    assert by_places[1000] == by_places[200]
    assert 420 < by_places[200] < 440
