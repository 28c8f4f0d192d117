"""A server of webhooks and tickets that misbehaves as it is told, path by path."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from tests.support.answers import Answer, AnswerServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.answers import Request

HANG_UP = Answer(raw=())
GARBAGE = Answer(raw=(b"\x00\x01 what is HTTP?\r\n\r\n",))


def answer(status: int = 200, body: object = None, **headers: str) -> Answer:
    """Return an answer in JSON; ``retry_after="1"`` becomes the header ``Retry-After``."""
    named = {name.replace("_", "-").title(): text for name, text in headers.items()}
    return Answer(status, json.dumps(body).encode(), named)


class HookServer(AnswerServer):
    """Answers each path from its own list in ``answers``, the last of which stays; 200 where there is none."""

    def __init__(self) -> None:
        super().__init__(self._next)
        self.answers: dict[str, list[Answer]] = {}
        self._released = threading.Event()
        self._lock = threading.Lock()
        self.hang = Answer(hold=self._released)

    def __exit__(self, *details: Any) -> None:
        self._released.set()
        super().__exit__(*details)

    def drip(self) -> Answer:
        """Return an answer that never ends, a letter at a time."""
        return Answer(raw=self._drops())

    def _drops(self) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while not self._released.wait(0.01):
            yield b" "

    def reset(self) -> None:
        """Forget what was asked, and how to answer."""
        with self._lock:
            self.requests.clear()
            self.answers.clear()

    def bodies(self, path: str) -> list[Any]:
        """Return the JSON that came to a path."""
        return [json.loads(each.body) for each in list(self.requests) if each.path == path]

    def _next(self, request: Request) -> Answer:
        with self._lock:
            answers = self.answers.get(request.path, [answer()])
            return answers.pop(0) if len(answers) > 1 else answers[0]
