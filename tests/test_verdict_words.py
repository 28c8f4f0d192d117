"""A verdict is said in the same words wherever it is shown, whatever others wrote into it."""

from __future__ import annotations

import html
import json
import re
from xml.etree import ElementTree as ET

import pytest

from pytest_fileflow.model import Case, Flow, PayloadFile, Run, S3Location, Variant, Verdict
from pytest_fileflow.results.record import make_record
from pytest_fileflow.results.words import EVIDENCE_ITEMS, EVIDENCE_LETTERS, SENTENCE_LETTERS, bounded, sentence
from tests.support.inner import flow

HOSTILE = '<script>alert("1")</script> & \x1b[2J\nFAILED \u202eevil\u202c \x00 \udce9 ' + "x" * 10_000
CONFTEST = f"""
import pytest
from pytest_fileflow.errors import FunctionFailed

@pytest.fixture(scope="session")
def transfer_invoker():
    def invoke(lambda_arn, payload, invocation="Event"):
        text = {HOSTILE!r}
        raise FunctionFailed(f"the function said {{text}}", evidence={{"log_tail": text, "listing": [text] * 200}})
    return invoke
"""


def reports(suite, *arguments):
    """Run the suite; return, by flow id, a run's record, all the texts in which its verdict is said, and its line."""
    result = suite.run_apart("flows", "--html=report.html", "--junitxml=junit.xml", *arguments)
    page = (suite.path / "report.html").read_text(encoding="utf-8")
    blob = html.unescape(re.search(r'data-jsonblob="([^"]*)"', page).group(1))
    tests = {name: run for name, (run,) in json.loads(blob)["tests"].items()}
    cases = {case.get("name"): case for case in ET.parse(suite.path / "junit.xml").iter("testcase")}
    told = {}
    for record in suite.records():
        flow_id = record["flow_id"]
        (folder,) = (suite.path / "fileflow-results").glob(f"results/*/flow_id={flow_id}/run_id=*")
        (test,) = (run for name, run in tests.items() if f"::{flow_id}[" in name)
        case = cases[f"{flow_id}[4KiB]"]
        texts = {
            "terminal": result.stdout.str(),
            "junit body": case.find("failure").text,
            "junit": "\n".join(fact.get("value") for fact in case.iter("property")),
            "html": test["extras"][0]["content"] if test["extras"] else "",
            "summary": (folder / "summary.txt").read_text(encoding="utf-8"),
        }
        told[flow_id] = (record, texts, case.find("failure").get("message"))
    return told


@pytest.mark.parametrize("more", [(), ("--self-contained-html", "-n", "2")], ids=["plain", "self-contained-n2"])
def test_cause_reason_and_hint_are_the_same_everywhere(suite, more):
    behaviours = ("drop", "truncate", "flip", "error")
    for behaviour in behaviours:
        suite.add(f"flows/{behaviour}.json", flow(behaviour, behaviour))
    told = reports(suite, *more)
    assert set(told) == set(behaviours)
    for flow_id, (record, texts, message) in told.items():
        assert record["outcome"] == "failed"
        for place, text in texts.items():
            said = html.unescape(text) if place == "html" else text
            for name in ("cause", "reason", "hint"):
                assert record[name] in said, f"{flow_id}: {name} in {place}"
        assert message == f"{record['cause']}: {record['reason']}"


@pytest.mark.parametrize("more", [(), ("--self-contained-html", "-n", "2")], ids=["plain", "self-contained-n2"])
def test_hostile_text_is_escaped_and_cut_everywhere(suite, more):
    suite.add("flows/acme.json", flow("acme"))
    suite.add("flows/conftest.py", text=CONFTEST)
    record, texts, message = reports(suite, *more)["acme"]
    assert record["cause"] == "trigger.function_error"
    assert record["reason"].startswith('the function said <script>alert("1")</script> & \\x1b[2J\\nFAILED \\u202eevil')
    assert len(record["reason"]) < SENTENCE_LETTERS + 100
    assert len(json.dumps(record)) < (EVIDENCE_ITEMS + 2) * (EVIDENCE_LETTERS + 100)
    assert message.startswith(f"trigger.function_error: {record['reason']}"[:200])  # pytest cuts it, too
    for place, text in texts.items():
        said = html.unescape(text) if place == "html" else text
        assert record["reason"] in said, place
        for letter in "\x1b\x00\u202e\u202c\udce9":
            assert letter not in said, place
        assert "x" * EVIDENCE_LETTERS not in said, place
    assert "<script" not in texts["html"]
    assert "alert(&quot;1&quot;)" in texts["html"]


# That a worker's words come whole to the controller has nothing to do with how pytest cuts them there.
@pytest.mark.parametrize(
    ("workers", "environment"),
    [((), {}), ((), {"CI": "true"}), (("-n", "2"), {"CI": "true"})],
    ids=["by hand", "in CI", "in CI, n2"],
)
def test_pytests_own_summary_says_the_one_line(suite, monkeypatch, workers, environment):
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    suite.add("flows/acme.json", flow("acme", "error"))
    (suite.path / "taken").write_text("a file, not a folder")
    suite.add("ours/flows/ours.json", flow("ours"))
    result = suite.run_apart("flows", *workers)
    (line,) = (line for line in result.outlines if line.startswith("FAILED"))
    wanted = "FAILED flows/acme.json::acme[4KiB] - trigger.function_error: the function"
    assert line.startswith(wanted[: len(line) - 3])
    result = suite.run_apart("ours/flows", "--fileflow-results", "taken", *workers)
    position = next(n for n, line in enumerate(result.outlines) if line.startswith("ERROR ours"))
    assert result.outlines[position].startswith("ERROR ours/flows/ours.json::ours[4KiB] - tester.results_store")
    assert "=====" in result.outlines[position + 1]


def test_junit_says_an_error_in_one_line(suite, workers):
    suite.add("flows/acme.json", flow("acme"))
    (suite.path / "taken").write_text("a file, not a folder")
    suite.run_apart("flows", "--fileflow-results", "taken", "--junitxml=junit.xml", *workers)
    (error,) = ET.parse(suite.path / "junit.xml").iter("error")
    assert error.get("message").startswith('failed on setup with "tester.results_store: ')
    assert "\n" not in error.get("message")
    assert "the verdict stands: passed" in error.text


def test_a_failing_teardown_keeps_its_own_words(suite):
    suite.add("flows/acme.json", flow("acme"))
    fixture = "import pytest\n@pytest.fixture(autouse=True)\ndef after():\n    yield\n    raise ValueError('mine')\n"
    suite.add("flows/conftest.py", text=fixture)
    suite.run_apart("flows", "--junitxml=junit.xml")
    (error,) = ET.parse(suite.path / "junit.xml").iter("error")
    assert "ValueError: mine" in error.get("message")


def test_a_rerun_leaves_no_cause_of_the_run_before(suite):
    suite.add("flows/acme.json", flow("acme", "flaky"))
    suite.run_apart("flows", "--reruns", "1", "--junitxml=junit.xml").assert_outcomes(passed=1)
    *_, case = ET.parse(suite.path / "junit.xml").iter("testcase")
    facts = {fact.get("name"): fact.get("value") for fact in case.iter("property")}
    assert (facts["outcome"], facts["attempt"]) == ("passed", "2")
    assert not {"cause", "reason", "hint"} & set(facts)


def test_a_record_can_be_written_and_sent_whatever_its_texts_hold():
    evil = "half a character \ud83d"
    location = S3Location("bucket", f"{evil}/")
    case = Case(Flow("acme", location, location, description=evil, owner=evil), Variant("", 1))
    verdict = Verdict("failed", "late", evil, evil, {evil: {evil: [evil]}})
    run = Run("0" * 16, "acme", "1B", "S3->S3", 1, PayloadFile(evil, 1, "0"), residue=(evil,), verdict=verdict)
    record = make_record(case, run)
    json.dumps(record, ensure_ascii=False).encode("utf-8")
    assert record["owner"] == "half a character \\ud83d"
    assert list(record["evidence"]) == ["half a character \\ud83d"]


def test_what_is_too_long_loses_its_middle():
    assert sentence("a" * 5000) == f"{'a' * 1000} … 3000 characters left out … {'a' * 1000}"
    assert sentence("a\nb\x07") == "a\\nb\\x07"
    kept = bounded({"deep": [["x" * 9000]], "long": list(range(150)), "number": 1.5, "none": None})
    assert len(kept["deep"][0][0]) < 8100
    assert kept["long"][-1] == "… and 50 more"
    assert (kept["number"], kept["none"]) == (1.5, None)
