"""An emulator of AWS that evaluates alarms, tells topics of them, and fires schedules, which moto does not.

It needs other versions of what the project needs, so it lives in an environment of its own:
``FILEFLOW_MINISTACK`` names its program, as in ``python -m venv E && E/bin/pip install ministack==1.5.33``.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = "FILEFLOW_MINISTACK"
REQUIRED = "FILEFLOW_REQUIRE_TOOLS"
START_SECONDS = 60


def program() -> str:
    """Return the path of ministack; skips, or fails where tools are required, the test where there is none."""
    named = os.environ.get(PROGRAM) or shutil.which("ministack")
    if named is None:
        _give_up("there is no ministack: install it in an environment of its own, and name its program")
    if not os.access(named, os.X_OK):
        _give_up(f"{named} cannot be run")
    return named


def _give_up(reason: str) -> NoReturn:
    text = f"NO ALARM AND NO SCHEDULE WAS FIRED: {reason} ({PROGRAM})"
    if os.environ.get(REQUIRED):
        pytest.fail(text)
    pytest.skip(text)


@contextmanager
def ministack(folder: Path) -> Iterator[str]:
    """Run it on a free port of this machine alone, with what it writes in a folder; give its address."""
    command = program()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    own = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": "123456789012",
        "STATE_DIR": str(folder / "state"),
        "S3_DATA_DIR": str(folder / "s3"),
        "TMPDIR": str(folder),
        "DOCKER_HOST": f"unix://{folder}/no-docker",
    }
    log = folder / "ministack.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [command], cwd=folder, env={**kept, **own}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        _await_health(process, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_health(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_ministack/health", timeout=5) as answer:
                json.load(answer)
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"ministack does not answer:\n{log.read_text(errors='replace')}")
