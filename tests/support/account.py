"""An AWS account of its own for a test: the sandbox, with the functions and the state machine deployed to it."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fileflow.aws import STEPS
from tests.support.lambda_package import wheel
from tests.support.machine import definition

if TYPE_CHECKING:
    from collections.abc import Callable

    import boto3

    from pytest_fileflow.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
RUNTIME = f"{sys.version_info.major}.{sys.version_info.minor}"
ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
OLDEST = (3, 12)  # of the runtimes that the functions' package is made for
ROLE = "arn:aws:iam::123456789012:role/fileflow"
RESULTS, CONFIG = "fileflow-results-bucket", "fileflow-config-bucket"
WAIT_SECONDS = 300


def build_package(folder: Path) -> Path:
    """Return the functions' zip for this machine's Python, as a user builds it."""
    output = folder / "functions.zip"
    told = (
        "--arch",
        ARCHITECTURE,
        "--python",
        RUNTIME,
        "--wheel",
        str(wheel(folder)),
        "--compile",
        "--output",
        str(output),
    )
    command = [sys.executable, "deploy/package.py", *told]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return output


@dataclass
class Account:
    """What tests do with it. ``session`` reaches the sandbox alone."""

    sandbox: Sandbox
    session: boto3.Session
    machine: str = ""
    functions: dict[str, str] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        return self.session.client(service, endpoint_url=self.sandbox.endpoint_url)

    def deploy(self, package: Path, *, max_concurrency: int = 4, **variables: str) -> None:
        """Make buckets, functions and state machine; ``variables`` are the functions' own, without ``FILEFLOW_``."""
        for bucket in (RESULTS, CONFIG):
            self.client("s3").create_bucket(Bucket=bucket)
        told = {"RESULTS": f"s3://{RESULTS}/r", "CONFIG": f"s3://{CONFIG}/c", **variables}
        content = package.read_bytes()
        trust = json.dumps({"Version": "2012-10-17", "Statement": []})
        self.client("iam").create_role(RoleName="fileflow", AssumeRolePolicyDocument=trust)
        for step in STEPS:
            made = self.client("lambda").create_function(
                FunctionName=f"fileflow-{step.replace('_', '-')}",
                Role=ROLE,
                Runtime=f"python{RUNTIME}",
                Handler=f"pytest_fileflow.aws.{step}.handler",
                Code={"ZipFile": content},
                Timeout=120,
                MemorySize=1024,
                Environment={"Variables": {f"FILEFLOW_{name}": value for name, value in told.items()}},
            )
            self.functions[step] = made["FunctionArn"]
        text = json.dumps(definition(self.functions, max_concurrency))
        made = self.client("stepfunctions").create_state_machine(name="fileflow", definition=text, roleArn=ROLE)
        self.machine = made["stateMachineArn"]

    def push(self, *flows: dict[str, Any], name: str = "flows/all.json") -> None:
        """Put flows into the config store."""
        self.client("s3").put_object(Bucket=CONFIG, Key=f"c/{name}", Body=json.dumps({"flows": list(flows)}))

    def start(self, told: dict[str, Any] | None = None, name: str | None = None) -> str:
        """Start the state machine; return the execution's ARN."""
        given = {"name": name} if name else {}
        steps = self.client("stepfunctions")
        started = steps.start_execution(stateMachineArn=self.machine, input=json.dumps(told or {}), **given)
        return str(started["executionArn"])

    def execute(self, told: dict[str, Any] | None = None, name: str | None = None) -> Execution:
        """Run the state machine to its end."""
        arn, steps = self.start(told, name), self.client("stepfunctions")
        self.wait_for(lambda: steps.describe_execution(executionArn=arn)["status"] != "RUNNING")
        found = steps.describe_execution(executionArn=arn)
        output = json.loads(found["output"]) if found.get("output") else None
        return Execution(arn, found["status"], output, f"{found.get('error')}: {found.get('cause')}")

    @staticmethod
    def wait_for(is_so: Callable[[], object]) -> None:
        """Look again and again until something is so."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not is_so():
            assert time.monotonic() < deadline, "it does not come to pass"
            time.sleep(0.25)  # between two looks, not instead of one

    def records(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return all run records, by flow id and case."""
        found = {}
        for key in self.keys(RESULTS):
            if key.endswith("/run.json"):
                record = json.loads(self.client("s3").get_object(Bucket=RESULTS, Key=key)["Body"].read())
                found[record["flow_id"], record["case"]] = record
        return found

    def keys(self, bucket: str) -> list[str]:
        """Return the keys of a bucket."""
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def events(self, execution: Execution) -> list[dict[str, Any]]:
        """Return the history of an execution."""
        pages = self.client("stepfunctions").get_paginator("get_execution_history")
        return [event for page in pages.paginate(executionArn=execution.arn) for event in page["events"]]


@dataclass(frozen=True)
class Execution:
    """An execution that has ended."""

    arn: str
    status: str
    output: dict[str, Any] | None
    error: str
