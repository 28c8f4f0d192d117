"""Whole sessions in the sandbox, every fault in every direction: caught as it must be, and nothing else touched."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow.caught import expected_cause
from pytest_fileflow.faults import FAULTS, Fault
from pytest_fileflow.sandbox.damage import NAMES as DAMAGES
from pytest_fileflow.sandbox.damage import damaged
from tests.support import faulty
from tests.support.faulty import DIRECTIONS, Left, config, fault_of, invoked, loaded, sent

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_fileflow.model import Flow

ROOM = {"expect_within_seconds": 40, "grace_seconds": 8}
SHORT = {"expect_within_seconds": 18, "grace_seconds": 8}
OF_FLOWS_THAT_CHANGE = frozenset(("as_sent", "bare"))
IN_TIME = frozenset(("slow_writer", "slow_network"))


def suite_of(ends: tuple[str, str], invocation: str) -> list[dict[str, object]]:
    """Return a flow for every fault that is possible in a direction, at either end, and one without."""
    flows = [config("clean", ends, transfer=invoked("clean", invocation), validation=ROOM)]
    for name, kind in FAULTS.items():
        if name in OF_FLOWS_THAT_CHANGE:
            continue
        sides = [side for side, end in zip(("source", "target"), ends, strict=True) if end in kind.ends]
        for side in sides if kind.part == "endpoint" else [""]:
            flow_id = f"{side}_{name}".lstrip("_")
            text = f"{side}.{name}".lstrip(".") + (":0.1" if name == "slow_network" else "")
            rules = ROOM if name in IN_TIME or name == "throttle" else SHORT
            transfer = invoked(flow_id, invocation)
            flows.append(config(flow_id, ends, faults=(text,), transfer=transfer, validation=rules))
    return flows


def run(folder: Path, flows: list[dict[str, object]], *arguments: str) -> str:
    """Run pytest over flows in a process of its own; return what it printed."""
    (folder / "conftest.py").write_text(faulty.CONFTEST)
    (folder / "flows.json").write_text(json.dumps({"flows": flows}))
    own = ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT")
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "flows.json", "--fileflow-sandbox", *arguments],
        cwd=folder,
        env={name: text for name, text in os.environ.items() if name not in own},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    return answer.stdout + answer.stderr


def tail(output: str) -> str:
    """Return the closing table of what pytest printed."""
    return output[output.rfind(" file flows in the sandbox ") :] if " file flows" in output else output


def records(folder: Path) -> dict[str, dict[str, Any]]:
    paths = (folder / "fileflow-results").glob("results/dt=*/flow_id=*/run_id=*/run.json")
    found = [json.loads(path.read_text()) for path in paths]
    return {record["flow_id"]: record for record in found if record["kind"] == "transfer"}


def misjudged(flows: dict[str, Flow], found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the flows whose verdict is not the one that their fault asks for."""
    wrong = {}
    for flow_id, flow in flows.items():
        fault, record = fault_of(flow), found[flow_id]
        cause = expected_cause(fault, flow) if fault else None
        outcome = "failed" if cause else "passed"
        if (record["outcome"], record["cause"]) != (outcome, cause):
            wrong[flow_id] = f"{record['outcome']} {record['cause']}, not {outcome} {cause}: {record['reason']}"
    return wrong


@pytest.mark.parametrize("ends", DIRECTIONS, ids="-".join)
def test_every_fault_is_caught_and_does_what_it_says(tmp_path, ends):
    invocation = "RequestResponse" if ends[0] == "SFTP" else "Event"
    output = run(tmp_path, suite_of(ends, invocation), "--fileflow-no-cleanup")
    flows, found, left = loaded(tmp_path / "flows.json"), records(tmp_path), Left.read(tmp_path)
    assert found.keys() == flows.keys(), tail(output)
    assert misjudged(flows, found) == {}, tail(output)
    assert "faults switched on: truncate: truncate" in output
    assert found["truncate"]["faults"] == ["truncate"]
    assert "faults" not in found["clean"]

    for name in ("clean", *DAMAGES, "slow_writer", "delay"):
        body, file = sent(found[name]), found[name]["file"]["name"]
        made, _ = damaged(Fault(name), io.BytesIO(body), len(body)) if name in DAMAGES else (io.BytesIO(body), 0)
        assert left.at(flows[name], "to") == {file: made.read()}, name
    assert_whereabouts(flows, found, left)
    for flow_id, flow in flows.items():
        fault = fault_of(flow)
        if fault and fault.side_in(flow) and fault.name not in IN_TIME:
            here = left.at(flow, "to")
            assert {name for name in here if not name.startswith(".")} == set(), f"{flow_id} delivered"


def assert_whereabouts(flows: dict[str, Flow], found: dict[str, dict[str, Any]], left: Left) -> None:
    names = {flow_id: record["file"]["name"] for flow_id, record in found.items()}
    body = {flow_id: sent(found[flow_id]) for flow_id in ("drop", "misplace", "rename", "duplicate", "stalled_writer")}
    assert left.at(flows["drop"], "from") == {names["drop"]: body["drop"]}
    assert left.at(flows["drop"], "to") == {}
    assert left.at(flows["lose"], "from") == left.at(flows["lose"], "to") == {}
    assert left.at(flows["misplace"], "to") == {}
    assert left.at(flows["misplace"], "to", "misplaced") == {names["misplace"]: body["misplace"]}
    assert left.at(flows["rename"], "to") == {f"renamed_{names['rename']}": body["rename"]}
    copy = names["duplicate"].replace(".bin", " (1).bin")
    assert left.at(flows["duplicate"], "to") == {names["duplicate"]: body["duplicate"], copy: body["duplicate"]}
    half = {names["stalled_writer"]: body["stalled_writer"][:10_000]}
    assert left.at(flows["stalled_writer"], "to") == (half if flows["stalled_writer"].target.type == "SFTP" else {})
    assert_stale(flows["stale"], found["stale"], left)


def assert_stale(flow: Flow, record: dict[str, Any], left: Left) -> None:
    """The bytes and the manifest are those of one earlier run, of the same size."""
    name = record["file"]["name"]
    manifest = json.loads(left.files[f"{flow.target.type}/stale/to/{name}.manifest.json"])
    earlier = {"run_id": manifest["test_run_id"], "file": {"size": manifest["size_bytes"]}}
    assert earlier["run_id"] != record["run_id"]
    assert left.at(flow, "to") == {name: sent(earlier)}
    assert manifest["size_bytes"] == record["file"]["size"]
    assert manifest["flow_id"] == flow.flow_id
    assert manifest["file_name"] != name


def test_faults_of_flows_that_start_by_themselves(tmp_path):
    starts = {"event": {"mode": "event"}, "trigger": {"mode": "trigger_file"}}
    faults = ("drop", "truncate", "delay", "stalled_writer", "function_error", "crash", "timeout", "throttle")
    flows = []
    for index, (kind, start) in enumerate(starts.items()):
        for place, name in enumerate(("clean", *faults)):
            ends = DIRECTIONS[(index + place) % len(DIRECTIONS)]
            texts = () if name == "clean" else (name,)
            rules = ROOM if name == "clean" else SHORT
            flows.append(config(f"{kind}_{name}", ends, faults=texts, transfer=start, validation=rules))
    output = run(tmp_path, flows)
    assert misjudged(loaded(tmp_path / "flows.json"), records(tmp_path)) == {}, tail(output)


def test_a_flow_shares_all_but_its_folder_with_faulty_ones(tmp_path):
    """Same server, user, bucket and function: what is wrong with one is not wrong with the other."""
    faults = ("target.rejected_key", "target.changed_host_key", "target.missing_directory", "crash", "throttle")
    flows = [config(f"bad{index}", ("S3", "SFTP"), faults=(text,)) for index, text in enumerate(faults)]
    flows += [config(f"good{index}", ("S3", "SFTP"), validation=ROOM) for index in range(4)]
    flows += [config("no_bucket", ("S3", "S3"), faults=("target.missing_bucket", "source.denied_prefix"))]
    flows += [config(f"bucket{index}", ("S3", "S3"), validation=ROOM) for index in range(2)]
    output = run(tmp_path, flows, "-n", "2")
    outcomes = {flow_id: record["outcome"] for flow_id, record in records(tmp_path).items()}
    good = {flow_id for flow_id in outcomes if flow_id.startswith(("good", "bucket"))}
    assert {flow_id for flow_id, outcome in outcomes.items() if outcome == "passed"} == good, tail(output)
    assert len(outcomes) == len(flows)


def test_those_that_a_fault_reaches_too_are_named(tmp_path):
    first = config("first", ("S3", "SFTP"), faults=("target.missing_directory", "throttle"), validation=SHORT)
    second = {**first, "flow_id": "second", "sandbox": {"faults": ["target.missing_directory"]}}
    third = {**second, "flow_id": "third", "sandbox": {}}
    output = run(tmp_path, [first, second, third], "--fileflow-fault", "first=throttle", "-k", "second or third")
    assert "first: throttle reaches second, third, too: they invoke" in output
    assert "second: target.missing_directory reaches first, third, too: it is at sftp://acme@" in output
    assert SimpleNamespace(**records(tmp_path)["third"]).cause == "location.missing"
