"""Environments, endpoints and defaults in a session: what is collected, what fails, and under xdist too."""

from __future__ import annotations

import pytest

ENDPOINTS = """
endpoints:
  lake: {type: S3, bucket: "${stage}-lake"}
defaults:
  source: {use: lake, prefix: in/}
  target: {use: lake, prefix: out/}
  tags: [shared]
  validation: {expect_within_seconds: 0.2, grace_seconds: 0.1}
"""


@pytest.fixture
def shared(suite):
    suite.add("flows/endpoints.yaml", text=ENDPOINTS)
    suite.add("flows/acme.yaml", text="flow_id: acme\n")
    suite.add("flows/partners/globex.yaml", text="flow_id: globex\nsource: {prefix: other/}\n")
    suite.add("environments/prod.yaml", text="variables: {stage: prod}\nresults: elsewhere\n")
    suite.add("groups/nightly.json", text='["acme"]')
    return suite


def ids(result):
    return sorted(line for line in result.outlines if "::" in line and " " not in line)


@pytest.mark.parametrize("place", ["flows", "."])
def test_what_flows_share_is_no_flow(shared, place):
    result = shared.run("--collect-only", "-q", place, "--fileflow-env", "prod", "-m", "shared")
    assert ids(result) == ["flows/acme.yaml::acme[1MiB]", "flows/partners/globex.yaml::globex[1MiB]"]


def test_the_ini_file_may_choose_the_environment_and_records_go_where_it_says(shared):
    shared.pytester.makeini("[pytest]\nfileflow_env = prod\n")
    shared.run("flows", "-k", "globex", "--fileflow-no-cleanup")
    (record,) = shared.records("elsewhere")
    assert record["source"]["location"].startswith("s3://prod-lake/other/")


def test_workers_see_the_same(shared):
    result = shared.run("flows", "-n", "2", "--fileflow-env", "prod", "--co", "-q")
    assert not result.errlines
    (shared.path / "flows/acme.yaml").write_text("flow_id: acme\nowner: ${nobody}\n")
    result = shared.run("flows/acme.yaml", "-n", "2", "--fileflow-env", "prod")
    result.stdout.fnmatch_lines(
        ["*flows/acme.yaml:2:8  $.owner  unknown variable ${nobody} in environments/prod.yaml; known: stage"]
    )


def test_a_broken_shared_file_is_an_item_that_fails_and_a_good_one_is_none(shared):
    shared.add("flows/endpoints.yaml", text=ENDPOINTS.replace("bucket", "buckt"))
    result = shared.run("flows", "--fileflow-env", "prod")
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "*config.invalid: 1 problem in flows/endpoints.yaml",
            '*flows/endpoints.yaml:3:20  $.endpoints.lake.buckt  unknown key "buckt"; did you mean "bucket"?',
            '*unknown key "buckt"; did you mean "bucket"? (used by globex, flows/partners/globex.yaml:1)',
        ],
        consecutive=False,
    )


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("prd", "ERROR: --fileflow-env: there is no environments/prd.yaml, .yml or .json in *; did you mean 'prod'?*"),
        ("bad", 'ERROR: --fileflow-env: environments/bad.yaml:1:1  $.x  unknown key "x"; known: *'),
    ],
)
def test_an_environment_that_cannot_be_used_is_said_at_once(shared, name, line):
    shared.add("environments/bad.yaml", text="x: 1\n")
    result = shared.run("flows", "--fileflow-env", name)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([line])
