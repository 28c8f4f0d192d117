"""Tries what the system must refuse, and judges the answer: only a refusal in the right way and in time passes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_fileflow import steps
from pytest_fileflow.errors import (
    ConfigInvalid,
    FileflowError,
    Interrupted,
    LetIn,
    LocationMissing,
    NetworkError,
    RefusedOtherwise,
)
from pytest_fileflow.model import PASSED, CheckResult
from pytest_fileflow.negative import doors, starts
from pytest_fileflow.negative.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_fileflow.model import Case, Location, Refusal, Run, Side
    from pytest_fileflow.negative.trial import Attempt
    from pytest_fileflow.streams import Tools

_ATTEMPTS: Mapping[str, Callable[[Trial], Iterator[Attempt]]] = {
    "wrong_key": doors.strangers,
    "unknown_user": doors.strangers,
    "forbidden_write": doors.forbidden_writes,
    "missing_source": starts.missing_source,
    "bad_payload": starts.bad_payload,
}


def may_write(case: Case, run: Run) -> tuple[tuple[Side, str], ...]:
    """Return what the attempts of a case may write, and what the transfer may make of it."""
    refusal = _refusal(case)
    if refusal.name == "missing_source":
        return starts.may_write(case.flow, run)
    if refusal.name == "forbidden_write":
        return doors.may_write(case.flow, refusal, run)
    return ()


def places_of(case: Case) -> list[Location]:
    """Return the places that the attempts of a case write to beyond, or within, its flow's own."""
    if case.refusal is None or case.refusal.name != "forbidden_write":
        return []
    return doors.forbidden_places(case.flow, case.refusal)


def carry_out(case: Case, run: Run, tools: Tools) -> Run:
    """Try what a case says must be refused, at every end it is about; set the checks and the verdict.

    Every end is tried, once; the gravest answer is the verdict: one that let somebody in. What may
    have been written stays in the run's ledger unless nothing can have been.
    """
    refusal = _refusal(case)
    if refusal.name == "missing_source":
        run = dataclasses.replace(run, file=starts.never_sent(case.flow, run))
    trial = Trial(case.flow, refusal, run.with_stamp("triggered", tools.clock.stamp()), tools)
    answers = [(attempt, *_tried(attempt, trial)) for attempt in _ATTEMPTS[refusal.name](trial)]
    checks = tuple(
        CheckResult(attempt.place, problem is None, f"{attempt.expected} within {trial.within:g} s", observed)
        for attempt, problem, observed in answers
    )
    problems = [problem for _, problem, _ in answers if problem is not None]
    problems.sort(key=lambda problem: not isinstance(problem, LetIn))
    verdict = steps.verdict_of(problems[0]) if problems else PASSED
    left = tuple(name for problem in problems for name in _left_behind(problem))
    written = run.written if problems or starts.writes(case.flow, refusal) else ()
    return dataclasses.replace(trial.run, checks=checks, verdict=verdict, residue=left, written=written)


def _refusal(case: Case) -> Refusal:
    if case.refusal is None:
        raise ConfigInvalid(f"{case.name} names nothing that must be refused")
    return case.refusal


def _left_behind(problem: FileflowError) -> list[str]:
    left = problem.evidence.get("left_behind") if isinstance(problem, LetIn) else None
    return [str(name) for name in left] if isinstance(left, list) else []


def _tried(attempt: Attempt, trial: Trial) -> tuple[FileflowError | None, str]:
    """Return what is wrong with the system's answer, if anything, and the answer in short."""
    _stop_if_cancelled(trial)
    with attempt.turn():
        _stop_if_cancelled(trial)  # the turn may have been long in coming
        began = trial.tools.clock.monotonic()
        try:
            attempt.act()
        except LetIn as found:
            return found, f"let in: {found.reason}"
        except FileflowError as error:
            took = trial.tools.clock.monotonic() - began
            return _judged(attempt, error, took, trial.within), f"{_short_name(error)} after {took:.2f} s"
    return None, attempt.expected


def _stop_if_cancelled(trial: Trial) -> None:
    if trial.tools.cancelled():
        raise Interrupted("the session ended before everything was tried that must be refused")


def _judged(attempt: Attempt, error: FileflowError, took: float, within: float) -> FileflowError | None:
    if attempt.is_right(error):
        if took <= within:
            return None
        return RefusedOtherwise(f"{attempt.what} was refused after {took:.1f} s, later than {within:g} s")
    if isinstance(error, NetworkError):
        return _with_reason(error, f"{attempt.what}: the system did not refuse, it did not answer: {error.reason}")
    if isinstance(error, LocationMissing):
        return _with_reason(error, f"{attempt.what} proves nothing: {error.reason}")
    if attempt.is_other(error):
        reason = f"{attempt.what} did not succeed, but was not refused in the right way ({attempt.expected}): "
        return RefusedOtherwise(reason + error.reason, evidence=error.evidence)
    return error


def _with_reason(error: FileflowError, reason: str) -> FileflowError:
    return type(error)(reason, hint=error.hint, evidence=error.evidence)


def _short_name(error: FileflowError) -> str:
    code = error.evidence.get("aws_code")
    return f"{error.cause} ({code})" if code else error.cause
