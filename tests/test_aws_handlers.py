"""The functions' handlers over the sandbox: what they record is what a session records of the same flows."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pytest_fileflow.aws.state import MOST_BYTES, size_of
from pytest_fileflow.config import flow_loader
from pytest_fileflow.registry import Registry, register_builtin_checks, register_builtin_patterns
from pytest_fileflow.results.cloudwatch.publishing import Published
from pytest_fileflow.sandbox import Sandbox
from tests.support.alike import alike
from tests.support.one_process import OneProcess, forget_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RESULTS, CONFIG = "fileflow-results", "fileflow-configs"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:{}"
STOPPED = "arn:aws:states:us-east-1:123456789012:execution:m:stopped"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:{}"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox.start() as running, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "FILEFLOW_"))]:
            patch.delenv(name)
        for name, value in running.environment().items():
            patch.setenv(name, value)
        patch.setenv("FILEFLOW_RESULTS", f"s3://{RESULTS}/r")
        patch.setenv("FILEFLOW_CONFIG", f"s3://{CONFIG}/c")
        patch.setenv("FILEFLOW_SANDBOX", running.address)
        patch.setattr(boto3, "DEFAULT_SESSION", None)  # another test's, with other credentials
        patch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("tmp")))  # a function keeps copies there
        forget_host()
        yield running
        forget_host()


@pytest.fixture
def functions(sandbox: Sandbox) -> OneProcess:
    """Return the functions of a deployment whose buckets are empty."""
    s3 = boto3.client("s3")
    for bucket in (RESULTS, CONFIG):
        s3.create_bucket(Bucket=bucket)
        for key in keys(bucket):
            s3.delete_object(Bucket=bucket, Key=key)
    return OneProcess()


def keys(bucket: str) -> list[str]:
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [found["Key"] for page in pages for found in page.get("Contents", ())]


def records() -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for key in keys(RESULTS):
        if key.endswith("/run.json"):
            record = json.loads(boto3.client("s3").get_object(Bucket=RESULTS, Key=key)["Body"].read())
            found[record["flow_id"], record["case"]] = record
    return found


def push(flows: list[dict[str, Any]], sandbox: Sandbox | None, folder: Path) -> None:
    """Put flows into the config store, and make in the sandbox what they name, as a session does."""
    text = json.dumps({"flows": flows})
    boto3.client("s3").put_object(Bucket=CONFIG, Key="c/flows/all.json", Body=text)
    if sandbox is not None:
        file = folder / "provisioned.json"
        file.write_text(text)
        registry = Registry()
        register_builtin_patterns(registry)
        register_builtin_checks(registry)
        loader = flow_loader(sandbox=True, patterns=registry.size_problems(), checks=registry.checks())
        sandbox.provision(loader.load(file, file.name))


def flow(flow_id: str, source: dict[str, Any], target: dict[str, Any], **more: Any) -> dict[str, Any]:
    told = {"flow_id": flow_id, "source": source, "target": target, "testdata": {"size_bytes": 100_000}}
    return {**told, "validation": {"expect_within_seconds": 30}, **more}


def s3(bucket: str, prefix: str) -> dict[str, Any]:
    return {"type": "S3", "bucket": bucket, "prefix": prefix}


def sftp(flow_id: str, directory: str) -> dict[str, Any]:
    told = {"type": "SFTP", "host": "sftp.partner.example", "username": flow_id}
    return {**told, "dir": f"/{flow_id}{directory}", "secret_arn": SECRET.format(flow_id)}


def invoked(flow_id: str, function: str = "mover", **more: Any) -> dict[str, Any]:
    return {"lambda_arn": ARN.format(function), "payload": {"id": flow_id, "key": "${source.key}"}, **more}


def of_all_kinds() -> list[dict[str, Any]]:
    rows = {"pattern": "csv", "header": True, "delimiter": ";", "size_bytes": 20_000, "wrap": ["gzip"]}
    return [
        flow(
            "s3_to_sftp",
            *(s3("acme-source", "a"), sftp("s3_to_sftp", "/in")),
            transfer=invoked("s3_to_sftp"),
            negative=["wrong_key", "bad_payload"],
            testdata=rows,
        ),
        flow("sftp_to_s3", sftp("sftp_to_s3", "/out"), s3("acme-target", "b"), transfer={"mode": "event"}),
        flow(
            "s3_to_s3",
            *(s3("acme-source", "c"), s3("acme-target", "c")),
            transfer=invoked("s3_to_s3", invocation="RequestResponse"),
        ),
        flow(
            "sftp_to_sftp",
            *(sftp("sftp_to_sftp", "/out"), sftp("sftp_to_sftp", "/in")),
            transfer={"mode": "trigger_file"},
            testdata={"size_bytes": 1000, "awkward": ["spaces", "unicode"]},
        ),
        flow(
            "bent",
            *(s3("acme-source", "d"), s3("acme-target", "d")),
            transfer=invoked("bent"),
            sandbox={"faults": ["bit_flip"]},
        ),
        flow(
            "failing",
            *(s3("acme-source", "e"), sftp("failing", "/in")),
            transfer=invoked("failing", invocation="RequestResponse"),
            sandbox={"faults": ["function_error"]},
        ),
        flow(
            "locked",
            *(s3("acme-source", "f"), sftp("locked", "/in")),
            transfer=invoked("locked"),
            sandbox={"faults": ["rejected_key"]},
        ),
    ]


def by_pytest(flows: list[dict[str, Any]], folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the records of a session that runs flows in a sandbox of its own, by flow id and case."""
    (folder / "flows").mkdir()
    (folder / "flows" / "all.json").write_text(json.dumps({"flows": flows}))
    command = [sys.executable, "-m", "pytest", "-q", "flows", "--fileflow-sandbox", "--fileflow-results", "results"]
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "FILEFLOW_"))}
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    found = [json.loads(file.read_text()) for file in (folder / "results").rglob("run.json")]
    return {(record["flow_id"], record["case"]): record for record in found}


def test_each_record_is_the_one_that_a_session_writes_of_the_same_case(functions, sandbox, tmp_path):
    flows = of_all_kinds()
    push(flows, sandbox, tmp_path)
    summary = functions.execute("one")
    assert summary["is_complete"] is True, summary
    assert (summary["runs"], summary["failed"], summary["errors"], summary["unrecorded"]) == (16, 4, 0, 0), summary
    mine, theirs = records(), by_pytest(flows, tmp_path)
    assert mine.keys() == theirs.keys()
    for key, record in mine.items():
        assert alike(record) == alike(theirs[key]), key
    assert {key: record["cause"] for key, record in mine.items() if record["cause"]} == {
        ("bent", "100KB"): "content.corrupt",
        ("failing", "100KB"): "trigger.function_error",
        ("locked", "contract"): "auth.rejected",
        ("locked", "100KB"): "auth.rejected",
    }
    assert mine["locked", "100KB"]["reason"].startswith("not sent: the contract failed: ")
    assert mine["locked", "100KB"]["evidence"]["contract_run_id"] == mine["locked", "contract"]["run_id"]
    assert {key for key, record in mine.items() if record["residue"]} <= {
        ("locked", "contract")
    }  # nobody gets in there
    assert keys("acme-source") == keys("acme-target") == []
    for line in functions.lines:
        assert line.keys() >= {"timestamp", "level", "message", "logger", "step", "execution"}
        if line["step"] not in ("list_flows", "notify"):
            assert (line["flow_id"], line["test_run_id"]) in {
                (flow_id, record["run_id"]) for (flow_id, _), record in mine.items()
            }
    assert {line["step"] for line in functions.lines} >= {"list_flows", "prepare", "seed", "trigger", "ask", "record"}
    assert "Authentication" not in json.dumps(functions.lines)
    assert max(map(size_of, functions.states)) <= MOST_BYTES
    canaries = functions.execute("two", {"flow_id": "s3_to_sftp", "cases": "canary"})
    assert (canaries["runs"], canaries["passed"]) == (1, 1), canaries
    metrics = boto3.client("cloudwatch").list_metrics(Namespace="FileFlowTests")["Metrics"]
    names = {(metric["MetricName"], *(each["Value"] for each in metric["Dimensions"])) for metric in metrics}
    assert {("RunSuccess", "bent"), ("CanarySuccess", "s3_to_sftp"), ("SuiteRuns",), ("CanaryFailures",)} <= names


def test_a_function_that_has_run_before_meets_the_faults_of_now(functions, sandbox, tmp_path):
    def passes(execution: str, *faults: str) -> bool:
        ends = (sftp("switched", "/out"), s3("acme-target", "switched"))
        push([flow("switched", *ends, sandbox={"faults": list(faults)})], sandbox, tmp_path)
        return functions.execute(execution, {"cases": "canary"})["passed"] == 1

    assert passes("well")
    assert not passes("locked", "source.rejected_key")
    assert passes("well again")


LEAKS = """
def handler(event, context):
    print("logging in with {part}")
    raise ValueError("the server refused {part}")
"""


def test_a_secret_that_the_function_tells_is_in_no_state_log_or_record(functions, sandbox, tmp_path):
    """The trigger of this flow logs in nowhere by itself: it has to read the secret in order to hide it."""
    ends = (sftp("leaky", "/out"), s3("acme-target", "leaky"))
    push([flow("leaky", *ends, transfer={"mode": "event"})], sandbox, tmp_path)
    push([flow("leaky", *ends, transfer=invoked("leaky", "leaky", invocation="RequestResponse"))], None, tmp_path)
    answer = boto3.client("secretsmanager").get_secret_value(SecretId=SECRET.format("leaky"))
    part = json.loads(answer["SecretString"])["privateKey"].splitlines()[1]  # nothing shows that it is of a key
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("leaks.py", LEAKS.format(part=part))
    boto3.client("iam").create_role(
        RoleName="leaky", AssumeRolePolicyDocument='{"Version": "2012-10-17", "Statement": []}'
    )
    boto3.client("lambda").create_function(
        FunctionName="leaky",
        Role="arn:aws:iam::123456789012:role/leaky",
        Runtime=f"python{sys.version_info.major}.{sys.version_info.minor}",
        Handler="leaks.handler",
        Code={"ZipFile": archive.getvalue()},
        Timeout=30,
    )
    functions.execute("one", {"cases": "transfer"})
    record = records()["leaky", "100KB"]
    assert record["cause"] == "trigger.function_error", record
    assert "the server refused" in record["reason"]
    assert "logging in with" in record["evidence"]["log_tail"]
    told = json.dumps([record, functions.states, functions.lines])
    told += "".join(
        boto3.client("s3").get_object(Bucket=RESULTS, Key=each)["Body"].read().decode() for each in keys(RESULTS)
    )
    assert part not in told


def test_a_change_is_told_once_however_often_it_is_counted(functions, sandbox, tmp_path):
    bent = flow(
        "bent",
        *(s3("acme-source", "f"), s3("acme-target", "f")),
        transfer=invoked("bent"),
        sandbox={"faults": ["bit_flip"]},
        alerts={"slack_webhook_secret_arn": SECRET.format("chat")},
    )
    push([bent], sandbox, tmp_path)
    before = len(sandbox.webhook_posts())
    first = functions.execute("one", {"cases": "transfer"})
    assert (first["failed"], first["failures"]) == (1, ["bent[100KB] content.corrupt"])
    assert first["troubles"] == []
    assert len(sandbox.webhook_posts()) == before + 1
    told = {"execution": {"id": "x", "name": "one", "started": "2026-11-27T06:00:00.000Z"}}
    again = functions.call("notify", told)  # the state machine tries a step again whose answer was lost
    assert again == first
    functions.execute("two", {"cases": "transfer"})
    assert len(sandbox.webhook_posts()) == before + 1


def test_a_run_without_a_record_and_a_broken_config_make_the_suite_incomplete(functions, sandbox, tmp_path):
    fine = [flow(f"fine_{number}", s3("acme-source", f"g{number}"), s3("acme-target", f"g{number}")) for number in "12"]
    push(fine, sandbox, tmp_path)
    boto3.client("s3").put_object(Bucket=CONFIG, Key="c/flows/bad.json", Body='{"flow_id": "bad", "sorce": {}}')

    def lost(step: str, state: dict[str, Any]) -> dict[str, Any] | None:
        return None if step == "record" and state["case"]["flow"]["flow_id"] == "fine_1" else state

    summary = functions.execute("one", {"cases": "contract"}, lost)
    assert summary["is_complete"] is False
    assert (summary["runs"], summary["passed"], summary["unrecorded"]) == (1, 1, 1)
    assert summary["without_record"] == ["fine_1[contract]"]
    assert summary["broken"] == len(summary["problems"]) >= 1
    assert all("bad.json" in line for line in summary["problems"])
    assert functions.lines[-1]["level"] == "ERROR"
    boto3.client("s3").delete_object(Bucket=CONFIG, Key="c/flows/bad.json")


def test_what_cannot_be_known_of_stopped_executions_keeps_no_flow_from_being_run(functions, sandbox, tmp_path):
    push([flow("acme", s3("acme-source", "l"), s3("acme-target", "l"))], sandbox, tmp_path)
    boto3.client("s3").put_object(Bucket=RESULTS, Key="r/open/garbled.json", Body=b"{")
    summary = functions.execute("one", {"cases": "contract"})
    assert (summary["is_complete"], summary["passed"]) == (True, 1)
    assert len(summary["troubles"]) == 1
    assert summary["troubles"][0].startswith(
        "what stopped executions have left is not known: unexpected JSONDecodeError"
    )


def test_what_a_stopped_execution_has_left_is_cleaned_up_and_counts_for_nothing_else(
    functions, sandbox, tmp_path, monkeypatch
):
    """A suite that was stopped must not look as if it had run, just since the hourly canary cleans up after it."""
    push([flow("acme", s3("acme-source", "o"), s3("acme-target", "o"))], sandbox, tmp_path)
    told = {"request": {"cases": "transfer"}, "execution": {"id": STOPPED, "name": "stopped", "started": "now"}}
    listed = functions.call("list_flows", told)
    state = {"case": listed["items"][0], "execution": listed["execution"]}
    for step in ("prepare", "seed"):
        state = functions.call(step, state)
    assert len(keys("acme-source")) == 3

    published: list[str] = []
    monkeypatch.setattr(
        "pytest_fileflow.aws.notify.publish",
        lambda data, clients, now: published.extend(datum["MetricName"] for datum in data) or Published(len(data)),
    )
    summary = functions.execute("next", {"cases": "canary"})
    assert (summary["runs"], summary["settled"], summary["errors"], summary["is_complete"]) == (1, 1, 0, True), summary
    assert published == ["CanaryFailures"]
    assert keys("acme-source") == keys("acme-target") == []
    assert records()["acme", "100KB"]["cause"] == "tester.interrupted"
    assert not [key for key in keys(RESULTS) if key.startswith("r/open/")]


def test_an_execution_counts_its_own_runs_and_not_those_of_an_older_one_of_its_name(functions, sandbox, tmp_path):
    push([flow("acme", s3("acme-source", "m"), s3("acme-target", "m"))], sandbox, tmp_path)
    assert functions.execute("one", {"cases": ["contract", "canary"]})["runs"] == 2
    assert functions.execute("one", {"cases": "canary"}, started="2027-03-01T06:00:00Z")["runs"] == 1


def test_an_allow_list_that_cannot_be_read_ends_the_execution_at_once(functions, sandbox, tmp_path, monkeypatch):
    push([flow("acme", s3("acme-source", "n"), s3("acme-target", "n"))], sandbox, tmp_path)
    monkeypatch.setenv("FILEFLOW_ALLOW", "ftp://x")
    forget_host()
    try:
        with pytest.raises(Exception, match=r"^FILEFLOW_ALLOW: "):
            functions.execute("one")
        monkeypatch.setenv("FILEFLOW_ALLOW", "s3://acme-source/\ns3://else/")
        forget_host()
        summary = functions.execute("two")
    finally:
        monkeypatch.delenv("FILEFLOW_ALLOW")
        forget_host()
    assert summary["failures"] == ["acme[contract] config.not_allowed", "acme[100KB] config.not_allowed"]


def test_each_step_may_be_done_twice(functions, sandbox, tmp_path):
    """As the state machine does where an answer was lost: with what went into the first try."""
    ends = (s3("acme-source", "h"), s3("acme-target", "h"))
    told = [
        flow("twice", *ends, transfer=invoked("twice"), testdata={"size_bytes": 1000}),
        flow("event", sftp("event", "/out"), s3("acme-target", "i"), testdata={"size_bytes": 1000}),
    ]
    push(told, sandbox, tmp_path)

    def again(step: str, state: dict[str, Any]) -> dict[str, Any]:
        functions.call(step, state)
        return state

    summary = functions.execute("one", meanwhile=again)
    assert (summary["is_complete"], summary["runs"], summary["passed"]) == (True, 4, 4), summary
    assert len([key for key in keys(RESULTS) if key.endswith("/run.json")]) == 4
    assert keys("acme-source") == keys("acme-target") == []
    for record in records().values():
        assert record["residue"] == []
        if record["kind"] == "transfer":
            assert [check["observed"] for check in record["checks"] if check["name"] == "copies"] == ["1 copy"]


def test_a_record_of_a_run_that_nobody_could_judge_is_the_same_at_every_try(functions, sandbox, tmp_path):
    push([flow("killed", s3("acme-source", "j"), s3("acme-target", "j"))], sandbox, tmp_path)
    listed = functions.call(
        "list_flows", {"request": {"cases": "transfer"}, "execution": {"id": "x", "name": "one", "started": "now"}}
    )
    error = {"Error": "Lambda.Unknown", "Cause": "killed"}
    state = {"case": listed["items"][0], "execution": listed["execution"], "error": error}
    assert [functions.call("record", state) for _ in range(3)] == [{"outcome": "error"}] * 3
    assert records()["killed", "100KB"]["cause"] == "tester.step_failed"
    assert functions.call("notify", {"execution": listed["execution"]})["is_complete"] is True


def test_what_an_execution_cannot_do_is_raised_in_our_own_words(functions, sandbox, tmp_path):
    push([flow("acme", s3("acme-source", "k"), s3("acme-target", "k"))], sandbox, tmp_path)
    execution = {"id": "x", "name": "one", "started": "now"}
    with pytest.raises(Exception, match="there is no flow 'acmee'; did you mean 'acme'\\?") as raised:
        functions.call("list_flows", {"request": {"flow_id": "acmee"}, "execution": execution})
    assert type(raised.value).__name__ == "ConfigInvalid"
    with pytest.raises(Exception, match="s3://fileflow-results/r/executions/never/suite") as raised:
        functions.call("notify", {"execution": {**execution, "name": "never"}})
    assert type(raised.value).__name__ == "ResultsStoreFailed"
    with pytest.raises(Exception, match="unexpected KeyError") as raised:
        functions.call("seed", {})
    assert type(raised.value).__name__ == "TesterBug"
