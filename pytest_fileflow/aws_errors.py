"""What AWS's errors mean: for each that boto3, botocore or urllib3 raise, one of the project's own."""

from __future__ import annotations

import re
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pytest_fileflow.errors import (
    AccessDenied,
    ConfigInvalid,
    ConnectionLost,
    ConnectionRefused,
    CredentialsUnusable,
    FileflowError,
    KmsDenied,
    LocationMissing,
    NameNotResolved,
    NegotiationFailed,
    NetworkTimeout,
    StorageFailed,
    TesterBug,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.exceptions import ClientError

MESSAGE_CHARACTERS: Final = 300
_HTTP_NOT_FOUND = 404
_CHAIN_LENGTH = 12

_CREDENTIAL_CODES = frozenset(
    [
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "OptInRequired",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    ]
)
_DENIED_CODES = frozenset(
    [
        "401",
        "403",
        "AccessDenied",
        "AccessDeniedException",
        "AllAccessDisabled",
        "AuthorizationError",
        "Forbidden",
        "NotAuthorized",
        "UnauthorizedAccess",
        "UnauthorizedOperation",
    ]
)
_MISSING_CODES = frozenset(["404", "NoSuchBucket", "NoSuchKey", "NotFound", "ResourceNotFoundException"])
_INVALID_CODES = frozenset(
    [
        "InvalidArgument",
        "InvalidBucketName",
        "InvalidParameterException",
        "InvalidParameterValueException",
        "InvalidRequestException",
        "InvalidTag",
        "ValidationError",
        "ValidationException",
    ]
)
_KMS_CODES = frozenset(("DecryptionFailure", "EncryptionFailure", "InvalidKeyId"))
# Bucket and key names may hold the letters "kms": only these forms speak of the key service itself.
_KMS_WORDS = re.compile(
    r"\bkms:(Decrypt|Encrypt|GenerateDataKey|ReEncrypt|CreateGrant|DescribeKey)|Access to KMS|perform: kms:"
)


@contextmanager
def translated(action: str, location: str) -> Iterator[None]:
    """Let only the project's own errors out of a block that calls AWS."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ResponseParserError as error:  # its text holds the answer: a proxy's, in the place of AWS
        raise StorageFailed(f"the answer to {action} on {location} is none of AWS's") from error
    except (BotoCoreError, ClientError, Boto3Error, HTTPError, OSError) as error:
        raise translate(error, action=action, location=location) from error


def translate(error: Exception, *, action: str, location: str) -> FileflowError:
    """Return the project's error for anything that boto3, botocore or urllib3 raised.

    ``action`` is what was tried, in AWS's words (``s3:GetObject``); ``location`` is on what.
    """
    from botocore.exceptions import ClientError

    if isinstance(error, FileflowError):
        return error
    told = _first(error, ClientError)
    if told is not None:
        return _from_answer(told, action, location)
    return (
        _from_configuration(error, action, location)
        or _from_network(error, action, location)
        or _from_anything_else(error, action, location)
    )


def error_code(error: ClientError) -> str:
    """Return AWS's code for an error; for an answer without a body, the HTTP status as text."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_message(error: ClientError) -> str:
    """Return AWS's message, shortened."""
    return _short(str(error.response.get("Error", {}).get("Message", "")))


def http_status(error: ClientError) -> int:
    """Return the HTTP status of an error, 0 where it is not known."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def evidence_of(error: ClientError) -> dict[str, object]:
    """Return what AWS support would ask for, JSON-safe."""
    metadata = error.response.get("ResponseMetadata", {})
    return {
        "aws_code": error_code(error),
        "http_status": http_status(error),
        "aws_request_id": metadata.get("RequestId"),
    }


def is_kms_refusal(error: ClientError) -> bool:
    """Tell whether the key refused, not the service that uses it."""
    code = error_code(error)
    if code.startswith("KMS") or code in _KMS_CODES:
        return True
    return code in _DENIED_CODES and bool(_KMS_WORDS.search(error_message(error)))


def _from_answer(error: ClientError, action: str, location: str) -> FileflowError:
    code, evidence = error_code(error), evidence_of(error)
    said = _said(error)
    if is_kms_refusal(error):
        return KmsDenied(f"the KMS key refused {action} on {location}: {said}", evidence=evidence)
    if code in _CREDENTIAL_CODES:
        reason = f"AWS does not accept the tester's credentials for {action} on {location}: {said}"
        return CredentialsUnusable(reason, evidence=evidence)
    if code in _DENIED_CODES:
        return AccessDenied(f"{action} on {location} was denied: {said}", evidence=evidence)
    if code in _MISSING_CODES or http_status(error) == _HTTP_NOT_FOUND:
        return LocationMissing(f"{location} does not exist: {action} was answered with {said}", evidence=evidence)
    if code in _INVALID_CODES:
        return ConfigInvalid(f"AWS does not accept {location} for {action}: {said}", evidence=evidence)
    tries = int(error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)) + 1
    after = f" after {tries} tries" if tries > 1 else ""
    return StorageFailed(f"{action} on {location} failed{after}: {said}", evidence=evidence)


def _from_configuration(error: Exception, action: str, location: str) -> FileflowError | None:
    from botocore import exceptions as vendor

    own_fault = (
        vendor.NoCredentialsError,
        vendor.PartialCredentialsError,
        vendor.CredentialRetrievalError,
        vendor.ProfileNotFound,
        vendor.ConfigNotFound,
        vendor.ConfigParseError,
        vendor.InvalidConfigError,
        vendor.InfiniteLoopConfigError,
        vendor.RefreshWithMFAUnsupportedError,
        vendor.MetadataRetrievalError,
        vendor.UnknownCredentialError,
        vendor.NoAuthTokenError,
        vendor.TokenRetrievalError,
        vendor.SSOError,
        vendor.NoRegionError,
    )
    if _first(error, *own_fault) is not None:
        return CredentialsUnusable(f"no usable AWS credentials for {action} on {location}: {_short(str(error))}")
    if isinstance(error, (vendor.ParamValidationError, vendor.ValidationError, vendor.UnsupportedS3ArnError)):
        return ConfigInvalid(f"{location} cannot be used for {action}: {_short(str(error))}")
    return None


def _from_network(error: Exception, action: str, location: str) -> FileflowError | None:
    from botocore import exceptions as vendor
    from urllib3 import exceptions as http

    doing = f"during {action} on {location}"
    if _first(error, socket.gaierror, http.NameResolutionError) is not None:
        return NameNotResolved(f"the host name of the AWS endpoint does not resolve {doing}{_endpoint(error)}")
    if _first(error, vendor.SSLError, http.SSLError) is not None:
        hint = "Check the TLS proxy and the CA bundle used here (AWS_CA_BUNDLE), and the clock."
        return NegotiationFailed(f"TLS failed {doing}: {_short(str(error))}", hint=hint)
    if _first(error, ConnectionRefusedError) is not None:
        return ConnectionRefused(f"the AWS endpoint refuses connections {doing}{_endpoint(error)}")
    if _first(error, vendor.ConnectTimeoutError, vendor.ReadTimeoutError, http.TimeoutError, TimeoutError):
        return NetworkTimeout(f"AWS did not answer in time {doing}{_endpoint(error)}")
    broken = (
        vendor.HTTPClientError,
        vendor.ConnectionError,
        vendor.IncompleteReadError,
        http.HTTPError,
        OSError,
    )
    if _first(error, *broken) is not None:
        return ConnectionLost(f"the connection to AWS broke {doing}: {_short(str(error))}")
    return None


def _from_anything_else(error: Exception, action: str, location: str) -> FileflowError:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError

    described = f"{action} on {location} failed: {type(error).__name__}: {_short(str(error))}"
    return StorageFailed(described) if isinstance(error, (BotoCoreError, Boto3Error)) else TesterBug(described)


def _said(error: ClientError) -> str:
    message, code = error_message(error), error_code(error)
    return f"{code}: {message}" if message and message != code else f"HTTP {code}" if code.isdigit() else code


def _endpoint(error: Exception) -> str:
    url = getattr(error, "kwargs", {}).get("endpoint_url")
    return f" ({url.split('?')[0]})" if isinstance(url, str) else ""


def _first(error: BaseException, *kinds: type[BaseException]) -> Any:
    """Return the first error of one of these kinds among an error and those that led to it."""
    waiting: list[object] = [error]
    seen: list[object] = []
    while waiting and len(seen) < _CHAIN_LENGTH:
        candidate = waiting.pop(0)
        if not isinstance(candidate, BaseException) or any(candidate is other for other in seen):
            continue
        if isinstance(candidate, kinds):
            return candidate
        seen.append(candidate)
        kept = getattr(candidate, "kwargs", None)
        waiting += [candidate.__cause__, candidate.__context__, getattr(candidate, "reason", None)]
        waiting += [kept.get("error")] if isinstance(kept, dict) else []
    return None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_CHARACTERS else f"{line[:MESSAGE_CHARACTERS]}…"
