"""What a Lambda function's cold start costs: importing each step from the unpacked zip, and what its first call needs.

    python3.13 benchmarks/cold_start.py [--rounds N] [--wheel WHEEL]

Builds the zip for this machine and Python as deploy/package.py does, plain and with bytecode, and imports each module
in a fresh process that sees nothing else and writes nothing, as in Lambda. Prints the least and the median of the
rounds as a multiple of a bare ``python -c pass`` of the same rounds, in milliseconds, and the process's peak memory.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from pytest_fileflow.aws import STEPS

SCRIPT = Path(__file__).parents[1] / "deploy" / "package.py"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
MACHINE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
BARE = "pass"
S3 = "import boto3; boto3.Session(region_name='eu-central-1').client('s3')"
# Imported by the first call of a handler, after it was loaded.
FIRST_CALL = {
    "boto3, and a client for S3": S3,
    "paramiko": "import paramiko",
    "the schema, its validator and YAML": "import jsonschema_rs, yaml; from pytest_fileflow.config import flow_schema",
    "all of these": f"{S3}; import paramiko, jsonschema_rs, yaml; from pytest_fileflow.config import flow_schema",
}


def build(wheel: list[str], folder: Path, *options: str) -> Path:
    archive = folder / "functions.zip"
    command = [
        sys.executable,
        str(SCRIPT),
        "--arch",
        MACHINE,
        "--python",
        HERE,
        "--output",
        str(archive),
        *wheel,
        *options,
    ]
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    return archive


def measure(task: Path, program: str) -> tuple[float, int]:
    """Return the seconds of a process from start to end, and its peak memory in KiB."""
    code = f"import sys; sys.path.insert(0, {str(task)!r}); {program}"
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-I", "-S", "-B", "-c", code])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"this cannot be imported from the zip alone: {program}")
    return time.perf_counter() - began, usage.ru_maxrss


def table(task: Path, programs: dict[str, str], rounds: int) -> None:
    measured: dict[str, list[tuple[float, int]]] = {name: [] for name in programs}
    for _ in range(rounds):  # one after the other, so that a slow moment is everybody's
        for name, program in programs.items():
            measured[name].append(measure(task, program))
    bare = statistics.median(seconds for seconds, _ in measured["python -c pass"])
    print(f"{'':36}{'least':>9}{'median':>9}{'median ms':>11}{'peak MiB':>10}")
    for name, runs in measured.items():
        seconds = [each for each, _ in runs]
        least, median, peak = min(seconds), statistics.median(seconds), max(kib for _, kib in runs) / 1024
        print(f"{name:36}{least / bare:>8.1f}x{median / bare:>8.1f}x{median * 1000:>11.0f}{peak:>10.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--wheel", help="the project's wheel, where this is no checkout")
    options = parser.parse_args()
    programs = {"python -c pass": BARE, **{step: f"import pytest_fileflow.aws.{step}" for step in STEPS}, **FIRST_CALL}
    for title, more in (("without bytecode", ()), ("with bytecode", ("--compile",))):
        with tempfile.TemporaryDirectory() as folder:
            print(f"\n{title}, {options.rounds} rounds, Python {HERE}")
            archive = build(["--wheel", options.wheel] if options.wheel else [], Path(folder), *more)
            task = Path(folder, "task")
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(task)
            table(task, programs, options.rounds)


if __name__ == "__main__":
    main()
