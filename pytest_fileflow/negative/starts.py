"""Starts transfers that must not succeed: of a file that was never sent, and with a payload that means nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from concurrent.futures import Future, wait
from datetime import datetime
from typing import TYPE_CHECKING

from pytest_fileflow import payload, steps, template
from pytest_fileflow.due import name_due
from pytest_fileflow.errors import ConfigInvalid, FunctionFailed, Interrupted, InvokeTimeout, LetIn
from pytest_fileflow.model import BAD_PAYLOAD, PayloadFile
from pytest_fileflow.negative.answers import error_told, is_of_its_own, ran_out_of_time
from pytest_fileflow.negative.trial import Attempt
from pytest_fileflow.streams import delivered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_fileflow.invoke import Started
    from pytest_fileflow.model import Flow, Refusal, Run, Side
    from pytest_fileflow.negative.trial import Trial

CANCEL_SECONDS = 0.25  # how often a wait asks whether the session has ended
LOOK_SECONDS = 1.0
ANSWER_CHARACTERS = 200


def writes(flow: Flow, refusal: Refusal) -> bool:
    """Return whether a case writes something even where all is well: a trigger file."""
    return refusal.name == "missing_source" and flow.transfer.mode == "trigger_file"


def never_sent(flow: Flow, run: Run) -> PayloadFile:
    """Return a file of a run that is never sent: named as the flow's files are, and empty."""
    named = {pattern.name: pattern for pattern in (*payload.PATTERNS, *payload.WHOLE)}
    pattern = payload.configured(named.get(flow.testdata.pattern, payload.PATTERNS[0]), flow.testdata.options)
    now = datetime.fromisoformat(run.timeline["prepared"].replace("Z", "+00:00"))
    name = payload.file_name(flow.testdata, pattern, flow_id=flow.flow_id, run_id=run.run_id, size=0, now=now)
    return PayloadFile(name, 0, hashlib.sha256().hexdigest(), pattern.name)


def may_write(flow: Flow, run: Run) -> tuple[tuple[Side, str], ...]:
    """Return what starting a transfer without its file may write: a trigger file, and whatever is delivered."""
    run = dataclasses.replace(run, file=never_sent(flow, run))
    names = dict.fromkeys((run.file.name, name_due(flow, run).exact or run.file.name))
    copies: tuple[tuple[Side, str], ...] = tuple(("target", name) for name in names)
    if flow.transfer.mode != "trigger_file":
        return copies
    name = steps.trigger_name(flow, run)
    return (("source", name), ("target", name), *copies)


def missing_source(trial: Trial) -> Iterator[Attempt]:
    """Yield the start of a transfer whose file was never sent."""
    flow, run = trial.flow, trial.run
    source = flow.source.uri(run.file.name)
    if flow.transfer.mode == "event":
        raise ConfigInvalid(
            f"missing_source is not possible in {flow.flow_id}, an event flow: there is nothing to start"
        )
    if flow.transfer.mode == "trigger_file":
        yield Attempt(
            "target",
            f"the trigger file of {source}, which does not exist,",
            "nothing delivered",
            lambda: _trigger_alone(trial),
        )
        return
    asked = trial.refusal.options.get("payload", flow.transfer.payload)
    yield _refused_call(trial, asked, f"a file that does not exist, {source}")
    yield Attempt(
        "target",
        f"looking for {run.file.name}",
        "nothing delivered",
        lambda: _require_nothing(trial),
    )


def _trigger_alone(trial: Trial) -> None:
    flow, tools = trial.flow, trial.tools
    steps.trigger(flow, trial.run, tools)
    deadline = tools.clock.monotonic() + trial.within
    while True:
        _require_nothing(trial)
        left = deadline - tools.clock.monotonic()
        if left <= 0:
            return
        if tools.cancelled():
            raise Interrupted("the session ended while nothing was to be delivered")
        tools.clock.sleep(min(LOOK_SECONDS, left))


def _require_nothing(trial: Trial) -> None:
    target = trial.flow.target
    found = delivered(trial.flow, trial.run, trial.tools)
    if found is not None:
        raise LetIn(f"{target.uri(found.name)} was delivered with {found.size} bytes, though its file was never sent")


def bad_payload(trial: Trial) -> Iterator[Attempt]:
    """Yield an invocation with a payload that no flow has."""
    yield _refused_call(trial, trial.refusal.options.get("payload", BAD_PAYLOAD), "a payload that it must not accept")


def _refused_call(trial: Trial, asked: object, about: str) -> Attempt:
    arn = trial.flow.transfer.lambda_arn

    def call() -> None:
        started = _called(trial, asked)
        if error_told(started.returned) is None:
            said = started.returned or "nothing"
            short = said if len(said) <= ANSWER_CHARACTERS else f"{said[:ANSWER_CHARACTERS]}…"
            evidence = {"lambda_request_id": started.request_id, "log_tail": started.log_tail}
            raise LetIn(
                f"{arn} reported success for {about}; it returned {short}",
                evidence={name: value for name, value in evidence.items() if value},
            )

    return Attempt(
        "function",
        f"invoking {arn} with {about}",
        "an error",
        call,
        is_of_its_own,
        lambda error: isinstance(error, FunctionFailed) and "function_error" in error.evidence,
    )


def _called(trial: Trial, asked: object) -> Started:
    """Invoke the flow's function and wait for its answer, no longer than a refusal may take."""
    flow, tools = trial.flow, trial.tools
    transfer = dataclasses.replace(flow.transfer, invocation="RequestResponse")
    try:
        filled = template.substitute(asked, steps.template_variables(flow, trial.run))
    except template.UnknownVariable as error:
        raise ConfigInvalid(f"the payload of {trial.refusal.name} in {flow.flow_id}: {error}") from error
    answer: Future[Started] = Future()
    # Lambda may take a quarter of an hour, and nobody can call it back: the thread is left to itself.
    threading.Thread(
        target=_settle, args=(answer, lambda: tools.invoke(transfer, filled)), name="fileflow-negative", daemon=True
    ).start()
    deadline = tools.clock.monotonic() + trial.within
    while not wait([answer], CANCEL_SECONDS).done:
        if tools.cancelled():
            raise Interrupted("the session ended while the function was being invoked")
        if tools.clock.monotonic() > deadline:
            hint = "Raise within_seconds of this case if the function needs longer to refuse."
            raise InvokeTimeout(f"{flow.transfer.lambda_arn} had not answered within {trial.within:g} s", hint=hint)
    try:
        return answer.result()
    except FunctionFailed as error:
        if ran_out_of_time(error):
            raise InvokeTimeout(error.reason, evidence=error.evidence) from error
        raise


def _settle(answer: Future[Started], call: Callable[[], Started]) -> None:
    try:
        answer.set_result(call())
    except BaseException as error:  # noqa: BLE001 - whoever waits is told
        answer.set_exception(error)
