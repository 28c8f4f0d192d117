"""What functions log: a JSON object a line, with the flow, the run and the step that it is about, and no secret."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from pytest_fileflow.clock import format_stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pytest_fileflow.aws.state import State
    from pytest_fileflow.results.record import Record

logger = logging.getLogger(__name__)

OURS: Final = "pytest_fileflow"

# Of the one invocation that a process has at a time; threads of it log too.
_about: dict[str, str] = {}
_masks: list[Callable[[str], str]] = []


class _Lines(logging.Formatter):
    """One JSON object a record; ``end`` is what a line ends with for a handler that adds nothing to it."""

    def __init__(self, end: str = "") -> None:
        super().__init__()
        self._end = end

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        message = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            message = f"{message}: {record.exc_info[0].__name__}"  # the text of a foreign error may hold anything
        for masked in _masks:
            message = masked(message)
        told = {
            "timestamp": format_stamp(datetime.fromtimestamp(record.created, timezone.utc)),
            "level": record.levelname,
            "message": message,
            "logger": record.name,
            **_about,
            **getattr(record, "told", {}),
        }
        # Half a character, as in a file name of old, is written out: a handler writes UTF-8.
        return json.dumps(told, ensure_ascii=False).encode("utf-8", "backslashreplace").decode() + self._end


def set_up() -> None:
    """Let the handlers that Lambda has set up, or one of our own, write such lines; of others only what is wrong.

    Lambda's own writes what it is given (awslambdaric: LambdaLoggerHandler), and its formatters end each line.
    """
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler())
    for handler in root.handlers:
        handler.setFormatter(_Lines("" if isinstance(handler, logging.StreamHandler) else "\n"))
    logging.getLogger(OURS).setLevel(logging.INFO)
    logging.getLogger(f"{OURS}.endpoints.paramiko").setLevel(logging.WARNING)  # it tells of every connection


@contextmanager
def about(step: str, execution: str, flow_id: str = "", run_id: str = "") -> Iterator[None]:
    """Say in each line what it is about."""
    told = {"step": step, "execution": execution, "flow_id": flow_id, "test_run_id": run_id}
    _about.update({name: text for name, text in told.items() if text})
    try:
        yield
    finally:
        _about.clear()


@contextmanager
def masking(masked: Callable[[str], str]) -> Iterator[None]:
    """Take secrets out of each line."""
    _masks.append(masked)
    try:
        yield
    finally:
        _masks.remove(masked)


def say_step(state: State) -> None:
    """Log what a step came to."""
    told: dict[str, str] = {"next": state.next}
    verdict = state.run.verdict if state.run is not None else None
    if verdict is not None:
        told |= {"outcome": verdict.outcome, "cause": verdict.cause or ""}
        logger.info("%s", verdict.reason or verdict.outcome, extra={"told": told})
    elif state.next == "wait":
        logger.info("wait %d s", state.wait_seconds, extra={"told": told})
    else:
        logger.info("next: %s", state.next, extra={"told": told})


def say_recorded(record: Record, where: str) -> None:
    """Log what a run came to, and where its record lies."""
    told = {name: record[name] for name in ("case", "outcome", "cause", "latency_seconds", "slo_seconds")}
    logger.info("%s", record["reason"] or record["outcome"], extra={"told": {**told, "record": where}})


def say_listed(number: int, problems: Iterable[str]) -> None:
    """Log what an execution is to run, and what it cannot."""
    for problem in problems:
        logger.error("%s", problem)
    logger.info("%d cases", number, extra={"told": {"cases": number}})


def say_summary(summary: Mapping[str, object], notes: Iterable[str]) -> None:
    """Log what an execution came to."""
    for note in notes:
        logger.info("%s", note)
    counts = {name: value for name, value in summary.items() if isinstance(value, int) and not isinstance(value, bool)}
    text = "the suite is complete" if summary["is_complete"] else "the suite is not complete"
    logger.log(logging.INFO if summary["is_complete"] else logging.ERROR, "%s", text, extra={"told": counts})
