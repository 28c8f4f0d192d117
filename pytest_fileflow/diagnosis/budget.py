"""Bounds what a diagnosis may cost: seconds, requests and threads, whatever hangs."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from pytest_fileflow.errors import FileflowError, NetworkTimeout, StorageFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_fileflow.streams import Tools

logger = logging.getLogger(__name__)

DIAGNOSIS_SECONDS = 5.0  # a run's diagnosis, all in all
MOST_QUESTIONS = 48  # and what it may ask: listings, stats, digests, looks into a log
LOOKERS = 64  # questions that are under way in this process, those that hang included
AWAKE_SECONDS = 0.25  # how soon a wait sees that the session has ended

T = TypeVar("T")

_ROOM = threading.BoundedSemaphore(LOOKERS)


class Untold(NetworkTimeout):
    """A question that a diagnosis goes on without the answer to."""


class Budget:
    """The seconds and questions of one diagnosis.

    Every question runs in a thread of its own that nobody has to wait for: an endpoint's call may
    block for its own time limit, which is longer. ``notes`` says what could not be told, and why.
    ``room`` bounds the threads, of all diagnoses together.
    """

    def __init__(
        self,
        tools: Tools,
        seconds: float | None = None,
        questions: int = MOST_QUESTIONS,
        room: threading.Semaphore = _ROOM,
    ) -> None:
        self.seconds = DIAGNOSIS_SECONDS if seconds is None else seconds
        self.notes: list[str] = []
        self._clock = tools.clock
        self._cancelled = tools.cancelled
        self._until = self._clock.monotonic() + self.seconds
        self._left = questions
        self._room = room

    def begin(self, what: str, question: Callable[[], T]) -> Asked[T]:
        """Ask and go on; ``what`` is the text that names the question in a note."""
        asked: Asked[T] = Asked(self, what)
        if self._left <= 0:
            asked.fail(Untold(f"{what} was not asked: a diagnosis asks no more than {MOST_QUESTIONS} questions"))
        elif not self._room.acquire(timeout=self.left()):
            asked.fail(self.too_late(what))
        else:
            self._left -= 1
            self._start(asked, question)
        return asked

    def _start(self, asked: Asked[T], question: Callable[[], T]) -> None:
        thread = threading.Thread(target=asked.run, args=(question, self._room), name="fileflow-diagnosis", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads, or the interpreter is ending
            self._room.release()
            asked.fail(StorageFailed("no thread could be started to ask for it"))

    def ask(self, what: str, question: Callable[[], T]) -> T:
        """Return the answer; raises FileflowError where there is none, in time or at all."""
        return self.begin(what, question).answer()

    def left(self) -> float:
        """Return the seconds that are left, none once the session has ended."""
        return 0.0 if self._cancelled() else max(0.0, self._until - self._clock.monotonic())

    def too_late(self, what: str) -> Untold:
        """Return the error of a question that was not answered in time."""
        return Untold(f"{what} could not be told within {self.seconds:g} s")

    def note(self, what: str, error: FileflowError) -> None:
        """Keep why something is not known."""
        self.notes.append(error.reason if isinstance(error, Untold) else f"{what} could not be told: {error.reason}")


class Asked(Generic[T]):
    """A question under way."""

    def __init__(self, budget: Budget, what: str) -> None:
        self.what = what
        self._budget = budget
        self._done = threading.Event()
        self._error: FileflowError | None = None
        self._answer: T

    def run(self, question: Callable[[], T], room: threading.Semaphore) -> None:
        """Ask, in the thread that may hang."""
        try:
            self._answer = question()
        except FileflowError as error:
            self._error = error
        except BaseException as error:  # noqa: BLE001 - somebody's endpoint; the text may hold anything
            logger.error("%s: unexpected %s", self.what, type(error).__name__)  # noqa: TRY400 - no foreign text
            self._error = StorageFailed(f"asking for it failed unexpectedly with {type(error).__name__}")
        finally:
            room.release()
            self._done.set()

    def fail(self, error: FileflowError) -> None:
        """Answer without having asked."""
        self._error = error
        self._done.set()

    @property
    def is_over(self) -> bool:
        """Return whether there is an answer, or an error in its place."""
        return self._done.is_set()

    def answer(self) -> T:
        """Wait for the answer while there is time; raises FileflowError where there is none."""
        while not self._done.wait(min(AWAKE_SECONDS, self._budget.left())):
            if not self._budget.left():
                raise self._budget.too_late(self.what)
        if self._error is not None:
            raise self._error
        return self._answer

    def answer_or(self, otherwise: T) -> T:
        """Return the answer, or something else, with a note of why."""
        try:
            return self.answer()
        except FileflowError as error:
            self._budget.note(self.what, error)
            return otherwise
