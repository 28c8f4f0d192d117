"""What further checks cost: memory and time of 1 GiB through pgp, gzip and rows, and the speed of each check alone.

    python benchmarks/checks.py [SIZE]          # default 1GiB

The file is a CSV of this size, gzipped and encrypted, on disk; a process of its own streams it through
SHA-256 and the checks, as verifying does, and tells its peak resident memory and those of gpg and
its agent (aim: 200 MiB together). Then each check gets a file of its own kind, from memory, and beside
it plain SHA-256 the same bytes, in turns: what is printed is the median of five.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fileflow.checks import Chain, Expected, Sha256Check
from pytest_fileflow.checks.gnupg import Keyring
from pytest_fileflow.config.sizes import parse_size
from pytest_fileflow.model import Inside
from pytest_fileflow.payload import PATTERNS
from pytest_fileflow.registry import Registry, register_builtin_checks
from pytest_fileflow.secret import Credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

AIM_MIB = 200
CHUNK_BYTES = 256 * 1024
ALONE_BYTES = 64 * 1024 * 1024
ROUNDS = 5
RUN_ID = "0123456789abcdef"
CHECKS = Registry()
register_builtin_checks(CHECKS)


def blocks(pattern: str, size: int) -> Iterator[bytes]:
    return next(each for each in PATTERNS if each.name == pattern).blocks(RUN_ID, size)


class Party:
    """A receiver with a key."""

    def __init__(self) -> None:
        self.keyring = Keyring()
        self.gpg("--passphrase", "", "--quick-generate-key", "receiver", "future-default", "default", "0")
        self.key = self.gpg("--armor", "--export-secret-keys", "receiver").decode()

    def gpg(self, *arguments: str, data: bytes = b"") -> bytes:
        """Run GnuPG over a stream."""
        command, environment = self.keyring.command(*arguments), self.keyring.environment
        return subprocess.run(command, input=data, capture_output=True, check=True, env=environment).stdout


def seal(party: Party, pieces: Iterable[bytes], path: Path) -> Inside:
    """Write what is encrypted of the pieces, gzipped; return what lies in the encryption."""
    command = party.keyring.command("--encrypt", "--recipient", "receiver", "--compress-algo", "none")
    sha256, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, env=party.keyring.environment)
        for piece in pieces:
            process.stdin.write(piece)
            sha256.update(piece)
            size += len(piece)
        process.stdin.close()
        if process.wait():
            raise SystemExit("gpg failed")
    return Inside("pgp", size, sha256.hexdigest())


def gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1, mtime=0) as file:
        for piece in pieces:
            file.write(piece)
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


class Watch:
    """Remembers the peak memory of other processes that name a folder, in KiB by program."""

    def __init__(self, folder: str):
        self._folder = folder.encode()
        self.peaks: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            for place in Path("/proc").glob("[0-9]*"):
                self._look(place)

    def _look(self, place: Path) -> None:
        try:
            command = (place / "cmdline").read_bytes()
            if self._folder in command and int(place.name) != os.getpid():
                lines = (place / "status").read_text().splitlines()
                peak = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
                name = Path(command.split(b"\0")[0].decode()).name
                self.peaks[name] = max(peak, self.peaks.get(name, 0))
        except OSError:
            return  # it has ended

    def stop(self) -> None:
        """End the watch."""
        self._over.set()
        self._thread.join()


def expected(key: str, *inside: Inside, rows: int | None = None) -> Expected:
    return Expected(0, "", inside=inside, rows=rows, credentials=lambda secret: Credentials(key))


def measure(path: str, rows: str, *inside: str) -> None:
    """Run in a process that has done nothing else."""
    import resource

    files = [Inside(name, int(size), digest) for name, size, digest in zip(*[iter(inside)] * 3, strict=True)]
    wanted = expected(os.environ["BENCH_KEY"], *files, rows=int(rows))
    names = ("pgp", "gzip", "rows")
    options = {"pgp": {"secret_arn": "arn"}, "rows": {"format": "csv", "header": True}}
    sha256 = Sha256Check(wanted)
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    made = [(name, CHECKS.check_for(name)(options.get(name, {}), wanted)) for name in names]
    watch = Watch(made[0][1].home)
    with Chain(made, files) as chain, Path(path).open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha256.feed(chunk)
            chain.feed(chunk)
        results = chain.results()
    seconds = time.perf_counter() - start
    watch.stop()
    if not all(result.passed for result in results):
        raise SystemExit(str(results))
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peaks = {"own": own, **watch.peaks}
    told = ", ".join(f"{name} {peak / 1024:.1f}" for name, peak in sorted(peaks.items()))
    size = Path(path).stat().st_size
    peak = f"{sum(peaks.values()) / 1024:.1f} MiB ({told}; own before: {idle / 1024:.1f})"
    print(f"pgp+gzip+rows: peak {peak}, aim {AIM_MIB}")
    speed = f"{size / seconds / 1e6:.0f} MB/s of the outer file, {files[-1].size / seconds / 1e6:.0f} of the innermost"
    print(f"pgp+gzip+rows: {seconds:.1f} s, {speed}")


def whole(size: int) -> None:
    party = Party()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sealed.csv.gz.pgp")
        sha256, rows = hashlib.sha256(), -1

        def seen() -> Iterator[bytes]:
            nonlocal rows
            for block in blocks("csv", size):
                sha256.update(block)
                rows += block.count(b"\n")
                yield block

        within = seal(party, gzipped(seen()), path)
        inside = [within.wrapping, str(within.size), within.sha256, "gzip", str(size), sha256.hexdigest()]
        arguments = [str(path), str(rows), *inside]
        code = "import sys, checks; checks.measure(*sys.argv[1:])"
        environment = {**os.environ, "BENCH_KEY": party.key}
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, cwd=Path(__file__).parent, env=environment)
    party.keyring.close()


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("data.csv", data)
    return buffer.getvalue()


def seconds_of(reader: Any, chunks: list[bytes]) -> float:
    start = time.perf_counter()
    for chunk in chunks:
        reader.feed(chunk)
    if isinstance(reader, Chain):
        results = reader.results()
        if not all(result.passed for result in results):
            raise SystemExit(str(results))
    return time.perf_counter() - start


def alone() -> None:
    party = Party()
    csv, jsonl, records = (b"".join(blocks(name, ALONE_BYTES)) for name in ("csv", "jsonl", "fixedwidth"))
    noise = b"".join(blocks("random", ALONE_BYTES))
    columns = csv[: csv.index(b"\n")].decode().split(",")
    sealed = party.gpg("--encrypt", "--recipient", "receiver", "--compress-algo", "none", data=noise)
    rows: list[tuple[str, dict[str, Any], bytes]] = [
        ("rows", {"min": 1, "format": "lines"}, csv),
        ("rows", {"min": 1, "format": "csv"}, csv),
        ("csv_header", {"columns": columns}, csv),
        ("jsonl", {}, jsonl),
        ("fixedwidth", {"record_bytes": 64}, records),
        ("fixedwidth", {"width": 63}, records),
        ("encoding", {}, csv),
        ("encoding", {"newline": "lf", "final_newline": True}, csv),
        ("gzip", {}, gzip.compress(csv, 1)),
        ("zip", {}, zipped(csv)),
        ("pgp", {"secret_arn": "arn"}, sealed),
    ]
    for name, options, data in rows:
        chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
        mine, plain = [], []
        for _ in range(ROUNDS):
            plain.append(seconds_of(Sha256Check(Expected(0, "")), chunks))
            with Chain([(name, CHECKS.check_for(name)(options, expected(party.key)))]) as chain:
                mine.append(seconds_of(chain, chunks))
        speed, other = (len(data) / statistics.median(each) / 1e6 for each in (mine, plain))
        shown = " ".join(f"{key}={value}" for key, value in options.items() if key not in ("columns", "secret_arn"))
        print(f"{f'{name} {shown}':42} {speed:6.0f} MB/s, SHA-256 {other:6.0f} MB/s, ratio {other / speed:5.2f}")
    party.keyring.close()


if __name__ == "__main__":
    whole(parse_size(sys.argv[1] if len(sys.argv) > 1 else "1GiB"))
    alone()
