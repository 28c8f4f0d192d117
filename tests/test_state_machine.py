from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest

from pytest_fileflow.aws import STEPS, history, state
from pytest_fileflow.cases import cases_of
from pytest_fileflow.model import Flow, S3Location, Validation
from tests.support.machine import MAPS, arns, definition, rendered

FEW, MANY = MAPS


@pytest.fixture(scope="module")
def suite() -> dict[str, Any]:
    return definition(arns())


def states_of(machine: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return all states of a machine, those within maps too; a name that is used twice is an error."""
    found: dict[str, dict[str, Any]] = {}
    for name, told in machine["States"].items():
        assert name not in found
        found[name] = told
        if "ItemProcessor" in told:
            within = states_of(told["ItemProcessor"])
            assert not within.keys() & found.keys()
            found |= within
    return found


def tasks_of(machine: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: told for name, told in states_of(machine).items() if told["Type"] == "Task"}


def test_the_validator_of_the_language_accepts_the_machine(suite, tmp_path):
    validator = os.environ.get("FILEFLOW_ASL_VALIDATOR") or shutil.which("asl-validator")
    if validator is None:
        reason = "asl-validator is not here: npm install asl-validator, and name it in FILEFLOW_ASL_VALIDATOR"
        (pytest.fail if os.environ.get("FILEFLOW_REQUIRE_TOOLS") else pytest.skip)(reason)
    file = tmp_path / "suite.json"
    file.write_text(json.dumps(suite))
    told = subprocess.run(
        [validator, "--json-path", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (told.returncode, "✓" in told.stdout) == (0, True), told.stderr
    broken = json.loads(json.dumps(suite))
    broken["States"]["HowMany"]["Default"] = "Nowhere"
    file.write_text(json.dumps(broken))
    told = subprocess.run([validator, "--json-path", str(file)], capture_output=True, timeout=60, check=False)
    assert told.returncode == 1


def test_each_step_is_a_task_of_its_function(suite):
    invoked = {told["Parameters"]["FunctionName"] for told in tasks_of(suite).values()}
    assert invoked == set(arns().values())
    for name, told in tasks_of(suite).items():
        assert told["Resource"] == "arn:aws:states:::lambda:invoke", name


def catches(to: str) -> list[dict[str, Any]]:
    """Return what catches every failure: States.ALL leaves out what is too large.

    https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
    """
    names = ("States.DataLimitExceeded", "States.ALL")
    return [{"ErrorEquals": [name], "ResultPath": "$.error", "Next": to} for name in names]


def test_no_failure_leaves_the_machine(suite):
    for name, told in tasks_of(suite).items():
        assert told["Catch"] == catches(told["Catch"][0]["Next"]), name
    for name in MAPS:
        assert suite["States"][name]["Catch"] == catches("Notify")


def retried(task: dict[str, Any], error: str) -> dict[str, Any]:
    """Return how often, and for how many seconds, an error is tried again."""
    retry = next(each for each in task["Retry"] if {error, "States.TaskFailed"} & set(each["ErrorEquals"]))
    first, rate, most = retry["IntervalSeconds"], retry["BackoffRate"], retry.get("MaxDelaySeconds", math.inf)
    waits = [min(first * rate**number, most) for number in range(retry["MaxAttempts"])]
    return {"tries": len(waits), "seconds": sum(waits), "jitter": retry.get("JitterStrategy")}


def test_a_throttle_is_tried_again_for_minutes(suite):
    """Hundreds of cases that begin together may be more than the account's functions at a time."""
    for name, told in tasks_of(suite).items():
        again = retried(told, "Lambda.TooManyRequestsException")
        assert (again["seconds"] >= 300, again["jitter"]) == (True, "FULL"), name


@pytest.mark.parametrize(
    "error",
    [
        "CodeArtifactUserPendingException",
        "ENINotReadyException",
        "ResourceConflictException",
        "ResourceNotReadyException",
    ],
)
def test_a_function_that_has_fallen_asleep_has_time_to_wake_up(suite, error):
    """Diagnose may not be called for weeks: then its first call fails, until it is Active again.

    https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html (Inactive)
    """
    for name, told in tasks_of(suite).items():
        assert 120 <= retried(told, f"Lambda.{error}")["seconds"] <= 600, name


def test_a_step_that_failed_in_itself_is_tried_once_more(suite):
    for name, told in tasks_of(suite).items():
        assert retried(told, "ValueError")["tries"] == 1, name


def test_whatever_fails_in_a_case_ends_with_a_record_or_a_note_that_there_is_none():
    case = rendered("case", arns(), suffix="")["States"]
    ends = {name for name, told in case.items() if told.get("End")}
    assert ends == {"Record", "NotRecorded"}
    for name, told in case.items():
        # By failures alone, the way from every step leads to the record within three steps.
        way = [name]
        while way[-1] not in ends and len(way) < 6:
            here = case[way[-1]]
            way.append(here["Catch"][0]["Next"] if "Catch" in here else here.get("Next", here.get("Default")))
        assert way[-1] in ends, way
        assert not any(told["Type"] == kind for kind in ("Fail", "Parallel"))


def test_the_choice_knows_every_step_that_may_come_next():
    case = rendered("case", arns(), suffix="")["States"]
    known = {choice["StringEquals"] for choice in case["Route"]["Choices"]}
    routed = set(get_args(state.Next)) - {"record"}  # which always follows on the clean-up
    assert known == routed - {"clean_up"}
    assert case["Route"]["Default"] == "CleanUp"
    for choice in case["Route"]["Choices"]:
        to = case[choice["Next"]]
        told = to["Parameters"]["FunctionName"] if to["Type"] == "Task" else to["Type"]
        assert told.rpartition("fileflow-")[2].lower().replace("-", "_") == choice["StringEquals"]


def test_both_maps_run_the_same_states(suite):
    few, many = (json.dumps(suite["States"][name]["ItemProcessor"]["States"]) for name in MAPS)
    assert json.loads(re.sub(r'OfMany"', '"', many)) == json.loads(few)
    assert suite["States"][FEW]["ItemProcessor"]["ProcessorConfig"] == {"Mode": "INLINE"}
    assert suite["States"][MANY]["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
    assert suite["States"][MANY]["ItemSelector"] == suite["States"][FEW]["ItemSelector"]


def test_every_state_says_what_it_is_for(suite):
    for name, told in states_of(suite).items():
        assert told.get("Comment") or told["Type"] == "Fail", name
        assert len(name) <= 80, name  # AWS: the name of a state
    assert len(json.dumps(suite).encode()) < 1024 * 1024 // 2  # AWS: a definition has 1 MB at most


@pytest.mark.parametrize("seconds", [1, 60, 900, 14_400, 86_400])
def test_the_history_of_an_inline_execution_has_room(seconds):
    """AWS ends an execution whose history has 25,000 events."""
    place = S3Location("in-bucket", "in")
    flow = Flow("a", place, S3Location("out-bucket"), validation=Validation(expect_within_seconds=seconds))
    cases = [case for case in cases_of(flow, canary=False) if case.kind == "transfer"] * history.MOST_INLINE
    number = len(cases)
    while not history.fits_inline(cases[:number], 0):
        number -= 1
    assert number == history.MOST_INLINE or history.events(cases[: number + 1]) > history.ROOM
    assert history.events(cases[:number]) < history.MOST_EVENTS
    assert history.looks(cases[0]) <= 60 + seconds / 300


def test_the_package_has_a_module_for_each_function():
    folder = Path(state.__file__).parent
    shared = {"__init__", "state", "life", "host", "logs", "executions", "listing", "history", "settling", "waiting"}
    assert {path.stem for path in folder.glob("*.py")} == {*STEPS, *shared}
