"""Keeps what alerting remembers beside the records, and in a local file while the store cannot be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pytest_fileflow.errors import ResultsStoreFailed
from pytest_fileflow.results.alerts.book import Book, merged

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_fileflow.results.store import Store

T = TypeVar("T")
STATE = "alerts.json"  # its name in a store
TRIES = 20  # each that fails is another session's change that was written


class Memory:
    """The memory of a name in a store, with a local store beside it; ``troubles`` are lines for a person.

    What cannot be read is told, and taken for empty: it is better to tell twice than never.
    """

    def __init__(self, name: str, store: Store, local: Store | None) -> None:
        self._name = name
        self._places = [place for place in (store, local) if place is not None]
        self._local = local
        self.troubles: list[str] = []

    def update(self, change: Callable[[Book], tuple[Book, T]]) -> T:
        """Change the memory, whoever else does so at the same time; ``change`` may be called again with a newer one."""
        while self._places:
            try:
                return self._update(self._places[0], change)
            except ResultsStoreFailed as error:  # noqa: PERF203 - there are two places at the most
                del self._places[0]
                instead = "a local file is used instead" if self._places else "so it may be told again"
                self._trouble(
                    f"alerts: what was told before cannot be kept with the results, {instead}: {error.reason}"
                )
        return change(Book())[1]

    def _update(self, place: Store, change: Callable[[Book], tuple[Book, T]]) -> T:
        missed = self._missed() if place is not self._local else Book()
        for _ in range(TRIES):
            state = place.read_state(self._name)
            before = self._read(state.content) if state is not None else Book()
            after, answer = change(merged(before, missed))
            if after == before or place.write_state(self._name, after.dump(), state.version if state else None):
                if missed != Book():
                    self._clear()
                return answer
        raise ResultsStoreFailed(f"state/{self._name} was changed by others {TRIES} times in a row")

    def _read(self, content: bytes) -> Book:
        try:
            return Book.load(content)
        except ValueError as error:
            self._trouble(f"alerts: state/{self._name} cannot be read, so flows may be told of again: {error}")
            return Book()

    def _missed(self) -> Book:
        """Return what a store that was down has missed."""
        if self._local is None:
            return Book()
        try:
            state = self._local.read_state(self._name)
        except ResultsStoreFailed as error:
            self._trouble(f"alerts: {error.reason}")
            return Book()
        return self._read(state.content) if state is not None else Book()

    def _clear(self) -> None:
        if self._local is None:
            return
        try:
            state = self._local.read_state(self._name)
            if state is not None:
                self._local.write_state(self._name, Book().dump(), state.version)
        except ResultsStoreFailed as error:
            self._trouble(f"alerts: {error.reason}")

    def _trouble(self, line: str) -> None:
        if line not in self.troubles:
            self.troubles.append(line)
