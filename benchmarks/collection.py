"""What collecting 10,000 flow files costs, as ratios of what pytest takes for as many parametrized ids as items.

    python benchmarks/collection.py [json|yaml|shared|workers ...] [--flows N] [--rounds N] [--folders N]

Every file has one flow, and every flow two items, its contract and its size: 20,000 items against 20,000 ids.

The suites, made anew in a temporary folder, one flow of about 900 bytes a file:

- ``ids``: one Python file with a test that takes no fixture, parametrized with the 20,000 ids that the flows have;
- ``json``, ``yaml``: a folder ``flows`` with 10,000 files, by default all side by side (``--folders`` spreads them);
- ``shared``: the JSON flows again, of which each names both ends (of 101 in ``endpoints.yaml``), leaves to ``defaults``
  what they have in common, and uses variables of ``environments/prod.yaml``.

Three measurements, alternating within each round; printed is the median of the rounds' ratios.

- ``json`` and ``yaml`` against ``ids``: whole processes, from start to exit, with the same command line but for the
  path (``python -m pytest -q -p no:cacheprovider -p no:hypothesispytest --collect-only PATH``), the same installed
  plugins (this one is loaded for ``ids`` too; hypothesis, which only the project's own tests need, for neither) and
  the same output: 20,000 node ids. The plugin keeps no cache, so nothing that was read from a flow is reused.
- ``shared`` against ``json``, likewise, with ``--fileflow-env prod``.
- ``workers``: the JSON flows with ``-n 4`` against the same in one process. xdist does not distribute with
  ``--collect-only``, so both begin a real session that ends once everything is collected: a small plugin notes the time
  when the controller has every worker's report that its collection is finished, or, in one process, when
  ``pytest_collection_finish`` comes, and then exits. The times are from the start of the process to that mark, so that
  starting the workers and sending 20,000 ids from each to the controller counts too.

As for any user, modules are compiled once and not by every process; a round that is not counted does that.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = 4
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
UNWANTED = {"PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS", "PYTEST_PLUGINS"}
ENDS_WHEN_COLLECTED = f"""
import os, pathlib, time
import pytest

class Mark:
    reported = 0

    def pytest_collection_finish(self, session):
        if "PYTEST_XDIST_WORKER" not in os.environ and not session.config.getoption("numprocesses", None):
            self.leave()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node, ids):
        self.reported += 1
        if self.reported == {WORKERS}:
            self.leave()

    def leave(self):
        pathlib.Path(os.environ["MARK"]).write_text(str(time.monotonic()))
        pytest.exit("collected", returncode=0)

def pytest_configure(config):
    config.pluginmanager.register(Mark())
"""
CASES = ("contract", "5MiB")
TAGS = (["nightly", "critical"], ["nightly"], ["weekly"])
ARN = "arn:aws:{}:eu-west-1:123456789012:{}"


def flow(number: int) -> dict[str, object]:
    """Return a flow as people write them; directions, sizes and tags vary."""
    partner = f"partner{number % 100:02d}"
    sftp = {
        "type": "SFTP",
        "host": f"sftp.{partner}.example",
        "port": 22,
        "username": partner,
        "dir": f"/outbox/{number}",
        "secret_arn": ARN.format("secretsmanager", f"secret:sftp/{partner}-AbCdEf"),
    }
    s3 = {
        "type": "S3",
        "bucket": "example-landing",
        "prefix": f"partners/{partner}/{number}/",
        "kms_key_arn": ARN.format("kms", "key/1234abcd-12ab-34cd-56ef-1234567890ab"),
    }
    return {
        "flow_id": f"{partner}_flow_{number:05d}",
        "version": 3,
        "enabled": True,
        "source": sftp if number % 2 else s3,
        "target": s3 if number % 2 else sftp,
        "transfer": {
            "lambda_arn": ARN.format("lambda", "function:file-transfer"),
            "payload": {"flowConfigId": f"{partner}/{number}", "key": "${source.key}"},
            "timeout_seconds": 900,
        },
        "validation": {"expect_within_seconds": 420, "checksum": "SHA256", "size_tolerance_bytes": 0},
        "testdata": {"size_bytes": 5242880, "pattern": "random", "filename_prefix": "diag", "tags": TAGS[number % 3]},
    }


def shared(flows: int) -> dict[str, object]:
    """Return what the flows share: endpoints by name, and defaults."""
    both = [flow(number) for number in range(min(flows, 100))]
    sftp = {f"partner{number % 100:02d}": leave(end(one, "SFTP"), "dir") for number, one in enumerate(both)}
    landing = {**leave(end(both[0], "S3"), "prefix"), "bucket": "${stage}-landing"}
    common = {key: both[0][key] for key in ("enabled", "validation")}
    transfer = leave(dict(both[0]["transfer"]), "payload")
    testdata = leave(dict(both[0]["testdata"]), "tags")
    return {
        "endpoints": {**sftp, "landing": landing},
        "defaults": {**common, "transfer": transfer, "testdata": testdata},
    }


def end(one: dict[str, object], kind: str) -> dict[str, object]:
    return next(dict(one[side]) for side in ("source", "target") if one[side]["type"] == kind)


def leave(value: dict[str, object], key: str) -> dict[str, object]:
    return {name: each for name, each in value.items() if name != key}


def sharing(one: dict[str, object]) -> dict[str, object]:
    """Return a flow that says only what is its own."""
    own = {key: one[key] for key in ("flow_id", "version")}
    for side in ("source", "target"):
        place = one[side]
        is_sftp = place["type"] == "SFTP"
        key, name = ("dir", place["username"]) if is_sftp else ("prefix", "landing")
        own[side] = {"use": name, key: f"{place[key]}${{stage}}"}
    payload, tags = one["transfer"]["payload"], one["testdata"]["tags"]
    return {**own, "transfer": {"payload": payload}, "testdata": {"tags": tags}}


def make_suites(root: Path, flows: int, folders: int) -> None:
    dumps: dict[str, Callable[[object], str]] = {
        "json": lambda value: json.dumps(value, indent=2),
        "yaml": lambda value: yaml.safe_dump(value, sort_keys=False, width=1000),
    }
    for form, dump in dumps.items():
        for number in range(flows):
            one = flow(number)
            group = f"group{number % folders:03d}" if folders else ""
            path = root / form / "flows" / group / f"{one['flow_id']}.{form}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dump(one))
            own = root / "shared" / path.relative_to(root / form)
            if form == "json":
                own.parent.mkdir(parents=True, exist_ok=True)
                own.write_text(dump(sharing(one)))
    (root / "shared" / "environments").mkdir()
    (root / "shared" / "environments" / "prod.yaml").write_text("variables: {stage: prod}\n")
    (root / "shared" / "flows" / "endpoints.yaml").write_text(yaml.safe_dump(shared(flows)))
    ids = [f"{flow(number)['flow_id']}[{case}]" for number in range(flows) for case in CASES]
    text = f"import pytest\n\n\n@pytest.mark.parametrize('flow', {ids!r})\ndef test_flow(flow):\n    pass\n"
    (root / "ids").mkdir()
    (root / "ids" / "test_ids.py").write_text(text)
    for form in ("ids", "shared", *dumps):
        (root / form / "pytest.ini").write_text("[pytest]\n")
    (root / "ends_when_collected.py").write_text(ENDS_WHEN_COLLECTED)


def environment(root: Path, **more: str) -> dict[str, str]:
    """Return the environment of every measured process, in which compiled modules are kept from one to the next."""
    ours = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    return ours | {"PYTHONPYCACHEPREFIX": str(root / "bytecode"), **more}


def whole_process(root: Path, suite: str, flows: int) -> float:
    """Return the seconds that collecting takes from the process's start to its exit."""
    place = "test_ids.py" if suite == "ids" else "flows"
    chosen = ["--fileflow-env", "prod"] if suite == "shared" else []
    command = [*PYTEST, "--collect-only", place, *chosen]
    start = time.monotonic()
    result = subprocess.run(
        command, cwd=root / suite, env=environment(root), capture_output=True, text=True, check=True
    )
    seconds = time.monotonic() - start
    found = sum("::" in line for line in result.stdout.splitlines())
    if found != flows * len(CASES):
        raise SystemExit(f"{suite}: {found} ids instead of {flows * len(CASES)}\n{result.stdout[-2000:]}")
    return seconds


def until_collected(root: Path, workers: int) -> float:
    """Return the seconds from the process's start until everything is collected."""
    mark = root / "mark"
    mark.unlink(missing_ok=True)
    command = [*PYTEST, "-p", "ends_when_collected", "flows", *(["-n", str(workers)] if workers else [])]
    variables = environment(root, MARK=str(mark), PYTHONPATH=str(root))
    start = time.monotonic()
    subprocess.run(command, cwd=root / "json", env=variables, capture_output=True, check=True)
    return float(mark.read_text()) - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", help="json, yaml, shared, workers; by default all")
    parser.add_argument("--flows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folders", type=int, default=0)
    options = parser.parse_args()
    what = options.what or ["json", "yaml", "shared", "workers"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_suites(root, options.flows, options.folders)
        measurements: dict[str, Callable[[], float]] = {
            "ids": lambda: whole_process(root, "ids", options.flows),
            "json": lambda: whole_process(root, "json", options.flows),
            "yaml": lambda: whole_process(root, "yaml", options.flows),
            "shared": lambda: whole_process(root, "shared", options.flows),
            "one process": lambda: until_collected(root, 0),
            "workers": lambda: until_collected(root, WORKERS),
        }
        forms = [form for form in ("json", "yaml") if form in what]
        pairs = [(form, "ids") for form in forms]
        pairs += [("shared", "json")] if "shared" in what else []
        pairs += [("workers", "one process")] if "workers" in what else []
        needed = [name for name in measurements if any(name in pair for pair in pairs)]
        for name in needed:
            measurements[name]()  # compiles what is not compiled yet, and brings the files into memory
        rounds = [{name: measurements[name]() for name in needed} for _ in range(options.rounds)]
    for name in needed:
        print(f"{name:<12} median {statistics.median(each[name] for each in rounds):6.2f} s")
    for name, base in pairs:
        ratios = sorted(each[name] / each[base] for each in rounds)
        print(f"{name} / {base}: median {statistics.median(ratios):.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main()
