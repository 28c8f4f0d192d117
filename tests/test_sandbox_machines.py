"""State machines that are executed in the sandbox, with deployed functions as their tasks."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from pytest_fileflow.sandbox import Sandbox
from tests.support.sandbox_tools import client, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLE = "arn:aws:iam::123456789012:role/everything"
CODE = """
import time

TRIES = {}

class Throttled(Exception):
    pass

def handler(event, context):
    name = str(event.get("name"))
    TRIES[name] = TRIES.get(name, 0) + 1
    if event.get("fail"):
        raise LookupError(event["fail"])
    if event.get("busy", 0) >= TRIES[name]:
        raise Throttled("later")
    return {**event, "looks": event.get("looks", 0) + 1, "function": context.function_name}
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start() as running:
        services = ["lambda.amazonaws.com", "states.amazonaws.com"]
        trusted = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
        client(running, "iam").create_role(RoleName="everything", AssumeRolePolicyDocument=policy)
        client(running, "s3", "us-east-1").create_bucket(Bucket="items")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("app.py", CODE)
        client(running, "lambda").create_function(
            FunctionName="step",
            Role=ROLE,
            Runtime="python3.12",
            Handler="app.handler",
            Code={"ZipFile": packed.getvalue()},
        )
        yield running


def create(sandbox: Sandbox, name: str, states: dict[str, Any]) -> str:
    definition = json.dumps({"StartAt": next(iter(states)), "States": states})
    return client(sandbox, "stepfunctions").create_state_machine(name=name, roleArn=ROLE, definition=definition)[
        "stateMachineArn"
    ]


def execute(sandbox: Sandbox, name: str, states: dict[str, Any], given: object, seconds: float = 60) -> tuple[str, Any]:
    """Return the status of an execution, and its output or its error and cause."""
    steps, machine = client(sandbox, "stepfunctions"), create(sandbox, name, states)
    arn = steps.start_execution(stateMachineArn=machine, name=f"{name}-run", input=json.dumps(given))["executionArn"]

    def ended() -> dict[str, Any] | None:
        told = steps.describe_execution(executionArn=arn)
        return told if told["status"] != "RUNNING" else None

    told = eventually(ended, seconds)
    if told["status"] == "SUCCEEDED":
        return "SUCCEEDED", json.loads(told["output"])
    return told["status"], (told.get("error"), told.get("cause"))


def task(payload: object = None, **more: Any) -> dict[str, Any]:
    given = {"Payload.$": "$"} if payload is None else {"Payload": payload}
    arn = "arn:aws:lambda:us-west-2:123456789012:function:step"
    told = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "OutputPath": "$.Payload"}
    return {**told, "Parameters": {"FunctionName": arn, **given}, **({} if "Next" in more else {"End": True}), **more}


def each(states: dict[str, Any], mode: str = "INLINE", **more: Any) -> dict[str, Any]:
    config = {"Mode": mode, **({"ExecutionType": "STANDARD"} if mode == "DISTRIBUTED" else {})}
    processor = {"ProcessorConfig": config, "StartAt": next(iter(states)), "States": states}
    return {"Type": "Map", "ItemProcessor": processor, "End": True, **more}


READER = {
    "Resource": "arn:aws:states:::s3:getObject",
    "ReaderConfig": {"InputType": "JSON"},
    "Parameters": {"Bucket.$": "$.bucket", "Key.$": "$.key"},
}
CATCH = {
    "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Caught"}],
}
CAUGHT = {"Type": "Pass", "Result": "diagnose", "ResultPath": "$.next", "End": True}


def test_a_task_is_given_the_execution_and_hands_on_what_it_is_told_to(sandbox):
    payload = {"name.$": "$.name", "execution.$": "$$.Execution.Name"}
    selected = {"ResultSelector": {"who.$": "States.Format('{}/{}', $.Payload.function, $.Payload.execution)"}}
    states = {"Step": task(payload, **selected, ResultPath="$.told", OutputPath="$")}
    status, output = execute(sandbox, "hands-on", states, {"name": "a"})
    assert (status, output) == ("SUCCEEDED", {"name": "a", "told": {"who": "step/hands-on-run"}})


def test_a_busy_function_is_asked_again_and_an_error_is_caught(sandbox):
    again = {"ErrorEquals": ["Throttled"], "IntervalSeconds": 1, "MaxAttempts": 2, "BackoffRate": 1}
    states = {"Step": task(Retry=[again], **CATCH), "Caught": CAUGHT}
    assert execute(sandbox, "again", states, {"name": "again", "busy": 2})[1]["looks"] == 1
    status, output = execute(sandbox, "caught", states, {"name": "caught", "fail": "no such file"})
    assert (status, output["next"], output["error"]["Error"]) == ("SUCCEEDED", "diagnose", "LookupError")
    assert json.loads(output["error"]["Cause"])["errorMessage"] == "no such file"
    status, (error, _) = execute(sandbox, "uncaught", {"Step": task()}, {"fail": "x"})
    assert (status, error) == ("FAILED", "LookupError")


def test_a_function_that_does_not_exist_is_an_error_with_aws_s_name(sandbox):
    step = task()
    step["Parameters"]["FunctionName"] = "nobody"
    status, (error, cause) = execute(sandbox, "nobody", {"Step": step}, {})
    assert (status, error) == ("FAILED", "Lambda.ResourceNotFoundException")
    assert "Function not found: arn:aws:lambda:us-west-2:123456789012:function:nobody" in cause


def test_a_case_waits_and_looks_until_it_has_arrived(sandbox):
    states = {
        "Look": task(Next="There?"),
        "There?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.looks", "NumericGreaterThanEquals": 3, "Next": "Arrived"}],
            "Default": "Wait",
        },
        "Wait": {"Type": "Wait", "SecondsPath": "$.wait_seconds", "Next": "Look"},
        "Arrived": {"Type": "Succeed"},
    }
    status, output = execute(sandbox, "waits", states, {"name": "waits", "wait_seconds": 0})
    assert (status, output["looks"]) == ("SUCCEEDED", 3)


def test_an_inline_map_goes_on_where_one_case_fails(sandbox):
    cases = [{"name": "a"}, {"name": "b", "fail": "x"}, {"name": "c"}]
    states = {"Each": each({"Step": task(**CATCH), "Caught": CAUGHT}, ItemsPath="$.cases", MaxConcurrency=2)}
    status, output = execute(sandbox, "inline", states, {"cases": cases})
    assert status == "SUCCEEDED"
    assert [(case["name"], case.get("next")) for case in output] == [("a", None), ("b", "diagnose"), ("c", None)]


def test_a_distributed_map_reads_two_hundred_cases_from_a_bucket(sandbox):
    cases = [{"name": f"case-{number}", **({"fail": "x"} if number == 7 else {})} for number in range(200)]
    client(sandbox, "s3", "us-east-1").put_object(Bucket="items", Key="in/cases.json", Body=json.dumps(cases).encode())
    mapped = each(
        {"Step": task(**CATCH), "Caught": CAUGHT},
        "DISTRIBUTED",
        ItemReader=READER,
        ItemSelector={"name.$": "$$.Map.Item.Value.name", "case.$": "$$.Map.Item.Value", "run.$": "$$.Execution.Name"},
        MaxConcurrency=40,
        ToleratedFailurePercentage=100,
        Label="Cases",
        ResultPath="$.done",
    )
    place = {"bucket": "items", "key": "in/cases.json"}
    status, output = execute(sandbox, "many", {"Each": mapped}, place)
    assert status == "SUCCEEDED"
    assert [case["name"] for case in output["done"]] == [case["name"] for case in cases]
    assert {case["run"] for case in output["done"]} == {"many-run"}


def test_an_event_starts_what_a_rule_names(sandbox):
    events, steps = client(sandbox, "events"), client(sandbox, "stepfunctions")

    def runs() -> int:
        logged = client(sandbox, "logs").filter_log_events(logGroupName="/aws/lambda/step", filterPattern="START")
        return sum(event["message"].startswith("START") for event in logged["events"])

    client(sandbox, "lambda").invoke(FunctionName="step", Payload=b"{}")
    before = runs()
    machine = create(sandbox, "by-event", {"Done": {"Type": "Succeed"}})
    events.put_rule(Name="arrivals", EventPattern=json.dumps({"source": ["partner"]}))
    transformed = {"InputPathsMap": {"file": "$.detail.file"}, "InputTemplate": '{"name": "<file>"}'}
    targets = [
        {"Id": "whole", "Arn": machine},
        {"Id": "part", "Arn": machine, "InputPath": "$.detail"},
        {"Id": "own", "Arn": machine, "Input": '{"own": true}'},
        {"Id": "transformed", "Arn": machine, "InputTransformer": transformed},
        {"Id": "gone", "Arn": f"{machine}-gone"},
        {"Id": "function", "Arn": "arn:aws:lambda:us-west-2:123456789012:function:step", "InputPath": "$.detail"},
    ]
    events.put_targets(Rule="arrivals", Targets=targets)
    detail = json.dumps({"file": "a.csv", "name": "by-event"})
    for source in ("somebody", "partner"):
        entry = {"Source": source, "DetailType": "Arrival", "Detail": detail}
        assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0
    listed = steps.list_executions(stateMachineArn=machine)["executions"]
    given = [json.loads(steps.describe_execution(executionArn=one["executionArn"])["input"]) for one in listed]
    whole = next(event for event in given if "detail-type" in event)
    assert (whole["source"], whole["detail"]["file"], whole["time"][-1]) == ("partner", "a.csv", "Z")
    assert len(given) == 4
    assert {"own": True} in given
    assert {"name": "a.csv"} in given
    assert json.loads(detail) in given
    eventually(lambda: runs() == before + 1)


def test_executions_that_are_given_no_name_have_one_of_their_own(sandbox):
    steps = client(sandbox, "stepfunctions")
    machine = create(
        sandbox, "unnamed", {"Name": {"Type": "Pass", "Parameters": {"is.$": "$$.Execution.Name"}, "End": True}}
    )
    started = [steps.start_execution(stateMachineArn=machine)["executionArn"] for _ in range(2)]
    outputs = {eventually(lambda arn=arn: steps.describe_execution(executionArn=arn).get("output")) for arn in started}
    assert outputs == {json.dumps({"is": arn.rpartition(":")[2]}) for arn in started}
    assert len(set(started)) == 2


def test_a_mistake_in_a_definition_is_told_with_its_place(sandbox):
    steps = client(sandbox, "stepfunctions")
    good = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})
    assert steps.validate_state_machine_definition(definition=good)["result"] == "OK"
    told = steps.validate_state_machine_definition(definition='{"StartAt": "A", "States": {"A": {"Typo": "Pass"}}}')
    assert told["result"] == "FAIL"
    first = told["diagnostics"][0]
    assert first["severity"] == "ERROR"
    assert first["message"].startswith('line 1:34, at "Typo", mismatched input')
    with pytest.raises(ClientError):
        create(sandbox, "typo", {"A": {"Typo": "Pass"}})


def test_versions_of_a_machine_are_listed_newest_first(sandbox):
    steps = client(sandbox, "stepfunctions")
    machine = create(sandbox, "versioned", {"A": {"Type": "Pass", "End": True}})
    assert steps.list_state_machine_versions(stateMachineArn=machine)["stateMachineVersions"] == []
    changed = json.dumps({"StartAt": "B", "States": {"B": {"Type": "Pass", "End": True}}})
    made = [
        steps.update_state_machine(stateMachineArn=machine, definition=changed, publish=True)["stateMachineVersionArn"]
        for _ in range(2)
    ]
    listed = steps.list_state_machine_versions(stateMachineArn=machine)["stateMachineVersions"]
    assert [version["stateMachineVersionArn"] for version in listed] == made[::-1]
    with pytest.raises(steps.exceptions.ClientError, match="State Machine Does Not Exist"):
        steps.list_state_machine_versions(stateMachineArn=f"{machine}-not")


def test_an_execution_that_is_stopped_within_a_map_is_aborted(sandbox):
    waiting = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 60, "End": True}}}
    states = {
        "Each": {
            "Type": "Map",
            "ItemProcessor": {"ProcessorConfig": {"Mode": "INLINE"}, **waiting},
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Tell"}],
            "Next": "Tell",
        },
        "Tell": {"Type": "Pass", "End": True},
    }
    steps, machine = client(sandbox, "stepfunctions"), create(sandbox, "stopped", states)
    arn = steps.start_execution(stateMachineArn=machine, name="stopped", input="[1, 2]")["executionArn"]

    def events() -> list[str]:
        return [event["type"] for event in steps.get_execution_history(executionArn=arn, maxResults=1000)["events"]]

    eventually(lambda: events().count("WaitStateEntered") == 2)
    steps.stop_execution(executionArn=arn)
    eventually(lambda: steps.describe_execution(executionArn=arn)["status"] == "ABORTED")
    eventually(lambda: "ExecutionAborted" in events())
    assert not {"ExecutionFailed", "PassStateEntered"} & set(events())
