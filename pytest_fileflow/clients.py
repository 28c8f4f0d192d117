"""Hands out AWS clients, and turns what they raise into the project's own errors."""

from __future__ import annotations

import base64
import logging
import re
import secrets
import socket
import threading
from contextlib import contextmanager
from types import MappingProxyType
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
    from collections.abc import Iterator, Mapping

    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError

logger = logging.getLogger(__name__)

FALLBACK_REGION: Final = "us-east-1"
CONNECT_SECONDS: Final = 10
READ_SECONDS: Final = 60
# A Lambda may run for 900 s (AWS quota), and a synchronous answer comes only after that. Metrics come last: nobody
# shall wait for them.
READ_SECONDS_BY_SERVICE: Final[Mapping[str, float]] = MappingProxyType({"lambda": 910, "cloudwatch": 10})
ATTEMPTS: Final = 4
# A repeated invocation would run the transfer twice, so only the invoker decides about another try.
ATTEMPTS_BY_SERVICE: Final[Mapping[str, int]] = MappingProxyType({"lambda": 1, "cloudwatch": 3})
POOL_CONNECTIONS: Final = 64
# What keeps records must not hold up runs: it gives up soon, and its caller tries again later.
BRISK_CONNECT_SECONDS: Final = 3
BRISK_READ_SECONDS: Final = 5
BRISK_ATTEMPTS: Final = 2
MESSAGE_CHARACTERS: Final = 300
# NAT gateways, interface endpoints and firewalls forget a connection on which nothing was heard for 350 s (AWS VPC
# user guide, "NAT gateway timeouts"): a synchronous answer that comes later never arrives.
KEEPALIVE_SECONDS: Final = 60
KEEPALIVE_TRIES: Final = 5

_REGION = re.compile(r"[a-z]{2,3}(-[a-z]+)+-\d{1,2}")
_ARN_FIELDS = 6
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


class AwsClients:
    """One client a service and region, made on first use from a given session, for all threads.

    ``read_timeouts`` replaces the read timeout in seconds of single services.
    """

    def __init__(self, session: boto3.Session, *, read_timeouts: Mapping[str, float] | None = None) -> None:
        self._session = session
        self._read_timeouts = {**READ_SECONDS_BY_SERVICE, **(read_timeouts or {})}
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()  # making a client is not thread-safe, using one is (boto3's guide)

    def client(self, service: str, arn_or_region: str | None = None) -> Any:
        """Return the client of a service in the region of an ARN, else the session's, else us-east-1.

        Raises:
            FileflowError: the session's configuration cannot make this client.

        """
        region = region_of(arn_or_region) or self._session.region_name or FALLBACK_REGION
        with self._lock:
            made = self._clients.get((service, region))
            if made is None:
                made = self._clients[service, region] = self._make(service, region)
        return made

    def stranger(self, service: str, *, signs: bool) -> Any:
        """Return the client of somebody without access: it signs with a key that was made up, or not at all.

        Everything else is as for :meth:`client`: the session's region, endpoint, time limits. There is
        one of each, with the same key for the process.
        """
        from botocore import UNSIGNED
        from botocore.config import Config

        region = self._session.region_name or FALLBACK_REGION
        kind = f"{service} for a stranger who {'signs' if signs else 'does not sign'}"
        with self._lock:
            made = self._clients.get((kind, region))
            if made is None and signs:
                key_id, secret = _made_up_key()
                made = self._make(service, region, aws_access_key_id=key_id, aws_secret_access_key=secret)
            elif made is None:
                unsigned = self._config(service).merge(Config(signature_version=UNSIGNED))
                made = self._make(service, region, config=unsigned)
            self._clients[kind, region] = made
        return made

    def brisk(self, service: str) -> Any:
        """Return the client of a service in the session's region that gives up soon: after about ten seconds."""
        from botocore.config import Config

        region = self._session.region_name or FALLBACK_REGION
        with self._lock:
            made = self._clients.get((f"{service}, brisk", region))
            if made is None:
                limits = Config(
                    connect_timeout=BRISK_CONNECT_SECONDS,
                    read_timeout=BRISK_READ_SECONDS,
                    retries={"mode": "standard", "total_max_attempts": BRISK_ATTEMPTS},
                )
                made = self._make(service, region, config=self._config(service).merge(limits))
                self._clients[f"{service}, brisk", region] = made
        return made

    def _make(self, service: str, region: str, **changes: Any) -> Any:
        logger.debug("a client for %s in %s", service, region)
        with translated("create a client", f"{service} in {region}"):
            # boto3-stubs knows one overload a service; this name is only known at run time.
            make: Any = self._session.client
            try:
                made = make(service, **{"region_name": region, "config": self._config(service), **changes})
            except ValueError as error:  # botocore's own way to refuse an endpoint URL
                reason = f"the AWS configuration cannot be used for {service}: {error}"
                raise CredentialsUnusable(reason, hint="Check AWS_ENDPOINT_URL: it begins with https://.") from error
        _keep_alive(made)
        return made

    def _config(self, service: str) -> Config:
        from botocore.config import Config

        return Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=self._read_timeouts.get(service, READ_SECONDS),
            max_pool_connections=POOL_CONNECTIONS,
            tcp_keepalive=True,  # how often, see _keep_alive
            # The SHA-256 of every byte read is judged anyway; botocore's CRC on top costs a fifth of the time.
            response_checksum_validation="when_required",
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS_BY_SERVICE.get(service, ATTEMPTS)},
        )


def _keep_alive(client: Any) -> None:
    """Let the connections of a new client speak up within the time after which they are forgotten.

    botocore only switches that on, and Linux begins with it after two hours (boto/botocore#2916); it has no setting,
    so the list of the options of its sockets is made longer.
    """
    endpoint = getattr(client, "_endpoint", None)
    options = getattr(getattr(endpoint, "http_session", None), "_socket_options", None)
    if isinstance(options, list):
        options += [(socket.IPPROTO_TCP, number, value) for number, value in _keepalive_options()]
    else:
        logger.debug("the sockets of botocore cannot be kept alive: a synchronous call behind a NAT has 350 s")


def _keepalive_options() -> Iterator[tuple[int, int]]:
    """Yield the options of TCP that this system has; the time until the first sign of life has two names."""
    named = {
        "TCP_KEEPIDLE": KEEPALIVE_SECONDS,
        "TCP_KEEPALIVE": KEEPALIVE_SECONDS,
        "TCP_KEEPINTVL": KEEPALIVE_SECONDS,
        "TCP_KEEPCNT": KEEPALIVE_TRIES,
    }
    return ((getattr(socket, name), value) for name, value in named.items() if hasattr(socket, name))


def _made_up_key() -> tuple[str, str]:
    """Return an access key id in AWS's own form, and a secret, of no account."""
    return f"AKIA{base64.b32encode(secrets.token_bytes(10)).decode()}", secrets.token_urlsafe(30)


def region_of(arn_or_region: str | None) -> str | None:
    """Return the region that a region name or an ARN names, if it names one.

    >>> region_of("arn:aws:lambda:eu-central-1:123456789012:function:f"), region_of("us-gov-west-1")
    ('eu-central-1', 'us-gov-west-1')
    >>> region_of("arn:aws:s3:::bucket"), region_of("<SECRET_ARN>"), region_of(None)
    (None, None, None)
    """
    if not arn_or_region:
        return None
    fields = arn_or_region.split(":")
    is_arn = len(fields) >= _ARN_FIELDS and fields[0] == "arn"
    candidate = fields[3] if is_arn else arn_or_region
    return candidate if _REGION.fullmatch(candidate) else None


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
