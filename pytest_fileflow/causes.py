"""The table of causes that every failing run is named by: when each applies, and where to look first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Cause:
    """A machine-readable name of what went wrong, when it applies, and where to look first."""

    name: str
    when: str
    hint: str


FURTHER_CHECK = "check.<name>"  # the causes of all further checks: they share a row
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
    Cause("content.bom", "a byte order mark was added or removed", "Write the file as bytes, not as text with a BOM."),
    Cause(
        "content.zeros",
        "a range of the file is zeros",
        "Look for a writer that seeks past blocks it never writes.",
    ),
    Cause(
        "content.recompressed",
        "the right bytes, compressed, wrapped or unpacked",
        "Look for a gzip, zip or base64 step, and for a client that unpacks by Content-Encoding.",
    ),
    Cause("content.reencoded", "the right text in another encoding", "Look for a text-mode read or write."),
    Cause(
        "content.stale",
        "the bytes are those of another run",
        "Look for a cache or a fixed file name in the transfer.",
    ),
    Cause(
        "content.unchanged",
        "arrived as it was sent, where the flow should have wrapped or unwrapped it",
        "See whether the step that compresses, encrypts or unpacks ran at all, and on this file.",
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
        'Store JSON: {"privateKey": PEM, "passphrase": optional, "password": optional}, or the key alone.',
    ),
    Cause("config.invalid", "the flow config cannot be used", "Correct the lines named above."),
    Cause(
        "config.not_allowed",
        "the flow names a place or function that is not on the allow-list",
        "Allow what is named above (--fileflow-allow, the environment's allow), or correct the config.",
    ),
    Cause(FURTHER_CHECK, "a further check failed", "Compare what the check expected with what it observed."),
    Cause(
        "cleanup.residue",
        "passed otherwise, but left files behind",
        "Remove the named files, and grant delete on their location.",
    ),
    Cause(
        "negative.accepted",
        "what must be refused was let in",
        "Close the door named above: user and key, bucket policy, directory permissions, or the function's own checks.",
    ),
    Cause(
        "negative.unclear",
        "what must be refused was refused in another way than it should be, or too late",
        "Read what the system answered: a refusal names the login, the permission or the payload.",
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
    Cause(
        "tester.tool_missing",
        "a program that a check needs is not installed where the tests run",
        "Install the program named above, and make sure that it is on PATH.",
    ),
    Cause(
        "tester.not_tried",
        "a negative case could not be tried",
        "Use the plugin's own endpoint fixtures for this flow, or take the case out of its config.",
    ),
    Cause(
        "tester.over_budget",
        "a case was not run again: the session's budget of bytes or runs is used up",
        "The verdict of the run before stands; raise --fileflow-max-bytes or --fileflow-max-runs for reruns.",
    ),
    Cause(
        "tester.step_failed",
        "a step of the state machine ended without an answer: out of time or memory, throttled, or lost",
        "Look at the log of the step's own function: its time limit, memory, and the account's concurrency.",
    ),
    Cause("tester.interrupted", "the session ended before the run did", "Run it again."),
    Cause("tester.bug", "a fault in the tester itself", "Please report it with the text above."),
)

CAUSES: Mapping[str, Cause] = {cause.name: cause for cause in _TABLE}


CHECK_HINTS: Mapping[str, str] = {
    "rows": "Look for a filter, a join or a retry in the transfer: rows are dropped, or written twice.",
    "csv_header": "Compare the columns that the transfer writes, and how it quotes fields, with what was expected.",
    "jsonl": "Look at how the transfer writes records: an array in the place of lines, or a line cut by a buffer.",
    "fixedwidth": "Look for trimmed blanks, another line end, or characters that take more bytes than they should.",
    "encoding": "Look for a text-mode read or write in the transfer: its encoding, and what it makes of line ends.",
    "gzip": "See whether the transfer writes gzip to its end, and nothing after it; a text-mode copy damages it too.",
    "zip": "See what the transfer packs, and whether it closes the archive: its directory is written last.",
    "pgp": "Compare the key that the transfer encrypts for, and the one it signs with, with those of the receiver.",
    "kms": "Compare the key that the transfer's upload names, or the bucket's default key, with the configured one.",
    "metadata": "Look at what the transfer's upload sets: a copy through a client keeps no metadata by itself.",
    "renamed": "Compare the transfer's naming rule with the name that was expected.",
    "sidecars": "See whether the transfer takes the sidecars along, and all of one run together.",
    "tags": "Look at what the transfer's upload sets, and whether it may: tags take s3:PutObjectTagging.",
}
"""Where to look first when a further check that comes with the package fails."""


def hint_for(cause: str) -> str:
    """Return the hint for a cause; checks of plugins share one."""
    return CHECK_HINTS.get(cause.removeprefix("check."), CAUSES.get(cause, CAUSES[FURTHER_CHECK]).hint)
