"""Faults of the command line, the ini file and the configs: who gets which, and what is no fault."""

from __future__ import annotations

import json

import pytest

from pytest_fileflow.faults import FaultError
from pytest_fileflow.model import Flow, S3Location, SftpLocation, Transfer
from pytest_fileflow.switching import Rule, faults_of, problem_of, shared
from tests.support.inner import flow as config

S3 = S3Location("box", "in/")
SFTP = SftpLocation("sftp.acme.example", "acme", "/in", "secret")


def rules(*texts: str) -> list[Rule]:
    return [Rule.parse(text, "--fileflow-fault") for text in texts]


def flows(*given: Flow) -> dict[str, Flow]:
    return {flow.flow_id: flow for flow in given}


@pytest.mark.parametrize(
    ("texts", "faults"),
    [
        (["acme=drop"], ("drop",)),
        (["acme = drop", "acme=bit-flip:3", "acme=drop"], ("drop", "bit_flip:3")),
        (["*=truncate"], ("truncate",)),
        (["ac*=truncate", "acme=gzip"], ("truncate", "gzip")),
        (["beta=drop"], ("bom",)),
        (["*=missing_bucket"], ("bom",)),
        ([], ("bom",)),
    ],
)
def test_the_command_line_replaces_the_list_of_a_config(texts, faults):
    assert faults_of(rules(*texts), Flow("acme", SFTP, SFTP, faults=("bom",))) == faults


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("acme", "'acme' is not of the form FLOW_ID=FAULT"),
        ("=drop", "is not of the form"),
        ("acme=dorp", "'dorp' names no fault: did you mean 'drop'?"),
    ],
)
def test_what_is_no_rule_is_said(text, problem):
    with pytest.raises(FaultError) as caught:
        Rule.parse(text, "ini option fileflow_fault")
    assert str(caught.value).startswith("ini option fileflow_fault: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("acme=drop", None),
        ("ruin=drop", None),  # a broken flow says so itself
        ("amce=drop", "no collected flow is called 'amce'; did you mean 'acme'?"),
        ("zzzzzz=drop", "no collected flow is called 'zzzzzz'"),
        ("acme=missing_bucket", "missing_bucket is a fault of S3 ends; neither end of acme is such"),
        ("*=missing_bucket", None),
        ("a*=missing_bucket", "missing_bucket is possible in none of them: missing_bucket is a fault of S3 ends"),
        ("x*=drop", "no collected flow's id matches"),
    ],
)
def test_what_no_flow_can_have_is_said(text, problem):
    told = problem_of(rules("acme=gzip", text), flows(Flow("acme", SFTP, SFTP), Flow("beta", S3, S3)), {"ruin"})
    assert (told is None) if problem is None else (f"{text!r}: {problem}" in str(told))


def test_flows_that_feel_a_fault_too_are_named():
    called = Transfer("invoke", "arn", payload={"id": 1})
    given = flows(
        Flow("acme", S3, SFTP, called),
        Flow("beta", SFTP, S3, Transfer("invoke", "arn", payload={"id": 2})),
        Flow("gamma", S3Location("box", "elsewhere"), S3, called),
    )
    assert shared({"acme": ["truncate", "target.rejected_key", "crash"]}, given) == [
        "acme: target.rejected_key reaches beta, too: it is at sftp://acme@sftp.acme.example:22/in/, which they use",
        "acme: crash reaches gamma, too: they invoke arn with the same payload",
    ]
    assert shared({"acme": ["rejected_key"], "beta": ["rejected_key"]}, given) == []


# --- Sessions ------------------------------------------------------------------------------------


def refused(suite, *arguments: str) -> str:
    result = suite.run_apart(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in (*result.outlines, *result.errlines) if line.startswith("ERROR: ")]
    assert len(lines) == 1, result.outlines
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--fileflow-fault", "acme=drop"], "--fileflow-fault: 'acme=drop': only the sandbox has faults"),
        (["--fileflow-sandbox", "--fileflow-fault", "acme=dorp"], "names no fault: did you mean 'drop'?"),
    ],
)
def test_a_bad_option_ends_the_session_before_it_begins(suite, arguments, problem):
    suite.add("flows/acme.json", config())
    assert problem in refused(suite, "flows", *arguments)


@pytest.mark.parametrize("fault", ["amce=drop", "acme=rejected_key"])
def test_a_fault_that_no_flow_can_have_ends_the_session(suite, workers, fault):
    suite.add("flows/acme.json", config())
    line = refused(suite, "flows", "--fileflow-sandbox", "--fileflow-fault", fault, *workers)
    assert line.startswith(f"ERROR: --fileflow-fault: {fault!r}: ")


def test_a_fault_of_the_ini_file_is_looked_at_too(suite):
    suite.pytester.makeini("[pytest]\nfileflow_fault =\n    acme=drop\n    other=drop")
    suite.add("flows/acme.json", config())
    line = refused(suite, "flows", "--fileflow-sandbox")
    assert line == "ERROR: ini option fileflow_fault: 'other=drop': no collected flow is called 'other'"


def test_a_flow_that_is_deselected_is_there(suite, workers):
    suite.add("flows/acme.json", config(), config("beta"))
    fault = ("--fileflow-sandbox", "--fileflow-fault", "acme=drop")
    result = suite.run_apart("flows", *fault, "-k", "beta", *workers)
    result.assert_outcomes(passed=1)
    assert "fileflow: faults switched on: acme=drop" in result.outlines
    assert [record.get("faults") for record in suite.records()] == [None]


def test_a_file_that_last_failed_leaves_out_is_not_missed(suite):
    suite.add("flows/acme.json", config())
    suite.add("flows/beta.json", config("beta", "drop"))
    run = suite.pytester.runpytest_subprocess
    run("flows").assert_outcomes(passed=1, failed=1)
    result = run("flows", "--lf", "--fileflow-sandbox", "--fileflow-fault", "acme=drop")
    result.assert_outcomes(failed=1)


def test_a_config_with_a_fault_that_it_cannot_have_is_broken(suite):
    suite.add("flows/acme.json", config(sandbox={"faults": ["drop", "rejected_key"]}), config("beta"))
    result = suite.run("flows", "--fileflow-sandbox")
    result.assert_outcomes(passed=1, failed=1)
    problem = "*$.sandbox.faults[[]1]  rejected_key is a fault of SFTP ends; neither end of acme is such"
    result.stdout.fnmatch_lines([problem])
    assert "faults" in json.loads((suite.path / "flows/acme.json").read_text())["flows"][0]["sandbox"]


def test_outside_the_sandbox_a_config_has_no_faults(suite):
    suite.add("flows/acme.json", config(sandbox={"faults": ["drop"]}))
    suite.run("flows").assert_outcomes(passed=1)
    assert [record.get("faults") for record in suite.records()] == [None]
