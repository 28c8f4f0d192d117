"""Fixtures for tests that run pytest inside pytest, with flows in memory."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import inner

# An inner pytest in this process forgets what it imported; what stands on an extension cannot be imported twice.
CIPHERS = "cryptography.hazmat.primitives.ciphers"
# Nor need what is large be read again for each of them.
LARGE = (
    "boto3",
    "botocore.session",
    "paramiko",
    "xdist.dsession",
    "pytest_fileflow.launcher",
    "pytest_fileflow.config",
)
for name in (CIPHERS, f"{CIPHERS}.algorithms", f"{CIPHERS}.modes", "jsonschema_rs", "yaml", *LARGE):
    importlib.import_module(name)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
# Every process of an inner pytest would import Hypothesis, which none of them uses: most of what a session costs.
LEAN = "-p no:hypothesispytest"


@pytest.fixture(scope="session", autouse=True)
def lean_inner_sessions() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_ADDOPTS", LEAN)
        yield


# What takes seconds a test, as everything over workers does: tox runs it on the oldest and the newest Python only.
SYSTEM = frozenset(
    f"test_{name}.py"
    for name in (
        *(
            "state_machine_runs",
            "package",
            "alerts_sessions",
            "contract_items",
            "end_to_end",
            "fault_matrix",
            "fault_sessions",
            "html_browser",
        ),
        *("interrupts", "negative_session", "page_browser", "progress", "rehearsal", "reports", "results_sessions"),
        *("sandbox_aws", "sandbox_backends", "sandbox_faults", "sandbox_flows", "sandbox_life"),
        *("sandbox_deployed", "sandbox_machines", "sandbox_terraform", "runtime_processes"),
        *("sandbox_notifications", "sandbox_routes", "sandbox_sftp", "verdict_words", "whereabouts_sandbox"),
        *("whereabouts_servers", "changing_flows", "payload_sessions", "config_stores", "push_pull", "reuse_sessions"),
        *("init", "clean", "sandbox_command", "hostkeys_command", "planning", "rotation", "results_stores"),
        *("package", "container", "alarms_fire", "terraform", "terraform_apply", "container_module", "deployment"),
        *("aws_handlers", "aws_listing", "aws_settling"),
    )
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name in SYSTEM or re.search(r"\bn2\b", item.name):
            item.add_marker("system")


class Suite:
    """A folder with flows, and pytest runs over it."""

    def __init__(self, pytester: pytest.Pytester):
        self.pytester = pytester
        self.path = pytester.path
        pytester.makeconftest(inner.CONFTEST)

    def add(self, name: str, *flows: dict[str, object], text: str | None = None) -> Path:
        """Write a flow file (one flow, or several); ``text`` is written as it is."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        document = flows[0] if len(flows) == 1 else {"flows": list(flows)}
        path.write_text(json.dumps(document, indent=2) if text is None else text)
        return path

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest over the folder, in this process where that makes no difference."""
        if "-n" in arguments:  # xdist gives its workers the sys.path that this process began with
            return self.run_apart(*arguments)
        return self.pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)

    def run_apart(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in a process of its own, where what is imported matters."""
        return self.pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments, timeout=300)

    def records(self, results: str = "fileflow-results") -> list[dict]:
        """Return all run records, by flow id and case."""
        paths = (self.path / results).glob("results/dt=*/flow_id=*/run_id=*/run.json")
        records = [json.loads(path.read_text()) for path in paths]
        return sorted(records, key=lambda record: (record["flow_id"], record["case"]))


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setenv("PYTEST_ADDOPTS", LEAN)  # pytester has removed it
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return Suite(pytester)


@pytest.fixture(params=[(), ("-n", "2")], ids=["plain", "n2"])
def workers(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Run the test in one process, and over two workers."""
    return request.param
