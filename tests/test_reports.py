from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pytest_fileflow.model import PASSED, Case, Flow, PayloadFile, Run, S3Location, Variant
from pytest_fileflow.reporting.details import details
from pytest_fileflow.reporting.terminal import PASSED_ROWS, table
from pytest_fileflow.results.record import make_record, summary_text
from pytest_fileflow.results.words import evidence_lines
from tests.support import inner
from tests.support.inner import flow


def record(**more: object) -> dict:
    return {
        "flow_id": "acme",
        "case": "4KiB",
        "direction": "S3->SFTP",
        "run_id": "0123456789abcdef",
        "attempt": 1,
        "outcome": "passed",
        "cause": None,
        "reason": None,
        "hint": None,
        "owner": "",
        "file": {"name": "f.bin", "size": 4096, "sha256": "0" * 64},
        "source": {"type": "S3", "location": "s3://source/f.bin"},
        "target": {"type": "SFTP", "location": "sftp://u@h:22/in/f.bin"},
        "observed": None,
        "timeline": {},
        "latency_seconds": 1.5,
        "latency_resolution_seconds": 0.05,
        "slo_seconds": 10.0,
        "checks": [],
        "evidence": {},
        "residue": [],
        **more,
    }


def test_a_file_of_another_run_is_recognised_in_this_session_and_in_a_later_one(suite):
    inner.CACHE.clear()
    suite.add("flows/acme.json", flow("acme", "cached", testdata={"sizes": {"one": 4096, "two": 4096}}))
    suite.run("flows").assert_outcomes(passed=1, failed=1)
    suite.run("flows", "-k", "one").assert_outcomes(failed=1, deselected=1)
    passed = [record["run_id"] for record in suite.records() if record["outcome"] == "passed"]
    stale = [record for record in suite.records() if record["outcome"] == "failed"]
    assert [record["cause"] for record in stale] == ["content.stale"] * 2
    assert all(f"holds the bytes of run {passed[0]}, and not of this one" in record["reason"] for record in stale)


def test_a_failure_is_a_short_text_for_an_operator(suite, workers):
    suite.add("flows/acme.json", flow("acme", "truncate"))
    result = suite.run("flows", *workers)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "partial.truncated: s3://target-bucket/acme/*had 4086 of 4096 bytes*these are the right bytes so far",
            "  flow       acme ?4KiB?  S3->S3  run *",
            "  expected   4KiB within 0.5 s at s3://target-bucket/acme/*",
            "  cause      partial.truncated",
            "  hint       *",
            "  record     *run.json",
            "*= file flows =*",
            "failed*acme*4KiB*S3->S3*partial.truncated",
            "0 of 1 runs passed",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert "launcher.py" not in result.stdout.str()


def test_a_fault_of_the_tester_is_an_error_not_a_failure(suite, workers):
    suite.add("flows/acme.json", flow("acme"))
    (suite.path / "taken").write_text("a file, not a folder")
    result = suite.run("flows", "--fileflow-results", "taken", *workers)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "tester.results_store: *taken*cannot be written*",
            "  the verdict stands: passed: arrived intact after *",
            "NOT RECORDED tester.results_store: *",
        ]
    )


def test_a_flow_at_fault_fails_even_if_it_cannot_be_recorded(suite):
    suite.add("flows/acme.json", flow("acme", "flip"))
    (suite.path / "taken").write_text("a file, not a folder")
    result = suite.run("flows", "--fileflow-results", "taken")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["content.corrupt: *offset 0*", "  no record  *taken*"])


def test_records_lie_where_the_contract_says(suite, workers):
    suite.add("flows/acme.json", flow("acme", owner="team"))
    suite.run("flows", *workers).assert_outcomes(passed=1)
    (run,) = suite.records()
    day = run["timeline"]["begun"][:10]
    folder = suite.path / f"fileflow-results/results/dt={day}/flow_id=acme/run_id={run['run_id']}"
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.csv", "run.json", "summary.txt"]
    assert (folder / "summary.txt").read_text().startswith("passed: arrived intact after ")
    (row,) = csv.DictReader((folder / "metrics.csv").read_text().splitlines())
    assert (row["flow_id"], row["run_success"], row["size_bytes"]) == ("acme", "1", "4096")
    name = run["file"]["name"]
    manifest = suite.path / f"fileflow-results/manifests/dt={day}/flow_id=acme/{name}.manifest.json"
    assert json.loads(manifest.read_text())["sha256"] == run["file"]["sha256"] == run["observed"]["sha256"]
    assert run["schema"] == 1
    assert (run["outcome"], run["cause"], run["direction"]) == ("passed", None, "S3->S3")
    assert run["latency_resolution_seconds"] <= run["latency_seconds"] <= run["slo_seconds"]
    assert [check["outcome"] for check in run["checks"]] == ["passed"] * 4


def test_junit_has_the_records_facts_as_properties(suite, workers):
    suite.add("flows/acme.json", flow("acme"))
    suite.add("flows/globex.json", flow("globex", "drop"))
    suite.run("flows", "--junitxml=junit.xml", *workers)
    cases = {case.get("name"): case for case in ET.parse(suite.path / "junit.xml").iter("testcase")}
    facts = {fact.get("name"): fact.get("value") for fact in cases["acme[4KiB]"].iter("property")}
    (run, lost) = suite.records()
    assert facts["run_id"] == run["run_id"]
    assert facts["direction"] == "S3->S3"
    assert facts["outcome"] == "passed"
    assert float(facts["latency_seconds"]) == run["latency_seconds"]
    assert "cause" not in facts
    assert float(cases["globex[4KiB]"].get("time")) > 0.6  # the run's own time, however short the item waited
    failure = cases["globex[4KiB]"].find("failure")
    assert failure.get("message") == f"missing.not_picked_up: {lost['reason']}"
    assert lost["hint"] in failure.text


@pytest.mark.parametrize("more", [(), ("--self-contained-html", "-n", "2")], ids=["linked-plain", "self-contained-n2"])
def test_the_html_report_has_columns_and_details(suite, more):
    suite.add("flows/acme.json", flow("acme"))
    suite.add("flows/globex.json", flow("globex", "error"))
    suite.pytester.makepyfile(**{"flows/test_by_hand": "def test_it(): pass"})
    suite.run("flows", "--html=report.html", *more).assert_outcomes(passed=2, failed=1)
    page = (suite.path / "report.html").read_text()
    blob = re.search(r'data-jsonblob="([^"]*)"', page).group(1)
    tests = json.loads(html.unescape(blob))["tests"]
    cells = {name: "".join(runs[-1]["resultsTableRow"]) for name, runs in tests.items()}
    for text in ("S3-&gt;S3", "4KiB", "0.5 s"):
        assert text in cells["flows/acme.json::acme[4KiB]"]
    failed = json.dumps(tests["flows/globex.json::globex[4KiB]"])
    for text in ("trigger.function_error", "Look first", "&lt;b&gt;no&lt;/b&gt; such partner"):
        assert text in failed
    assert "<b>no</b>" not in failed
    assert "Latency / SLO" in page


def test_html_details_escape_everything():
    evil = "<script>alert(1)</script>"
    page = details(
        record(
            reason=evil,
            cause=evil,
            hint=evil,
            owner=evil,
            residue=[evil],
            evidence={evil: [evil]},
            timeline={evil: evil},
            checks=[{"name": evil, "outcome": evil, "expected": evil, "observed": evil}],
        )
    )
    assert "<script>" not in page
    shown = {"headline": 2, "hint": 1, "owner": 1, "residue": 1, "evidence": 2, "stamps": 2, "checks": 4}
    assert page.count("&lt;script&gt;") == sum(shown.values())


def test_what_a_server_says_does_not_steer_the_terminal():
    text = summary_text(
        record(outcome="failed", cause="late", reason="\x1b[2Jgone", hint="x", evidence={"log": ["\x1b]0;title\x07 é"]})
    )
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\\x1b[2Jgone" in text
    assert "é" in text


def test_tabs_of_a_log_are_blanks():
    assert list(evidence_lines({"log_tail": "REPORT\tDuration: 3 ms\n\x1b[31m"})) == [
        ("log_tail", ["REPORT  Duration: 3 ms", "\\x1b[31m"])
    ]


def test_evidence_of_any_kind_becomes_plain():
    case = Case(Flow("acme", S3Location("a"), S3Location("b")), Variant("", 1))
    run = Run("0" * 16, "acme", "1B", "S3->S3", 1, PayloadFile("f", 1, "0"), verdict=PASSED, evidence={"at": Path("x")})
    assert make_record(case, run)["evidence"] == {"at": "x"}


def test_the_table_shows_the_worst_first_and_not_too_much():
    records = [record(flow_id=f"flow{number:03}", latency_seconds=number / 100) for number in range(PASSED_ROWS + 10)]
    records.append(record(flow_id="bad", outcome="failed", cause="late"))
    records.append(record(flow_id="ours", outcome="error", cause="tester.bug", latency_seconds=None))
    lines = table(records)
    assert lines[1].split()[:2] == ["failed", "bad"]
    assert lines[2].split()[:2] == ["error", "ours"]
    assert lines[3].split()[:2] == ["passed", "flow049"]
    assert lines[-1] == f"and {PASSED_ROWS + 10 - 5} more that passed"


def test_nothing_of_the_payload_or_its_name_is_printed_when_all_is_well(suite):
    suite.add("flows/acme.json", flow("acme"))
    result = suite.run("flows")
    result.stdout.fnmatch_lines(["passed*acme*4KiB*S3->S3*0.5 s*", "1 of 1 runs passed", "records: *"])
    assert suite.records()[0]["file"]["name"] not in result.stdout.str()


def test_what_a_check_observes_may_be_anything(suite, workers):
    suite.add("flows/acme.json", flow("acme", validation={"expect_within_seconds": 5, "checks": ["odd"]}))
    with (suite.path / "conftest.py").open("a") as conftest:
        conftest.write(
            "\nfrom pytest_fileflow.model import CheckResult\n"
            "class Odd:\n"
            "    def __init__(self, options, expected): pass\n"
            "    def feed(self, chunk): pass\n"
            "    def result(self): return CheckResult('odd', True, {1}, 2)\n"
            "def pytest_fileflow_register(registry): registry.check('odd', Odd)\n"
        )
    suite.run_apart("flows", *workers).assert_outcomes(passed=1)
    (record,) = suite.records()
    assert record["checks"][-2] == {"name": "odd", "outcome": "passed", "expected": "{1}", "observed": "2"}


def test_a_rerun_that_fails_before_its_run_is_not_reported_with_the_run_before(suite):
    suite.add("flows/acme.json", flow("acme", "error"))
    suite.add(
        "flows/conftest.py",
        text=(
            "import pytest\n"
            "setups = []\n"
            "@pytest.fixture(autouse=True)\n"
            "def fails_at_second():\n"
            "    setups.append(1)\n"
            "    assert len(setups) == 1\n"
        ),
    )
    result = suite.run_apart("flows", "--reruns", "1")
    result.stdout.fnmatch_lines(["0 of 1 runs passed"])
