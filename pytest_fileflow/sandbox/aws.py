"""Answers AWS's APIs over HTTP: moto's, and in front of it what moto lacks or refuses.

That is: invoking functions, secrets and topics under the very text a config names them by
(``<ACME_SECRET_ARN>``, ``arn:aws:…:...:…``), and S3 notifications that start functions.
"""

from __future__ import annotations

import base64
import hmac
import io
import json
import logging
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, quote_plus, urlencode

from pytest_fileflow.sandbox.lambda_runtime import HANDLER, MEMORY_MB, Answer, Invocation
from pytest_fileflow.sandbox.routes import function_name, s3_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from werkzeug.serving import BaseWSGIServer

    from pytest_fileflow.sandbox.lambda_runtime import Pool
    from pytest_fileflow.sandbox.sftp import Arrived

REGION = "us-east-1"
ACCOUNT = "123456789012"
"""moto's own account: the owner of everything in the sandbox."""

TRANSFER_KEY_ID = "FILEFLOWTRANSFER"
"""The access key id of the functions: what they write starts no function."""

LOG_TAIL_BYTES = 4096  # AWS: Invoke with LogType=Tail returns the last 4 KB
_BACKLOG = 1024

_LOG = logging.getLogger(__name__)
_SCOPE = re.compile(r"Credential=([^/]+)/[^/]+/([^/]+)/([^/]+)/aws4_request")
_FUNCTION = re.compile(r"/2015-03-31/functions/(?P<name>.+?)(?P<what>/invocations|/configuration)?/?$")


@dataclass
class Tables:
    """What the sandbox itself knows by the exact text of the configs; written by provisioning only.

    ``functions`` maps a function's name to its timeout in seconds, ``secrets`` an id to a secret
    text, ``topics`` a topic's configured ARN to its name.
    """

    functions: dict[str, float] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    topics: dict[str, str] = field(default_factory=dict)


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


class Gateway:
    """The WSGI application: each request goes to the first who knows it, moto last.

    ``private`` answers ``/_fileflow/<name>`` for callers that know the token.
    """

    def __init__(self, tables: Tables, token: str, private: Mapping[str, Callable[[Any], object]]) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._moto: WSGIApplication = DomainDispatcherApplication(create_backend_app)
        self._tables = tables
        self._token = token
        self._private = private
        self.webhooks = Webhooks()
        self.lambdas: Lambdas | None = None
        self.arrived: Arrived | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request = Request.of(environ)
        response = self._own(request)
        if response is not None:
            return response.send(start_response)
        key = _stored_object(request)
        if key is None or self.arrived is None or request.key_id == TRANSFER_KEY_ID:
            return self._moto(environ, start_response)
        return self._store(request, *key, start_response)

    def _own(self, request: Request) -> Response | None:
        if request.path.startswith("/_fileflow/"):
            return self._private_api(request)
        if request.service == "lambda" and self.lambdas is not None:
            return self.lambdas.answer(request)
        if request.service == "secretsmanager":
            return self._secret(request)
        if request.service == "sns":
            _name_topic(request, self._tables.topics)
        return None

    def _private_api(self, request: Request) -> Response:
        name = request.path.removeprefix("/_fileflow/")
        if name.startswith("webhook/"):
            return self.webhooks.take(name, request.body())
        if not hmac.compare_digest(request.header("X-Fileflow-Token").encode(), self._token.encode()):
            return json_response({"error": "the token is missing or wrong"}, "403 Forbidden")
        if name not in self._private:
            return json_response({"error": f"there is no {name}"}, "404 Not Found")
        try:
            return json_response(self._private[name](json.loads(request.body() or b"null")))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller hears of it
            _LOG.exception("%s failed", name)
            return json_response({"error": f"{type(error).__name__}: {error}"}, "500 Internal Server Error")

    def _secret(self, request: Request) -> Response | None:
        action = request.header("X-Amz-Target").removeprefix("secretsmanager.")
        if action not in ("GetSecretValue", "DescribeSecret"):
            return None
        name = str(json.loads(request.body() or b"{}").get("SecretId", ""))
        text = self._tables.secrets.get(name)
        if text is None:
            return None
        answer: dict[str, object] = {"ARN": name, "Name": name.rpartition(":secret:")[2]}
        version = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
        if action == "DescribeSecret":
            return json_response({**answer, "VersionIdsToStages": {version: ["AWSCURRENT"]}})
        return json_response({**answer, "VersionId": version, "VersionStages": ["AWSCURRENT"], "SecretString": text})

    def _store(self, request: Request, bucket: str, key: str, start_response: StartResponse) -> Iterable[bytes]:
        """Let moto store an object; once it has, say so before the client hears of it."""
        said: list[str] = []

        def started(status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[[bytes], object]:
            said.append(status)
            return start_response(status, headers, *more)

        body = self._moto(request.environ, started)
        if said and said[0].startswith("2") and self.arrived is not None:
            self.arrived(*s3_place(bucket, key), _s3_event(request, bucket, key))
        return body


def _stored_object(request: Request) -> tuple[str, str] | None:
    """Return the bucket and key where the request is PutObject, CopyObject or CompleteMultipartUpload."""
    bucket, slash, key = request.path.lstrip("/").partition("/")
    if request.service != "s3" or not slash or not key:
        return None
    query = parse_qs(request.query, keep_blank_values=True)
    query.pop("x-id", None)  # how SDKs name the operation
    presigned = all(name.lower().startswith("x-amz-") for name in query)
    whole = request.method == "PUT" and presigned
    completed = request.method == "POST" and "uploadId" in query
    return (bucket, key) if whole or completed else None


def _s3_event(request: Request, bucket: str, key: str) -> dict[str, object]:
    """Return S3's notification (docs.aws.amazon.com/AmazonS3: event message structure 2.1)."""
    from moto.s3.models import s3_backends

    stored = s3_backends[ACCOUNT]["aws"].get_object(bucket, key)
    how = "CompleteMultipartUpload" if request.method == "POST" else "Put"
    if request.header("x-amz-copy-source"):
        how = "Copy"
    entity = {
        # S3 encodes the key like a form field, and leaves the slash alone.
        "key": quote_plus(key, safe="/"),
        "size": stored.size if stored else 0,
        "eTag": stored.etag.strip('"') if stored else "",
        "sequencer": f"{time.time_ns():016X}",
    }
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "eventName": f"ObjectCreated:{how}",
        "userIdentity": {"principalId": "AWS:FILEFLOWSANDBOX"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": uuid.uuid4().hex[:16].upper(), "x-amz-id-2": ""},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "fileflow-sandbox",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "FILEFLOWSANDBOX"},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": entity,
        },
    }
    return {"Records": [record]}


def _name_topic(request: Request, topics: Mapping[str, str]) -> None:
    """Put a real topic's ARN in the place of the text by which a config names it."""
    form = dict(parse_qsl(request.body().decode(), keep_blank_values=True))
    name = topics.get(form.get("TopicArn", ""))
    if name is None:
        return
    from moto.sns.models import sns_backends

    topic = sns_backends[ACCOUNT][request.region].create_topic(name)
    request.replace_body(urlencode({**form, "TopicArn": topic.arn}).encode())


class Webhooks:
    """A local stand-in for chat and ticket webhooks: takes anything, and keeps it to be read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._posts: list[dict[str, str]] = []

    def take(self, path: str, body: bytes) -> Response:
        """Keep one post."""
        with self._lock:
            self._posts.append({"path": path, "body": body.decode("utf-8", "replace")})
        return Response("200 OK", b"ok", (("Content-Type", "text/plain"),))

    def posts(self) -> list[dict[str, str]]:
        """Return what was posted so far, oldest first."""
        with self._lock:
            return list(self._posts)


class Lambdas:
    """The part of the Lambda API that callers of a function use: Invoke and GetFunction."""

    def __init__(self, tables: Tables, pool: Pool) -> None:
        self._tables = tables
        self._pool = pool

    def answer(self, request: Request) -> Response | None:
        """Answer a request about one function, or return None for moto to answer."""
        match = _FUNCTION.match(request.path)
        if match is None:
            return None
        asked, what = match["name"], match["what"]
        if (request.method, what) == ("POST", "/invocations"):
            return self._invoke(request, asked)
        if request.method == "GET":
            return self._describe(request, asked, whole=what is None)
        return None

    def start(self, name: str, event: object) -> None:
        """Invoke a function asynchronously, as a notification does."""
        self._pool.enqueue(self._invocation(str(uuid.uuid4()), name, json.dumps(event).encode(), REGION))

    def _invoke(self, request: Request, asked: str) -> Response:
        request_id = str(uuid.uuid4())
        name, body = function_name(asked), request.body() or b"{}"
        if name not in self._tables.functions:
            return _no_function(request, name)
        try:
            json.loads(body)
        except ValueError as error:
            problem = {"Type": "User", "Message": f"Could not parse request body into json: {error}"}
            return json_response(problem, "400 Bad Request", x_amzn_errortype="InvalidRequestContentException")
        kind = request.header("X-Amz-Invocation-Type") or "RequestResponse"
        identified = (("x-amzn-RequestId", request_id),)
        if kind == "DryRun":
            return Response("204 No Content", headers=identified)
        invocation = self._invocation(request_id, name, body, request.region)
        if kind == "Event":
            self._pool.enqueue(invocation)
            return Response("202 Accepted", headers=identified)
        return _answered(self._pool.invoke(invocation), request_id, request.header("X-Amz-Log-Type") == "Tail")

    def _invocation(self, request_id: str, name: str, body: bytes, region: str) -> Invocation:
        timeout = self._tables.functions[name]
        return Invocation(request_id, _function_arn(region, name), body, timeout, region)

    def _describe(self, request: Request, asked: str, *, whole: bool) -> Response:
        name = function_name(asked)
        if name not in self._tables.functions:
            return _no_function(request, name)
        configuration = {
            "FunctionName": name,
            "FunctionArn": _function_arn(request.region, name),
            "Handler": HANDLER,
            "Runtime": "python3.13",
            "Timeout": max(1, int(self._tables.functions[name])),
            "MemorySize": MEMORY_MB,
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "Version": "$LATEST",
        }
        return json_response({"Configuration": configuration} if whole else configuration)


def _function_arn(region: str, name: str) -> str:
    return f"arn:aws:lambda:{region}:{ACCOUNT}:function:{name}"


def _no_function(request: Request, name: str) -> Response:
    problem = {"Type": "User", "Message": f"Function not found: {_function_arn(request.region, name)}"}
    return json_response(problem, "404 Not Found", x_amzn_errortype="ResourceNotFoundException")


def _answered(answer: Answer, request_id: str, with_log: bool) -> Response:
    headers = [
        ("Content-Type", "application/json"),
        ("x-amzn-RequestId", request_id),
        ("X-Amz-Executed-Version", "$LATEST"),
    ]
    if answer.failed:
        headers.append(("X-Amz-Function-Error", "Unhandled"))
    if with_log:
        tail = answer.log.encode()[-LOG_TAIL_BYTES:]
        headers.append(("X-Amz-Log-Result", base64.b64encode(tail).decode()))
    return Response("200 OK", answer.body, tuple(headers))


class FunctionLogs:
    """Writes what functions log to CloudWatch Logs, so that it is found there by request id."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stream = f"{datetime.now(timezone.utc):%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"

    def write(self, invocation: Invocation, answer: Answer) -> None:
        """Add one try's log to the group of its function."""
        from moto.logs.models import logs_backends

        group = f"/aws/lambda/{function_name(invocation.arn)}"
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": line} for line in answer.log.splitlines() if line]
        with self._lock:
            backend = logs_backends[ACCOUNT][invocation.region]
            backend.ensure_log_group(group)
            backend.ensure_log_stream(group, self._stream)
            backend.put_log_events(group, self._stream, events)


def make_http_server(gateway: Gateway) -> BaseWSGIServer:
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

    server = make_server("127.0.0.1", 0, gateway, threaded=True, request_handler=Handler)
    server.socket.listen(_BACKLOG)
    return server
