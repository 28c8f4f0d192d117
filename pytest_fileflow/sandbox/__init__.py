"""The handle of the sandbox: AWS and SFTP on this machine, in a process of their own.

::

    with Sandbox.start() as sandbox:
        sandbox.provision(flows)
        os.environ.update(sandbox.environment())

It takes the extra: ``pip install "pytest-fileflow[sandbox]"``. Nothing heavy is imported here; moto,
asyncssh and awslambdaric are loaded by the process itself (``__main__``).
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import secrets
import select
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from pytest_fileflow.errors import ConfigInvalid, NameNotResolved, SandboxFailed
from pytest_fileflow.sandbox.calls import RecordedCall
from pytest_fileflow.sandbox.places import sftp_place
from pytest_fileflow.sandbox.spec import EarlierFile, plain_flow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_fileflow.model import Flow
    from pytest_fileflow.sandbox.places import Place

__all__ = ["EarlierFile", "RecordedCall", "Sandbox"]

LOG_FILE = "sandbox.log"
_PREFIX = "fileflow-sandbox-"
_SCHEME = "fileflow-sandbox"
_REGION = "us-east-1"
_STOP_SECONDS = 10.0
_CALL_SECONDS = 120.0

_NEEDED = ("asyncssh", "awslambdaric", "moto", "flask", "flask_cors", "werkzeug")
_KEPT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "PYTHONHOME",
    "SYSTEMROOT",
)


@dataclass(frozen=True)
class _Where:
    """Where a sandbox is: its port, the token that its private API asks for, its directory."""

    port: int
    directory: Path
    token: str = field(repr=False)


class Sandbox:
    """A running sandbox. All methods may be called from any thread.

    Only the handle that :meth:`start` returned ends the sandbox; one from :meth:`connect` just
    uses it. When the process that started it ends, however it ends, the sandbox does too.
    """

    unset = ("AWS_",)
    """Prefixes of the variables to remove from an environment before :meth:`environment` is added."""

    def __init__(self, where: _Where, process: subprocess.Popen[bytes] | None = None) -> None:
        self._where = where
        self._process = process
        self._servers: dict[tuple[str, int], tuple[int, str]] = {}
        self._faulty: dict[Place, tuple[int, str]] = {}
        self._stopping = threading.Lock()

    def __repr__(self) -> str:
        return f"<Sandbox {self.endpoint_url}>"

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @classmethod
    def start(cls, timeout: float = 30) -> Sandbox:
        """Start a sandbox and return once it answers; ``timeout`` is seconds.

        Raises SandboxFailed with the sandbox's own words, or the command that installs what is
        missing.
        """
        check_installed()
        _remove_orphans()
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        process = None
        try:
            _fill(directory)
            process = _spawn(directory)
            where = _Where(0, directory, secrets.token_urlsafe(24))
            port = _introduce(process, where, timeout)
        except BaseException:  # Ctrl-C too: nobody else knows of the process and its folder
            if process is not None:
                _end(process, 0)
            _remove(directory)
            raise
        return cls(_Where(port, directory, where.token), process)

    @classmethod
    def connect(cls, address: str) -> Sandbox:
        """Return a handle for a sandbox that another process has started, from its :attr:`address`.

        Raises SandboxFailed where it does not answer.
        """
        parts = urlsplit(address)
        if parts.scheme != _SCHEME or parts.port is None or parts.username is None:
            raise SandboxFailed("The sandbox's address is not one that Sandbox.address has given out.")
        sandbox = cls(_Where(parts.port, Path(unquote(parts.path)), parts.username))
        sandbox._call("ping", None)
        return sandbox

    @property
    def address(self) -> str:
        """Return what :meth:`connect` needs, as one text. It gives full control: keep it out of logs."""
        return address_of(self._where.port, self._where.token, self._where.directory)

    @property
    def endpoint_url(self) -> str:
        """Return the URL of all AWS services."""
        return f"http://127.0.0.1:{self._where.port}"

    @property
    def is_running(self) -> bool:
        """Return whether the process that this handle has started still runs."""
        return self._process is not None and self._process.poll() is None

    def environment(self) -> dict[str, str]:
        """Return the variables that point any AWS SDK at the sandbox, and at no real account."""
        directory = self._where.directory
        local = ",".join(filter(None, (os.environ.get("NO_PROXY", os.environ.get("no_proxy")), "127.0.0.1,localhost")))
        return {
            **_aws_variables(directory),
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "NO_PROXY": local,
            "no_proxy": local,
        }

    def provision(self, flows: Iterable[Flow], earlier: Mapping[str, Sequence[EarlierFile]] | None = None) -> None:
        """Make everything that flows name, and switch their faults on; the same flow again changes nothing.

        ``earlier`` holds, by flow id, files of earlier runs that a flow may deliver as stale.

        Raises ConfigInvalid, after making all the others, where a flow names something that
        cannot be made, or has a fault that is not possible in it.
        """
        told = self._call("flows", [plain_flow(flow, (earlier or {}).get(flow.flow_id, ())) for flow in flows])
        self._learn(told)
        if told["problems"]:
            reasons = (f"{flow_id}: {reason}" for flow_id, reason in told["problems"].items())
            raise ConfigInvalid(f"The sandbox cannot make what these flows name: {'; '.join(reasons)}.")

    def route(self, host: str, port: int, username: str = "", directory: str = "") -> tuple[str, int, str]:
        """Return where an SFTP server of the configs really is: address, port, ``SHA256:…`` of its host key.

        A user's directory with faults of its own is reached at another port.
        Raises NameNotResolved where no provisioned flow names that server.
        """
        if (host, port) not in self._servers:
            self._learn(self._call("servers", None))
        faulty = self._faulty.get(sftp_place(host, port, username, directory)) if username else None
        if faulty is not None:
            return ("127.0.0.1", *faulty)
        if (host, port) not in self._servers:
            raise NameNotResolved(f"The sandbox has no SFTP server {host}:{port}: no flow given to it names one.")
        return ("127.0.0.1", *self._servers[host, port])

    def look_again(self) -> None:
        """Have :meth:`route` ask anew: the flows may have other faults by now, and so other ports."""
        self._servers.clear()

    def file(self, name: str) -> Path:
        """Return a new path for a file that is to live as long as the sandbox."""
        return self._where.directory / "tmp" / name

    def webhook_posts(self) -> list[dict[str, str]]:
        """Return what was posted to the URL that the sandbox's webhook secrets hold, oldest first."""
        return list(self._call("webhooks", None))

    def recorded_calls(self) -> list[RecordedCall]:
        """Return the AWS calls that deployed functions have made so far, oldest first."""
        return [RecordedCall.parse(told) for told in self._call("recorded_calls", None)]

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of the sandbox's log, functions' logs included."""
        return _tail(self._where.directory, lines)

    def stop(self) -> None:
        """End the sandbox and remove all it has written. A handle from :meth:`connect` does nothing."""
        with self._stopping:
            if self._process is None:
                return
            process, self._process = self._process, None
            _end(process, _STOP_SECONDS)
            _remove(self._where.directory)

    def _learn(self, told: Mapping[str, Any]) -> None:
        servers = told["servers"]
        self._servers.update({(host, port): (real, fingerprint) for host, port, real, fingerprint in servers})
        self._faulty = {tuple(place): (real, fingerprint) for place, real, fingerprint in told["faulty"]}

    def _call(self, name: str, question: object) -> Any:
        """Ask the process through its private API."""
        connection = HTTPConnection("127.0.0.1", self._where.port, timeout=_CALL_SECONDS)
        headers = {"Content-Type": "application/json", "X-Fileflow-Token": self._where.token}
        try:
            connection.request("POST", f"/_fileflow/{name}", json.dumps(question, default=dict), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, HTTPException, ValueError) as error:
            raise SandboxFailed(f"The sandbox at {self.endpoint_url} does not answer: {error}.") from error
        finally:
            connection.close()
        if response.status != 200:  # noqa: PLR2004 - HTTP's own
            raise SandboxFailed(f"The sandbox could not do what was asked ({name}): {answer['error']}.")
        return answer


def address_of(port: int, token: str, directory: Path) -> str:
    """Return a sandbox's address."""
    return f"{_SCHEME}://{token}@127.0.0.1:{port}{quote(str(directory))}"


def check_installed() -> None:
    """Raise SandboxFailed where what the sandbox needs is not installed."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SandboxFailed(
            f'The sandbox needs {", ".join(missing)}, not installed here: run pip install "pytest-fileflow[sandbox]".'
        )


def _aws_variables(directory: Path) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "FILEFLOWSANDBOX",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_DEFAULT_REGION": _REGION,
        "AWS_REGION": _REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_CONFIG_FILE": str(directory / "aws" / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(directory / "aws" / "credentials"),
    }


def _fill(directory: Path) -> None:
    for name in ("aws", "tmp", "sftp"):
        (directory / name).mkdir()
    for name in ("config", "credentials"):
        (directory / "aws" / name).touch()


def _child_environment(directory: Path) -> dict[str, str]:
    """Return a new environment: what a Python process needs, and nothing that leads to an account."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {
        **kept,
        **_aws_variables(directory),
        "HOME": str(directory),
        "TMPDIR": str(directory / "tmp"),
        "PYTHONPATH": os.pathsep.join(_python_path()),
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _python_path() -> list[str]:
    """Return the starter's own search path for modules, with this package's folder where it is not on it."""
    given = [str(Path(part).resolve()) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    here = str(Path(__file__).resolve().parents[2])
    installed = [str(Path(part).resolve()) for part in (*site.getsitepackages(), site.getusersitepackages())]
    return given if here in (*given, *installed) else [*given, here]


def _spawn(directory: Path) -> subprocess.Popen[bytes]:
    with (directory / LOG_FILE).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest_fileflow.sandbox"],
            # Not the caller's folder: Python would look for modules there first.
            cwd=directory,
            env=_child_environment(directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )


def _introduce(process: subprocess.Popen[bytes], where: _Where, timeout: float) -> int:
    """Tell the process who it works for, and return the port that it says it listens on."""
    settings = {"token": where.token, "directory": str(where.directory), "starter": os.getpid()}
    if process.stdin is None or process.stdout is None:
        raise SandboxFailed("The sandbox was started without pipes to talk through.")
    with contextlib.suppress(BrokenPipeError):  # it is gone already, and its log says why
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        process.stdin.flush()
    with process.stdout as words:
        line = _read_line(words, timeout)
    try:
        told = json.loads(line)
    except ValueError:
        told = {"error": _tail(where.directory, 15) or f"nothing was heard of it within {timeout:g} s"}
    if "port" not in told:
        raise SandboxFailed(f"The sandbox did not start: {told.get('error')}")
    return int(told["port"])


def _read_line(stream: IO[bytes], timeout: float) -> bytes:
    """Read up to a newline, the end of the stream, or the deadline."""
    deadline, line = time.monotonic() + timeout, b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([stream], [], [], left)[0]:
            break
        part = os.read(stream.fileno(), 4096)
        if not part:
            break
        line += part
    return line


def _end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Ask the process to end by closing its input; kill it and its children if it does not in time."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(directory: Path, lines: int) -> str:
    try:
        text = (directory / LOG_FILE).read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _remove(directory: Path) -> None:
    """Remove a sandbox's directory; functions of a killed sandbox may still be writing there for a moment."""
    deadline = time.monotonic() + _STOP_SECONDS
    while directory.exists() and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists():
            time.sleep(0.02)


def hold_lock(directory: Path) -> IO[bytes]:
    """Mark a directory as in use for as long as the returned file stays open."""
    fresh = directory / "lock.new"
    lock = fresh.open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fresh.rename(directory / "lock")  # only now: who sees the file can trust it
    return lock


def _remove_orphans() -> None:
    """Remove the directories of sandboxes that were killed together with their starters."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/lock"):
        with contextlib.suppress(OSError), lock.open("rb") as held:  # not ours to open, or in use
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if lock.parent.lstat().st_uid == os.getuid():
                shutil.rmtree(lock.parent, ignore_errors=True)
