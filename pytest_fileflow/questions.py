"""Questions about what many flows share, a server or a function: each is asked once, and its answer shared."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from pytest_fileflow.model import Location, Run, Side
    from pytest_fileflow.streams import Tools


@dataclass(frozen=True)
class Question:
    """Something that a case has to find out.

    Two of the same ``key`` have the same answer; one without a key is shared with nobody. ``ask``
    gets the run and its tools. ``writes`` is what asking may write, and ``ends`` are the places that
    it works at.
    """

    ask: Callable[[Run, Tools], object]
    key: Hashable | None = None
    writes: tuple[tuple[Side, str], ...] = ()
    ends: tuple[Location, ...] = ()


@dataclass(frozen=True)
class Unanswered:
    """What came of a question that ended with an exception."""

    error: BaseException


Waiter = TypeVar("Waiter")


@dataclass
class _Known(Generic[Waiter]):
    """A question that was asked: who waits for its answer, None once it is there."""

    waiting: list[Waiter] | None = field(default_factory=list)
    answer: object = None


class Answers(Generic[Waiter]):
    """The answers of a process so far, and who waits for those that are being found out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Hashable, _Known[Waiter]] = {}

    def want(self, key: Hashable, waiter: Waiter, tell: Callable[[Waiter, object], None], *, anew: bool) -> bool:
        """Tell a waiter the answer, now or once it is there; return whether the caller has to ask for it.

        ``anew`` does not take an answer that was found before, only one that is being found.
        """
        with self._lock:
            known = self._known.get(key)
            must_ask = known is None or (anew and known.waiting is None)
            if known is None or must_ask:
                known = self._known[key] = _Known()
            if known.waiting is not None:
                known.waiting.append(waiter)
                return must_ask
        tell(waiter, known.answer)
        return False

    def settle(self, key: Hashable, answer: object, tell: Callable[[Waiter, object], None]) -> None:
        """Tell an answer to those who wait for it, and keep it, unless the question went unanswered."""
        with self._lock:
            known = self._known[key]
            waiting, known.waiting, known.answer = known.waiting or [], None, answer
            if isinstance(answer, Unanswered):
                del self._known[key]
        for waiter in waiting:
            tell(waiter, answer)
