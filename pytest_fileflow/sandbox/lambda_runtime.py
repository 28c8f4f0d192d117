"""Runs Lambda invocations in execution environments, of which there are few, and functions many.

All functions of flows run the same program, so any process may serve any of them, and a few processes
are enough for many functions. A deployed function is a program of its own; where too many
processes are idle, the one that has been so for longest makes room.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_fileflow.sandbox.environment import RETRY_AFTER_SECONDS, Answer, Environment, Invocation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_fileflow.sandbox.programs import Program

KEPT_PROCESSES = 24
"""How many processes are kept: a state machine calls a dozen functions in turn, and each takes a second to start."""

_LOG = logging.getLogger(__name__)


@dataclass
class _Running:
    """An invocation and its process; ``is_parked`` while it takes no place, ``expires`` where it is to end early."""

    invocation: Invocation
    instance: Environment
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
        self._idle: list[Environment] = []
        self._all: set[Environment] = set()
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

    def _find(self, program: Program, is_nested: bool) -> Environment | None:
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

    def _forget(self, instances: list[Environment]) -> None:
        """End idle processes, while whoever wanted their places goes on; you hold the lock."""
        for instance in instances:
            self._idle.remove(instance)
            self._all.discard(instance)
            threading.Thread(target=instance.close, daemon=True, name="runtime-close").start()

    def _start(self, program: Program) -> Environment:
        self._started += 1
        instance = Environment(self._directory / f"runtime-{self._started}.log", program)
        self._all.add(instance)
        return instance

    def _put_back(self, instance: Environment, reusable: bool) -> None:
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
