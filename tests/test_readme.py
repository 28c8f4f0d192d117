"""What the README says is true: its configs load, its snippets run, its tables name what there is."""

from __future__ import annotations

import csv
import io
import json
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from pytest_fileflow import steps
from pytest_fileflow.causes import CAUSES
from pytest_fileflow.checks import Expected, PlaceCheck
from pytest_fileflow.cli import COMMANDS, main
from pytest_fileflow.clock import Clock
from pytest_fileflow.config import load_file, schema
from pytest_fileflow.config.alerting import VARIABLES
from pytest_fileflow.faults import FAULTS
from pytest_fileflow.model import Case, Flow
from pytest_fileflow.payload import PATTERNS
from pytest_fileflow.registry import BUILTIN_CHECKS, Registry, register_builtin_patterns
from pytest_fileflow.results.alerts.targets import KINDS, channels_of
from pytest_fileflow.streams import Tools, open_payload
from pytest_fileflow.transforms import NAME_VARIABLES
from tests.support import causes
from tests.support.inner import flow

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SIZES = {pattern.name: pattern.size_problem for pattern in PATTERNS}

CHANGING = "Flows that do more than copy"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_first_flow_is_one(tmp_path):
    text, *_ = blocks("yaml")
    path = tmp_path / "acme.yaml"
    path.write_text(text)
    (loaded,) = load_file(path, display="acme.yaml", sandbox=False, patterns=SIZES, checks={})
    assert isinstance(loaded, Flow)
    assert loaded.flow_id in README


def test_the_rows_shown_can_be_made(tmp_path):
    _, text = blocks("yaml")
    path = tmp_path / "acme.yaml"
    path.write_text(json.dumps(flow("acme", **yaml.safe_load(text))))
    (loaded,) = load_file(path, display="acme.yaml", sandbox=True, patterns=SIZES, checks=())
    assert isinstance(loaded, Flow), loaded.problems
    registry = Registry()
    register_builtin_patterns(registry)
    tools = Tools(None, None, registry, Clock())
    run = steps.prepare(Case(loaded, loaded.testdata.variants[0]), tools)
    content = open_payload(run, tools, depth=1).read().decode("latin-1")
    rows = list(csv.reader(io.StringIO(content, newline=""), delimiter=";"))
    assert len(rows) == 1 + run.file.rows
    assert {len(row) for row in rows} == {6}


def test_the_message_shown_is_the_message_given(tmp_path):
    text, *_ = blocks("yaml")
    document = yaml.safe_load(text)
    document["transfer"]["lambda_anr"] = document["transfer"].pop("lambda_arn")
    path = tmp_path / "acme.json"
    path.write_text(json.dumps(document))
    (broken,) = load_file(path, display="flows/acme.json", sandbox=False, patterns=SIZES, checks={})
    shown = re.search(r"^flows/acme.yaml:\d+:\d+  (.*)$", README, re.MULTILINE).group(1)
    assert shown in [str(problem).split("  ", 1)[1] for problem in broken.problems]


def test_the_alerts_shown_are_accepted_and_are_all_that_there_are(tmp_path):
    text, *_ = blocks("yaml")
    found = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", section("Alerts"), re.DOTALL)]
    for number, alerts in enumerate(found):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps({**yaml.safe_load(text), "alerts": alerts}))
        (loaded,) = load_file(path, display=path.name, sandbox=False, patterns=SIZES, checks={})
        assert isinstance(loaded, Flow)
        assert len(list(channels_of(loaded.alerts))) == len(alerts)
    assert {name for alerts in found for name in alerts} == set(KINDS)
    assert {name for name in VARIABLES if f"${{{name}}}" not in section("Alerts")} <= {
        f"flow.{name}" for name in re.findall(r"`\.([a-z_]+)`", section("Alerts"))
    }


def test_the_environments_shown_give_one_flow_each_its_own_values(tmp_path, monkeypatch, capsys):
    title = "Environments and reuse"
    files = dict(re.findall(r"```yaml (\S+)\n(.*?)```", section(title), re.DOTALL))
    for name, text in {**files, "pytest.ini": "[pytest]\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    shown = {}
    for name in ("dev", "test", "prod"):
        assert main(["show", "acme_orders", "--env", name]) == 0
        shown[name] = capsys.readouterr().out
    flows = {name: yaml.safe_load(text) for name, text in shown.items()}
    assert [flow["source"]["host"] for flow in flows.values()] == [
        f"sftp.{each}.example" for each in ("dev", "test", "acme")
    ]
    assert [flow["target"]["bucket"] for flow in flows.values()] == [f"example-landing-{name}" for name in flows]
    assert [flow["validation"]["expect_within_seconds"] for flow in flows.values()] == [600, 1200, 300]
    assert flows["prod"]["transfer"]["payload"] == {"flow": "orders-prod", "key": "${source.key}"}
    (text,) = re.findall(r"```text\n(.*?)```", section(title), re.DOTALL)
    squeezed = {" ".join(line.split()) for line in shown["test"].splitlines()}
    assert {" ".join(line.split()) for line in text.splitlines()} <= squeezed


def test_the_flows_shown_that_do_more_than_copy_are_accepted(tmp_path):
    text, *_ = blocks("yaml")
    found = [json.loads(each) for each in re.findall(r"```json\n(.*?)```", section(CHANGING), re.DOTALL)]
    assert len(found) == 2
    for number, rules in enumerate(found):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps({**yaml.safe_load(text), "validation": rules}))
        (loaded,) = load_file(
            path, display=path.name, sandbox=False, patterns=SIZES, checks=dict.fromkeys(BUILTIN_CHECKS)
        )
        assert isinstance(loaded, Flow)


def test_the_checks_of_a_place_are_all_described():
    described = re.findall(r"^\| `(\w+)` \|", section(CHANGING), re.MULTILINE)
    checks = {name: import_module(f"pytest_fileflow.checks.{name}").make({}, Expected(0, "")) for name in described}
    assert all(isinstance(check, PlaceCheck) for check in checks.values())
    assert len(checks) == 5
    assert set(NAME_VARIABLES) == set(re.findall(r"\$\{([a-z_.]+)\}", section(CHANGING))) - {"target.key"}


def test_every_field_of_the_table_is_in_the_schema():
    table = section("Flow configs")
    described = json.dumps(schema())
    rows = re.findall(r"^\| ((?:`[^`]+`(?:, | or )?)+)", table, re.MULTILINE)
    names = {name.rpartition(".")[2] for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert len(names) > 20
    assert {name for name in names if f'"{name}"' not in described} == set()


def test_every_option_of_the_table_exists_and_every_option_is_in_it(pytester):
    listed = set(re.findall(r"`(--fileflow-[a-z-]+)", section("Options")))
    known = set(re.findall(r"--fileflow-[a-z-]+", pytester.runpytest_inprocess("--help").stdout.str()))
    assert listed == known


def test_every_command_is_in_the_table_and_every_command_of_it_exists():
    rows = re.findall(r"^\| (`fileflow .*?) \|", section("Commands"), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`fileflow (\w+)`", row)]
    assert sorted(named) == sorted(str(module.command.name) for module in COMMANDS)


def test_the_table_of_causes_is_that_of_the_code():
    assert causes.in_readme() == causes.table(), "run: python -m tests.support.causes"
    assert causes.BEGIN in section("When it fails")


def test_the_table_of_causes_has_a_row_a_cause_in_the_contracts_order():
    named = re.findall(r"^\| `([^`]+)` \|", causes.table(), re.MULTILINE)
    assert named == list(CAUSES)
    families = ["late", "missing", "partial", "content", "duplicate", "trigger", "auth", "hostkey", "access", "kms"]
    families += ["location", "storage", "net", "secret", "config", "check", "cleanup", "tester"]
    order = [name.split(".")[0] for name in named]
    assert [name for name in dict.fromkeys(order) if name in families] == families


def test_the_table_of_faults_is_the_code_s():
    def row(kind):
        unit = kind.unit if kind.amount is None else f"{kind.amount:g} {kind.unit}"
        part = f"{' or '.join(kind.ends)} end" if kind.part == "endpoint" else kind.part
        cause = f"`{kind.cause}`" if kind.cause else "none: it must pass"
        return f"| `{kind.name}` | {part} | {kind.does} | {unit} | {cause} |"

    rows = re.findall(r"^\| `.*$", section("Rehearse failures"), re.MULTILINE)
    assert rows == [row(kind) for kind in FAULTS.values()]


def test_the_extension_works(suite):
    _, snippet = blocks("python")
    suite.pytester.makeconftest(f"from tests.support.inner import *\n{snippet}")
    rules = {"expect_within_seconds": 5, "checks": ["unix_newlines"]}
    text = {"size_bytes": 4096, "pattern": "csv"}
    suite.add("flows/text.json", flow("text", validation=rules, testdata=text))
    suite.add("flows/binary.json", flow("binary", validation=rules, testdata={"size_bytes": 65536}))
    rules = {**rules, "checks": ["announced", {"name": "announced", "ending": ""}]}
    suite.add("flows/silent.json", flow("silent", validation=rules, testdata=text))
    suite.run("flows").assert_outcomes(passed=1, failed=2)
    found = {record["flow_id"]: record for record in suite.records()}
    causes = {flow_id: record["cause"] for flow_id, record in found.items()}
    assert causes == {"binary": "check.unix_newlines", "text": None, "silent": "check.announced"}
    looked = [check["outcome"] for check in found["silent"]["checks"] if check["name"] == "announced"]
    assert looked == ["failed", "passed"]


@pytest.mark.parametrize("name", ["acme_sftp_to_s3"])
def test_the_python_example_runs_against_the_sandbox(suite, name):
    example, _ = blocks("python")
    config, *_ = blocks("yaml")
    provision = (
        "import pytest\n"
        "from pytest_fileflow.model import Flow, S3Location, SftpLocation\n"
        "@pytest.fixture(autouse=True)\n"
        "def there(fileflow_sandbox):\n"
        "    inbox = SftpLocation('sftp.acme.example', 'acme', '/inbox',\n"
        "        'arn:aws:secretsmanager:us-west-2:123456789012:secret:sftp/acme-AbCdEf')\n"
        "    fileflow_sandbox.provision([Flow('probe', inbox, S3Location('example-landing'))])\n"
    )
    suite.pytester.makeconftest(provision)
    suite.add("flows/acme.yaml", text=config)
    suite.add("flows/test_example.py", text=example)
    suite.run_apart("flows", "--fileflow-sandbox").assert_outcomes(passed=4)  # two sizes, the contract, and the example
    assert {record["flow_id"] for record in suite.records()} == {name}


def test_every_section_is_in_the_table_of_contents():
    linked = re.findall(r"\[([^\]]+)\]\(#([\w-]+)\)", README.partition("\n## ")[0])
    assert [title for title, _ in linked] == re.findall(r"^## (.+)$", README, re.MULTILINE)
    for title, anchor in linked:
        assert anchor == re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-"), title
