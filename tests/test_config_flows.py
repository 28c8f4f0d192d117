"""Configs that are accepted, and the flows they become."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pytest_fileflow.config import BrokenFlow, load_file, loader, may_hold_flow
from pytest_fileflow.config.rules import Rules
from pytest_fileflow.config.sizes import parse_size
from pytest_fileflow.model import (
    CheckSpec,
    Flow,
    S3Location,
    SftpLocation,
    TestData,
    Transfer,
    Validation,
    Variant,
)

SEED = sorted((Path(__file__).parent / "data" / "seed").glob("*.json"))
PATTERNS = {"random": lambda size: None, "fixed": lambda size: None}
LEAST = {
    "flow_id": "acme",
    "source": {"type": "S3", "bucket": "landing"},
    "target": {"type": "S3", "bucket": "archive"},
}
SFTP = {
    "type": "SFTP",
    "host": "sftp.example.com",
    "username": "acme",
    "dir": "/inbox",
    "secret_arn": "sftp/acme",
}
JIRA = {"base_url": "https://example.atlassian.net", "project": "OPS", "secret_arn": "jira", "transition": "Done"}
FULL = {
    "$schema": "flow.schema.json",
    "x-note": {"anything": [1, None]},
    "flow_id": "acme.full-1",
    "version": 3,
    "enabled": False,
    "description": "Nightly",
    "owner": "payments",
    "tags": ["nightly", "critical"],
    "source": {
        **SFTP,
        "port": 2222,
        "host_key": "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8",
        "max_sessions": 4,
    },
    "target": {
        "type": "S3",
        "bucket": "archive",
        "prefix": "in/",
        "kms_key_arn": "alias/x",
        "x-why": "legacy",
    },
    "transfer": {
        "mode": "trigger_file",
        "lambda_arn": "file-transfer",
        "invocation": "RequestResponse",
        "payload": {"key": "${source.path}", "n": 1},
        "timeout_seconds": 900,
        "trigger_file": {"name": "${file.name}.go", "content": "${file.sha256}"},
    },
    "validation": {
        "expect_within_seconds": 120.5,
        "grace_seconds": 7,
        "checksum": "none",
        "size_tolerance_bytes": 2,
        "post_arrival_wait_seconds": 15,
        "checks": ["rows", {"name": "lines", "level": 9, "x-why": "note"}],
    },
    "testdata": {
        "sizes": {"smoke": "4KiB", "typical": "5 MiB", "big": 100},
        "pattern": "fixed",
        "filename": "A_${date}_${run_id}.csv",
        "filename_prefix": "diag",
        "delete_after": False,
        "tags": ["critical", "daily"],
    },
    "alerts": {"sns_topic_arn": "arn:aws:sns:eu-west-1:111111111111:x", "jira": JIRA, "x-a": 1},
}


def load(
    tmp_path: Path, config: object, suffix: str = ".json", *, sandbox: bool = False
) -> tuple[Flow | BrokenFlow, ...]:
    """Load a config given as a value or as text."""
    path = tmp_path / f"case{suffix}"
    dump = json.dumps if suffix == ".json" else lambda value: yaml.safe_dump(value, sort_keys=False)
    path.write_text(config if isinstance(config, str) else dump(config), encoding="utf-8")
    return load_file(
        path, display="f", sandbox=sandbox, patterns=PATTERNS, checks={"rows": None, "gzip": None, "lines": None}
    )


def load_one(tmp_path: Path, config: object, suffix: str = ".json", *, sandbox: bool = False) -> Flow:
    (flow,) = load(tmp_path, config, suffix, sandbox=sandbox)
    assert isinstance(flow, Flow), [str(problem) for problem in flow.problems]
    return flow


@pytest.mark.parametrize("path", SEED, ids=lambda path: path.stem)
def test_every_seed_flow_is_accepted_in_the_sandbox(path: Path) -> None:
    (flow,) = load_file(path, display=path.name, sandbox=True, patterns=PATTERNS, checks={})
    config = json.loads(path.read_text())
    assert isinstance(flow, Flow)
    assert (flow.flow_id, flow.origin) == (config["flow_id"], f"{path.name}:2")
    assert flow.transfer.mode == "invoke"
    assert flow.transfer.payload == config["transfer"]["payload"]
    assert flow.testdata.variants == (Variant("", config["testdata"]["size_bytes"]),)
    assert may_hold_flow(path)


@pytest.mark.parametrize("path", SEED, ids=lambda path: path.stem)
def test_a_seed_flow_with_placeholders_is_refused_outside_the_sandbox(path: Path) -> None:
    (flow,) = load_file(path, display=path.name, sandbox=False, patterns=PATTERNS, checks={})
    text = path.read_text()
    assert isinstance(flow, BrokenFlow) == ("..." in text or "<" in text)


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_the_least_config_has_the_contracts_defaults(tmp_path: Path, suffix: str) -> None:
    assert load_one(tmp_path, LEAST, suffix) == Flow(
        flow_id="acme",
        source=S3Location("landing"),
        target=S3Location("archive"),
        transfer=Transfer(mode="event"),
        validation=Validation(grace_seconds=30.0),
        testdata=TestData(),
        origin="f:1",
    )


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_the_full_config(tmp_path: Path, suffix: str) -> None:
    flow = load_one(tmp_path, FULL, suffix)
    assert flow == Flow(
        flow_id="acme.full-1",
        version=3,
        enabled=False,
        description="Nightly",
        owner="payments",
        tags=("nightly", "critical", "daily"),
        source=SftpLocation(
            host="sftp.example.com",
            username="acme",
            dir="/inbox",
            secret_arn="sftp/acme",
            port=2222,
            host_key="SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8",
            max_sessions=4,
        ),
        target=S3Location("archive", "in/", "alias/x"),
        transfer=Transfer(
            mode="trigger_file",
            lambda_arn="file-transfer",
            invocation="RequestResponse",
            payload={"key": "${source.path}", "n": 1},
            timeout_seconds=900,
            trigger_name="${file.name}.go",
            trigger_content="${file.sha256}",
        ),
        validation=Validation(
            expect_within_seconds=120.5,
            grace_seconds=7,
            checksum="none",
            size_tolerance_bytes=2,
            post_arrival_wait_seconds=15,
            checks=(CheckSpec("rows"), CheckSpec("lines", {"level": 9})),
        ),
        testdata=TestData(
            variants=(Variant("smoke", 4096), Variant("typical", 5 * 1024**2), Variant("big", 100)),
            pattern="fixed",
            filename="A_${date}_${run_id}.csv",
            filename_prefix="diag",
            delete_after=False,
        ),
        alerts={"sns_topic_arn": "arn:aws:sns:eu-west-1:111111111111:x", "jira": JIRA},
        origin=flow.origin,
    )


@pytest.mark.parametrize(
    ("transfer", "mode"),
    [
        ({}, "event"),
        ({"lambda_arn": "x"}, "invoke"),
        ({"lambda_arn": "x", "mode": "event"}, "event"),
        ({"mode": "event"}, "event"),
        ({"mode": "trigger_file"}, "trigger_file"),
        ({"mode": "invoke", "lambda_arn": "x"}, "invoke"),
    ],
)
def test_mode(tmp_path: Path, transfer: object, mode: str) -> None:
    assert load_one(tmp_path, {**LEAST, "transfer": transfer}).transfer.mode == mode


@pytest.mark.parametrize(("expected", "grace"), [(420, 42.0), (5, 0.5), (600, 60.0), (3600, 60.0)])
def test_grace_is_a_tenth_of_the_slo_and_at_most_a_minute(tmp_path: Path, expected: int, grace: float) -> None:
    config = {**LEAST, "validation": {"expect_within_seconds": expected}}
    assert load_one(tmp_path, config).validation.grace_seconds == grace


def test_a_file_on_sftp_must_be_stable_for_two_seconds_by_default(tmp_path: Path) -> None:
    assert load_one(tmp_path, {**LEAST, "target": SFTP}).validation.post_arrival_wait_seconds == 2
    assert load_one(tmp_path, {**LEAST, "source": SFTP}).validation.post_arrival_wait_seconds == 0


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_the_file_of_a_secret_lies_where_the_config_does(tmp_path: Path, suffix: str) -> None:
    end = {"type": "SFTP", "host": "h", "username": "u", "dir": "/in"}
    names = {"file:keys/acme.pem": f"file:{tmp_path}/keys/acme.pem", "file:../a": f"file:{tmp_path.parent}/a"}
    names |= {"file:/run/acme": "file:/run/acme", "file:~/a": f"file:{Path.home()}/a", "env:ACME": "env:ACME"}
    for given, meant in names.items():
        jira = {"base_url": "https://j.example", "project": "P", "secret_arn": given, "fields": {"note": given}}
        alerts = {"slack_webhook_secret_arn": given, "jira": jira, "webhook": [{"url_secret_arn": given}]}
        config = {"flow_id": "acme", "source": {**end, "secret_arn": given}, "target": {**end, "secret_arn": given}}
        flow = load_one(tmp_path, {**config, "alerts": alerts}, suffix)
        assert [end.secret_arn for end in (flow.source, flow.target) if isinstance(end, SftpLocation)] == [meant] * 2
        assert flow.alerts == {
            "slack_webhook_secret_arn": meant,
            "jira": {**jira, "secret_arn": meant},
            "webhook": [{"url_secret_arn": meant}],
        }


def test_whole_numbers_may_be_written_as_floats(tmp_path: Path) -> None:
    flow = load_one(
        tmp_path, {**LEAST, "version": 2.0, "target": {**SFTP, "port": 22.0}, "testdata": {"size_bytes": 4.0}}
    )
    assert isinstance(flow.target, SftpLocation)
    numbers = (flow.version, flow.target.port, flow.testdata.variants[0].size)
    assert numbers == (2, 22, 4)
    assert {type(number) for number in numbers} == {int}


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "sftp.example.com.",
        "10.0.0.1",
        "::1",
        "2001:db8::1",
        "s-xxxx.server.transfer.us-west-2.amazonaws.com",
    ],
)
def test_hosts(tmp_path: Path, host: str) -> None:
    flow = load_one(tmp_path, {**LEAST, "target": {**SFTP, "host": host}})
    assert isinstance(flow.target, SftpLocation)
    assert flow.target.host == host


@pytest.mark.parametrize(
    "host", ["", "a b", "h:22", "h/x", "-a", "a..b", "x" * 64, "1.2.3", "1::2::3", "h\n", "[::1]", "café"]
)
def test_what_is_no_host(tmp_path: Path, host: str) -> None:
    (broken,) = load(tmp_path, {**LEAST, "target": {**SFTP, "host": host}})
    assert isinstance(broken, BrokenFlow)
    assert {problem.path for problem in broken.problems} == {"$.target.host"}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (7, 7),
        ("0B", 0),
        ("4KiB", 4096),
        ("4kib", 4096),
        ("5MiB", 5 * 1024**2),
        ("100 MB", 10**8),
        ("1GiB", 1024**3),
        ("1.5KiB", 1536),
        ("0.001 kb", 1),
        ("5120GiB", 5 * 1024**4),
    ],
)
def test_sizes(tmp_path: Path, text: object, size: int) -> None:
    assert parse_size(text) == size
    assert load_one(tmp_path, {**LEAST, "testdata": {"size_bytes": text}}).testdata.variants == (Variant("", size),)


@pytest.mark.parametrize(
    "text", ["", "5", "5 TB", "-5B", "5  MiB", "1.2B", "5121GiB", 5 * 1024**4 + 1, -1, 1.5, True, None, "٣B"]
)
def test_what_is_no_size(tmp_path: Path, text: object) -> None:
    with pytest.raises(ValueError, match="bytes"):
        parse_size(text)
    (broken,) = load(tmp_path, {**LEAST, "testdata": {"size_bytes": text}})
    assert isinstance(broken, BrokenFlow)
    assert {problem.path for problem in broken.problems} == {"$.testdata.size_bytes"}


def test_placeholders_in_the_sandbox_leave_usable_names(tmp_path: Path) -> None:
    target = {**SFTP, "host": "<SFTP_HOST>", "host_key": "<HOST_KEY>"}
    flow = load_one(tmp_path, {**LEAST, "source": {"type": "S3", "bucket": "<ENV>-in"}, "target": target}, sandbox=True)
    assert flow.source == S3Location("env-in")
    assert isinstance(flow.target, SftpLocation)
    assert (flow.target.host, flow.target.host_key) == ("<SFTP_HOST>", None)


def test_several_flows_in_one_file_each_with_the_line_of_its_flow_id(tmp_path: Path) -> None:
    second = {**LEAST, "flow_id": "second", "transfer": {"payload": {"note": "flow_id"}}}
    wrapped = load(tmp_path, json.dumps({"flows": [LEAST, second]}, indent=1))
    listed = load(tmp_path, {"flows": [LEAST, second]}, ".yaml")
    documents = load(tmp_path, "---\n" + yaml.safe_dump_all([LEAST, second], sort_keys=False) + "---\n", ".yml")
    expected = (
        [("acme", "f:4"), ("second", "f:15")],
        [("acme", "f:2"), ("second", "f:9")],
        [("acme", "f:2"), ("second", "f:10")],
    )
    for loaded, flows in zip((wrapped, listed, documents), expected, strict=True):
        assert [(flow.flow_id, flow.origin) for flow in loaded if isinstance(flow, Flow)] == flows


def test_a_nested_flow_id_does_not_move_the_line(tmp_path: Path) -> None:
    config = json.dumps({"transfer": {"payload": {"flow_id": "x"}}, **LEAST}, indent=1)
    assert load_one(tmp_path, config).origin == "f:7"
    assert load_one(tmp_path, yaml.safe_dump(json.loads(config), sort_keys=False), ".yaml").origin == "f:4"


def test_a_bad_flow_does_not_spoil_its_neighbours(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"flows": [LEAST, {"flow_id": "bad"}, 5, {**LEAST, "flow_id": "c"}], "flow": 1})
    assert [(type(each).__name__, getattr(each, "name", None) or each.flow_id) for each in loaded] == [
        ("BrokenFlow", "case"),
        ("Flow", "acme"),
        ("BrokenFlow", "bad"),
        ("BrokenFlow", "case"),
        ("Flow", "c"),
    ]
    paths = [problem.path for each in loaded if isinstance(each, BrokenFlow) for problem in each.problems]
    assert paths == ["$.flow", "$.flows[1]", "$.flows[1]", "$.flows[2]"]


def test_a_syntax_error_spoils_only_its_own_yaml_document(tmp_path: Path) -> None:
    good = yaml.safe_dump(LEAST, sort_keys=False)
    text = f"{good}---\nflow_id: broken\nx: 'open\n---\n{good.replace('acme', 'other')}"
    first, broken, last = load(tmp_path, text, ".yaml")
    assert isinstance(first, Flow)
    assert isinstance(last, Flow)
    assert isinstance(broken, BrokenFlow)
    assert (first.origin, last.flow_id, last.origin) == ("f:1", "other", "f:12")
    assert (broken.name, broken.line, broken.problems[0].line, broken.problems[0].column) == (
        "broken",
        9,
        10,
        4,
    )


def test_yaml_anchors_and_merges(tmp_path: Path) -> None:
    text = """
x-common: &common
  validation: &slo {expect_within_seconds: 60}
  source: &landing {type: S3, bucket: landing}
flow_id: merged
<<: [*common, {target: {type: S3, bucket: lost}}]
target:
  <<: *landing
  prefix: in/
validation:
  <<: *slo
  expect_within_seconds: 90
"""
    flow = load_one(tmp_path, text, ".yaml")
    assert flow.source == S3Location("landing")
    assert flow.target == S3Location("landing", "in/")
    assert flow.validation.expect_within_seconds == 90
    assert flow.origin == "f:5"
    first = yaml.safe_load(text)
    assert first["target"]["prefix"] == "in/"  # the reference reading agrees


def test_yaml_without_libyaml(tmp_path: Path) -> None:
    code = (
        "import sys, yaml; del yaml.CSafeLoader\n"
        "from pathlib import Path; from pytest_fileflow.config import load_file\n"
        "print(load_file(Path(sys.argv[1]), display='f', sandbox=True, patterns={}, checks={}))\n"
    )
    path = tmp_path / "a.yaml"
    for text, expected in (
        (yaml.safe_dump(LEAST), "Flow(flow_id='acme'"),
        ("a: 'x", "a quote is opened"),
        ('"\\ud800": "\\udfff"', "the key holds half of a Unicode surrogate pair"),
    ):
        path.write_text(text)
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        assert expected in done.stdout


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
@pytest.mark.parametrize("config", [LEAST, FULL, {"flows": [LEAST, FULL]}], ids=["least", "full", "flows"])
def test_the_careful_way_gives_the_same_flows_as_the_quick_one(tmp_path: Path, suffix: str, config: object) -> None:
    quick = load(tmp_path, config, suffix)
    rules = Rules(sandbox=False, patterns=PATTERNS, checks={"rows": None, "gzip": None, "lines": None})
    text = (tmp_path / f"case{suffix}").read_text()
    form = "json" if suffix == ".json" else "yaml"
    assert loader.quick(text, form, "f", rules) == quick
    assert loader.careful(text, form, loader.Source("f", "case"), rules) == quick


def test_big_numbers_in_a_payload(tmp_path: Path) -> None:
    payload = {"id": 2**64, "ids": [-(10**200)]}
    for suffix in (".json", ".yaml"):
        assert load_one(tmp_path, {**LEAST, "transfer": {"payload": payload}}, suffix).transfer.payload == payload


def test_a_byte_order_mark_is_allowed(tmp_path: Path) -> None:
    assert load_one(tmp_path, "\ufeff" + json.dumps(LEAST)).flow_id == "acme"
    assert load_one(tmp_path, "\ufeff" + yaml.safe_dump(LEAST), ".yaml").flow_id == "acme"


def test_only_what_a_file_needs_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(LEAST))
    code = (
        "import sys; from pathlib import Path; from pytest_fileflow.config import load_file\n"
        "names = ('yaml', 'jsonschema', 'jsonschema_rs', 'json', 'difflib')\n"
        "heavy = lambda: [name for name in names if name in sys.modules]\n"
        "before = heavy()\n"
        "load_file(Path(sys.argv[1]), display='f', sandbox=True, patterns={}, checks={})\n"
        "print(before, heavy())\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTEST_"))}
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == "[] ['jsonschema_rs', 'json']\n"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", '{"x": [1, {"y": 2}], "flow_id": 1}', True),
        ("a.JSON", '{"flow_id": 1', True),
        ("a.json", '{"flow_id" "x", oops', True),
        ("a.json", '\ufeff{"flow_id": 1}', True),
        ("a.json", '{"flows": [{}, {"flow_id": 1}]}', True),
        ("a.json", '{"flows": [{"flow_id": 1}, ', True),
        ("a.json", '{"run": {"flow_id": 1}}', False),
        ("a.json", '[{"flow_id": 1}]', False),
        ("a.json", '{"a": "flow_id"}', False),
        ("a.json", '{"flows": {"flow_id": 1}}', False),
        ("a.json", '{"flows": [{"a": {"flow_id": 1}}]}', False),
        ("a.json", '{"other": [{"flow_id": 1}]}', False),
        ("a.json", "]}]}", False),
        ("a.yaml", "a: 1\nflow_id: x\n", True),
        ("a.yml", "a: 1\n---\n'flow_id': x\n", True),
        ("a.yaml", "  flow_id: x\n", True),
        ("a.yaml", "{flow_id: x}", True),
        ("a.yaml", "flow_id: 'x\n", True),
        ("a.yaml", "flows:\n- a: 1\n- flow_id: x\n", True),
        ("a.yaml", "flows:\n  - flow_id: x\n    a: @\n", True),
        ("a.yaml", "run:\n  flow_id: x\n", False),
        ("a.yaml", "run: *x\nflow: {flow_id: x}\n", False),
        ("a.yaml", "- flow_id: x\n", False),
        ("a.yaml", "a: flow_id\n", False),
        ("a.yaml", "# flow_id: x\na: |\n  flow_id: y\n", False),
        ("a.yaml", "{{ range }}\n  flow_id: x\n", False),
        ("a.txt", "flow_id: x\n", False),
        ("a.toml", "flow_id: x\n", False),
    ],
)
def test_which_files_may_hold_a_flow(tmp_path: Path, name: str, text: str, expected: bool) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert may_hold_flow(path) is expected


def test_files_that_hold_no_flow_whatever_they_are(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "huge.json").write_bytes(b'{"flow_id": 1}' + b" " * (5 * 1024 * 1024))
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)) * 10 + b"flow_id")
    (tmp_path / "link.json").symlink_to(tmp_path / "nowhere")
    assert [path.name for path in tmp_path.iterdir() if may_hold_flow(path)] == []
    assert not may_hold_flow(tmp_path / "gone.json")


def test_a_flow_in_the_wrong_encoding_does_not_vanish(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for data in (json.dumps(LEAST).encode("utf-16"), b'{"flow_id": "\xe9"}'):
        path.write_bytes(data)
        assert may_hold_flow(path)
        (broken,) = load_file(path, display="f", sandbox=True, patterns={}, checks={})
        assert isinstance(broken, BrokenFlow)
