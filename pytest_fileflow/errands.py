"""Carries out the cases that send no file: what they ask, and what follows from the answers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_fileflow import contract, negative, steps
from pytest_fileflow.flight import lanes_of
from pytest_fileflow.judging import as_ours
from pytest_fileflow.questions import Answers, Question, Unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_fileflow.flight import Flight, Logbook
    from pytest_fileflow.model import Case, Kind, Run, Side
    from pytest_fileflow.streams import Tools


@dataclass(frozen=True)
class Errand:
    """How the cases of a kind are carried out; ``conclude`` gets the answers in the order of the questions.

    What is asked ``apart`` may wait for long, and does so where it holds up no other work.
    """

    questions: Callable[[Case, Run, Tools], tuple[Question, ...]]
    conclude: Callable[[Case, Run, Sequence[Any]], Run]
    apart: bool = False


def alone(
    carry_out: Callable[[Case, Run, Tools], Run],
    may_write: Callable[[Case, Run], tuple[tuple[Side, str], ...]] = lambda _case, _run: (),
) -> Errand:
    """Return the errand of one piece of work at both ends that is shared with nobody, and done apart.

    ``carry_out`` returns the run with its checks and verdict; ``may_write`` is what it may write,
    for the ledger, before it begins.
    """

    def questions(case: Case, run: Run, _tools: Tools) -> tuple[Question, ...]:
        def ask(run: Run, tools: Tools) -> Run:
            return carry_out(case, run, tools)

        return (Question(ask, None, may_write(case, run), (case.flow.source, case.flow.target)),)

    return Errand(questions, lambda _case, _run, answers: answers[0], apart=True)


ERRANDS: Final[Mapping[Kind, Errand]] = MappingProxyType(
    {
        "contract": Errand(contract.contract_questions, contract.conclude),
        "canary": Errand(contract.canary_questions, contract.conclude),
        "rejects": alone(negative.carry_out, negative.may_write),
    }
)


@dataclass
class _Asked:
    """A run whose questions are being answered."""

    flight: Flight
    number: int
    answers: dict[int, object] = field(default_factory=dict)


class Errands:
    """Carries errands out, piece by piece, in the engine's threads; whoever waits for an answer occupies none."""

    def __init__(
        self,
        submit: Callable[..., None],
        land: Callable[[Flight, Run], None],
        fail: Callable[[Flight, BaseException], None],
        passed: Callable[[Flight, Run], None],
        logbook: Logbook,
    ) -> None:
        self._submit = submit
        self._land = land
        self._fail = fail
        self._passed = passed
        self._logbook = logbook
        self._answers: Answers[tuple[_Asked, int]] = Answers()

    def begin(self, flight: Flight) -> None:
        """Find out what a run has to ask, and have that asked which is not known yet."""
        case, tools = flight.case, flight.tools
        to_ask: list[Question] = []
        try:
            flight.stop_if_cancelled("this was looked at")
            run = flight.run = steps.prepare_errand(case, tools, flight.attempt)
            questions = ERRANDS[case.kind].questions(case, run, tools)
            asked = _Asked(flight, len(questions))
            for place, question in enumerate(questions):
                own = dataclasses.replace(question, key=object()) if question.key is None else question
                # A rerun is there to find out anew.
                if self._answers.want(own.key, (asked, place), self._tell, anew=flight.attempt > 1):
                    to_ask.append(own)
            written = dict.fromkeys(name for question in to_ask for name in question.writes)
            run = flight.run = dataclasses.replace(run, written=tuple(written))
            if written:
                self._logbook.enter(flight.key, case, run)
        except BaseException as error:  # noqa: BLE001 - whatever happens to one run ends that run with its cause
            for question in to_ask:
                self._answers.settle(question.key, Unanswered(error), self._tell)
            self._fail(flight, error)
            return
        apart = ERRANDS[case.kind].apart
        for question in to_ask:
            lanes = () if apart else lanes_of(*question.ends)
            self._submit(flight, self._ask, question, run, lanes=lanes, urgent=not apart, apart=apart)

    def _ask(self, flight: Flight, question: Question, run: Run) -> None:
        try:
            flight.stop_if_cancelled("this was looked at")
            answer = question.ask(run, flight.tools)
        except BaseException as error:  # noqa: BLE001 - as above
            answer = Unanswered(error)
        self._answers.settle(question.key, answer, self._tell)

    def _tell(self, waiter: tuple[_Asked, int], answer: object) -> None:
        asked, place = waiter
        with asked.flight.lock:
            asked.answers[place] = answer
            is_complete = len(asked.answers) == asked.number
        if is_complete:
            self._submit(asked.flight, self._conclude, asked, lanes=(), urgent=True)

    def _conclude(self, flight: Flight, asked: _Asked) -> None:
        if not flight.may_finish():
            return
        run = flight.run or steps.unprepared(flight.case, flight.attempt)
        answers = [asked.answers[place] for place in range(asked.number)]
        try:
            unanswered = [answer.error for answer in answers if isinstance(answer, Unanswered)]
            if unanswered:
                run = dataclasses.replace(run, verdict=steps.verdict_of(as_ours(unanswered[0])))
            else:
                run = ERRANDS[flight.case.kind].conclude(flight.case, run, answers)
            run = run.with_stamp("verified", flight.tools.clock.stamp())
        except BaseException as error:  # noqa: BLE001 - as above
            run = dataclasses.replace(run, verdict=steps.verdict_of(as_ours(error)))
        if run.verdict is None or run.verdict.outcome != "passed":
            self._land(flight, run)
            return
        # Nobody waits for the record of what is well, but transfers do for the verdict.
        self._passed(flight, run)
        self._submit(flight, self._land, run, lanes=None if run.written else ())
