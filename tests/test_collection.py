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


def test_the_fixtures_of_a_folder_apply_to_all_its_flows_and_to_no_other(suite, workers):
    for name in ("inner/a", "inner/b", "inner/deep/c", "other/d", "other/e"):
        suite.add(f"flows/{name}.json", flow(name[-1]))
    suite.add(
        "flows/inner/conftest.py",
        text="import pytest\n@pytest.fixture(autouse=True)\ndef no(request): pytest.skip(f'not {request.node.name}')\n",
    )
    suite.run("flows", *workers).assert_outcomes(skipped=3, passed=2)


def test_a_replaced_fixture_holds_in_its_folder(suite):
    replaced = "import pytest\n@pytest.fixture\ndef fileflow_run(): pytest.skip('replaced')\n"
    for name in ("first/a", "second/b", "second/c"):
        suite.add(f"flows/{name}.json", flow(name[-1]))
    suite.add("flows/second/conftest.py", text=replaced)
    suite.run("flows").assert_outcomes(passed=1, skipped=2)
    suite.run("flows/second/c.json").assert_outcomes(skipped=1)


def test_what_a_plugin_marks_a_file_with_holds_for_its_flows_alone(suite):
    suite.add(
        "flows/conftest.py",
        text="""
import pytest

@pytest.fixture
def no(): pytest.skip("not this one")

@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path):
    files = yield
    for file in files:
        if file_path.name == "b.json":
            file.add_marker(pytest.mark.usefixtures("no"))
    return files
""",
    )
    for name in "abc":
        suite.add(f"flows/{name}.json", flow(name))
    suite.run("flows").assert_outcomes(passed=2, skipped=1)


@pytest.mark.parametrize(
    ("arguments", "ini", "expected"),
    [
        (["flows"], "", "abcd"),
        ([], "", "abcd"),
        (["flows/a.json", "flows/sub"], "", "abd"),
        (["flows/sub/b.json::b[4KiB]", "flows/a.json"], "", "ab"),
        (["flows", "flows/a.json", "--keep-duplicates"], "", "abcda"),
        (["flows", "--ignore=flows/sub"], "", "ac"),
        (["flows", "--ignore-glob=*/c.*"], "", "abd"),
        (["flows", "--deselect=flows/sub/b.json"], "", "acd"),
        (["flows"], "norecursedirs = sub", "ac"),
    ],
)
def test_which_files_are_collected(suite, arguments, ini, expected):
    for name in ("a", "sub/b", "c"):
        suite.add(f"flows/{name}.json", flow(name[-1]))
    suite.add("flows/sub/d.json", flow("d"))
    suite.pytester.makeini(f"[pytest]\n{ini}\n")
    result = suite.run("--collect-only", "-q", *arguments)
    assert sorted(line.split("::")[1][0] for line in collected(result)) == sorted(expected)


def test_a_conftest_can_leave_files_out(suite):
    for name in "abc":
        suite.add(f"flows/{name}.json", flow(name))
    suite.add("flows/conftest.py", text="collect_ignore = ['a.json']\ncollect_ignore_glob = ['b*']\n")
    assert collected(suite.run("--collect-only", "-q")) == ["flows/c.json::c[4KiB]"]


def test_a_folder_that_is_a_package_is_collected_too(suite):
    suite.add("flows/acme.json", flow("acme"))
    suite.add("flows/__init__.py", text="")
    suite.run("flows").assert_outcomes(passed=1)


def test_a_file_by_name_leaves_the_others_unread(suite):
    suite.add("flows/acme.json", flow("acme"))
    suite.add("flows/globex.json", flow("acme"))
    suite.run("flows/globex.json").assert_outcomes(passed=1)
    suite.run("flows").assert_outcomes(passed=1, failed=1)


def test_the_tree_shows_files_between_folders_and_flows(suite):
    suite.add("flows/acme.json", flow("acme"))
    result = suite.run("--collect-only", "flows")
    result.stdout.fnmatch_lines(["*<Dir flows>", "*<FlowFile acme.json>", "*<FlowItem acme?4KiB?>"])


def test_a_marker_becomes_known_once(suite):
    for name in "abc":
        suite.add(f"flows/{name}.json", flow(name, tags=["nightly"]))
    result = suite.run("flows", "--markers")
    result.stdout.no_fnmatch_line("*nightly*")
    suite.add(
        "conftest.py",
        text="""
def pytest_collection_finish(session):
    print("known", sum(line.startswith("nightly:") for line in session.config.getini("markers")))
""",
    )
    suite.run("flows", "--collect-only", "-s").stdout.fnmatch_lines(["*known 1"])


def test_a_plugin_that_fails_spoils_only_its_own_files(suite):
    suite.add("flows/acme.json", flow("acme"))
    suite.add("flows/globex.json", flow("globex", testdata={"pattern": "bad"}))
    suite.add(
        "conftest.py",
        text="""
from tests.support.inner import *

class Bad:
    name = "bad"
    def size_problem(self, size): raise RuntimeError("a bug in size_problem")

def pytest_fileflow_register(registry):
    registry.payload(Bad())
""",
    )
    result = suite.run("flows", "--continue-on-collection-errors")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ERROR collecting flows/globex.json*", "*a bug in size_problem*"])


def test_a_conftest_further_down_adds_patterns_in_time(suite):
    suite.add("flows/a/acme.json", flow("acme"))
    suite.add("flows/b/globex.json", flow("globex", testdata={"pattern": "own", "size_bytes": 1}))
    suite.add(
        "flows/b/conftest.py",
        text="""
class Own:
    name = "own"
    def size_problem(self, size): return None

def pytest_fileflow_register(registry):
    registry.payload(Own())
""",
    )
    assert collected(suite.run("--collect-only", "-q")) == [
        "flows/a/acme.json::acme[4KiB]",
        "flows/b/globex.json::globex[1B]",
    ]


def test_the_last_failed_is_run_again_alone(suite):
    suite.add("flows/acme.json", flow("acme"))
    suite.add("flows/globex.json", flow("globex", "drop"))
    suite.pytester.runpytest_inprocess("flows").assert_outcomes(passed=1, failed=1)
    for arguments in (["flows"], []):
        result = suite.pytester.runpytest_inprocess("--lf", *arguments)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["run-last-failure: rerun previous 1 failure (skipped 1 file)"])


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
