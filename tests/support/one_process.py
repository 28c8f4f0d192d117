"""The functions of the state machine, called one after the other in this process, as the machine calls them."""

from __future__ import annotations

import importlib
import io
import json
import logging
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_fileflow.aws import host as host_module
from pytest_fileflow.aws import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STARTED = "2026-11-27T06:00:00.000Z"
MOST_STEPS = 100


class Context:
    """An invocation, which has a minute."""

    def __init__(self) -> None:
        self.aws_request_id = str(uuid.uuid4())

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@dataclass
class OneProcess:
    """Executions of the state machine; ``states`` are all that were handed on, ``lines`` all that was logged."""

    states: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def call(self, step: str, event: Any) -> Any:
        """Call a function: what goes in and comes out is JSON in UTF-8."""
        handler = importlib.import_module(f"pytest_fileflow.aws.{step}").handler
        with self._logging():
            answer = handler(_handed_on(event), Context())
        self.states.append(_handed_on(answer))
        return self.states[-1]

    def execute(
        self,
        name: str,
        told: dict[str, Any] | None = None,
        meanwhile: Callable[[str, dict[str, Any]], dict[str, Any] | None] = lambda step, state: state,
        started: str = STARTED,
    ) -> dict[str, Any]:
        """Run an execution to its end; ``meanwhile`` sees each state before its step, and may end the case there."""
        execution = {"id": f"arn:aws:states:us-east-1:123456789012:execution:m:{name}", "name": name}
        listed = self.call("list_flows", {"request": told or {}, "execution": {**execution, "started": started}})
        items = listed["items"] if listed["is_inline"] else self.many(listed)
        for item in items:
            self._carry({"case": item, "execution": listed["execution"]}, meanwhile)
        summary: dict[str, Any] = self.call("notify", {"execution": listed["execution"]})
        return summary

    def many(self, listed: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the items of a list that lies in S3."""
        import boto3

        answer = boto3.client("s3").get_object(Bucket=listed["bucket"], Key=listed["key"])
        items: list[dict[str, Any]] = json.loads(answer["Body"].read())
        return items

    def _carry(self, state: Any, meanwhile: Callable[[str, dict[str, Any]], dict[str, Any] | None]) -> None:
        step = "prepare"
        for _ in range(MOST_STEPS):
            if step == "wait":
                time.sleep(state["wait_seconds"])  # as the state machine does
                step = "check_arrival"
            state = meanwhile(step, state)
            if state is None:
                return
            state = self.call(step, state)
            if step == "record":
                return
            step = state["next"]
        raise AssertionError(f"no end after {MOST_STEPS} steps")

    @contextmanager
    def _logging(self) -> Iterator[None]:
        """Let what is logged be lines of a function's log, and leave the logging of this process as it was."""
        root, stream = logging.getLogger(), io.StringIO()
        levels = {name: logging.getLogger(name).level for name in (logs.OURS, f"{logs.OURS}.endpoints.paramiko")}
        handlers, root.handlers = root.handlers, [logging.StreamHandler(stream)]
        try:
            logs.set_up()
            yield
        finally:
            root.handlers = handlers
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
            self.lines += [json.loads(line) for line in stream.getvalue().splitlines()]


def _handed_on(value: Any) -> Any:
    return json.loads(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())


def forget_host() -> None:
    """Let the next function that is called be the first of its process."""
    host_module._host.cache_clear()
