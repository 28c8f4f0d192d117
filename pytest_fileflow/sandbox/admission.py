"""Refuses at S3's door whoever is not known, in S3's own words: moto itself lets anybody in."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from pytest_fileflow.sandbox.backends import ACCOUNT, backend

if TYPE_CHECKING:
    from pytest_fileflow.sandbox.web import Request

_OWN = "FILEFLOW"  # how the access key ids begin that the sandbox hands out itself
_SESSION_KEY_ID = "AKIAIOSFODNN7EXAMPLE"  # what moto's GetSessionToken and GetFederationToken hand out


def refusal(request: Request) -> tuple[str, bytes] | None:
    """Return the status line and body with which S3 refuses a request, or None where it may go on.

    An unsigned request is denied: no bucket here is public. A key that neither the sandbox nor its
    IAM and STS have handed out does not exist.
    """
    if request.service != "s3" or request.path.startswith("/moto-api/"):
        return None
    key_id = request.key_id or _presigned_by(request.query)
    if key_id.startswith(_OWN) or (key_id and _was_handed_out(key_id)):
        return None
    if not key_id and not request.header("Authorization"):
        return _denied(request, "AccessDenied", "Access Denied")
    said = "The AWS Access Key Id you provided does not exist in our records."
    return _denied(request, "InvalidAccessKeyId", said, f"<AWSAccessKeyId>{escape(key_id)}</AWSAccessKeyId>")


def _presigned_by(query: str) -> str:
    fields = parse_qs(query)
    scope = fields.get("X-Amz-Credential", fields.get("AWSAccessKeyId", [""]))[0]
    return scope.split("/")[0]


def _was_handed_out(key_id: str) -> bool:
    iam, sts = backend("iam"), backend("sts")
    return (
        key_id == _SESSION_KEY_ID
        or key_id in iam.access_keys
        or any(role.access_key_id == key_id for role in sts.assumed_roles)
    )


def _denied(request: Request, code: str, message: str, more: str = "") -> tuple[str, bytes]:
    request.body()  # what is left unread would be taken for the next request
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}'
        f"<RequestId>FILEFLOWSANDBOX</RequestId><HostId>{ACCOUNT}</HostId></Error>"
    )
    return "403 Forbidden", b"" if request.method == "HEAD" else text.encode()
