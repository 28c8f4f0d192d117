"""Metrics of a session: what is published, once, and what happens where it cannot be; the dashboard and the alarms."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import boto3
import botocore.session
import pytest
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator

from pytest_fileflow.cli import main
from pytest_fileflow.clients import AwsClients
from pytest_fileflow.results import cloudwatch
from pytest_fileflow.results.cloudwatch import NAMESPACE
from pytest_fileflow.results.cloudwatch.data import metric_data, run_data, suite_data
from pytest_fileflow.results.cloudwatch.publishing import BATCH, ENOUGH_SECONDS, publish
from tests.support.inner import flow
from tests.support.s3server import MotoServer
from tests.test_reports import record

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 5, 4, 6, 30, tzinfo=timezone.utc)
STAMPS = {
    "begun": "2026-05-04T06:00:00.000Z",
    "prepared": "2026-05-04T06:00:01.000Z",
    "seeded": "2026-05-04T06:00:03.000Z",
    "triggered": "2026-05-04T06:00:03.000Z",
    "arrived": "2026-05-04T06:00:10.000Z",
    "verified": "2026-05-04T06:00:11.000Z",
    "cleaned": "2026-05-04T06:00:12.000Z",
}
ENDED = datetime(2026, 5, 4, 6, 0, 12, tzinfo=timezone.utc)
MEGABYTE = 1_000_000
PATIENT = {"expect_within_seconds": 60, "grace_seconds": 1}
NAMES = {value for name, value in vars(cloudwatch).items() if name.isupper() and name != "NAMESPACE"}


def run(**more: object) -> dict:
    return record(**{"timeline": STAMPS, "kind": "transfer", **more})


def values(data: list[dict]) -> dict[tuple[str, ...], list[float]]:
    found = defaultdict(list)
    for datum in data:
        name = (datum["MetricName"], *(each["Value"] for each in datum["Dimensions"]))
        found[name].append(datum["Value"])
    return dict(found)


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as running:
        yield running


@pytest.fixture
def server(moto, monkeypatch) -> MotoServer:
    return moto.fresh(monkeypatch)


def published(server: MotoServer) -> dict[tuple[str, ...], tuple[float, float]]:
    """Return how many values each metric has, and their sum."""
    client = server.session().client("cloudwatch")
    end = datetime.now(timezone.utc) + timedelta(hours=1)
    found = {}
    for metric in client.list_metrics(Namespace=NAMESPACE)["Metrics"]:
        answer = client.get_metric_statistics(
            Namespace=NAMESPACE,
            MetricName=metric["MetricName"],
            Dimensions=metric["Dimensions"],
            StartTime=end - timedelta(hours=2),
            EndTime=end,
            Period=7200,
            Statistics=["SampleCount", "Sum"],
        )
        points = answer["Datapoints"]
        name = (metric["MetricName"], *(each["Value"] for each in metric["Dimensions"]))
        found[name] = tuple(sum(point[kind] for point in points) for kind in ("SampleCount", "Sum"))
    return found


def test_a_run_has_its_success_its_latency_against_the_slo_and_its_phases():
    data = metric_data([run()], NOW)
    assert values(data) == {
        ("RunSuccess", "acme"): [1],
        ("SloSeconds", "acme"): [10],
        ("TransferLatencySeconds", "acme"): [1.5],
        ("SloUsedPercent", "acme"): [15],
        ("PhaseSeconds", "acme", "prepare"): [1],
        ("PhaseSeconds", "acme", "seed"): [2],
        ("PhaseSeconds", "acme", "trigger"): [0],
        ("PhaseSeconds", "acme", "wait"): [7],
        ("PhaseSeconds", "acme", "verify"): [1],
        ("PhaseSeconds", "acme", "clean_up"): [1],
        ("SuiteRuns",): [1],
        ("SuiteFailures",): [0],
        ("SuiteErrors",): [0],
    }
    assert {datum["Timestamp"] for datum in data} == {ENDED}


@pytest.mark.parametrize("outcome", ["failed", "error"])
def test_only_a_run_that_passed_is_a_success(outcome):
    bad = run(outcome=outcome, cause="missing.lost", latency_seconds=None)
    found = values(metric_data([bad], NOW))
    assert found["RunSuccess", "acme"] == [0]
    assert ("TransferLatencySeconds", "acme") not in found
    assert (found["SuiteFailures",], found["SuiteErrors",]) == (([1], [0]) if outcome == "failed" else ([0], [1]))


def test_an_interrupted_run_says_nothing_of_its_flow_but_the_suite_was_not_whole():
    found = values(metric_data([run(outcome="error", cause="tester.interrupted")], NOW))
    assert found == {("SuiteRuns",): [0], ("SuiteFailures",): [0], ("SuiteErrors",): [1]}


def test_a_flow_whose_contract_or_refusal_fails_is_no_success_and_has_no_latency():
    kinds = [run(kind=kind, case=kind, outcome="failed", cause="net.dns") for kind in ("contract", "rejects")]
    found = values(metric_data(kinds, NOW))
    assert found == {
        ("RunSuccess", "acme"): [0, 0],
        ("SuiteRuns",): [0],
        ("SuiteFailures",): [2],
        ("SuiteErrors",): [0],
    }


def test_an_hourly_canary_does_not_speak_for_the_daily_transfer():
    bad = run(kind="canary", case="canary", outcome="failed", cause="net.dns")
    assert values(metric_data([bad], NOW)) == {("CanarySuccess", "acme"): [0], ("CanaryFailures",): [1]}
    found = values(metric_data([bad, run()], NOW))
    assert (found["RunSuccess", "acme"], found["SuiteFailures",]) == ([1], [0])


def test_a_case_counts_once_by_its_last_attempt():
    attempts = [run(attempt=2), run(attempt=1, outcome="failed", cause="late"), run(case="other", outcome="failed")]
    found = values(metric_data(attempts, NOW))
    assert (found["RunSuccess", "acme"], found["SuiteRuns",], found["SuiteFailures",]) == ([1, 0], [2], [1])


def test_a_config_that_is_wrong_is_a_failure_of_the_suite():
    found = values(metric_data([run()], NOW, broken=2))
    assert found["SuiteFailures",] == [2]


def test_a_run_without_stamps_or_with_those_of_a_clock_that_is_ahead_ended_now():
    ahead = NOW - timedelta(hours=1)
    assert {datum["Timestamp"] for datum in metric_data([run(timeline={})], NOW)} == {NOW}
    assert {datum["Timestamp"] for datum in metric_data([run()], ahead)} == {ahead}


def longest() -> list[dict]:
    runs = [
        run(flow_id=f"{number:04}".ljust(128, "x"), case="one", latency_seconds=123456.789) for number in range(200)
    ]
    return [datum for datum in metric_data(runs, NOW) if datum["Dimensions"]]


@pytest.mark.parametrize("protocol", ["query", "json"])
def test_no_call_is_larger_than_aws_takes(protocol):
    data = sorted(longest(), key=lambda datum: -len(datum["Dimensions"]))[:BATCH]
    model = botocore.session.get_session().get_service_model("cloudwatch")
    call = {"Namespace": NAMESPACE, "MetricData": data}
    body = create_serializer(protocol).serialize_to_request(call, model.operation_model("PutMetricData"))["body"]
    sent = body if isinstance(body, bytes) else urlencode(body).encode()
    assert len(data) == BATCH
    assert MEGABYTE / 10 < len(sent) < MEGABYTE


def test_many_data_go_in_few_calls(server):
    clients = AwsClients(server.session())
    calls = []
    clients.client("cloudwatch").meta.events.register(
        "provide-client-params.cloudwatch.PutMetricData", lambda params, **_: calls.append(len(params["MetricData"]))
    )
    now = datetime.now(timezone.utc)
    data = [{**datum, "Timestamp": now} for datum in longest()]
    told = publish(data, clients, now)
    assert (told.sent, told.problem) == (2000, "")
    assert calls == [1000, 1000]


def test_what_is_too_old_for_aws_is_left_out_and_said(server):
    now = ENDED + timedelta(days=14, seconds=1)
    told = publish(metric_data([run()], now), AwsClients(server.session()), now)
    assert told.sent == 0
    assert "older than two weeks" in told.problem


def test_publishing_ends_after_a_while(server):
    told = publish(longest(), AwsClients(server.session()), NOW, elapsed=iter([0.0, 0.1, ENOUGH_SECONDS + 1]).__next__)
    assert told.sent == BATCH
    assert "longer than 30 s" in told.problem


@contextmanager
def answering(
    status: int | None, headers: dict[str, str] | None = None, body: bytes = b""
) -> Iterator[tuple[str, list]]:
    """Serve HTTP that answers all calls alike, or, without a status, not before the end."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if status is None:
                over.wait()
                return
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            over.set()
            http.shutdown()
            thread.join()


THROTTLED = (400, {}, b'{"__type": "ThrottlingException", "message": "Rate exceeded"}')


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (THROTTLED, "storage.failed: cloudwatch:PutMetricData on namespace FileFlowTests failed after 3 tries: Thrott"),
        ((503,), "storage.failed: cloudwatch:PutMetricData on namespace FileFlowTests failed after 3 tries: 503: "),
        ((None,), "net.timeout: AWS did not answer in time during cloudwatch:PutMetricData on namespace FileFlowTests"),
    ],
    ids=["throttled", "broken", "hangs"],
)
def test_a_service_that_does_not_take_metrics_is_tried_three_times(monkeypatch, answer, words):
    patience = 0.2 if answer == (None,) else 60
    with answering(*answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        session = boto3.Session("AKIAFILEFLOWTESTS000", "not-a-secret", region_name="us-east-1")
        clients = AwsClients(session, read_timeouts={"cloudwatch": patience})
        tries = []
        clients.client("cloudwatch").meta.events.register("before-send.cloudwatch.*", lambda **_: tries.append(1))
        told = publish(metric_data([run()], NOW), clients, NOW)
    assert told.sent == 0
    assert told.problem.startswith(words)
    assert len(tries) == 3


def test_an_answer_of_somebody_else_is_said(monkeypatch):
    with answering(400, {}, b"\xa1\xff") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        session = boto3.Session("AKIAFILEFLOWTESTS000", "not-a-secret", region_name="us-east-1")
        told = publish(metric_data([run()], NOW), AwsClients(session), NOW)
    assert told.problem.startswith("the answer is none of CloudWatch's: ")


def test_a_session_publishes_once_however_many_workers(suite, server, workers):
    suite.add("flows/acme.json", flow("acme", validation=PATIENT, testdata={"sizes": {"one": 4096, "two": 8192}}))
    suite.add("flows/lost.json", flow("lost", "drop"))
    suite.add("flows/broken.json", {**flow("broken"), "sorce": {}})
    result = suite.run("flows", "--fileflow-cloudwatch", *workers)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["metrics: * in CloudWatch's namespace FileFlowTests"])
    found = published(server)
    assert found["RunSuccess", "acme"] == (2, 2)
    assert found["RunSuccess", "lost"] == (1, 0)
    assert found["TransferLatencySeconds", "acme"][0] == 2
    assert ("TransferLatencySeconds", "lost") not in found
    assert found["PhaseSeconds", "acme", "wait"][0] == 2
    assert (found["SuiteRuns",], found["SuiteFailures",], found["SuiteErrors",]) == ((1, 3), (1, 2), (1, 0))


def test_nothing_is_published_unless_it_is_asked_for(suite, server):
    suite.add("flows/acme.json", flow("acme", validation=PATIENT))
    suite.run("flows").assert_outcomes(passed=1)
    assert published(server) == {}
    suite.pytester.makeini("[pytest]\nfileflow_cloudwatch = true")
    suite.run("flows").assert_outcomes(passed=1)
    assert published(server)["RunSuccess", "acme"] == (1, 1)


def test_a_suite_of_which_no_flow_could_be_run_has_failed(suite, server):
    suite.add("flows/broken.json", {**flow("broken"), "sorce": {}})
    suite.run("flows", "--fileflow-cloudwatch").assert_outcomes(failed=1)
    assert published(server) == {("SuiteRuns",): (1, 0), ("SuiteFailures",): (1, 1), ("SuiteErrors",): (1, 0)}


def test_a_rerun_that_passes_is_a_success(suite, server):
    suite.add("flows/acme.json", flow("acme", "flaky", validation=PATIENT))
    suite.run_apart("flows", "--fileflow-cloudwatch", "--reruns", "1").assert_outcomes(passed=1)
    assert len(suite.records()) == 2
    assert published(server)["RunSuccess", "acme"] == (1, 1)


def test_a_denial_is_a_line_and_changes_no_verdict(suite, server):
    suite.add("flows/acme.json", flow("acme", validation=PATIENT))
    server.enforce_permissions()
    result = suite.run("flows", "--fileflow-cloudwatch")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["METRICS NOT PUBLISHED *cloudwatch:PutMetricData on namespace FileFlowTests*"])
    server.enforce_permissions(after_calls=None)
    assert published(server) == {}


def printed(capsys, *arguments: str) -> str:
    assert main(["cloudwatch", *arguments]) == 0
    return capsys.readouterr().out


def test_the_alarms_are_inputs_that_cloudwatch_takes(server, capsys):
    topic = "arn:aws:sns:us-east-1:123456789012:oncall"
    alarms = json.loads(printed(capsys, "alarms", "--sns-topic", topic, "--missing-after", "30"))
    client = server.session().client("cloudwatch")
    shape = client.meta.service_model.operation_model("PutMetricAlarm").input_shape
    for alarm in alarms:
        assert not ParamValidator().validate(alarm, shape).has_errors()
        client.put_metric_alarm(**alarm)
    kept = {alarm["AlarmName"]: alarm for alarm in client.describe_alarms()["MetricAlarms"]}
    assert set(kept) == {alarm["AlarmName"] for alarm in alarms}
    assert all(alarm["AlarmActions"] == [topic] for alarm in kept.values())
    missing = kept["fileflow-missing"]
    assert (missing["EvaluationPeriods"], missing["DatapointsToAlarm"], missing["TreatMissingData"]) == (
        30,
        30,
        "breaching",
    )
    assert "OKActions" not in next(alarm for alarm in alarms if alarm["AlarmName"] == "fileflow-flow-failed")


def test_the_alarms_keep_to_what_aws_allows(capsys):
    for alarm in json.loads(printed(capsys, "alarms", "--missing-after", "168")):
        periods = alarm["EvaluationPeriods"]
        if "Metrics" in alarm:
            (query,) = alarm["Metrics"]
            assert query["Period"] * periods <= 3 * 3600
            assert "GROUP BY FlowId ORDER BY" in query["Expression"]
        else:
            assert alarm["Period"] * periods <= 7 * 86400
            assert alarm["MetricName"] in NAMES
        assert "AlarmActions" not in alarm


@pytest.mark.parametrize("hours", ["0", "169", "2.5", "x", "-1"])
def test_hours_that_no_alarm_can_look_back_are_refused(hours, capsys):
    assert main(["cloudwatch", "alarms", f"--missing-after={hours}"]) == 2
    assert "is not a whole number of hours from 1 to 168" in capsys.readouterr().err


def test_what_is_no_name_of_a_log_group_gets_into_no_query(capsys):
    assert main(["cloudwatch", "dashboard", "--log-group", "a' | delete"]) == 2
    assert "is not the name of a log group" in capsys.readouterr().err


def test_the_dashboard_is_a_body_that_cloudwatch_takes(server, capsys):
    text = printed(capsys, "dashboard", "--region", "eu-west-1", "--log-group", "/aws/lambda/a", "--log-group", "b")
    client = server.session().client("cloudwatch")
    client.put_dashboard(DashboardName="fileflow", DashboardBody=text)
    body = json.loads(client.get_dashboard(DashboardName="fileflow")["DashboardBody"])
    assert {widget["properties"]["region"] for widget in body["widgets"]} == {"eu-west-1"}
    assert all(widget["x"] + widget["width"] <= 24 for widget in body["widgets"])
    for variable in body["variables"]:
        assert variable["pattern"] in json.dumps(body["widgets"])
    (log,) = (widget["properties"]["query"] for widget in body["widgets"] if widget["type"] == "log")
    assert log.startswith("SOURCE '/aws/lambda/a' | SOURCE 'b'\n| fields ")
    assert "like /test_run_id/" in log


def test_the_dashboard_speaks_of_metrics_that_are_published(capsys):
    body = json.loads(printed(capsys, "dashboard", "--region", "eu-west-1"))
    shown = [widget["properties"]["metrics"] for widget in body["widgets"] if widget["type"] == "metric"]
    names = {name for name in NAMES if name in json.dumps(shown)}
    assert names == NAMES - {"CanarySuccess", "CanaryFailures"}
    plain = {metric[1] for metrics in shown for metric in metrics if metric[0] == NAMESPACE}
    assert plain <= NAMES


@pytest.mark.parametrize(("region", "expected"), [("ap-south-1", "ap-south-1"), (None, "us-east-1")])
def test_the_region_is_that_of_the_configuration(server, monkeypatch, capsys, region, expected):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    if region:
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    assert main(["cloudwatch", "dashboard"]) == 0
    told = capsys.readouterr()
    assert {widget["properties"]["region"] for widget in json.loads(told.out)["widgets"]} == {expected}
    assert ("no region is configured" in told.err) == (region is None)


def test_a_topic_that_is_none_is_refused(capsys):
    assert main(["cloudwatch", "alarms", "--sns-topic", "arn:aws:sqs:us-east-1:123456789012:oncall"]) == 2
    assert "is not the ARN of an SNS topic" in capsys.readouterr().err


def test_a_configuration_that_cannot_be_read_is_one_line(server, monkeypatch, capsys):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert main(["cloudwatch", "dashboard"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("fileflow cloudwatch: ")
    assert told.err.count("\n") == 1


def test_runs_one_by_one_and_the_suite_in_the_end_say_what_a_session_says_at_once():
    """The functions of a state machine publish each run by itself, and count in the end."""
    told = [run(flow_id="acme"), run(flow_id="globex", outcome="failed", cause="missing.lost")]
    told.append(run(kind="canary", case="canary"))
    apart = [datum for record in told for datum in run_data(record, NOW)] + suite_data(told, NOW, 2)
    assert sorted(map(str, apart)) == sorted(map(str, metric_data(told, NOW, 2)))


@pytest.mark.parametrize(
    ("told", "broken", "unrecorded", "expected"),
    [
        ([], 0, 0, {}),
        ([], 2, 0, {("SuiteRuns",): [0], ("SuiteFailures",): [2], ("SuiteErrors",): [0]}),
        ([], 0, 3, {("SuiteRuns",): [0], ("SuiteFailures",): [0], ("SuiteErrors",): [3]}),
        ([run()], 1, 1, {("SuiteRuns",): [1], ("SuiteFailures",): [1], ("SuiteErrors",): [1]}),
        ([run(kind="canary", outcome="error")], 0, 0, {("CanaryFailures",): [1]}),
    ],
)
def test_a_run_without_a_record_is_an_error_of_the_suite_and_a_broken_config_a_failure(
    told, broken, unrecorded, expected
):
    assert values(suite_data(told, NOW, broken, unrecorded)) == expected
