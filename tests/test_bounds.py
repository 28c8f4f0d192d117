from __future__ import annotations

import dataclasses

import pytest

from pytest_fileflow.bounds import Bounds
from pytest_fileflow.config.environment import read_environment
from pytest_fileflow.cost import Cost
from pytest_fileflow.model import NO_FILE, Case, Flow, S3Location, Variant
from pytest_fileflow.selecting import Purse
from tests.support.inner import flow

FLOW = Flow("acme", S3Location("one"), S3Location("two"))


class Config:
    """What pytest's config says of options and the ini file."""

    def __init__(self, options: dict[str, object], ini: dict[str, object]) -> None:
        self.options, self.ini = options, ini

    def getoption(self, name: str) -> object:
        return self.options.get(name.removeprefix("fileflow_"))

    def getini(self, name: str) -> object:
        return self.ini.get(name.removeprefix("fileflow_"))


def read(options: dict[str, object] | None = None, ini: dict[str, object] | None = None, environment=None) -> Bounds:
    return Bounds.read(Config(options or {}, ini or {}), environment)  # type: ignore[arg-type]


@pytest.fixture
def environment(tmp_path):
    def make(text: str):
        (tmp_path / "environments").mkdir(exist_ok=True)
        (tmp_path / "environments" / "prod.yaml").write_text(text)
        return read_environment("prod", [tmp_path])

    return make


def test_each_place_can_only_narrow_what_the_others_say(environment):
    prod = environment("allow: ['s3://*/in']\nmax_bytes: 5MiB\nmax_runs: 7\nmax_runs_per_host: 4")
    ini = {"allow": ["s3://acme"], "max_runs": "9", "max_runs_per_host": "3"}
    bounds = read({"allow": ["s3://acme/in/a", "lambda:*"], "max_bytes": "1GiB", "max_runs": "5"}, ini, prod)
    assert bounds.allow == (("s3://*/in",), ("s3://acme/in/a", "lambda:*"), ("s3://acme",))
    assert dataclasses.astuple(bounds)[1:] == (5 * 1024**2, 5, 3)
    assert bounds.allow_list.allows(S3Location("acme", "in/a/"))
    for refused in (S3Location("acme", "in/"), S3Location("globex", "in/a/"), "function"):
        assert not bounds.allow_list.allows(refused)


def test_without_bounds_all_is_allowed(environment):
    for bounds in (read(), read({}, {"allow": [], "max_bytes": ""}), read(environment=environment("variables: {}"))):
        assert bounds == Bounds()
        assert bounds.allow_list.allows("function")
        assert not bounds.has_budget
        assert bounds.excess(Cost(10**9, 10**15)) is None


def test_an_empty_list_of_an_environment_allows_nothing(environment):
    assert not read(environment=environment("allow: []")).allow_list.allows("function")


@pytest.mark.parametrize(
    ("options", "ini", "message"),
    [
        ({"allow": ["acme"]}, {}, "--fileflow-allow: 'acme' is of no kind known here: write s3://bucket/prefix"),
        ({}, {"allow": ["acme"]}, "ini option fileflow_allow: 'acme' is of no kind known here"),
        ({"max_bytes": "5 files"}, {}, "--fileflow-max-bytes: '5 files' must be bytes as a number"),
        ({"max_bytes": "-1"}, {}, "--fileflow-max-bytes: '-1' must be bytes"),
        ({}, {"max_runs": "0"}, "ini option fileflow_max_runs: '0' is not a whole number above 0"),
        ({"max_runs_per_host": "two"}, {}, "--fileflow-max-runs-per-host: 'two' is not a whole number above 0"),
    ],
)
def test_a_bound_that_is_none_names_its_origin(options, ini, message):
    with pytest.raises(pytest.UsageError) as told:
        read(options, ini)
    assert str(told.value).startswith(message)


def test_a_pattern_of_an_environment_that_is_none_has_its_line(environment):
    with pytest.raises(pytest.UsageError, match=r"environments/prod\.yaml:3: 'acme' is of no kind known here"):
        read(environment=environment("allow:\n  - s3://acme\n  - acme"))


def test_only_what_sends_a_file_costs():
    cases = [Case(FLOW, Variant("", 100)), Case(FLOW, NO_FILE, "contract"), Case(FLOW, Variant("x", 24))]
    assert Cost.of(cases) == Cost(2, 124)
    assert str(Cost(1, 1024)) == "1 run with 1KiB"


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (Bounds(max_runs=3, max_bytes=300), None),
        (Bounds(max_runs=2), "3 runs, and the budget is 2 (--fileflow-max-runs)"),
        (Bounds(max_bytes=299), "300B, and the budget is 299B (--fileflow-max-bytes)"),
        (Bounds(max_runs=1, max_bytes=1), "3 runs, and the budget is 1 (--fileflow-max-runs); 300B, and the budget"),
    ],
)
def test_what_is_over_the_budget_is_told_with_numbers(bounds, words):
    excess = bounds.excess(Cost(3, 300))
    assert excess is None if words is None else excess.startswith(words)


def test_reruns_are_paid_from_one_purse_by_all_processes(tmp_path):
    bounds = Bounds(max_runs=5, max_bytes=1000)
    one, other = (Purse(tmp_path / "session", bounds, Cost(3, 300)) for _ in range(2))
    assert one.pay(Cost(1, 100)) is None
    assert other.pay(Cost(1, 601)) == "with this rerun it would be 1001B, and the budget is 1KB (--fileflow-max-bytes)"
    assert other.pay(Cost(1, 600)) is None
    assert one.pay(Cost(1, 0)).startswith("with this rerun it would be 6 runs, and the budget is 5")


@pytest.fixture
def two(suite):
    suite.add("flows/acme.json", flow("acme", testdata={"sizes": {"smoke": "1KiB", "typical": "8KiB"}}))
    suite.add("flows/initech.json", flow("initech", enabled=False))
    return suite


def test_a_session_over_its_budget_ends_before_anything_is_sent(two, workers):
    result = two.run("flows", "--fileflow-max-bytes", "8KiB", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = "nothing was sent: the selected flows come to 9KiB, and the budget is 8KiB (--fileflow-max-bytes)"
    assert (result.stderr.str() + result.stdout.str()).count(told) == 1
    assert two.records() == []


def test_what_is_not_selected_costs_nothing(two):
    two.run("flows", "--fileflow-max-bytes", "8KiB", "-k", "typical").assert_outcomes(passed=1, deselected=2)
    result = two.run("flows", "--fileflow-max-runs", "2", "--fileflow-include-disabled")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*come to 3 runs, and the budget is 2 (--fileflow-max-runs)*"])


def test_a_rerun_beyond_the_budget_is_refused(two):
    two.add("flows/acme.json", flow("acme", "truncate"))
    result = two.run("flows/acme.json", "--reruns", "3", "--fileflow-max-runs", "2", "-p", "rerunfailures")
    result.stdout.fnmatch_lines(
        ["*tester.over_budget: not run again: with this rerun it would be 3 runs, and the budget is 2*"]
    )
    causes = sorted((record["attempt"], record["cause"]) for record in two.records())
    assert causes[:2] == [(1, "partial.truncated"), (2, "partial.truncated")]
    assert {cause for _, cause in causes[2:]} == {"tester.over_budget"}
