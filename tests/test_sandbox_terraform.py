"""Terraform against the sandbox: everything is made, nothing is left to change, what was made runs, everything goes."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from pytest_fileflow.sandbox import Sandbox
from tests.support.sandbox_tools import client, eventually
from tests.terraform import Terraform, TerraformFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent / "data" / "terraform"
CODE = """
import json, os
import boto3

def handler(event, context):
    secret = boto3.client("secretsmanager").get_secret_value(SecretId=os.environ["SECRET"])
    told = {**event, "level": os.environ["LEVEL"], "password": json.loads(secret["SecretString"])["password"]}
    place = {"Bucket": os.environ["BUCKET"], "Key": f"results/{event['name']}.json"}
    boto3.client("s3").put_object(**place, Body=json.dumps(told))
    return told
"""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start() as running:
        yield running


def package(folder: Path, code: str) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("app.py"), code)
    path = folder / "package.zip"
    path.write_bytes(packed.getvalue())
    return str(path)


def execute(sandbox: Sandbox, machine: str, cases: list[dict[str, str]]) -> Any:
    steps = client(sandbox, "stepfunctions")
    arn = steps.start_execution(stateMachineArn=machine, input=json.dumps({"cases": cases}))["executionArn"]

    def ended() -> Any:
        told = steps.describe_execution(executionArn=arn)
        return told if told["status"] != "RUNNING" else None

    told = eventually(ended, 60)
    assert told["status"] == "SUCCEEDED", told
    return json.loads(told["output"])


def left(root: Terraform) -> str:
    """Return what of a further plan says what it would change."""
    return root.changes().partition("will perform the following actions:")[2]


def test_a_deployment_is_made_run_changed_and_removed(sandbox, tmp_path):
    shutil.copytree(ROOT, tmp_path / "root")
    root, code = Terraform(tmp_path / "root", sandbox.environment()), package(tmp_path, CODE)
    root.apply({"package": code, "level": "low"})
    assert not left(root)
    made = root.outputs()
    cases = [{"name": name} for name in ("a", "b", "c")]
    told = [{**case, "level": "low", "password": "p"} for case in cases]
    assert execute(sandbox, made["machine"], cases) == told
    assert not left(root), "running it leaves no trace in what Terraform looks after"

    s3 = client(sandbox, "s3")
    listed = s3.list_objects_v2(Bucket=made["bucket"], Prefix="results/")["Contents"]
    assert [item["Key"] for item in listed] == ["results/a.json", "results/b.json", "results/c.json"]
    groups = client(sandbox, "logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/mover")["logGroups"]
    assert [group["retentionInDays"] for group in groups] == [14]

    package(tmp_path, CODE.replace("**event", "**event, 'revision': 2"))
    root.apply({"package": code, "level": "high"})
    assert execute(sandbox, made["machine"], cases[:1]) == [{**told[0], "level": "high", "revision": 2}]

    root.destroy()
    assert s3.list_buckets()["Buckets"] == []
    assert client(sandbox, "lambda").list_functions()["Functions"] == []
    assert client(sandbox, "stepfunctions").list_state_machines()["stateMachines"] == []
    assert client(sandbox, "logs").describe_query_definitions()["queryDefinitions"] == []
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client(sandbox, "secretsmanager").get_secret_value(SecretId="partner/acme")


MISTAKEN = """
provider "aws" {
  region = "us-west-2"
}

resource "aws_sfn_state_machine" "suite" {
  name       = "mover"
  role_arn   = "arn:aws:iam::123456789012:role/states"
  definition = jsonencode({ StartAt = "A", States = { A = { Typo = "Pass", End = true } } })
}
"""


def test_a_definition_with_a_mistake_fails_before_anything_is_made(sandbox, tmp_path):
    (tmp_path / "main.tf").write_text(MISTAKEN)
    with pytest.raises(TerraformFailed, match=r'at "Typo", mismatched input'):
        Terraform(tmp_path, sandbox.environment()).plan({})
