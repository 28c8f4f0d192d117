"""Answers the part of the Lambda API that callers of functions use, and keeps what functions log."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from pytest_fileflow.sandbox import backends
from pytest_fileflow.sandbox.lambda_runtime import HANDLER, MEMORY_MB, Answer, Invocation
from pytest_fileflow.sandbox.routes import function_name
from pytest_fileflow.sandbox.web import REGION, Request, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_fileflow.sandbox.lambda_runtime import Pool

LOG_TAIL_BYTES = 4096  # AWS: Invoke with LogType=Tail returns the last 4 KB
_FUNCTION = re.compile(r"/2015-03-31/functions/(?P<name>.+?)(?P<what>/invocations|/configuration)?/?$")


class Lambdas:
    """The part of the Lambda API that callers of a function use: Invoke and GetFunction.

    ``functions`` maps a function's name to its time limit in seconds. ``is_throttled`` is asked
    with a function's name and the event it is to be invoked with.
    """

    def __init__(self, functions: Mapping[str, float], pool: Pool, is_throttled: Callable[[str, object], bool]) -> None:
        self._functions = functions
        self._pool = pool
        self._is_throttled = is_throttled

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
        """Invoke a function asynchronously, as a notification does; while it is throttled, nothing comes of that."""
        if self._is_throttled(name, event):
            return
        self._pool.enqueue(self._invocation(str(uuid.uuid4()), name, json.dumps(event).encode(), REGION))

    def _invoke(self, request: Request, asked: str) -> Response:
        request_id = str(uuid.uuid4())
        name, body = function_name(asked), request.body() or b"{}"
        if name not in self._functions:
            return _no_function(request, name)
        try:
            event = json.loads(body)
        except ValueError as error:
            problem = {"Type": "User", "Message": f"Could not parse request body into json: {error}"}
            return json_response(problem, "400 Bad Request", x_amzn_errortype="InvalidRequestContentException")
        kind = request.header("X-Amz-Invocation-Type") or "RequestResponse"
        identified = (("x-amzn-RequestId", request_id),)
        if kind == "DryRun":
            return Response("204 No Content", headers=identified)
        if self._is_throttled(name, event):
            return _throttled()
        invocation = self._invocation(request_id, name, body, request.region)
        if kind == "Event":
            self._pool.enqueue(invocation)
            return Response("202 Accepted", headers=identified)
        return _answered(self._pool.invoke(invocation), request_id, request.header("X-Amz-Log-Type") == "Tail")

    def _invocation(self, request_id: str, name: str, body: bytes, region: str) -> Invocation:
        timeout = self._functions[name]
        return Invocation(request_id, _function_arn(region, name), body, timeout, region)

    def _describe(self, request: Request, asked: str, *, whole: bool) -> Response:
        name = function_name(asked)
        if name not in self._functions:
            return _no_function(request, name)
        configuration = {
            "FunctionName": name,
            "FunctionArn": _function_arn(request.region, name),
            "Handler": HANDLER,
            "Runtime": "python3.13",
            "Timeout": max(1, int(self._functions[name])),
            "MemorySize": MEMORY_MB,
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "Version": "$LATEST",
        }
        return json_response({"Configuration": configuration} if whole else configuration)


def _function_arn(region: str, name: str) -> str:
    return f"arn:aws:lambda:{region}:{backends.ACCOUNT}:function:{name}"


def _no_function(request: Request, name: str) -> Response:
    problem = {"Type": "User", "Message": f"Function not found: {_function_arn(request.region, name)}"}
    return json_response(problem, "404 Not Found", x_amzn_errortype="ResourceNotFoundException")


def _throttled() -> Response:
    # docs.aws.amazon.com/lambda/latest/api/API_Invoke.html, TooManyRequestsException
    problem = {
        "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
    }
    return json_response(problem, "429 Too Many Requests", x_amzn_errortype="TooManyRequestsException")


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
        group = f"/aws/lambda/{function_name(invocation.arn)}"
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": line} for line in answer.log.splitlines() if line]
        with self._lock:
            backend = backends.backend("logs", invocation.region)
            backend.ensure_log_group(group)
            backend.ensure_log_stream(group, self._stream)
            backend.put_log_events(group, self._stream, events)
