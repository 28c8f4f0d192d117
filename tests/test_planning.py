from __future__ import annotations

import dataclasses
import json
import re
import threading

import pytest

from pytest_fileflow import cli, steps
from pytest_fileflow.allow import AllowList, parse
from pytest_fileflow.clients import AwsClients
from pytest_fileflow.clock import Clock
from pytest_fileflow.commands.collecting import QUIET
from pytest_fileflow.endpoints import pipeline
from pytest_fileflow.endpoints.s3 import S3Endpoint
from pytest_fileflow.endpoints.sftp import SftpEndpoint
from pytest_fileflow.endpoints.ssh import Route, SshSessions
from pytest_fileflow.engine import Engine, Limits
from pytest_fileflow.flight import Plan
from pytest_fileflow.invoke import LambdaInvoker
from pytest_fileflow.model import (
    NO_FILE,
    Case,
    CheckSpec,
    Flow,
    Refusal,
    S3Location,
    SftpLocation,
    TestData,
    Transfer,
    Validation,
    Variant,
)
from pytest_fileflow.planning import RUN_ID, Action, plan_case
from pytest_fileflow.registry import Registry, register_builtin_patterns
from pytest_fileflow.sandbox import Sandbox
from pytest_fileflow.secret import Secrets
from pytest_fileflow.streams import Tools
from tests.support.inner import flow as config
from tests.support.sandbox_tools import FUNCTION, make_flow

PAYLOAD = {"source": "${source.uri}", "target": "${target.uri}", "name": "${file.name}", "run": "${run_id}"}


@pytest.fixture(scope="module")
def registry() -> Registry:
    registry = Registry()
    register_builtin_patterns(registry)
    return registry


def planned(case: Case, registry: Registry, *, clean_up: bool = True) -> tuple[Action, ...]:
    plan = plan_case(case, registry, AllowList(), clean_up=clean_up)
    assert plan.refused is None
    return plan.actions


def where(actions: tuple[Action, ...], *whats: str) -> set[str]:
    return {action.where for action in actions if action.what in whats}


class Wiretap:
    """What an engine's endpoints are asked to write and remove, noted where the request leaves for the wire."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: set[str] = set()
        self.deleted: set[str] = set()
        self.invoked: list[tuple[str, object]] = []
        self._lock = threading.Lock()
        self._tap(monkeypatch, "open_for_writing", self.written, lambda paths: paths)
        self._tap(monkeypatch, "remove", self.deleted, lambda paths: paths)
        replace = pipeline.Requests.replace

        def replaced(requests, old, new):
            self.written.add(new)
            return replace(requests, old, new)

        monkeypatch.setattr(pipeline.Requests, "replace", replaced)

    def _tap(self, monkeypatch, name, into, names_of) -> None:
        real = getattr(pipeline.Requests, name)

        def tapped(requests, paths):
            with self._lock:
                into.update(names_of(paths))
            return real(requests, paths)

        monkeypatch.setattr(pipeline.Requests, name, tapped)

    def watch(self, client) -> None:
        def note(params, model, **_):
            with self._lock:
                if model.name in ("PutObject", "CreateMultipartUpload"):
                    self.written.add(f"s3://{params['Bucket']}/{params['Key']}")
                elif model.name == "DeleteObject":
                    self.deleted.add(f"s3://{params['Bucket']}/{params['Key']}")
                elif model.name == "DeleteObjects":
                    keys = [each["Key"] for each in params["Delete"]["Objects"]]
                    self.deleted.update(f"s3://{params['Bucket']}/{key}" for key in keys)

        client.meta.events.register("provide-client-params.s3", note)


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox.start() as running:
        yield running


class Real:
    """Runs cases against the sandbox, and takes note of what left for the wire."""

    def __init__(self, sandbox: Sandbox, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
        import boto3

        for name, value in sandbox.environment().items():
            monkeypatch.setenv(name, value)
        self.clients = AwsClients(boto3.Session())
        secrets = Secrets(self.clients)
        self.sessions = SshSessions(secrets.credentials, route=lambda at: self._route(sandbox, at))
        self.tap = Wiretap(monkeypatch)
        self.tap.watch(self.clients.client("s3"))
        invoker = LambdaInvoker(self.clients)

        def invoke(transfer: Transfer, payload: object):
            self.tap.invoked.append((transfer.invocation, payload))
            return invoker.invoke(transfer, payload)

        self.tools = Tools(self._endpoint, invoke, registry, Clock(), knows_dry_run=True)
        self.recorded: list[object] = []
        self.entered: list[object] = []

    def _route(self, sandbox: Sandbox, at: SftpLocation) -> Route:
        return Route(*sandbox.route(at.host, at.port, at.username, at.dir), known_as=f"{at.host}:{at.port}")

    def _endpoint(self, location):
        if isinstance(location, S3Location):
            return S3Endpoint(location, self.clients.client("s3"), self.clients)
        return SftpEndpoint(location, self.sessions)

    def enter(self, key, case, run):
        self.entered.append(run)

    def record(self, case, run):
        self.recorded.append(run)
        return run

    def run(self, case: Case):
        engine = Engine(Limits(4, 4), self.tools.clock, self)
        try:
            engine.launch("key", case, self.tools, Plan())
            return engine.result("key")
        finally:
            engine.close()


@pytest.fixture
def real(sandbox, registry, monkeypatch):
    one = Real(sandbox, registry, monkeypatch)
    yield one
    one.sessions.close()


def as_planned(names: set[str], run_id: str) -> set[str]:
    """Return paths and URIs as a plan shows them: without host, time and run id."""
    plain = {re.sub(r"^sftp://[^/]*", "", name).replace(run_id, RUN_ID) for name in names}
    return {re.sub(r"_[0-9]{8}T[0-9]{6}Z_", "_", name) for name in plain}


RUNS = [
    ("SFTP", "S3", "invoke", "transfer"),
    ("S3", "SFTP", "trigger_file", "transfer"),
    ("SFTP", "SFTP", "trigger_file", "transfer"),
    ("S3", "S3", "invoke", "transfer"),
    ("SFTP", "S3", "invoke", "contract"),
    ("SFTP", "SFTP", "event", "contract"),
    ("S3", "S3", "event", "contract"),
]


@pytest.mark.parametrize("way", RUNS, ids="-".join)
def test_a_plan_says_what_a_run_writes_removes_and_invokes(sandbox, real, registry, way):
    source, target, mode, kind = way
    transfer = Transfer("invoke", FUNCTION, payload=PAYLOAD) if mode == "invoke" else Transfer(mode)
    flow = make_flow("-".join(way).lower().replace("_", "-"), source, target, transfer)
    flow = dataclasses.replace(flow, testdata=TestData((Variant("", 2048),)))
    sandbox.provision([flow])
    case = Case(flow, flow.testdata.variants[0] if kind == "transfer" else NO_FILE, kind)
    run = real.run(case)
    assert run.verdict.outcome == "passed", run.verdict
    actions = planned(case, registry)
    written, deleted = as_planned(real.tap.written, run.run_id), as_planned(real.tap.deleted, run.run_id)
    assert as_planned(where(actions, "write", "rename to", "begin and abort an upload of"), RUN_ID) == written
    assert as_planned(where(actions, "delete"), RUN_ID) == deleted
    ledger = {(flow.source if side == "source" else flow.target).uri(one) for side, one in real.entered[-1].written}
    assert as_planned(where(actions, "delete"), RUN_ID) <= as_planned(ledger, run.run_id)
    invoked = [
        (action.detail["invocation"], as_planned({json.dumps(action.detail["payload"])}, RUN_ID))
        for action in actions
        if action.what == "invoke"
    ]
    assert invoked == [(each, as_planned({json.dumps(payload)}, run.run_id)) for each, payload in real.tap.invoked]


def test_sizes_are_those_of_the_files(registry):
    flow = dataclasses.replace(make_flow("acme", "S3", "S3", Transfer()), testdata=TestData((Variant("", 4096),)))
    tools = Tools(None, None, registry, Clock())  # type: ignore[arg-type]
    run = steps.prepare(Case(flow, Variant("", 4096)), tools, run_id="a" * 16)
    actions = planned(Case(flow, Variant("", 4096)), registry)
    assert [action.size for action in actions if action.what == "write"] == [65, len(steps.manifest(run)), 4096]


def test_a_plan_costs_no_more_for_a_large_file(registry):
    flow = make_flow("acme", "S3", "S3", Transfer())
    size = 4 * 1024**4  # making its SHA-256 would take hours
    assert planned(Case(flow, Variant("", size)), registry)[-1].what == "delete"


def test_names_that_the_flow_makes_up_are_planned_to_be_removed(registry):
    renamed = Validation(checks=(CheckSpec("renamed", {"to": "${run_id}_*.csv"}),))
    flow = dataclasses.replace(make_flow("made-up", "S3", "S3", Transfer("event")), validation=renamed)
    case = Case(flow, Variant("", 2048))
    assert flow.target.uri(f"{RUN_ID}_*.csv") in where(planned(case, registry), "delete")
    assert flow.target.uri(f"{RUN_ID}_*.csv") not in where(planned(case, registry, clean_up=False), "delete")


def test_a_seed_in_s3_is_planned_to_be_read_where_it_may_be(registry, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = TestData((Variant("seed", 0, is_nominal=True),), "seed", options={"seed": "s3://seeds/of/ours/a b.csv"})
    flow = dataclasses.replace(make_flow("seeded", "S3", "S3", Transfer("event")), testdata=data)
    case = Case(flow, flow.testdata.variants[0])
    actions = planned(case, registry)
    assert "s3://seeds/of/ours/a b.csv" in where(actions, "read")
    assert len(where(actions, "write")) == 3
    assert list(tmp_path.iterdir()) == [], "nothing is fetched"
    ends = tuple(parse(end.uri()) for end in (flow.source, flow.target))
    plan = plan_case(case, registry, AllowList((ends,)), clean_up=True)
    assert "s3://seeds/of/ours/" in (plan.refused or "")


def test_without_cleaning_up_nothing_is_deleted(registry):
    case = Case(make_flow("acme", "SFTP", "S3", Transfer()), Variant("", 10))
    assert where(planned(case, registry, clean_up=False), "delete") == set()


@pytest.mark.parametrize(
    ("refusal", "done"),
    [
        (
            Refusal("wrong_key"),
            {
                "try to be let in": [
                    "sftp://acme@source.example.com:22/deep/source/",
                    "s3://bucket-target/partners/acme/",
                ]
            },
        ),
        (
            Refusal("forbidden_write", {"side": "source", "dir": "/etc"}),
            {
                "write": [f"sftp://acme@source.example.com:22/etc/fileflow-probe-{RUN_ID}.txt"],
                "delete": [f"sftp://acme@source.example.com:22/etc/fileflow-probe-{RUN_ID}.txt"],
            },
        ),
        (
            Refusal("forbidden_write", {"side": "target"}),
            {
                "write": [f"s3://bucket-target/partners/acme/fileflow-probe-{RUN_ID}.txt"],
                "delete": [f"s3://bucket-target/partners/acme/fileflow-probe-{RUN_ID}.txt"],
            },
        ),
        (Refusal("bad_payload"), {"invoke": [FUNCTION]}),
        (Refusal("bad_payload", {"payload": {"key": "${run_id}"}}), {"invoke": [FUNCTION]}),
    ],
)
def test_what_must_be_refused_is_planned_too(registry, refusal, done):
    flow = make_flow("acme", "SFTP", "S3", Transfer("invoke", FUNCTION, payload=PAYLOAD))
    actions = planned(Case(flow, NO_FILE, "rejects", refusal), registry)
    for what, places in done.items():
        assert [action.where for action in actions if action.what == what] == places
    assert {action.what for action in actions} == set(done)


def test_the_payload_of_an_invocation_is_filled_in(registry):
    flow = make_flow("acme", "S3", "S3", Transfer("invoke", FUNCTION, "RequestResponse", {"run": "${run_id}"}))
    [call] = [action for action in planned(Case(flow, Variant("", 1)), registry) if action.what == "invoke"]
    assert call.detail == {"invocation": "RequestResponse", "payload": {"run": RUN_ID}}


def test_what_is_refused_does_nothing(registry):
    flow = Flow("acme", S3Location("one"), S3Location("two"))
    plan = plan_case(Case(flow, Variant("", 1)), registry, AllowList(((parse("s3://one"),),)), clean_up=True)
    assert plan.refused.startswith("config.not_allowed: acme names what is not on the allow-list: s3://two/")
    assert "'s3://two/'" in plan.refused
    assert plan.actions == ()


@pytest.fixture
def flows(suite):
    suite.add("flows/acme.json", config("acme", "error"))
    suite.add("flows/initech.json", config("initech", "error", enabled=False))
    return suite


def test_a_plan_runs_nothing_and_starts_no_worker(flows):
    result = flows.run("flows", "--fileflow-plan", "--fileflow-sandbox", "-n", "2", "-k", "not contract")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "only planned: nothing was sent*",
            "acme?4KiB?  flows/acme.json:2",
            f"  write  s3://source-bucket/acme/*_{RUN_ID}.bin  4096 bytes",
            '  invoke  arn:aws:lambda:*function:error  {"invocation": "Event"*',
            "initech?4KiB?*",
            "  skipped: disabled",
            "in all 1 run with 4KiB; 0 refused",
        ]
    )
    pytesters = {"runpytest-current", "runpytest-0", "stderr", "stdout", "__pycache__"}
    assert {path.name for path in flows.path.iterdir()} - pytesters == {"conftest.py", "flows"}


def test_a_plan_fails_where_something_is_refused_broken_or_over_the_budget(flows):
    flows.add("flows/typo.json", config("typo", validatoin={}))
    result = flows.run("flows", "--fileflow-plan", "--fileflow-allow", "s3://*", "--fileflow-max-bytes", "1KiB")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "  REFUSED  config.not_allowed: acme names *function:error*",
            "BROKEN  typo",
            "  flows/typo.json:*validatoin*",
            "in all 1 run with 4KiB (budget 1KiB); 3 refused",
            "REFUSED  nothing would be sent: the selected flows come to 4KiB, and the budget is 1KiB*",
        ]
    )


@pytest.mark.parametrize(
    ("arguments", "places"),
    [
        (["-m", "smoke"], ["flows"]),
        (["flows/acme.json::acme"], []),
        (["s3://example-configs/team/flows/acme.json"], []),
        (["--fileflow-config", "s3://example-configs/team"], ["flows"]),
    ],
)
def test_the_command_plans_what_is_named_or_all_flows(tmp_path, monkeypatch, arguments, places):
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/acme.json").touch()
    monkeypatch.chdir(tmp_path)
    given: list[list[str]] = []
    monkeypatch.setattr(pytest, "main", lambda arguments: given.append(arguments) or 0)
    assert cli.main(["plan", *arguments]) == 0
    own = ["-q", *QUIET, "--fileflow-plan"]
    assert given.pop() == [*own, *places, *arguments]
    (tmp_path / "flows").rename(tmp_path / "configs")
    assert cli.main(["plan", "--fileflow-config=s3://example-configs/team"]) == 0
    assert given == [[*own, "--fileflow-config=s3://example-configs/team"]]


def test_the_command_prints_json_alone(flows, monkeypatch, capsys):
    monkeypatch.chdir(flows.path)
    assert cli.main(["plan", "--format", "json", "-p", "no:cacheprovider", "-k", "not contract"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [case["name"] for case in plan["cases"]] == ["acme[4KiB]", "initech[4KiB]"]
    assert plan["total"] == {"runs": 1, "bytes": 4096}
    assert plan["cases"][0]["actions"][0]["what"] == "look for"
    assert (plan["refused"], plan["over_budget"], plan["run_id"]) == (0, None, RUN_ID)
