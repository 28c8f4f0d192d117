"""What reaches each channel, over real HTTP, from servers that misbehave and secrets that are not as agreed."""

from __future__ import annotations

import dataclasses
import json
import logging
import socket
import ssl
import threading
import time

import boto3
import pytest

from pytest_fileflow.clients import AwsClients
from pytest_fileflow.results.alerts import delivery
from pytest_fileflow.results.alerts.book import Letter
from pytest_fileflow.results.alerts.channel import Means
from pytest_fileflow.results.alerts.delivery import deliver
from pytest_fileflow.results.alerts.message import Message, News, in_bytes, markdown
from pytest_fileflow.results.alerts.post import Post, Request, Undelivered, is_safe
from pytest_fileflow.results.alerts.targets import channels_of
from pytest_fileflow.results.alerts.topic import subject
from tests.support.certificates import self_signed
from tests.support.hooks import GARBAGE, HANG_UP, HookServer, answer
from tests.support.s3server import MotoServer

TOKEN = "T0KEN-hunter2-swordfish"
HOSTILE = (
    '<!channel> <https://evil|x> & [click](https://evil) {noformat} [code]<b>x</b>[/code] "}],{" ${secret.token} *b*'
)
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:{}"


@pytest.fixture(scope="module")
def hooks():
    with HookServer() as server:
        yield server


@pytest.fixture(scope="module")
def aws():
    with MotoServer() as server, pytest.MonkeyPatch.context() as patch:
        for name, text in server.environment.items():
            patch.setenv(name, text)
        yield AwsClients(server.session())


@pytest.fixture
def secrets(aws, hooks):
    """Make the secrets of a test, by name: ``slack`` and ``url`` lead to the server, ``login`` logs in."""
    hooks.reset()
    client = aws.client("secretsmanager")
    made = {"slack": f"{hooks.url}/services/{TOKEN}", "login": json.dumps({"user": "me", "token": TOKEN})}

    def arn(name, text=None):
        text = made.get(name) if text is None else text
        try:
            return client.create_secret(Name=name, SecretString=text)["ARN"]
        except client.exceptions.ResourceExistsException:
            return client.put_secret_value(SecretId=name, SecretString=text)["ARN"]

    return arn


def letter(change="failing", flow_id="acme", *, to=(), tickets=None, closes=(), **facts):
    told = {
        "owner": "payments",
        "description": "",
        "cause": "" if change == "recovered" else "partial.truncated",
        "reason": "2048 of 4096 bytes arrived",
        "hint": "Look there.",
        "cases": ["4KiB", "5MiB"],
        "run_ids": ["06651b4f259a2ce2"],
        "since": "2026-11-24T06:00:00Z",
        "sessions": 3,
    }
    return Letter(flow_id, change, "2026-11-24T06:00:00Z", {**told, **facts}, tuple(to), tickets or {}, tuple(closes))


def message(*letters, **more):
    return Message(tuple(News(each.letter_id, each) for each in letters or (letter(),)), **more)


def sent(aws, alerts, *letters, seconds=30.0, **frame):
    """Deliver letters to the one channel of some alerts; return its outcome."""
    ((key, channel),) = channels_of(alerts)
    addressed = {each.letter_id: dataclasses.replace(each, to=(key,)) for each in letters or (letter(),)}
    for flow_id, each in addressed.items():
        tickets = dict.fromkeys([key], *each.tickets.values()) if each.tickets else {}
        addressed[flow_id] = dataclasses.replace(each, tickets=tickets, closes=(key,) if each.closes else ())
    means = Means(lambda: aws)
    (outcome,) = deliver(addressed, {key: channel}, means, Message((), **frame), seconds)
    return outcome


def test_slack_is_told_of_all_flows_in_one_message(aws, hooks, secrets):
    alerts = {"slack_webhook_secret_arn": secrets("slack")}
    outcome = sent(aws, alerts, letter(), letter("recovered", "beta"), report_url="https://ci.example/1")
    assert [each.flow_id for each in outcome.sent] == ["acme", "beta"]
    (body,) = hooks.bodies(f"/services/{TOKEN}")
    assert body["text"] == "1 flow failing, 1 recovered: acme, beta"
    texts = [block["text"]["text"] for block in body["blocks"]]
    assert texts[1:3] == [
        "*acme* failing: partial.truncated",
        "2048 of 4096 bytes arrived\nhint: Look there.\nowner: payments\ncases: 4KiB, 5MiB\nruns: 06651b4f259a2ce2",
    ]
    assert texts[3] == "*beta* recovered"
    assert texts[-1] == "report: https://ci.example/1"


@pytest.mark.parametrize("kind", ["env", "file", "ssm"])
def test_the_secret_of_a_channel_may_be_kept_elsewhere(aws, hooks, monkeypatch, tmp_path, kind):
    hooks.reset()
    address, path = f"{hooks.url}/services/{TOKEN}", tmp_path / "slack"
    monkeypatch.setenv("SLACK_WEBHOOK", address)
    path.write_text(f"{address}\n")
    path.chmod(0o600)
    aws.client("ssm").put_parameter(Name="/slack", Value=address, Type="SecureString", Overwrite=True)
    name = {"env": "env:SLACK_WEBHOOK", "file": f"file:{path}", "ssm": "ssm:/slack"}[kind]
    outcome = sent(aws, {"slack_webhook_secret_arn": name})
    assert [each.flow_id for each in outcome.sent] == ["acme"]
    assert len(hooks.bodies(f"/services/{TOKEN}")) == 1


def test_slack_shows_what_others_said_as_it_is(aws, hooks, secrets):
    secret = secrets("slack", json.dumps({"url": f"{hooks.url}/json"}))
    sent(aws, {"slack_webhook_secret_arn": secret}, letter(cause=HOSTILE, reason=HOSTILE))
    (body,) = hooks.bodies("/json")
    for block in body["blocks"]:
        if block["text"]["type"] == "mrkdwn":
            assert "<" not in block["text"]["text"]
            assert "&lt;!channel&gt;" in block["text"]["text"]
    assert "<" not in body["text"]


def test_a_message_of_hundreds_of_flows_is_bounded(aws, hooks, secrets):
    many = [letter(flow_id=f"flow-{number:03}", reason="x" * 500, hint="y" * 500) for number in range(300)]
    sent(aws, {"slack_webhook_secret_arn": secrets("slack")}, *many, report_url="https://ci.example/1")
    (body,) = hooks.bodies(f"/services/{TOKEN}")
    assert len(body["blocks"]) <= 50
    assert all(len(block["text"]["text"]) <= 3000 for block in body["blocks"])
    assert len(body["blocks"][0]["text"]["text"]) <= 150
    assert "also: flow-015 failing" in body["blocks"][-2]["text"]["text"]
    assert "and 235 more" in message(*many).text()


@pytest.mark.parametrize(
    ("answers", "posts"),
    [
        ([answer(429, retry_after="0"), answer()], 2),
        ([answer(500), answer(503), answer()], 3),
        ([HANG_UP, answer()], 2),
        ([GARBAGE, answer()], 2),
        ([answer(200, "not what anybody expects")], 1),
    ],
    ids=["429", "500", "hangs up", "garbage", "200"],
)
def test_what_may_be_well_a_little_later_is_tried_again(hooks, answers, posts):
    hooks.reset()
    hooks.answers["/x"] = list(answers)
    pauses: list[float] = []
    Post(time.monotonic() + 30, sleep=pauses.append).send(Request(f"{hooks.url}/x", {}))
    assert (len(hooks.requests), len(pauses)) == (posts, posts - 1)


def test_a_server_says_how_long_to_wait(hooks):
    hooks.reset()
    hooks.answers["/x"] = [answer(429, retry_after="7"), answer(503), answer(503), answer()]
    pauses: list[float] = []
    Post(time.monotonic() + 60, sleep=pauses.append).send(Request(f"{hooks.url}/x", {}))
    assert pauses[0] == 7
    assert 0.7 < pauses[1] < pauses[2] < 3


@pytest.mark.parametrize(
    ("said", "words", "posts"),
    [
        (answer(410), "it answered with HTTP 410", 1),
        (answer(403), "it answered with HTTP 403", 1),
        (answer(429, retry_after="3600"), "it answered with HTTP 429", 1),
        (answer(429, retry_after="soon"), "it answered with HTTP 429 (5 tries)", 5),
        (answer(500), "it answered with HTTP 500 (5 tries)", 5),
        (HANG_UP, "the connection broke (5 tries)", 5),
        (GARBAGE, "the connection broke (5 tries)", 5),
        (
            answer(302, location="/elsewhere"),
            "it answered with HTTP 302, a redirect, which is not followed",
            1,
        ),
    ],
)
def test_what_does_not_get_well_is_told_without_the_address(hooks, said, words, posts):
    hooks.reset()
    hooks.answers[f"/{TOKEN}"] = [said]
    with pytest.raises(Undelivered) as raised:
        Post(time.monotonic() + 60, sleep=lambda _: None).send(Request(f"{hooks.url}/{TOKEN}", {}))
    assert str(raised.value) == words
    assert [each.path for each in hooks.requests] == [f"/{TOKEN}"] * posts
    told = f"{raised.value!r} {raised.getrepr(style='short')}"
    assert TOKEN not in told
    assert (raised.value.__cause__, raised.value.__suppress_context__ or raised.value.__context__ is None) == (
        None,
        True,
    )


def test_a_port_that_is_closed_and_a_name_that_does_not_resolve():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    for url, words in (
        (f"http://127.0.0.1:{port}/{TOKEN}", "it refuses connections, or cannot be reached ("),
        (f"https://no-such-host.invalid/{TOKEN}", "its host name does not resolve"),
    ):
        with pytest.raises(Undelivered) as raised:
            Post(time.monotonic() + 60, sleep=lambda _: None).send(Request(url, {}))
        assert str(raised.value).startswith(words)


def test_a_certificate_that_nobody_vouches_for_is_refused(hooks, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(Undelivered, match="TLS failed"):
            Post(time.monotonic() + 30).send(Request(f"https://localhost:{server.getsockname()[1]}/", {}))
        thread.join()


def test_servers_that_hang_are_left_behind_and_the_others_are_told(aws, hooks, secrets, monkeypatch):
    monkeypatch.setattr(delivery, "MARGIN_SECONDS", 0.2)
    hooks.answers = {"/hang": [hooks.hang], "/drip": [hooks.drip()]}
    blocks = [{"webhook": {"url": f"{hooks.url}/{name}"}} for name in ("hang", "drip", "quick")]
    channels = dict(each for block in blocks for each in channels_of(block))
    for seconds in (4.0, 9.0, 9.0):  # a busy machine may take its time for the quick one
        outcomes = deliver({"acme": letter(to=channels)}, channels, Means(lambda: aws), Message(()), seconds)
        if outcomes[2].sent:
            break
    assert [bool(outcome.sent) for outcome in outcomes] == [False, False, True]
    assert [outcome.reason for outcome in outcomes] == ["it did not answer in time", "it did not answer in time", ""]
    assert [each.flow_id for each in outcomes[0].untold] == ["acme"]


def test_nothing_of_an_address_or_token_is_logged_or_told(aws, hooks, secrets, caplog):
    slack, login = secrets("slack"), secrets("login")
    caplog.set_level(logging.DEBUG)
    fresh = AwsClients(boto3.Session())  # its clients are made, and their loggers with them, while a channel is told
    hooks.answers[f"/services/{TOKEN}"] = [answer(500), HANG_UP, answer(410, {"echo": TOKEN})]
    outcomes = [sent(fresh, {"slack_webhook_secret_arn": slack})]
    jira = {"base_url": f"{hooks.url}/jira", "project": "OPS", "secret_arn": login}
    hooks.answers["/jira/rest/api/2/issue"] = [answer(503), answer(401)]
    outcomes.append(sent(fresh, {"jira": jira}))
    webhook = {"url_secret_arn": slack, "secret_arn": login, "headers": {"X-Token": "${secret.token}"}}
    outcomes.append(sent(fresh, {"webhook": webhook}))
    assert [outcome.reason for outcome in outcomes] == [
        "it answered with HTTP 410",
        "it answered with HTTP 401",
        "it answered with HTTP 410",
    ]
    told = caplog.text + "".join(map(repr, outcomes))
    assert TOKEN not in told
    assert hooks.url not in caplog.text
    logging.getLogger("urllib3.connectionpool").debug("who asks for logs still has them")
    assert "still has them" in caplog.text


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("no address", "its address is not an https:// URL without a login in it"),
        ("http://chat.example/x", "its address is not an https:// URL without a login in it"),
        ("https://me:pw@chat.example/x", "its address is not an https:// URL without a login in it"),
        ('{"uri": "https://chat.example"}', "the secret {arn} holds no url"),
        ('{"url": ', "the secret {arn} is not a JSON object"),
    ],
)
def test_secrets_that_are_not_as_agreed(aws, hooks, secrets, secret, words):
    arn = secrets("odd", secret)
    outcome = sent(aws, {"slack_webhook_secret_arn": arn})
    assert outcome.reason == words.format(arn=arn)
    assert secret not in outcome.reason


def test_a_secret_that_is_not_there(aws, hooks, secrets):
    outcome = sent(aws, {"slack_webhook_secret_arn": ARN.format("gone")})
    assert outcome.reason == f"there is no secret {ARN.format('gone')}"


@pytest.mark.parametrize("place", ["https://chat.example/{}", "hooks.slack.com/services/{}", "key {}"])
def test_a_text_that_names_no_secret_is_neither_asked_for_nor_shown(aws, hooks, caplog, place):
    text = place.format(TOKEN)
    caplog.set_level(logging.DEBUG)
    jira = {"base_url": hooks.url, "project": "OPS", "secret_arn": text}
    webhook = {"url": hooks.url, "template": "pagerduty", "secret_arn": text}
    channels = {"slack_webhook_secret_arn": text, "jira": jira, "webhook": [webhook, {"url_secret_arn": text}]}
    for alerts in [{kind: block} for kind, block in channels.items() if kind != "webhook"] + [
        {"webhook": block} for block in channels["webhook"]
    ]:
        outcome = sent(aws, alerts)
        assert outcome.reason == "what should name its secret is neither an ARN nor a name (not shown)"
        assert TOKEN not in outcome.channel.name
    topic = sent(aws, {"sns_topic_arn": text})
    assert (topic.channel.name, topic.reason) == ("sns (not shown)", "what should name its topic is no ARN (not shown)")
    assert TOKEN not in caplog.text


def test_jira_has_an_issue_a_group_comments_and_an_end(aws, hooks, secrets):
    jira = {"base_url": f"{hooks.url}/", "project": "OPS", "secret_arn": secrets("login"), "transition": "done"}
    jira["fields"] = {"labels": ["file-transfer"]}
    hooks.answers["/rest/api/2/issue"] = [answer(201, {"id": "7", "key": "OPS-7"})]
    hooks.answers["/rest/api/2/issue/OPS-7/transitions"] = [
        answer(200, {"transitions": [{"id": "31", "name": "Done"}]})
    ]
    opened = sent(aws, {"jira": jira}, letter(reason=HOSTILE), letter(flow_id="beta"))
    assert {each.ticket for each in opened.sent} == {"OPS-7"}
    (body,) = hooks.bodies("/rest/api/2/issue")
    assert body["fields"]["summary"] == "2 flows failing: acme, beta"
    assert body["fields"]["project"] == {"key": "OPS"}
    assert body["fields"]["issuetype"] == {"name": "Task"}
    assert body["fields"]["labels"] == ["file-transfer"]
    assert body["fields"]["description"].count("{noformat}") == 2
    assert hooks.requests[0].headers["Authorization"].startswith("Basic ")

    had = {"jira": "OPS-7"}
    sent(aws, {"jira": jira}, letter("recovered", tickets=had))
    assert [each.path for each in hooks.requests[1:]] == ["/rest/api/2/issue/OPS-7/comment"]
    closed = sent(aws, {"jira": jira}, letter("recovered", "beta", tickets=had, closes=["jira"]))
    assert closed.reason == ""
    assert [(each.method, each.body) for each in hooks.requests[-2:]] == [
        ("GET", b""),
        ("POST", b'{"transition": {"id": "31"}}'),
    ]


def test_an_issue_that_somebody_has_deleted_is_opened_anew(aws, hooks, secrets):
    jira = {"base_url": hooks.url, "project": "OPS", "secret_arn": secrets("pat", json.dumps({"token": TOKEN}))}
    hooks.answers["/rest/api/2/issue/OPS-7/comment"] = [answer(404)]
    hooks.answers["/rest/api/2/issue"] = [answer(201, {"key": "OPS-8"})]
    (again,) = sent(aws, {"jira": jira}, letter("still failing", tickets={"jira": "OPS-7"})).sent
    assert again.ticket == "OPS-8"
    assert hooks.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
    (gone,) = sent(aws, {"jira": jira}, letter("recovered", tickets={"jira": "OPS-7"})).sent
    assert gone.ticket is None
    (never,) = sent(aws, {"jira": jira}, letter("recovered")).sent
    assert never.ticket is None
    assert len(hooks.bodies("/rest/api/2/issue")) == 1


def test_an_answer_that_is_no_ticket_is_none(aws, hooks, secrets):
    jira = {"base_url": hooks.url, "project": "OPS", "secret_arn": secrets("login")}
    for body in ("<html>log in</html>", {"key": "../../admin"}, {"key": 7}, ["x"]):
        hooks.answers["/rest/api/2/issue"] = [answer(200, body)]
        assert sent(aws, {"jira": jira}).reason == "it answered without key, so no ticket was opened there"


def test_servicenow_has_a_record_notes_and_an_end(aws, hooks, secrets):
    login, path = secrets("login"), "/api/now/table/incident"
    block = {
        "instance_url": hooks.url,
        "secret_arn": login,
        "fields": {"urgency": "2"},
        "recovery_fields": {"state": "6"},
    }
    hooks.answers[path] = [answer(201, {"result": {"sys_id": "a" * 32, "number": "INC1"}})]
    (opened,) = sent(aws, {"servicenow": block}, letter(reason=HOSTILE)).sent
    assert opened.ticket == "a" * 32
    (body,) = hooks.bodies(path)
    assert body["urgency"] == "2"
    assert body["short_description"] == "acme failing: partial.truncated"
    assert "[code]" not in body["description"]
    had = {"servicenow": "a" * 32}
    sent(aws, {"servicenow": block}, letter("still failing", tickets=had))
    sent(aws, {"servicenow": block}, letter("recovered", tickets=had, closes=["servicenow"]))
    notes = hooks.bodies(f"{path}/{'a' * 32}")
    assert [note.get("state") for note in notes] == [None, "6"]
    assert "since 2026-11-24T06:00:00Z, 3 sessions" in notes[0]["work_notes"]
    assert {each.method for each in hooks.requests[1:]} == {"PATCH"}


def test_pagerduty_has_an_event_a_flow_with_a_key_that_stays(aws, hooks, secrets):
    block = {"url": f"{hooks.url}/v2/enqueue", "template": "pagerduty"}
    block["secret_arn"] = secrets("pd", json.dumps({"routing_key": TOKEN}))
    outcome = sent(aws, {"webhook": block}, letter(), letter("recovered", "beta"))
    assert len(outcome.sent) == 2
    events = hooks.bodies("/v2/enqueue")
    assert [(each["event_action"], each["dedup_key"]) for each in events] == [
        ("trigger", "fileflow/acme"),
        ("resolve", "fileflow/beta"),
    ]
    assert [each["payload"]["severity"] for each in events] == ["error", "info"]
    assert {each["routing_key"] for each in events} == {TOKEN}


def test_what_one_flow_of_several_could_not_be_told_is_kept(aws, hooks, secrets):
    block = {"url": f"{hooks.url}/each", "template": {"flow": "${flow.id}"}}
    hooks.answers["/each"] = [answer(), answer(400), answer()]
    outcome = sent(aws, {"webhook": block}, *(letter(flow_id=flow_id) for flow_id in "abc"))
    assert [each.flow_id for each in outcome.sent] == ["a", "c"]
    assert [each.flow_id for each in outcome.untold] == ["b"]


def test_teams_has_a_card_in_which_nothing_is_a_link(aws, hooks, secrets):
    sent(aws, {"webhook": {"url": f"{hooks.url}/teams", "template": "teams"}}, letter(reason=HOSTILE))
    (body,) = hooks.bodies("/teams")
    title, text = body["attachments"][0]["content"]["body"]
    assert title["inlines"][0]["text"] == "acme failing: partial\\.truncated".replace("\\", "")
    assert "\\[click\\]\\(https\\://evil\\)" in text["text"]
    assert "\\<\\!channel\\>" in text["text"]


def test_the_generic_template_has_a_list_of_flows(aws, hooks, secrets):
    block = {"url": f"{hooks.url}/mine", "secret_arn": secrets("login"), "headers": {"X-Key": "k ${secret.token}"}}
    sent(aws, {"webhook": block}, letter(), letter("recovered", "beta"), sandbox=True)
    assert hooks.requests[0].headers["X-Key"] == f"k {TOKEN}"
    (body,) = hooks.bodies("/mine")
    assert body["title"] == "[sandbox] 1 flow failing, 1 recovered: acme, beta"
    assert [flow["id"] for flow in body["flows"]] == ["acme", "beta"]
    assert body["flows"][0]["run_ids"] == "06651b4f259a2ce2"


def test_nothing_that_is_put_in_breaks_out_or_is_read_again(aws, hooks, secrets):
    block = {"url": f"{hooks.url}/own", "secret_arn": secrets("login"), "template": {"a": ["${flow.reason}!", 1]}}
    sent(aws, {"webhook": block}, letter(reason=HOSTILE))
    assert hooks.bodies("/own") == [{"a": [f"{HOSTILE}!", 1]}]


def test_a_secret_without_what_a_template_uses(aws, hooks, secrets):
    block = {"url": hooks.url, "template": "pagerduty", "secret_arn": secrets("login")}
    assert sent(aws, {"webhook": block}).reason == f"the secret {block['secret_arn']} does not hold secret.routing_key"
    del block["secret_arn"]
    assert "does not hold secret.routing_key" in sent(aws, {"webhook": block}).reason


def test_a_topic_publishes_to_its_subscribers(aws):
    topics, queues = aws.client("sns"), aws.client("sqs")
    topic = topics.create_topic(Name="alerts")["TopicArn"]
    queue = queues.create_queue(QueueName="told")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    many = [letter(flow_id=f"flow-{number:03}", reason="ü" * 500) for number in range(300)]
    assert len(sent(aws, {"sns_topic_arn": topic}, *many).sent) == 300
    (got,) = queues.receive_message(QueueUrl=queue)["Messages"]
    told = json.loads(got["Body"])
    assert told["Subject"].startswith("300 flows failing: flow-000, flow-001")
    assert len(told["Subject"]) < 100
    assert "and 235 more" in told["Message"]
    assert told["MessageAttributes"]["change"]["Value"] == "failing"


def test_a_topic_that_is_not_there(aws):
    outcome = sent(aws, {"sns_topic_arn": "arn:aws:sns:us-east-1:123456789012:gone"})
    assert outcome.sent == []
    assert "arn:aws:sns:us-east-1:123456789012:gone" in outcome.reason


@pytest.mark.parametrize("title", ["ä\n\x1b" * 100, "", "x" * 500, "2 flows…"])
def test_a_subject_is_short_ascii(title):
    text = subject(title)
    assert text.isascii()
    assert text.isprintable()
    assert 0 < len(text) < 100


def test_the_longest_text_is_one_that_sns_takes():
    long = [letter(flow_id="f" * 200, reason="€" * 4000, hint="€" * 4000) for _ in range(100)]
    text = in_bytes(message(*long).text(), 10_000)
    assert len(text.encode()) <= 10_000
    assert "characters left out" in text


def test_markdown_is_shown_as_it_is():
    assert markdown("a [b](c) *d* `e` <f> @g") == "a \\[b\\]\\(c\\) \\*d\\* \\`e\\` \\<f\\> \\@g"


def test_a_list_of_webhooks_is_as_many_channels():
    block = {"url": "https://chat.example", "template": "teams"}
    names = [channel.name for _, channel in channels_of({"webhook": [block, {"url": "https://other.example"}]})]
    assert names == ["webhook (teams)", "webhook (generic)"]


def test_channels_of_the_same_settings_are_one_and_notes_are_no_settings():
    jira = {"base_url": "https://jira.example", "project": "OPS", "secret_arn": "jira"}
    (one,), (other,), (third,) = (
        list(channels_of({"jira": block})) for block in (jira, {**jira, "x-note": 1}, {**jira, "project": "X"})
    )
    assert one[0] == other[0] != third[0]
    assert one[1] == other[1]


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://chat.example/a", True),
        ("http://localhost:8080/a", True),
        ("http://chat.example/a", False),
        ("https://me@chat.example/a", False),
        ("https://", False),
        ("https://[::1", False),
        ("https://chat.example/\n", False),
        ("file:///etc/passwd", False),
    ],
)
def test_which_addresses_are_used(url, safe):
    assert is_safe(url) == safe
