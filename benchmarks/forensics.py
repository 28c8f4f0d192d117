"""What naming the damage of a file costs: time against the plain verifying read, and memory over the idle process.

    python benchmarks/forensics.py [--size 256MB] [--pattern random]

The file comes from memory in chunks of 1 MiB, as fast as it can be made, so that no network hides the cost. Each
damage runs in a process of its own. The verifying read is SHA-256 over the same chunks; the ratio is time over time.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import time
import zlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from streaming import in_bytes
from verify_memory import status

from pytest_fileflow import payload
from pytest_fileflow.forensics import examine
from pytest_fileflow.forensics.evidence import Budget, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

PATTERNS = {pattern.name: pattern for pattern in payload.PATTERNS}
RUN, OTHER = "0123456789abcdef", "fedcba9876543210"
CHUNK = 1024 * 1024
AIM_MIB = 32


def of_run(pattern: str, run_id: str, size: int) -> Iterator[bytes]:
    with payload.open_payload(PATTERNS[pattern], run_id, size) as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def none(pattern: str, size: int) -> Iterator[bytes]:
    return of_run(pattern, RUN, size)


def first_bit(pattern: str, size: int) -> Iterator[bytes]:
    for index, chunk in enumerate(of_run(pattern, RUN, size)):
        yield chunk if index else bytes([chunk[0] ^ 1]) + chunk[1:]


def stale(pattern: str, size: int) -> Iterator[bytes]:
    return of_run(pattern, OTHER, size)


def noise(pattern: str, size: int) -> Iterator[bytes]:
    return (chunk.translate(bytes(255 - byte for byte in range(256))) for chunk in of_run(pattern, RUN, size))


def zeros(pattern: str, size: int) -> Iterator[bytes]:
    return (bytes(len(chunk)) for chunk in of_run(pattern, RUN, size))


def swap(pattern: str, size: int) -> Iterator[bytes]:
    with payload.open_payload(PATTERNS[pattern], RUN, size) as stream:
        for index in range(size // CHUNK):
            stream.seek({0: size // CHUNK - 1, size // CHUNK - 1: 0}.get(index, index) * CHUNK)
            yield stream.read(CHUNK)


def latin1_as_utf8(pattern: str, size: int) -> Iterator[bytes]:
    return (chunk.decode("latin-1").encode() for chunk in of_run(pattern, RUN, size))


def zlib_packed(pattern: str, size: int) -> Iterator[bytes]:
    packer = zlib.compressobj(1)
    yield from (packer.compress(chunk) for chunk in of_run(pattern, RUN, size))
    yield packer.flush()


DAMAGES = {made.__name__: made for made in (none, first_bit, stale, noise, zeros, swap, latin1_as_utf8, zlib_packed)}


def hashed(damage: str, pattern: str, size: int) -> tuple[float, int]:
    sha256, length, started = hashlib.sha256(), 0, time.perf_counter()
    for chunk in DAMAGES[damage](pattern, size):
        sha256.update(chunk)
        length += len(chunk)
    return time.perf_counter() - started, length


def measure(damage: str, pattern: str, size: int) -> None:
    """Run in a process that has done nothing else."""
    plain, length = hashed(damage, pattern, size)
    budget = Budget(time.monotonic, 60)

    def source(run_id: str, bytes_: int) -> Source:
        return Source(partial(payload.open_payload, PATTERNS[pattern], run_id, bytes_), bytes_, budget)

    idle = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    started = time.perf_counter()
    found = examine(DAMAGES[damage](pattern, size), length, source(RUN, size), {OTHER: source(OTHER, length)})
    spent = time.perf_counter() - started
    peak = status("VmHWM") - idle
    named = found.shape.name if found.shape else "no shape"
    print(
        f"{damage:<15} {named:<12} {spent:6.2f} s, {spent / plain:5.2f} of the verifying read's {plain:.2f} s; "
        f"{peak:5.1f} MiB over {idle:.0f} of idle, aim {AIM_MIB}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=in_bytes, default=256 * CHUNK)
    parser.add_argument("--pattern", choices=PATTERNS, default="random")
    wanted = parser.parse_args()
    for damage in DAMAGES:
        code = f"import forensics; forensics.measure({damage!r}, {wanted.pattern!r}, {wanted.size})"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)


if __name__ == "__main__":
    main()
