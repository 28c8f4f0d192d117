"""How much importing the plugin adds to a pytest process that has no flows.

    python benchmarks/import_cost.py

Pairs a fresh interpreter that imports pytest with one that imports the plugin as well, and prints
the median of the differences in milliseconds and as a ratio.
"""

import statistics
import subprocess
import sys

ROUNDS = 30
PROGRAM = """
import pytest, time
import concurrent.futures, dataclasses, json, logging, os, pathlib, signal, threading  # what a pytest run has anyway
start = time.perf_counter()
{body}
print(time.perf_counter() - start)
"""


def seconds(body: str) -> float:
    command = [sys.executable, "-c", PROGRAM.format(body=body)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    pytest_alone = seconds_of_pytest()
    plugin = [seconds("import pytest_fileflow.plugin") for _ in range(ROUNDS)]
    median = statistics.median(plugin)
    print(f"import pytest: {pytest_alone * 1000:.1f} ms")
    print(f"import pytest_fileflow.plugin on top: median {median * 1000:.2f} ms, worst {max(plugin) * 1000:.2f} ms")
    print(f"ratio: {median / pytest_alone:.3f}")


def seconds_of_pytest() -> float:
    program = "import time; start = time.perf_counter(); import pytest; print(time.perf_counter() - start)"
    command = [sys.executable, "-c", program]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(ROUNDS)]
    return statistics.median(map(float, runs))


if __name__ == "__main__":
    main()
