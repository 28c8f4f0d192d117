"""What collecting from a config store costs against collecting the same flows from local files.

    python benchmarks/config_stores.py [s3|table|index ...] [--flows N] [--rounds N] [--workers N ...]

2,000 flows of about 900 bytes, two items each (a contract and a size), from

- ``local``: a folder with as many files;
- ``s3 cold``: a bucket, with no local copy; ``s3 warm``: with one, and nothing changed; ``s3 1 %``: with one, and a
  hundredth of the objects changed meanwhile;
- ``table``: a DynamoDB table that is scanned; ``index``: one with an index on ``enabled``; each cold and warm.
  ``bare`` is the same scan by boto3 alone, once: what the server takes.

Whole sessions in processes of their own, from start until everything is collected, in one process and with ``-n 4``
(suites and marks are those of benchmarks/collection.py), alternating within each round. Printed are the medians of the
seconds, of the CPU seconds of the session and its workers, which no other process on the machine disturbs, and of
the rounds' ratios of each to ``local``; and the requests that the session's header tells.

The store is moto's server, in Python on the same machine. An object takes it some milliseconds of CPU, one after the
other, where AWS takes 10 to 30 ms of waiting and answers many at a time; a Scan takes it 10 ms an item, where AWS
answers 1 MB at once. So ``s3 cold`` and all of ``table`` and ``index`` say more about moto than about AWS: there look
at the CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests.support

import collection

from tests.support.s3server import MotoServer

if TYPE_CHECKING:
    from collections.abc import Callable

BUCKET = "bench-configs"
STORE = f"s3://{BUCKET}/config"
PATIENT = "from pytest_fileflow import clients\nclients.BRISK_READ_SECONDS = 60\n"  # moto is slow, and not down
PLAIN, INDEXED = "bench-flows", "bench-indexed"


class Spent(NamedTuple):
    """Seconds until everything was collected, and CPU seconds of the whole session."""

    wall: float
    cpu: float


def fill_bucket(client: Any, numbers: range, owner: str) -> None:
    def put(number: int) -> None:
        flow = {**collection.flow(number), "owner": owner}
        key = f"config/flows/{flow['flow_id']}.json"
        client.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(flow, indent=2).encode())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, numbers))


def fill_table(client: Any, name: str, flows: int, *, indexed: bool) -> None:
    from pytest_fileflow.stores.items import attributes_of

    attributes = [("flow_id", "S"), ("version", "N")] + ([("enabled", "S")] if indexed else [])
    key = [{"AttributeName": "enabled", "KeyType": "HASH"}]
    index = [{"IndexName": "by-enabled", "KeySchema": key, "Projection": {"ProjectionType": "ALL"}}]
    client.create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": "flow_id", "KeyType": "HASH"},
            {"AttributeName": "version", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": kind} for each, kind in attributes],
        BillingMode="PAY_PER_REQUEST",
        **({"GlobalSecondaryIndexes": index} if indexed else {}),
    )
    items = [attributes_of(collection.flow(number), 1, "true", in_config=False) for number in range(flows)]
    for start in range(0, flows, 25):
        requests = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
        client.batch_write_item(RequestItems={name: requests})


class Bench:
    """The suites in a folder, the stores on a server, and sessions over them."""

    def __init__(self, root: Path, server: MotoServer, flows: int, what: list[str]):
        import boto3

        self.root, self.server, self.flows = root, server, flows
        self.requests: dict[str, set[str]] = {}
        self.changes = 0
        os.environ.update(server.environment)
        self.s3 = boto3.client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        if "s3" in what:
            fill_bucket(self.s3, range(flows), "first")
        self.table = boto3.client("dynamodb")
        if "table" in what:
            fill_table(self.table, PLAIN, flows, indexed=False)
        if "index" in what:
            fill_table(self.table, INDEXED, flows, indexed=True)
        plugin = (
            f"{collection.ENDS_WHEN_COLLECTED}\nfrom pytest_fileflow import clients\nclients.BRISK_READ_SECONDS = 60\n"
        )
        (root / "ends_when_collected.py").write_text(plugin)  # moto is slow, and not down
        empty = root / "empty"
        empty.mkdir()
        (empty / "pytest.ini").write_text("[pytest]\n")

    def session(self, name: str, workers: int, *arguments: str) -> Spent:
        """Return what it takes from the start of a session until everything is collected."""
        mark = self.root / "mark"
        mark.unlink(missing_ok=True)
        spread = ["-n", str(workers)] if workers else []
        command = [*collection.PYTEST[:3], *collection.PYTEST[4:], "-p", "ends_when_collected", *arguments, *spread]
        variables = collection.environment(
            self.root, MARK=str(mark), PYTHONPATH=str(self.root), XDG_CACHE_HOME=str(self.root / "caches")
        )
        folder = self.root / ("json" if name == "local" else "empty")
        start = time.monotonic()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=True)
        for fetched, requests in re.findall(r"(\d+) read anew, (\d+) requests", done.stdout):
            self.requests.setdefault(name, set()).add(f"{fetched} read anew, {requests} requests")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Spent(float(mark.read_text()) - start, cpu)

    def cold(self, name: str, store: str, workers: int) -> Spent:
        """Measure a session without a local copy."""
        shutil.rmtree(self.root / "caches", ignore_errors=True)
        return self.session(name, workers, f"--fileflow-config={store}")

    def warm(self, name: str, store: str, workers: int) -> Spent:
        """Measure a session after another."""
        return self.session(name, workers, f"--fileflow-config={store}")

    def changed(self, workers: int) -> Spent:
        """Measure a session after a hundredth of the objects has changed."""
        self.changes += 1
        fill_bucket(self.s3, range(0, self.flows, 100), f"change {self.changes}")
        return self.warm("s3 1 %", STORE, workers)

    def bare(self) -> float:
        """Return the seconds that boto3 takes for a scan."""
        start = time.monotonic()
        for _ in self.table.get_paginator("scan").paginate(TableName=PLAIN):
            pass
        return time.monotonic() - start

    def measurements(self, workers: int) -> dict[str, Callable[[], Spent]]:
        """Return what can be measured, in the order in which it must be."""
        return {
            "local": lambda: self.session("local", workers, "flows"),
            "s3 cold": lambda: self.cold("s3 cold", STORE, workers),
            "s3 warm": lambda: self.warm("s3 warm", STORE, workers),
            "s3 1 %": lambda: self.changed(workers),
            "table cold": lambda: self.cold("table cold", f"dynamodb://{PLAIN}", workers),
            "table warm": lambda: self.warm("table warm", f"dynamodb://{PLAIN}", workers),
            "index cold": lambda: self.cold("index cold", f"dynamodb://{INDEXED}", workers),
            "index warm": lambda: self.warm("index warm", f"dynamodb://{INDEXED}", workers),
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", help="s3, table, index; by default all")
    parser.add_argument("--flows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, collection.WORKERS])
    options = parser.parse_args()
    what = ["local", *(options.what or ["s3", "table", "index"])]
    with tempfile.TemporaryDirectory() as folder, MotoServer() as server:
        root = Path(folder)
        collection.make_suites(root, options.flows, 0)
        bench = Bench(root, server, options.flows, what)
        bench.session("local", 0, "flows")  # compiles what is not compiled yet
        if "table" in what:
            print(f"bare scan {bench.bare():.2f} s")
        for workers in options.workers:
            named = {name: run for name, run in bench.measurements(workers).items() if name.split()[0] in what}
            rounds = [{name: measure() for name, measure in named.items()} for _ in range(options.rounds)]
            print(f"{options.flows} flows, {f'-n {workers}' if workers else 'one process'}", flush=True)
            for name in named:
                print(
                    f"  {name:<11} {line(rounds, name)}   {', '.join(sorted(bench.requests.get(name, ())))}", flush=True
                )


def line(rounds: list[dict[str, Spent]], name: str) -> str:
    """Return the medians of a row."""
    wall = statistics.median(each[name].wall for each in rounds)
    cpu = statistics.median(each[name].cpu for each in rounds)
    wall_ratio = statistics.median(each[name].wall / each["local"].wall for each in rounds)
    cpu_ratio = statistics.median(each[name].cpu / each["local"].cpu for each in rounds)
    return f"{wall:6.2f} s {wall_ratio:6.2f} × local   CPU {cpu:6.2f} s {cpu_ratio:5.2f} × local"


if __name__ == "__main__":
    main()
