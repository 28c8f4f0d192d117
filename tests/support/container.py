"""What the Dockerfile says, read as a builder reads it, and its command run as in a container, without an engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCKERFILE = DEPLOY / "container" / "Dockerfile"

CONFIGS, RESULTS, SOURCE, TARGET = "example-configs", "example-results", "example-source", "example-target"
PLACES = (f"--fileflow-config=s3://{CONFIGS}/team", f"--fileflow-results=s3://{RESULTS}/daily")
FLOW = {
    "flow_id": "acme",
    "source": {"type": "S3", "bucket": SOURCE, "prefix": "out"},
    "target": {"type": "S3", "bucket": TARGET, "prefix": "in"},
    "transfer": {"mode": "event"},
    "validation": {"expect_within_seconds": 60},
    "testdata": {"size_bytes": 4096},
}


def instructions() -> list[tuple[str, str]]:
    """Return the instructions in order, continued lines joined and comments left out."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    split = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(words[0], words[1]) for words in split]


def last_stage() -> list[tuple[str, str]]:
    """Return the instructions of the image itself."""
    every = instructions()
    start = max(number for number, (name, _) in enumerate(every) if name == "FROM")
    return every[start + 1 :]


def environment() -> dict[str, str]:
    """Return the variables that the image sets."""
    words = (word for name, text in last_stage() if name == "ENV" for word in shlex.split(text))
    return dict(word.split("=", 1) for word in words)


def entry_point() -> list[str]:
    """Return the command that a container's own arguments are added to."""
    (told,) = (text for name, text in last_stage() if name == "ENTRYPOINT")
    command: list[str] = json.loads(told)
    return command


def copied() -> list[str]:
    """Return what is taken from the checkout."""
    given = (
        shlex.split(text)[:-1] for name, text in instructions() if name == "COPY" and not text.startswith("--from")
    )
    return [source for sources in given for source in sources if not source.startswith("--")]


def start(folder: Path, variables: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
    """Start the image's command, with its suite, its environment and its volumes; variables say where AWS is."""
    suite, temporary = folder / "suite", folder / "tmp"
    (suite / "fileflow-results").mkdir(parents=True)
    temporary.mkdir()
    shutil.copy(DOCKERFILE.with_name("pytest.ini"), suite)
    suite.chmod(0o555)
    program, *more = entry_point()
    own = {
        **{name: value.replace("/tmp", str(temporary)) for name, value in environment().items()},
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "TMPDIR": str(temporary),
        **variables,
        **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
    }
    command = [str(Path(sys.executable).with_name(program)), *more, *arguments]
    return subprocess.Popen(
        command, cwd=suite, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def make_buckets() -> None:
    """Make the buckets of the flow, its config store and its results."""
    for name in (CONFIGS, RESULTS, SOURCE, TARGET):
        boto3.client("s3").create_bucket(Bucket=name)


def store(**changes: Any) -> None:
    """Put the flow into the config store."""
    body = json.dumps({**FLOW, **changes}).encode()
    boto3.client("s3").put_object(Bucket=CONFIGS, Key="team/flows/acme.json", Body=body)


def keys(bucket: str) -> list[str]:
    """Return what lies in a bucket."""
    return [each["Key"] for each in boto3.client("s3").list_objects_v2(Bucket=bucket).get("Contents", ())]


def transfers() -> list[dict[str, Any]]:
    """Return the records of the runs that sent a file."""
    names = [key for key in keys(RESULTS) if key.endswith("/run.json")]
    every = [json.load(boto3.client("s3").get_object(Bucket=RESULTS, Key=key)["Body"]) for key in names]
    return [record for record in every if record["kind"] == "transfer"]


@contextmanager
def transfer() -> Iterator[None]:
    """Copy each file that comes into the source once, as the transfer under test would."""
    stop, s3 = threading.Event(), boto3.client("s3")

    def move() -> None:
        moved: set[str] = set()
        while not stop.wait(0.2):
            for key in set(keys(SOURCE)) - moved:
                name = key.rpartition("/")[2]
                if not name.endswith((".sha256", ".json")):
                    body = s3.get_object(Bucket=SOURCE, Key=key)["Body"].read()
                    s3.put_object(Bucket=TARGET, Key=f"in/{name}", Body=body)
                moved.add(key)

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
