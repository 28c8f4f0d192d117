"""Sessions whose results go to S3 and DynamoDB over HTTP: stores that deny, throttle and vanish change no verdict."""

from __future__ import annotations

import json
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import boto3
import pytest

from pytest_fileflow import cli, clients
from pytest_fileflow.plugin import SESSION
from pytest_fileflow.results import bucket
from tests.support.answers import Answer, AnswerServer
from tests.support.inner import CONFTEST, flow
from tests.support.s3server import MotoServer
from tests.support.stores import BUCKET, TABLE, interrupted, items, keys, make_places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PLACE = f"s3://{BUCKET}/daily"
TO_BUCKET = ("flows", "--fileflow-results", PLACE)
PATIENT = """
from pytest_fileflow import clients
from pytest_fileflow.results import bucket

clients.BRISK_READ_SECONDS = bucket.WRITE_SECONDS = 60
"""
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@pytest.fixture(autouse=True)
def patient(suite, monkeypatch):
    """A machine that is busy must not look like a store that is down, in a process of its own neither."""
    monkeypatch.setattr(clients, "BRISK_READ_SECONDS", 60)
    monkeypatch.setattr(bucket, "WRITE_SECONDS", 60)
    suite.pytester.makeconftest(CONFTEST + PATIENT)


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as server:
        yield server


@pytest.fixture
def server(moto, monkeypatch) -> MotoServer:
    aim(monkeypatch, moto)
    moto.reset()
    make_places()
    return moto


def aim(monkeypatch, server: MotoServer, **more: str) -> None:
    for name, value in {**server.environment, **more}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def closed() -> Iterator[str]:
    """The URL of a port that nobody listens on, nor can take meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def elsewhere(url: str) -> MotoServer:
    """Return the settings of a server at another address."""
    server = MotoServer()
    server.url = url
    return server


def quick(flow_id: str, behaviour: str = "copy") -> dict[str, object]:
    """Return a flow that takes no time, and may take as long as a busy machine lets it."""
    return flow(flow_id, behaviour, validation={"expect_within_seconds": 60})


def records_in_bucket() -> dict[str, str]:
    """Return the outcome of each run that is recorded in the bucket, by flow."""
    client, found = boto3.client("s3"), {}
    for key in keys("daily/results/"):
        if key.endswith("/run.json"):
            record = json.loads(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())
            found[record["flow_id"]] = record["outcome"]
    return found


def left(suite) -> list[Path]:
    """Return what lies in the local folder, which is for what waits alone."""
    return list((suite.path / "fileflow-results").rglob("*"))


def waiting(suite) -> list[Path]:
    return list((suite.path / "fileflow-results" / "spool").glob("*/*.json"))


@pytest.fixture
def upload(suite, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Return what runs ``fileflow upload`` in the suite's folder: its status, and what it says."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(suite.path)
        capsys.readouterr()
        return cli.main(["upload", *arguments]), *capsys.readouterr()

    return call


def test_records_go_to_a_bucket_and_a_table_and_to_no_folder(suite, server, workers):
    for flow_id in ("a", "b"):
        suite.add(f"flows/{flow_id}.json", quick(flow_id))
    suite.add("flows/c.json", quick("c", "error"))
    result = suite.run_apart(*TO_BUCKET, "--fileflow-results", f"dynamodb://{TABLE}", *workers)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines([f"records: {PLACE}, dynamodb://{TABLE}"])
    assert records_in_bucket() == {"a": "passed", "b": "passed", "c": "failed"}
    assert {item["flow_id"]["S"]: item["outcome"]["S"] for item in items()} == records_in_bucket()
    assert len([key for key in keys("daily/manifests/") if key.endswith(".manifest.json")]) == 3
    assert left(suite) == []


def test_a_table_alone_leaves_the_folder_as_it_is(suite, server):
    suite.add("flows/a.json", quick("a"))
    suite.add("pytest.ini", text=f"[pytest]\nfileflow_results = dynamodb://{TABLE}\n")
    suite.run("flows").assert_outcomes(passed=1)
    [record] = suite.records()
    [item] = items()
    assert json.loads(item["record"]["S"]) == record


def test_several_folders_have_all_records_each(suite):
    suite.add("flows/a.json", quick("a"))
    suite.run("flows", "--fileflow-results", "one", "--fileflow-results", "two").assert_outcomes(passed=1)
    assert suite.records("one") == suite.records("two")
    assert len(suite.records("one")) == 1
    assert left(suite) == []


def test_a_bucket_that_denies_changes_no_verdict_and_the_next_session_delivers(suite, server, monkeypatch):
    iam = boto3.client("iam")
    iam.create_user(UserName="tester")
    key = iam.create_access_key(UserName="tester")["AccessKey"]
    own = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    aim(monkeypatch, server, **own)
    for flow_id in ("a", "b", "c"):
        suite.add(f"flows/{flow_id}.json", quick(flow_id))
    server.enforce_permissions()
    result = suite.run(*TO_BUCKET)
    result.assert_outcomes(passed=3)
    waits = (
        f"NOT DELIVERED: 3 records wait in fileflow-results/spool for {PLACE}: s3:PutObject on {PLACE}/* was denied*"
    )
    result.stdout.fnmatch_lines([f"{waits}; the next session tries again, or: fileflow upload"])
    assert result.stdout.str().count("was denied") == 1
    assert len(waiting(suite)) == 3
    server.enforce_permissions(after_calls=None)
    shutil.rmtree(suite.path / "flows")
    suite.add("flows/d.json", quick("d"))
    result = suite.run(*TO_BUCKET)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"delivered: 3 records that had waited for {PLACE}"])
    assert set(records_in_bucket()) == {"a", "b", "c", "d"}
    assert left(suite) == []


def test_a_store_that_is_throttled_and_then_vanishes_changes_no_verdict(suite, server, monkeypatch, upload, closed):
    """The first record is taken, then all are throttled; in the second session nobody listens any more."""
    for number in range(6):
        suite.add(f"flows/flow{number}.json", quick(f"flow{number}"))
    taken: list[str] = []

    def answer(request) -> Answer:
        if len(taken) < 4 and request.path not in taken:
            taken.append(request.path)
            return Answer()
        return Answer(503, SLOW_DOWN)

    with AnswerServer(answer) as throttled:
        aim(monkeypatch, elsewhere(throttled.url))
        result = suite.run_apart(*TO_BUCKET)
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines([f"NOT DELIVERED: * in fileflow-results/spool for {PLACE}: *SlowDown*"])
    first = len(waiting(suite))
    assert first >= 5
    aim(monkeypatch, elsewhere(closed))
    result = suite.run_apart(*TO_BUCKET)
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines([f"NOT DELIVERED: {first + 6} records wait*refuses connections*"])
    status, out, err = upload()
    assert (status, out) == (1, "")
    assert err.startswith(f"NOT DELIVERED: {first + 6} records wait")
    aim(monkeypatch, server)
    status, out, err = upload()
    assert (status, out, err) == (0, f"delivered: {first + 6} records that had waited for {PLACE}\n", "")
    assert len([key for key in keys() if key.endswith("/run.json")]) == first + 6
    assert left(suite) == []


def test_what_can_neither_be_delivered_nor_wait_is_the_testers_fault(suite, monkeypatch, closed):
    aim(monkeypatch, elsewhere(closed))
    suite.add("flows/a.json", quick("a"))
    suite.add("flows/b.json", quick("b", "error"))
    (suite.path / "fileflow-results").mkdir()
    (suite.path / "fileflow-results" / "spool").write_text("a file in its place")
    result = suite.run(*TO_BUCKET)
    result.assert_outcomes(errors=1, failed=1)
    result.stdout.fnmatch_lines(["*tester.results_store: *refuses connections*; and it cannot wait here: *"])


def test_in_the_sandbox_places_are_played_and_nobody_else_is_asked(suite, monkeypatch):
    suite.add("flows/a.json", quick("a"))
    suite.add("conftest.py", text="")
    (suite.path / "fileflow-results" / "spool" / "x").mkdir(parents=True)
    before = suite.path / "fileflow-results" / "spool" / "x" / "0.json"
    before.write_text(json.dumps({"place": PLACE, "record": interrupted(), "manifest": None, "why": "it was down"}))
    with AnswerServer(lambda request: Answer(500)) as real:
        aim(monkeypatch, elsewhere(real.url))
        result = suite.run_apart(
            *TO_BUCKET, "--fileflow-results", f"dynamodb://{TABLE}", "--fileflow-sandbox", "-k", "not contract"
        )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [f"{PLACE}, dynamodb://{TABLE}: played in the sandbox, and gone with it; *", "records: *fileflow-results"]
    )
    assert real.requests == []
    [record] = suite.records()
    assert record["sandbox"] is True
    assert waiting(suite) == [before]
    assert not (suite.path / "fileflow-results" / "ledger").exists()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("s3://", "*--fileflow-results: 's3://': '' is not the name of a bucket, as in s3://bucket/prefix"),
        ("gs://bucket", "*--fileflow-results: 'gs://bucket': gs:// is no place for results*"),
    ],
)
def test_a_place_that_is_none_is_a_usage_error(suite, place, message):
    suite.add("flows/a.json", quick("a"))
    result = suite.run("flows", "--fileflow-results", place)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--results", "ftp://host"], "--results: ftp:// is no place for results"),
        (["--results", "nowhere"], "there is no folder nowhere"),
        (["--results", "one", "--results", "two"], "two is a second folder"),
    ],
)
def test_what_cannot_be_uploaded_is_told_in_a_line(upload, arguments, message):
    status, _, error = upload(*arguments)
    assert status == 2
    assert error.startswith("fileflow upload: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_with_nothing_that_waits_is_fine(suite, upload):
    (suite.path / "results").mkdir()
    assert upload("--results", "results") == (0, "nothing waits\n", "")


def test_all_threads_share_one_set_of_clients(pytester):
    session = pytester.parseconfigure().stash[SESSION]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: session.aws(), range(8)))
    assert len(set(map(id, made))) == 1
