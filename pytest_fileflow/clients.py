"""Hands out AWS clients: one a service and region, with limits on how long anything may take."""

from __future__ import annotations

import base64
import logging
import re
import secrets
import socket
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_fileflow.aws_errors import translated
from pytest_fileflow.errors import CredentialsUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import boto3
    from botocore.config import Config

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
# NAT gateways, interface endpoints and firewalls forget a connection on which nothing was heard for 350 s (AWS VPC
# user guide, "NAT gateway timeouts"): a synchronous answer that comes later never arrives.
KEEPALIVE_SECONDS: Final = 60
KEEPALIVE_TRIES: Final = 5

_REGION = re.compile(r"[a-z]{2,3}(-[a-z]+)+-\d{1,2}")
_ARN_FIELDS = 6


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
