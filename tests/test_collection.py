from __future__ import annotations

import pytest

from tests.support.inner import flow

SIZES = {"sizes": {"smoke": "1KiB", "typical": "8KiB"}}


def collected(result) -> list[str]:
    return [line for line in result.outlines if "::" in line and " " not in line]


def test_a_case_is_a_flow_and_a_size(suite):
    suite.add("flows/acme.json", flow("acme"))
    suite.add("flows/globex.json", flow("globex", testdata=SIZES))
    result = suite.run("--collect-only", "-q", "flows")
    assert collected(result) == [
        "flows/acme.json::acme[4KiB]",
        "flows/globex.json::globex[smoke-1KiB]",
        "flows/globex.json::globex[typical-8KiB]",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["flows"], 4),
        (["flows/globex.json"], 2),
        (["flows/globex.json::globex[smoke-1KiB]"], 1),
        (["flows", "-k", "acme"], 1),
        (["flows", "-k", "globex and typical"], 1),
        (["flows", "-m", "smoke"], 1),
        (["flows", "-m", "nightly"], 3),
        (["flows", "-m", "nightly and not typical"], 2),
        (["flows", "-m", "weekly", "--strict-markers"], 1),
        (["flows", "--strict-markers", "-p", "no:xdist"], 4),
        (["flows", "-p", "no:html"], 4),
        (["flows", "-p", "no:timeout"], 4),
    ],
)
def test_selecting(suite, arguments, expected):
    suite.add("flows/acme.json", flow("acme", tags=["nightly"]))
    suite.add("flows/globex.json", flow("globex", testdata=SIZES, tags=["nightly"]))
    suite.add("flows/initech.json", flow("initech", testdata={"size_bytes": 1, "tags": ["weekly"]}))
    suite.run(*arguments).assert_outcomes(
        passed=expected, deselected=4 - expected if "-k" in arguments or "-m" in arguments else 0
    )


def test_collecting_touches_nothing(suite):
    suite.add("flows/acme.json", flow("acme", "error"))
    suite.run("--collect-only", "flows", "--fileflow-sandbox").assert_outcomes()
    assert {path.name for path in suite.path.iterdir()} - {"__pycache__"} == {"conftest.py", "flows"}


def test_several_flows_in_a_file(suite):
    suite.add("flows/many.json", flow("one"), flow("two"))
    suite.add("flows/docs.yaml", text="\n---\n".join(map(str, (flow("three"), flow("four")))))
    suite.run("flows").assert_outcomes(passed=4)


def test_a_disabled_flow_is_shown_as_skipped_with_the_reason(suite):
    suite.add("flows/acme.json", flow("acme", enabled=False))
    result = suite.run("flows", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*acme is disabled in flows/acme.json:2 (--fileflow-include-disabled runs it)*"])
    assert suite.records() == []
    suite.run("flows", "--fileflow-include-disabled").assert_outcomes(passed=1)


def test_what_is_broken_fails_by_itself_and_the_rest_runs(suite, workers):
    suite.add("flows/a_typo.json", flow("typo", validatoin={}))
    suite.add("flows/b_syntax.yaml", text="flow_id: [unclosed")
    suite.add("flows/c_good.json", flow("good"))
    suite.add("flows/d_half.json", flow("half_good"), flow("half_bad", owner=7))
    result = suite.run("flows", *workers)
    result.assert_outcomes(passed=2, failed=3)
    result.stdout.fnmatch_lines(
        [
            "config.invalid: 1 problem in flows/a_typo.json",
            "flows/a_typo.json:*validatoin*did you mean*validation*",
        ]
    )
    result.stdout.fnmatch_lines(["flows/d_half.json:*$.flows?1?.owner*"])
    assert [record["flow_id"] for record in suite.records()] == ["good", "half_good"]


def test_a_duplicate_id_names_both_files(suite, workers):
    suite.add("flows/first.json", flow("acme"))
    suite.add("flows/second.json", flow("acme"))
    result = suite.run("flows", *workers)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["flows/second.json:2:*duplicate flow_id 'acme'*flows/first.json:2*"])
    suite.run("flows/second.json", *workers).assert_outcomes(passed=1)


def test_a_placeholder_is_refused_outside_the_sandbox(suite):
    suite.add("flows/acme.json", flow("acme", alerts={"sns_topic_arn": "arn:aws:sns:us-west-2:<ACCOUNT_ID>:alerts"}))
    result = suite.run("flows")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["flows/acme.json:*$.alerts.sns_topic_arn*<ACCOUNT_ID>*"])


def test_a_broken_flow_is_selected_by_any_tag(suite):
    suite.add("flows/acme.json", flow("acme", tags=["nightly"]))
    suite.add("flows/broken.json", text="{")
    suite.run("flows", "-m", "nightly").assert_outcomes(passed=1, failed=1)


def test_other_tools_files_are_left_alone(suite):
    suite.pytester.makepyfile(**{"tests/test_one": "def test_one(): pass"})
    suite.add("package.json", {"name": "web"})
    suite.add("tests/data/answer.json", {"flow_id": "not a flow", "answer": 42})
    suite.add("flows/notes.yaml", text="shopping: [milk]")
    suite.run().assert_outcomes(passed=1)
    suite.run("tests").assert_outcomes(passed=1)


def test_flows_are_found_beside_other_tests(suite):
    suite.pytester.makepyfile(**{"tests/test_one": "def test_one(): pass"})
    suite.add("tests/flows/acme.json", flow("acme"))
    suite.add("tests/partners/globex.flow.json", flow("globex"))
    suite.add("tests/partners/other.json", {"no": "flow"})
    suite.run().assert_outcomes(passed=3)


def test_in_named_places_every_file_must_be_a_flow(suite, workers):
    suite.add("partners/acme.json", flow("acme"))
    suite.add("partners/oops.json", {"flowid": "oops"})
    suite.run("partners", *workers).assert_outcomes(passed=1, failed=1)
    suite.run("partners/oops.json", *workers).assert_outcomes(failed=1)
    suite.run(*workers).assert_outcomes()
    suite.pytester.makeini("[pytest]\nfileflow_paths = partners\n")
    suite.run(*workers).assert_outcomes(passed=1, failed=1)


def test_records_are_no_flows(suite):
    suite.add("flows/acme.json", flow("acme"))
    for _ in range(2):
        suite.run("flows", "--fileflow-results", "flows/kept").assert_outcomes(passed=1)
    suite.pytester.makeini("[pytest]\nfileflow_results = flows/kept\n")
    suite.run("flows").assert_outcomes(passed=1)
    assert len(suite.records("flows/kept")) == 3


def test_fixtures_and_autouse_fixtures_apply(suite):
    suite.add("flows/acme.json", flow("acme"))
    suite.add(
        "flows/conftest.py",
        text="import pytest\n@pytest.fixture(autouse=True)\ndef no(request): pytest.skip(f'not {request.node.name}')\n",
    )
    result = suite.run("flows", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*not acme?4KiB?*"])
    assert suite.records() == []


def test_the_last_failed_is_run_again_alone(suite):
    suite.add("flows/acme.json", flow("acme"))
    suite.add("flows/globex.json", flow("globex", "drop"))
    suite.pytester.runpytest_inprocess("flows").assert_outcomes(passed=1, failed=1)
    suite.pytester.runpytest_inprocess("flows", "--lf").assert_outcomes(failed=1)


def test_a_bad_option_names_itself(suite):
    suite.add("flows/acme.json", flow("acme"))
    result = suite.run("flows", "--fileflow-concurrency", "many")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--fileflow-concurrency: 'many' is not a whole number above 0"])
    suite.pytester.makeini("[pytest]\nfileflow_max_in_flight = 0\n")
    result = suite.run("flows")
    result.stderr.fnmatch_lines(["*ini option fileflow_max_in_flight: '0' is not a whole number above 0"])


def test_a_suite_without_flows_is_left_as_it_is(suite, workers):
    suite.pytester.makepyfile(
        """
        import os, signal, sys, threading

        def test_nothing_is_changed():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            assert not [thread for thread in threading.enumerate() if "fileflow" in thread.name]
            heavy = {"boto3", "paramiko", "jsonschema", "jsonschema_rs", "moto", "asyncssh"}
            assert not heavy & set(sys.modules)
        """
    )
    suite.pytester.makeconftest("")
    result = suite.run_apart(*workers)
    result.assert_outcomes(passed=1)
    assert "file flows" not in result.stdout.str()
    assert not (suite.path / "fileflow-results").exists()
