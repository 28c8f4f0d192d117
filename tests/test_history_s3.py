from __future__ import annotations

import json

import pytest

from pytest_fileflow.cli import main
from pytest_fileflow.clients import AwsClients
from pytest_fileflow.clock import Clock
from pytest_fileflow.results.history import History
from pytest_fileflow.results.store import open_store
from tests.support.records import NOW, ago, record
from tests.support.s3server import MotoServer

CLOCK = Clock(utc=lambda: NOW)
BUCKET = "results"


@pytest.fixture(scope="module")
def server():
    with MotoServer() as running:
        yield running


class Place:
    def __init__(self, server, prefix):
        self.prefix = prefix
        self.clients = AwsClients(server.session())
        self.s3 = self.clients.client("s3")

    def add(self, told, day=None, name="run.json", content=None):
        day = day or told["timeline"]["begun"][:10]
        folder = f"{self.prefix}results/dt={day}/flow_id={told['flow_id']}/run_id={told['run_id']}"
        for each in (name, "summary.txt"):
            body = json.dumps(told).encode() if content is None and each == "run.json" else content or b"a summary"
            self.s3.put_object(Bucket=BUCKET, Key=f"{folder}/{each}", Body=body)

    def history(self, **options):
        place = f"s3://{BUCKET}/{self.prefix}".rstrip("/")
        return History.open(place, lambda: self.clients, clock=CLOCK, **options)


@pytest.fixture
def place(server, request, monkeypatch):
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    place = Place(server, getattr(request, "param", ""))
    place.s3.create_bucket(Bucket=BUCKET)
    yield place
    server.reset()


@pytest.mark.parametrize("place", ["", "daily/proofs/", "a +b/ü=*[1]/"], indirect=True)
def test_a_bucket_is_read_as_a_folder_is(place):
    told = record("acme", outcome="failed")
    place.add(told)
    place.add(record("acme", began=ago(days=1)))
    place.add(record("beta"))
    place.s3.put_object(Bucket=BUCKET, Key=f"{place.prefix}results/dt=2026-11-26/run.json", Body=b"{")
    place.s3.put_object(Bucket=BUCKET, Key=f"{place.prefix}manifests/dt=2026-11-26/x.json", Body=b"{")
    history = place.history()
    assert [(flow.flow_id, flow.state) for flow in history.flows()] == [("acme", "failing"), ("beta", "passed")]
    assert history.notes == ()
    run = history.runs("acme", 1)[0]
    assert run.where.startswith(f"s3://{BUCKET}/{place.prefix}results/dt=2026-11-26/flow_id=acme/run_id=")
    assert history.record(run) == told


def test_a_place_is_read_by_the_name_that_it_was_written_by(place):
    written = open_store(f"s3://{BUCKET}//daily//proofs/", lambda: place.clients).write(record("acme"))
    history = History.open(f"s3://{BUCKET}//daily//proofs/", lambda: place.clients, clock=CLOCK)
    assert [run.where for run in history.runs("acme", 5)] == [written]


def test_more_than_a_page_of_keys_is_read(place, monkeypatch):
    for _ in range(5):
        place.add(record("acme"))
    paginator = place.s3.get_paginator
    small = {"PaginationConfig": {"PageSize": 3}}

    class Small:
        def __init__(self, name):
            self.paginate = lambda **options: paginator(name).paginate(**options, **small)

    monkeypatch.setattr(place.s3, "get_paginator", Small)
    (flow,) = place.history().flows()
    assert flow.success_7.counted == 5


def test_days_before_and_other_flows_are_not_fetched(place):
    place.add(record("acme"))
    place.add(record("beta"), content=b"{")
    place.add(record("acme"), day="2026-09-01", content=b"{")
    history = place.history(flow="ac*")
    assert (len(history.flows()), history.notes) == (1, ())
    assert len(place.history().notes) == 1
    assert len(place.history(since=ago(days=90)).notes) == 1
    assert "2 files" in place.history(since=ago(days=90)).notes[0]


def test_only_what_is_new_is_fetched_again(place, tmp_path):
    old = record("acme")
    place.add(old)
    place.history(rollups=tmp_path)
    place.add(old, content=b"{")
    place.add(record("acme", began=ago(minutes=5)))
    history = place.history(rollups=tmp_path)
    assert (history.flows()[0].success_7.counted, history.notes) == (2, ())


def test_a_bucket_that_is_not_there_is_an_error_in_one_line(place, capsys):
    assert main(["history", "s3://no-such-bucket/p", "--no-rollup"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fileflow history: location.missing: s3://no-such-bucket/p does not exist")
    assert error.count("\n") == 1


def test_one_set_of_clients_serves_all_requests(place):
    for flow in range(5):
        place.add(record(f"flow-{flow}"))
    made = []
    history = History.open(f"s3://{BUCKET}", lambda: made.append(1) or place.clients, clock=CLOCK)
    assert (len(history.flows()), len(made)) == (5, 1)


def test_credentials_that_are_not_there_are_an_error_in_one_line(place, monkeypatch, capsys):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert main(["history", f"s3://{BUCKET}", "--no-rollup"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fileflow history: tester.credentials: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("denied", ["s3:ListBucket", "s3:GetObject"])
def test_what_is_denied_is_named(place, server, monkeypatch, capsys, denied):
    place.add(record("acme"))
    (other,) = {"s3:ListBucket", "s3:GetObject"} - {denied}
    key = server.weak_session(other).get_credentials()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key.secret_key)
    assert main(["history", f"s3://{BUCKET}", "--since=2026-11-01", "--no-rollup"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"fileflow history: access.denied: {denied} on s3://{BUCKET}")
    assert error.count("\n") == 1
