"""What `fileflow history` costs over a month of 200 flows: time and memory, without and with its rollup.

    python benchmarks/history.py [--records 10000,30000,100000]

Each flow runs daily: its contract, two sizes and a negative case, and canaries in between. The records
lie in memory, where the machine has a file system for that. Each measurement is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from stores import in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOWS = 200
DAYS = 30
CASES = (
    ("contract", "contract"),
    ("smoke-4KiB", "transfer"),
    ("typical-5MiB", "transfer"),
    ("rejects-wrong_key", "rejects"),
)
CAUSES = ("missing.not_picked_up", "late", "partial.truncated", "auth.rejected", "access.denied", "content.corrupt")
PARTNERS = ("acme", "borealis", "cobalt", "dunes", "eastwind", "fjord", "granite", "harbour", "inkwell", "juniper")
WHATS = ("orders", "invoices", "claims", "payroll", "positions", "prices", "catalogue", "returns", "stock", "ledger")


def generate(folder: Path, number: int, now: datetime) -> int:
    """Write records; some flows fail now, some once did, and now and then the tester itself was at fault."""
    chance = random.Random(5)
    daily = max(1, round(number / FLOWS / DAYS))
    canaries = max(0, daily - len(CASES))
    cases = [*CASES, *[("canary", "canary")] * canaries][:daily]
    written = 0
    for age in range(DAYS):
        for flow in range(FLOWS):
            for place, case in enumerate(cases):
                hours = 24 * age + (0 if place < len(CASES) else 20 * (place - len(CASES) + 1) / (canaries + 1))
                began = now - timedelta(hours=hours, minutes=chance.uniform(1, 20))
                _write(folder, _record(chance, flow, age, case, began))
                written += 1
    return written


def generate_day(folder: Path, now: datetime) -> None:
    """Write one more run of each flow and case, as another morning would."""
    chance = random.Random(6)
    for flow in range(FLOWS):
        for case in CASES:
            _write(folder, _record(chance, flow, 0, case, now))


def _record(chance: random.Random, flow: int, age: int, case: tuple[str, str], began: datetime) -> dict:
    from tests.support.records import record

    name = f"{PARTNERS[flow % 10]}_{WHATS[flow // 10 % 10]}_{'to_s3' if flow < 100 else 'to_sftp'}"
    test, kind = case
    usual = 2.0 + flow % 17 * 3
    latency = chance.lognormvariate(0, 0.3) * usual if kind == "transfer" else None
    fields: dict[str, object] = {
        "run_id": f"{chance.getrandbits(64):016x}",
        "case": test,
        "kind": kind,
        "owner": f"team-{flow % 7}",
        "latency_seconds": latency and round(latency, 3),
        "evidence": {"lambda_request_id": "b4c0f5a6-8d7e-4d9b-9d0a-2f6f0a1c3b5d", "log_tail": "START RequestId\n" * 15},
    }
    fails_now = flow % 40 == 7 and age <= flow % 5 and kind == "transfer"
    if fails_now or chance.random() < 0.003:
        fields |= {"cause": CAUSES[flow % len(CAUSES)], "latency_seconds": None}
        return record(name, began, "failed", **fields)
    if chance.random() < 0.001:
        return record(name, began, "error", **{**fields, "cause": "tester.credentials", "latency_seconds": None})
    return record(name, began, **fields)


def _write(folder: Path, record: dict) -> None:
    day = record["timeline"]["begun"][:10]
    path = folder / "results" / f"dt={day}" / f"flow_id={record['flow_id']}" / f"run_id={record['run_id']}" / "run.json"
    path.parent.mkdir(parents=True)
    path.write_text(f"{json.dumps(record)}\n", encoding="utf-8")


def measured(folder: Path, *more: str) -> tuple[float, float, int]:
    """Read a folder in a process of its own; return seconds, seconds of processor time, and peak memory in MB."""
    command = [sys.executable, "-m", "pytest_fileflow.cli", "history", str(folder), *more]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1])
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):  # some flows fail, on purpose
        raise SystemExit("the history could not be read")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss // 1024


def rows(folder: Path, records: Path, now: datetime) -> Iterator[tuple[str, tuple[float, float, int]]]:
    """Yield what was done, and what it cost."""
    rollup = f"--rollup={folder / 'rollup'}"
    measured(records, "--no-rollup", "--since=1h")  # once, so that modules are compiled
    yield "every record read, no rollup", measured(records, "--no-rollup")
    yield "every record read, rollup written", measured(records, rollup)
    yield "from the rollup, nothing new", measured(records, rollup)
    generate_day(records, now)
    yield f"from the rollup, {FLOWS * len(CASES)} new records", measured(records, rollup)
    yield "one flow of all, with its last runs", measured(records, rollup, "--flow=acme_orders_to_s3")
    yield "the same as JSON, all flows", measured(records, rollup, "--json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", default="10000,30000,100000", metavar="N,…", help="how many (%(default)s)")
    numbers = [int(number) for number in parser.parse_args().records.split(",")]
    now = datetime.now(timezone.utc)
    for number in numbers:
        with tempfile.TemporaryDirectory(prefix="fileflow-", dir=in_memory()) as name:
            folder, records = Path(name), Path(name, "records")
            made = generate(records, number, now)
            size = sum(path.stat().st_size for path in records.rglob("run.json"))
            print(f"\n{made} records of {FLOWS} flows in {DAYS} days, {size / 1e6:.0f} MB", flush=True)
            for what, (seconds, processor, memory) in rows(folder, records, now):
                print(f"  {what:<44} {seconds:6.2f} s  ({processor:5.2f} s of processor)  {memory:4} MB", flush=True)
            kept = sum(path.stat().st_size for path in Path(folder, "rollup").rglob("*.parquet"))
            print(f"  {'the rollup':<44} {kept / 1e6:6.2f} MB", flush=True)


if __name__ == "__main__":
    main()
