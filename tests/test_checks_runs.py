"""Further checks in the life of a run: which failure names it, and what is known before anything is sent."""

from __future__ import annotations

import dataclasses
import gzip

import pytest

from pytest_fileflow.checks import LayerBroken
from pytest_fileflow.model import CheckResult, CheckSpec, Wrap
from pytest_fileflow.registry import register_builtin_checks
from pytest_fileflow.secret import Credentials

from .support.inner import CONFTEST, flow
from .support.memory import World
from .support.pgp import Party
from .test_engine import Bench, make_case

ARN = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:pgp"


@pytest.fixture
def run():
    benches = []

    def run(*checks, data=None, damage=lambda content: content, register=lambda registry: None, key=None):
        bench = Bench(World(damage))
        benches.append(bench)
        if key:
            bench.tools = dataclasses.replace(bench.tools, credentials=lambda secret: Credentials(key))
        register_builtin_checks(bench.tools.registry)
        register(bench.tools.registry)
        specs = tuple(check if isinstance(check, CheckSpec) else CheckSpec(check) for check in checks)
        case = make_case(checks=specs)
        testdata = dataclasses.replace(case.flow.testdata, **(data or {"pattern": "fixed"}))
        case = dataclasses.replace(case, flow=dataclasses.replace(case.flow, testdata=testdata))
        return bench.run(case), bench.world

    yield run
    for bench in benches:
        bench.engine.close()


def test_a_file_that_is_right_all_through_passes(run):
    lines = CheckSpec("fixedwidth", {"width": 127})
    done, _ = run("encoding", CheckSpec("rows", {"min": 78, "max": 79}), damage=lambda content: content)
    assert done.verdict.outcome == "passed", done.verdict
    assert [check.name for check in done.checks] == ["size", "sha256", "latency", "encoding", "rows", "copies"]
    done, _ = run(lines)
    assert done.verdict.cause == "check.fixedwidth", "10000 bytes are no whole number of lines"


def test_a_flow_that_compresses_is_held_to_what_lies_inside(run):
    inside = CheckSpec("rows", {"equals": 79, "format": "lines"})
    done, _ = run("gzip", inside, damage=gzip.compress)
    assert done.verdict.outcome == "passed", done.verdict
    done, _ = run("gzip", inside, damage=lambda content: gzip.compress(content[:-1]))
    assert done.verdict.cause == "check.gzip"
    assert "inside 9999 bytes (1 too few)" in done.verdict.reason


def test_layers_of_the_payload_are_opened_and_held_to_what_was_wrapped(run):
    with Party() as party:
        party.make_key("receiver")
        pgp = Wrap("pgp", {"public_key": party.public_key("receiver")})
        data = {"pattern": "csv", "wrap": (pgp, Wrap("zip"), Wrap("gzip"))}
        checks = (CheckSpec("pgp", {"secret_arn": ARN}), "zip", "gzip", "rows", "csv_header", "encoding")
        done, _ = run(*checks, data=data, key=party.private_key("receiver"))
    assert done.verdict.outcome == "passed", done.verdict
    results = {check.name: check for check in done.checks}
    assert results["rows"].passed
    for name, inside in zip(("pgp", "zip", "gzip"), done.file.inside, strict=True):
        text = f"inside {inside.size} bytes, SHA-256 {inside.sha256}"
        assert text in results[name].observed
        assert text in results[name].expected


def test_the_outermost_failure_names_the_run(run):
    done, _ = run("gzip", CheckSpec("rows", {"equals": 1}), damage=lambda content: content[::-1])
    assert (done.verdict.outcome, done.verdict.cause) == ("failed", "check.gzip")
    assert done.verdict.reason == "check gzip: expected whole gzip, got this is not gzip"
    assert "text-mode copy" in done.verdict.hint
    assert [(check.name, check.passed) for check in done.checks[-2:]] == [("gzip", False), ("rows", False)]
    assert done.checks[-1].observed == "not judged: gzip could not be opened"


@pytest.mark.parametrize(
    ("check", "cause"),
    [
        (CheckSpec("rows"), "config.invalid"),
        (CheckSpec("csv_header"), "config.invalid"),
        (CheckSpec("pgp", {"secret_arn": ARN}), "secret.missing"),
    ],
)
def test_what_a_check_cannot_do_without_is_known_before_anything_is_sent(run, check, cause):
    done, world = run(check)
    assert (done.verdict.outcome, done.verdict.cause) == ("failed", cause)
    assert not [call for call in world.storage.calls if call[0] == "put"]


class Reversed:
    """A layer of somebody's own."""

    max_bytes = None

    def __init__(self, options, expected):
        self.kept = b""
        self.breaks = options.get("breaks")

    def peel(self, chunk):
        self.kept += chunk
        return ()

    def end(self):
        if self.breaks:
            raise LayerBroken("not reversed")
        yield gzip.decompress(gzip.compress(self.kept[::-1]))

    def result(self):
        return CheckResult("reversed", passed=True, expected="reversed", observed="reversed")

    def close(self):
        self.kept = b""


@pytest.mark.parametrize(("breaks", "cause"), [(False, None), (True, "check.reversed")])
def test_a_layer_of_ones_own_works_as_the_built_in_ones(run, breaks, cause):
    spec = CheckSpec("reversed", {"breaks": breaks})
    done, _ = run(spec, "encoding", register=lambda registry: registry.check("reversed", Reversed))
    assert done.verdict.cause == cause
    assert [check.passed for check in done.checks[3:5]] == [not breaks] * 2


ASKING = """
import pytest
from pytest_fileflow.model import CheckResult
from pytest_fileflow.secret import Credentials, Secrets

class Vault(Secrets):
    def __init__(self):
        pass

    def credentials(self, secret):
        return Credentials(passphrase=f"that of {secret}")

@pytest.fixture(scope="session")
def fileflow_secrets():
    return Vault()

class Asking:
    def __init__(self, options, expected):
        self.found = expected.credentials(options["secret"]).passphrase

    def feed(self, chunk):
        pass

    def result(self):
        return CheckResult("asking", self.found == "that of vault/1", "the right one", "some")

def pytest_fileflow_register(registry):
    options = {"type": "object", "properties": {"secret": {"type": "string"}}, "additionalProperties": False}
    registry.check("asking", Asking, options)
"""


def test_in_a_session_a_check_reads_secrets_and_its_options_are_held_to_its_schema(suite):
    suite.pytester.makeconftest(f"{CONFTEST}{ASKING}")
    for name, options in (("good", {"secret": "vault/1"}), ("bad", {"secret": "vault/2"}), ("odd", {"secrte": "x"})):
        rules = {"expect_within_seconds": 30, "checks": [{"name": "asking", **options}]}
        suite.add(f"flows/{name}.json", flow(name, validation=rules, testdata={"size_bytes": 1000}))
    result = suite.run("flows")
    result.assert_outcomes(passed=1, failed=2)
    assert {record["flow_id"]: record["cause"] for record in suite.records()} == {"good": None, "bad": "check.asking"}
    result.stdout.fnmatch_lines(['*odd.json:*checks*unknown key "secrte"; did you mean "secret"?*'])
