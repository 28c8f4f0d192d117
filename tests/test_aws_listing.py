"""Which cases an execution runs: what it may ask for, and what a config store holds."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pytest_fileflow.aws import history
from pytest_fileflow.aws.listing import CASE_BYTES, USUAL_KINDS, Listed, Request, Source
from pytest_fileflow.aws.state import MOST_BYTES, Execution, State, size_of
from pytest_fileflow.cases import cases_of
from pytest_fileflow.clients import AwsClients
from pytest_fileflow.errors import ConfigInvalid, LocationMissing, OverBudget
from pytest_fileflow.model import NO_FILE, Case, Flow, PayloadFile, Recipe, Run, S3Location, Validation
from pytest_fileflow.portable import dump, load_case
from pytest_fileflow.registry import Registry, register_builtin_checks, register_builtin_patterns
from pytest_fileflow.results.places import config_store
from tests.support import config_stores
from tests.support.config_stores import STORE, TABLE_STORE, delete, put, put_item
from tests.support.inner import flow
from tests.support.machine import arns, definition
from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

SFTP = {"type": "SFTP", "host": "sftp.example.com", "username": "acme", "dir": "/in", "secret_arn": "sftp/acme"}


# --- What an execution may ask for


@pytest.mark.parametrize(
    ("told", "request_"),
    [
        ({}, Request()),
        ({"group": "nightly"}, Request(groups=("nightly",))),
        ({"group": ["nightly", "weekly"]}, Request(groups=("nightly", "weekly"))),
        ({"flow_id": "acme"}, Request(flow_ids=("acme",))),
        ({"flow_id": ["acme"], "group": "nightly"}, Request(("nightly",), ("acme",))),
        ({"cases": "canary"}, Request(kinds=("canary",))),
        ({"cases": ["transfer", "contract"]}, Request(kinds=("transfer", "contract"))),
    ],
)
def test_what_may_be_asked_for(told, request_):
    assert Request.parse(told) == request_


def test_canaries_are_run_only_where_they_are_asked_for():
    assert USUAL_KINDS == ("transfer", "contract", "rejects")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([], "the input of an execution is an object, as {}"),
        ("acme", "the input of an execution is an object, as {}"),
        ({"flow": "acme"}, "the input of an execution has no 'flow'; did you mean 'flow_id'?"),
        ({"groups": "x"}, "the input of an execution has no 'groups'; did you mean 'group'?"),
        ({"what": "x"}, "the input of an execution has no 'what': it has group, flow_id, cases"),
        ({"flow_id": ""}, 'flow_id: it is a text or a list of texts, as in {"flow_id": …}'),
        ({"flow_id": None}, 'flow_id: it is a text or a list of texts, as in {"flow_id": …}'),
        ({"flow_id": []}, 'flow_id: it is a text or a list of texts, as in {"flow_id": …}'),
        ({"group": [1]}, 'group: it is a text or a list of texts, as in {"group": …}'),
        ({"group": {"a": 1}}, 'group: it is a text or a list of texts, as in {"group": …}'),
        ({"cases": []}, 'cases: it is a text or a list of texts, as in {"cases": …}'),
        ({"cases": "all"}, "cases: 'all' is none of transfer, contract, canary, rejects"),
    ],
)
def test_what_cannot_be_asked_for_says_why(told, words):
    with pytest.raises(ConfigInvalid) as refused:
        Request.parse(told)
    assert str(refused.value) == words


# --- What a store holds


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with MotoServer() as server:
        yield server


@pytest.fixture
def listed(moto, monkeypatch, tmp_path):
    """Return a function that lists what is wanted of the store."""
    moto.fresh(monkeypatch)
    config_stores.make_bucket()
    registry = Registry()
    register_builtin_patterns(registry)
    register_builtin_checks(registry)

    def listed(told: dict[str, Any] | None = None, store: str = STORE, environment: str = "", **more: Any) -> Listed:
        clients = AwsClients(boto3.Session())
        source = Source(config_store(store), clients, registry, tmp_path / "copies", environment, **more)
        return source.list(Request.parse(told or {}))

    return listed


def names(found: Listed) -> list[str]:
    return sorted(case.name for case in found.cases)


def test_all_enabled_flows_are_run_with_their_contracts_first(listed):
    put("flows/acme.json", flow("acme"))
    put("flows/globex.yaml", json.dumps(flow("globex", negative=["bad_payload"])))
    put("flows/off.json", flow("off", enabled=False))
    found = listed()
    assert names(found) == [
        *("acme[4KiB]", "acme[contract]"),
        *("globex[4KiB]", "globex[contract]", "globex[rejects-bad_payload]"),
    ]
    assert [case.kind for case in found.cases if case.flow.flow_id == "acme"] == ["contract", "transfer"]
    assert (found.problems, found.allow) == ((), ())
    assert [each.flow_id for each in found.flows] == ["acme", "globex"]


def test_a_second_invocation_reads_what_changed_in_the_copy_of_the_first(listed):
    put("flows/acme.json", flow("acme"))
    put("flows/globex.json", flow("globex"))
    assert len(listed().cases) == 4
    put("flows/acme.json", flow("acme", enabled=False))
    delete("flows/globex.json")
    put("flows/initech.json", flow("initech"))
    assert names(listed()) == ["initech[4KiB]", "initech[contract]"]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"flow_id": "acme"}, ["acme[4KiB]", "acme[contract]"]),
        ({"flow_id": "off", "cases": "transfer"}, ["off[4KiB]"]),
        ({"group": "nightly", "cases": "transfer"}, ["globex[4KiB]"]),
        ({"group": ["nightly", "all"], "cases": "transfer"}, ["acme[4KiB]", "globex[4KiB]"]),
        ({"group": "nightly", "flow_id": "acme", "cases": ["canary"]}, ["acme[canary]", "globex[canary]"]),
    ],
)
def test_flows_are_asked_for_by_id_and_by_group(listed, told, expected):
    for flow_id in ("acme", "globex"):
        put(f"flows/{flow_id}.json", flow(flow_id))
    put("flows/off.json", flow("off", enabled=False))
    put("groups/nightly.json", ["globex", "off"])
    put("groups/all.json", {"flows": ["*"]})
    assert names(listed(told)) == expected


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"flow_id": "acmee"}, "there is no flow 'acmee'; did you mean 'acme'?"),
        ({"flow_id": "wholly-else"}, "there is no flow 'wholly-else'"),
        ({"group": "nightlyy"}, "did you mean 'nightly'?"),
        ({"cases": "rejects"}, f"nothing is to be run: {STORE} has no enabled flow with such a case"),
    ],
)
def test_where_nothing_is_wanted_the_execution_fails_with_the_reason(listed, told, words):
    put("flows/acme.json", flow("acme"))
    put("groups/nightly.json", ["acme"])
    with pytest.raises(ConfigInvalid) as refused:
        listed(told)
    assert words in str(refused.value)
    assert "copies" not in str(refused.value)  # no path of this machine


def test_an_empty_store_has_nothing_to_run(listed):
    with pytest.raises(ConfigInvalid, match="nothing is to be run"):
        listed()


def test_a_bucket_that_is_not_there_says_so(listed):
    with pytest.raises(LocationMissing):
        listed(store="s3://no-such-bucket/x")


def test_a_broken_flow_keeps_no_other_from_being_run(listed):
    put("flows/good.json", flow("good"))
    put("flows/bad.json", {**flow("bad"), "soruce": {}})
    put("flows/worse.json", "{")
    found = listed()
    assert names(found) == ["good[4KiB]", "good[contract]"]
    assert len(found.problems) == 2
    assert any("bad.json" in line and "soruce" in line for line in found.problems)
    assert any("worse.json" in line for line in found.problems)
    assert all(line.startswith(STORE) for line in found.problems)


def test_a_broken_flow_that_nobody_asked_for_is_not_told_of(listed):
    put("flows/good.json", flow("good"))
    put("flows/bad.json", {**flow("bad"), "soruce": {}})
    assert listed({"flow_id": "good"}).problems == ()
    asked = listed({"flow_id": "bad"})
    assert (asked.cases, len(asked.problems)) == ((), 1)


def test_a_member_of_a_group_that_is_no_flow_is_a_problem(listed):
    put("flows/acme.json", flow("acme"))
    put("groups/nightly.json", ["acme", "gone"])
    found = listed({"group": "nightly"})
    assert len(found.cases) == 2
    assert len(found.problems) == 1
    assert "gone" in found.problems[0]


def test_an_id_that_is_used_twice_is_run_once_and_told_of_with_both_places(listed):
    put("flows/a.json", flow("acme"))
    put("flows/b.json", flow("acme"))
    found = listed()
    assert names(found) == ["acme[4KiB]", "acme[contract]"]
    assert len(found.problems) == 1
    assert f"{STORE}/flows/b.json" in found.problems[0]
    assert f"'acme' is the id of a flow in {STORE}/flows/a.json" in found.problems[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": {**SFTP, "secret_arn": "env:ACME"}}, "the secret env:… lies on another machine"),
        ({"target": {**SFTP, "secret_arn": "file:/secrets/acme"}}, "the secret file:… lies on another machine"),
    ],
)
def test_what_lies_on_another_machine_cannot_be_used(listed, changes, words):
    put("flows/acme.json", flow("acme", **changes))
    put("flows/good.json", flow("good", source=SFTP))
    found = listed()
    assert {case.flow.flow_id for case in found.cases} == {"good"}
    assert len(found.problems) == 1
    assert "acme" in found.problems[0]
    assert words in found.problems[0]
    assert "/secrets/acme" not in found.problems[0]
    assert len(listed(sandbox=True).cases) == 4  # it has a login of its own under every name


def test_a_seed_in_a_file_cannot_be_used(listed):
    put("flows/acme.json", flow("acme", testdata={"seed": "seeds/sample.csv"}))
    found = listed()
    assert found.cases == ()
    assert len(found.problems) == 1
    assert "seeds/sample.csv" in found.problems[0]
    put("flows/acme.json", flow("acme", testdata={"seed": "s3://seeds/sample.csv"}))
    assert len(listed().cases) == 2


def test_a_flow_that_outlasts_an_execution_says_so(listed):
    put("flows/slow.json", flow("slow", validation={"expect_within_seconds": 86_000}))
    put("flows/acme.json", flow("acme"))
    found = listed()
    assert names(found) == ["acme[4KiB]", "acme[contract]"]
    assert len(found.problems) == 1
    assert "slow: its file is awaited for 23.9 h, and an execution has room for 20 h at most" in found.problems[0]
    assert definition(arns())["TimeoutSeconds"] - history.LONGEST_SECONDS >= 4 * 3600


def test_a_flow_that_is_too_large_for_the_state_machine_says_so(listed):
    payload = {"source": "${source.uri}", "note": "x" * CASE_BYTES}
    large = flow("large")
    put("flows/large.json", {**large, "transfer": {**large["transfer"], "payload": payload}})
    put("flows/acme.json", flow("acme"))
    found = listed()
    assert names(found) == ["acme[4KiB]", "acme[contract]"]
    assert len(found.problems) == 1
    assert "large" in found.problems[0]
    assert "a state machine hands on 16KiB at most" in found.problems[0]


def test_a_case_that_is_just_small_enough_leaves_room_for_its_run():
    """What a payload is made by stands in the run too, and names may be as long as a server takes them."""
    from pytest_fileflow.aws.listing import _too_large

    options = {"fields": [{"name": "n" * 100, "kind": "text"}]}
    case = Case(Flow("acme", S3Location("in"), S3Location("out")), NO_FILE)
    while True:
        options["fields"].append({"name": "n" * 100, "kind": "text"})
        data = dataclasses.replace(case.flow.testdata, options=dict(options, fields=[*options["fields"]]))
        larger = dataclasses.replace(case, flow=dataclasses.replace(case.flow, testdata=data))
        if _too_large(larger):
            break
        case = larger
    name = "名" * 85
    file = PayloadFile(name, 1, "0" * 64, "csv", made_by=Recipe("csv", 1, case.flow.testdata.options))
    written = tuple((side, name) for side in ("source", "target") for _ in range(6))
    run = Run("0" * 16, "acme", "1B", "S3->S3", 1, file, written=written)
    assert size_of(State(case, Execution("i" * 200, "n" * 80, "2026"), run=run).dump()) <= MOST_BYTES


def test_whom_to_tell_is_known_of_flows_and_not_handed_from_step_to_step(listed):
    alerts = {"sns_topic_arn": "arn:aws:sns:eu-west-1:111111111111:topic"}
    put("flows/acme.json", flow("acme", alerts=alerts))
    found = listed()
    assert [dict(each.alerts) for each in found.flows] == [alerts]
    assert "sns" not in json.dumps([dump(case) for case in found.cases])


# --- Environments


def test_an_environment_gives_variables_and_what_may_be_touched(listed):
    acme = flow("acme")
    put("flows/acme.json", {**acme, "target": {**acme["target"], "bucket": "${bucket}"}})
    put("environments/prod.yaml", "variables: {bucket: real}\nallow: ['s3://source-bucket/', 's3://real/']\n")
    put("environments/test.yaml", "variables: {bucket: trial}\n")
    found = listed(environment="prod")
    assert {case.flow.target.bucket for case in found.cases} == {"real"}
    assert found.allow == (("s3://source-bucket/", "s3://real/"),)
    assert listed(environment="test").allow == ()
    assert {case.flow.target.bucket for case in listed(environment="test").cases} == {"trial"}


def test_an_environment_that_allows_nothing_is_not_one_that_says_nothing(listed):
    put("flows/acme.json", flow("acme"))
    put("environments/none.yaml", "allow: []\n")
    assert listed(environment="none").allow == ((),)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("max_runs: 1", "nothing was sent: 2 runs, and "),
        ("max_bytes: 5KiB", "nothing was sent: 8KiB, and "),
    ],
)
def test_a_budget_is_kept_before_anything_is_sent(listed, budget, words):
    for flow_id in ("acme", "globex"):
        put(f"flows/{flow_id}.json", flow(flow_id))
    put("environments/prod.yaml", f"{budget}\n")
    with pytest.raises(OverBudget) as refused:
        listed(environment="prod")
    assert str(refused.value).startswith(words)
    assert "allows fewer" in str(refused.value)
    assert len(listed({"flow_id": "acme"}, environment="prod").cases) == 2


def test_an_environment_that_is_not_there_says_where_it_was_looked_for(listed):
    put("flows/acme.json", flow("acme"))
    put("environments/prod.yaml", "variables: {}\n")
    with pytest.raises(ConfigInvalid) as refused:
        listed(environment="prodd")
    assert str(refused.value).startswith("FILEFLOW_ENV: ")
    assert STORE in str(refused.value)
    assert "copies" not in str(refused.value)


# --- A table


def test_flows_of_a_table_are_listed_as_those_of_a_bucket(listed):
    config_stores.make_table("ALL")
    put_item(flow("acme"), 1)
    put_item(flow("acme", description="newer"), 2)
    put_item(flow("off"), 1, "false")
    found = listed(store=TABLE_STORE)
    assert names(found) == ["acme[4KiB]", "acme[contract]"]
    assert {case.flow.description for case in found.cases} == {"newer"}


# --- Where they run


def slow(hours: float) -> Flow:
    rules = Validation(expect_within_seconds=hours * 3600)
    return Flow("acme", S3Location("in"), S3Location("out"), validation=rules)


@pytest.mark.parametrize(
    ("number", "hours", "size", "is_inline"),
    [
        (1, 0.1, 1000, True),
        (40, 0.1, 1000, True),
        (41, 0.1, 1000, False),
        (1, 0.1, 300_000, False),
        (40, 8, 1000, False),
    ],
)
def test_many_large_or_long_cases_run_in_executions_of_their_own(number, hours, size, is_inline):
    flow = slow(hours)
    assert history.fits_inline([Case(flow, flow.testdata.variants[0])] * number, size) is is_inline


def test_a_case_that_sends_no_file_waits_for_none():
    assert [history.looks(case) > 0 for case in cases_of(slow(1), canary=True)] == [False, False, True]
    assert history.events([Case(slow(1), NO_FILE, "contract")]) == history.CASE_EVENTS


def test_what_is_listed_can_be_handed_on(listed):
    put("flows/acme.json", flow("acme", negative=["bad_payload"], source=SFTP))
    cases = listed({"cases": ["transfer", "contract", "canary", "rejects"]}).cases
    assert len(cases) == 4
    assert [load_case(json.loads(json.dumps(dump(case)))) for case in cases] == list(cases)
