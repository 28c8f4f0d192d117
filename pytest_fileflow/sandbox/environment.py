"""One execution environment of a function: a process of awslambdaric's behind a local Runtime API.

The Runtime API is AWS's own (docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_fileflow.sandbox.programs import Program

INIT_SECONDS = 60.0
"""How long a process may take until it asks for work; a loaded machine starts slowly."""

RETRY_AFTER_SECONDS = (0.5, 1.0)
"""AWS retries a failed asynchronous invocation twice, after one and two minutes."""

Kind = Literal["picked", "result", "error", "exit", "expired"]


@dataclass(frozen=True)
class Invocation:
    """One event for one function, which ``program`` serves. Times are seconds.

    Its log is to be read in ``log_group`` in ``region``. ``retries`` is how often an asynchronous
    one is tried again. ``asked`` is when it was asked for, since the epoch.
    """

    request_id: str
    arn: str
    body: bytes
    timeout_seconds: float
    region: str
    program: Program
    log_group: str
    retries: int = len(RETRY_AFTER_SECONDS)
    asked: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Answer:
    """What an invocation came to; ``body`` is the function's result, or the error as JSON."""

    failed: bool
    body: bytes
    log: str


class _Runtime(ThreadingHTTPServer):
    """One process's Runtime API: work it asks for comes from ``inbox``, what it says goes to ``outbox``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _RuntimeRequest)
        self.inbox: queue.Queue[Invocation | None] = queue.Queue()
        self.outbox: queue.Queue[tuple[Kind, bytes]] = queue.Queue()


class _RuntimeRequest(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # or headers and body leave in two packets, and Nagle's algorithm delays the second
    disable_nagle_algorithm = True
    server: _Runtime

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
        """Keep quiet: the sandbox logs invocations, not requests."""

    def do_GET(self) -> None:
        """Answer ``/invocation/next`` as soon as there is one."""
        invocation = self.server.inbox.get()
        if invocation is None:
            self.close_connection = True
            return
        self.server.outbox.put(("picked", b""))
        deadline = time.time() + invocation.timeout_seconds
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", invocation.request_id)
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int(deadline * 1000)))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", invocation.arn.encode("ascii", "replace").decode())
        self._send(invocation.body)

    def do_POST(self) -> None:
        """Take ``/invocation/<id>/response``, ``/invocation/<id>/error`` or ``/init/error``."""
        body = self._body()
        self.send_response(202)
        self._send(b'{"status":"OK"}')
        self.server.outbox.put(("error" if self.path.endswith("/error") else "result", body))

    def _send(self, body: bytes) -> None:
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while length := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers, up to the empty line
        return body


class Environment:
    """One warm execution environment: an awslambdaric process with its Runtime API and its log file."""

    def __init__(self, log: Path, program: Program) -> None:
        self.program = program
        self._log = log
        self._api = _Runtime()
        threading.Thread(target=self._api.serve_forever, args=(0.1,), daemon=True, name="runtime-api").start()
        with log.open("ab") as output:
            # Appending, so that the log can be cut between invocations under the writer's hands.
            self._process = subprocess.Popen(  # noqa: S603 - our own module and interpreter
                [sys.executable, *program.command],
                cwd=program.directory,
                env={**program.environment, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._api.server_port}"},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )
        threading.Thread(target=self._watch, daemon=True, name="runtime-exit").start()

    @property
    def alive(self) -> bool:
        """Return whether the process still runs."""
        return self._process.poll() is None

    def run(self, invocation: Invocation) -> tuple[Answer, bool]:
        """Run one invocation; the second value tells whether this process can take another."""
        os.truncate(self._log, 0)
        self._api.inbox.put(invocation)
        limit, picked = INIT_SECONDS, False
        try:
            kind, body = self._api.outbox.get(timeout=limit)
            if picked := kind == "picked":
                limit = invocation.timeout_seconds
                kind, body = self._api.outbox.get(timeout=limit)
        except queue.Empty:
            return Answer(True, _timed_out(invocation.request_id, limit), self._text()), False
        if kind == "expired":
            return Answer(True, _timed_out(invocation.request_id, float(body)), self._text()), False
        if kind == "exit":
            return Answer(True, _exited(invocation.request_id, body.decode()), self._text()), False
        return Answer(kind == "error", body, self._text()), picked and self.alive

    def expire(self, seconds: float) -> None:
        """End what runs here as having run into a time limit of so many seconds."""
        self._api.outbox.put(("expired", str(seconds).encode()))

    def close(self) -> None:
        """Kill the process and close its Runtime API."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._api.inbox.put(None)
        self._api.shutdown()
        self._api.server_close()
        self._log.unlink(missing_ok=True)

    def _watch(self) -> None:
        status = self._process.wait()
        how = f"exit status {status}" if status >= 0 else f"signal {-status}"
        self._api.outbox.put(("exit", how.encode()))

    def _text(self) -> str:
        # The process writes its log unbuffered before it answers, so all of it is there by now.
        try:
            return self._log.read_text(errors="replace").replace("\r", "\n")
        except FileNotFoundError:  # closed meanwhile: the sandbox stops
            return ""


def _timed_out(request_id: str, seconds: float) -> bytes:
    message = f"RequestId: {request_id} Error: Task timed out after {seconds:.2f} seconds"
    return json.dumps({"errorType": "Sandbox.Timedout", "errorMessage": message}).encode()


def _exited(request_id: str, how: str) -> bytes:
    message = f"RequestId: {request_id} Error: Runtime exited with error: {how}"
    return json.dumps({"errorType": "Runtime.ExitError", "errorMessage": message}).encode()
