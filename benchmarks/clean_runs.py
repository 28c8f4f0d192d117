"""Whether good transfers pass: many clean runs in a row, over all four directions, under load.

    python benchmarks/clean_runs.py                # 200 runs, eight at a time
    python benchmarks/clean_runs.py --runs 1000

Real servers: OpenSSH's sshd, an S3 API over HTTP, a Lambda API. A third of the transfers write slowly, under the final
name; others go through a proxy that answers late, or are invoked synchronously. Sizes are 1 MiB. Every run that does
not pass is a false failure, and is shown.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests.support

from pytest_fileflow.faults import Fault
from tests.support.troubled import DIRECTIONS, Troubled

WAYS = (
    (None, "Event"),
    (Fault("slow_writer"), "Event"),
    (None, "RequestResponse"),
    (Fault("slow_network", "target"), "Event"),
    (Fault("slow_writer"), "RequestResponse"),
    (Fault("slow_network", "source"), "Event"),
)
SLO_SECONDS = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--at-a-time", type=int, default=8)
    given = parser.parse_args()
    kinds = list(islice(cycle((direction, *way) for way in WAYS for direction in DIRECTIONS), given.runs))
    with tempfile.TemporaryDirectory(prefix="fileflow-benchmark-") as name, Troubled() as system:
        folder = Path(name)
        (folder / "flows").mkdir()
        for number, (direction, fault, invocation) in enumerate(kinds):
            flow = system.flow(direction, fault, invocation=invocation, suffix=f"--{number:04}")
            flow["validation"] = {"expect_within_seconds": SLO_SECONDS}  # and the defaults: SFTP must rest for 2 s
            (folder / "flows" / f"{number:04}.json").write_text(json.dumps(flow))
        command = [sys.executable, "-m", "pytest", "flows", "-q", "-m", "not contract", "--fileflow-results=results"]
        command += [f"--fileflow-concurrency={given.at_a_time}", f"--fileflow-max-in-flight={given.at_a_time}"]
        began = time.monotonic()
        done = subprocess.run(
            command, check=False, cwd=folder, env={**os.environ, **system.environment}, capture_output=True, text=True
        )
        took = time.monotonic() - began
        records = [json.loads(path.read_text()) for path in folder.glob("results/results/*/*/*/run.json")]
    outcomes = collections.Counter((record["direction"], record["outcome"]) for record in records)
    for (direction, outcome), number in sorted(outcomes.items()):
        print(f"{direction:<10} {outcome:<7} {number}")
    wrong = [record for record in records if record["outcome"] != "passed"]
    for record in wrong:
        print(f"{record['flow_id']}: {record['cause']}: {record['reason']}")
    print(f"{len(records)} runs in {took:.0f} s, {len(wrong)} false failures")
    if len(records) != given.runs:
        raise SystemExit(done.stdout[-5000:] + done.stderr[-2000:])
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
