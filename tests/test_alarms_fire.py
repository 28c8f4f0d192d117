"""Alarms and schedules as they are deployed, on an emulator that acts upon them.

What that emulator (ministack 1.5.33) does not do, and what is therefore not shown here: it evaluates an alarm when data
come in and never for want of them, so nothing shows that a missing suite is missed, only that a suite without runs is;
it evaluates no query (fileflow-flow-failed), and has no metrics of Step Functions' own; it takes the data of all
dimensions together, so nothing shows that another flow's failure leaves an alarm alone; a window counts as one period;
and it takes every schedule for UTC.
"""

from __future__ import annotations

import json
import time
import urllib.request
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pytest_fileflow.clients import AwsClients
from pytest_fileflow.results.cloudwatch.alarms import alarms
from pytest_fileflow.results.cloudwatch.data import metric_data
from pytest_fileflow.results.cloudwatch.publishing import publish
from tests.support.ministack import ministack
from tests.support.records import record
from tests.terraform import Terraform, copied, resources, tiny_package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ministack(tmp_path_factory.mktemp("cloud")) as url:
        yield url


@pytest.fixture
def cloud(address: str, monkeypatch: pytest.MonkeyPatch) -> boto3.Session:
    """Return a session of an account in which nothing is."""
    urllib.request.urlopen(urllib.request.Request(f"{address}/_ministack/reset", method="POST"), timeout=60).close()
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": address}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return boto3.Session(region_name=CREDENTIALS["AWS_REGION"])


@pytest.fixture
def told(cloud: boto3.Session) -> Told:
    return Told(cloud)


@pytest.fixture(scope="module")
def planned(address: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return what the Terraform module would make, by address."""
    folder = tmp_path_factory.mktemp("terraform")
    root = Terraform(copied(folder), {**CREDENTIALS, "AWS_ENDPOINT_URL": address})
    plan = root.plan({"package": str(tiny_package(folder)), "flow_ids": ["acme"]})
    return resources(plan["planned_values"])


class Told:
    """A topic with a queue behind it: what somebody who subscribed is told."""

    def __init__(self, cloud: boto3.Session):
        self._sqs = cloud.client("sqs")
        self.cloudwatch = cloud.client("cloudwatch")
        sns = cloud.client("sns")
        self.topic: str = sns.create_topic(Name="alarms")["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName="alarms")["QueueUrl"]
        asked = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=asked["Attributes"]["QueueArn"])

    def set(self, alarm: dict[str, Any]) -> None:
        self.cloudwatch.put_metric_alarm(**{**alarm, "AlarmActions": [self.topic], "OKActions": [self.topic]})

    def state(self, name: str) -> str:
        (found,) = self.cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        state: str = found["StateValue"]
        return state

    def messages(self, state: str) -> list[str]:
        """Return the alarms of which a new state has come in, and forget all that has."""
        found = []
        while received := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", []):
            for message in received:
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
                content = json.loads(json.loads(message["Body"])["Message"])
                found += [content["AlarmName"]] if content["NewStateValue"] == state else []
        return found


def until(answer: Callable[[], Any]) -> Any:
    """Return the first answer that is something."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        found = answer()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError("nothing came in time")


def session(cloud: boto3.Session, *outcomes: tuple[str, str], broken: int = 0) -> None:
    """Publish a session as the product does: of flows and how they ended, and how many configs are wrong."""
    now = datetime.now(timezone.utc)
    records = [record(flow, now - timedelta(minutes=5), outcome) for flow, outcome in outcomes]
    data = metric_data(records, now, broken)
    assert data
    published = publish(data, AwsClients(cloud), now)
    assert (published.sent, published.problem) == (len(data), "")


def named(name: str) -> dict[str, Any]:
    """Return an alarm of those that the command makes."""
    (alarm,) = (alarm for alarm in alarms() if alarm["AlarmName"] == name)
    return alarm


# Terraform's names of what an alarm has, by CloudWatch's.
FIELDS = {
    "AlarmName": "alarm_name",
    "AlarmDescription": "alarm_description",
    "Namespace": "namespace",
    "MetricName": "metric_name",
    "Statistic": "statistic",
    "Period": "period",
    "EvaluationPeriods": "evaluation_periods",
    "DatapointsToAlarm": "datapoints_to_alarm",
    "Threshold": "threshold",
    "ComparisonOperator": "comparison_operator",
    "TreatMissingData": "treat_missing_data",
}


def alarm_of(planned: dict[str, dict[str, Any]], address: str) -> dict[str, Any]:
    values = planned[f"aws_cloudwatch_metric_alarm.{address}"]
    dimensions = [{"Name": name, "Value": value} for name, value in (values["dimensions"] or {}).items()]
    return {name: values[field] for name, field in FIELDS.items()} | {"Dimensions": dimensions}


def test_an_alarm_is_told_once_when_a_flow_fails_and_not_before(cloud, told, planned):
    alarm = alarm_of(planned, 'flow["acme"]')
    assert alarm["Dimensions"] == [{"Name": "FlowId", "Value": "acme"}]
    told.set(alarm)
    session(cloud, ("acme", "passed"))
    assert told.state(alarm["AlarmName"]) == "OK"
    session(cloud, ("acme", "failed"))
    assert told.state(alarm["AlarmName"]) == "ALARM"
    session(cloud, ("acme", "failed"))
    assert until(lambda: told.messages("ALARM")) == [alarm["AlarmName"]]


def test_a_failed_flow_is_told_and_one_that_passes_is_not(cloud, told):
    failed, unjudged = named("fileflow-failed"), named("fileflow-not-judged")
    told.set(failed)
    told.set(unjudged)
    session(cloud, ("acme", "passed"), ("globex", "passed"))
    assert (told.state("fileflow-failed"), told.state("fileflow-not-judged")) == ("OK", "OK")
    session(cloud, ("acme", "passed"), ("globex", "failed"))
    assert (told.state("fileflow-failed"), told.state("fileflow-not-judged")) == ("ALARM", "OK")
    assert until(lambda: told.messages("ALARM")) == ["fileflow-failed"]


def test_a_run_that_could_not_be_judged_is_no_failed_flow_but_is_told(cloud, told):
    told.set(named("fileflow-failed"))
    told.set(named("fileflow-not-judged"))
    session(cloud, ("acme", "passed"), ("globex", "error"))
    assert (told.state("fileflow-failed"), told.state("fileflow-not-judged")) == ("OK", "ALARM")
    assert until(lambda: told.messages("ALARM")) == ["fileflow-not-judged"]


def test_a_suite_that_ran_nothing_is_missed_and_one_that_runs_again_is_well(cloud, told):
    alarm = named("fileflow-missing")
    assert alarm["TreatMissingData"] == "breaching"
    assert alarm["DatapointsToAlarm"] == alarm["EvaluationPeriods"]
    told.set(alarm)
    session(cloud, broken=1)
    assert told.state("fileflow-missing") == "ALARM"
    assert until(lambda: told.messages("ALARM")) == ["fileflow-missing"]
    session(cloud, ("acme", "passed"))
    assert told.state("fileflow-missing") == "OK"
    assert until(lambda: told.messages("OK")) == ["fileflow-missing"]


def test_a_schedule_starts_the_machine_with_its_input(cloud, planned):
    schedule = planned['aws_scheduler_schedule.suite["canary"]']
    (target,) = schedule["target"]
    machines = cloud.client("stepfunctions")
    role = "arn:aws:iam::123456789012:role/scheduler"
    definition = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
    machine = machines.create_state_machine(name="suite", definition=definition, roleArn=role)["stateMachineArn"]
    (window,) = schedule["flexible_time_window"]
    due = datetime.now(timezone.utc) + timedelta(seconds=2)
    cloud.client("scheduler").create_schedule(
        Name=schedule["name"],
        ScheduleExpression=f"at({due:%Y-%m-%dT%H:%M:%S})",
        ScheduleExpressionTimezone=schedule["schedule_expression_timezone"],
        State=schedule["state"],
        FlexibleTimeWindow={"Mode": window["mode"]},
        Target={"Arn": machine, "RoleArn": role, "Input": target["input"]},
    )
    (execution,) = until(lambda: machines.list_executions(stateMachineArn=machine)["executions"])
    told = machines.describe_execution(executionArn=execution["executionArn"])
    assert json.loads(told["input"]) == json.loads(target["input"]) == {"cases": ["canary"]}
    assert told["startDate"] >= due.replace(microsecond=0)
