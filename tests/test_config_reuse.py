"""Variables, endpoints and defaults: the flows they make, and what is said where they cannot."""
# ruff: noqa: E501 - a line is what a person is shown

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_fileflow.config import BrokenFlow, flow_loader
from pytest_fileflow.config.environment import Environment, read_environment
from pytest_fileflow.model import Flow, Refusal, S3Location, SftpLocation, Variant
from tests.test_config_flows import FULL, LEAST, PATTERNS, SEED

if TYPE_CHECKING:
    from pathlib import Path

ENDPOINTS = """
endpoints:
  acme: {type: SFTP, host: sftp.acme.example, username: acme, dir: /outbox, secret_arn: sftp/acme, port: 2222}
  landing: {type: S3, bucket: "landing-${stage}", prefix: in/}
defaults:
  owner: partners
  tags: [nightly]
  target: {use: landing, prefix: all/}
  transfer: {lambda_arn: file-transfer, payload: {a: {b: 1}, key: "${source.key}"}, timeout_seconds: 900}
  validation: {expect_within_seconds: 60}
  testdata: {sizes: {smoke: 4KiB}}
  negative: [wrong_key, bad_payload]
"""
PROD = """variables:
  stage: prod
  slo: 120
  odd: "a${run_id}$$b"
  strict: true
slo_factors: {slow_*: 3}
"""
USES = "flow_id: acme\nsource: {use: acme}\n"


def load(root: Path, flow: str, *, env: str | None = PROD, sandbox: bool = False, **files: str) -> list[Any]:
    """Load a flow beside endpoints; the other files lie where their names say, ``__`` being a slash."""
    for name, text in {"flows__endpoints": ENDPOINTS, "flows__a": flow, **files}.items():
        path = root / (name.replace("__", "/") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    environment = None
    if env is not None:
        (root / "environments").mkdir(exist_ok=True)
        (root / "environments/prod.yaml").write_text(env, encoding="utf-8")
        environment = read_environment("prod", [root])
    loader = flow_loader(
        sandbox=sandbox,
        patterns=PATTERNS,
        checks=("rows",),
        environment=environment,
        roots=[root],
        display=lambda path: path.relative_to(root).as_posix(),
    )
    found = [*loader.load_shared(root / "flows/endpoints.yaml"), *loader.load(root / "flows/a.yaml", "flows/a.yaml")]
    return [list(map(str, each.problems)) if isinstance(each, BrokenFlow) else each for each in found]


def one(root: Path, flow: str, **files: Any) -> Flow:
    (loaded,) = load(root, flow, **files)
    assert isinstance(loaded, Flow), loaded
    return loaded


def test_an_endpoint_defaults_and_variables_make_a_flow(tmp_path: Path) -> None:
    flow = one(tmp_path, "flow_id: acme\nsource:\n  use: acme\n  dir: /in/${stage}\n")
    assert flow.source == SftpLocation("sftp.acme.example", "acme", "/in/prod", "sftp/acme", 2222)
    assert flow.target == S3Location("landing-prod", "all/")
    assert (flow.owner, flow.tags, flow.testdata.variants) == ("partners", ("nightly",), (Variant("smoke", 4096),))
    assert flow.transfer.payload == {"a": {"b": 1}, "key": "${source.key}"}
    assert flow.negative == (Refusal("wrong_key"), Refusal("bad_payload"))
    assert flow.origin == "flows/a.yaml:1"


def test_the_slow_and_the_fast_way_give_the_same(tmp_path: Path) -> None:
    text = "flow_id: slow_a\nsource: {use: acme, dir: '/${stage}'}\ndescription: '${stage} $${x}'\n"
    fast = one(tmp_path, text)
    slow = one(
        tmp_path,
        text.replace("description:", "x-when: [2026-01-01]\nx-b: &b 1\nx-c: *b\ndescription:", 1).replace(
            "[2026-01-01]", "1"
        ),
    )
    assert (fast, fast.description) == (slow, "prod ${x}")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("validation: {grace_seconds: 1}", {"validation.expect_within_seconds": 60, "validation.grace_seconds": 1}),
        ("validation:\n  expect_within_seconds: ${slo}", {"validation.expect_within_seconds": 120}),
        ("enabled: ${strict}", {"enabled": True}),
        ("enabled: ${env:ON}", {"enabled": True}),
        ("version: ${env:PORT}", {"version": 2022}),
        ("owner: ${env:PORT}", {"owner": "2022"}),
        ("owner: v${slo}-${strict}", {"owner": "v120-true"}),
        ("owner: $${stage}", {"owner": "${stage}"}),
        ("owner: $$ $ {stage} $x", {"owner": "$$ $ {stage} $x"}),
        ("owner: ${odd}", {"owner": "a${run_id}$$b"}),
        ("x-note: ${nobody}", {"owner": "partners"}),
        (
            "transfer: {payload: {n: '${slo}', s: 'x-${stage}-${run_id}'}}",
            {"transfer.payload": {"a": {"b": 1}, "key": "${source.key}", "n": 120, "s": "x-prod-${run_id}"}},
        ),
        ("transfer: {payload: '${odd}'}", {"transfer.payload": "a$${run_id}$$$$b"}),
        ("transfer: {payload: '$${stage} $$${stage}'}", {"transfer.payload": "$${stage} $$prod"}),
        ("testdata: {filename: '${stage}_${run_id}.csv'}", {"testdata.filename": "prod_${run_id}.csv"}),
        ("testdata: {size_bytes: 7}", {"testdata.variants": (Variant("", 7),)}),
        (
            "transfer: {mode: event}",
            {
                "transfer.lambda_arn": None,
                "transfer.mode": "event",
                "transfer.payload": {},
                "negative": (Refusal("wrong_key"),),
            },
        ),
        ("tags: [weekly]", {"tags": ("weekly",)}),
        ("target: {type: S3, bucket: other}", {"target": S3Location("other", "all/")}),
        ("target: {prefix: mine/}", {"target": S3Location("landing-prod", "mine/")}),
        ("target: {use: acme}", {"target.dir": "/outbox"}),
        ("target: {type: SFTP, host: h, username: u, dir: /d, secret_arn: s}", {"target.port": 22}),
    ],
)
def test_what_a_flow_says_goes_over_what_it_is_given(
    tmp_path: Path, monkeypatch: Any, more: str, expected: Any
) -> None:
    monkeypatch.setenv("PORT", "2022")
    monkeypatch.setenv("ON", "true")
    flow = one(tmp_path, f"{USES}{more}\n")
    for path, value in expected.items():
        found: Any = flow
        for name in path.split("."):
            found = getattr(found, name)
        assert found == value, path


def test_a_factor_multiplies_what_is_given_and_the_grace_follows(tmp_path: Path) -> None:
    flow = one(tmp_path, "flow_id: slow_acme\nsource: {use: acme}\n")
    assert (flow.validation.expect_within_seconds, flow.validation.grace_seconds) == (180, 18)
    assert flow.transfer.timeout_seconds == 2700
    flow = one(tmp_path, "flow_id: slow_acme\nsource: {use: acme}\nvalidation: {grace_seconds: 0.1}\n")
    assert flow.validation.grace_seconds == 0.3
    flow = one(tmp_path, "flow_id: slow_acme\nsource: {use: acme}\n", flows__endpoints=ENDPOINTS.replace("60}", "20}"))
    assert flow.validation.expect_within_seconds == 60
    plain = {"flow_id": "slow_a", "source": {"type": "S3", "bucket": "aa"}, "target": {"type": "S3", "bucket": "bb"}}
    flow = one(tmp_path, json.dumps(plain), flows__endpoints="{}")
    assert flow.validation.expect_within_seconds == 900


def test_nearer_files_win_by_name_and_a_bare_map_is_one_of_endpoints(tmp_path: Path) -> None:
    flow = one(
        tmp_path,
        "flow_id: acme\nsource: {use: acme}\ntarget: {use: far}\n",
        endpoints="defaults: {owner: far, description: far}\nendpoints: {far: {type: S3, bucket: far}, acme: {type: S3, bucket: zz}}",
        flows__endpoints="acme: {type: S3, bucket: near}\nx-note: 1\n",
    )
    assert (flow.source, flow.target) == (S3Location("near"), S3Location("far"))
    assert (flow.owner, flow.description) == ("far", "far")


def test_a_file_of_another_tool_above_the_flows_is_left_alone(tmp_path: Path) -> None:
    other = "services:\n  - name: x\n"
    assert one(tmp_path, USES, endpoints=other).owner == "partners"


UNKNOWN = "flows/a.yaml:2:15  $.source.use  unknown endpoint "
BY = "(used by acme, flows/a.yaml:1)"


@pytest.mark.parametrize(
    ("flow", "files", "lines"),
    [
        ("flow_id: acme\nsource: {use: acmee}\n", {}, [f'{UNKNOWN}"acmee"; did you mean "acme"?']),
        (
            "flow_id: acme\nsource: {use: acmee}\ntarget: {type: S3, bucket: bb}\n",
            {"flows__endpoints": "{}"},
            [f'{UNKNOWN}"acmee"'],
        ),
        (
            "flow_id: acme\nsource: {use: 5}\n",
            {},
            ["flows/a.yaml:2:15  $.source.use  must be the name of an endpoint, a string"],
        ),
        (
            "flow_id: acme\nsource: {use: acme, type: S3}\n",
            {},
            ['flows/a.yaml:2:27  $.source.type  the endpoint "acme" is SFTP: leave type out'],
        ),
        (
            f"{USES}owner: ${{stge}}\n",
            {},
            ['flows/a.yaml:3:8  $.owner  unknown variable ${stge} in environments/prod.yaml; did you mean "stage"?'],
        ),
        (
            f"{USES}owner: ${{stage}}\n",
            {"env": None, "flows__endpoints": ENDPOINTS.replace("-${stage}", "")},
            ["flows/a.yaml:3:8  $.owner  unknown variable ${stage}: no --fileflow-env was given"],
        ),
        (
            f"{USES}owner: ${{env:NOT_THERE}}\n",
            {},
            ['flows/a.yaml:3:8  $.owner  the environment variable "NOT_THERE" is not set'],
        ),
        (
            f"{USES}owner: ${{run_id}}\n",
            {},
            [
                'flows/a.yaml:3:8  $.owner  ${run_id} has no value here: only a run has one. Write "$${" for a literal "${"'
            ],
        ),
        (
            f"{USES}owner: a ${{b\n",
            {},
            ['flows/a.yaml:3:8  $.owner  a "${" has no closing "}"; write "$${" for a literal "${"'],
        ),
        (
            f"{USES}transfer: {{payload: '${{stagge}} ${{stage}}'}}\n",
            {},
            ['flows/a.yaml:3:21  $.transfer.payload  unknown variable ${stagge}; did you mean "stage"?'],
        ),
        (
            f"{USES}validation: {{expect_within_seconds: '${{stage}}'}}\n",
            {},
            [f'environments/prod.yaml:2:10  $.validation.expect_within_seconds  must be a number, not "prod" {BY}'],
        ),
        (
            "flow_id: slow_a\nsource: {use: acme}\nvalidation: {expect_within_seconds: 600000}\ntransfer: {timeout_seconds: 201000}\n",
            {},
            [
                "flows/a.yaml:3:37  $.validation.expect_within_seconds  must be at most 604800, not 1800000 (times 3 by environments/prod.yaml:6)",
                "flows/a.yaml:4:29  $.transfer.timeout_seconds  timeout_seconds 603000 is below expect_within_seconds 1.8e+06 (times 3 by environments/prod.yaml:6)",
            ],
        ),
        (
            USES,
            {
                "flows__endpoints": "endpoints: {acme: {type: S3, bucket: bb}}\ndefaults:\n  target: {type: SFTP, host: h, dir: /x}\n"
            },
            [
                f"flows/endpoints.yaml:3:3  $.target  username is missing {BY}",
                f"flows/endpoints.yaml:3:3  $.target  secret_arn is missing {BY}",
            ],
        ),
    ],
)
def test_what_is_said_of_a_flow(tmp_path: Path, flow: str, files: Any, lines: list[str]) -> None:
    assert load(tmp_path, flow, **files) == [lines]


@pytest.mark.parametrize(
    ("shared", "own", "flow"),
    [
        (
            "endpoints:\n  acme: {type: S3, buckt: bb, prefix: ../x}\n",
            [
                '2:20  $.endpoints.acme.buckt  unknown key "buckt"; did you mean "bucket"?',
                '2:39  $.endpoints.acme.prefix  "../x" holds a ".." segment: name the folder itself',
            ],
            f'2:20  $.endpoints.acme.buckt  unknown key "buckt"; did you mean "bucket"?; and 1 more there {BY}',
        ),
        ("acme: {host: x}\n", ["1:1  $.acme  type is missing"], f"1:1  $.acme  type is missing {BY}"),
        ("acme: {type: S3\n", ['1:7  $  a comma or the closing "}" of a map is missing before this'], None),
        ("[1]\n", ["1:1  $  must be an object with endpoints and defaults, not a list"], None),
        (
            "endpoints: {acme: {type: S3, bucket: '${bukket}'}}\n",
            [
                "1:38  $.endpoints.acme.bucket  unknown variable ${bukket} in environments/prod.yaml; known: odd, slo, stage, strict"
            ],
            (
                "1:38  $.endpoints.acme.bucket  unknown variable ${bukket} in environments/prod.yaml; "
                f"known: odd, slo, stage, strict {BY}"
            ),
        ),
        (
            "endpoints: {acme: {type: S3, bucket: bb}}\ndefaults: {validation: {grace_second: 5}, flow_id: x}\n",
            [
                '2:25  $.defaults.validation.grace_second  unknown key "grace_second"; did you mean "grace_seconds"?',
                (
                    '2:43  $.defaults.flow_id  unknown key "flow_id"; known: alerts, contract, description, enabled, negative, '
                    "owner, sandbox, source, tags, target, testdata, transfer, …"
                ),
            ],
            f'2:25  $.defaults.validation.grace_second  unknown key "grace_second"; did you mean "grace_seconds"? {BY}',
        ),
        (
            "endpoints: {acme: {type: SFTP, host: a b, username: u, dir: /d, secret_arn: s}}\n",
            [
                (
                    "1:38  $.endpoints.acme.host  must be a DNS name or an IP address alone, without scheme, user, port or path, "
                    'not "a b"'
                )
            ],
            (
                "1:38  $.endpoints.acme.host  must be a DNS name or an IP address alone, without scheme, user, port or path, "
                f'not "a b" {BY}'
            ),
        ),
    ],
)
def test_a_mistake_in_a_shared_file_is_told_once_and_a_line_leads_there(
    tmp_path: Path, shared: str, own: list[str], flow: str | None
) -> None:
    text = "flow_id: acme\nsource: {use: acme}\ntarget: {type: S3, bucket: bb}\n"
    flow = f"{own[0]} {BY}" if flow is None else flow
    assert load(tmp_path, text, flows__endpoints=shared) == [
        [f"flows/endpoints.yaml:{line}" for line in own],
        [f"flows/endpoints.yaml:{flow}"],
    ]


def test_flows_that_need_nothing_of_what_is_broken_go_on(tmp_path: Path) -> None:
    shared = "endpoints:\n  bad: {type: S3, buckt: x}\n  good: {type: S3, bucket: ok}\ndefaults: {validation: {grace_seconds: x}}\n"
    flow = "flow_id: a\nsource: {use: good}\ntarget: {use: good, prefix: y}\nvalidation: {grace_seconds: 5}\n"
    broken, loaded = load(tmp_path, flow, flows__endpoints=shared)
    assert len(broken) == 2
    assert isinstance(loaded, Flow)


def test_a_value_of_the_process_is_not_shown_where_it_may_be_a_secret(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOOK", "https://hooks.slack.com/services/T000/B000/hidden")
    (lines,) = load(tmp_path, f"{USES}alerts: {{slack_webhook_secret_arn: '${{env:HOOK}}'}}\n")
    assert len(lines) == 1
    assert "hidden" not in lines[0]


@pytest.mark.parametrize("path", SEED, ids=lambda path: path.stem)
def test_a_seed_flow_is_the_same_with_an_environment(tmp_path: Path, path: Path) -> None:
    plain = flow_loader(sandbox=True, patterns=PATTERNS, checks=())
    given = flow_loader(
        sandbox=True, patterns=PATTERNS, checks=(), environment=Environment("x", tmp_path, "x"), roots=[path.parents[1]]
    )
    assert given.load(path, "f") == plain.load(path, "f")


def test_a_second_file_beside_the_first_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/endpoints.json").write_text("{}")
    assert load(tmp_path, USES) == [[f"flows/endpoints.json:1:1  $  lies beside endpoints.yaml: keep one of them {BY}"]]


WORDS = st.sampled_from(
    [
        "${",
        "}",
        "$",
        "$$",
        "{",
        "stage",
        "slo",
        "${stage}",
        "${slo}",
        "$${",
        "run_id",
        "${run_id}",
        "env:PATH",
        "nope",
        " ",
        "é",
    ]
)
TEXTS = st.lists(WORDS, max_size=6).map("".join)
KEYS = st.sampled_from(
    [*FULL, *FULL["source"], *FULL["transfer"], *FULL["validation"], *FULL["testdata"], "use", "x-a"]
)
VALUES = st.recursive(
    st.one_of(TEXTS, st.none(), st.booleans(), st.integers(-5, 10**320), st.sampled_from(["acme", "landing", "S3"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)
SOME = settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@SOME
@given(flow=st.dictionaries(KEYS, VALUES, max_size=6), shared=VALUES)
def test_whatever_is_written_gives_flows_or_findings_in_a_file_that_is_there(
    tmp_path: Path, flow: Any, shared: Any
) -> None:
    loaded = load(
        tmp_path,
        json.dumps({**LEAST, **flow}),
        flows__endpoints=json.dumps({"endpoints": {"acme": shared}, "defaults": shared}),
    )
    for lines in loaded:
        for line in lines if isinstance(lines, list) else ():
            assert line.startswith(("flows/a.yaml:1:", "flows/endpoints.yaml:1:", "environments/prod.yaml:")), line


@SOME
@given(text=TEXTS)
def test_a_finding_points_at_the_text_that_is_wrong(tmp_path: Path, text: str) -> None:
    written = yaml.safe_dump({**LEAST, "owner": "x", "description": text}, sort_keys=False, default_style='"')
    (loaded,) = load(tmp_path, written, flows__endpoints="{}")
    if isinstance(loaded, list):
        place = "environments/prod.yaml:3:8" if text == "${slo}" else f"flows/a.yaml:{written.count(chr(10))}:16"
        assert [line.partition("  ")[0] for line in loaded] == [place]
    elif "${" not in text:
        assert loaded.description == text
