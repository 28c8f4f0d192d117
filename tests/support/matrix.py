"""Runs every fault in every direction for real, in one go, and tells the cause that was named for each."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from pytest_fileflow.caught import expected_cause
from tests.support.troubled import EARLIER, IMPATIENT, STALLED, Troubled, pairs

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_fileflow.faults import Fault
    from pytest_fileflow.model import Flow

PAIRS = list(pairs())


def name_of(direction: str, fault: Fault | None, way: str) -> str:
    return f"{direction} {fault.text if fault else 'nothing'} {way}"


def run_all(folder: Path) -> dict[str, tuple[str | None, dict[str, Any]]]:
    """Run all pairs; return, by the pair's name, the expected cause and the record."""
    suites = {"flows": "", "stalled": IMPATIENT}
    for suite, conftest in suites.items():
        (folder / suite).mkdir()
        (folder / suite / "conftest.py").write_text(conftest)
    with Troubled() as system:
        ids = {}
        for pair in PAIRS:
            direction, fault, way = pair
            config = system.flow(direction, fault, invocation=way)
            ids[config["flow_id"]] = pair
            suite = "stalled" if fault and fault.name == STALLED else "flows"
            (folder / suite / f"{len(ids):03}.json").write_text(json.dumps(config))
            if fault and fault.name == "stale":
                # what an earlier morning has left: a stale file is told by the runs that are known
                earlier = folder / "results/results/dt=2026-11-23" / f"flow_id={config['flow_id']}"
                (earlier / f"run_id={EARLIER}").mkdir(parents=True)
        variables = {**os.environ, **system.environment, "HOME": str(folder)}
        sessions = [
            subprocess.Popen(
                [sys.executable, "-m", "pytest", suite, "-q", "-p", "no:cacheprovider", "--fileflow-results=results"],
                cwd=folder,
                env=variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for suite in suites
        ]
        said = "".join(session.communicate()[0] for session in sessions)
        flows = loaded(folder)
    records = [json.loads(path.read_text()) for path in folder.glob("results/results/*/*/*/run.json")]
    found = {record["flow_id"]: record for record in records if record["case"] != "contract"}
    if set(found) != set(ids):
        raise RuntimeError(said[-8000:])
    return {
        name_of(*pair): (expected(pair[1], flows[flow_id]) if pair[1] else None, found[flow_id])
        for flow_id, pair in ids.items()
    }


def expected(fault: Fault, flow: Flow) -> str | None:
    return "net.timeout" if fault.name == STALLED else expected_cause(fault, flow)


def loaded(folder: Path) -> dict[str, Flow]:
    from pytest_fileflow.config import load_file
    from pytest_fileflow.registry import Registry, register_builtin_patterns

    registry = Registry()
    register_builtin_patterns(registry)
    patterns = registry.size_problems()
    flows = [
        load_file(path, display=path.name, sandbox=False, patterns=patterns, checks=())[0]
        for suite in ("flows", "stalled")
        for path in (folder / suite).glob("*.json")
    ]
    return {flow.flow_id: flow for flow in flows}  # type: ignore[union-attr,misc]


def plain(record: dict[str, Any]) -> str:
    text = record["reason"]
    for name in (record["file"]["name"], record["flow_id"], record["run_id"]):
        text = text.replace(name, "NAME") if name else text
    text = re.sub(r"(s3|sftp|arn)[:/][^ ,;]*", "PLACE", text)
    return re.sub(r"/[^ ,;:]+", "PATH", re.sub(r"\d+(\.\d+)?", "N", text))
