"""What every results store does: written once, and small documents by compare-and-set."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import boto3
import pytest

from pytest_fileflow import clients
from pytest_fileflow.errors import RecordRefused, ResultsStoreFailed
from pytest_fileflow.results import bucket
from pytest_fileflow.results.places import Place, PlaceError
from pytest_fileflow.results.store import Directory, Store, open_store, record_bytes
from pytest_fileflow.results.table import RECORD_BYTES, item_of
from tests.support.answers import Answer, AnswerServer
from tests.support.s3server import MotoServer
from tests.support.stores import BUCKET, MANIFEST, TABLE, interrupted, items, keys, make_places, one_set, record

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = "results/dt=2026-11-24/flow_id=acme/run_id=0123456789abcdef"


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as server:
        yield server


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A machine that is busy must not look like a store that is down."""
    monkeypatch.setattr(clients, "BRISK_READ_SECONDS", 60)
    monkeypatch.setattr(bucket, "WRITE_SECONDS", 60)


@pytest.fixture
def server(moto, monkeypatch) -> MotoServer:
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    moto.reset()
    make_places()
    return moto


@pytest.fixture(
    params=["folder", f"s3://{BUCKET}/some/prefix", f"dynamodb://{TABLE}"], ids=["folder", "s3", "dynamodb"]
)
def store(request, tmp_path, server) -> Store:
    """Any store."""
    return open_store(str(tmp_path / "folder") if request.param == "folder" else request.param, one_set())


def test_a_record_is_written_once_and_stays_as_it_is(store):
    where = store.write(record(), MANIFEST)
    assert store.write(record(), MANIFEST) == where
    with pytest.raises(RecordRefused, match="holds another record of this run already"):
        store.write(record(outcome="failed", cause="late", reason="late by 2 s", hint="Look."), MANIFEST)
    assert store.write(interrupted()) == where  # the process had written it before it was lost
    assert store.run_ids("acme", 10) == ["0123456789abcdef"]


def test_run_ids_come_newest_first_and_no_more_than_are_asked_for(store):
    for day in (23, 25, 24):
        store.write(record(f"{day:016x}", timeline={"begun": f"2026-11-{day}T06:00:00.000Z"}))
    newest = [f"{day:016x}" for day in (25, 24, 23)]
    assert store.run_ids("acme", 10) == newest
    assert store.run_ids("acme", 2) == newest[:2]
    assert store.run_ids("acm", 10) == []


def test_many_threads_may_write_the_same_and_others(store):
    runs = [f"{number % 10:016x}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda run_id: store.write(record(run_id), MANIFEST), runs))
    assert len(set(places)) == 10
    assert sorted(store.run_ids("acme", 50)) == sorted(set(runs))


def test_a_document_changes_only_in_the_version_that_it_was_read_in(store):
    assert store.read_state("alerts.json") is None
    assert store.write_state("alerts.json", b"1", None)
    assert not store.write_state("alerts.json", b"2", None)
    first = store.read_state("alerts.json")
    assert first.content == b"1"
    assert store.write_state("alerts.json", b"2", first.version)
    assert not store.write_state("alerts.json", b"3", first.version)
    assert store.read_state("alerts.json").content == b"2"
    assert not store.write_state("another.json", b"4", first.version)
    with pytest.raises(ValueError, match="cannot be the name"):
        store.read_state("../alerts.json")


def test_a_bucket_and_a_folder_have_the_same_layout(tmp_path, server):
    open_store(str(tmp_path), one_set()).write(record(), MANIFEST)
    where = open_store(f"s3://{BUCKET}", one_set()).write(record(), MANIFEST)
    assert where == f"s3://{BUCKET}/{RUN}/run.json"
    in_folder = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert set(in_folder) == set(keys())
    for name, content in in_folder.items():
        told = boto3.client("s3").get_object(Bucket=BUCKET, Key=name)
        if not name.endswith("summary.txt"):  # it says where the record lies
            assert told["Body"].read() == content
        assert told["ContentType"].split("/")[0] in ("application", "text")


def test_a_table_holds_one_item_a_run_with_what_is_asked_for_most(server):
    open_store(f"dynamodb://{TABLE}", one_set()).write(record(), MANIFEST)
    [item] = items()
    assert item["flow_id"] == {"S": "acme"}
    assert item["run"] == {"S": "2026-11-24T06:00:00.000Z#0123456789abcdef"}
    assert item["latency_seconds"] == {"N": "3.21"}
    assert "cause" not in item
    assert json.loads(item["record"]["S"]) == record()
    assert item["manifest"]["S"].encode() == MANIFEST


def test_a_record_that_is_too_long_for_an_item_leaves_out_its_evidence(server):
    store = open_store(f"dynamodb://{TABLE}", one_set())
    long = record(evidence={"listing": ["☃" * 2000] * 100})
    assert len(record_bytes(long)) > RECORD_BYTES
    assert store.write(long) == store.write(long)
    [item] = items()
    assert json.loads(item["record"]["S"]) == {
        **record(),
        "evidence": {"evidence": "left out: the record is too long for an item of DynamoDB"},
    }
    checks = [{"name": "rows", "outcome": "failed", "expected": "x" * 2000, "observed": "y" * 2000}] * 100
    told = json.loads(item_of(record(evidence={}, checks=checks))["record"]["S"])
    assert (told["checks"], told["outcome"]) == ([], "passed")


@pytest.mark.parametrize("place", ["s3://no-such-bucket/x", "dynamodb://no-such-table"])
def test_a_place_that_is_not_there_is_an_error_of_ours(server, place):
    store = open_store(place, one_set())
    with pytest.raises(ResultsStoreFailed, match=r"no-such-.* does not exist"):
        store.write(record())
    with pytest.raises(ResultsStoreFailed, match=r"no-such-.* does not exist"):
        store.read_state("alerts.json")
    assert store.run_ids("acme", 5) == []


@pytest.mark.parametrize("place", [f"s3://{BUCKET}", f"dynamodb://{TABLE}"])
def test_to_write_needs_one_permission(server, monkeypatch, place):
    iam = boto3.client("iam")
    iam.create_user(UserName="writer")
    key = iam.create_access_key(UserName="writer")["AccessKey"]
    statement = {"Effect": "Allow", "Action": ["s3:PutObject", "dynamodb:PutItem"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="writer", PolicyName="write", PolicyDocument=policy)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    store = open_store(place, one_set())
    server.enforce_permissions()
    where = store.write(record(), MANIFEST)
    assert store.write(record(), MANIFEST) == where  # whether it is the same it may not see
    assert store.run_ids("acme", 5) == []
    with pytest.raises(ResultsStoreFailed, match="was denied"):
        store.read_state("alerts.json")


def test_a_put_says_that_there_must_be_none_yet_and_brings_its_checksum(monkeypatch):
    with AnswerServer(lambda request: Answer()) as answers:
        aim(monkeypatch, answers.url)
        open_store(f"s3://{BUCKET}", one_set()).write(record(), MANIFEST)
    names = [request.path.rpartition("/")[2] for request in answers.requests]
    assert names == ["acme_0123456789abcdef.bin.manifest.json", "summary.txt", "metrics.csv", "run.json"]
    for request in answers.requests:
        assert request.headers["If-None-Match"] == "*"
        assert len(request.headers["x-amz-checksum-sha256"]) == 44
        assert "aws-chunked" not in request.headers.get("Content-Encoding", "")


def test_who_writes_the_same_object_at_the_same_moment_waits_for_the_other(monkeypatch):
    busy = b"<Error><Code>ConditionalRequestConflict</Code><Message>at the same time</Message></Error>"
    answers = iter([Answer(409, busy), Answer(409, busy)])
    with AnswerServer(lambda request: next(answers, Answer())) as server:
        aim(monkeypatch, server.url)
        assert open_store(f"s3://{BUCKET}", one_set()).write(record())
    assert len(server.requests) == 5


def test_a_store_that_is_throttled_gives_up_soon(monkeypatch):
    slow = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
    with AnswerServer(lambda request: Answer(503, slow)) as server:
        aim(monkeypatch, server.url)
        with pytest.raises(ResultsStoreFailed, match="failed after 2 tries: SlowDown: Please reduce"):
            open_store(f"s3://{BUCKET}", one_set()).write(record())
    assert len(server.requests) == 2


@pytest.mark.parametrize("place", [f"s3://{BUCKET}", f"dynamodb://{TABLE}"])
def test_an_answer_that_is_none_of_aws_is_a_store_that_failed(monkeypatch, place):
    page = b"<html><p>Please log in to this network.</html>"
    with AnswerServer(lambda request: Answer(200, page)) as server:
        aim(monkeypatch, server.url)
        assert open_store(place, one_set()).run_ids("acme", 5) == []


def aim(monkeypatch, url: str) -> None:
    """Let the clients that are made from now on ask another server."""
    elsewhere = MotoServer()
    elsewhere.url = url
    for name, value in elsewhere.environment.items():
        monkeypatch.setenv(name, value)


COUNT = """
import sys
from pathlib import Path
from pytest_fileflow.results.store import Directory

store = Directory(Path(sys.argv[1]))
done = 0
while done < 10:
    state = store.read_state("count")
    done += store.write_state("count", str(int(state.content) + 1).encode(), state.version)
"""


def test_processes_that_change_a_document_at_once_lose_nothing(tmp_path):
    assert Directory(tmp_path).write_state("count", b"0", None)
    command = [sys.executable, "-c", COUNT, str(tmp_path)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda _: subprocess.run(command, check=True, timeout=300), range(3)))
    assert Directory(tmp_path).read_state("count").content == b"30"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty; give a folder, s3://bucket/prefix or dynamodb://table"),
        ("s3://", "'' is not the name of a bucket, as in s3://bucket/prefix"),
        ("s3://Bucket", "'Bucket' is not the name of a bucket, as in s3://bucket/prefix"),
        ("dynamodb://a/b", "'a/b' is not the name of a table, as in dynamodb://table"),
        ("s3:/bucket/a", "did you mean s3://bucket/a?"),
        ("dynamodb:table", "did you mean dynamodb://table?"),
        ("S3://bucket", "S3:// is no place for results; did you mean s3://?"),
        ("dynamo://table", "dynamo:// is no place for results; did you mean dynamodb://?"),
        (
            "ftp://host/results",
            "ftp:// is no place for results: give a folder, s3://bucket/prefix or dynamodb://table",
        ),
    ],
)
def test_what_is_no_place_is_told_in_a_line(text, message):
    with pytest.raises(PlaceError) as caught:
        Place.parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["some/where", "s3://bucket", "s3://bucket/a/b", "dynamodb://table"])
def test_a_place_is_said_as_it_was_given(text):
    assert str(Place.parse(text)) == text
    assert str(Place.parse("s3://bucket//a/b//")) == "s3://bucket/a/b"
