"""Functions created through the sandbox's Lambda API: run for real, with what AWS gives them and nothing else."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow.model import Transfer
from pytest_fileflow.sandbox import RecordedCall, Sandbox
from tests.support.sandbox_tools import Store, client, eventually, make_flow

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLE = "arn:aws:iam::123456789012:role/functions"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start() as running:
        trusted = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
        client(running, "iam").create_role(RoleName="functions", AssumeRolePolicyDocument=policy)
        yield running


def zipped(files: dict[str, str], modes: dict[str, int] | None = None) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = (modes or {}).get(name, 0o644) << 16
            archive.writestr(member, text)
    return packed.getvalue()


def deploy(sandbox: Sandbox, name: str, code: str, **settings: Any) -> str:
    """Create a function with one module, ``app``, and return its ARN."""
    told = {
        "FunctionName": name,
        "Role": ROLE,
        "Runtime": "python3.12",
        "Handler": "app.handler",
        "Timeout": 30,
        "Code": {"ZipFile": zipped({"app.py": code})},
    }
    return client(sandbox, "lambda").create_function(**{**told, **settings})["FunctionArn"]


def invoke(sandbox: Sandbox, name: str, event: object = None, **more: Any) -> tuple[str | None, Any]:
    """Return the function's error, if any, and what it has answered."""
    answer = client(sandbox, "lambda").invoke(FunctionName=name, Payload=json.dumps(event), **more)
    return answer.get("FunctionError"), json.loads(answer["Payload"].read() or "null")


def log_of(sandbox: Sandbox, group: str) -> list[str]:
    logs = client(sandbox, "logs")
    try:
        return [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []


def starts(sandbox: Sandbox, name: str) -> int:
    return sum(line.startswith("START") for line in log_of(sandbox, f"/aws/lambda/{name}"))


def test_a_function_finds_what_aws_gives_it(sandbox):
    code = """
import os, sys
import boto3

def handler(event, context):
    print("working on", event["file"])
    return {
        "caller": boto3.client("sts").get_caller_identity()["Arn"],
        "given": os.environ["BUCKET"],
        "memory": [context.memory_limit_in_mb, os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]],
        "left": context.get_remaining_time_in_millis(),
        "names": [context.function_name, context.invoked_function_arn, context.log_group_name],
        "region": os.environ["AWS_REGION"],
        "folder": os.getcwd() == os.environ["LAMBDA_TASK_ROOT"] == sys.path[0],
        "token": [name for name in os.environ if "FILEFLOW" in name],
    }
"""
    environment = {"Variables": {"BUCKET": "box"}}
    arn = deploy(sandbox, "given", code, MemorySize=256, Timeout=20, Environment=environment)
    functions = client(sandbox, "lambda")
    answer = functions.invoke(FunctionName=arn, Payload=b'{"file": "a.csv"}', LogType="Tail")
    told = json.loads(answer["Payload"].read())
    assert told.pop("left") in range(15_000, 20_001)
    assert told == {
        "caller": "arn:aws:sts::123456789012:assumed-role/functions/given",
        "given": "box",
        "memory": ["256", "256"],
        "names": ["given", arn, "/aws/lambda/given"],
        "region": "us-west-2",
        "folder": True,
        "token": [],
    }
    request_id = answer["ResponseMetadata"]["RequestId"]
    tail = base64.b64decode(answer["LogResult"]).decode().splitlines()
    assert tail[:3] == [
        f"START RequestId: {request_id} Version: $LATEST",
        "working on a.csv",
        f"END RequestId: {request_id}",
    ]
    assert "Memory Size: 256 MB" in tail[3]
    assert log_of(sandbox, "/aws/lambda/given") == tail


def test_a_step_of_a_run_is_told_where_the_servers_of_its_flows_are(sandbox):
    code = "import os\ndef handler(event, context): return os.environ['FILEFLOW_SANDBOX']"
    files = {
        "pytest_fileflow/__init__.py": "",
        "pytest_fileflow/aws/__init__.py": "",
        "pytest_fileflow/aws/ask.py": code,
    }
    told = {"Handler": "pytest_fileflow.aws.ask.handler", "Environment": {"Variables": {"FILEFLOW_SANDBOX": "another"}}}
    deploy(sandbox, "a-step", "", Code={"ZipFile": zipped(files)}, **told)
    assert invoke(sandbox, "a-step") == (None, sandbox.address)


@pytest.mark.parametrize("missing", ["paramiko", "pytest_fileflow", "moto", "pytest"])
def test_a_zip_that_lacks_a_dependency_fails_as_on_aws(sandbox, missing):
    deploy(sandbox, f"lacking-{missing}", f"import {missing}\ndef handler(event, context): return 1")
    assert invoke(sandbox, f"lacking-{missing}") == (
        "Unhandled",
        {
            "errorMessage": f"Unable to import module 'app': No module named '{missing}'",
            "errorType": "Runtime.ImportModuleError",
            "requestId": "",
            "stackTrace": [],
        },
    )


def test_what_the_zip_brings_goes_before_what_the_runtime_brings(sandbox):
    files = {
        "app.py": "import botocore\ndef handler(event, context): return botocore.MINE",
        "botocore.py": "MINE = 'the one in the zip'",
    }
    deploy(sandbox, "bringing", "", Code={"ZipFile": zipped(files)})
    assert invoke(sandbox, "bringing") == (None, "the one in the zip")


def test_a_function_cannot_be_led_out_of_the_sandbox(sandbox):
    code = """
import boto3
def handler(event, context):
    return [boto3.client(name).meta.endpoint_url for name in ("s3", "sqs")]
"""
    real = {"AWS_ENDPOINT_URL": "https://vpce.example.com", "AWS_ENDPOINT_URL_S3": "https://s3.amazonaws.com"}
    proxy = {"HTTP_PROXY": "http://proxy.example.com:3128", "AWS_ACCESS_KEY_ID": "real"}
    deploy(sandbox, "led", code, Environment={"Variables": {**real, **proxy}})
    assert invoke(sandbox, "led") == (None, [sandbox.endpoint_url] * 2)


def test_the_exception_of_a_handler_is_told_as_on_aws(sandbox):
    deploy(sandbox, "raising", "def handler(event, context):\n    raise LookupError('no such file')")
    error, told = invoke(sandbox, "raising")
    assert (error, told["errorType"], told["errorMessage"]) == ("Unhandled", "LookupError", "no such file")
    assert re.fullmatch(r'  File ".*/app.py", line 2, in handler\n.*', told["stackTrace"][0], re.DOTALL)


def test_a_function_that_takes_too_long_is_ended_and_the_next_call_starts_anew(sandbox):
    code = """
import time
COUNT = []
def handler(event, context):
    COUNT.append(event)
    if event == "wait":
        time.sleep(600)
    return len(COUNT)
"""
    deploy(sandbox, "slow", code, Timeout=1)
    assert [invoke(sandbox, "slow", "go") for _ in range(2)] == [(None, 1), (None, 2)]
    error, told = invoke(sandbox, "slow", "wait")
    assert (error, told["errorType"]) == ("Unhandled", "Sandbox.Timedout")
    assert told["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert invoke(sandbox, "slow", "go") == (None, 1)


def test_a_function_whose_process_ends_is_told_apart(sandbox):
    deploy(sandbox, "ending", "import os\ndef handler(event, context): os._exit(event)")
    error, told = invoke(sandbox, "ending", 3)
    assert (error, told["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert told["errorMessage"].endswith("Runtime exited with error: exit status 3")


def test_an_event_is_tried_as_often_as_the_function_says(sandbox):
    functions = client(sandbox, "lambda")
    for name, retries in (("never", 0), ("once", 1)):
        deploy(sandbox, name, "def handler(event, context): raise ValueError")
        functions.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=retries)
    deploy(sandbox, "usual", "def handler(event, context): raise ValueError")
    for name in ("never", "once", "usual"):
        answer = functions.invoke(FunctionName=name, InvocationType="Event", Payload=b"1")
        assert answer["StatusCode"] == 202
    eventually(lambda: starts(sandbox, "usual") == 3)  # begun last, so that the others had their time
    assert (starts(sandbox, "never"), starts(sandbox, "once")) == (1, 2)


def test_new_code_and_new_settings_take_effect_with_the_next_call(sandbox):
    functions = client(sandbox, "lambda")
    code = "import os\ndef handler(event, context): return ['{}', os.environ.get('LEVEL'), context.memory_limit_in_mb]"
    deploy(sandbox, "changing", code.format("one"))
    assert invoke(sandbox, "changing") == (None, ["one", None, "128"])
    version = functions.publish_version(FunctionName="changing")["Version"]
    functions.update_function_code(FunctionName="changing", ZipFile=zipped({"app.py": code.format("two")}))
    assert invoke(sandbox, "changing") == (None, ["two", None, "128"])
    settings = {"Environment": {"Variables": {"LEVEL": "high"}}, "MemorySize": 512}
    functions.update_function_configuration(FunctionName="changing", **settings)
    assert invoke(sandbox, "changing") == (None, ["two", "high", "512"])
    assert invoke(sandbox, "changing", Qualifier=version) == (None, ["one", None, "128"])
    functions.create_alias(FunctionName="changing", Name="live", FunctionVersion=version)
    assert invoke(sandbox, "changing:live")[1][0] == "one"
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        invoke(sandbox, "changing:nowhere")


def test_logging_goes_where_the_function_says_and_its_settings_are_kept(sandbox):
    functions = client(sandbox, "lambda")
    code = """
import logging
def handler(event, context):
    logging.getLogger().warning("watch %s", event)
"""
    deploy(sandbox, "logging", code, LoggingConfig={"LogFormat": "JSON", "LogGroup": "/ours"})
    assert invoke(sandbox, "logging", "out") == (None, None)
    lines = [json.loads(line) for line in log_of(sandbox, "/ours") if line.startswith("{")]
    assert [(line["level"], line["message"]) for line in lines] == [("WARNING", "watch out")]
    told = functions.update_function_configuration(
        FunctionName="logging",
        LoggingConfig={"LogFormat": "Text"},
        EphemeralStorage={"Size": 1024},
        TracingConfig={"Mode": "Active"},
    )
    kept = functions.get_function(FunctionName="logging")["Configuration"]
    for configuration in (told, kept):
        assert configuration["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/aws/lambda/logging"}
        assert (configuration["EphemeralStorage"], configuration["TracingConfig"]) == (
            {"Size": 1024},
            {"Mode": "Active"},
        )


def test_what_is_deployed_goes_before_what_a_flow_names(sandbox):
    functions = client(sandbox, "lambda")
    flow = make_flow("both", "S3", "S3", Transfer("invoke", "both", timeout_seconds=77))
    sandbox.provision([flow])
    Store(sandbox, flow.source).put("a.csv", b"a")
    deploy(sandbox, "both", "def handler(event, context): return 'deployed'")
    assert invoke(sandbox, "both", {}) == (None, "deployed")
    assert functions.get_function(FunctionName="both")["Configuration"]["Handler"] == "app.handler"
    assert Store(sandbox, flow.target).names() == []
    functions.delete_function(FunctionName="both")
    assert functions.get_function_configuration(FunctionName="both")["Timeout"] == 77
    assert invoke(sandbox, "both", {})[1]["transferred"][0]["file"] == "a.csv"
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_function(FunctionName="neither")


def test_a_function_is_found_by_its_arn_from_any_region_and_a_placeholder_is_nobody_s(sandbox):
    flow = make_flow("nowhere", "S3", "S3", Transfer("invoke", "arn:aws:lambda:...:...:function:nowhere"))
    sandbox.provision([flow])
    arn = deploy(sandbox, "west", "import os\ndef handler(event, context): return os.environ['AWS_REGION']")
    elsewhere = client(sandbox, "lambda", "us-east-1")
    assert json.loads(elsewhere.invoke(FunctionName=arn)["Payload"].read()) == "us-west-2"
    assert starts(sandbox, "west") == 1
    with pytest.raises(elsewhere.exceptions.ResourceNotFoundException):
        elsewhere.invoke(FunctionName="west")
    Store(sandbox, flow.source).put("a.csv", b"a")
    assert invoke(sandbox, "arn:aws:lambda:...:...:function:nowhere", {})[1]["transferred"][0]["file"] == "a.csv"


def test_functions_that_wait_for_others_never_use_up_all_places(sandbox):
    inner = "def handler(event, context): return event + 1"
    outer = """
import boto3, json
def handler(event, context):
    answer = boto3.client("lambda").invoke(FunctionName="inner", Payload=json.dumps(event))
    return json.loads(answer["Payload"].read())
"""
    deploy(sandbox, "inner", inner)
    deploy(sandbox, "outer", outer)
    ends: dict[int, Any] = {}

    def call(number: int) -> None:
        ends[number] = invoke(sandbox, "outer", number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ends == {number: (None, number + 1) for number in range(24)}


def test_a_notification_of_a_bucket_starts_a_function(sandbox):
    code = """
import boto3, urllib.parse
def handler(event, context):
    for record in event["Records"]:
        key = record["s3"]["object"]["key"]
        print("arrived", key)
        place = {"Bucket": record["s3"]["bucket"]["name"], "Key": urllib.parse.unquote_plus(key)}
        boto3.client("s3").copy_object(Bucket="moved", Key=place["Key"], CopySource=place)
"""
    arn = deploy(sandbox, "notified", code)
    s3 = client(sandbox, "s3")
    for bucket in ("dropped", "moved"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    configuration = {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket="dropped", NotificationConfiguration={"LambdaFunctionConfigurations": [configuration]}
    )
    s3.put_object(Bucket="dropped", Key="in/a b.csv", Body=b"a")
    eventually(lambda: s3.list_objects_v2(Bucket="moved").get("KeyCount"))
    assert s3.get_object(Bucket="moved", Key="in/a b.csv")["Body"].read() == b"a"
    assert "arrived in/a+b.csv" in eventually(lambda: log_of(sandbox, "/aws/lambda/notified"))


def test_the_calls_of_functions_are_recorded_by_name_and_never_by_content(sandbox):
    code = """
import boto3
def handler(event, context):
    s3, table = boto3.client("s3"), boto3.resource("dynamodb").Table("flows")
    s3.put_object(Bucket="kept", Key="in/a.csv", Body=b"hidden-body", Tagging="synthetic=true")
    s3.copy_object(Bucket="kept", Key="in/b.csv", CopySource={"Bucket": "kept", "Key": "in/a.csv"})
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket="kept", Prefix="in/"):
        pass
    boto3.client("secretsmanager").get_secret_value(SecretId="partner/acme")
    boto3.client("sns").publish(TopicArn=event["topic"], Message="hidden-message")
    data = [{"MetricName": "RunSuccess", "Value": 1}]
    boto3.client("cloudwatch").put_metric_data(Namespace="FileFlowTests", MetricData=data)
    with table.batch_writer() as batch:
        batch.put_item(Item={"flow_id": "hidden-item"})
    try:
        s3.head_object(Bucket="kept", Key="nowhere")
    except s3.exceptions.ClientError:
        pass
"""
    client(sandbox, "s3", "us-east-1").create_bucket(Bucket="kept")
    client(sandbox, "secretsmanager").create_secret(Name="partner/acme", SecretString="hidden-secret")
    topic = client(sandbox, "sns").create_topic(Name="told")["TopicArn"]
    client(sandbox, "dynamodb").create_table(
        TableName="flows",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "flow_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "flow_id", "AttributeType": "S"}],
    )
    deploy(sandbox, "recorded", code)
    assert invoke(sandbox, "recorded", {"topic": topic}) == (None, None)
    calls = [call for call in sandbox.recorded_calls() if call.function == "recorded"]
    assert [(call.service, call.operation, call.resources) for call in calls] == [
        ("s3", "PutObject", {"Bucket": "kept", "Key": "in/a.csv"}),
        ("s3", "CopyObject", {"Bucket": "kept", "Key": "in/b.csv", "CopySource": "kept/in/a.csv"}),
        ("s3", "ListObjectsV2", {"Bucket": "kept", "Prefix": "in/"}),
        ("secretsmanager", "GetSecretValue", {"SecretId": "partner/acme"}),
        ("sns", "Publish", {"TopicArn": topic}),
        ("cloudwatch", "PutMetricData", {"Namespace": "FileFlowTests"}),
        ("dynamodb", "BatchWriteItem", {"TableName": "flows"}),
        ("s3", "HeadObject", {"Bucket": "kept", "Key": "nowhere"}),
    ]
    assert calls[0].parameters == ("Body", "Bucket", "Key", "Tagging")
    assert calls[3] == RecordedCall(
        "recorded", "secretsmanager", "GetSecretValue", {"SecretId": "partner/acme"}, ("SecretId",)
    )
    assert "hidden" not in repr(sandbox.recorded_calls())


def test_files_of_a_zip_keep_their_modes(sandbox):
    files = {"app.py": "import os\ndef handler(event, context): return oct(os.stat('tool').st_mode)", "tool": ""}
    deploy(sandbox, "modes", "", Code={"ZipFile": zipped(files, {"tool": 0o755})})
    assert invoke(sandbox, "modes") == (None, "0o100755")


def test_a_bucket_with_versions_can_be_emptied(sandbox):
    """As Terraform does it for force_destroy: all versions and marks in one request, whatever comes last."""
    s3 = client(sandbox, "s3")
    s3.create_bucket(Bucket="versions", CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="versions", Key="gone", Body=b"x")
    s3.delete_object(Bucket="versions", Key="gone")
    told = s3.list_object_versions(Bucket="versions")
    every = [*told["Versions"], *told["DeleteMarkers"]]
    wanted = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in every]
    assert len(s3.delete_objects(Bucket="versions", Delete={"Objects": wanted})["Deleted"]) == 2
    s3.delete_bucket(Bucket="versions")
