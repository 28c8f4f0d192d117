"""Runs Lambda invocations in real awslambdaric processes behind a local Runtime API.

The Runtime API is AWS's own (docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html). All
functions of flows run the same program, so any process may serve any of them, and a few processes
are enough for many functions. A deployed function is a program of its own; where too many
processes are idle, the one that has been so for longest makes room.
"""

from __future__ import annotations

import json
import logging
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
    from collections.abc import Callable
    from pathlib import Path

    from pytest_fileflow.sandbox.programs import Program

INIT_SECONDS = 60.0
"""How long a process may take until it asks for work; a loaded machine starts slowly."""

RETRY_AFTER_SECONDS = (0.5, 1.0)
"""AWS retries a failed asynchronous invocation twice, after one and two minutes."""

KEPT_PROCESSES = 24
"""How many processes are kept: a state machine calls a dozen functions in turn, and each takes a second to start."""

_LOG = logging.getLogger(__name__)

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


class _Instance:
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


@dataclass
class _Running:
    """An invocation and its process; ``is_parked`` while it takes no place, ``expires`` where it is to end early."""

    invocation: Invocation
    instance: _Instance
    is_parked: bool = False
    expires: threading.Timer | None = None


class Pool:
    """A bounded number of runtime processes; what exceeds it waits in line.

    ``size`` invocations run at a time, and ``kept`` processes are kept for further ones.
    ``ended`` is told of every try of every invocation, with its answer, before anyone else is.
    """

    def __init__(
        self,
        directory: Path,
        ended: Callable[[Invocation, Answer], None],
        size: int | None = None,
        kept: int = KEPT_PROCESSES,
    ) -> None:
        self.size = size or max(4, 2 * (os.cpu_count() or 1))
        self._kept = max(kept, self.size)
        self._directory = directory
        self._ended = ended
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)
        self._taken = 0
        self._idle: list[_Instance] = []
        self._all: set[_Instance] = set()
        self._started = 0
        self._stopped = False
        self._line: queue.SimpleQueue[tuple[Invocation, int] | None] = queue.SimpleQueue()
        self._serving = 0
        self._running: dict[str, _Running] = {}

    def invoke(self, invocation: Invocation, *, is_nested: bool = False) -> Answer:
        """Run an invocation now, or as soon as a process is free, and return its answer.

        ``is_nested`` tells that a running invocation asks for it: that one only waits meanwhile,
        and lends its place, or all places could be taken by invocations that wait for one.
        """
        if not is_nested:
            return self._invoke(invocation, self._begin(invocation))
        self._give_place()
        try:
            return self._invoke(invocation, self._begin(invocation, is_nested=True))
        finally:
            self._take_place()

    def _invoke(self, invocation: Invocation, running: _Running) -> Answer:
        try:
            began = time.monotonic()
            answer, reusable = running.instance.run(invocation)
            self._put_back(running.instance, reusable)
        finally:
            self._end(running)
        answer = _with_report(invocation, answer, time.monotonic() - began)
        self._ended(invocation, answer)
        return answer

    def enqueue(self, invocation: Invocation, tries: int = 0) -> None:
        """Run an invocation in the background, and again after a failure, as AWS does."""
        with self._lock:
            if self._serving < self.size:
                self._serve_one_more()
        self._line.put((invocation, tries))

    def asked(self, request_id: str) -> float | None:
        """Return when a running invocation was asked for, in seconds since the epoch."""
        running = self._running.get(request_id)
        return running.invocation.asked if running else None

    def park(self, request_id: str, limit: float | None = None) -> None:
        """Let a running invocation that just waits take nobody's place; end it after ``limit`` seconds, if given."""
        with self._lock:
            running = self._running.get(request_id)
            if running is None:
                return
            if limit is not None:
                running.expires = threading.Timer(limit, running.instance.expire, (limit,))
                running.expires.daemon = True
                running.expires.start()
            if running.is_parked:
                return
            running.is_parked = True
            self._serve_one_more()
        self._give_place()

    def warm(self, program: Program) -> None:
        """Start a process ahead of the first invocation, unless there is one."""
        with self._lock:
            if self._stopped or any(instance.program == program for instance in self._all):
                return
            self._idle.append(self._start(program))

    def stop(self) -> None:
        """Kill every process; what waits in line is dropped."""
        with self._lock:
            self._stopped = True
            self._freed.notify_all()
            instances = list(self._all)
        for _ in range(self._serving):
            self._line.put(None)
        closing = [threading.Thread(target=instance.close, daemon=True) for instance in instances]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()

    def _serve_one_more(self) -> None:
        """Start a thread that takes from the line; you hold the lock."""
        self._serving += 1
        threading.Thread(target=self._serve, daemon=True, name=f"lambda-async-{self._serving}").start()

    def _serve(self) -> None:
        while (waiting := self._line.get()) is not None and not self._stopped:
            self._try(*waiting)

    def _begin(self, invocation: Invocation, *, is_nested: bool = False) -> _Running:
        """Wait for a place and a process."""
        with self._freed:
            while (instance := self._find(invocation.program, is_nested)) is None:
                self._freed.wait()
            self._taken += 1
            running = self._running[invocation.request_id] = _Running(invocation, instance)
            return running

    def _end(self, running: _Running) -> None:
        with self._lock:
            self._running.pop(running.invocation.request_id, None)
            if running.expires is not None:
                running.expires.cancel()
            if running.is_parked:
                return  # its place was given away already
        self._give_place()

    def _give_place(self) -> None:
        with self._freed:
            self._taken -= 1
            self._freed.notify_all()  # not just one: what comes first may wait for a process of its own

    def _take_place(self) -> None:
        with self._freed:
            self._freed.wait_for(lambda: self._taken < self.size or self._stopped)
            self._taken += 1

    def _try(self, invocation: Invocation, tries: int) -> None:
        try:
            answer = self.invoke(invocation)
        except Exception:  # noqa: BLE001 - nobody waits for it: the log is where it is heard of
            _LOG.exception("the asynchronous invocation %s could not be run", invocation.request_id)
            return
        if answer.failed and tries < min(invocation.retries, len(RETRY_AFTER_SECONDS)):
            timer = threading.Timer(RETRY_AFTER_SECONDS[tries], self.enqueue, (invocation, tries + 1))
            timer.daemon = True
            timer.start()

    def _find(self, program: Program, is_nested: bool) -> _Instance | None:
        """Return a process for a program, or None where it is better waited for; you hold the lock.

        Where no more are to be started, a program waits for a process of its own that is at work
        before it ends one of another, which would soon have to be started again. What a running
        invocation waits for does not: the process at work may be the one that waits.
        """
        if self._stopped:
            raise RuntimeError("the sandbox is stopping")
        if self._taken >= self.size:
            return None
        self._forget([idle for idle in self._idle if not idle.alive or _is_outdated(idle.program, program)])
        fit = next((idle for idle in reversed(self._idle) if idle.program == program), None)
        if fit is not None:
            self._idle.remove(fit)
            return fit
        too_many = len(self._all) + 1 - self._kept
        if too_many > 0 and not is_nested and self._is_at_work(program):
            return None
        self._forget(self._idle[: max(0, too_many)])  # the front of the list has been idle for longest
        return self._start(program)

    def _is_at_work(self, program: Program) -> bool:
        return any(at.instance.program == program and not at.is_parked for at in self._running.values())

    def _forget(self, instances: list[_Instance]) -> None:
        """End idle processes, while whoever wanted their places goes on; you hold the lock."""
        for instance in instances:
            self._idle.remove(instance)
            self._all.discard(instance)
            threading.Thread(target=instance.close, daemon=True, name="runtime-close").start()

    def _start(self, program: Program) -> _Instance:
        self._started += 1
        instance = _Instance(self._directory / f"runtime-{self._started}.log", program)
        self._all.add(instance)
        return instance

    def _put_back(self, instance: _Instance, reusable: bool) -> None:
        with self._lock:
            if reusable:
                self._idle.append(instance)
                return
            self._all.discard(instance)
            if self._stopped:
                return  # stop() closes it
        instance.close()


def _is_outdated(running: Program, wanted: Program) -> bool:
    """Tell whether a process runs an earlier revision of a program."""
    return running.name == wanted.name and running.revision != wanted.revision


def _with_report(invocation: Invocation, answer: Answer, seconds: float) -> Answer:
    """Frame the log with the lines that the Lambda service itself writes."""
    request, milliseconds = invocation.request_id, seconds * 1000
    error = "" if not answer.failed else json.loads(answer.body or b"{}").get("errorMessage", "")
    missing = f"{error}\n" if error and error not in answer.log else ""
    body = answer.log if not answer.log or answer.log.endswith("\n") else f"{answer.log}\n"
    log = (
        f"START RequestId: {request} Version: $LATEST\n{body}{missing}END RequestId: {request}\n"
        f"REPORT RequestId: {request}\tDuration: {milliseconds:.2f} ms\t"
        f"Billed Duration: {int(milliseconds) + 1} ms\tMemory Size: {invocation.program.memory_mb} MB\n"
    )
    return Answer(answer.failed, answer.body, log)
