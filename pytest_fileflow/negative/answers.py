"""Reads what a function answered: whether it tells of an error, and whether the error is of its own making."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_fileflow.errors import FunctionFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.errors import FileflowError

FIRST_ERROR_STATUS = 400
_ERROR_KEYS = ("error", "errorMessage", "errors")
_ERROR_WORDS = frozenset(("error", "failed", "failure"))
# What the Lambda service says of functions that it ended itself, and of those that it could not run.
_OUT_OF_TIME = ("Task timed out after", "Sandbox.Timedout")
_RUNTIME = "failed with Runtime."


def error_told(returned: str | None) -> str | None:
    """Return what a function's answer tells of an error, or None where it tells of none.

    That is, in a JSON object: a ``statusCode`` of 400 or more, ``error``, ``errors`` or ``errorMessage``
    that is not empty, a ``status`` of error or failed, or ``success: false``. The object may stand in a
    text of JSON, or with others in a list.

    >>> error_told('{"statusCode": 404}'), error_told('{"statusCode": 200, "error": null}'), error_told("ok")
    ('statusCode 404', None, None)
    """
    answer = _value(returned or "null")
    if isinstance(answer, str):
        answer = _value(answer)
    parts = answer if isinstance(answer, list) else [answer]
    told = (_told(part) for part in parts if isinstance(part, dict))
    return next((words for words in told if words is not None), None)


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _told(answer: Mapping[str, object]) -> str | None:
    if _status(answer.get("statusCode")) >= FIRST_ERROR_STATUS:
        return f"statusCode {answer['statusCode']}"
    told = next((key for key in _ERROR_KEYS if answer.get(key)), None)
    if told is None and str(answer.get("status")).lower() in _ERROR_WORDS:
        told = "status"
    if told is None and answer.get("success") is False:
        told = "success"
    return None if told is None else f"{told} {answer[told]}"


def _status(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return 0.0


def ran_out_of_time(error: FileflowError) -> bool:
    """Return whether a function was ended by its own time limit."""
    return isinstance(error, FunctionFailed) and any(words in error.reason for words in _OUT_OF_TIME)


def is_of_its_own(error: FileflowError) -> bool:
    """Return whether a function ran and raised an error, and did not crash, run out of time, or fail to start."""
    if not isinstance(error, FunctionFailed) or "aws_code" in error.evidence:
        return False
    return not ran_out_of_time(error) and _RUNTIME not in error.reason
