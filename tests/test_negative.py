"""What must be refused: real servers that refuse, that let in, that answer otherwise, and none that answers."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow import errors, negative
from pytest_fileflow.clients import AwsClients
from pytest_fileflow.clock import Clock
from pytest_fileflow.endpoints.s3 import S3Endpoint
from pytest_fileflow.endpoints.sftp import SftpEndpoint
from pytest_fileflow.endpoints.ssh import SshSessions
from pytest_fileflow.invoke import LambdaInvoker, Started
from pytest_fileflow.model import Case, Flow, Refusal, S3Location, SftpLocation, Transfer, Variant
from pytest_fileflow.negative.answers import error_told, is_of_its_own
from pytest_fileflow.registry import Registry
from pytest_fileflow.secret import Credentials
from pytest_fileflow.steps import prepare_errand
from pytest_fileflow.streams import Tools
from tests.support.answers import Answer, AnswerServer
from tests.support.memory import World
from tests.support.openssh import OpenSsh, generate_key
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.model import Location, Run
    from tests.support.answers import Request

ARN = "arn:aws:lambda:us-east-1:123456789012:function:mover"
NOWHERE = S3Location("elsewhere")
HERE = SftpLocation("h", "u", "/in", "s")


class Bench:
    """Endpoints over real clients, and a way to try one case."""

    def __init__(self, credentials: Credentials | None = None, session: Any = None) -> None:
        self.sessions = SshSessions(lambda _: credentials or Credentials(), known_hosts=())
        self.clients = None if session is None else AwsClients(session)
        self.invoked: list[object] = []
        self.answer: Callable[[Transfer, object], Started] = lambda _transfer, _payload: Started("request-1")

    def endpoint(self, location: Location) -> Endpoint:
        if isinstance(location, S3Location):
            assert self.clients is not None
            return S3Endpoint(location, self.clients.client("s3"), self.clients)
        return SftpEndpoint(location, self.sessions)

    def invoke(self, transfer: Transfer, payload: object) -> Started:
        self.invoked.append(payload)
        return self.answer(transfer, payload)

    def tools(self, endpoint: Callable[[Location], Endpoint] | None = None, **more: Any) -> Tools:
        return Tools(endpoint or self.endpoint, self.invoke, Registry(), Clock(), **more)

    def try_it(self, name: str, source: Location, target: Location = NOWHERE, **options: object) -> Run:
        only = {"side": "source", **options} if target == NOWHERE else options
        return tried(self.tools(), name, Flow("acme", source, target), **only)


def tried(tools: Tools, name: str, flow: Flow, **options: object) -> Run:
    case = Case(flow, Variant("", 0), "rejects", Refusal(name, options))
    run = prepare_errand(case, tools)
    run = dataclasses.replace(run, written=negative.may_write(case, run))
    return negative.carry_out(case, run, tools)


def told(run: Run) -> tuple[str, str | None, str]:
    assert run.verdict is not None
    return run.verdict.outcome, run.verdict.cause, run.verdict.reason or ""


def passed(run: Run) -> bool:
    assert told(run) == ("passed", None, ""), told(run)
    return bool(run.checks) and all(check.passed for check in run.checks)


@pytest.fixture(scope="module")
def server() -> Iterator[OpenSsh]:
    with OpenSsh() as running:
        yield running


@pytest.fixture(scope="module")
def open_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """Serve SSH that lets in whoever has a key of any kind: port and host key."""
    import asyncio

    import asyncssh

    connections: list[asyncssh.SSHServerConnection] = []

    class Anybody(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            connections.append(conn)

        def begin_auth(self, username: str) -> bool:
            return True

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            return True

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    key = asyncssh.generate_private_key("ssh-ed25519")

    async def listen() -> Any:
        return await asyncssh.listen("127.0.0.1", 0, server_factory=Anybody, server_host_keys=[key], gss_host=None)

    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    yield acceptor.get_port(), key.get_fingerprint()

    async def close() -> None:
        acceptor.close()
        for connection in connections:
            connection.abort()
            await connection.wait_closed()
        await acceptor.wait_closed()

    asyncio.run_coroutine_threadsafe(close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def sftp(server: OpenSsh) -> Iterator[Bench]:
    bench = Bench(Credentials(private_key=server.private_key))
    yield bench
    bench.sessions.close()


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as running:
        yield running


@pytest.fixture
def anybodys_s3(moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """moto accepts anybody: every bucket of it is public."""
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    bench = Bench(session=moto.session())
    bench.clients.client("s3").create_bucket(Bucket="box")  # type: ignore[union-attr]
    yield bench
    moto.reset()


def s3_saying(monkeypatch: pytest.MonkeyPatch, server: AnswerServer) -> Bench:
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return Bench(session=boto3.Session("AKIAOWNKEY0000000000", "own", region_name="us-east-1"))


def aws_error(status: int, code: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>as told</Message></Error>".encode()
    return Answer(status, body, {"Content-Type": "application/xml"})


# Logins over SSH


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("name", ["wrong_key", "unknown_user"])
def test_a_server_that_refuses_a_stranger_passes(server: OpenSsh, name: str, kind: str) -> None:
    pair = generate_key(kind)
    server.authorize(pair.public)
    bench = Bench(Credentials(private_key=pair.private))
    before = connections_to(server)
    run = bench.try_it(name, server.location())
    assert passed(run)
    assert [(check.name, check.expected) for check in run.checks] == [("source", "the login refused within 30 s")]
    assert run.checks[0].observed.startswith("auth.rejected after ")
    # A login that works is the last of them in the server's log.
    bench.endpoint(server.location()).stat("nothing")
    bench.sessions.close()
    assert connections_to(server) - before == 2, "one connection, one try"


def connections_to(server: OpenSsh) -> int:
    return server.log().count("Connection from")


def test_the_real_key_is_let_in_and_the_stranger_leaves_no_session(sftp: Bench, server: OpenSsh) -> None:
    assert passed(sftp.try_it("wrong_key", server.location()))
    assert sftp.endpoint(server.location()).stat("nothing") is None
    assert passed(sftp.try_it("unknown_user", server.location()))


@pytest.mark.parametrize("name", ["wrong_key", "unknown_user"])
def test_a_server_that_lets_a_stranger_in_fails_loudly(open_door: tuple[int, str], sftp: Bench, name: str) -> None:
    port, host_key = open_door
    place = SftpLocation("127.0.0.1", "acme", "/in", "secret", port, host_key)
    run = sftp.try_it(name, place)
    outcome, cause, reason = told(run)
    assert (outcome, cause) == ("failed", "negative.accepted")
    assert reason.startswith(f"127.0.0.1:{port} let in a login as ")
    assert ("acme with made-up" if name == "wrong_key" else f"nobody-{run.run_id}, whom nobody knows") in reason
    assert [check.passed for check in run.checks] == [False]


def test_a_password_that_was_made_up_is_refused_too() -> None:
    if os.geteuid():
        pytest.skip("an account with a password takes root")
    with OpenSsh(password="right") as server:
        bench = Bench(Credentials(password="right"))
        assert passed(bench.try_it("wrong_key", server.location()))
        assert bench.endpoint(server.location()).stat("nothing") is None


def test_a_server_that_takes_no_keys_has_not_refused_this_one() -> None:
    with OpenSsh(options={"PubkeyAuthentication": "no", "KbdInteractiveAuthentication": "yes"}) as server:
        run = Bench(Credentials(private_key=server.private_key)).try_it("wrong_key", server.location())
        outcome, cause, reason = told(run)
        assert (outcome, cause) == ("failed", "negative.unclear")
        assert "was not refused in the right way (the login refused)" in reason


def test_no_answer_is_no_refusal(sftp: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    run = sftp.try_it("wrong_key", SftpLocation("127.0.0.1", "acme", "/in", "s", port))
    outcome, cause, reason = told(run)
    assert (outcome, cause) == ("failed", "net.refused")
    assert "the system did not refuse, it did not answer: " in reason


def test_a_host_key_that_is_not_trusted_keeps_its_cause(sftp: Bench, server: OpenSsh) -> None:
    pin = generate_key().fingerprint
    assert told(sftp.try_it("wrong_key", server.location(host_key=pin)))[:2] == ("failed", "hostkey.mismatch")


@pytest.mark.parametrize("evidence", [{"aws_code": "AccessDenied"}, {"secret_arn": "file:/run/secrets/acme"}])
def test_a_secret_that_cannot_be_read_is_not_the_servers_refusal(server: OpenSsh, evidence: dict[str, object]) -> None:
    def denied(_: str) -> Credentials:
        raise errors.AccessDenied("reading the secret was denied", evidence=evidence)

    bench = Bench()
    bench.sessions = SshSessions(denied, known_hosts=())
    for name in ("wrong_key", "unknown_user", "forbidden_write"):
        run = bench.try_it(name, server.location(server.root))
        assert told(run)[:2] == ("failed", "access.denied"), name


def test_a_refusal_that_comes_too_late_fails(sftp: Bench, server: OpenSsh) -> None:
    run = sftp.try_it("wrong_key", server.location(), within_seconds=0.0001)
    outcome, cause, reason = told(run)
    assert (outcome, cause) == ("failed", "negative.unclear")
    assert "later than 0.0001 s" in reason


def test_many_cases_at_once_do_not_overrun_a_server() -> None:
    with OpenSsh(options={"MaxStartups": "8:100:8"}) as server, ThreadPoolExecutor(7) as lanes:
        bench = Bench(Credentials(private_key=server.private_key))
        before = connections_to(server)
        names = ("wrong_key", "unknown_user") * 14
        assert all(lanes.map(lambda name: passed(bench.try_it(name, server.location())), names))
        bench.endpoint(server.location()).stat("nothing")
        bench.sessions.close()
        assert connections_to(server) - before == len(names) + 1
        assert "drop connection" not in server.log()


def test_no_made_up_key_is_ever_shown(
    sftp: Bench, server: OpenSsh, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_fileflow.endpoints import sftp as module

    made: list[Credentials] = []

    def remembered(*arguments: Any) -> Credentials:
        made.append(original(*arguments))
        return made[-1]

    original = module.made_up_credentials
    monkeypatch.setattr(module, "made_up_credentials", remembered)
    with caplog.at_level(logging.DEBUG):
        run = sftp.try_it("wrong_key", server.location())
    (other,) = made
    assert other.private_key
    assert other.private_key != server.private_key
    secret_lines = [line for line in other.private_key.splitlines() if len(line) > 40]
    shown = f"{caplog.text} {run!r} {other!r}"
    assert secret_lines
    assert not [line for line in secret_lines if line in shown]


# Requests to S3


@pytest.mark.parametrize("name", ["wrong_key", "unknown_user", "forbidden_write"])
def test_a_public_bucket_fails_loudly(anybodys_s3: Bench, name: str) -> None:
    run = anybodys_s3.try_it(name, S3Location("box", "in/"))
    outcome, cause, reason = told(run)
    assert (outcome, cause) == ("failed", "negative.accepted")
    assert "s3://box/in/" in reason
    assert anybodys_s3.endpoint(S3Location("box", "in/")).list() == [], "a probe that got in is removed"
    if name == "forbidden_write":
        assert (
            reason
            == f"anybody could write s3://box/in/fileflow-probe-{run.run_id}.txt, unsigned; the probe was removed"
        )
        assert ("target", f"fileflow-probe-{run.run_id}.txt") in run.written, "the transfer may have moved it meanwhile"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("wrong_key", "InvalidAccessKeyId"),
        ("wrong_key", "SignatureDoesNotMatch"),
        ("wrong_key", "AccessDenied"),
        ("unknown_user", "AccessDenied"),
        ("forbidden_write", "AccessDenied"),
    ],
)
def test_s3s_own_refusals_pass(monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> None:
    with AnswerServer(lambda _: aws_error(403, code)) as server:
        run = s3_saying(monkeypatch, server).try_it(name, S3Location("box", "in/"))
        assert passed(run)
        assert run.written == (), "nothing was written, so there is nothing to remove"
        (request,) = server.requests
        signature = request.headers.get("Authorization", "")
        assert ("Credential=AKIA" in signature) == (name == "wrong_key")
        assert "AKIAOWNKEY" not in signature
        assert run.checks[0].observed.startswith(("access.denied", "tester.credentials"))
        assert code in run.checks[0].observed


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        (403, "RequestTimeTooSkewed", "negative.unclear"),
        (400, "AuthorizationHeaderMalformed", "negative.unclear"),
        (501, "NotImplemented", "negative.unclear"),
        (404, "NoSuchBucket", "location.missing"),
    ],
)
@pytest.mark.parametrize("name", ["wrong_key", "forbidden_write"])
def test_other_answers_of_s3_are_no_refusals(
    monkeypatch: pytest.MonkeyPatch, name: str, status: int, code: str, cause: str
) -> None:
    with AnswerServer(lambda _: aws_error(status, code)) as server:
        run = s3_saying(monkeypatch, server).try_it(name, S3Location("box", "in/"))
        assert told(run)[:2] == ("failed", cause)
        assert code in told(run)[2] or cause == "location.missing"


def test_a_probe_that_cannot_be_removed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: Request) -> Answer:
        return Answer() if request.method == "PUT" else aws_error(403, "AccessDenied")

    with AnswerServer(answer) as server:
        run = s3_saying(monkeypatch, server).try_it("forbidden_write", S3Location("box", "in/"))
        assert told(run)[1] == "negative.accepted"
        assert "the probe could not be removed" in told(run)[2]
        assert run.residue == (f"s3://box/in/fileflow-probe-{run.run_id}.txt",)


def test_the_testers_own_identity_is_denied_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with AnswerServer(lambda _: aws_error(403, "AccessDenied")) as server:
        bench = s3_saying(monkeypatch, server)
        run = bench.try_it("forbidden_write", S3Location("box", "in/"), prefix="private/")
        assert passed(run)
        (request,) = server.requests
        assert "Credential=AKIAOWNKEY" in request.headers["Authorization"]
        assert request.path.startswith("/box/private/fileflow-probe-")


def test_the_testers_own_credentials_are_its_own_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    with AnswerServer(lambda _: aws_error(403, "InvalidAccessKeyId")) as server:
        run = s3_saying(monkeypatch, server).try_it("forbidden_write", S3Location("box", "in/"), prefix="private/")
        assert told(run)[:2] == ("error", "tester.credentials")


def test_the_testers_own_identity_that_may_write_elsewhere_fails(anybodys_s3: Bench) -> None:
    run = anybodys_s3.try_it("forbidden_write", S3Location("box", "in/"), prefix="private/")
    assert told(run)[1] == "negative.accepted"
    assert "the tester's own identity could write s3://box/private/" in told(run)[2]
    assert anybodys_s3.endpoint(S3Location("box", "private/")).list() == []


# Writes over SFTP


def test_a_directory_that_is_closed_passes(sftp: Bench, server: OpenSsh) -> None:
    run = sftp.try_it("forbidden_write", server.location())
    assert passed(run)
    assert run.checks[0].expected == "permission denied within 30 s"


def test_a_directory_that_takes_a_file_fails_and_the_probe_is_gone(sftp: Bench, server: OpenSsh) -> None:
    other = server.directory("other-partner")
    (other / "theirs.txt").write_text("theirs")
    run = sftp.try_it("forbidden_write", server.location(), dir=str(other))
    outcome, cause, reason = told(run)
    assert (outcome, cause) == ("failed", "negative.accepted")
    assert f"{server.user} could write sftp://" in reason
    assert [path.name for path in other.iterdir()] == ["theirs.txt"]


def test_writing_without_renaming_is_writing(sftp: Bench) -> None:
    options = {"Subsystem": "sftp internal-sftp -P posix-rename,rename,remove", "ForceCommand": ""}
    with OpenSsh(options=options) as server:
        bench = Bench(Credentials(private_key=server.private_key))
        run = bench.try_it("forbidden_write", server.location(), dir=str(server.directory("drop-box")))
        assert told(run)[1] == "negative.accepted"
        assert len(run.residue) == 1
        assert run.residue[0].endswith(f"drop-box/fileflow-probe-{run.run_id}.txt")


def test_a_directory_that_is_not_there_proves_nothing(sftp: Bench, server: OpenSsh) -> None:
    run = sftp.try_it("forbidden_write", server.location(), dir=f"{server.root}/absent")
    outcome, cause, reason = told(run)
    assert (outcome, cause) == ("failed", "location.missing")
    assert "proves nothing" in reason


def test_a_rejected_login_is_not_a_denied_write(server: OpenSsh) -> None:
    bench = Bench(Credentials(private_key=generate_key().private))
    assert told(bench.try_it("forbidden_write", server.location()))[:2] == ("failed", "auth.rejected")


# Both ends


def test_every_end_is_tried_and_who_lets_in_is_the_verdict(
    open_door: tuple[int, str], server: OpenSsh, sftp: Bench
) -> None:
    port, host_key = open_door
    lax = SftpLocation("127.0.0.1", "acme", "/in", "secret", port, host_key)
    gone = SftpLocation("127.0.0.1", "acme", "/in", "secret", 1)
    run = sftp.try_it("wrong_key", gone, lax)
    assert [(check.name, check.passed) for check in run.checks] == [("source", False), ("target", False)]
    assert told(run)[1] == "negative.accepted"
    run = sftp.try_it("wrong_key", server.location(), lax, side="source")
    assert passed(run)
    assert [check.name for check in run.checks] == ["source"]


@pytest.mark.parametrize("location", [S3Location("box"), HERE], ids=["S3", "SFTP"])
@pytest.mark.parametrize("name", ["wrong_key", "unknown_user"])
def test_foreign_endpoints_can_play_no_stranger(location: Location, name: str) -> None:
    tools = Bench().tools(World().endpoint)
    run = tried(tools, name, Flow("acme", location, location))
    outcome, cause, reason = told(run)
    assert (outcome, cause) == ("error", "tester.not_tried")
    assert "its endpoint comes from a fixture that makes none" in reason


def test_an_endpoint_of_our_kind_without_clients_can_play_none_either(anybodys_s3: Bench) -> None:
    tools = Bench().tools(lambda location: S3Endpoint(location, anybodys_s3.clients.client("s3")))  # type: ignore[union-attr, arg-type]
    assert told(tried(tools, "wrong_key", Flow("acme", S3Location("box"), S3Location("box"))))[1] == "tester.not_tried"


# Starting what must not succeed

INVOKED = Transfer("invoke", ARN, payload={"key": "${source.key}"})


def started(returned: str | None, error: errors.FileflowError | None = None) -> Callable[[Transfer, object], Started]:
    def answer(transfer: Transfer, _payload: object) -> Started:
        assert transfer.invocation == "RequestResponse"
        if error is not None:
            raise error
        return Started("request-1", "the log", returned)

    return answer


def start(name: str, answer: Callable[[Transfer, object], Started], **options: object) -> tuple[Run, Bench]:
    bench, world = Bench(), World()
    bench.answer = answer
    flow = Flow("acme", S3Location("box", "in/"), S3Location("box", "out/"), INVOKED)
    return tried(bench.tools(world.endpoint), name, flow, **options), bench


RAISED = errors.FunctionFailed("f failed with KeyError: 'key'", evidence={"function_error": "Unhandled"})


@pytest.mark.parametrize("name", ["missing_source", "bad_payload"])
@pytest.mark.parametrize(
    ("returned", "error"),
    [
        (None, RAISED),
        (None, errors.FunctionFailed("a fixture's own words")),
        ('{"statusCode": 404, "body": "no such key"}', None),
        ('{"status": "Failed"}', None),
        ('{"errorMessage": "no"}', None),
    ],
)
def test_an_error_passes(name: str, returned: str | None, error: errors.FileflowError | None) -> None:
    run, bench = start(name, started(returned, error))
    assert passed(run)
    (payload,) = bench.invoked
    assert run.written == ()
    if name == "missing_source":
        assert payload == {"key": f"in/{run.file.name}"}
        assert run.run_id in run.file.name
        assert [check.name for check in run.checks] == ["function", "target"]
    else:
        assert json.loads(json.dumps(payload)) == {"fileflow": "bad payload"}


@pytest.mark.parametrize("name", ["missing_source", "bad_payload"])
@pytest.mark.parametrize("returned", [None, "null", "[]", '"done"', "{}", '{"statusCode": 200, "error": null}'])
def test_a_quiet_success_fails(name: str, returned: str | None) -> None:
    run, _ = start(name, started(returned))
    outcome, cause, reason = told(run)
    assert (outcome, cause) == ("failed", "negative.accepted")
    assert reason.startswith(f"{ARN} reported success for a ")
    assert run.verdict is not None
    assert run.verdict.evidence == {"lambda_request_id": "request-1", "log_tail": "the log"}


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (errors.InvokeThrottled("throttled"), "trigger.throttled"),
        (errors.InvokeDenied("denied"), "trigger.denied"),
        (errors.FunctionNotFound("none"), "trigger.not_found"),
        (errors.FunctionFailed("f could not be started", evidence={"aws_code": "X"}), "trigger.function_error"),
        (errors.InvokeTimeout("no answer"), "trigger.timeout"),
        (errors.CredentialsUnusable("expired"), "tester.credentials"),
        (errors.NetworkTimeout("no answer"), "net.timeout"),
    ],
)
def test_what_is_no_answer_of_the_function_keeps_its_cause(error: errors.FileflowError, cause: str) -> None:
    run, _ = start("bad_payload", started(None, error))
    assert told(run)[1] == cause


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("f failed with Sandbox.Timedout: RequestId: 1 Error: Task timed out after 3.00 seconds", "trigger.timeout"),
        ("f failed with Runtime.ExitError: RequestId: 1 Error: Runtime exited", "negative.unclear"),
        ("f failed with Runtime.ImportModuleError: Unable to import", "negative.unclear"),
    ],
)
def test_a_function_that_is_broken_has_not_refused(words: str, cause: str) -> None:
    error = errors.FunctionFailed(words, evidence={"function_error": "Unhandled"})
    assert told(start("bad_payload", started(None, error))[0])[1] == cause


def test_a_function_that_takes_too_long_is_not_waited_for() -> None:
    release = threading.Event()

    def hang(_transfer: Transfer, _payload: object) -> Started:
        release.wait(20)
        return Started("late")

    began = time.monotonic()
    run, _ = start("bad_payload", hang, within_seconds=0.3)
    release.set()
    assert told(run)[1] == "trigger.timeout"
    assert "had not answered within 0.3 s" in told(run)[2]
    assert time.monotonic() - began < 5


def test_the_end_of_the_session_ends_the_wait() -> None:
    release = threading.Event()

    def hang(_transfer: Transfer, _payload: object) -> Started:
        release.wait(20)
        return Started("late")

    bench = Bench()
    bench.answer = hang
    tools = bench.tools(World().endpoint, cancelled=lambda: bool(bench.invoked))
    flow = Flow("acme", S3Location("box", "in/"), S3Location("box", "out/"), INVOKED)
    assert told(tried(tools, "bad_payload", flow))[:2] == ("error", "tester.interrupted")
    release.set()


def test_a_payload_of_its_own_is_filled() -> None:
    run, bench = start("missing_source", started(None, RAISED), payload={"file": "${file.name}"})
    assert bench.invoked == [{"file": run.file.name}]
    _, bench = start("bad_payload", started(None, RAISED), payload=["${run_id", 1][1:])
    assert bench.invoked == [[1]]


def test_what_is_delivered_all_the_same_fails_and_is_left_to_be_removed() -> None:
    world, bench = World(), Bench()
    target = S3Location("box", "out/")

    def deliver(_transfer: Transfer, payload: Any) -> Started:
        world.storage.put(target.uri(), payload["key"].rpartition("/")[2], b"made up")
        raise RAISED

    bench.answer = deliver
    run = tried(bench.tools(world.endpoint), "missing_source", Flow("acme", S3Location("box", "in/"), target, INVOKED))
    assert told(run)[1] == "negative.accepted"
    assert "was delivered with 7 bytes, though its file was never sent" in told(run)[2]
    assert run.written == (("target", run.file.name),)


def test_an_event_flow_has_nothing_to_start() -> None:
    flow = Flow("acme", S3Location("box", "in/"), S3Location("box", "out/"))
    tools = dataclasses.replace(Bench().tools(World().endpoint), invoke=LambdaInvoker(None).invoke)  # type: ignore[arg-type]
    assert told(tried(tools, "bad_payload", flow))[1] == "config.invalid"
    with pytest.raises(errors.ConfigInvalid, match="an event flow: there is nothing to start"):
        tried(tools, "missing_source", flow)


@pytest.mark.parametrize("moves", [True, False])
def test_a_trigger_file_alone_must_deliver_nothing(moves: bool) -> None:
    world = World()
    source, target = S3Location("box", "in/"), S3Location("box", "out/")
    flow = Flow("acme", source, target, Transfer("trigger_file"))
    timer = threading.Timer(0.2, lambda: moves and world.storage.put(target.uri(), name_of(world, source), b"x"))
    timer.start()
    run = tried(Bench().tools(world.endpoint), "missing_source", flow, within_seconds=1.5)
    timer.join()
    assert [name for place, name in world.storage.everything() if place == source.uri()] == [f"{run.file.name}.done"]
    assert ("source", f"{run.file.name}.done") in run.written, "the trigger file is to be removed either way"
    assert told(run)[1] == ("negative.accepted" if moves else None)


def name_of(world: World, source: Location) -> str:
    return world.storage.names(source.uri())[0].removesuffix(".done")


@pytest.mark.parametrize(
    ("returned", "told_of"),
    [
        (None, None),
        ("no JSON", None),
        ('{"statusCode": "500"}', "statusCode 500"),
        ('{"statusCode": 399}', None),
        ('{"error": ""}', None),
        ('{"errors": ["a"]}', "errors ['a']"),
        ('{"errors": []}', None),
        ('{"status": "ERROR"}', "status ERROR"),
        ('{"status": "ok"}', None),
        ('{"success": false}', "success False"),
        ('{"success": true}', None),
    ],
)
def test_what_an_answer_tells_of_errors(returned: str | None, told_of: str | None) -> None:
    assert error_told(returned) == told_of


def test_a_network_error_is_not_of_the_functions_own_making() -> None:
    assert not is_of_its_own(errors.NetworkTimeout("x"))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ('{"statusCode": 400.0}', "statusCode 400.0"),
        ('{"statusCode": "404"}', "statusCode 404"),
        ('{"statusCode": "²"}', None),
        (json.dumps(json.dumps({"error": "no such file"})), "error no such file"),
        ('[{"ok": 1}, {"error": "no such file"}]', "error no such file"),
        (json.dumps({"statusCode": 400, "body": "x" * 100_000}), "statusCode 400"),
        ("[" * 100_000, None),
        ('{"statusCode": 200}', None),
    ],
)
def test_what_an_answer_tells_of_an_error(answer, told):
    assert error_told(answer) == told
