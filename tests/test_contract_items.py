"""Contracts and canaries as pytest items: which there are, and what becomes of a flow's transfers."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.inner import CONFTEST, flow
from tests.test_collection import SIZES, collected
from tests.test_interrupts import LONG, left, remains, start, until  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = """
from pytest_fileflow.errors import AccessDenied
for operation in ("list", "stat", "put"):
    place = "s3://source-bucket/refused/"
    error = AccessDenied(f"s3:ListBucket on {place} was denied", evidence={"aws_code": "AccessDenied"})
    WORLD.storage.errors[operation, place] = error
"""


@pytest.fixture
def contracts(suite, monkeypatch):
    """A suite that collects contracts too; the source of a flow named "refused" may not be used."""
    monkeypatch.setenv("FILEFLOW_CONTRACTS", "yes")
    suite.pytester.makeconftest(CONFTEST + REFUSED)
    return suite


def by_name(suite) -> dict[str, dict]:
    return {f"{record['flow_id']}[{record['case']}]": record for record in suite.records()}


def two_flows(suite) -> None:
    suite.add("flows/acme.json", flow("acme", tags=["nightly"], testdata=SIZES))
    suite.add("flows/globex.json", flow("globex", enabled=False))


# --- items


def test_the_contract_comes_first_and_no_canary_where_none_is_asked_for(contracts):
    two_flows(contracts)
    assert collected(contracts.run("--collect-only", "-q", "flows")) == [
        "flows/acme.json::acme[contract]",
        "flows/acme.json::acme[smoke-1KiB]",
        "flows/acme.json::acme[typical-8KiB]",
        "flows/globex.json::globex[contract]",
        "flows/globex.json::globex[4KiB]",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-m", "contract"], ["contract"]),
        (["-k", "contract"], ["contract"]),
        (["-m", "canary"], ["canary"]),
        (["-m", "canary or contract"], ["contract", "canary"]),
        (["-k", "acme and canary"], ["canary"]),
        (["-m", "not canary"], ["contract", "smoke-1KiB", "typical-8KiB"]),
        (["-m", "smoke"], ["smoke-1KiB"]),
        (["-m", "nightly and not contract"], ["smoke-1KiB", "typical-8KiB"]),
        (["-m", "negative"], []),
        (["-k", "canary_flow"], []),
    ],
)
def test_selecting(contracts, arguments, expected):
    two_flows(contracts)
    result = contracts.run("--collect-only", "-q", "flows/acme.json", *arguments, "--strict-markers", "-p", "no:xdist")
    assert collected(result) == [f"flows/acme.json::acme[{label}]" for label in expected]


@pytest.mark.parametrize("label", ["contract", "canary"])
def test_by_node_id(contracts, label, workers):
    two_flows(contracts)
    contracts.run(f"flows/acme.json::acme[{label}]", *workers).assert_outcomes(passed=1)
    assert list(by_name(contracts)) == [f"acme[{label}]"]


def test_a_disabled_flow_skips_all_its_cases(contracts):
    two_flows(contracts)
    contracts.run("flows/globex.json", "-m", "contract or canary or globex").assert_outcomes(skipped=2, deselected=1)
    assert contracts.records() == []


@pytest.mark.parametrize("marker", ["contract", "canary", "negative"])
def test_a_broken_flow_is_selected_with_the_cases_it_would_have_had(contracts, marker):
    contracts.add("flows/broken.json", text="{")
    contracts.run("flows", "-m", marker).assert_outcomes(failed=1)


def test_the_markers_are_described(contracts):
    result = contracts.run("--markers")
    for marker in ("contract", "canary", "negative"):
        result.stdout.fnmatch_lines([f"@pytest.mark.{marker}: *"])


def test_a_contract_is_given_no_time_to_wait_for_a_file(contracts):
    contracts.add("flows/acme.json", flow("acme", validation={"expect_within_seconds": 5000, "grace_seconds": 0}))
    contracts.add(
        "flows/conftest.py",
        text="""
def pytest_collection_finish(session):
    print({item.name: item.get_closest_marker("timeout").args[0] for item in session.items})
""",
    )
    result = contracts.run("flows", "--collect-only", "-s", "-m", "contract or canary or not none")
    result.stdout.fnmatch_lines(["*'acme[[]contract]': 300.0*'acme[[]4KiB]': 5300*"])


def test_what_must_be_refused_is_given_its_own_time_for_each_end_and_once_more(contracts):
    negative = [{"name": "wrong_key", "within_seconds": 1000}, "unknown_user"]
    negative.append({"name": "forbidden_write", "side": "source", "prefix": "other/", "within_seconds": 100})
    validation = {"expect_within_seconds": 50, "grace_seconds": 0}
    contracts.add("flows/acme.json", flow("acme", validation=validation, negative=negative))
    contracts.add(
        "flows/conftest.py",
        text="""
def pytest_collection_finish(session):
    for item in session.items:
        print(item.name, item.get_closest_marker("timeout").args[0])
""",
    )
    result = contracts.run("flows", "--collect-only", "-s", "-m", "negative")
    result.stdout.fnmatch_lines(
        ["acme[[]rejects-wrong_key] 3350.0", "acme[[]rejects-unknown_user] 440.0", "*rejects-forbidden_write] 550.0"]
    )


# --- records and reports


def test_a_contract_is_recorded_as_other_runs_are(contracts, workers):
    contracts.add("flows/acme.json", flow("acme"))
    result = contracts.run("flows", "-m", "contract or canary", *workers)
    result.assert_outcomes(passed=2, deselected=None)
    result.stdout.fnmatch_lines(["passed*acme*contract*S3->S3*-*", "1 of 1 contracts kept", "1 of 1 canaries passed"])
    records = by_name(contracts)
    assert list(records) == ["acme[canary]", "acme[contract]"]
    record = records["acme[contract]"]
    assert (record["kind"], record["outcome"], record["latency_seconds"]) == ("contract", "passed", None)
    assert record["file"] == {"name": "", "size": 0, "sha256": ""}
    assert record["source"]["location"] == "s3://source-bucket/acme/"
    assert [check["name"] for check in record["checks"]][:2] == ["source.name", "source.port"]
    assert not (contracts.path / "fileflow-results" / "manifests").exists()
    summaries = (contracts.path / "fileflow-results/results").rglob("summary.txt")
    (summary,) = [text for text in (path.read_text() for path in summaries) if "acme [contract]" in text]
    assert "passed: the contract is kept (" in summary
    assert "arrived" not in summary


def test_what_fails_is_told_row_by_row(contracts):
    contracts.add("flows/refused.json", flow("refused"))
    result = contracts.run("flows", "-m", "contract")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "access.denied: s3:ListBucket on s3://source-bucket/refused/ was denied",
            "*check*source.prefix: expected s3://source-bucket/refused/ exists and may be listed, observed s3:*",
            "*check*source.writable: *",
            "*also_wrong*source.writable: access.denied: *",
        ]
    )


def test_how_long_flows_take_is_learned_from_transfers_only(contracts):
    contracts.add("flows/acme.json", flow("acme"))
    contracts.pytester.runpytest_inprocess("flows").assert_outcomes(passed=2)
    kept = json.loads((contracts.path / ".pytest_cache/v/fileflow/latencies").read_text())
    assert list(kept) == ["acme[4KiB]"]


# --- a flow whose contract fails


def refused_and_good(suite, **refused: object) -> None:
    suite.add("flows/a.json", flow("refused", **{"validation": LONG, "testdata": SIZES, **refused}))
    suite.add("flows/b.json", flow("good"))


def test_a_flow_whose_contract_fails_does_not_wait_for_its_slo(contracts, workers):
    refused_and_good(contracts, validation={"expect_within_seconds": 900})
    result = contracts.run("flows", *workers)
    result.assert_outcomes(failed=3, passed=2)
    result.stdout.fnmatch_lines(["access.denied: not sent: the contract failed: s3:ListBucket on s3://source-bucket/*"])
    records = by_name(contracts)
    assert {record["outcome"] for name, record in records.items() if name.startswith("good")} == {"passed"}
    contract, sent = records["refused[contract]"], records["refused[smoke-1KiB]"]
    assert (sent["cause"], sent["hint"]) == (contract["cause"], contract["hint"])
    assert sent["evidence"]["aws_code"] == "AccessDenied"
    assert sent["evidence"]["contract_run_id"] == contract["run_id"]
    assert set(sent["timeline"]) == {"failed"}
    assert sent["file"]["size"] == 1024


def test_cases_of_a_flow_stay_together_however_many_workers_there_are(contracts):
    for number in range(5):
        contracts.add(f"flows/{number}.json", flow(f"flow{number}", testdata=SIZES))
    contracts.add(
        "flows/conftest.py",
        text="""
import os, pytest
@pytest.fixture(autouse=True)
def tell(request):
    with open("told", "a") as file:
        file.write(f"{os.environ['PYTEST_XDIST_WORKER']} {request.node.name.partition('[')[0]}\\n")
""",
    )
    contracts.run("flows", "-n", "2").assert_outcomes(passed=15)
    lines = (contracts.path / "told").read_text().splitlines()
    assert len(lines) == 15
    assert len(set(lines)) == 5
    assert {line.split()[0] for line in lines} == {"gw0", "gw1"}


@pytest.mark.parametrize(
    "arguments",
    [["-m", "not contract"], ["--deselect", "flows/a.json::refused[contract]"], ["-k", "not contract"]],
    ids=["m", "deselect", "k"],
)
def test_without_their_contract_transfers_find_out_by_themselves(contracts, arguments):
    refused_and_good(contracts)
    contracts.run("flows/a.json", *arguments).assert_outcomes(failed=2, deselected=1)
    reasons = {record["reason"] for record in contracts.records()}
    assert reasons == {"s3:ListBucket on s3://source-bucket/refused/ was denied"}


MARKS = {"a": "skip", "b": "skipif(True, reason='no')", "c": "xfail(run=False)", "d": "xfail"}


def test_a_contract_that_may_be_skipped_is_not_waited_for(contracts, workers):
    for flow_id in MARKS:
        contracts.add(f"flows/{flow_id}.json", flow(flow_id))
    contracts.add(
        "flows/conftest.py",
        text=f"""
import pytest
MARKS = {{{", ".join(f"'{flow_id}[contract]': pytest.mark.{mark}" for flow_id, mark in MARKS.items())}}}
def pytest_collection_modifyitems(items):
    for item in items:
        if item.name in MARKS:
            item.add_marker(MARKS[item.name])
""",
    )
    result = contracts.run("flows", *workers)
    assert result.parseoutcomes()["passed"] == len(MARKS)
    assert {by_name(contracts)[f"{flow_id}[4KiB]"]["outcome"] for flow_id in MARKS} == {"passed"}


@pytest.mark.parametrize("dist", ["loadfile", "loadscope", "worksteal", "no"])
def test_other_distributions_do_as_they_like(contracts, dist):
    refused_and_good(contracts)
    arguments = ["-p", "xdist", *([] if dist == "no" else ["-n", "2"]), "--dist", dist]
    contracts.run_apart("flows", *arguments).assert_outcomes(failed=3, passed=2)
    assert {record["cause"] for record in contracts.records()} == {None, "access.denied"}


def test_the_first_failure_ends_it_all_and_nothing_hangs(contracts, workers, left):  # noqa: F811
    refused_and_good(contracts)
    contracts.add("flows/c.json", flow("never", "never", validation=LONG))
    result = contracts.run_apart("flows", "-x", *workers)
    assert result.parseoutcomes()["failed"] == 1
    assert remains(left) == []


def test_the_last_failed_is_run_again_without_its_contract(contracts):
    contracts.add("flows/acme.json", flow("acme", "drop"))
    run = contracts.pytester.runpytest_inprocess
    run("flows").assert_outcomes(passed=1, failed=1)
    run("flows", "--lf").assert_outcomes(failed=1, deselected=None)
    again = [record for record in contracts.records() if record["case"] != "contract"]
    assert {record["cause"] for record in again} == {"missing.not_picked_up"}
    assert len(again) == 2


FLAKY = """
from pathlib import Path
import pytest
from tests.support.inner import *
from pytest_fileflow.errors import ConnectionLost
from pytest_fileflow.model import S3Location

class Flaky(MemoryEndpoint):
    def list(self, prefix="", limit=1000):
        if not Path("tried").exists():
            Path("tried").touch()
            raise ConnectionLost("the connection broke")
        return super().list(prefix, limit)

@pytest.fixture(scope="session")
def s3_endpoint():
    return lambda **fields: Flaky(S3Location(**fields), WORLD.storage)
"""


@pytest.mark.parametrize("only", [[], ["--only-rerun", "not sent"]], ids=["both", "transfers"])
def test_reruns_find_out_anew(contracts, workers, only):
    contracts.pytester.makeconftest(FLAKY)
    contracts.add("flows/acme.json", flow("acme"))
    result = contracts.run_apart("flows", "--reruns", "1", *only, *workers)
    result.assert_outcomes(passed=1 if only else 2, failed=1 if only else 0)
    runs = [(record["case"], record["attempt"], record["outcome"]) for record in contracts.records()]
    again = [] if only else [("contract", 2, "passed")]
    first = [("4KiB", 1, "failed"), ("4KiB", 2, "passed"), ("contract", 1, "failed")]
    assert sorted(runs) == sorted([*first, *again])


HANGING = """
from pathlib import Path
import os, pytest, time
from tests.support.inner import *
from pytest_fileflow.model import S3Location

class Hanging(MemoryEndpoint):
    def list(self, prefix="", limit=1000):
        Path(os.environ["FILEFLOW_LEFT"], "asked").touch()
        while not Path("go").exists():
            time.sleep(0.05)
        return super().list(prefix, limit)

@pytest.fixture(scope="session")
def s3_endpoint():
    return lambda **fields: Hanging(S3Location(**fields), WORLD.storage)
"""


def test_ctrl_c_while_transfers_wait_for_their_contract(contracts, left: Path, workers):  # noqa: F811
    contracts.pytester.makeconftest(HANGING)
    contracts.add("flows/acme.json", flow("acme", testdata=SIZES))
    process = start(contracts, *workers)
    until((left / "asked").exists, "the contract is on its way")
    process.send_signal(signal.SIGTERM)
    (contracts.path / "go").touch()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    causes = {record["case"]: record["cause"] for record in contracts.records()}
    assert set(causes.values()) <= {None, "tester.interrupted"}
    assert "contract" in causes
    assert remains(left) == []
