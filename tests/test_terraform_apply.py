"""The Terraform module applied to the sandbox: all is made, nothing is left to change, what was made runs, all goes."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow.aws import STEPS
from pytest_fileflow.results.athena import COLUMNS, TABLE, VIEW
from pytest_fileflow.sandbox import Sandbox
from tests.support.sandbox_tools import client, eventually
from tests.terraform import Terraform, copied

if TYPE_CHECKING:
    from pathlib import Path

REGION = "us-west-2"
# A stand-in of a step: it hands on what it was given, and every case is one that only is recorded.
STEP = """
import json, os

def handler(event, context):
    step = __name__.rpartition(".")[2]
    if step == "list_flows":
        items = [{"flow_id": f"flow-{number}"} for number in range(3)]
        return {"execution": event["execution"], "number": len(items), "is_inline": True, "items": items}
    if step == "notify":
        return {"is_complete": True, "results": os.environ["FILEFLOW_RESULTS"]}
    return {**event, "next": "clean_up", "outcome": "passed"}
"""
VARIABLES: dict[str, object] = {
    "source_prefixes": ["s3://acme-outbound/to"],
    "target_prefixes": ["s3://acme-landing/from"],
    "secret_arns": [f"arn:aws:secretsmanager:{REGION}:123456789012:secret:acme/sftp-a1b2c3"],
    "transfer_function_arns": [f"arn:aws:lambda:{REGION}:123456789012:function:mover"],
    "alarm_emails": ["us@acme.example"],
    "flow_ids": ["acme"],
    "create_kms_key": True,
    "new_vpc": {"zones": [f"{REGION}a"]},
    "sftp_servers": [{"cidr": "198.51.100.10/32"}],
    "force_destroy": True,
}


def package(folder: Path) -> str:
    path = folder / "fileflow.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("pytest_fileflow/__init__.py", "pytest_fileflow/aws/__init__.py"):
            archive.writestr(zipfile.ZipInfo(name), "")
        for step in STEPS:
            archive.writestr(zipfile.ZipInfo(f"pytest_fileflow/aws/{step}.py"), STEP)
    return str(path)


@dataclass
class Deployment:
    """What was applied."""

    sandbox: Sandbox
    terraform: Terraform

    def __post_init__(self) -> None:
        self.outputs = self.terraform.outputs()

    def client(self, service: str) -> Any:
        return client(self.sandbox, service, REGION)


@pytest.mark.timeout(900)
def test_all_is_made_and_runs_and_goes_again(tmp_path: Path) -> None:
    """One test, since workers would each make it all."""
    with Sandbox.start() as sandbox:
        environment = {**sandbox.environment(), "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
        terraform = Terraform(copied(tmp_path), environment)
        terraform.apply({"package": package(tmp_path), **VARIABLES})
        deployment = Deployment(sandbox, terraform)

        assert terraform.changes() == ""
        functions_and_schedules_are_those_of_the_outputs(deployment)
        commands_name_the_machine(deployment)
        what_was_asked_for_is_there(deployment)
        an_execution_runs_every_case(deployment)
        everything_goes(deployment)


def an_execution_runs_every_case(deployment: Deployment) -> None:
    states = deployment.client("stepfunctions")
    started = states.start_execution(stateMachineArn=deployment.outputs["state_machine_arn"], input="{}")
    arn = started["executionArn"]

    ended = eventually(
        lambda: (told := states.describe_execution(executionArn=arn))["status"] != "RUNNING" and told, 60
    )

    assert ended["status"] == "SUCCEEDED", ended
    assert json.loads(ended["output"]) == {
        "is_complete": True,
        "results": deployment.outputs["results"],
    }


def functions_and_schedules_are_those_of_the_outputs(deployment: Deployment) -> None:
    made = {each["FunctionName"] for each in deployment.client("lambda").list_functions(MaxItems=50)["Functions"]}
    assert made == set(deployment.outputs["function_names"].values())
    assert len(made) == len(STEPS)
    scheduler = deployment.client("scheduler")
    for key, zone in (("daily", "America/Los_Angeles"), ("canary", "UTC")):
        told = scheduler.get_schedule(GroupName="fileflow", Name=deployment.outputs["schedule_names"][key])
        assert told["Target"]["Arn"] == deployment.outputs["state_machine_arn"]
        assert (told["ScheduleExpressionTimezone"], told["State"]) == (zone, "ENABLED")


def commands_name_the_machine(deployment: Deployment) -> None:
    commands = deployment.outputs["start_commands"]
    assert set(commands) == {"all", "group", "flow", "canary"}
    for command in commands.values():
        assert f"--state-machine-arn {deployment.outputs['state_machine_arn']} --input '" in command
        json.loads(command.partition("--input '")[2].removesuffix("'"))


def what_was_asked_for_is_there(deployment: Deployment) -> None:
    bucket = deployment.outputs["bucket"]
    s3 = deployment.client("s3")
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == deployment.outputs["kms_key_arn"]
    assert deployment.outputs["nat_ip"]
    names = {each["AlarmName"] for each in deployment.client("cloudwatch").describe_alarms()["MetricAlarms"]}
    assert {
        "fileflow-missing",
        "fileflow-flow-failed",
        "fileflow-flow-failed-acme",
        "fileflow-execution-failed",
    } <= names
    athena = deployment.outputs["athena"]
    tables = deployment.client("glue").get_tables(DatabaseName=athena["database"])["TableList"]
    columns = {table["Name"]: [each["Name"] for each in table["StorageDescriptor"]["Columns"]] for table in tables}
    assert columns == {TABLE: list(COLUMNS), VIEW: [*COLUMNS, "dt"]}


def everything_goes(deployment: Deployment) -> None:
    deployment.client("s3").put_object(Bucket=deployment.outputs["bucket"], Key="results/left.json", Body=b"{}")

    deployment.terraform.destroy()

    assert deployment.terraform.resources() == {}
    assert deployment.client("s3").list_buckets()["Buckets"] == []
    assert deployment.client("lambda").list_functions()["Functions"] == []
    assert deployment.client("stepfunctions").list_state_machines()["stateMachines"] == []
    assert deployment.client("scheduler").list_schedules()["Schedules"] == []
