"""What deployed functions and state machines cost in the sandbox.

    python benchmarks/deployed.py [PACKAGE]

Prints how long a sandbox takes to start, how long a function's first invocation and later ones take, and how long a Map
over 200 cases, 40 at a time, of which each goes through eleven functions that write an object. PACKAGE is a zip whose
libraries the functions have and load (``python deploy/package.py`` makes one, for the Python that runs this).
"""

import io
import json
import statistics
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

from pytest_fileflow.sandbox import Sandbox

STARTS, FUNCTIONS, CASES, AT_A_TIME, WARM = 7, 11, 200, 40, 100
CODE = """
import boto3
{more}
S3 = boto3.client("s3")

def handler(event, context):
    S3.put_object(Bucket="written", Key=f"{{context.function_name}}/{{event['case']}}", Body=b"x")
    return event
"""
ROLE = "arn:aws:iam::123456789012:role/all"
TRUST = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}


def main() -> None:
    content = package(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    print(f"zip: {len(content) / 1e6:.1f} MB")
    print(f"a sandbox starts in {statistics.median(starts()):.2f} s (median of {STARTS})")
    with Sandbox.start() as sandbox:
        variables = sandbox.environment()
        session = boto3.Session(
            variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1"
        )
        clients = {
            name: session.client(name, endpoint_url=sandbox.endpoint_url) for name in ("lambda", "stepfunctions")
        }
        session.client("s3", endpoint_url=sandbox.endpoint_url).create_bucket(Bucket="written")
        policy = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
        iam = session.client("iam", endpoint_url=sandbox.endpoint_url)
        iam.create_role(RoleName="all", AssumeRolePolicyDocument=policy)
        with timed(f"{FUNCTIONS} functions are created"):
            for number in range(FUNCTIONS):
                clients["lambda"].create_function(
                    FunctionName=f"step-{number}",
                    Role=ROLE,
                    Runtime="python3.12",
                    Handler="measured.handler",
                    Timeout=60,
                    Code={"ZipFile": content},
                )
        with timed("the first invocation of all"):
            invoke(clients["lambda"], 0)
        with timed("the first invocation of another"):
            invoke(clients["lambda"], 1)
        with timed(f"{WARM} further ones, one after the other"):
            for _ in range(WARM):
                invoke(clients["lambda"], 1)
        with timed(f"{CASES} cases, {AT_A_TIME} at a time, through {FUNCTIONS} functions"):
            execute(clients["stepfunctions"])
        expected = 2 + WARM + CASES * FUNCTIONS
        assert len(sandbox.recorded_calls()) == expected


def package(given: Path | None) -> bytes:
    """Return the functions' zip."""
    packed = io.BytesIO(given.read_bytes() if given is not None else b"")
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("measured.py", CODE.format(more="import paramiko, pytest_fileflow.aws" if given else ""))
    return packed.getvalue()


def starts() -> Iterator[float]:
    for _ in range(STARTS):
        began = time.perf_counter()
        sandbox = Sandbox.start()
        yield time.perf_counter() - began
        sandbox.stop()


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - began:.2f} s")


def invoke(client, number: int) -> None:
    answer = client.invoke(FunctionName=f"step-{number}", Payload=json.dumps({"case": "alone"}))
    assert "FunctionError" not in answer, answer["Payload"].read()


def execute(client) -> None:
    """Run a state machine over all cases, to its end."""
    names = [f"step-{number}" for number in range(FUNCTIONS)]
    states = {
        name: {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": name, "Payload.$": "$"},
            "OutputPath": "$.Payload",
            **({"Next": following} if following else {"End": True}),
        }
        for name, following in zip(names, [*names[1:], None], strict=True)
    }
    processor = {"StartAt": names[0], "States": states}
    each = {"Type": "Map", "MaxConcurrency": AT_A_TIME, "ItemProcessor": processor, "ResultPath": None, "End": True}
    definition = json.dumps({"StartAt": "Each", "States": {"Each": each}})
    machine = client.create_state_machine(name="measured", roleArn=ROLE, definition=definition)["stateMachineArn"]
    cases = json.dumps([{"case": number} for number in range(CASES)])
    execution = client.start_execution(stateMachineArn=machine, input=cases)["executionArn"]
    while (told := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
        time.sleep(0.1)
    assert told["status"] == "SUCCEEDED", told


if __name__ == "__main__":
    main()
