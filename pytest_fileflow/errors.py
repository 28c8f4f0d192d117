"""The exception tree, and the table of causes that every failing run is named by.

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
    │   ├── CleanupResidue           cleanup.residue
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
        ├── SandboxFailed            tester.sandbox
        ├── Interrupted              tester.interrupted
        └── TesterBug                tester.bug
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Cause:
    """A machine-readable name of what went wrong, when it applies, and where to look first."""

    name: str
    when: str
    hint: str


_TABLE = (
    Cause(
        "late",
        "arrived intact after the SLO, within the grace",
        "Compare the transfer's own duration and queueing (Lambda duration, throttles, retries) with earlier runs.",
    ),
    Cause(
        "missing.not_picked_up",
        "never arrived; the source file still lies where it was seeded",
        "See whether the transfer started at all: its trigger, schedule, event rule and its filter on file names.",
    ),
    Cause(
        "missing.lost",
        "never arrived; the source file is gone",
        "The transfer took the file and did not deliver it: read its log for this run id.",
    ),
    Cause(
        "missing.misplaced",
        "never arrived where expected, but lies under another prefix or directory",
        "Compare the transfer's configured target with the location named above.",
    ),
    Cause(
        "missing.renamed",
        "lies in the right place under another name",
        "Compare the transfer's naming rule with the name that was expected.",
    ),
    Cause(
        "partial.truncated",
        "stopped short of its size",
        "See whether the transfer was cut off: function timeout, memory, disk quota or a dropped connection.",
    ),
    Cause(
        "partial.oversize",
        "longer than it should be",
        "See whether the transfer appends, converts newlines, or wrote the file twice.",
    ),
    Cause(
        "content.corrupt",
        "right size, wrong bytes",
        "Compare the first differing offset with the transfer's block or part size; look for text-mode conversion.",
    ),
    Cause("content.newlines", "newlines were translated", "Switch the transfer to binary mode."),
    Cause("content.bom", "a byte order mark was added", "Write the file as bytes, not as text with a BOM."),
    Cause(
        "content.zeros",
        "a range of the file is zeros",
        "Look for a writer that seeks past blocks it never writes.",
    ),
    Cause("content.recompressed", "the right bytes, compressed or wrapped", "Look for a gzip or base64 step."),
    Cause("content.reencoded", "the right text in another encoding", "Look for a text-mode read or write."),
    Cause(
        "content.stale",
        "the bytes are those of another run",
        "Look for a cache or a fixed file name in the transfer.",
    ),
    Cause(
        "duplicate",
        "delivered more than once",
        "Look for retries of an asynchronous invocation, or two triggers.",
    ),
    Cause(
        "trigger.not_found",
        "the function does not exist",
        "Check transfer.lambda_arn: account, region, function name and alias.",
    ),
    Cause(
        "trigger.denied",
        "invoking the function was denied",
        "Grant lambda:InvokeFunction on this function to the identity that runs the tests.",
    ),
    Cause(
        "trigger.throttled",
        "the function is throttled",
        "Look at the function's reserved concurrency and the account's concurrency limit.",
    ),
    Cause(
        "trigger.function_error",
        "the function ran and failed",
        "Read the error and the log tail above; the request id finds the rest in CloudWatch Logs.",
    ),
    Cause(
        "trigger.timeout",
        "the invocation did not return in time",
        "Compare transfer.timeout_seconds with the function's own timeout and duration.",
    ),
    Cause(
        "auth.rejected",
        "the server refused the key or password",
        "Compare the secret's key with the one installed for this user: was it rotated on one side only?",
    ),
    Cause(
        "hostkey.unknown",
        "the server's host key is not known",
        "If the fingerprint is right, pin it as host_key in the config or add the line to known_hosts.",
    ),
    Cause(
        "hostkey.mismatch",
        "the server's host key is not the pinned one",
        "Ask the server's owner whether the key was changed; until then treat the server as not trusted.",
    ),
    Cause(
        "access.denied",
        "an S3 or SFTP permission is missing",
        "Grant the named action on the named location to the identity that was used.",
    ),
    Cause(
        "kms.denied",
        "the KMS key refused, not the bucket",
        "Check the key policy and grants for kms:GenerateDataKey and kms:Decrypt, and that the key is enabled.",
    ),
    Cause(
        "location.missing",
        "no such bucket or directory",
        "Check the name in the config, and whether the bucket or directory was removed.",
    ),
    Cause(
        "storage.failed",
        "the storage could not do what was asked",
        "Check free space, quotas and the health of the server.",
    ),
    Cause(
        "net.dns",
        "the host name does not resolve",
        "Check the host name, the DNS zone and the resolver used here.",
    ),
    Cause(
        "net.refused",
        "the port is closed",
        "See whether the server runs and listens on this port, and whether a firewall rejects it.",
    ),
    Cause(
        "net.timeout",
        "no answer in time",
        "Look for a firewall or security group that drops packets, or a server that hangs.",
    ),
    Cause("net.reset", "the connection broke", "Look at the server's log and at proxies or firewalls between."),
    Cause(
        "net.negotiation",
        "no common algorithm",
        "Update the server's algorithms; SHA-1 signatures (ssh-rsa) are no longer spoken.",
    ),
    Cause("secret.missing", "the secret does not exist", "Check secret_arn: account, region and name."),
    Cause(
        "secret.malformed",
        "the secret is not of the agreed form",
        'Store JSON: {"privateKey": PEM, "passphrase": optional, "password": optional}.',
    ),
    Cause("config.invalid", "the flow config cannot be used", "Correct the lines named above."),
    Cause(
        "cleanup.residue",
        "passed otherwise, but left files behind",
        "Remove the named files, and grant delete on their location.",
    ),
    Cause(
        "tester.credentials",
        "the tester's own AWS credentials cannot be used",
        "Check the credentials chain of the machine that runs the tests: environment, profile, role, expiry.",
    ),
    Cause(
        "tester.results_store",
        "the run's record could not be written",
        "Check that the results location exists, is writable and has space; the verdict above still stands.",
    ),
    Cause(
        "tester.sandbox",
        "the sandbox could not be started, or ended too early",
        'Read the words of the sandbox above; it needs the extra: pip install "pytest-fileflow[sandbox]".',
    ),
    Cause("tester.interrupted", "the session ended before the run did", "Run it again."),
    Cause("tester.bug", "a fault in the tester itself", "Please report it with the text above."),
)

CAUSES: Mapping[str, Cause] = {cause.name: cause for cause in _TABLE}


def hint_for(cause: str) -> str:
    """Return the table's hint for a cause; ``check.<name>`` causes share one."""
    known = CAUSES.get(cause)
    return known.hint if known else "Compare what the check expected with what it observed."


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


class CleanupResidue(FlowError):
    """The transfer worked, but what the run wrote could not be removed."""

    cause = "cleanup.residue"


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


class SandboxFailed(TesterError):
    """The sandbox could not be started, or ended too early; the reason holds its own words."""

    cause = "tester.sandbox"


class Interrupted(TesterError):
    """The session ended before the run did."""

    cause = "tester.interrupted"


class TesterBug(TesterError):
    """A fault in the tester itself."""

    cause = "tester.bug"
