"""The whole deployment: the module applied to the sandbox, its machine run, its permissions held against its calls."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pytest_fileflow.sandbox import Sandbox
from tests.support.account import ARCHITECTURE, OLDEST, RUNTIME, Account, build_package
from tests.support.flows import provision
from tests.support.machine import definition
from tests.support.permissions import Need, actions, allows, needs
from tests.terraform import MODULE, Terraform

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.version_info < OLDEST, reason="functions run on Python 3.12 and later")

ARN = "arn:aws:{}:us-east-1:123456789012:{}"
MOVER, SECRET = ARN.format("lambda", "function:mover"), ARN.format("secretsmanager", "secret:partner")
OWNERS = ARN.format("sns", "owners")
SFTP = {"type": "SFTP", "host": "sftp.partner.example", "username": "acme", "secret_arn": SECRET}


def s3(bucket: str, prefix: str) -> dict[str, Any]:
    return {"type": "S3", "bucket": bucket, "prefix": prefix}


def flow(flow_id: str, source: dict[str, Any], target: dict[str, Any], **more: Any) -> dict[str, Any]:
    told = {"flow_id": flow_id, "source": source, "target": target, "testdata": {"size_bytes": 50_000}}
    return {**told, "validation": {"expect_within_seconds": 8, "grace_seconds": 2}, **more}


INVOKE = {"lambda_arn": MOVER}
FLOWS = [
    flow("to_s3", s3("acme-source", "a"), s3("acme-target", "a")),
    flow("to_sftp", s3("acme-source", "b"), {**SFTP, "dir": "/b"}, transfer={**INVOKE, "payload": {"flow": "b"}}),
    flow(
        "from_sftp",
        {**SFTP, "dir": "/c"},
        s3("acme-target", "c"),
        transfer={**INVOKE, "payload": {"flow": "c"}, "invocation": "RequestResponse"},
    ),
    flow("triggered", s3("acme-source", "d"), s3("acme-target", "d"), transfer={"mode": "trigger_file"}),
    flow(
        "lost",
        s3("acme-source", "e"),
        s3("acme-target", "e"),
        transfer={**INVOKE, "payload": {"flow": "e"}},
        alerts={"sns_topic_arn": OWNERS},
        sandbox={"faults": ["lose"]},
    ),
    flow("bent", s3("acme-source", "f"), s3("acme-target", "f"), sandbox={"faults": ["bit_flip"]}),
    flow("lost_on_the_way", s3("acme-source", "h"), {**SFTP, "dir": "/h"}, sandbox={"faults": ["drop"]}),
    flow("twice", s3("acme-source", "i"), s3("acme-target", "i"), sandbox={"faults": ["duplicate"]}),
    flow(
        "late",
        s3("acme-source", "j"),
        s3("acme-target", "j"),
        transfer={**INVOKE, "payload": {"flow": "j"}},
        validation={"expect_within_seconds": 8, "grace_seconds": 30},
        sandbox={"faults": ["delay:14"]},
    ),
    flow(
        "tagged",
        s3("acme-source", "k"),
        s3("acme-target", "k"),
        transfer={**INVOKE, "payload": {"file": "${file.name}"}},
        negative=["missing_source"],
        validation={"expect_within_seconds": 20, "checks": [{"name": "tags", "equals": {"synthetic": "true"}}]},
    ),
    flow(
        "refused",
        s3("acme-source", "g"),
        {**SFTP, "dir": "/g"},
        negative=["wrong_key", "forbidden_write"],
        validation={"expect_within_seconds": 20, "checks": ["sidecars"]},
    ),
]
CAUSES = {
    "lost": "missing.lost",
    "bent": "content.corrupt",
    "lost_on_the_way": "missing.not_picked_up",
    "twice": "duplicate",
    "late": "late",
}

# What is allowed and not called here, each with why it must be.
OF_AWS = {
    "kms:": "S3, Secrets Manager and SNS use keys for the caller, who makes no call to KMS",
    "logs:CreateLogStream": "Lambda writes a function's log with the function's role",
    "logs:PutLogEvents": "Lambda writes a function's log with the function's role",
    "s3:ListBucket": "S3 says 404, and not 403, of an object that is not there, only to who may list",
}
IN_TROUBLE = {
    ("seed", "s3:AbortMultipartUpload"): "an upload of a large file that breaks is aborted",
    ("seed", "s3:GetObject"): "a try that follows another looks whether the file is there",
    ("record", "s3:GetObject"): "a record that is there already is compared",
    ("diagnose", "s3:ListMultipartUploadParts"): "uploads that somebody has begun and not completed are measured",
    ("verify", "s3:ListMultipartUploadParts"): "a file that changed until its time was over is judged by verify",
    ("list_flows", "states:DescribeExecution"): "executions that were stopped are looked for",
}


@dataclass
class Deployed:
    """The deployment with what its executions came to."""

    account: Account
    terraform: Terraform
    outputs: dict[str, Any]
    execution: Any

    def policy(self, step: str) -> dict[str, Any]:
        """Return what the role of a step's function may do."""
        role = self.outputs["function_role_arns"][step].rpartition("/")[2]
        found = self.account.client("iam")
        (name,) = found.list_role_policies(RoleName=role)["PolicyNames"]
        told: dict[str, Any] = found.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        return told

    def calls(self) -> dict[str, list[Any]]:
        """Return the calls of each step's function."""
        steps = {name: step for step, name in self.outputs["function_names"].items()}
        made: dict[str, list[Any]] = {step: [] for step in steps.values()}
        for call in self.account.sandbox.recorded_calls():
            if call.function in steps:
                made[steps[call.function]].append(call)
        return made


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("deployment")
    package = build_package(folder)
    with Sandbox.start() as sandbox, pytest.MonkeyPatch.context() as patch:
        variables = sandbox.environment()
        for name, value in variables.items():
            patch.setenv(name, value)
        account = Account(sandbox, boto3.Session(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]))
        provision(sandbox, FLOWS, folder)
        account.client("s3").put_bucket_versioning(Bucket="acme-target", VersioningConfiguration={"Status": "Enabled"})
        terraform = Terraform(_root(folder / "root", sandbox, package), variables)
        terraform.apply({})
        outputs = terraform.outputs()
        bucket, _, prefix = outputs["config"].removeprefix("s3://").partition("/")
        text = json.dumps({"flows": FLOWS})
        account.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/flows/all.json", Body=text)
        account.machine = outputs["state_machine_arn"]
        yield Deployed(account, terraform, outputs, account.execute())
        terraform.destroy()
        assert terraform.resources() == {}


def _root(folder: Path, sandbox: Sandbox, package: Path) -> Path:
    """Return a root module that has the module deploy for the flows above."""
    folder.mkdir()
    shutil.copytree(MODULE, folder / "module", ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "examples"))
    module = {
        "source": "./module",
        "name": "fileflow-e2e",
        "package": str(package),
        "architecture": ARCHITECTURE,
        "runtime": f"python{RUNTIME}",
        "force_destroy": True,
        "source_prefixes": [f"s3://acme-source/{prefix}" for prefix in "abdefghijk"],
        "target_prefixes": [f"s3://acme-target/{prefix}" for prefix in "acdefijk"],
        "secret_arns": [SECRET],
        "transfer_function_arns": [MOVER],
        "search_prefixes": ["s3://acme-source/", "s3://acme-target/"],
        "topic_arns": [OWNERS],
        "max_concurrency": 20,
        "environment_variables": {"FILEFLOW_SANDBOX": sandbox.address},
    }
    names = ("function_role_arns", "function_names", "config", "results", "state_machine_arn", "bucket")
    root = {
        "provider": {"aws": {"region": "us-east-1"}},
        "module": {"fileflow": module},
        "output": {name: {"value": f"${{module.fileflow.{name}}}"} for name in names},
    }
    (folder / "main.tf.json").write_text(json.dumps(root))
    return folder


def records(deployed: Deployed) -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for key in deployed.account.keys(deployed.outputs["bucket"]):
        if key.endswith("/run.json"):
            answer = deployed.account.client("s3").get_object(Bucket=deployed.outputs["bucket"], Key=key)
            record = json.loads(answer["Body"].read())
            found[record["flow_id"], record["case"]] = record
    return found


def test_the_machine_is_the_one_of_its_parts(deployed):
    told = deployed.account.client("stepfunctions").describe_state_machine(
        stateMachineArn=deployed.outputs["state_machine_arn"]
    )
    names = deployed.outputs["function_names"]
    arns = {step: ARN.format("lambda", f"function:{name}") for step, name in names.items()}
    assert json.loads(told["definition"]) == definition(arns, 20)


def test_every_case_has_a_record_and_its_cause(deployed):
    assert deployed.execution.status == "SUCCEEDED", deployed.execution
    found = records(deployed)
    assert {flow_id for flow_id, _ in found} == {told["flow_id"] for told in FLOWS}
    assert len(found) == 2 * len(FLOWS) + 3  # a contract and a transfer each, and what must be refused
    causes = {flow_id: record["cause"] for (flow_id, _), record in found.items() if record["cause"]}
    assert causes == CAUSES
    assert deployed.account.keys("acme-source") == []


def test_those_who_want_to_hear_are_told(deployed):
    assert [call.resources["TopicArn"] for call in deployed.calls()["notify"] if call.service == "sns"] == [OWNERS]


def test_each_function_makes_no_call_that_its_role_does_not_allow(deployed):
    for step, calls in deployed.calls().items():
        policy = deployed.policy(step)
        missing = {str(need) for call in calls for need in needs(call) if not allows(policy, need)}
        assert missing == set(), step
        assert calls, step


def test_no_role_allows_what_its_function_never_does(deployed):
    idle = set()
    for step, calls in deployed.calls().items():
        used = {need.action for call in calls for need in needs(call)}
        idle |= {(step, action) for action in actions(deployed.policy(step)) - used}
    idle = {(step, action) for step, action in idle if not action.startswith(tuple(OF_AWS))}
    assert idle == set(IN_TROUBLE)


def test_a_role_is_for_its_own_places_alone(deployed):
    for step in deployed.outputs["function_names"]:
        policy = deployed.policy(step)
        for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
            assert not allows(policy, Need(action, "arn:aws:s3:::somebody-elses/a/file"))
        for action in ("s3:PutObject", "s3:DeleteObject"):
            assert not allows(policy, Need(action, "arn:aws:s3:::acme-source/another/file"))
        assert not allows(policy, Need("secretsmanager:GetSecretValue", f"{SECRET}-of-another"))
        assert not allows(policy, Need("lambda:InvokeFunction", ARN.format("lambda", "function:another")))


def test_a_second_plan_is_empty(deployed):
    assert deployed.terraform.changes() == ""
