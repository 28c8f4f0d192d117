"""One HTTP request to the sandbox and its answer, the WSGI way; and the server that takes them."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from werkzeug.serving import BaseWSGIServer

REGION = "us-east-1"
_BACKLOG = 1024
_SCOPE = re.compile(r"Credential=([^/]+)/[^/]+/([^/]+)/([^/]+)/aws4_request")


@dataclass(frozen=True)
class Response:
    """A status line, headers and body."""

    status: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def send(self, start_response: StartResponse) -> Iterable[bytes]:
        """Send it the WSGI way."""
        start_response(self.status, [*self.headers, ("Content-Length", str(len(self.body)))])
        return [self.body]


def json_response(value: object, status: str = "200 OK", **headers: str) -> Response:
    """Return a JSON response; ``x_amzn_errortype`` becomes the header ``x-amzn-errortype``."""
    named = ((name.replace("_", "-"), text) for name, text in headers.items())
    return Response(status, json.dumps(value).encode(), (("Content-Type", "application/json"), *named))


@dataclass(frozen=True)
class Request:
    """The parts of a request that routing needs. ``key_id`` and ``service`` come from its signature."""

    method: str
    path: str
    query: str
    key_id: str
    region: str
    service: str
    environ: WSGIEnvironment = field(repr=False)

    @classmethod
    def of(cls, environ: WSGIEnvironment) -> Request:
        """Read a WSGI environment."""
        scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        key_id, region, service = scope.groups() if scope else ("", REGION, "s3")
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
        method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
        return cls(method, path, query, key_id, region, service, environ)

    def header(self, name: str) -> str:
        """Return a header's text, empty where there is none."""
        return str(self.environ.get(f"HTTP_{name.upper().replace('-', '_')}", ""))

    def body(self) -> bytes:
        """Read the body, and leave it in place for whoever comes next."""
        stream = self.environ["wsgi.input"]
        length = int(self.environ.get("CONTENT_LENGTH") or 0)
        data: bytes = stream.read() if self.environ.get("wsgi.input_terminated") else stream.read(length)
        self.replace_body(data)
        return data

    def replace_body(self, data: bytes) -> None:
        """Put other bytes in the body's place."""
        self.environ["wsgi.input"] = io.BytesIO(data)
        self.environ["CONTENT_LENGTH"] = str(len(data))


class Reset(ConnectionError):
    """The connection of this request is to be reset under the client."""


def reset_on_close(connection: socket.socket) -> None:
    """Let the close of a socket send RST in place of FIN (socket(7), SO_LINGER of 0 s)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def make_http_server(application: WSGIApplication) -> BaseWSGIServer:
    """Return a server on 127.0.0.1 and a free port; it takes bursts of connections, and logs nothing."""
    from moto.moto_server import werkzeug_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    # moto's own handler, where this version has one, keeps underscores in S3 metadata names
    base: type[WSGIRequestHandler] = getattr(werkzeug_app, "MotoRequestHandler", WSGIRequestHandler)

    class Handler(base):  # type: ignore[valid-type,misc] # chosen above
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log(self, *_: object) -> None:
            """Keep quiet."""

        def connection_dropped(self, error: BaseException, environ: WSGIEnvironment | None = None) -> None:  # noqa: ARG002 - werkzeug's
            """Reset the connection where a fault wants it broken; clients that went away need nothing."""
            if isinstance(error, Reset):
                with contextlib.suppress(OSError):  # the client was quicker
                    reset_on_close(self.connection)
                    self.wfile.close()
                    self.rfile.close()
                    self.connection.close()

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    server.socket.listen(_BACKLOG)
    return server
