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
from urllib.parse import parse_qs

from pytest_fileflow.sandbox import backends
from pytest_fileflow.sandbox.environment import Answer, Invocation
from pytest_fileflow.sandbox.programs import TRANSFER_HANDLER, TRANSFER_MEMORY_MB
from pytest_fileflow.sandbox.routes import function_name
from pytest_fileflow.sandbox.web import REGION, Request, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_fileflow.sandbox.deployed import Deployed, DeployedFunction
    from pytest_fileflow.sandbox.lambda_runtime import Pool
    from pytest_fileflow.sandbox.programs import Program

LOG_TAIL_BYTES = 4096  # AWS: Invoke with LogType=Tail returns the last 4 KB
_FUNCTION = re.compile(r"/2015-03-31/functions/(?P<name>.+?)(?P<what>/invocations|/configuration)?/?$")


class Lambdas:
    """The part of the Lambda API that callers of a function use: Invoke and GetFunction.

    A function that was created through the API is ``deployed``, and goes before one of the same
    name that stands in a flow. ``functions`` maps the names of those to their time limits in
    seconds; ``transfer`` is what they run. ``is_throttled`` is asked with a function's name and
    the event it is to be invoked with.
    """

    def __init__(
        self,
        functions: Mapping[str, float],
        deployed: Deployed,
        transfer: Program,
        pool: Pool,
        is_throttled: Callable[[str, object], bool],
    ) -> None:
        self._functions = functions
        self._deployed = deployed
        self._transfer = transfer
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

    def start_deployed(self, region: str, arn: str, event: object) -> None:
        """Invoke a deployed function asynchronously, as the notifications of AWS's services do."""
        function = self._deployed.find(region, arn)
        if function is not None:
            body = json.dumps(event).encode()
            self._pool.enqueue(_invocation_of(function, str(uuid.uuid4()), body))

    def start(self, name: str, event: object) -> None:
        """Invoke a function asynchronously, as a notification does; while it is throttled, nothing comes of that."""
        if self._is_throttled(name, event):
            return
        self._pool.enqueue(self._invocation(str(uuid.uuid4()), name, json.dumps(event).encode(), REGION))

    def _invoke(self, request: Request, asked: str) -> Response:
        request_id = str(uuid.uuid4())
        name, body = function_name(asked), request.body() or b"{}"
        qualifier = parse_qs(request.query).get("Qualifier", [None])[0]
        deployed = self._deployed.find(request.region, asked, qualifier)
        if deployed is None and name not in self._functions:
            return _no_function(request, name)
        try:
            event = json.loads(body)
        except ValueError as error:
            problem = {"Type": "User", "Message": f"Could not parse request body into json: {error}"}
            return _problem("400 Bad Request", "InvalidRequestContentException", problem)
        kind = request.header("X-Amz-Invocation-Type") or "RequestResponse"
        identified = (("x-amzn-RequestId", request_id),)
        if kind == "DryRun":
            return Response("204 No Content", headers=identified)
        if deployed is not None:
            invocation = _invocation_of(deployed, request_id, body)
        elif self._is_throttled(name, event):
            return _throttled()
        else:
            invocation = self._invocation(request_id, name, body, request.region)
        if kind == "Event":
            self._pool.enqueue(invocation)
            return Response("202 Accepted", headers=identified)
        answer = self._pool.invoke(invocation, is_nested=self._deployed.is_credential(request.key_id))
        return _answered(answer, request_id, request.header("X-Amz-Log-Type") == "Tail")

    def _invocation(self, request_id: str, name: str, body: bytes, region: str) -> Invocation:
        timeout = self._functions[name]
        arn, group = _function_arn(region, name), f"/aws/lambda/{name}"
        return Invocation(request_id, arn, body, timeout, region, self._transfer, group)

    def _describe(self, request: Request, asked: str, *, whole: bool) -> Response | None:
        name = function_name(asked)
        if name not in self._functions or self._deployed.find(request.region, asked) is not None:
            return _no_function(request, name) if self._deployed.is_empty else None
        configuration = {
            "FunctionName": name,
            "FunctionArn": _function_arn(request.region, name),
            "Handler": TRANSFER_HANDLER,
            "Runtime": "python3.13",
            "Timeout": max(1, int(self._functions[name])),
            "MemorySize": TRANSFER_MEMORY_MB,
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "Version": "$LATEST",
        }
        return json_response({"Configuration": configuration} if whole else configuration)


def _invocation_of(function: DeployedFunction, request_id: str, body: bytes) -> Invocation:
    return Invocation(
        request_id,
        function.arn,
        body,
        function.timeout_seconds,
        function.region,
        function.program,
        function.log_group,
        function.retries,
    )


def _function_arn(region: str, name: str) -> str:
    return f"arn:aws:lambda:{region}:{backends.ACCOUNT}:function:{name}"


def _problem(status: str, kind: str, problem: Mapping[str, str]) -> Response:
    """Refuse a request; whoever refuses has a request id too, and Step Functions asks for it."""
    return json_response(problem, status, x_amzn_errortype=kind, x_amzn_RequestId=str(uuid.uuid4()))


def _no_function(request: Request, name: str) -> Response:
    problem = {"Type": "User", "Message": f"Function not found: {_function_arn(request.region, name)}"}
    return _problem("404 Not Found", "ResourceNotFoundException", problem)


def _throttled() -> Response:
    # docs.aws.amazon.com/lambda/latest/api/API_Invoke.html, TooManyRequestsException
    problem = {
        "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
    }
    return _problem("429 Too Many Requests", "TooManyRequestsException", problem)


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
        self.stream = f"{datetime.now(timezone.utc):%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"

    def write(self, invocation: Invocation, answer: Answer) -> None:
        """Add one try's log to the group of its function."""
        group, now = invocation.log_group, int(time.time() * 1000)
        events = [{"timestamp": now, "message": line} for line in answer.log.splitlines() if line]
        with self._lock:
            backend = backends.backend("logs", invocation.region)
            backend.ensure_log_group(group)
            backend.ensure_log_stream(group, self.stream)
            backend.put_log_events(group, self.stream, events)
