from __future__ import annotations

import dataclasses
import io
import threading

import pytest

from pytest_fileflow import errands, errors
from pytest_fileflow.contract import probe_name
from pytest_fileflow.errors import AccessDenied, AuthRejected, ConnectionLost, InvokeDenied, KmsDenied, LocationMissing
from pytest_fileflow.flight import Limits, Plan
from pytest_fileflow.model import PASSED, Case, Contract, Run, S3Location, SftpLocation, TestData, Transfer, Variant
from tests.support.memory import MemoryEndpoint, World
from tests.test_engine import SOURCE, TARGET, Bench, make_case

NOTHING = Variant("", 0)
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:partner"
INBOX = SftpLocation("sftp.example", "acme", "/inbox", SECRET)
S3_ROWS = ("name", "port", "login", "prefix", "writable")
SFTP_ROWS = ("secret", "name", "port", "host_key", "login", "directory", "writable")
EVENT = Transfer("event")


def contract_of(case: Case, kind: str = "contract", **changes: object) -> Case:
    return Case(dataclasses.replace(case.flow, **changes), NOTHING, kind)


class ContractBench(Bench):
    """A bench whose invoker knows what a dry run is."""

    def __init__(self, world: World, limits: Limits | None = None):
        super().__init__(world, limits)
        self.dry_runs: list[str | None] = []
        self.dry_error: Exception | None = None
        self.tools = dataclasses.replace(self.tools, invoke=self.invoke, knows_dry_run=True)

    def invoke(self, transfer, payload):
        if transfer.invocation != "DryRun":
            return self.world.invoke(transfer, payload)
        self.dry_runs.append(transfer.lambda_arn)
        if self.dry_error:
            raise self.dry_error
        return None

    def launch(self, *cases: Case) -> None:
        for case in cases:
            self.engine.launch(case.name, case, self.tools, Plan())

    def results(self, *cases: Case) -> list[Run | None]:
        self.launch(*cases)
        return [self.engine.result(case.name) for case in cases]


@pytest.fixture
def bench():
    benches = []

    def make(world: World | None = None, limits: Limits | None = None) -> ContractBench:
        benches.append(ContractBench(world or World(), limits))
        return benches[-1]

    yield make
    for one in benches:
        one.engine.close()


def failed_rows(run: Run) -> list[str]:
    return [check.name for check in run.checks if not check.passed]


def observed(run: Run, name: str) -> str:
    return next(check.observed for check in run.checks if check.name == name)


def calls(world: World, operation: str, place: str | None = None) -> int:
    return sum(what == operation and place in (None, where) for what, where in world.storage.calls)


def refuse(world: World, operation: str, place: str, error: Exception) -> None:
    world.storage.errors[operation, place] = error


# --- the rows


def test_a_contract_looks_at_both_ends_and_the_function_and_leaves_nothing(bench):
    bench_ = bench()
    [run] = bench_.results(contract_of(make_case()))
    assert run.verdict == PASSED
    assert [check.name for check in run.checks] == [
        *(f"{side}.{row}" for side in ("source", "target") for row in S3_ROWS),
        "transfer.invocable",
    ]
    assert bench_.dry_runs == ["function"]
    assert bench_.world.invocations == []
    assert bench_.world.storage.everything() == []
    assert (run.case, run.latency, run.file.name) == ("contract", None, "")
    assert bench_.entered == ["flow[contract]"]
    assert bench_.recorded == [run]


def test_a_server_has_more_to_be_looked_at_than_a_bucket(bench):
    [run] = bench().results(contract_of(make_case(), source=INBOX, transfer=Transfer("trigger_file")))
    assert run.verdict == PASSED
    assert [check.name for check in run.checks][: len(SFTP_ROWS)] == [f"source.{row}" for row in SFTP_ROWS]


@pytest.mark.parametrize(
    ("error", "row"),
    [
        (errors.SecretMissing("there is no secret"), "secret"),
        (errors.SecretMalformed("the secret is not JSON"), "secret"),
        (errors.AccessDenied(f"secretsmanager:GetSecretValue on {SECRET} was denied"), "secret"),
        (errors.CredentialsUnusable(f"no credentials for secretsmanager:GetSecretValue on {SECRET}"), "secret"),
        (errors.NetworkTimeout(f"AWS did not answer during secretsmanager:GetSecretValue on {SECRET}"), "secret"),
        (errors.NameNotResolved("sftp.example does not resolve"), "name"),
        (errors.ConnectionRefused("sftp.example:22 refuses connections"), "port"),
        (errors.NetworkTimeout("sftp.example:22 did not answer"), "port"),
        (errors.NegotiationFailed("no common algorithm"), "port"),
        (errors.HostKeyUnknown("not known"), "host_key"),
        (errors.HostKeyMismatch("another one"), "host_key"),
        (errors.AuthRejected(f"did not let acme in: the secret {SECRET} holds a key"), "login"),
        (errors.LocationMissing("there is no directory"), "directory"),
        (errors.StorageFailed("let acme in but does not start SFTP"), "directory"),
    ],
)
def test_what_comes_before_a_failure_has_passed_and_what_comes_after_it_is_left_out(bench, error, row):
    world = World()
    for operation in ("list", "stat", "put"):
        refuse(world, operation, INBOX.uri(), error)
    [run] = bench(world).results(contract_of(make_case(), source=INBOX))
    of_source = [check.name for check in run.checks if check.name.startswith("source.")]
    assert of_source == [f"source.{name}" for name in SFTP_ROWS[: SFTP_ROWS.index(row) + 1]]
    assert failed_rows(run) == [f"source.{row}"]
    assert observed(run, f"source.{row}") == error.reason
    assert (run.verdict.cause, run.verdict.reason, run.verdict.hint) == (error.cause, error.reason, error.hint)
    assert run.verdict.outcome == ("error" if error.cause == "tester.credentials" else "failed")
    assert calls(world, "put", INBOX.uri()) == 0
    assert "target.writable" not in failed_rows(run)


@pytest.mark.parametrize("name", [SECRET, "ssm:/sftp/acme", "env:ACME_LOGIN", "file:/run/secrets/acme.json"])
def test_a_secret_of_any_kind_is_a_row_of_its_own(bench, name):
    place = dataclasses.replace(INBOX, secret_arn=name)
    world = World()
    for operation in ("list", "stat", "put"):
        refuse(world, operation, place.uri(), AccessDenied(f"reading the secret {name} was denied"))
    [run] = bench(world).results(contract_of(make_case(), source=place))
    assert failed_rows(run) == ["source.secret"]
    assert next(check.expected for check in run.checks) == f"{name} is readable and well-formed"
    [run] = bench().results(contract_of(make_case(), source=place, transfer=Transfer("trigger_file")))
    assert (run.checks[0].name, run.checks[0].passed) == ("source.secret", True)


def test_both_ends_and_the_function_are_looked_at_whatever_is_wrong_with_one(bench):
    world = World()
    refuse(world, "list", SOURCE.uri(), LocationMissing("there is no bucket source"))
    refuse(world, "put", TARGET.uri(), AccessDenied("s3:PutObject on s3://target/in/ was denied"))
    bench_ = bench(world)
    bench_.dry_error = InvokeDenied("lambda:InvokeFunction on function was denied", evidence={"aws_code": "no"})
    [run] = bench_.results(contract_of(make_case()))
    assert failed_rows(run) == ["source.prefix", "target.writable", "transfer.invocable"]
    assert (run.verdict.cause, run.verdict.reason) == ("location.missing", "there is no bucket source")
    assert run.verdict.evidence["also_wrong"] == [
        "target.writable: access.denied: s3:PutObject on s3://target/in/ was denied",
        "transfer.invocable: trigger.denied: lambda:InvokeFunction on function was denied",
    ]


def test_a_drop_box_that_may_not_be_listed_is_well(bench):
    world = World()
    refuse(world, "list", TARGET.uri(), AccessDenied("may not list"))
    [run] = bench(world).results(contract_of(make_case()))
    assert run.verdict == PASSED
    assert "a drop box" in observed(run, "target.prefix")


@pytest.mark.parametrize(("place", "cause"), [(SOURCE, None), (TARGET, "access.denied")])
def test_a_place_that_shows_nothing_will_do_as_a_source_only(bench, place, cause):
    world = World()
    refuse(world, "list", place.uri(), AccessDenied("may not list"))
    refuse(world, "stat", place.uri(), AccessDenied("may not look"))
    [run] = bench(world).results(contract_of(make_case()))
    assert run.verdict.cause == cause
    if cause is None:
        assert "neither listed" in observed(run, "source.prefix")


def test_a_source_that_shows_nothing_and_takes_nothing_will_not_do(bench):
    world = World()
    for operation in ("list", "stat", "put"):
        refuse(world, operation, SOURCE.uri(), AccessDenied(f"may not {operation}"))
    [run] = bench(world).results(contract_of(make_case()))
    assert failed_rows(run) == ["source.prefix", "source.writable"]
    assert run.verdict.reason == "may not stat"


def test_a_probe_that_cannot_be_removed_is_named(bench):
    world = World()
    refuse(world, "delete", TARGET.uri(), AccessDenied("s3:DeleteObject on s3://target/in/ was denied"))
    [run] = bench(world).results(contract_of(make_case()))
    assert failed_rows(run) == ["target.writable"]
    assert run.verdict.cause == "access.denied"
    assert run.residue == (TARGET.uri(probe_name(run)),)


def test_a_key_that_refuses_is_told_from_the_bucket(bench):
    world = World()
    target = S3Location("target", "in/", "arn:aws:kms:us-east-1:123456789012:key/1")
    [run] = bench(world).results(contract_of(make_case("good"), target=target))
    assert observed(run, "target.kms") == "the probe was encrypted with it"
    refuse(world, "put", TARGET.uri(), KmsDenied("the KMS key refused s3:PutObject"))
    [run] = bench(world).results(contract_of(make_case(), target=target))
    assert failed_rows(run) == ["target.kms"]
    assert run.verdict.cause == "kms.denied"


def test_no_probe_is_written_at_a_target_that_shall_have_none(bench):
    world = World()
    [run] = bench(world).results(contract_of(make_case(), contract=Contract(probe_target=False)))
    assert run.verdict == PASSED
    assert calls(world, "put", TARGET.uri()) == 0
    assert observed(run, "target.writable") == "not tried: contract.probe_target is false"


@pytest.mark.parametrize("place", [SOURCE, TARGET])
def test_who_may_not_write_to_a_target_is_told_how_to_leave_it(bench, place):
    world = World()
    refuse(world, "put", place.uri(), AccessDenied("s3:PutObject was denied", evidence={"aws_code": "AccessDenied"}))
    [run] = bench(world).results(contract_of(make_case()))
    assert (run.verdict.cause, run.verdict.evidence) == ("access.denied", {"aws_code": "AccessDenied"})
    assert ("set contract.probe_target: false" in run.verdict.hint) == (place == TARGET)


def test_an_invoker_that_may_not_know_a_dry_run_is_not_called(bench):
    bench_ = bench()
    bench_.tools = dataclasses.replace(bench_.tools, knows_dry_run=False)
    [run] = bench_.results(contract_of(make_case()))
    assert run.verdict == PASSED
    assert (bench_.dry_runs, bench_.world.invocations) == ([], [])
    assert observed(run, "transfer.invocable").startswith("not tried")


class Hiding(MemoryEndpoint):
    def prove_writing(self, name, tags):
        self.storage.enter("prove", self.place)
        assert tags["synthetic"] == "true"


def test_nothing_appears_at_a_source_that_starts_the_transfer(bench):
    world = World()
    case = contract_of(make_case(), transfer=EVENT)
    bench_ = bench(world)
    [run] = bench_.results(case)
    assert observed(run, "source.writable").startswith("not tried: a file that appears would start")
    bench_.tools = dataclasses.replace(bench_.tools, endpoint=lambda place: Hiding(place, world.storage))
    [run] = bench_.results(case)
    assert run.verdict == PASSED
    assert "never appeared" in observed(run, "source.writable")
    assert (calls(world, "prove", SOURCE.uri()), calls(world, "put", SOURCE.uri())) == (1, 0)


def test_a_source_that_takes_nothing_is_found_out_without_a_file_too(bench):
    world = World()
    refuse(world, "prove", SOURCE.uri(), AccessDenied("s3:PutObject on s3://source/out/ was denied"))
    bench_ = bench(world)
    bench_.tools = dataclasses.replace(bench_.tools, endpoint=lambda place: Hiding(place, world.storage))
    [run] = bench_.results(contract_of(make_case(), transfer=EVENT))
    assert (run.verdict.cause, failed_rows(run)) == ("access.denied", ["source.writable"])


def test_what_may_not_be_removed_later_does_not_appear(bench):
    world = World()
    bench_ = bench(world)
    bench_.tools = dataclasses.replace(bench_.tools, endpoint=lambda place: Hiding(place, world.storage))
    case = make_case()
    [run] = bench_.results(contract_of(case, testdata=dataclasses.replace(case.flow.testdata, delete_after=False)))
    assert run.verdict == PASSED
    assert (calls(world, "prove"), calls(world, "put"), calls(world, "delete")) == (2, 0, 0)


def test_the_copy_that_a_sweeping_transfer_made_of_the_probe_is_removed(bench):
    world = World()
    put = world.storage.put

    def put_and_sweep(place, name, content):
        put(place, name, content)
        if place == SOURCE.uri():
            put(TARGET.uri(), name, content)

    world.storage.put = put_and_sweep
    [run] = bench(world).results(contract_of(make_case(), contract=Contract(probe_target=False)))
    assert run.verdict == PASSED
    assert world.storage.everything() == []


def test_a_canary_asks_each_end_once_and_writes_nothing(bench):
    world = World()
    bench_ = bench(world)
    [run] = bench_.results(contract_of(make_case(), "canary"))
    assert run.verdict == PASSED
    assert world.storage.calls == [("list", SOURCE.uri()), ("list", TARGET.uri())] or world.storage.calls == [
        ("list", TARGET.uri()),
        ("list", SOURCE.uri()),
    ]
    assert bench_.dry_runs == []
    assert run.case == "canary"
    refuse(world, "list", TARGET.uri(), LocationMissing("there is no bucket target"))
    bench_ = bench(world)
    [run] = bench_.results(contract_of(make_case(), "canary"))
    assert run.verdict.cause == "location.missing"


# --- what flows share


def test_what_many_flows_share_is_looked_at_once(bench):
    world = World()
    bench_ = bench(world)
    runs = bench_.results(*(contract_of(make_case(f"flow-{number}")) for number in range(50)))
    assert {run.verdict.outcome for run in runs} == {"passed"}
    assert all(len(run.checks) == 2 * len(S3_ROWS) + 1 for run in runs)
    assert (calls(world, "put"), calls(world, "list"), len(bench_.dry_runs)) == (2, 2, 1)
    assert world.storage.everything() == []


def test_a_place_that_is_both_ends_is_looked_at_once(bench):
    world = World()
    [run] = bench(world).results(contract_of(make_case(), target=SOURCE))
    assert run.verdict == PASSED
    assert len(run.checks) == 2 * len(S3_ROWS) + 1
    assert (calls(world, "put"), calls(world, "list")) == (1, 1)
    assert world.storage.everything() == []


def test_a_source_that_is_dark_and_was_not_written_to_will_not_do(bench):
    world = World()
    for operation in ("list", "stat"):
        refuse(world, operation, SOURCE.uri(), AccessDenied(f"may not {operation}"))
    [run] = bench(world).results(contract_of(make_case(), transfer=EVENT))
    assert failed_rows(run) == ["source.prefix"]


def test_a_failure_that_many_flows_share_fails_them_all_at_once(bench):
    world = World()
    refuse(world, "list", TARGET.uri(), AuthRejected("did not let acme in"))
    runs = bench(world).results(*(contract_of(make_case(f"flow-{number}")) for number in range(20)))
    assert {run.verdict.cause for run in runs} == {"auth.rejected"}
    assert calls(world, "list", TARGET.uri()) == 1


def test_a_place_that_does_not_answer_holds_up_only_its_own_flows(bench):
    world = World()
    answers = threading.Event()
    list_ = MemoryEndpoint.list

    class Slow(MemoryEndpoint):
        def list(self, prefix="", limit=1000):
            if self.place == "s3://slow/":
                assert answers.wait(30)
            return list_(self, prefix, limit)

    bench_ = bench(world, Limits(2, 100))
    bench_.tools = dataclasses.replace(bench_.tools, endpoint=lambda place: Slow(place, world.storage))
    slow = [contract_of(make_case(f"slow-{number}"), target=S3Location("slow")) for number in range(20)]
    bench_.launch(*slow)
    [quick] = bench_.results(contract_of(make_case("quick")))
    assert quick.verdict == PASSED
    answers.set()
    assert {run.verdict.outcome for run in bench_.results(*slow)} == {"passed"}


def test_a_bug_in_one_look_is_not_kept_for_those_who_come_later(bench):
    world = World()
    refuse(world, "list", TARGET.uri(), RuntimeError("a bug"))
    bench_ = bench(world)
    [run] = bench_.results(contract_of(make_case("first")))
    assert (run.verdict.outcome, run.verdict.cause) == ("error", "tester.bug")
    world.storage.errors.clear()
    [run] = bench_.results(contract_of(make_case("second")))
    assert run.verdict == PASSED


def test_a_contract_that_is_run_again_finds_out_anew(bench):
    world = World()
    refuse(world, "list", TARGET.uri(), LocationMissing("there is no bucket target"))
    bench_ = bench(world)
    case = contract_of(make_case())
    assert bench_.results(case)[0].verdict.cause == "location.missing"
    world.storage.errors.clear()
    [run] = bench_.results(case)
    assert (run.verdict, run.attempt) == (PASSED, 2)


def test_what_the_engine_itself_fails_at_ends_all_who_wait_for_it(bench):
    bench_ = bench()

    def enter(key, case, run):
        raise RuntimeError("the ledger fails")

    bench_.enter = enter
    runs = bench_.results(*(contract_of(make_case(f"flow-{number}")) for number in range(3)))
    assert {run.verdict.cause for run in runs} == {"tester.bug"}


# --- transfers wait for their contract


def test_a_transfer_begins_once_its_contract_has_landed(bench):
    bench_ = bench()
    case = make_case()
    contract, run = bench_.results(contract_of(case), case)
    assert (contract.verdict, run.verdict) == (PASSED, PASSED)
    assert contract.timeline["verified"] <= run.timeline["prepared"]
    assert sorted(done.case for done in bench_.recorded) == sorted(["contract", run.case])


def test_a_transfer_whose_contract_failed_fails_at_once_with_the_same_cause(bench):
    world = World()
    error = AuthRejected("did not let acme in", evidence={"offered": ["publickey"]})
    refuse(world, "list", SOURCE.uri(), error)
    bench_ = bench(world)
    case = make_case(expect_within_seconds=900)
    contract, run = bench_.results(contract_of(case), case)
    assert contract.verdict.reason == "did not let acme in"
    assert (run.verdict.outcome, run.verdict.cause) == ("failed", "auth.rejected")
    assert run.verdict.reason == "not sent: the contract failed: did not let acme in"
    assert run.verdict.hint == contract.verdict.hint
    assert run.verdict.evidence == {"offered": ["publickey"], "contract_run_id": contract.run_id}
    assert calls(world, "put", SOURCE.uri()) == 0
    assert "triggered" not in run.timeline
    assert bench_.recorded == [contract, run]


def test_flows_without_a_contract_on_its_way_do_as_ever(bench):
    world = World()
    refuse(world, "list", SOURCE.uri(), LocationMissing("listing only fails"))
    bench_ = bench(world)
    failed, other = contract_of(make_case("failed")), make_case("other")
    assert bench_.results(failed, other)[1].verdict == PASSED


def test_a_contract_that_the_tester_could_not_carry_out_keeps_nobody_back(bench):
    world = World()
    refuse(world, "list", SOURCE.uri(), RuntimeError("a bug"))
    case = make_case()
    contract, run = bench(world).results(contract_of(case), case)
    assert (contract.verdict.cause, run.verdict) == ("tester.bug", PASSED)


def test_a_transfer_that_is_launched_after_its_contract_failed_fails_too(bench):
    world = World()
    refuse(world, "list", SOURCE.uri(), LocationMissing("there is no bucket source"))
    bench_ = bench(world)
    case = make_case()
    bench_.results(contract_of(case))
    [run] = bench_.results(case)
    assert run.verdict.reason.startswith("not sent: the contract failed")


def test_reruns_go_by_what_is_known_then(bench):
    world = World()
    refuse(world, "list", SOURCE.uri(), ConnectionLost("the connection broke"))
    bench_ = bench(world)
    case, contract = make_case(), contract_of(make_case())
    first = bench_.results(contract, case)
    assert {run.verdict.cause for run in first} == {"net.reset"}
    assert bench_.results(contract)[0].verdict.cause == "net.reset"  # again, and again in vain
    assert bench_.results(case)[0].verdict.reason.startswith("not sent")
    world.storage.errors.clear()
    assert bench_.results(contract)[0].verdict == PASSED
    assert bench_.results(case)[0].verdict == PASSED


def test_a_transfer_that_is_run_again_alone_finds_out_by_itself(bench):
    world = World()
    refuse(world, "list", SOURCE.uri(), ConnectionLost("the connection broke"))
    bench_ = bench(world)
    case = make_case()
    bench_.results(contract_of(case), case)
    world.storage.errors.clear()
    [run] = bench_.results(case)
    assert (run.verdict, run.attempt) == (PASSED, 2)


def test_transfers_that_wait_take_no_place_from_those_they_wait_for(bench):
    bench_ = bench(limits=Limits(1, 1))
    cases = [make_case(f"flow-{number}") for number in range(3)]
    runs = bench_.results(*(contract_of(case) for case in cases), *cases)
    assert {run.verdict.outcome for run in runs} == {"passed"}


@pytest.mark.parametrize("in_flight", [1, 100])
def test_transfers_that_wait_for_a_contract_end_with_the_session(bench, in_flight):
    world = World()
    asked, answers = threading.Event(), threading.Event()

    class Slow(MemoryEndpoint):
        def list(self, prefix="", limit=1000):
            asked.set()
            assert answers.wait(30)
            return super().list(prefix, limit)

    bench_ = bench(world, Limits(4, in_flight))
    bench_.tools = dataclasses.replace(bench_.tools, endpoint=lambda place: Slow(place, world.storage))
    case = make_case()
    contract = contract_of(case)
    bench_.launch(contract, case)
    assert asked.wait(30)
    bench_.engine.stop()
    answers.set()
    assert bench_.engine.result(case.name) is None
    assert bench_.engine.result(contract.name).verdict.cause == "tester.interrupted"
    assert world.storage.everything() == []


def test_a_contract_that_was_never_begun_releases_its_transfers(bench):
    bench_ = bench(limits=Limits(1, 1))
    slow = make_case("slow", expect_within_seconds=60)
    world = bench_.world
    world.delay = 60
    bench_.launch(slow)
    case = make_case()
    bench_.launch(contract_of(case), case)
    bench_.engine.stop()
    assert bench_.engine.result(case.name) is None
    assert bench_.engine.result(contract_of(case).name) is None


# --- errands of one piece


def test_an_errand_of_one_piece_is_carried_out_and_cleaned_up(bench, monkeypatch):
    def carry_out(case, run, tools):
        tools.endpoint(case.flow.target).put("stray", io.BytesIO(b"x"), 1, {})
        return dataclasses.replace(run, verdict=PASSED)

    alone = errands.alone(carry_out, lambda case, run: (("target", "stray"),))
    monkeypatch.setattr(errands, "ERRANDS", {**errands.ERRANDS, "rejects": alone})
    bench_ = bench()
    cases = [contract_of(make_case(f"flow-{number}"), "rejects") for number in range(3)]
    runs = bench_.results(*cases)
    assert [run.verdict for run in runs] == [PASSED] * 3
    assert calls(bench_.world, "put") == 3
    assert bench_.world.storage.everything() == []
    assert len(bench_.entered) == 3


def test_what_may_not_be_removed_is_not_written_to_a_server(bench):
    world, place = World(), SftpLocation("sftp.acme.example", "acme", "/in", "secret")
    case = contract_of(make_case(), source=place, testdata=TestData((Variant("", 1),), delete_after=False))
    [run] = bench(world).results(case)
    assert run.verdict == PASSED
    assert observed(run, "source.writable").startswith("not tried: delete_after is false")
    assert (run.written, run.residue) == ((), ())


@pytest.mark.parametrize("operation", ["list", "put"])
def test_nothing_is_left_behind_where_nothing_was_written(bench, operation):
    world = World()
    for refused in (operation, "delete"):
        refuse(world, refused, SOURCE.uri(), LocationMissing("gone") if refused == "list" else AccessDenied("denied"))
    [run] = bench(world).results(contract_of(make_case()))
    assert run.verdict.outcome == "failed"
    assert run.residue == ()
