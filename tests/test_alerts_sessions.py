"""Whole sessions with --fileflow-alerts: what is told, once, and what a person sees of it."""

from __future__ import annotations

import json

import pytest

from pytest_fileflow.plugin import SESSION
from tests.support.hooks import HookServer, answer
from tests.support.inner import flow
from tests.support.s3server import MotoServer

SECRET = "hooks/slack"
TOKEN = "T0KEN-hunter2-swordfish"
ROOM = {"expect_within_seconds": 60}
ALERTS = {"slack_webhook_secret_arn": SECRET}


@pytest.fixture(scope="module")
def servers():
    with HookServer() as hooks, MotoServer() as aws:
        with pytest.MonkeyPatch.context() as patch:
            for name, text in aws.environment.items():
                patch.setenv(name, text)
            aws.session().client("secretsmanager").create_secret(Name=SECRET, SecretString=f"{hooks.url}/{TOKEN}")
        yield hooks, aws


@pytest.fixture
def hooks(servers, monkeypatch):
    hooks, aws = servers
    hooks.reset()
    for name, text in aws.environment.items():
        monkeypatch.setenv(name, text)
    for name in ("GITHUB_RUN_ID", "CI_JOB_URL", "BUILD_URL"):
        monkeypatch.delenv(name, raising=False)
    return hooks


def run(suite, behaviours, *arguments, alerts=ALERTS):
    """Run flows by the behaviour of their functions; return the session's result."""
    flows = [
        flow(flow_id, behaviour, owner="ops", alerts=alerts, validation=ROOM)
        for flow_id, behaviour in behaviours.items()
    ]
    suite.add("flows/a.json", *flows)
    return suite.run("flows", "--fileflow-alerts", *arguments)


def state(suite, name="alerts.json"):
    return json.loads((suite.path / "fileflow-results/state" / name).read_text())


def test_failing_is_told_once_and_so_is_that_it_has_recovered(suite, hooks, monkeypatch):
    monkeypatch.setenv("CI_JOB_URL", "https://gitlab.example/jobs/1")
    first = run(suite, {"acme": "error", "beta": "error", "good": "copy"})
    first.assert_outcomes(failed=2, passed=1)
    first.stdout.fnmatch_lines([f"alerts: 2 flows failing: told to slack ({SECRET})"])
    second = run(suite, {"acme": "error", "beta": "error", "good": "copy"})
    second.stdout.fnmatch_lines(["alerts: nothing new to tell: acme failing since *Z, beta failing since *Z"])
    third = run(suite, {"acme": "copy", "beta": "error", "good": "copy"})
    third.stdout.fnmatch_lines([f"alerts: 1 flow recovered: told to slack ({SECRET})"])
    bodies = hooks.bodies(f"/{TOKEN}")
    assert [body["text"] for body in bodies] == ["2 flows failing: acme, beta", "acme recovered"]
    assert {body["blocks"][-1]["text"]["text"] for body in bodies} == {"report: https://gitlab.example/jobs/1"}
    assert list(state(suite)["troubles"]) == ["beta"]
    assert TOKEN not in first.stdout.str() + json.dumps(state(suite))


def test_a_broken_channel_fails_nothing_and_is_told_by_the_next_session(suite, hooks):
    hooks.answers[f"/{TOKEN}"] = [answer(410), answer(410), answer(200)]
    first = run(suite, {"acme": "error"})
    first.assert_outcomes(failed=1)
    words = (
        f"NOT TOLD alerts: 1 flow failing: slack ({SECRET}): it answered with HTTP 410; the next session tries again"
    )
    first.stdout.fnmatch_lines([words])
    assert TOKEN not in first.stdout.str()
    second = run(suite, {"acme": "copy"})
    assert second.ret == pytest.ExitCode.OK
    second.stdout.fnmatch_lines(["NOT TOLD alerts: 1 flow recovered: *"])
    assert list(state(suite)["letters"]) == ["acme"]
    third = run(suite, {"acme": "copy"})
    third.stdout.fnmatch_lines([f"alerts: 1 flow recovered: told to slack ({SECRET})"])
    assert state(suite)["letters"] == {}


def test_what_was_ended_is_nobody_s_failure(suite, hooks):
    more = {"alerts": ALERTS, "validation": ROOM}
    suite.add("flows/a.json", flow("acme", "error", **more), flow("slow", "drop", **more))
    suite.run("flows", "--fileflow-alerts", "-x")
    assert {record["flow_id"]: record["cause"] for record in suite.records()} == {
        "acme": "trigger.function_error",
        "slow": "tester.interrupted",
    }
    assert [body["text"] for body in hooks.bodies(f"/{TOKEN}")] == ["acme failing: trigger.function_error"]


def test_a_store_that_is_down_is_told_and_a_local_file_remembers(suite, hooks):
    (suite.path / "blocked").touch()
    result = run(suite, {"acme": "error"}, "--fileflow-results=blocked")
    result.stdout.fnmatch_lines(
        ["alerts: what was told before cannot be kept with the results, a local file is used *"]
    )
    assert len(hooks.bodies(f"/{TOKEN}")) == 1
    assert list(state(suite)["troubles"]) == ["acme"]
    run(suite, {"acme": "error"}, "--fileflow-results=blocked")
    assert len(hooks.bodies(f"/{TOKEN}")) == 1


def test_many_flows_that_still_fail_are_not_all_named_again(suite, hooks):
    failing = dict.fromkeys("abcde", "error")
    run(suite, failing)
    names = ", ".join(f"{name} failing since *Z" for name in "abc")
    run(suite, failing).stdout.fnmatch_lines([f"alerts: nothing new to tell: {names} and 2 more"])


def test_flows_without_alerts_are_said_to_have_none(suite, hooks):
    result = run(suite, {"acme": "error"}, alerts={})
    result.stdout.fnmatch_lines(["alerts: nobody is to be told: none of these flows has alerts in its config"])
    assert hooks.requests == []


def test_a_channel_of_the_ini_file_stands_for_flows_that_name_none(suite, hooks):
    suite.pytester.makeini(f"[pytest]\nfileflow_alerts_default = slack_webhook_secret_arn = {SECRET}\n")
    result = run(suite, {"acme": "error"}, alerts={})
    result.stdout.fnmatch_lines([f"alerts: 1 flow failing: told to slack ({SECRET})"])


def test_nothing_is_told_unless_it_is_asked_for(suite, hooks):
    suite.add("flows/a.json", flow("acme", "error", alerts=ALERTS))
    assert "alerts:" not in suite.run("flows").stdout.str()
    assert hooks.requests == []


SANDBOX = """
import json
import pytest
from pathlib import Path
from pytest_fileflow.plugin import SESSION

def pytest_terminal_summary(config):
    Path("posts.json").write_text(json.dumps(config.stash[SESSION].sandbox().webhook_posts()))
"""


def test_in_the_sandbox_a_fault_shows_what_would_be_told(suite, workers):
    suite.pytester.makeconftest(SANDBOX)
    secret = "arn:aws:secretsmanager:...:{}"
    pagerduty = {"url": "https://events.pagerduty.com/v2/enqueue", "template": "pagerduty", "secret_arn": "pd"}
    alerts = {
        "sns_topic_arn": "arn:aws:sns:...:alerts",
        "slack_webhook_secret_arn": secret.format("slack"),
        "jira": {"base_url": "https://<COMPANY>.atlassian.net", "project": "OPS", "secret_arn": secret.format("jira")},
        "servicenow": {"instance_url": "https://example.service-now.com", "secret_arn": secret.format("snow")},
        "webhook": [pagerduty, {"url_secret_arn": "teams", "template": "teams"}],
    }
    ends = {"source": {"type": "S3", "bucket": "landing"}, "target": {"type": "S3", "bucket": "landed"}}
    function = {"lambda_arn": "arn:aws:lambda:...:...:function:mover", "invocation": "RequestResponse"}
    suite.add("flows/a.json", {"flow_id": "acme", **ends, "transfer": function, "alerts": alerts})
    fault = ("--fileflow-sandbox", "--fileflow-fault", "acme=function_error", "--fileflow-alerts")
    result = suite.run_apart("flows", *fault, *workers)
    names = (
        "sns (alerts)",
        "slack (slack)",
        "jira (OPS)",
        "servicenow (incident)",
        "webhook (pagerduty)",
        "webhook (teams)",
    )
    result.stdout.fnmatch_lines([f"alerts: 1 flow failing: told to {name}, in the sandbox" for name in names])
    posts = [(post["path"], json.loads(post["body"])) for post in json.loads((suite.path / "posts.json").read_text())]
    title = "[sandbox] acme failing: trigger.function_error"
    assert title in [body.get("text") for path, body in posts if path == "webhook/alerts"]
    assert {path for path, _ in posts} == {
        "webhook/alerts",
        "webhook/<COMPANY>.atlassian.net/rest/api/2/issue",
        "webhook/example.service-now.com/api/now/table/incident",
        "webhook/events.pagerduty.com/v2/enqueue",
    }
    assert list(state(suite, "alerts-sandbox.json")["troubles"]) == ["acme"]
    result.stdout.fnmatch_lines(["alerts: the text of it is in state/alerts-sandbox.txt beside the results"])
    text = (suite.path / "fileflow-results/state/alerts-sandbox.txt").read_text()
    assert [line for line in text.splitlines() if line.startswith("to ")] == [f"to {name}" for name in names]
    assert text.count(f"{title}\n") == len(names)
    assert "hint: " in text
    assert not (suite.path / "fileflow-results/state/alerts.json").exists()


def test_a_rehearsal_alerts_nobody(pytester):
    config = pytester.parseconfigure("--fileflow-rehearse=drop", "--fileflow-alerts")
    assert not config.stash[SESSION].settings.alerts


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, ""),
        ({"CI_JOB_URL": "https://gitlab.example/jobs/1"}, "https://gitlab.example/jobs/1"),
        ({"BUILD_URL": "https://jenkins.example/7"}, "https://jenkins.example/7"),
        (
            {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "me/flows", "GITHUB_RUN_ID": "42"},
            "https://github.com/me/flows/actions/runs/42",
        ),
    ],
)
def test_where_a_report_is_as_ci_services_name_it(pytester, monkeypatch, environment, url):
    for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID", "CI_JOB_URL", "BUILD_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    assert pytester.parseconfigure().stash[SESSION].settings.report_url == url
    mine = pytester.parseconfigure("--fileflow-report-url=https://me.example")
    assert mine.stash[SESSION].settings.report_url == "https://me.example"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "fileflow_alerts_remind = daily",
            "*ini option fileflow_alerts_remind: 'daily' is not a number of hours above 0",
        ),
        ("fileflow_alerts_remind = -1", "*ini option fileflow_alerts_remind: '-1' is not a number of hours above 0"),
        (
            "fileflow_alerts_default = slack_webhook = x",
            "*fileflow_alerts_default: 'slack_webhook' is no channel *; did you mean 'slack_webhook_secret_arn'?",
        ),
        (
            "fileflow_alerts_default = sns_topic_arn",
            "*ini option fileflow_alerts_default: 'sns_topic_arn' is not CHANNEL = ARN",
        ),
        (
            f"fileflow_alerts_default = slack_webhook_secret_arn = https://chat.example/{TOKEN}?a=b",
            "*fileflow_alerts_default: slack_webhook_secret_arn: this is an address (not shown), and the secret *",
        ),
        (f"fileflow_alerts_default = https://chat.example/{TOKEN}", "*_default: a line is not CHANNEL = ARN"),
        (
            f"fileflow_alerts_default = https://chat.example?a={TOKEN}",
            "*_default: a line is no channel that can be named here; known: *",
        ),
        ("fileflow_report_url = here", "*ini option fileflow_report_url: 'here' is not an http:// or https:// address"),
    ],
)
def test_settings_that_cannot_be_used(pytester, line, words):
    pytester.makeini(f"[pytest]\n{line}\n")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([words])
    assert TOKEN not in result.stderr.str()


def test_the_ini_twins(pytester):
    pytester.makeini("[pytest]\nfileflow_alerts = true\nfileflow_alerts_remind = 0.5\n")
    settings = pytester.parseconfigure().stash[SESSION].settings
    assert (settings.alerts, settings.remind_hours) == (True, 0.5)
