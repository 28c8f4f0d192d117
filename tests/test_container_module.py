"""The Terraform module of the scheduled container: planned, applied to the sandbox, planned again, and destroyed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pytest_fileflow.sandbox import Sandbox
from tests.support import container
from tests.support.s3server import MotoServer
from tests.terraform import MODULE, Terraform, TerraformFailed, copied, resources

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = MODULE / "modules" / "container"
ACCOUNT, REGION = "123456789012", "us-west-2"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:acme/sftp-a1b2c3"
MOVER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:mover"
LEAST: dict[str, object] = {
    "image": "registry.example/fileflow:0.1.0",
    "config_store": "s3://example-configs/team",
    "results": "s3://example-results/daily",
}
MOST: dict[str, object] = {
    "image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/fileflow@sha256:{'0' * 64}",
    "repository_arn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/fileflow",
    "architecture": "x86_64",
    "cpu": 2048,
    "memory_mb": 4096,
    "storage_gb": 50,
    "workers": 2,
    "arguments": ["--fileflow-max-in-flight=100"],
    "environment_variables": {"TZ": "UTC"},
    "config_store": "dynamodb://example-flows",
    "results": "s3://example-results",
    "environment": "prod",
    "allow": ["s3://acme-*"],
    "source_prefixes": ["s3://outbound/to/"],
    "target_prefixes": ["s3://inbound"],
    "search_prefixes": ["s3://inbound/errors"],
    "payload_prefixes": ["s3://samples/big"],
    "kms_key_arns": [KEY],
    "secret_arns": [SECRET],
    "transfer_function_arns": [MOVER],
    "topic_arns": [f"arn:aws:sns:{REGION}:{ACCOUNT}:owners"],
    "schedules": {"nightly": {"expression": "cron(0 22 * * ? *)", "arguments": ["--fileflow-group=nightly"]}},
    "sftp_servers": [{"cidr": "198.51.100.10/32"}, {"cidr": "203.0.113.20/32", "port": 2222}],
}


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    with Sandbox.start() as sandbox:
        yield {**sandbox.environment(), "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Terraform:
    return Terraform(copied(tmp_path_factory.mktemp("module")) / "modules" / "container", environment)


@pytest.fixture(scope="module")
def network(environment: dict[str, str]) -> dict[str, object]:
    """Return a VPC that is there already."""
    ec2 = boto3.Session(
        environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], region_name=REGION
    ).client("ec2", endpoint_url=environment["AWS_ENDPOINT_URL"])
    vpc = ec2.create_vpc(CidrBlock="10.81.0.0/24")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.81.0.0/26")["Subnet"]["SubnetId"]
    return {"vpc": {"id": vpc, "subnet_ids": [subnet]}}


@pytest.fixture(scope="module")
def most(module: Terraform, network: dict[str, object]) -> dict[str, dict[str, Any]]:
    return resources(module.plan({**MOST, **network})["planned_values"])


@pytest.fixture(scope="module")
def least(module: Terraform, network: dict[str, object]) -> dict[str, dict[str, Any]]:
    return resources(module.plan({**LEAST, **network})["planned_values"])


def container_of(planned: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (told,) = json.loads(planned["aws_ecs_task_definition.suite"]["container_definitions"])
    assert isinstance(told, dict)
    return told


def test_it_is_valid(module):
    module.validate()


def test_what_is_called_alike_means_the_same():
    def variables(place: Any) -> dict[str, str]:
        text = (place / "variables.tf").read_text(encoding="utf-8")
        return dict(re.findall(r'^variable "(\w+)" \{\n  type += (.*)$', text, re.MULTILINE))

    mine, theirs = variables(HERE), variables(MODULE)
    assert {name for name in mine.keys() & theirs.keys() if mine[name] != theirs[name]} == set()
    assert len(mine.keys() & theirs.keys()) > 20


def test_the_container_is_given_what_the_image_expects(most):
    told = container_of(most)
    (user,) = (text for name, text in container.last_stage() if name == "USER")
    (volumes,) = (json.loads(text) for name, text in container.last_stage() if name == "VOLUME")
    assert told["user"] == user
    assert {mount["containerPath"] for mount in told["mountPoints"]} == set(volumes)
    assert {mount["sourceVolume"] for mount in told["mountPoints"]} == {
        each["name"] for each in most["aws_ecs_task_definition.suite"]["volume"]
    }
    assert (told["readonlyRootFilesystem"], told["stopTimeout"]) == (True, 120)
    assert told["linuxParameters"]["initProcessEnabled"]
    assert told["command"] == [
        *("--fileflow-config=dynamodb://example-flows", "--fileflow-results=s3://example-results"),
        *("--fileflow-env=prod", "--fileflow-allow=s3://acme-*", "--fileflow-cloudwatch", "--fileflow-alerts"),
        *("--numprocesses=2", "--fileflow-max-in-flight=100"),
    ]


def test_pytest_knows_every_argument(pytester, most):
    options = [word for word in container_of(most)["command"] if "config" not in word and "results" not in word]
    told = pytester.runpytest_subprocess(*options, "--collect-only", "-m", "canary", "--fileflow-group=nightly")
    assert "unrecognized arguments" not in told.stderr.str()
    assert told.ret in (pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.USAGE_ERROR)
    told = pytester.runpytest_subprocess(*options, "--collect-only", "--fileflow-made-up")
    assert "unrecognized arguments" in told.stderr.str()


def test_schedules_have_zones_and_arguments_of_their_own(most, least):
    assert {address for address in least if ".suite[" in address} == {
        'aws_scheduler_schedule.suite["daily"]',
        'aws_scheduler_schedule.suite["canary"]',
    }
    daily, nightly = (most[f'aws_scheduler_schedule.suite["{name}"]'] for name in ("daily", "nightly"))
    assert (daily["schedule_expression"], daily["schedule_expression_timezone"]) == (
        "cron(0 6 * * ? *)",
        "America/Los_Angeles",
    )
    assert (nightly["schedule_expression"], nightly["schedule_expression_timezone"]) == ("cron(0 22 * * ? *)", "UTC")


def test_roles_are_named_by_their_region(most):
    """They are those of the whole account: in a second region they would be there already."""
    names = [values["name"] for address, values in most.items() if address.startswith("aws_iam_role.")]
    assert len(names) == 3
    assert [name for name in names if not re.search(r"-[a-z]{2}-[a-z]+-\d$", name)] == []


def test_a_policy_names_no_place_but_what_was_given(most, least):
    # Known only once the roles are there; what a plan does show must be narrow.
    for planned in (most, least):
        for address, values in planned.items():
            if address.startswith("aws_iam_role_policy.") and values.get("policy"):
                for each in json.loads(values["policy"])["Statement"]:
                    actions = [each["Action"]] if isinstance(each["Action"], str) else each["Action"]
                    if each["Resource"] == "*":
                        assert set(actions) <= {"cloudwatch:PutMetricData", "ecr:GetAuthorizationToken"}
                    assert not any("*" in action for action in actions)
    text = json.dumps([values["policy"] for address, values in most.items() if address == "aws_iam_role_policy.task"])
    for place in (
        "outbound/to/*",
        ":::inbound/*",
        "inbound/errors/*",
        "samples/big/*",
        "example-results/*",
        "table/example-flows",
        MOVER,
    ):
        assert place in text
    small = least["aws_iam_role_policy.task"]["policy"]
    assert {"lambda:", "sns:", "kms:", "secretsmanager:", "ssm:", "dynamodb:"} & set(
        re.findall(r"\w+:", small)
    ) == set()


def as_moto_judges(policy: str) -> str:
    """Return a policy in moto's terms: it calls metrics otherwise, and asks the bucket about many deletions at once."""
    told = json.loads(policy.replace('"cloudwatch:PutMetricData"', '"monitoring:PutMetricData"'))
    buckets = [
        resource.partition("/")[0]
        for each in told["Statement"]
        if "s3:DeleteObject" in each["Action"]
        for resource in each["Resource"]
    ]
    told["Statement"].append({"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": buckets})
    return json.dumps(told)


def test_a_run_needs_no_more_than_the_task_may(module, network, tmp_path, monkeypatch):
    """For moto conditions count for nothing: this shows that no permission is missing, not that none is too much."""
    places = {
        "config_store": f"s3://{container.CONFIGS}/team",
        "results": f"s3://{container.RESULTS}/daily",
        "source_prefixes": [f"s3://{container.SOURCE}/out"],
        "target_prefixes": [f"s3://{container.TARGET}/in"],
    }
    planned = resources(module.plan({**LEAST, **network, **places})["planned_values"])
    policy = as_moto_judges(planned["aws_iam_role_policy.task"]["policy"])
    with MotoServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        container.make_buckets()
        container.store()
        iam = boto3.client("iam")
        keys = {}
        everything = json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        )
        for user, allowed in {
            "task": policy,
            "transfer": everything,
            "less": everything.replace('"*"', '"sns:Publish"', 1),
        }.items():
            iam.create_user(UserName=user)
            iam.put_user_policy(UserName=user, PolicyName="allowed", PolicyDocument=allowed)
            key = iam.create_access_key(UserName=user)["AccessKey"]
            keys[user] = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        server.enforce_permissions()
        for name, value in keys["transfer"].items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it would go on with the key that it began with
        command = container_of(planned)["command"]
        with container.transfer():
            (tmp_path / "task").mkdir()
            process = container.start(tmp_path / "task", {**server.environment, **keys["task"]}, *command)
            output = process.communicate(timeout=180)[0]
        assert process.returncode == 0, output
        assert "metrics: " in output
        (record,) = container.transfers()
        assert (record["outcome"], record["residue"], record["evidence"]) == ("passed", [], {})
        (tmp_path / "less").mkdir()
        process = container.start(tmp_path / "less", {**server.environment, **keys["less"]}, *command)
        assert "s3:ListBucket" in process.communicate(timeout=180)[0]
        assert process.returncode == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize(
    ("wrong", "messages"),
    [
        ({"image": "fileflow", "results": "fileflow-results"}, ("repository:tag", "Results go to s3://bucket")),
        ({"cpu": 1000, "storage_gb": 20}, ("Fargate has 256", "21 to 200 GB")),
        (
            {"schedules": {"daily": {"expression": "rate(1 day)"}}, "secret_arns": ["acme/sftp"]},
            ("A schedule's name has 1 to 32 letters", "full ARN of a secret"),
        ),
    ],
)
def test_a_wrong_value_is_refused(module, network, wrong, messages):
    with pytest.raises(TerraformFailed) as refusal:
        module.plan({**LEAST, **network, **wrong})
    assert [message for message in messages if message not in str(refusal.value)] == []


def test_it_is_made_found_unchanged_and_removed(module, network, environment):
    module.apply({**MOST, **network})
    try:
        assert module.changes() == ""
        outputs = module.outputs()
        ecs = boto3.Session(
            environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], region_name=REGION
        ).client("ecs", endpoint_url=environment["AWS_ENDPOINT_URL"])
        made = ecs.describe_task_definition(taskDefinition=outputs["task_definition_arn"])["taskDefinition"]
        assert (made["cpu"], made["memory"], made["networkMode"]) == ("2048", "4096", "awsvpc")
        schedules = module.resources()
        target = schedules['aws_scheduler_schedule.suite["nightly"]']["target"][0]
        (override,) = json.loads(target["input"])["containerOverrides"]
        assert override["name"] == made["containerDefinitions"][0]["name"]
        assert override["command"] == [*made["containerDefinitions"][0]["command"], "--fileflow-group=nightly"]
        assert target["ecs_parameters"][0]["task_definition_arn"] == outputs["task_definition_arn"]
        assert "aws ecs run-task" in outputs["run_command"]
    finally:
        module.destroy()
