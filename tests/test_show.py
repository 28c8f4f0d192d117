"""``fileflow show``: a flow as it is meant, and where each value comes from."""

from __future__ import annotations

import json

import pytest
import yaml

from pytest_fileflow.cli import main
from pytest_fileflow.config import load_file
from tests.test_config_flows import FULL, LEAST, PATTERNS

ENDPOINTS = """endpoints:
  acme: {type: SFTP, host: "sftp.${stage}.example", username: acme, dir: /outbox, secret_arn: sftp/acme}
defaults:
  target: {type: S3, bucket: landing}
  validation:
    expect_within_seconds: ${slo}
"""
FLOW = """flow_id: acme
source: {use: acme, dir: /in}
alerts:
  webhook: {url_secret_arn: hook, headers: {Authorization: "Bearer ${env:FILEFLOW_TEST_TOKEN}"}}
"""
SHOWN = """\
flow_id: acme                     # flows/acme.yaml:1
enabled: true                     # default
source:
  type: SFTP                      # flows/endpoints.yaml:2
  host: sftp.prod.example         # flows/endpoints.yaml:2, environments/prod.yaml:1 (stage)
  port: 22                        # default
  username: acme                  # flows/endpoints.yaml:2
  dir: /in                        # flows/acme.yaml:2
  secret_arn: sftp/acme           # flows/endpoints.yaml:2
  max_sessions: 8                 # default
target:
  type: S3                        # flows/endpoints.yaml:4
  bucket: landing                 # flows/endpoints.yaml:4
  prefix: ''                      # default
transfer:
  mode: event                     # default
validation:
  expect_within_seconds: 240      # environments/prod.yaml:1 (slo), times 2 by environments/prod.yaml:2
  grace_seconds: 24               # default
  checksum: SHA256                # default
  size_tolerance_bytes: 0         # default
  post_arrival_wait_seconds: 0    # default
testdata:
  size_bytes: 1048576             # default
  pattern: random                 # default
  filename_prefix: fileflow       # default
  delete_after: true              # default
alerts:
  webhook:
    url_secret_arn: hook          # flows/acme.yaml:4
    headers:
      Authorization: (not shown)  # flows/acme.yaml:4 (env:FILEFLOW_TEST_TOKEN)
contract:
  probe_target: true              # default
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name, text in {
        "flows/endpoints.yaml": ENDPOINTS,
        "flows/acme.yaml": FLOW,
        "environments/prod.yaml": "variables: {stage: prod, slo: 120}\nslo_factor: 2\n",
        "pytest.ini": "[pytest]\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FILEFLOW_TEST_TOKEN", "hidden")
    return tmp_path


def test_every_value_is_followed_by_where_it_comes_from(project, capsys):
    assert main(["show", "acme", "--env", "prod"]) == 0
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown)["source"]["host"] == "sftp.prod.example"
    for line, expected in zip(shown.splitlines(), SHOWN.splitlines(), strict=False):
        assert line == expected or line.partition(":")[0] not in SHOWN  # a key that is new since
    assert set(SHOWN.splitlines()) <= set(shown.splitlines())


def test_json_has_the_origins_by_path(project, capsys):
    assert main(["show", "acme", "flows", "--env", "prod", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["flow"]["validation"]["expect_within_seconds"] == 240
    assert shown["origins"]["$.source.dir"] == "flows/acme.yaml:2"
    assert shown["origins"]["$.target.prefix"] == "default"
    assert "hidden" not in json.dumps(shown)


def test_what_cannot_be_shown(project, capsys):
    assert main(["show", "acne", "--env", "prod"]) == 2
    assert capsys.readouterr().err == "fileflow show: there is no flow 'acne'; did you mean 'acme'?\n"
    assert main(["show", "flows/acme.yaml"]) == 2
    assert capsys.readouterr().err == (
        "fileflow show: flows/acme.yaml is a file: give the id of a flow first, fileflow show FLOW_ID flows/acme.yaml\n"
    )
    assert main(["show", "acme"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        (
            "flows/endpoints.yaml:2:28  $.endpoints.acme.host  unknown variable ${stage}: no --fileflow-env was given "
            "(used by acme, flows/acme.yaml:1)"
        ),
        (
            "flows/endpoints.yaml:6:28  $.defaults.validation.expect_within_seconds  unknown variable ${slo}: "
            "no --fileflow-env was given (used by acme, flows/acme.yaml:1)"
        ),
    ]
    assert main(["show", "acme", "--env", "prd"]) == 2
    assert "did you mean 'prod'?" in capsys.readouterr().err


@pytest.mark.parametrize("config", [LEAST, FULL], ids=["least", "full"])
def test_what_is_shown_is_the_flow(project, capsys, config):
    def loaded(text):
        (project / "flows/x.yaml").write_text(text)
        (flow,) = load_file(
            project / "flows/x.yaml",
            display="f",
            sandbox=True,
            patterns=PATTERNS,
            checks={"rows": None, "gzip": None, "lines": None},
        )
        return flow

    (project / "flows/endpoints.yaml").unlink()
    (project / "conftest.py").write_text(
        "def pytest_fileflow_register(registry):\n    for name in ('lines',):\n"
        "        registry.check(name, lambda options, expected: None)\n"
    )
    flow = loaded(yaml.safe_dump(config, sort_keys=False))
    (project / "flows/acme.yaml").unlink()
    assert main(["show", flow.flow_id, "--sandbox"]) == 0
    again = loaded(capsys.readouterr().out)
    assert (again.source, again.target, again.validation, again.testdata) == (
        flow.source,
        flow.target,
        flow.validation,
        flow.testdata,
    )
    assert (again.transfer, again.negative, again.tags, again.enabled) == (
        flow.transfer,
        flow.negative,
        flow.tags,
        flow.enabled,
    )
