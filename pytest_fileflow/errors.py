"""The exception tree: each error is named by a cause of the table in causes.py.

::

    FileflowError
    ├── FlowError                    the flow is at fault: the item fails
    │   ├── AuthRejected             auth.rejected
    │   ├── HostKeyUnknown           hostkey.unknown
    │   ├── HostKeyMismatch          hostkey.mismatch
    │   ├── AccessDenied             access.denied
    │   ├── KmsDenied                kms.denied
    │   ├── LocationMissing          location.missing
    │   ├── StorageFailed            storage.failed
    │   ├── SecretMissing            secret.missing
    │   ├── SecretMalformed          secret.malformed
    │   ├── ConfigInvalid            config.invalid
    │   ├── NotAllowed               config.not_allowed
    │   ├── CleanupResidue           cleanup.residue
    │   ├── LetIn                    negative.accepted
    │   ├── RefusedOtherwise         negative.unclear
    │   ├── NetworkError
    │   │   ├── NameNotResolved      net.dns
    │   │   ├── ConnectionRefused    net.refused
    │   │   ├── NetworkTimeout       net.timeout
    │   │   ├── ConnectionLost       net.reset
    │   │   └── NegotiationFailed    net.negotiation
    │   └── TriggerError
    │       ├── FunctionNotFound     trigger.not_found
    │       ├── InvokeDenied         trigger.denied
    │       ├── InvokeThrottled      trigger.throttled
    │       ├── FunctionFailed       trigger.function_error
    │       └── InvokeTimeout        trigger.timeout
    └── TesterError                  the tester is at fault: the item errors
        ├── CredentialsUnusable      tester.credentials
        ├── ResultsStoreFailed       tester.results_store
        │   └── RecordRefused        tester.results_store
        ├── SandboxFailed            tester.sandbox
        ├── NotTried                 tester.not_tried
        ├── OverBudget               tester.over_budget
        ├── StepFailed               tester.step_failed
        ├── Interrupted              tester.interrupted
        └── TesterBug                tester.bug
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pytest_fileflow.causes import hint_for

if TYPE_CHECKING:
    from collections.abc import Mapping


class FileflowError(Exception):
    """A fault with a cause from the contract.

    ``reason`` is one sentence for an operator. ``evidence`` holds plain, JSON-safe values that
    support it. Neither may hold a secret or payload bytes.
    """

    cause: ClassVar[str]

    def __init__(self, reason: str, *, hint: str | None = None, evidence: Mapping[str, object] | None = None):
        super().__init__(reason)
        self.reason = reason
        self.hint = hint or hint_for(self.cause)
        self.evidence: dict[str, object] = dict(evidence or {})


class FlowError(FileflowError):
    """The flow is at fault: its item fails."""


class AuthRejected(FlowError):
    """The server refused the key or password."""

    cause = "auth.rejected"


class HostKeyUnknown(FlowError):
    """The server's host key is neither pinned nor in known_hosts."""

    cause = "hostkey.unknown"


class HostKeyMismatch(FlowError):
    """The server offered another host key than the one that is pinned or known."""

    cause = "hostkey.mismatch"


class AccessDenied(FlowError):
    """A permission is missing; the reason names the action and the location."""

    cause = "access.denied"


class KmsDenied(FlowError):
    """The KMS key refused, not the bucket."""

    cause = "kms.denied"


class LocationMissing(FlowError):
    """There is no such bucket or directory."""

    cause = "location.missing"


class StorageFailed(FlowError):
    """The storage accepted the session and could not do what was asked: disk full, quota, internal error."""

    cause = "storage.failed"


class SecretMissing(FlowError):
    """There is no such secret; the reason names the ARN."""

    cause = "secret.missing"


class SecretMalformed(FlowError):
    """The secret is not of the agreed form; the reason names the ARN and the part, never the value."""

    cause = "secret.malformed"


class ConfigInvalid(FlowError):
    """The flow config cannot be used."""

    cause = "config.invalid"


class NotAllowed(FlowError):
    """The flow names a place or function that is not on the allow-list: nothing was touched."""

    cause = "config.not_allowed"


class CleanupResidue(FlowError):
    """The transfer worked, but what the run wrote could not be removed."""

    cause = "cleanup.residue"


class LetIn(FlowError):
    """The system let in what it must refuse; the reason names who, where and what."""

    cause = "negative.accepted"


class RefusedOtherwise(FlowError):
    """The system refused what it must refuse, but too late, or not in the way that proves it."""

    cause = "negative.unclear"


class NetworkError(FlowError):
    """Something between here and the server failed."""


class NameNotResolved(NetworkError):
    """The host name does not resolve."""

    cause = "net.dns"


class ConnectionRefused(NetworkError):
    """The port is closed."""

    cause = "net.refused"


class NetworkTimeout(NetworkError):
    """No answer came within the time limit of the operation."""

    cause = "net.timeout"


class ConnectionLost(NetworkError):
    """The connection broke."""

    cause = "net.reset"


class NegotiationFailed(NetworkError):
    """Client and server have no algorithm in common; the reason lists both sides."""

    cause = "net.negotiation"


class TriggerError(FlowError):
    """The transfer could not be started, or said that it failed."""


class FunctionNotFound(TriggerError):
    """The Lambda function does not exist."""

    cause = "trigger.not_found"


class InvokeDenied(TriggerError):
    """Invoking the function was denied."""

    cause = "trigger.denied"


class InvokeThrottled(TriggerError):
    """The function stayed throttled over several tries."""

    cause = "trigger.throttled"


class FunctionFailed(TriggerError):
    """The function ran and reported an error; the evidence holds its log tail."""

    cause = "trigger.function_error"


class InvokeTimeout(TriggerError):
    """A synchronous invocation did not return in time."""

    cause = "trigger.timeout"


class TesterError(FileflowError):
    """The tester is at fault and cannot tell about the flow: the item errors."""

    __test__: ClassVar[bool] = False  # or pytest would try to collect these classes where they are imported


class CredentialsUnusable(TesterError):
    """The tester's own AWS credentials are absent, expired or wrong."""

    cause = "tester.credentials"


class ResultsStoreFailed(TesterError):
    """The run's record could not be written."""

    cause = "tester.results_store"


class RecordRefused(ResultsStoreFailed):
    """The store works, and does not take this one record, now or later."""


class SandboxFailed(TesterError):
    """The sandbox could not be started, or ended too early; the reason holds its own words."""

    cause = "tester.sandbox"


class ToolMissing(TesterError):
    """A program that a check needs is not installed here, or does not work; the hint says how to install it."""

    cause = "tester.tool_missing"


class NotTried(TesterError):
    """A negative case could not be tried: nobody here can play the stranger that it takes."""

    cause = "tester.not_tried"


class OverBudget(TesterError):
    """A run was not begun, since the session's budget is used up."""

    cause = "tester.over_budget"


class StepFailed(TesterError):
    """A step of a run ended without an answer: its own process was ended, or never began."""

    cause = "tester.step_failed"


class Interrupted(TesterError):
    """The session ended before the run did."""

    cause = "tester.interrupted"


class TesterBug(TesterError):
    """A fault in the tester itself."""

    cause = "tester.bug"
