"""Starts transfers by invoking their Lambda function."""

from __future__ import annotations

import base64
import itertools
import json
import logging
import random
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_fileflow.aws_errors import (
    error_code,
    error_message,
    evidence_of,
    http_status,
    is_kms_refusal,
    translate,
    translated,
)
from pytest_fileflow.errors import (
    ConfigInvalid,
    FileflowError,
    FunctionFailed,
    FunctionNotFound,
    InvokeDenied,
    InvokeThrottled,
    InvokeTimeout,
    KmsDenied,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.exceptions import ClientError

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.model import Transfer

logger = logging.getLogger(__name__)

# "For synchronous invocations, the maximum payload size is 6 MB. For asynchronous invocations, the
# maximum payload size is 1 MB." (Lambda API reference, Invoke; 256 KB until October 2025)
SYNC_PAYLOAD_BYTES: Final = 6 * 1024 * 1024
ASYNC_PAYLOAD_BYTES: Final = 1024 * 1024
# A throttled invocation is tried again for half of the transfer's time, so that its cause is known before
# that is over; it occupies a thread, and so not for ever.
PATIENCE_SHARE: Final = 0.5
PATIENCE_SECONDS: Final = 30.0
BACKOFF_SECONDS: Final = 0.5  # doubled with each try, times a random factor of 0.5 to 1.5
MOST_BACKOFF_SECONDS: Final = 8.0
LOG_TAIL_BYTES: Final = 4096  # what Lambda itself returns at most
RETURNED_CHARACTERS: Final = SYNC_PAYLOAD_BYTES  # whole: who judges it must not see half of it
MESSAGE_CHARACTERS: Final = 300

_ACTION = "lambda:InvokeFunction"
_DENIED_STATUS = 403
# What Lambda itself says of a function that it has ended (developer guide, "Lambda function timeout errors").
_TIMED_OUT = re.compile(r"Task timed out after ([0-9.]+) seconds")
# The function exists and could not be started: its network, file system, code package or state. One that nobody has
# called for weeks is asleep, and says so (Lambda developer guide, "Lambda function states").
_NOT_STARTED = frozenset(
    [
        "CodeArtifactUserDeletedException",
        "CodeArtifactUserFailedException",
        "CodeArtifactUserPendingException",
        "EC2AccessDeniedException",
        "EC2ThrottledException",
        "EC2UnexpectedException",
        "EFSIOException",
        "EFSMountConnectivityException",
        "EFSMountFailureException",
        "EFSMountTimeoutException",
        "ENILimitReachedException",
        "ENINotReadyException",
        "InvalidRuntimeException",
        "InvalidSecurityGroupIDException",
        "InvalidSubnetIDException",
        "InvalidZipFileException",
        "ModeNotSupportedException",
        "NoPublishedVersionException",
        "RecursiveInvocationException",
        "ResourceConflictException",
        "ResourceNotReadyException",
        "RuntimeAliasDeletedException",
        "RuntimeVersionDeletedException",
        "S3FilesMountConnectivityException",
        "S3FilesMountFailureException",
        "S3FilesMountTimeoutException",
        "SnapStartException",
        "SnapStartNotReadyException",
        "SnapStartRegenerationFailureException",
        "SnapStartTimeoutException",
        "SubnetIPAddressLimitReachedException",
    ]
)
_NOT_ACCEPTED = frozenset(
    [
        "InvalidParameterValueException",
        "InvalidRequestContentException",
        "RequestTooLargeException",
        "UnsupportedMediaTypeException",
        "ValidationException",
    ]
)


@dataclass(frozen=True)
class Started:
    """What an invocation left as evidence; plain and JSON-safe.

    ``log_tail`` and ``returned`` come from a synchronous invocation only: at most 4 KiB of the
    function's log, and the start of what it returned.
    """

    request_id: str | None
    log_tail: str | None = None
    returned: str | None = None


class LambdaInvoker:
    """Invokes a transfer's function; sleep and the random factor come in for tests.

    ``masked`` takes secrets out of what the function logged and returned.
    """

    def __init__(
        self,
        clients: AwsClients,
        *,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
        masked: Callable[[str], str] = str,
    ) -> None:
        self._clients = clients
        self._masked = masked
        self._sleep = sleep
        self._chance = chance

    def invoke(self, transfer: Transfer, payload: object) -> Started:
        """Invoke the function of a transfer with a JSON payload; a DryRun only asks whether it may be invoked.

        Only a throttled invocation (HTTP 429: it did not run) is tried again, for half of the transfer's
        ``timeout_seconds`` and 30 s at most.

        Raises:
            FunctionNotFound, InvokeDenied, InvokeThrottled, InvokeTimeout, KmsDenied: as the names say.
            FunctionFailed: it ran and reported an error, or could not be started.
            ConfigInvalid: no function is named, or the payload is not JSON or too large.
            CredentialsUnusable, NetworkError, StorageFailed: no answer about the function itself.

        """
        arn = transfer.lambda_arn
        if arn is None:
            raise ConfigInvalid("transfer.lambda_arn is not set, so there is nothing to invoke")
        body = _encoded(payload, transfer.invocation, arn)
        limit = transfer.timeout_seconds
        patience = PATIENCE_SECONDS if limit is None else min(PATIENCE_SECONDS, limit * PATIENCE_SHARE)
        answer = self._call(arn, transfer.invocation, body, patience)
        started = _started(answer, self._masked)
        logger.info("invoked %s: request %s", arn, started.request_id)
        if answer.get("FunctionError"):
            raise _function_failed(arn, answer, started, self._masked)
        return started

    def _call(self, arn: str, invocation: str, body: bytes, patience: float) -> dict[str, Any]:
        client = self._clients.client("lambda", arn)
        waited, backoff = 0.0, BACKOFF_SECONDS
        for tried in itertools.count(1):  # noqa: B007 - said below
            answer = _call_once(client, arn, invocation, body)
            if answer is not None:
                return answer
            pause = backoff * (0.5 + self._chance())
            if waited + pause > patience:
                break
            self._sleep(pause)
            waited, backoff = waited + pause, min(2 * backoff, MOST_BACKOFF_SECONDS)
        raise InvokeThrottled(f"{arn} was still throttled at try {tried}, after {waited:.1f} s")


def _encoded(payload: object, invocation: str, arn: str) -> bytes:
    try:
        body = json.dumps(payload, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ConfigInvalid(f"transfer.payload for {arn} is not JSON: {error}") from error
    limit = ASYNC_PAYLOAD_BYTES if invocation == "Event" else SYNC_PAYLOAD_BYTES
    if len(body) > limit:
        raise ConfigInvalid(
            f"transfer.payload for {arn} is {len(body)} bytes long; an invocation of type {invocation} "
            f"takes at most {limit}"
        )
    return body


def _call_once(client: Any, arn: str, invocation: str, body: bytes) -> dict[str, Any] | None:
    """Return Lambda's whole answer, or None where the invocation was throttled."""
    from botocore.exceptions import ClientError, ReadTimeoutError

    log_type = {"LogType": "Tail"} if invocation == "RequestResponse" else {}
    with translated(_ACTION, arn):
        try:
            answer = client.invoke(FunctionName=arn, InvocationType=invocation, Payload=body, **log_type)
            return {**answer, "Payload": answer["Payload"].read()}
        except ReadTimeoutError as error:
            waited = client.meta.config.read_timeout
            raise InvokeTimeout(f"{arn} did not return within {waited:g} s; it may still be running") from error
        except ClientError as error:
            if error_code(error) == "TooManyRequestsException":
                logger.info("%s is throttled: %s", arn, error.response.get("Reason"))
                return None
            raise _refused(error, arn) from error


def _refused(error: ClientError, arn: str) -> FileflowError:
    code, evidence = error_code(error), evidence_of(error)
    said = f"{code}: {error_message(error)}"
    if is_kms_refusal(error):
        return KmsDenied(f"the KMS key of {arn}'s environment refused: {said}", evidence=evidence)
    if code == "ResourceNotFoundException":
        return FunctionNotFound(f"there is no function {arn}: {error_message(error)}", evidence=evidence)
    if code in _NOT_STARTED:
        return FunctionFailed(f"{arn} could not be started: {said}", evidence=evidence)
    if code in _NOT_ACCEPTED:
        return ConfigInvalid(f"Lambda does not accept the invocation of {arn}: {said}", evidence=evidence)
    general = translate(error, action=_ACTION, location=arn)
    if general.cause == "access.denied" and http_status(error) == _DENIED_STATUS:
        return InvokeDenied(f"{_ACTION} on {arn} was denied: {said}", evidence=evidence)
    return general


def _started(answer: Mapping[str, Any], masked: Callable[[str], str]) -> Started:
    log = base64.b64decode(answer.get("LogResult") or b"")[-LOG_TAIL_BYTES:]
    returned = masked(answer["Payload"].decode("utf-8", "replace"))
    return Started(
        request_id=answer.get("ResponseMetadata", {}).get("RequestId"),
        log_tail=masked(_whole_lines(log)) or None,
        returned=_cut(returned, RETURNED_CHARACTERS) or None,
    )


def _function_failed(
    arn: str, answer: Mapping[str, Any], started: Started, masked: Callable[[str], str]
) -> FunctionFailed | InvokeTimeout:
    evidence = {
        "lambda_request_id": started.request_id,
        "log_tail": started.log_tail,
        "function_error": answer["FunctionError"],
    }
    report = _error_report(answer["Payload"])
    limit = _TIMED_OUT.search(str(report.get("errorMessage"))) if report else None
    if report and limit and report.get("errorType") in (None, "Sandbox.Timedout"):
        return InvokeTimeout(f"{arn} ran into its own time limit of {limit[1]} s and was ended", evidence=evidence)
    said = masked(_error_text(report, answer["Payload"]))  # before it is cut: half a secret is not found
    return FunctionFailed(f"{arn} failed with {_cut(said, MESSAGE_CHARACTERS)}", evidence=evidence)


def _whole_lines(log: bytes) -> str:
    """Return a log tail without the line that it begins within: half of a secret in it would not be found."""
    text = log.decode("utf-8", "replace")
    return text if len(log) < LOG_TAIL_BYTES else text.partition("\n")[2] or text


def _error_report(returned: bytes) -> dict[str, Any] | None:
    """Return the object that a failed function's runtime returns, or None where it is something else."""
    try:
        report = json.loads(returned)
    except (ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) else None


def _error_text(report: Mapping[str, Any] | None, returned: bytes) -> str:
    """Return ``errorType: errorMessage`` of a failed function, or the start of whatever it returned."""
    if report is None:
        return returned.decode("utf-8", "replace") or "an error it did not describe"
    parts = (report.get("errorType"), report.get("errorMessage"))
    return ": ".join(str(part) for part in parts if part) or "an unnamed error"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"
