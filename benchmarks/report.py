"""What `fileflow report` costs over a month of 200 flows: time, memory, and a page that must open at once.

Usage: python benchmarks/report.py [--records 10000,30000,100000]

The records are those of benchmarks/history.py. The report is written twice: every record read, and from
the rollup that is left then. Chromium opens the page three times; the fastest is shown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from history import generate, in_memory

from tests.support.browser import LAPTOP, chromium

TIMES = """() => {
  const [navigation] = performance.getEntriesByType("navigation");
  const [painted] = performance.getEntriesByName("first-contentful-paint");
  return [painted.startTime / 1000, navigation.domContentLoadedEventEnd / 1000];
}"""


def measured(folder: Path, page: Path, rollup: Path) -> tuple[float, float, int]:
    """Write a page in a process of its own; return seconds, seconds of processor time, and peak memory in MB."""
    command = [
        sys.executable,
        "-m",
        "pytest_fileflow.cli",
        "report",
        str(folder),
        "-o",
        str(page),
        "--rollup",
        str(rollup),
    ]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("the report could not be written")
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss // 1024


def opened(page: Path) -> list[float]:
    """Return the seconds until something is seen, until all can be used, and from a click until a flow is open."""
    rounds = []
    with chromium() as browser:
        for _ in range(3):
            with browser.new_context(viewport=LAPTOP) as context:
                tab = context.new_page()
                tab.goto(page.as_uri())
                seconds = tab.evaluate(TIMES)
                start = time.perf_counter()
                tab.locator("summary").first.click()
                tab.locator("canvas").wait_for()
                rounds.append([*seconds, time.perf_counter() - start])
    return [min(each) for each in zip(*rounds, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", default="10000,30000,100000", metavar="N,…", help="how many (%(default)s)")
    for number in map(int, parser.parse_args().records.split(",")):
        with tempfile.TemporaryDirectory(prefix="fileflow-", dir=in_memory()) as name:
            folder, records, page = Path(name), Path(name, "records"), Path(name, "page.html")
            print(f"\n{generate(records, number, datetime.now(timezone.utc))} records")
            for what in ("every record read", "from the rollup"):
                seconds, processor, memory = measured(records, page, folder / "rollup")
                print(f"  {what:<20} {seconds:6.2f} s  ({processor:5.2f} s of processor)  {memory:4} MB")
            seen, usable, click = opened(page)
            size = page.stat().st_size / 1e6
            print(
                f"  the page: {size:.1f} MB; seen after {seen:.2f} s, all there "
                f"after {usable:.2f} s, a flow opens in {click:.2f} s"
            )


if __name__ == "__main__":
    main()
