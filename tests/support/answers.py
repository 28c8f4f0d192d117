"""A small HTTP server that answers as a test says and remembers what it was asked."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """``length`` is what Content-Length claims, where that is not the truth; ``hold`` waits first.

    ``raw`` is written piece by piece in place of an HTTP answer, and then the connection is closed.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    hold: threading.Event | None = None
    raw: Iterable[bytes] | None = None


class AnswerServer:
    """``with AnswerServer(answer) as server:`` asks ``answer(request)`` for what to say."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self.requests: list[Request] = []
        self._answer = answer

    def __enter__(self) -> AnswerServer:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def handle_expect_100(self) -> bool:
                super().handle_expect_100()
                self.wfile.flush()  # or the client waits a second for it
                return True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
                return

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = Request(self.command, self.path, dict(self.headers), body)
                outer.requests.append(request)
                self._say(outer._answer(request))

            def _say(self, answer: Answer) -> None:
                if _said_raw(self, answer):
                    return
                self.send_response(answer.status)
                claimed = len(answer.body) if answer.length is None else answer.length
                for name, value in {**answer.headers, "Content-Length": str(claimed)}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)
                self.wfile.flush()
                self.close_connection = answer.length is not None

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 (http.server's names)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def _said_raw(handler: BaseHTTPRequestHandler, answer: Answer) -> bool:
    """Wait as long as an answer wants it; write one that is no HTTP, and return whether it was such."""
    if answer.hold is not None:
        answer.hold.wait(20)
    if answer.raw is None:
        return False
    handler.close_connection = True
    for piece in answer.raw:
        handler.wfile.write(piece)
        handler.wfile.flush()
    return True
