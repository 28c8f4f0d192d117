"""Peak memory of a pytest process that moves and verifies one large file in each direction.

    python benchmarks/memory.py [SIZE]          # default 1GiB

Runs one flow a direction against the sandbox, each in a pytest process of its own, and prints that process's peak
resident memory beside that of the same process with a 1 KiB file, and the latency.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CONFTEST = """
import resource

def pytest_unconfigure(config):
    print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)  # KiB on Linux
"""
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:{}"


def s3(bucket: str) -> dict[str, str]:
    return {"type": "S3", "bucket": bucket}


def sftp(host: str) -> dict[str, str]:
    return {"type": "SFTP", "host": host, "username": "user", "dir": "/data", "secret_arn": SECRET.format(host)}


DIRECTIONS = {
    "S3->S3": (s3("source-bucket"), s3("target-bucket")),
    "S3->SFTP": (s3("source-bucket"), sftp("target.example")),
    "SFTP->S3": (sftp("source.example"), s3("target-bucket")),
    "SFTP->SFTP": (sftp("source.example"), sftp("target.example")),
}


def run(folder: Path, direction: str, size: str) -> tuple[int, str]:
    source, target = DIRECTIONS[direction]
    flow = {
        "flow_id": "large",
        "source": source,
        "target": target,
        "transfer": {"lambda_arn": "arn:aws:lambda:us-east-1:123456789012:function:mover", "payload": {}},
        "validation": {"expect_within_seconds": 900},
        "testdata": {"size_bytes": size},
    }
    (folder / "flow.json").write_text(json.dumps(flow))
    (folder / "conftest.py").write_text(CONFTEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "flow.json", "--fileflow-sandbox"]
    output = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    latency = re.search(r"passed\s+large.*?([\d.]+ s)", output)
    peak = re.search(r"PEAK (\d+)", output)
    if latency is None or peak is None:
        raise SystemExit(output)
    return int(peak.group(1)), latency.group(1)


def main() -> None:
    size = sys.argv[1] if len(sys.argv) > 1 else "1GiB"
    with tempfile.TemporaryDirectory() as folder:
        for direction in DIRECTIONS:
            small, _ = run(Path(folder), direction, "1KiB")
            large, latency = run(Path(folder), direction, size)
            print(
                f"{direction:<10} peak {large} MiB with {size} ({small} MiB with 1 KiB), latency {latency}", flush=True
            )


if __name__ == "__main__":
    main()
