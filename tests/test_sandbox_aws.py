"""The sandbox's AWS: Invoke as documented, secrets and topics under any text, webhooks, CloudWatch Logs."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import boto3
import paramiko
import pytest
from botocore.exceptions import ClientError

from pytest_fileflow.clients import AwsClients
from pytest_fileflow.endpoints.sftp import SftpEndpoint
from pytest_fileflow.endpoints.ssh import Route, SshSessions
from pytest_fileflow.errors import ConfigInvalid, NameNotResolved, SandboxFailed
from pytest_fileflow.model import Flow, S3Location, SftpLocation, Transfer
from pytest_fileflow.sandbox import Sandbox
from pytest_fileflow.secret import Secrets, read
from tests.support.sandbox_tools import Store, client, eventually, make_flow, sftp_client

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEDS = sorted((Path(__file__).parent / "data" / "seed").glob("*.json"))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start() as running:
        yield running


def location(spec: dict[str, Any]) -> S3Location | SftpLocation:
    fields = {key: value for key, value in spec.items() if key != "type"}
    return S3Location(**fields) if spec["type"] == "S3" else SftpLocation(**fields)


@pytest.mark.parametrize("path", SEEDS, ids=[path.stem for path in SEEDS])
def test_production_configs_rehearse_unchanged(sandbox: Sandbox, path: Path) -> None:
    spec = json.loads(path.read_text())
    flow_id, function, payload = path.stem, spec["transfer"]["lambda_arn"], spec["transfer"]["payload"]
    source, target = location(spec["source"]), location(spec["target"])
    transfer = Transfer("invoke", function, payload=payload, timeout_seconds=900)
    flow = Flow(flow_id, source, target, transfer, alerts=spec.get("alerts", {}))
    sandbox.provision([flow])
    Store(sandbox, source).seed(flow_id, f"{flow_id}.bin", b"payload")

    answer = client(sandbox, "lambda").invoke(FunctionName=function, Payload=json.dumps(payload))

    assert "FunctionError" not in answer, answer["Payload"].read()
    assert Store(sandbox, target).read(f"{flow_id}.bin") == b"payload"
    if topic := flow.alerts.get("sns_topic_arn"):
        client(sandbox, "sns").publish(TopicArn=topic, Message="late")
    if webhook := flow.alerts.get("slack_webhook_secret_arn"):
        url = client(sandbox, "secretsmanager").get_secret_value(SecretId=webhook)["SecretString"]
        urlopen(Request(url, flow_id.encode()), timeout=10).close()
        assert flow_id in [post["body"] for post in sandbox.webhook_posts()]


def test_a_policy_against_requests_without_tls_refuses_nothing_here(sandbox: Sandbox) -> None:
    s3 = client(sandbox, "s3", "us-east-1")
    s3.create_bucket(Bucket="with-policy")
    everything = {"Principal": "*", "Resource": ["arn:aws:s3:::with-policy", "arn:aws:s3:::with-policy/*"]}
    without_tls = {"Effect": "Deny", "Action": "s3:*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    flat = {"Effect": "Deny", "Action": "s3:GetObject", "Principal": "*", "Resource": "arn:aws:s3:::with-policy/b.csv"}
    statements = [{**everything, **without_tls}, flat]
    s3.put_bucket_policy(Bucket="with-policy", Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    for name in ("a.csv", "b.csv"):
        s3.put_object(Bucket="with-policy", Key=name, Body=b"a")
    assert s3.get_object(Bucket="with-policy", Key="a.csv")["Body"].read() == b"a"
    with pytest.raises(ClientError) as refused:
        s3.get_object(Bucket="with-policy", Key="b.csv")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_bucket_whose_versioning_was_suspended_can_be_emptied(sandbox: Sandbox) -> None:
    s3 = client(sandbox, "s3", "us-east-1")
    s3.create_bucket(Bucket="suspended")
    s3.put_bucket_versioning(Bucket="suspended", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="suspended", Key="a.csv", Body=b"a")
    s3.delete_object(Bucket="suspended", Key="a.csv")
    s3.put_bucket_versioning(Bucket="suspended", VersioningConfiguration={"Status": "Suspended"})
    listed = s3.list_object_versions(Bucket="suspended")
    there = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in listed["Versions"] + listed["DeleteMarkers"]]
    assert len(there) == 2
    assert "Errors" not in s3.delete_objects(Bucket="suspended", Delete={"Objects": there})
    s3.delete_bucket(Bucket="suspended")


def test_what_a_flow_names_can_be_deployed_too(sandbox: Sandbox) -> None:
    flow = make_flow("deployed", "S3", "S3", Transfer("invoke", "deployed"))
    source = S3Location("made-for-a-flow", "in/")
    s3, secrets = client(sandbox, "s3"), client(sandbox, "secretsmanager")
    arn = secrets.create_secret(Name="partner/deployed", SecretString="theirs")["ARN"]
    target = SftpLocation("source.example.com", "deployed", "/in", arn)
    sandbox.provision([Flow(flow.flow_id, source, target, flow.transfer)])
    there = {"Bucket": "made-for-a-flow", "CreateBucketConfiguration": {"LocationConstraint": "us-west-2"}}
    s3.create_bucket(**there)
    assert s3.get_bucket_location(Bucket="made-for-a-flow")["LocationConstraint"] == "us-west-2"
    Store(sandbox, source).put("a.csv", b"a")
    with pytest.raises(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(**there)
    assert Store(sandbox, source).read("a.csv") == b"a"

    assert secrets.describe_secret(SecretId=arn)["Name"] == "partner/deployed"
    version = next(iter(secrets.describe_secret(SecretId=arn)["VersionIdsToStages"]))
    assert secrets.get_secret_value(SecretId=arn, VersionId=version)["SecretString"] == "theirs"
    assert "privateKey" in json.loads(secrets.get_secret_value(SecretId=arn)["SecretString"])


def test_unknown_function_is_not_found(sandbox: Sandbox) -> None:
    functions = client(sandbox, "lambda")
    with pytest.raises(functions.exceptions.ResourceNotFoundException, match="Function not found: arn:aws:lambda"):
        functions.invoke(FunctionName="arn:aws:lambda:us-west-2:123456789012:function:nobody", Payload="{}")


def test_invocation_types_log_tail_and_qualifiers(sandbox: Sandbox) -> None:
    flow = make_flow("types", "S3", "S3", Transfer("invoke", "arn:aws:lambda:us-west-2:1111:function:types"))
    sandbox.provision([flow])
    functions = client(sandbox, "lambda")
    assert functions.invoke(FunctionName="types", InvocationType="DryRun")["StatusCode"] == 204
    assert functions.get_function_configuration(FunctionName="types")["Timeout"] == 900

    Store(sandbox, flow.source).put("a.csv", b"a")
    answer = functions.invoke(FunctionName="types:live", LogType="Tail", Payload=b"{}")

    request_id = answer["ResponseMetadata"]["RequestId"]
    log = base64.b64decode(answer["LogResult"]).decode()
    lines = [line.split("\t")[0] for line in log.splitlines()]
    assert lines[0] == f"START RequestId: {request_id} Version: $LATEST"
    assert re.match(r"moved s3://bucket-source/partners/types/a.csv to s3://.*: 1 bytes in [\d.]+ s", lines[1])
    assert lines[2:] == [f"END RequestId: {request_id}", f"REPORT RequestId: {request_id}"]


def test_broken_json_is_refused_before_anything_runs(sandbox: Sandbox) -> None:
    sandbox.provision([make_flow("json", "S3", "S3", Transfer("invoke", "json"))])
    functions = client(sandbox, "lambda")
    with pytest.raises(functions.exceptions.InvalidRequestContentException):
        functions.invoke(FunctionName="json", Payload=b"{")


def test_event_that_no_flow_waits_for_is_a_function_error(sandbox: Sandbox) -> None:
    flow = make_flow("picky", "S3", "S3", Transfer("invoke", "picky", payload={"flowConfigId": "right"}))
    sandbox.provision([flow])
    answer = client(sandbox, "lambda").invoke(FunctionName="picky", Payload=b'{"flowConfigId": "wrong"}')
    error = json.loads(answer["Payload"].read())
    assert answer["FunctionError"] == "Unhandled"
    assert error["errorMessage"].endswith("function:picky is started by an event like this one")


def test_function_that_takes_too_long_is_timed_out(sandbox: Sandbox) -> None:
    flow = make_flow("slow", "S3", "S3", Transfer("invoke", "slow", timeout_seconds=0.001))
    sandbox.provision([flow])
    Store(sandbox, flow.source).put("big.bin", bytes(20_000_000))
    answer = client(sandbox, "lambda").invoke(FunctionName="slow", Payload=b"{}", LogType="Tail")
    error = json.loads(answer["Payload"].read())
    assert error["errorType"] == "Sandbox.Timedout"
    assert error["errorMessage"].endswith("Task timed out after 0.00 seconds")
    assert "Task timed out" in base64.b64decode(answer["LogResult"]).decode()


def test_failed_asynchronous_invocation_is_tried_three_times(sandbox: Sandbox) -> None:
    flow = make_flow("thrice", "S3", "S3", Transfer("invoke", "thrice", payload={"a": 1}))
    sandbox.provision([flow])
    answer = client(sandbox, "lambda").invoke(FunctionName="thrice", InvocationType="Event", Payload=b'{"a": 2}')
    request_id = answer["ResponseMetadata"]["RequestId"]
    logs = client(sandbox, "logs")

    def tries() -> int:
        try:
            found = logs.filter_log_events(logGroupName="/aws/lambda/thrice", filterPattern=f'"{request_id}"')
        except logs.exceptions.ResourceNotFoundException:
            return 0
        return sum(event["message"].startswith("START") for event in found["events"])

    eventually(lambda: tries() == 3)


def test_one_secret_opens_every_server_that_names_it_and_no_other_does(sandbox: Sandbox) -> None:
    one = SftpLocation("keys-a.example.com", "ann", "/in", "<SHARED_KEY>")
    two = SftpLocation("keys-b.example.com", "bob", "/in", "<SHARED_KEY>", port=2222)
    other = SftpLocation("keys-a.example.com", "bob", "/in", "<OTHER_KEY>")
    sandbox.provision([Flow("keys1", one, two), Flow("keys2", one, other)])
    for place in (one, two, other):
        with sftp_client(sandbox, place) as session:
            assert session.listdir("/") == ["in"]
    wrong = SftpLocation("keys-a.example.com", "ann", "/in", "<OTHER_KEY>")
    with pytest.raises(paramiko.AuthenticationException), sftp_client(sandbox, wrong):
        pass
    assert len({sandbox.route(place.host, place.port)[1:] for place in (one, two, other)}) == 2


KINDS = ("secret", "ssm:/acme", "arn:aws:ssm:eu-west-1:1111:parameter/acme", "env:ABSENT", "file:/absent", "<KEY>")


@pytest.mark.parametrize("name", KINDS)
def test_a_secret_of_any_kind_opens_its_server(sandbox: Sandbox, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in sandbox.environment().items():
        monkeypatch.setenv(variable, value)
    place = SftpLocation("kinds.example.com", f"user-{KINDS.index(name)}", "/in", name)
    alerts = {"slack_webhook_secret_arn": f"{name}-slack", "jira": {"secret_arn": f"{name}-jira"}}
    sandbox.provision([Flow("kinds", place, S3Location("kinds"), alerts=alerts)])
    clients = AwsClients(boto3.Session())
    assert set(json.loads(read(clients, f"{name}-jira", sandbox=True).content)) >= {"user", "token"}
    assert str(read(clients, f"{name}-slack", sandbox=True).content).startswith("http://127.0.0.1:")
    secrets = Secrets(clients, sandbox=True)
    sessions = SshSessions(secrets.credentials, route=lambda at: Route(*sandbox.route(at.host, at.port)))
    try:
        assert SftpEndpoint(place, sessions).list() == []
    finally:
        sessions.close()


def test_a_parameter_may_be_asked_for_by_hand(sandbox: Sandbox) -> None:
    place = SftpLocation("byhand.example.com", "u", "/in", "arn:aws:ssm:us-west-2:1111:parameter/by/hand")
    sandbox.provision([Flow("byhand", place, place)])
    parameters = client(sandbox, "ssm")
    [value] = {
        parameters.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        for name in (place.secret_arn, "/by/hand")
    }
    assert json.loads(value)["privateKey"]
    with pytest.raises(parameters.exceptions.ParameterNotFound):
        parameters.get_parameter(Name="/nobody", WithDecryption=True)


def test_provisioning_again_keeps_keys_and_files(sandbox: Sandbox) -> None:
    flow = make_flow("again", "SFTP", "S3", Transfer("invoke", "again"))
    sandbox.provision([flow])
    Store(sandbox, flow.source).put("kept.csv", b"kept")
    before = sandbox.route("source.example.com", 22)
    sandbox.provision([flow, flow])
    assert sandbox.route("source.example.com", 22) == before
    assert Store(sandbox, flow.source).read("kept.csv") == b"kept"
    client(sandbox, "lambda").invoke(FunctionName="again", Payload=b"{}")
    assert Store(sandbox, flow.target).names() == ["kept.csv"]


def test_a_flow_that_cannot_be_made_does_not_stop_the_others(sandbox: Sandbox) -> None:
    climbing = Flow("climbing", SftpLocation("h", "u", "/../etc", "<S>"), S3Location("bucket-target"))
    long_name = Flow("long", S3Location("b" * 64), S3Location("bucket-target"))
    good = make_flow("good", "SFTP", "S3", Transfer("event"))
    with pytest.raises(ConfigInvalid) as caught:
        sandbox.provision([climbing, long_name, good])
    assert "climbing: the folder '/../etc' of 'u' is no plain path" in caught.value.reason
    assert f"long: the bucket {'b' * 64!r} cannot be made" in caught.value.reason
    Store(sandbox, good.source).put("a.csv", b"a")
    eventually(lambda: Store(sandbox, good.target).names() == ["a.csv"])


def test_server_that_no_flow_names_does_not_resolve(sandbox: Sandbox) -> None:
    with pytest.raises(NameNotResolved, match=r"no SFTP server nobody\.example\.com:22"):
        sandbox.route("nobody.example.com", 22)


def test_secrets_and_buckets_that_nobody_provisioned_are_absent(sandbox: Sandbox) -> None:
    secrets = client(sandbox, "secretsmanager")
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.get_secret_value(SecretId="<NOBODYS_SECRET>")
    with pytest.raises(ClientError, match="NoSuchBucket"):
        client(sandbox, "s3").put_object(Bucket="nobodys-bucket", Key="a", Body=b"a")


def test_other_services_are_there(sandbox: Sandbox) -> None:
    client(sandbox, "cloudwatch").put_metric_data(
        Namespace="FileFlowTests", MetricData=[{"MetricName": "RunSuccess", "Value": 1}]
    )
    client(sandbox, "dynamodb").create_table(
        TableName="flows",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "flow_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "flow_id", "AttributeType": "S"}],
    )
    assert client(sandbox, "dynamodb").list_tables()["TableNames"] == ["flows"]
    secrets = client(sandbox, "secretsmanager")
    secrets.create_secret(Name="by-hand", SecretString="text")
    assert secrets.get_secret_value(SecretId="by-hand")["SecretString"] == "text"


def test_published_alerts_reach_subscribers_of_a_topic_named_by_placeholder(sandbox: Sandbox) -> None:
    arn = "arn:aws:sns:...:fileflow-test-alerts"
    sandbox.provision([Flow("alerting", S3Location("al-in"), S3Location("al-out"), alerts={"sns_topic_arn": arn})])
    queues, topics = client(sandbox, "sqs"), client(sandbox, "sns")
    url = queues.create_queue(QueueName="alerts")["QueueUrl"]
    queue = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topics.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)
    topics.publish(TopicArn=arn, Subject="late", Message="by 12 s")
    (message,) = queues.receive_message(QueueUrl=url)["Messages"]
    assert json.loads(message["Body"])["Message"] == "by 12 s"


def test_private_api_asks_for_the_token(sandbox: Sandbox) -> None:
    address = sandbox.address
    token = address.split("//")[1].split("@")[0]
    with pytest.raises(SandboxFailed, match="the token is missing or wrong"):
        Sandbox.connect(address.replace(token, "x" * len(token)))
    assert token not in repr(sandbox)
    assert token not in sandbox.log_tail(10_000)
