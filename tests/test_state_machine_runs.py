"""The state machine, executed: its functions run as processes, from the package that a user deploys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pytest_fileflow.sandbox import Sandbox
from tests.support.account import OLDEST, RESULTS, ROLE, RUNTIME, Account, build_package
from tests.support.alike import alike
from tests.support.flows import provision
from tests.support.openssh import OpenSsh

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.version_info < OLDEST, reason="functions run on Python 3.12 and later")

MOVER = "arn:aws:lambda:us-east-1:123456789012:function:mover"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:partner"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_package(tmp_path_factory.mktemp("package"))


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    with Sandbox.start() as sandbox:
        variables = sandbox.environment()
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        session = boto3.Session(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"])
        yield Account(sandbox, session)


def flow(flow_id: str, source: dict[str, Any], target: dict[str, Any], **more: Any) -> dict[str, Any]:
    told = {"flow_id": flow_id, "source": source, "target": target, "testdata": {"size_bytes": 300_000}}
    return {**told, "validation": {"expect_within_seconds": 60}, **more}


def s3(bucket: str, prefix: str = "in") -> dict[str, Any]:
    return {"type": "S3", "bucket": bucket, "prefix": prefix}


def sftp(directory: str = "/in", host: str = "sftp.partner.example") -> dict[str, Any]:
    return {"type": "SFTP", "host": host, "username": "acme", "dir": directory, "secret_arn": SECRET}


def test_four_directions_over_real_servers(account, package, tmp_path):
    with OpenSsh() as server:
        folders = {name: server.directory(name) for name in ("out", "in", "left", "right")}
        account.client("secretsmanager").create_secret(
            Name="partner", SecretString=json.dumps({"privateKey": server.private_key})
        )

        def at(name: str) -> dict[str, Any]:
            place = vars(server.location(folders[name]))
            kept = ("host", "port", "username", "dir", "host_key")
            return {"type": "SFTP", "secret_arn": "partner", **{key: place[key] for key in kept}}

        for bucket in ("acme-source", "acme-target"):
            account.client("s3").create_bucket(Bucket=bucket)
        account.deploy(package)
        _deploy_mover(account, package, tmp_path)
        told = {"source": "${source.uri}", "target": "${target.uri}", "run_id": "${run_id}"}
        transfer = {"lambda_arn": MOVER, "payload": told}
        ends = {
            "s3_to_sftp": (s3("acme-source"), at("in")),
            "sftp_to_s3": (at("out"), s3("acme-target")),
            "s3_to_s3": (s3("acme-source", "copy"), s3("acme-target", "copy")),
            "sftp_to_sftp": (at("left"), at("right")),
        }
        account.push(*(flow(flow_id, *places, transfer=transfer) for flow_id, places in ends.items()))
        ended = account.execute()
        assert ended.status == "SUCCEEDED", ended
        assert ended.output is not None
        assert (ended.output["runs"], ended.output["passed"]) == (8, 8), ended.output
        records = account.records()
        assert {key for key in records if key[1] != "contract"} == {(flow_id, "300KB") for flow_id in ends}
        for flow_id in ends:
            record = records[flow_id, "300KB"]
            assert record["observed"]["sha256"] == record["file"]["sha256"]
            assert {"begun", "prepared", "seeded", "triggered", "started", "arrived", "verified", "cleaned"} == set(
                record["timeline"]
            )
            assert 0 < record["latency_seconds"] < 60
        assert [path for folder in folders.values() for path in folder.iterdir()] == []
        assert [account.keys(bucket) for bucket in ("acme-source", "acme-target")] == [[], []]


def _deploy_mover(account: Account, package: Path, folder: Path) -> None:
    """Deploy the transfer, with the libraries of the functions' package."""
    from tests.support import mover

    made = folder / "mover.zip"
    made.write_bytes(package.read_bytes())
    with zipfile.ZipFile(made, "a") as archive:
        archive.write(mover.__file__, "mover.py")
    account.client("lambda").create_function(
        FunctionName="mover",
        Role=ROLE,
        Runtime=f"python{RUNTIME}",
        Handler="mover.handler",
        Code={"ZipFile": made.read_bytes()},
        Timeout=60,
    )


CAUSES = {
    "lost": ("lose", "missing.lost"),
    "half": ("truncate", "partial.truncated"),
    "bent": ("bit_flip", "content.corrupt"),
    "failing": ("function_error", "trigger.function_error"),
    "twice": ("duplicate", "duplicate"),
    "locked": ("rejected_key", "auth.rejected"),
}


def flows_with_faults() -> list[dict[str, Any]]:
    made = []
    for flow_id, (fault, _) in CAUSES.items():
        ends = (s3("acme-source", flow_id), sftp(f"/{flow_id}") if flow_id == "locked" else s3("acme-target", flow_id))
        transfer = {"lambda_arn": MOVER, "invocation": "RequestResponse" if flow_id == "failing" else "Event"}
        told = flow(flow_id, *ends, transfer={**transfer, "payload": {"flow": flow_id}}, sandbox={"faults": [fault]})
        # Only what never comes whole is waited for to the end; a function that is called may be slow to start.
        rules = {"expect_within_seconds": 30 if flow_id == "failing" else 6, "grace_seconds": 1}
        made.append({**told, "validation": rules})
    slow = flow("slow", s3("acme-source", "slow"), s3("acme-target", "slow"), sandbox={"faults": ["delay:7"]})
    return [*made, slow, flow("fine", sftp("/out"), s3("acme-target", "fine"))]


def test_the_same_causes_as_in_a_session(account, package, tmp_path):
    flows = flows_with_faults()
    account.deploy(package, SANDBOX=account.sandbox.address, max_concurrency=20)
    account.push(*flows)
    provision(account.sandbox, flows, tmp_path)
    ended = account.execute({"cases": "transfer"})
    assert ended.status == "SUCCEEDED", ended
    records = account.records()
    causes = {flow_id: record["cause"] for (flow_id, _), record in records.items()}
    assert causes == {**{flow_id: cause for flow_id, (_, cause) in CAUSES.items()}, "slow": None, "fine": None}
    looks = [
        event
        for event in account.events(ended)
        if event.get("stateEnteredEventDetails", {}).get("name") == "CheckArrival"
    ]
    assert len(looks) > len(flows)  # some were waited for
    in_session = _run_by_pytest(flows, tmp_path)
    assert records.keys() == in_session.keys()
    for key, record in records.items():
        assert alike(record) == alike(in_session[key])


def _run_by_pytest(flows: list[dict[str, Any]], folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the records of a session that runs flows in a sandbox of its own, by flow id and case."""
    (folder / "flows").mkdir()
    (folder / "flows" / "all.json").write_text(json.dumps({"flows": flows}))
    options = ("--fileflow-sandbox", "--fileflow-results", "results", "-k", "not contract", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", "-q", "flows", *options]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 1, done.stdout
    records = [json.loads(file.read_text()) for file in (folder / "results").rglob("run.json")]
    return {(record["flow_id"], record["case"]): record for record in records}


def test_two_hundred_flows_in_executions_of_their_own(account, package, tmp_path):
    flows = [
        flow(f"flow_{number:03}", s3("acme-source", f"{number}"), s3("acme-target", f"{number}"))
        for number in range(200)
    ]
    small = [{**told, "testdata": {"size_bytes": 1000}} for told in flows]
    account.deploy(package, SANDBOX=account.sandbox.address, max_concurrency=40)
    account.push(*small)
    provision(account.sandbox, small, tmp_path)
    ended = account.execute({"cases": ["transfer"]}, name="many")
    assert ended.status == "SUCCEEDED", ended
    assert ended.output is not None
    assert (ended.output["runs"], ended.output["passed"], ended.output["unrecorded"]) == (200, 200, 0)
    assert len(account.records()) == 200
    assert account.keys("acme-source") == account.keys("acme-target") == []
    names = {event.get("stateEnteredEventDetails", {}).get("name") for event in account.events(ended)}
    assert "RunManyCases" in names
    assert "RunFewCases" not in names
    assert not [key for key in account.keys(RESULTS) if key.startswith("r/open/")]


def test_what_a_stopped_execution_has_left_is_cleaned_up_by_the_next(account, package, tmp_path):
    flows = [flow("stuck", s3("acme-source"), s3("acme-target"), sandbox={"faults": ["drop"]})]
    account.deploy(package, SANDBOX=account.sandbox.address, SETTLE_MINUTES="0")
    account.push(*flows)
    provision(account.sandbox, flows, tmp_path)
    first = account.start({"cases": "transfer"}, name="first")
    account.wait_for(lambda: any("begun" in key for key in account.keys(RESULTS)) and account.keys("acme-source"))
    account.client("stepfunctions").stop_execution(executionArn=first)
    second = account.execute({"cases": "contract"}, name="second")
    assert second.status == "SUCCEEDED", second
    records = account.records()
    assert records["stuck", "300KB"]["cause"] == "tester.interrupted"
    assert "(first)" in records["stuck", "300KB"]["reason"]
    assert records["stuck", "300KB"]["residue"] == []
    assert account.keys("acme-source") == []
    assert not [key for key in account.keys(RESULTS) if key.startswith("r/open/")]


def test_where_the_flows_cannot_be_listed_the_execution_says_why(account, package):
    account.deploy(package, SANDBOX=account.sandbox.address)
    account.push(flow("fine", s3("acme-source"), s3("acme-target")))
    ended = account.execute({"group": "nightly"})
    assert (ended.status, ended.error.partition(":")[0]) == ("FAILED", "NotListed")
    assert "there is no groups/nightly.json" in ended.error


def test_one_broken_config_keeps_nobody_from_being_run_and_fails_the_execution(account, package, tmp_path):
    flows = [flow("fine", s3("acme-source"), s3("acme-target"))]
    account.deploy(package, SANDBOX=account.sandbox.address)
    account.push(*flows)
    account.push({"flow_id": "bad", "sorce": {}}, name="flows/bad.json")
    provision(account.sandbox, flows, tmp_path)
    ended = account.execute()
    assert (ended.status, ended.error.partition(":")[0]) == ("FAILED", "Incomplete")
    assert {key: record["outcome"] for key, record in account.records().items()} == {
        ("fine", "contract"): "passed",
        ("fine", "300KB"): "passed",
    }


def test_pages_and_queries_read_the_records(account, package, tmp_path, monkeypatch):
    flows = [flow("fine", s3("acme-source"), s3("acme-target"))]
    account.deploy(package, SANDBOX=account.sandbox.address)
    account.push(*flows)
    provision(account.sandbox, flows, tmp_path)
    assert account.execute().status == "SUCCEEDED"
    place = f"s3://{RESULTS}/r"
    told = _fileflow("history", place, "--sandbox", "--no-rollup", "--json", cwd=tmp_path)
    assert json.loads(told.stdout)["flows"][0]["flow_id"] == "fine", told
    page = _fileflow("report", place, "--sandbox", "--no-rollup", "-o", "page.html", cwd=tmp_path)
    assert page.returncode == 0, page
    assert "fine" in (tmp_path / "page.html").read_text()


def _fileflow(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_fileflow.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
