from __future__ import annotations

import base64
import io
import json
import logging
import sys
import threading
import types
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from pytest_fileflow.aws import host as host_module
from pytest_fileflow.aws import logs
from pytest_fileflow.aws.executions import Papers, papers_of
from pytest_fileflow.aws.host import Host, Settings, careful
from pytest_fileflow.aws.state import Execution
from pytest_fileflow.clients import AwsClients
from pytest_fileflow.errors import ConfigInvalid, Interrupted, NameNotResolved, ResultsStoreFailed, TesterBug
from pytest_fileflow.model import Flow, S3Location, SftpLocation, Transfer
from pytest_fileflow.results.places import Place
from pytest_fileflow.streams import Tools

ARN = "arn:aws:lambda:eu-west-1:111111111111:function:mover"
SECRET = "arn:aws:secretsmanager:eu-west-1:111111111111:secret:acme"
EXECUTION = Execution("arn:execution:one", "one", "2026-11-27T06:00:00Z")
SFTP = SftpLocation("sftp.example.com", "acme", "/in", SECRET)


class Context:
    """An invocation with so many seconds left."""

    aws_request_id = "request-1"

    def __init__(self, seconds: float = 60.0):
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "A",
        "AWS_SECRET_ACCESS_KEY": "B",
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # nobody answers there
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def lines(monkeypatch):
    """Return what a function logs, as it would stand in CloudWatch."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root, ours = logging.getLogger(), logging.getLogger(logs.OURS)
    monkeypatch.setattr(root, "handlers", [handler])
    levels = {name: logging.getLogger(name).level for name in (logs.OURS, f"{logs.OURS}.endpoints.paramiko")}
    logs.set_up()
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    assert ours.handlers == []


class LambdasOwn(logging.Handler):
    """Writes what its formatter returns and nothing more, as the handler does that Lambda's runtime sets up."""

    def __init__(self, stream: io.StringIO) -> None:
        super().__init__()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        self.stream.write(self.format(record))


def test_each_line_of_a_function_is_one_of_its_own(lines, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(logging.getLogger(), "handlers", [LambdasOwn(stream)])
    logs.set_up()
    logs.say_listed(1, ["one", "two"])
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["one", "two", "1 cases"]
    assert lines() == []


# --- Settings


def test_settings_are_what_the_variables_say_and_nothing_that_another_program_s_say():
    told = Settings.read(
        {
            "FILEFLOW_RESULTS": "s3://results/r",
            "FILEFLOW_CONFIG": "dynamodb://flows",
            "FILEFLOW_ENV": "prod",
            "FILEFLOW_ALLOW": "s3://in/\n  sftp://sftp.example.com/my files \n\n",
            "FILEFLOW_PLUGINS": "one, two\nthree",
            "FILEFLOW_REMIND_HOURS": "12.5",
            "FILEFLOW_SETTLE_MINUTES": "0",
            "FILEFLOW_ALERTS": "0",
            "FILEFLOW_CLOUDWATCH": "",
            "ENV": "dev",
            "ALLOW": "s3://everything/",
            "CONFIG": "s3://else",
            "SANDBOX": "127.0.0.1:1",
        }
    )
    assert told == Settings(
        results="s3://results/r",
        config="dynamodb://flows",
        environment="prod",
        allow=("s3://in/", "sftp://sftp.example.com/my files"),
        plugins=("one", "two", "three"),
        remind_hours=12.5,
        settle_minutes=0.0,
        alerts=False,
        cloudwatch=False,
    )
    assert Settings.read({"ALLOW": "x", "FILEFLOW_ALERTS": "1"}) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("REMIND_HOURS", "daily", "FILEFLOW_REMIND_HOURS is no number: 'daily'"),
        ("SETTLE_MINUTES", "x", "FILEFLOW_SETTLE_MINUTES is no number: 'x'"),
        ("ALERTS", "false", "FILEFLOW_ALERTS is 1 or 0, and not 'false'"),
        ("CLOUDWATCH", "yes", "FILEFLOW_CLOUDWATCH is 1 or 0, and not 'yes'"),
    ],
)
def test_a_setting_that_cannot_be_read_says_which(name, value, words):
    with pytest.raises(ConfigInvalid) as refused:
        Settings.read({f"FILEFLOW_{name}": value})
    assert str(refused.value) == words


@pytest.mark.parametrize(
    ("settings", "part", "words"),
    [
        (Settings(), "results", "FILEFLOW_RESULTS: it is empty; give a folder, s3://bucket/prefix or dynamodb://table"),
        (Settings(results="ftp://x"), "results", "FILEFLOW_RESULTS: ftp:// is no place for results: give a folder, "),
        (Settings(config="flows"), "config_store", "FILEFLOW_CONFIG: a config store is s3://bucket/prefix or"),
    ],
)
def test_a_place_that_is_none_says_in_which_setting(settings, part, words):
    with pytest.raises(ConfigInvalid) as refused:
        getattr(Host(settings), part)
    assert str(refused.value).startswith(words)


def test_results_that_are_in_no_bucket_are_the_testers_fault():
    for text in ("results", "dynamodb://results"):
        with pytest.raises(ResultsStoreFailed, match=f"FILEFLOW_RESULTS is {text}: executions need a bucket"):
            papers_of(Place.parse(text), "one", AwsClients(boto3.Session()))


def test_what_may_be_touched_is_what_all_lists_cover():
    own = Host(Settings(allow=("s3://in/", "s3://out/")))
    both = own.allow_list(Execution("id", "one", "now", (("s3://in/", "sftp://h/"),)))
    assert [both.allows(S3Location(bucket)) for bucket in ("in", "out", "else")] == [True, False, False]
    assert own.allow_list(EXECUTION).allows(S3Location("out"))
    assert Host(Settings()).allow_list(EXECUTION).allows(S3Location("else"))
    nothing = Host(Settings()).allow_list(Execution("id", "one", "now", ((),)))
    assert not nothing.allows(S3Location("in"))
    with pytest.raises(ConfigInvalid, match=r"^FILEFLOW_ALLOW: "):
        Host(Settings(allow=("ftp://x",))).allow_list(EXECUTION)
    with pytest.raises(ConfigInvalid, match=r"^allow, of FILEFLOW_ENV: "):
        own.allow_list(Execution("id", "one", "now", (("ftp://x",),)))


def test_plugins_register_what_flows_name(monkeypatch):
    plugin: Any = types.ModuleType("acme_plugin")
    plugin.pytest_fileflow_register = lambda registry: registry.check("acme", lambda options, expected: None)
    monkeypatch.setitem(sys.modules, "acme_plugin", plugin)
    assert "acme" in Host(Settings(plugins=("acme_plugin",))).registry.checks()


def test_a_plugin_that_cannot_be_used_says_why(monkeypatch):
    with pytest.raises(ConfigInvalid, match=r"^FILEFLOW_PLUGINS: no_such_plugin cannot be imported: No module named"):
        _ = Host(Settings(plugins=("no_such_plugin",))).registry
    monkeypatch.setitem(sys.modules, "acme_plugin", types.ModuleType("acme_plugin"))
    with pytest.raises(ConfigInvalid, match=r"^FILEFLOW_PLUGINS: acme_plugin has no pytest_fileflow_register$"):
        _ = Host(Settings(plugins=("acme_plugin",))).registry


# --- What a process keeps from one invocation to the next


def test_no_connection_outlives_an_invocation(monkeypatch):
    monkeypatch.setenv("FILEFLOW_RESULTS", "s3://results/r")
    host_module._host.cache_clear()
    try:
        first = host_module.host()
        clients, client = first.clients, first.clients.client("lambda", ARN)
        assert first.clients is clients
        second = host_module.host()
        assert second is first
        assert second.clients is not clients
        assert second.clients.client("lambda", ARN) is not client
        assert second.session is first.session  # it has read what makes clients quickly
    finally:
        host_module._host.cache_clear()


@pytest.mark.parametrize(("seconds", "is_up"), [(60.0, False), (10.5, False), (9.0, True)])
def test_the_time_of_a_function_is_up_a_while_before_it_is_ended(seconds, is_up):
    host = Host(Settings(results="s3://results/r"))
    with host.tools(EXECUTION, Context(seconds), Flow("acme", S3Location("in"), S3Location("out"))) as tools:
        assert tools.cancelled() is is_up


@pytest.mark.parametrize("end", ["source", "target"])
def test_a_secret_that_this_process_never_needed_is_taken_out_of_a_log_as_well(end, monkeypatch):
    """The trigger of a flow may log in nowhere, and its function's log is handed on and recorded."""
    host = Host(Settings(results="s3://results/r"))
    ends = {"source": S3Location("in"), "target": S3Location("out"), end: SFTP}
    flow = Flow("acme", **ends, transfer=Transfer("invoke", ARN, "RequestResponse"))
    answers = {
        "lambda": ("invoke", {"LogResult": base64.b64encode(b"password hunter2-hunter2").decode(), "Payload": b"null"}),
        "secretsmanager": (
            "get_secret_value",
            {"SecretString": json.dumps({"password": "hunter2-hunter2"}), "VersionId": "v" * 32},
        ),
    }
    for service, (operation, answer) in answers.items():
        client = host.clients.client(service, ARN)
        if "Payload" in answer:
            answer["Payload"] = StreamingBody(io.BytesIO(answer["Payload"]), 4)
        stubber = Stubber(client)
        stubber.add_response(operation, answer)
        stubber.activate()
    with host.tools(EXECUTION, Context(), flow) as tools:
        started = tools.invoke(flow.transfer, {})
    assert started.log_tail is not None
    assert "hunter2" not in started.log_tail
    assert started.log_tail.startswith("password ")


# --- Logs


def test_a_line_is_one_json_object_that_says_what_it_is_about(lines):
    logger = logging.getLogger("pytest_fileflow.steps")
    with logs.about("seed", "one", "acme", "00ff"), logs.masking(lambda text: text.replace("hunter2", "***")):
        logger.info("the password is %s,\nand caf\udce9", "hunter2")
        try:
            int("hunter3")
        except ValueError:
            logger.exception("it failed")
        logger.debug("not shown")
        logging.getLogger("botocore").info("not shown")
        logging.getLogger("pytest_fileflow.endpoints.paramiko").info("Connected")
    logger.info("afterwards")
    told = lines()
    assert [(line["level"], line["message"]) for line in told] == [
        ("INFO", "the password is ***,\nand caf\udce9"),
        ("ERROR", "it failed: ValueError"),
        ("INFO", "afterwards"),
    ]
    about = {"step": "seed", "execution": "one", "flow_id": "acme", "test_run_id": "00ff"}
    assert all(about.items() <= line.items() for line in told[:2])
    assert not about.keys() & told[2].keys()
    assert all(line["timestamp"].endswith("Z") and line["logger"] == "pytest_fileflow.steps" for line in told)


def test_an_error_that_is_not_ours_leaves_a_function_without_its_text(lines):
    @careful
    def handler(event, context):
        raise KeyError(event["password"])

    with pytest.raises(TesterBug) as raised:
        handler({"password": "hunter2"}, Context())
    assert "hunter2" not in str(raised.value) + str(lines())
    assert "unexpected KeyError" in str(raised.value)
    assert raised.value.__suppress_context__

    @careful
    def refused(event, context):
        raise ConfigInvalid("there is no flow 'x'")

    with pytest.raises(ConfigInvalid, match="there is no flow 'x'"):
        refused({}, Context())


# --- Marks of steps that begin


@pytest.fixture
def marks():
    clients = AwsClients(boto3.Session())
    stubber = Stubber(clients.client("s3"))
    stubber.activate()
    yield Papers(Place("s3", "results", "r/"), "one", clients), stubber
    stubber.assert_no_pending_responses()


PUT = {"Bucket": "results", "Key": "r/executions/one/begun/00ff.seed.json", "Body": ANY, "IfNoneMatch": "*"}


def there(stubber: Stubber, token: str) -> None:
    body = json.dumps({"token": token, "at": 1.5}).encode()
    stubber.add_response("get_object", {"Body": StreamingBody(io.BytesIO(body), len(body))})


def test_a_step_begins_once(marks):
    papers, stubber = marks
    stubber.add_response("put_object", {}, PUT)
    assert papers.begin("seed", "00ff", {"token": "mine"}) is None


@pytest.mark.parametrize(("token", "earlier"), [("another", {"token": "another", "at": 1.5}), ("mine", None)])
def test_a_mark_that_is_there_is_an_earlier_try_s_unless_it_is_our_own_sent_again(marks, token, earlier):
    papers, stubber = marks
    stubber.add_client_error("put_object", "PreconditionFailed", http_status_code=412, expected_params=PUT)
    there(stubber, token)
    assert papers.begin("seed", "00ff", {"token": "mine"}) == earlier


def test_a_mark_that_somebody_writes_at_this_moment_is_tried_again(marks, monkeypatch):
    monkeypatch.setattr("pytest_fileflow.aws.executions.BUSY_SECONDS", 0.0)
    papers, stubber = marks
    stubber.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
    stubber.add_response("put_object", {}, PUT)
    assert papers.begin("seed", "00ff", {"token": "mine"}) is None
    for _ in range(4):
        stubber.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
    with pytest.raises(ResultsStoreFailed):
        papers.begin("seed", "00ff", {"token": "mine"})


def test_a_bucket_of_results_that_refuses_is_the_testers_fault_and_not_the_flow_s(marks):
    papers, stubber = marks
    stubber.add_client_error("put_object", "AccessDenied", http_status_code=403)
    with pytest.raises(ResultsStoreFailed, match="s3:PutObject"):
        papers.begin("seed", "00ff", {"token": "mine"})


class NoServers:
    """A sandbox that plays no server."""

    def look_again(self) -> None:
        pass

    def route(self, *where: object) -> tuple[str, int, str]:
        raise NameNotResolved(f"no server {where}")


def test_in_a_rehearsal_only_a_server_on_this_very_machine_is_reached_beside_those_of_the_sandbox():
    host = Host(Settings())
    host.__dict__["sandbox"] = NoServers()
    route = host._stand_in()
    assert route is not None
    local = route(SftpLocation("127.0.0.1", "acme", "/in", SECRET, 2222, "SHA256:pin"))
    assert (local.host, local.port) == ("127.0.0.1", 2222)
    with pytest.raises(NameNotResolved):
        route(SFTP)


def test_a_call_that_is_throttled_when_its_invocation_ends_is_never_made_again():
    """Lambda freezes the process, and its threads go on in the next invocation."""
    nap = host_module._Nap()
    ended: list[BaseException] = []

    def sleep() -> None:
        try:
            nap(60)
        except Interrupted as error:
            ended.append(error)

    thread = threading.Thread(target=sleep)
    thread.start()
    nap.end()
    thread.join(10)
    assert (thread.is_alive(), len(ended)) == (False, 1)
    with pytest.raises(Interrupted):
        nap(0)


def test_the_tools_of_an_invocation_let_nobody_sleep_beyond_it(monkeypatch):
    made: list[Any] = []
    monkeypatch.setattr("pytest_fileflow.toolbox.invoking", lambda *given: made.append(given[-1]))
    monkeypatch.setattr("pytest_fileflow.toolbox.Toolbox.tools", lambda *_: Tools(*[None] * 4))  # type: ignore[arg-type]
    flow = Flow("acme", S3Location("source"), S3Location("target"))
    with Host(Settings()).tools(EXECUTION, Context(), flow):
        made[0](0)
    with pytest.raises(Interrupted):
        made[0](0)
