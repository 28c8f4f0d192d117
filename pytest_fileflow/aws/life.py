"""What each step of the state machine does with a run: the steps of :mod:`pytest_fileflow.steps`, one at a time.

Nothing here knows Lambda. Whatever happens to a run ends that run with its cause, so that a step
returns the state it came to; what it raises is a fault that trying again may mend.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from pytest_fileflow import reach, steps
from pytest_fileflow.arrival import GaveUp, Oversize
from pytest_fileflow.aws.waiting import arrival_of, awaiting, call, decided, look, waiting
from pytest_fileflow.errands import ERRANDS
from pytest_fileflow.errors import FileflowError, Interrupted, StepFailed
from pytest_fileflow.holding import refused_by
from pytest_fileflow.judging import as_ours, judged, judged_at_last, with_bug
from pytest_fileflow.model import PASSED
from pytest_fileflow.portable import load_verdict
from pytest_fileflow.streams import Changed, delivered, never_cancelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.aws.executions import Papers
    from pytest_fileflow.aws.state import Next, State
    from pytest_fileflow.model import Run
    from pytest_fileflow.streams import Tools

logger = logging.getLogger(__name__)

ERROR_LETTERS: Final = 500
HELD_SECONDS: Final = (1, 2, 4, 8, 15, 30)
"""How long a transfer is kept back, time after time, while its flow's contract is not recorded: a minute in all."""
TWICE: Final = "begun before, and not done again: nobody has heard how that ended"


@dataclass(frozen=True)
class Kit:
    """What the steps work with; ``token`` names this very try of a step.

    The clock of ``tools`` is the same for all processes: its monotonic reading is seconds since the epoch.
    """

    tools: Tools
    papers: Papers
    token: str


def prepare(state: State, kit: Kit) -> State:
    """Name the run and its file, look at its target, and note every name that it may write."""
    case, tools = state.case, kit.tools
    run: Run | None = None
    if state.stopped:
        return _ended(
            state, Interrupted(f"the execution that carried out this run ended: {state.stopped}"), tools, None
        )
    refusal = reach.refusal(case, tools.allow)
    if refusal is not None:
        run = dataclasses.replace(_run_of(state), verdict=steps.verdict_of(refusal))
        return _to(state, "clean_up", run)
    try:
        held = _held(state, kit)
        if held is not None:
            return held
        if case.kind != "transfer":
            run = steps.prepare_errand(case, tools, state.attempt, state.run_id)
            questions = ERRANDS[case.kind].questions(case, run, tools)
            written = dict.fromkeys(name for question in questions for name in question.writes)
            return _to(state, "ask", dataclasses.replace(run, written=tuple(written)))
        run = steps.prepare(case, tools, state.attempt, state.run_id)
        steps.require_checks(case.flow, run, tools)
        steps.check_target(case.flow, run, tools)
        return _to(state, "seed", steps.enter_ledger(case.flow, run))
    except Exception as error:  # noqa: BLE001 - whatever happens to one run ends that run with its cause
        return _ended(state, error, tools, run)


def _held(state: State, kit: Kit) -> State | None:
    """Keep a transfer back until its flow's contract is recorded, for a while, and let it end as a failed one did.

    Contracts are the first on the list. One that is lost holds up nobody for longer than that.
    """
    case = state.case
    if case.kind != "transfer" or not state.execution.contracts or state.held == len(HELD_SECONDS):
        return None
    told = kit.papers.contract(case.flow.flow_id)
    if told is None:
        wait = HELD_SECONDS[state.held]
        return dataclasses.replace(state, next="wait", wait_seconds=wait, held=state.held + 1)
    refused = refused_by(load_verdict(told["verdict"]), told["run_id"])
    return None if refused is None else _to(state, "clean_up", dataclasses.replace(_run_of(state), verdict=refused))


def seed(state: State, kit: Kit) -> State:
    """Write the file at the source. A try that follows another writes only what is sure to be missing."""
    flow, run, tools = state.case.flow, _run(state), kit.tools
    try:
        earlier = kit.papers.begin("seed", run.run_id, _mark(state, kit))
        if earlier is None or not _is_seeded(state, run, tools):
            run = steps.seed(flow, run, tools)
        else:
            run = run.with_evidence(seed=TWICE).with_stamp("seeded", tools.clock.stamp())
        if flow.transfer.mode != "event":
            return _to(state, "trigger", run)
        # The file has started the transfer by itself: the time until the next step belongs to the latency.
        moment = tools.clock.monotonic()
        return awaiting(state, _started(run.with_stamp("triggered", tools.clock.stamp()), tools), moment, tools)
    except Exception as error:  # noqa: BLE001 - as above
        return _ended(state, error, tools, run)


def _mark(state: State, kit: Kit) -> dict[str, Any]:
    """Return what whoever finds that this step has begun must know to clean up after it."""
    left = dataclasses.replace(state, looks=None, decision=None).dump()
    return {"token": kit.token, "state": {name: left[name] for name in ("case", "run", "attempt") if name in left}}


def _is_seeded(state: State, run: Run, tools: Tools) -> bool:
    """Return whether an earlier try has written the file; raises StepFailed where that cannot be told any more."""
    flow = state.case.flow
    stat = tools.endpoint(flow.source).stat(run.file.name)
    if stat is not None:
        return stat.size == run.file.size
    if flow.transfer.mode != "event":
        return False  # nobody takes it before the trigger
    if delivered(flow, run, tools) is not None:
        return True
    raise StepFailed("seeding was broken off, and whether the transfer has taken the file meanwhile cannot be told")


def trigger(state: State, kit: Kit) -> State:
    """Start the transfer, once: a try that follows another waits for what that one has started."""
    flow, run, tools = state.case.flow, _run(state), kit.tools
    try:
        earlier = kit.papers.begin("trigger", run.run_id, {"token": kit.token, "at": tools.clock.monotonic()})
        moment = tools.clock.monotonic() if earlier is None else float(earlier["at"])
        run = run.with_stamp("triggered", tools.clock.stamp_at(moment))
        if earlier is not None:
            logger.warning("the transfer was triggered before, and is not again")
            run = run.with_evidence(trigger=TWICE)
            doubt = "the step trigger was begun before and ended without an answer: whether it has invoked is not known"
            return awaiting(dataclasses.replace(state, doubt=doubt), _started(run, tools), moment, tools)
        if flow.transfer.mode == "invoke" and flow.transfer.invocation == "RequestResponse":
            run = run.with_stamp("started", run.timeline["triggered"])
            return call(state, run, moment, tools)
        return awaiting(state, _started(steps.trigger(flow, run, tools), tools), moment, tools)
    except Exception as error:  # noqa: BLE001 - as above
        return _ended(state, error, tools, run)


def _started(run: Run, tools: Tools) -> Run:
    return run.with_stamp("started", tools.clock.stamp())


def check_arrival(state: State, kit: Kit) -> State:
    """Look at the target once, and decide: wait on, verify, or find out why nothing came."""
    if state.run is None and state.held:
        return dataclasses.replace(state, next="prepare")  # only its flow's contract was waited for
    run, tools = _run(state), kit.tools
    try:
        arrival = arrival_of(state, run)
        decision, state = look(arrival, state, run, tools)
    except Exception as error:  # noqa: BLE001 - as above
        return _ended(state, error, tools, run)
    if decision is not None:
        return decided(state, arrival, decision)
    return waiting(state, arrival, tools)


def verify(state: State, kit: Kit) -> State:
    """Judge what arrived; a file that was not whole yet after all is waited for again, while there is time."""
    flow, run, tools = state.case.flow, _run(state), kit.tools
    if state.decision is None:
        raise StepFailed("there is nothing to be verified in this state")
    try:
        run = judged(flow, run, state.decision, tools)
    except Changed:
        arrival = arrival_of(state, run)
        if tools.clock.monotonic() <= arrival.triggered + flow.give_up_seconds:
            arrival.start_over()
            return waiting(state, arrival, tools)
        run = judged_at_last(flow, run, state.decision, tools)
    except Exception as error:  # noqa: BLE001 - as above
        run = dataclasses.replace(run, verdict=steps.verdict_of(_as_said(error, tools)))
    return _to(state, "clean_up", _judged(run, tools))


def diagnose(state: State, kit: Kit) -> State:
    """Find the cause of what did not arrive, or say which step ended without an answer."""
    run, tools = _run_of(state), kit.tools
    if run.verdict is None and isinstance(state.decision, (GaveUp, Oversize)) and state.error is None:
        try:
            run = _doubted(judged(state.case.flow, run, state.decision, tools), state.doubt)
        except Exception as error:  # noqa: BLE001 - as above
            run = dataclasses.replace(run, verdict=steps.verdict_of(_as_said(error, tools)))
        return _to(state, "clean_up", _judged(run, tools))
    return dataclasses.replace(with_verdict(state, tools), error=None)


def _doubted(run: Run, doubt: str) -> Run:
    """Return a run whose flow is not blamed for what perhaps nobody has started."""
    verdict = run.verdict
    if not doubt or verdict is None or verdict.cause != "missing.not_picked_up":
        return run
    instead = steps.verdict_of(StepFailed(f"{doubt}; {verdict.reason}"))
    return dataclasses.replace(run, verdict=dataclasses.replace(instead, evidence=verdict.evidence))


def ask(state: State, kit: Kit) -> State:
    """Carry out a case that sends no file."""
    case, run, tools = state.case, _run(state), kit.tools
    errand = ERRANDS[case.kind]
    try:
        if run.written:
            kit.papers.begin("ask", run.run_id, _mark(state, kit))
        answers = [question.ask(run, tools) for question in errand.questions(case, run, tools)]
        run = errand.conclude(case, run, answers)
    except Exception as error:  # noqa: BLE001 - as above
        run = dataclasses.replace(run, verdict=steps.verdict_of(_as_said(error, tools)))
    return _to(state, "clean_up", run.with_stamp("verified", tools.clock.stamp()))


def clean_up(state: State, kit: Kit) -> State:
    """Remove what the run has written, at both ends."""
    state = with_verdict(state, kit.tools)
    run = _run(state)
    if _is_to_be_cleaned(state, run):
        # What a run has left must go, however little time there is.
        tools = dataclasses.replace(kit.tools, cancelled=never_cancelled)
        try:
            run = steps.clean_up(state.case.flow, run, tools)
        except Exception as error:  # noqa: BLE001 - as above
            run = with_bug(run, "cleaning up", error)
    return dataclasses.replace(_to(state, "record", run), error=None)


def _is_to_be_cleaned(state: State, run: Run) -> bool:
    case = state.case
    return bool(run.written) and (case.kind != "transfer" or case.flow.testdata.delete_after)


def to_record(state: State, kit: Kit) -> Run:
    """Return the run as it is to be recorded, also where it could not be cleaned up: the same at every try."""
    is_cleaned, tools = state.error is None, kit.tools
    if state.run is None or state.run.verdict is None:
        now = tools.clock.monotonic()
        earlier = kit.papers.begin("record", state.run_id, {"token": kit.token, "at": now})
        moment = datetime.fromtimestamp(now if earlier is None else earlier["at"], timezone.utc)
        tools = dataclasses.replace(tools, clock=dataclasses.replace(tools.clock, utc=lambda: moment))
    state = with_verdict(state, tools)
    run = _run(state)
    if is_cleaned or not _is_to_be_cleaned(state, run) or run.residue:
        return run
    ends = {"source": state.case.flow.source, "target": state.case.flow.target}
    left = tuple(ends[side].uri(name) for side, name in run.written)
    run = dataclasses.replace(run, residue=left)
    why = f"nobody could clean up: {_told(state.error or {})}"
    if run.verdict == PASSED:
        return dataclasses.replace(run, verdict=steps.verdict_of(StepFailed(f"all went well, but {why}")))
    return run.with_evidence(cleanup=[why])


def with_verdict(state: State, tools: Tools) -> State:
    """Return a state whose run has a verdict: where there was none yet, that of the step that gave no answer."""
    run = _run_of(state)
    return _to(state, "clean_up", run) if run.verdict is not None else _ended(state, _step_error(state), tools, run)


def _run(state: State) -> Run:
    if state.run is None:
        raise StepFailed("there is no run in this state: prepare has not been done")
    return state.run


def _run_of(state: State) -> Run:
    """Return the run; where not even its name was found, one that says so."""
    return state.run or dataclasses.replace(steps.unprepared(state.case, state.attempt), run_id=state.run_id)


def _to(state: State, step: Next, run: Run) -> State:
    return dataclasses.replace(state, next=step, run=run)


def _ended(state: State, error: BaseException, tools: Tools, run: Run | None) -> State:
    run = run or _run_of(state)
    run = judged(state.case.flow, run, _as_said(error, tools), tools)
    return dataclasses.replace(_to(state, "clean_up", _judged(run, tools)), decision=None)


def _as_said(error: BaseException, tools: Tools) -> FileflowError:
    """Return the error with its cause; what was interrupted here was so by the time limit of the function."""
    if isinstance(error, Interrupted) and tools.cancelled():
        return StepFailed("the step was ended before it was done: the time limit of its function was near")
    return as_ours(error)


def _judged(run: Run, tools: Tools) -> Run:
    return run if run.verdict == PASSED else run.with_stamp("judged", tools.clock.stamp())


def _step_error(state: State) -> StepFailed:
    step = "check arrival" if state.next == "wait" else state.next.replace("_", " ")
    return StepFailed(f"the step {step} gave no answer: {_told(state.error or {})}")


def _told(error: Mapping[str, Any]) -> str:
    """Return what the state machine says of an error, in one line: a function's own words are in its Cause."""
    name, cause = str(error.get("Error", "unknown")), str(error.get("Cause", ""))
    try:
        report = json.loads(cause)
        cause = str(report["errorMessage"])
        name = str(report.get("errorType") or name)
    except (ValueError, LookupError, TypeError):
        pass  # it is a text
    return " ".join(f"{name}: {cause}".split())[:ERROR_LETTERS].removesuffix(": ")
