"""The Terraform module, as far as plans show it: form, variables, permissions, alarms, dashboard, table, schedules."""

from __future__ import annotations

import base64
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow.allow import AllowList, parse
from pytest_fileflow.aws import STEPS
from pytest_fileflow.aws.host import Settings
from pytest_fileflow.results.athena import COLUMNS, TABLE, VIEW, ddl
from pytest_fileflow.results.cloudwatch.alarms import alarms
from pytest_fileflow.results.cloudwatch.dashboard import dashboard
from pytest_fileflow.sandbox import Sandbox
from tests.support import lambda_package
from tests.support.machine import arns, definition
from tests.terraform import (
    EXAMPLE,
    MODULE,
    Terraform,
    TerraformFailed,
    copied,
    required_program,
    resources,
    tiny_package,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STAGES = ("dev", "test", "prod")
ACCOUNT, REGION = "123456789012", "us-west-2"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OWN_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/aaaaaaaa-12ab-34cd-56ef-1234567890ab"
RESULTS = f"arn:aws:s3:::fileflow-results-{ACCOUNT}-{REGION}"
SECRETS = {
    "secret": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:acme/sftp-a1b2c3",
    "parameter": f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/beta/sftp",
    "webhook": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:slack-d4e5f6",
}
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:owners"
MOVER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:mover"

# All that can be given, so that every statement there is stands in a policy.
EVERYTHING: dict[str, object] = {
    "permissions_boundary_arn": f"arn:aws:iam::{ACCOUNT}:policy/boundary",
    "tags": {"team": "transfers"},
    "step_settings": {"verify": {"memory_mb": 3072, "reserved_concurrency": 10}, "seed": {"storage_mb": 2048}},
    "environment_variables": {"TZ": "UTC"},
    "plugins": ["acme.checks", "acme.patterns"],
    "tracing": True,
    "environment": "prod",
    "settle_minutes": 20,
    "alerts": False,
    "remind_hours": 48,
    "report_url": "https://reports.acme.example",
    "allow": ["s3://acme-*", "lambda:mover"],
    "source_prefixes": ["s3://outbound/to", "s3://outbound/other/", "s3://more"],
    "target_prefixes": ["s3://landing/from"],
    "payload_prefixes": ["s3://samples/big"],
    "search_prefixes": ["s3://landing/errors"],
    "kms_key_arns": [KEY],
    "secret_arns": [SECRETS["secret"], SECRETS["parameter"]],
    "webhook_secret_arns": [SECRETS["webhook"]],
    "topic_arns": [TOPIC],
    "transfer_function_arns": [MOVER],
    "kms_key_arn": OWN_KEY,
    "object_lock": {"mode": "GOVERNANCE", "days": 5},
    "access_log_bucket": "logs-of-buckets",
    "synthetic_buckets": ["outbound"],
    "synthetic_retention_days": 7,
    "max_concurrency": 100,
    "schedules": {"nightly": {"expression": "cron(0 22 * * ? *)", "input": '{"group":"nightly"}', "enabled": False}},
    "alarm_emails": ["us@acme.example"],
    "alarm_topic_arns": [TOPIC],
    "flow_ids": ["acme", "beta"],
    "missing_after_hours": 30,
    "vpc": {"id": "vpc-1", "subnet_ids": ["subnet-1"], "route_table_ids": ["rtb-1"]},
    "sftp_servers": [{"cidr": "198.51.100.10/32"}, {"cidr": "203.0.113.20/32", "port": 2222}],
    "interface_endpoints": ["secretsmanager", "kms"],
}


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    with Sandbox.start() as sandbox:
        yield {**sandbox.environment(), "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Terraform:
    return Terraform(copied(tmp_path_factory.mktemp("module")), environment)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_package(tmp_path_factory.mktemp("package")))


class Plan:
    """What a plan would make, by address without the module's own."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.resources = resources(plan["planned_values"])

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the resources of a type, by their last key or name."""
        found = {address: values for address, values in self.resources.items() if address.startswith(f"{kind}.")}
        return {re.findall(r"[^.\"\[\]]+", re.sub(r"\[\d+\]$", "", address))[-1]: found[address] for address in found}

    def policy(self, step: str) -> list[dict[str, Any]]:
        return statements(self.resources[f'aws_iam_role_policy.function["{step}"]']["policy"])


def statements(policy: str) -> list[dict[str, Any]]:
    """Return the statements of a policy, actions and resources always as lists."""
    told = json.loads(policy)["Statement"]
    for each in told:
        for name in ("Action", "Resource"):
            if isinstance(each.get(name), str):
                each[name] = [each[name]]
    return told


@pytest.fixture(scope="module")
def everything(module: Terraform, package: str) -> Plan:
    return Plan(module.plan({"package": package, **EVERYTHING}))


@pytest.fixture(scope="module")
def least(module: Terraform, package: str) -> Plan:
    return Plan(module.plan({"package": package}))


def test_the_files_are_formatted() -> None:
    words = [required_program(), "fmt", "-check", "-diff", "-recursive", str(MODULE)]
    checked = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout


def test_module_is_valid(module: Terraform) -> None:
    module.validate()


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Terraform:
    return Terraform(copied(tmp_path_factory.mktemp("example")) / EXAMPLE.relative_to(MODULE), environment)


def test_example_is_valid(example: Terraform) -> None:
    example.validate()


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_of_the_example_can_be_planned(example: Terraform, package: str, stage: str) -> None:
    planned = example.plan({"package": package, "architecture": "x86_64", "runtime": "python3.12"}, f"{stage}.tfvars")
    plan = Plan(planned)
    functions = plan.of("aws_lambda_function")
    assert sorted(functions) == sorted(STEPS)
    assert {values["function_name"] for values in functions.values()} == {
        f"fileflow-{stage}-{step.replace('_', '-')}" for step in STEPS
    }
    assert {values["tags_all"]["stage"] for values in functions.values()} == {stage}
    made_for = {(*values["architectures"], values["runtime"]) for values in functions.values()}
    assert made_for == {("x86_64", "python3.12")}
    given = {name: told["value"] for name, told in planned["variables"].items()}
    allow = AllowList((tuple(map(parse, given["allow"])),))
    assert [arn for arn in given["transfer_function_arns"] if not allow.allows(arn)] == []
    assert ("daily" in plan.of("aws_scheduler_schedule")) is (stage != "dev")
    assert bool(plan.of("aws_nat_gateway")) is (stage == "prod")


def test_variables_and_outputs_are_documented() -> None:
    checked = subprocess.run(
        [sys.executable, str(MODULE / "tables.py"), "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stderr
    for folder in (MODULE, EXAMPLE):
        for name in ("variables.tf", "outputs.tf"):
            text = (folder / name).read_text()
            found = re.findall(r'^(?:variable|output) "(\w+)" \{\n(.*?)^\}$', text, re.MULTILINE | re.DOTALL)
            assert len(found) == len(re.findall(r"^(?:variable|output) ", text, re.MULTILINE)) > 0
            assert not [
                each for each, body in found if not re.search(r'^  description += ".{10,}"$', body, re.MULTILINE)
            ]
            if name == "variables.tf":
                assert not [each for each, body in found if not re.search(r"^  type += ", body, re.MULTILINE)]


WRONG = {
    "name": ("Fileflow", "lower-case letters"),
    "permissions_boundary_arn": ("boundary", "ARN of an IAM policy"),
    "package": ("nowhere.zip", "no file at the path"),
    "runtime": ("python3.11", "python3.12 or later"),
    "architecture": ("x86", "arm64 or x86_64"),
    "step_settings": ({"verifi": {}}, "A step is one of"),
    "plugins": (["acme-checks"], "dotted name"),
    "log_retention_days": (31, "CloudWatch keeps logs"),
    "config_store": ("flows/", "dynamodb://table"),
    "config_table_arn": ("flows", "not the ARN of a DynamoDB table"),
    "environment": ("a/b", "An environment has"),
    "allow": (["acme-*"], "A pattern begins with"),
    "source_prefixes": (["out/to"], "without * and ?"),
    "target_prefixes": (["s3://landing/*"], "without * and ?"),
    "kms_key_arns": (["alias/acme"], "do not take an alias"),
    "secret_arns": (["acme/sftp"], "full ARN of a secret"),
    "webhook_secret_arns": ([f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:*"], "a * can only end a name"),
    "transfer_function_arns": ([f"{MOVER}:live"], "without a version"),
    "bucket_name": ("Results", "A bucket's name"),
    "results_retention_days": (0, "whole number of days, 1 or more"),
    "executions_retention_days": (1, "whole number of days, 2 or more"),
    "synthetic_retention_days": (8, "3 to 7 days"),
    "object_lock": ({"mode": "FOREVER", "days": 1}, "GOVERNANCE or COMPLIANCE"),
    "athena_scan_limit_gb": (0, "1 GB or more"),
    "max_concurrency": (0, "whole number from 1 to 1000"),
    "machine_log_level": ("INFO", "ALL, ERROR, FATAL or OFF"),
    "daily_schedule": ({"expression": "0 6 * * *"}, "cron(…), rate(…) or at(…)"),
    "canary_schedule": ("1 hour", "cron(…), rate(…) or at(…)"),
    "schedules": ({"daily": {"expression": "rate(1 day)"}}, "daily and canary are taken"),
    "alarm_emails": (["us"], "not a mail address"),
    "alarm_topic_arns": (["owners"], "not the ARN of an SNS topic"),
    "remind_hours": (0, "1 to 8784 hours"),
    "report_url": ("report.html", "begins with https://"),
    "settle_minutes": (0, "1 to 1440 minutes"),
    "flow_ids": (["a b"], "not the id of a flow"),
    "missing_after_hours": (169, "1 to 168"),
    "https_cidrs": (["10.0.0.0"], "not a CIDR block"),
    "sftp_servers": ([{"cidr": "10.0.0.0/8", "port": 0}], "a port from 1 to 65535"),
    "interface_endpoints": (["s3"], "secretsmanager, logs, monitoring"),
    "gateway_endpoints": (["kms"], "s3 and dynamodb"),
}


def test_wrong_values_are_refused_before_anything_is_made(module: Terraform) -> None:
    with pytest.raises(TerraformFailed) as refused:
        module.plan({name: value for name, (value, _) in WRONG.items()})
    told = [re.sub(r"[│├─\s]+", " ", part) for part in str(refused.value).split("Error: ")]
    errors = {name: part for part in told for name in re.findall(r" var\.(\w+) is ", part)}
    assert {name: message for name, (_, message) in WRONG.items() if message not in errors.get(name, "")} == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"create_kms_key": True, "kms_key_arn": KEY}, "either create_kms_key or kms_key_arn"),
        ({"vpc": EVERYTHING["vpc"], "new_vpc": {"zones": ["us-west-2a"]}}, "either vpc or new_vpc"),
        ({"new_vpc": {"zones": ["us-west-2a"], "cidr": "10.0.0.0/28"}}, "a CIDR block of /24 or larger"),
    ],
    ids=["two keys", "two networks", "a small network"],
)
def test_what_does_not_go_together_is_refused(module: Terraform, package: str, given: dict, message: str) -> None:
    with pytest.raises(TerraformFailed, match=message):
        module.plan({"package": package, **given})


ALL_S3 = {"s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload", "s3:GetObject"}
LISTING = {"s3:ListBucket"}
SECRET = {"secretsmanager:GetSecretValue", "ssm:GetParameter", "kms:Decrypt"}
DATA_KEYS = {"kms:Decrypt", "kms:GenerateDataKey"}
WORK = {"s3:GetObject", "s3:PutObject", *DATA_KEYS}
LOOK = {"s3:GetObject", "s3:ListBucket", *SECRET}
JUDGE = {
    *LOOK,
    *("s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts", "logs:FilterLogEvents"),
}
GENERAL = {
    *("logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"),
    *("ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"),
    *("ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"),
}
# By step: what its role may do, of all that can be given.
ACTIONS: dict[str, set[str]] = {
    "list_flows": WORK | LISTING | {"states:DescribeExecution"},
    "prepare": LOOK,
    "seed": ALL_S3 | LOOK | WORK,
    "trigger": LOOK | WORK | {"lambda:InvokeFunction"},
    "check_arrival": LOOK,
    "verify": JUDGE | {"s3:GetObjectTagging"},
    "ask": ALL_S3 | LOOK | WORK | {"s3:DeleteObject", "lambda:InvokeFunction"},
    "diagnose": JUDGE,
    "clean_up": LISTING | SECRET | {"s3:DeleteObject"},
    "record": WORK | {"cloudwatch:PutMetricData"},
    "notify": {
        *(WORK | LISTING | {"s3:DeleteObject"}),
        *("cloudwatch:PutMetricData", "sns:Publish", "secretsmanager:GetSecretValue"),
    },
}
# Only what has no ARN in AWS.
WITHOUT_RESOURCES = {
    "cloudwatch:PutMetricData",
    *("xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTraceSegments", "xray:PutTelemetryRecords"),
    *(action for action in GENERAL if action.startswith("ec2:")),
    *("logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies"),
    *("logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_function_may_do_what_its_step_does(everything: Plan, step: str) -> None:
    allowed = [each for each in everything.policy(step) if each["Effect"] == "Allow"]
    assert {action for each in allowed for action in each["Action"]} - GENERAL == ACTIONS[step]


def test_no_statement_names_everything_but_where_there_are_no_resources(everything: Plan, least: Plan) -> None:
    seen = 0
    for plan in (everything, least):
        policies = {
            name: values["policy"] for name, values in plan.resources.items() if name.startswith("aws_iam_role_policy.")
        }
        assert len(policies) == len(STEPS) + 2
        for policy in policies.values():
            for each in statements(policy):
                assert not [action for action in each["Action"] if "*" in action]
                if each["Effect"] == "Allow" and "*" in each["Resource"]:
                    assert set(each["Action"]) <= WITHOUT_RESOURCES
                    seen += 1
                for resource in each["Resource"]:
                    # An execution has a name of its own, which nobody knows beforehand.
                    named = resource.replace("/executions/*/contracts/*", "")
                    assert "*" not in named.removesuffix("*"), resource
    assert seen > 2


def test_nothing_is_allowed_that_was_not_given(least: Plan) -> None:
    for step in STEPS:
        for each in least.policy(step):
            own = {
                arn
                for arn in each["Resource"]
                if arn.startswith((RESULTS, "arn:aws:logs:", "arn:aws:sns:", "arn:aws:states:"))
            }
            assert set(each["Resource"]) == own or each["Action"] == ["cloudwatch:PutMetricData"], (step, each)
    assert {action for each in least.policy("check_arrival") for action in each["Action"]} == {
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    }


def granted(plan: Plan, step: str, action: str) -> set[str]:
    """Return where a step may do something in S3; a listing as the prefix in its bucket."""
    places = set()
    for each in plan.policy(step):
        if each["Effect"] == "Allow" and action in each["Action"]:
            prefixes = each.get("Condition", {}).get("StringLike", {}).get("s3:prefix", [""])
            listed = [prefixes] if isinstance(prefixes, str) else prefixes
            places |= {f"{arn}{prefix and f'?{prefix}'}" for arn in each["Resource"] for prefix in listed}
    return places


SOURCES = {"arn:aws:s3:::outbound/to/*", "arn:aws:s3:::outbound/other/*", "arn:aws:s3:::more/*"}
TARGETS = {"arn:aws:s3:::landing/from/*"}
WORK_FILES, OPEN_FILES = {f"{RESULTS}/executions/*"}, {f"{RESULTS}/open/*"}
PAYLOADS = {"arn:aws:s3:::samples/big/*"}


@pytest.mark.parametrize(
    ("step", "action", "places"),
    [
        ("list_flows", "s3:GetObject", WORK_FILES | OPEN_FILES | {f"{RESULTS}/config/*"}),
        ("list_flows", "s3:PutObject", WORK_FILES | OPEN_FILES),
        ("list_flows", "s3:ListBucket", {f"{RESULTS}?{folder}/*" for folder in ("config", "executions", "open")}),
        ("list_flows", "states:DescribeExecution", {f"arn:aws:states:{REGION}:{ACCOUNT}:execution:fileflow:*"}),
        ("prepare", "s3:GetObject", TARGETS | PAYLOADS | {f"{RESULTS}/executions/*/contracts/*"}),
        ("prepare", "s3:ListBucket", {
            *("arn:aws:s3:::samples?big/*", "arn:aws:s3:::landing?from/*", f"{RESULTS}?executions/*"),
        }),
        ("seed", "s3:PutObject", SOURCES | WORK_FILES),
        ("seed", "s3:GetObject", SOURCES | TARGETS | WORK_FILES | PAYLOADS),
        ("seed", "s3:ListBucket", {
            *("arn:aws:s3:::outbound?to/*", "arn:aws:s3:::outbound?other/*", "arn:aws:s3:::more?*"),
            *("arn:aws:s3:::samples?big/*", "arn:aws:s3:::landing?from/*"),
        }),
        ("check_arrival", "s3:GetObject", TARGETS),
        ("check_arrival", "s3:ListBucket", {"arn:aws:s3:::landing?from/*"}),
        ("verify", "s3:GetObject", SOURCES | TARGETS | PAYLOADS | {"arn:aws:s3:::landing/errors/*"}),
        ("verify", "s3:GetObjectTagging", TARGETS),
        ("verify", "s3:ListBucketVersions", {"arn:aws:s3:::landing?from/*"}),
        ("verify", "s3:ListBucketMultipartUploads", {"arn:aws:s3:::landing"}),
        ("clean_up", "s3:DeleteObject", SOURCES | TARGETS),
        ("ask", "s3:PutObject", SOURCES | TARGETS | WORK_FILES),
        ("diagnose", "s3:GetObject", SOURCES | TARGETS | PAYLOADS | {"arn:aws:s3:::landing/errors/*"}),
        ("diagnose", "logs:FilterLogEvents", {f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/mover:*"}),
        ("record", "s3:PutObject", {f"{RESULTS}/{folder}/*" for folder in ("results", "manifests", "executions")}),
        ("notify", "s3:PutObject", {f"{RESULTS}/state/*"}),
        ("notify", "s3:DeleteObject", OPEN_FILES),
        ("notify", "s3:ListBucket", {f"{RESULTS}?executions/*", f"{RESULTS}?state/*"}),
        ("notify", "sns:Publish", {TOPIC, f"arn:aws:sns:{REGION}:{ACCOUNT}:fileflow-alarms"}),
        ("notify", "secretsmanager:GetSecretValue", {SECRETS["webhook"]}),
        ("seed", "secretsmanager:GetSecretValue", {SECRETS["secret"]}),
        ("seed", "ssm:GetParameter", {SECRETS["parameter"]}),
        ("trigger", "lambda:InvokeFunction", {MOVER, f"{MOVER}:*"}),
        ("record", "logs:PutLogEvents", {f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/fileflow-record:*"}),
    ],
)  # fmt: skip
def test_it_may_do_so_where_it_was_told_to(everything: Plan, step: str, action: str, places: set[str]) -> None:
    assert granted(everything, step, action) == places


def test_names_may_have_a_beginning_in_common(module: Terraform, package: str) -> None:
    secrets, functions = SECRETS["secret"].replace("acme/sftp-a1b2c3", "sftp/*"), f"{MOVER}-*"
    plan = Plan(module.plan({"package": package, "secret_arns": [secrets], "transfer_function_arns": [functions]}))
    assert granted(plan, "seed", "secretsmanager:GetSecretValue") == {secrets}
    assert granted(plan, "trigger", "lambda:InvokeFunction") == {functions}
    assert granted(plan, "diagnose", "logs:FilterLogEvents") == {
        f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/mover-*:*"
    }
    assert "mover" not in plan.of("aws_cloudwatch_dashboard")["suite"]["dashboard_body"]


def test_more_than_a_role_can_hold_is_refused(module: Terraform, package: str) -> None:
    secrets = [SECRETS["secret"].replace("acme", f"partner-{number}") for number in range(150)]
    with pytest.raises(TerraformFailed) as refused:
        module.plan({"package": package, "secret_arns": secrets})
    assert "more than the 10,240 characters" in re.sub(r"[│╷╵\s]+", " ", str(refused.value))


def test_keys_serve_what_lies_in_a_service(everything: Plan) -> None:
    for step in STEPS:
        for each in everything.policy(step):
            if any(action.startswith("kms:") for action in each["Action"]):
                assert list(each["Condition"]["StringLike"]) == ["kms:ViaService"]
                assert each["Condition"]["StringLike"]["kms:ViaService"].endswith(".*.amazonaws.com")
                assert set(each["Resource"]) <= {KEY, OWN_KEY}
    (metrics,) = (each for each in everything.policy("record") if "cloudwatch:PutMetricData" in each["Action"])
    assert metrics["Condition"] == {"StringEquals": {"cloudwatch:namespace": "FileFlowTests"}}


def test_a_config_store_in_a_table_is_read_there_alone(module: Terraform, package: str) -> None:
    plan = Plan(module.plan({"package": package, "config_store": "dynamodb://flows", "config_kms_key_arn": KEY}))
    table = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/flows"
    assert (
        granted(plan, "list_flows", "dynamodb:Scan") == granted(plan, "list_flows", "dynamodb:BatchGetItem") == {table}
    )
    assert granted(plan, "list_flows", "dynamodb:Query") == {f"{table}/index/*"}
    assert granted(plan, "list_flows", "kms:Decrypt") == {KEY}
    assert granted(plan, "list_flows", "s3:GetObject") == WORK_FILES | OPEN_FILES
    environment = plan.of("aws_lambda_function")["list_flows"]["environment"][0]["variables"]
    assert environment["FILEFLOW_CONFIG"] == "dynamodb://flows"


def test_roles_are_for_their_service_within_the_boundary(everything: Plan) -> None:
    roles = everything.of("aws_iam_role")
    assert sorted(roles) == sorted((*STEPS, "machine", "scheduler"))
    services = {}
    for name, values in roles.items():
        assert values["permissions_boundary"] == EVERYTHING["permissions_boundary_arn"]
        if "assume_role_policy" in values:  # the scheduler's names its group by an ARN that is not known yet
            (trust,) = json.loads(values["assume_role_policy"])["Statement"]
            services[name] = trust["Principal"]["Service"]
    assert {services[step] for step in STEPS} == {"lambda.amazonaws.com"}
    assert services["machine"] == "states.amazonaws.com"
    (scheduler,) = statements(everything.resources["aws_iam_role_policy.scheduler"]["policy"])
    machine = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:fileflow"
    assert (scheduler["Action"], scheduler["Resource"]) == (["states:StartExecution"], [machine])


def test_what_knows_no_region_is_named_by_it(everything: Plan) -> None:
    """Roles and dashboards are those of the whole account: in a second region they would be there already."""
    named = [values["name"] for values in everything.of("aws_iam_role").values()]
    named += [values["dashboard_name"] for values in everything.of("aws_cloudwatch_dashboard").values()]
    assert len(named) == len(STEPS) + 3
    assert [name for name in named if not name.endswith(f"-{REGION}")] == []
    longest = "n" * 24, "ap-northeast-1"  # AWS: 64 letters of a role's name
    assert max(len(name) for name in named) - len("fileflow") - len(REGION) + sum(map(len, longest)) <= 64


def test_the_machine_may_invoke_the_functions_and_run_itself(everything: Plan) -> None:
    allowed = {
        action: each
        for each in statements(everything.resources["aws_iam_role_policy.machine"]["policy"])
        for action in each["Action"]
    }
    functions = {f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:fileflow-{step.replace('_', '-')}" for step in STEPS}
    assert set(allowed["lambda:InvokeFunction"]["Resource"]) == functions
    assert allowed["states:StartExecution"]["Resource"] == [f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:fileflow"]
    executions = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:fileflow"
    assert set(allowed["states:DescribeExecution"]["Resource"]) == {f"{executions}:*", f"{executions}/Cases:*"}
    assert allowed["s3:GetObject"]["Resource"] == [f"{RESULTS}/executions/*"]


def test_the_machine_is_that_which_is_tested(everything: Plan, least: Plan) -> None:
    (values,) = least.of("aws_sfn_state_machine").values()
    functions = arns(f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:fileflow")
    assert json.loads(values["definition"]) == definition(functions, max_concurrency=4)
    many = json.loads(everything.of("aws_sfn_state_machine")["suite"]["definition"])["States"]
    assert (many["RunFewCases"]["MaxConcurrency"], many["RunManyCases"]["MaxConcurrency"]) == (40, 100)


def test_the_machine_logs_errors_and_no_data_by_default(least: Plan, everything: Plan) -> None:
    (values,) = least.of("aws_sfn_state_machine").values()
    assert values["type"] == "STANDARD"
    (logging,) = values["logging_configuration"]
    assert (logging["level"], logging["include_execution_data"]) == ("ERROR", False)
    assert values["tracing_configuration"] == [{"enabled": False}]
    assert everything.of("aws_sfn_state_machine")["suite"]["tracing_configuration"] == [{"enabled": True}]


def test_functions_are_given_what_their_step_needs(least: Plan, everything: Plan) -> None:
    for step, values in least.of("aws_lambda_function").items():
        assert values["handler"] == f"pytest_fileflow.aws.{step}.handler"
        assert (values["runtime"], values["architectures"]) == ("python3.13", ["arm64"])
        assert 128 <= values["memory_size"] <= 10240
        assert values["timeout"] <= 900
        assert values["vpc_config"] == []
    place = f"s3://fileflow-results-{ACCOUNT}-{REGION}"
    told = {step: values["environment"][0]["variables"] for step, values in least.of("aws_lambda_function").items()}
    assert told["prepare"] == {"FILEFLOW_RESULTS": place}
    # What is not given is what the functions take by default.
    assert Settings.read(told["list_flows"]) == Settings(results=place, config=f"{place}/config")
    url = f"https://{REGION}.console.aws.amazon.com/cloudwatch/home?region={REGION}#dashboards:name=fileflow-{REGION}"
    assert Settings.read(told["notify"]) == Settings(results=place, report_url=url)
    functions = everything.of("aws_lambda_function")
    assert functions["verify"]["memory_size"] == 3072
    assert functions["verify"]["reserved_concurrent_executions"] == 10
    assert functions["seed"]["ephemeral_storage"] == [{"size": 2048}]
    assert functions["seed"]["vpc_config"][0]["subnet_ids"] == ["subnet-1"]
    variables = functions["list_flows"]["environment"][0]["variables"]
    assert variables["TZ"] == "UTC"
    settings = Settings.read(variables)
    assert (settings.environment, settings.settle_minutes) == ("prod", 20)
    assert settings.allow == ("s3://acme-*", "lambda:mover")
    assert settings.plugins == ("acme.checks", "acme.patterns")
    settings = Settings.read(functions["notify"]["environment"][0]["variables"])
    assert (settings.alerts, settings.cloudwatch, settings.remind_hours) == (False, True, 48)
    assert settings.report_url == "https://reports.acme.example"
    groups = everything.of("aws_cloudwatch_log_group")
    assert {groups[step]["name"] for step in STEPS} == {
        f"/aws/lambda/{values['function_name']}" for values in functions.values()
    }
    assert {values["kms_key_id"] for values in groups.values()} == {OWN_KEY}


def as_input(values: dict[str, Any]) -> dict[str, Any]:
    """Return a planned alarm as an input of PutMetricAlarm."""
    told = {
        "AlarmName": values["alarm_name"],
        "AlarmDescription": values["alarm_description"],
        "EvaluationPeriods": values["evaluation_periods"],
        "DatapointsToAlarm": values["datapoints_to_alarm"],
        "Threshold": float(values["threshold"]),
        "ComparisonOperator": values["comparison_operator"],
        "TreatMissingData": values["treat_missing_data"],
    }
    if values["metric_query"]:
        (query,) = values["metric_query"]
        named = {
            "Id": query["id"],
            "Expression": query["expression"],
            "Period": query["period"],
            "ReturnData": query["return_data"],
        }
        return {**told, "Metrics": [named]}
    one = {"Namespace": values["namespace"], "MetricName": values["metric_name"], "Statistic": values["statistic"]}
    return {**told, **one, "Period": values["period"]}


def test_alarms_on_runs_are_those_of_the_command(least: Plan, everything: Plan) -> None:
    for plan, hours in ((least, 26), (everything, 30)):
        made = {values["alarm_name"]: values for values in plan.of("aws_cloudwatch_metric_alarm").values()}
        wanted = {alarm["AlarmName"]: {**alarm, "Threshold": float(alarm["Threshold"])} for alarm in alarms(hours)}
        assert {name: as_input(made[name]) for name in wanted} == wanted
        others = set(made) - set(wanted)
        executions = {f"fileflow-execution-{what}" for what in ("failed", "timed-out", "aborted", "throttled")}
        flows = {f"fileflow-flow-failed-{flow}" for flow in (EVERYTHING["flow_ids"] if plan is everything else ())}
        assert others == executions | flows | {"fileflow-not-started"}


def test_a_flow_has_an_alarm_of_its_own(everything: Plan) -> None:
    values = everything.of("aws_cloudwatch_metric_alarm")["acme"]
    assert (values["metric_name"], values["dimensions"]) == ("RunSuccess", {"FlowId": "acme"})
    assert (values["comparison_operator"], values["threshold"]) == ("LessThanThreshold", 1)
    assert values["treat_missing_data"] == "notBreaching"


def test_the_dashboard_is_that_of_the_command_and_the_machine_below(everything: Plan) -> None:
    assert json.loads((MODULE / "dashboard.json").read_text()) == dashboard("REGION", ["LOG_GROUP"])
    (values,) = everything.of("aws_cloudwatch_dashboard").values()
    body = json.loads(values["dashboard_body"])
    groups = ["/aws/lambda/mover", *sorted(f"/aws/lambda/fileflow-{step.replace('_', '-')}" for step in STEPS)]
    wanted = dashboard(REGION, groups)
    number = len(wanted["widgets"])
    assert {**body, "widgets": body["widgets"][:number]} == wanted
    below = max(widget["y"] + widget["height"] for widget in wanted["widgets"])
    assert {widget["type"] for widget in body["widgets"][number:]} == {"metric"}
    assert min(widget["y"] for widget in body["widgets"][number:]) == below
    assert all(widget["x"] + widget["width"] <= 24 for widget in body["widgets"])


def test_the_table_is_that_of_the_command(least: Plan) -> None:
    table = least.of("aws_glue_catalog_table")["records"]
    place = f"s3://fileflow-results-{ACCOUNT}-{REGION}"
    create, _, view = ddl(place).partition(";\n")
    (storage,) = table["storage_descriptor"]
    assert table["name"] == TABLE
    assert {column["name"]: column["type"] for column in storage["columns"]} == COLUMNS
    assert [column["name"] for column in storage["columns"]] == list(COLUMNS)
    assert [(key["name"], key["type"]) for key in table["partition_keys"]] == re.findall(
        r"PARTITIONED BY \(`(\w+)` (\w+)\)", create
    )
    assert [storage["location"]] == re.findall(r"LOCATION '([^']+)'", create)
    (serde,) = storage["ser_de_info"]
    assert [serde["serialization_library"]] == re.findall(r"SERDE '([^']+)'", create)
    properties = dict(re.findall(r"'([^']+)' = '([^']+)'", create))
    assert {**table["parameters"], **serde["parameters"]} == {**properties, "EXTERNAL": "TRUE"}
    (wanted,) = re.findall(r"AS\n(SELECT .*);", view)
    shown = least.of("aws_glue_catalog_table")["runs"]
    assert shown["name"] == VIEW
    (text,) = re.findall(r"/\* Presto View: (\S+) \*/", shown["view_original_text"])
    told = json.loads(base64.b64decode(text))
    assert (told["originalSql"], told["schema"], shown["database_name"]) == (wanted, "fileflow", "fileflow")
    types = {column["name"]: column["type"] for column in told["columns"]}
    assert list(types) == [*COLUMNS, "dt"]
    assert (types["attempt"], types["run_id"], types["slo_seconds"], types["sandbox"]) == (
        "integer",
        "varchar",
        "double",
        "boolean",
    )
    assert types["file"] == "row(name varchar,size bigint,sha256 varchar)"
    assert types["phases_seconds"] == "map(varchar,double)"
    assert types["checks"] == "array(row(name varchar,outcome varchar,expected varchar,observed varchar))"
    assert not [kind for kind in types.values() if re.search(r"[<>:]|string|\bint\b", kind)]


def test_queries_are_bounded_and_their_results_expire(least: Plan) -> None:
    (workgroup,) = least.of("aws_athena_workgroup").values()
    (settings,) = workgroup["configuration"]
    assert settings["enforce_workgroup_configuration"] is True
    assert settings["bytes_scanned_cutoff_per_query"] == 10 * 1024**3
    assert settings["result_configuration"][0]["output_location"].endswith("/athena/")


def test_schedules_start_the_machine(least: Plan, everything: Plan, module: Terraform, package: str) -> None:
    told = least.of("aws_scheduler_schedule")
    shown = {
        name: (
            each["schedule_expression"],
            each["schedule_expression_timezone"],
            each["target"][0]["input"],
            each["state"],
        )
        for name, each in told.items()
    }
    assert shown == {
        "daily": ("cron(0 6 * * ? *)", "America/Los_Angeles", "{}", "ENABLED"),
        "canary": ("rate(1 hour)", "UTC", '{"cases":["canary"]}', "ENABLED"),
    }
    assert {each["flexible_time_window"][0]["mode"] for each in told.values()} == {"OFF"}
    assert {each["target"][0]["retry_policy"][0]["maximum_event_age_in_seconds"] for each in told.values()} == {3600}
    nightly = everything.of("aws_scheduler_schedule")["nightly"]
    assert (nightly["target"][0]["input"], nightly["state"]) == ('{"group":"nightly"}', "DISABLED")
    without = {"daily_schedule": None, "canary_schedule": None, "cloudwatch": False, "create_topic": False}
    plan = Plan(module.plan({"package": package, **without}))
    assert plan.of("aws_scheduler_schedule") == {}
    assert plan.of("aws_sns_topic") == {}
    assert {values["namespace"] for values in plan.of("aws_cloudwatch_metric_alarm").values()} == {
        "AWS/States",
        "AWS/Scheduler",
    }


def rules(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {rule["id"]: rule for rule in values["rule"]}


def test_a_schedule_may_name_many_flows(module: Terraform, package: str) -> None:
    told = json.dumps({"flow_id": [f"acme_{number}_sftp_to_s3" for number in range(40)]})
    given = {"schedules": {"most": {"expression": "rate(1 day)", "input": told}}}
    schedule = Plan(module.plan({"package": package, **given})).of("aws_scheduler_schedule")["most"]
    assert schedule["target"][0]["input"] == told
    assert len(schedule["description"]) == 512


def test_the_bucket_is_closed_and_forgets(least: Plan, everything: Plan) -> None:
    (block,) = least.of("aws_s3_bucket_public_access_block").values()
    names = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    assert all(block[name] is True for name in names)
    (policy,) = statements(next(iter(least.of("aws_s3_bucket_policy").values()))["policy"])
    assert (policy["Effect"], policy["Action"]) == ("Deny", ["s3:*"])
    assert set(policy["Resource"]) == {RESULTS, f"{RESULTS}/*"}
    assert policy["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    lifecycle = rules(least.of("aws_s3_bucket_lifecycle_configuration")["results"])
    days = {
        name: rule["expiration"][0]["days"]
        for name, rule in lifecycle.items()
        if rule["expiration"] and rule["expiration"][0].get("days")
    }
    assert days == {"results": 30, "manifests": 30, "executions": 7, "open": 7, "athena": 7, "synthetic": 3}
    assert lifecycle["synthetic"]["filter"][0]["tag"] == [{"key": "synthetic", "value": "true"}]
    others = rules(everything.of("aws_s3_bucket_lifecycle_configuration")["outbound"])
    assert others["fileflow-synthetic"]["expiration"][0]["days"] == 7
    (encryption,) = least.of("aws_s3_bucket_server_side_encryption_configuration").values()
    assert encryption["rule"][0]["apply_server_side_encryption_by_default"][0]["sse_algorithm"] == "AES256"
    (encryption,) = everything.of("aws_s3_bucket_server_side_encryption_configuration").values()
    assert encryption["rule"][0]["apply_server_side_encryption_by_default"][0]["kms_master_key_id"] == OWN_KEY
    assert least.of("aws_s3_bucket_object_lock_configuration") == {}
    (lock,) = everything.of("aws_s3_bucket_object_lock_configuration").values()
    assert lock["rule"][0]["default_retention"][0]["days"] == 5
    assert everything.of("aws_s3_bucket")["results"]["object_lock_enabled"] is True
    assert everything.of("aws_s3_object")["package"]["checksum_algorithm"] == "CRC32"


def test_in_a_vpc_only_https_and_the_servers_are_reached(everything: Plan) -> None:
    rules = everything.of("aws_vpc_security_group_egress_rule").values()
    reached = {(rule["cidr_ipv4"], rule["from_port"], rule["to_port"]) for rule in rules if rule.get("cidr_ipv4")}
    assert reached == {("0.0.0.0/0", 443, 443), ("198.51.100.10/32", 22, 22), ("203.0.113.20/32", 2222, 2222)}
    assert {values["service_name"].rpartition(".")[2] for values in everything.of("aws_vpc_endpoint").values()} == {
        *("secretsmanager", "kms", "s3")
    }
    assert not [rule for rule in rules if rule.get("prefix_list_id")]
    denied = [each for each in everything.policy("record") if each["Effect"] == "Deny"]
    assert [each["Condition"]["ArnEquals"]["lambda:SourceFunctionArn"].rpartition(":")[2] for each in denied] == [
        "fileflow-record"
    ]


def test_s3_is_reached_where_https_is_not(module: Terraform, package: str) -> None:
    given = {"vpc": EVERYTHING["vpc"], "https_cidrs": ["10.0.0.0/16"], "gateway_endpoints": ["s3", "dynamodb"]}
    rules = Plan(module.plan({"package": package, **given})).of("aws_vpc_security_group_egress_rule")
    assert {name: (rules[name]["prefix_list_id"][:3], rules[name]["to_port"]) for name in ("s3", "dynamodb")} == {
        "s3": ("pl-", 443),
        "dynamodb": ("pl-", 443),
    }


def test_each_service_that_a_function_speaks_to_can_have_an_endpoint() -> None:
    services = lambda_package.services(list(lambda_package.reached().values())) | {"sts"}
    named = {"cloudwatch": "monitoring", "stepfunctions": "states"}  # of endpoints, where botocore's is another
    allowed = re.findall(r"contains\((\[[^]]+\]), each\)\]\)", (MODULE / "variables.tf").read_text())
    told = {name for names in allowed if "secretsmanager" in names or "dynamodb" in names for name in json.loads(names)}
    assert told == {named.get(service, service) for service in services} | {"kms"}


def test_a_new_package_replaces_the_object_of_the_one_before(module: Terraform, least: Plan, tmp_path: Path) -> None:
    """Object Lock refuses to delete the one before, as another key would want it."""
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other.py", "")
    plan = Plan(module.plan({"package": str(other)}))
    before, after = (each.of("aws_s3_object")["package"] for each in (least, plan))
    assert before["key"] == after["key"] == "code/fileflow.zip"
    assert before["source_hash"] != after["source_hash"]
    functions = [each.of("aws_lambda_function")["seed"]["source_code_hash"] for each in (least, plan)]
    assert functions[0] != functions[1]


def test_more_variables_than_a_function_takes_are_refused_before(module: Terraform, package: str) -> None:
    given = {"allow": [f"s3://landing/partners/partner-{number}/inbox/" for number in range(150)]}
    with pytest.raises(TerraformFailed) as refused:
        module.plan({"package": package, **given})
    assert "A function takes 4 KB of environment variables" in re.sub(r"[│╷╵\s]+", " ", str(refused.value))


def scanner(name: str) -> str:
    """Return the path of a program that reads policies or modules; skips, or fails, the test where it is not here."""
    program = os.environ.get(f"FILEFLOW_{name.upper()}") or shutil.which(name)
    if program is None:
        reason = f"{name} is not here: install it in an environment of its own, and name it in FILEFLOW_{name.upper()}"
        (pytest.fail if os.environ.get("FILEFLOW_REQUIRE_TOOLS") else pytest.skip)(reason)
    return program


def scanned(folder: Path) -> dict[str, Any]:
    """Return what checkov says of a module, without what is suppressed there with a reason."""
    words = [scanner("checkov"), "--directory", str(folder), "--framework", "terraform", "--skip-download", "--quiet"]
    told = subprocess.run([*words, "--output", "json"], capture_output=True, text=True, timeout=300, check=False)
    report: dict[str, Any] = json.loads(told.stdout)
    return report


def test_a_security_scanner_finds_nothing(tmp_path: Path) -> None:
    found = scanned(MODULE)
    assert [f"{each['check_id']} {each['resource']}" for each in found["results"]["failed_checks"]] == []
    assert (found["summary"]["parsing_errors"], found["summary"]["passed"] > 150) == (0, True)
    skipped = [line for path in MODULE.glob("*.tf") for line in path.read_text().splitlines() if "checkov:skip" in line]
    assert len(skipped) > 10
    assert not [
        line for line in skipped if not re.search(r"#checkov:skip=CKV2?_AWS_\d+:[a-z].{15,}", line, re.IGNORECASE)
    ]
    # It does find what is wrong.
    folder = copied(tmp_path)
    path = folder / "bucket.tf"
    path.write_text(path.read_text().replace("block_public_policy     = true", "block_public_policy     = false"))
    failed = {each["check_id"] for each in scanned(folder)["results"]["failed_checks"]}
    assert "CKV_AWS_54" in failed


# What a linter of policies does not know: a key of Lambda's, that functions have no ARN for their network interfaces,
# and that a standard execution is meant where an action takes one of two kinds.
UNKNOWN = (
    "lambda:SourceFunctionArn",
    '"ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface"',
    '"states:DescribeExecution", "required_format": "arn:*:states:*:*:express:',
)


def linted(folder: Path) -> list[str]:
    words = [scanner("parliament"), "--directory", str(folder), "--json"]
    told = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in told.stderr, told.stderr
    return [line for line in told.stdout.splitlines() if not any(known in line for known in UNKNOWN)]


def test_a_linter_of_policies_knows_all_actions_and_their_resources(everything: Plan, tmp_path: Path) -> None:
    for step in (*STEPS, "machine", "scheduler"):
        name = f'function["{step}"]' if step in STEPS else step
        (tmp_path / f"{step}.json").write_text(everything.resources[f"aws_iam_role_policy.{name}"]["policy"])
    assert linted(tmp_path) == []
    # It does know.
    text = (tmp_path / "seed.json").read_text()
    (tmp_path / "seed.json").write_text(text.replace("s3:PutObjectTagging", "s3:PutObjectTag"))
    (line,) = linted(tmp_path)
    assert "UNKNOWN_ACTION" in line


def test_no_source_names_an_account_of_ones_own() -> None:
    texts: dict[Path, str] = {
        path: path.read_text() for path in sorted(MODULE.rglob("*.tf*")) if ".terraform" not in path.parts
    }
    accounts = {account for text in texts.values() for account in re.findall(r"\b\d{12}\b", text)}
    assert accounts <= {"123456789012", "1234567890ab"}
    assert not fnmatch.filter(map(str, texts), "*.tfstate*")
