"""What runs work with, put together: endpoints by location, an invoker, secrets, behind an allow-list."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_fileflow.checks.chain import no_credentials
from pytest_fileflow.model import S3Location, SftpLocation, Transfer
from pytest_fileflow.streams import Tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_fileflow.allow import AllowList
    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.clock import Clock
    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.endpoints.ssh import SshSessions
    from pytest_fileflow.invoke import LambdaInvoker, Started
    from pytest_fileflow.logs import FunctionLog
    from pytest_fileflow.model import Location, Run
    from pytest_fileflow.registry import Registry
    from pytest_fileflow.secret import Credentials


def s3_endpoints(
    clients: AwsClients, allow: AllowList, own_client: Callable[[S3Location], Any] = lambda _: None
) -> Callable[..., Endpoint]:
    """Return ``make(bucket, prefix="", kms_key_arn=None)``; ``own_client`` may give a place another client."""
    from pytest_fileflow.endpoints.s3 import S3Endpoint

    def make(bucket: str, prefix: str = "", kms_key_arn: str | None = None) -> Endpoint:
        location = S3Location(bucket, prefix, kms_key_arn)
        allow.require(location)
        return S3Endpoint(location, own_client(location) or clients.client("s3"), clients)

    return make


def sftp_endpoints(ssh: SshSessions, allow: AllowList) -> Callable[..., Endpoint]:
    """Return ``make(host, username, dir, secret_arn, …)``, with the fields of a location."""
    from pytest_fileflow.endpoints.sftp import SftpEndpoint

    def make(host: str, username: str, dir: str, secret_arn: str, **more: Any) -> Endpoint:  # noqa: A002 - the config's word
        location = SftpLocation(host, username, dir, secret_arn, **more)
        allow.require(location)
        return SftpEndpoint(location, ssh)

    return make


def invoking(
    clients: AwsClients, masked: Callable[[str], str], allow: AllowList, sleep: Callable[[float], None] = time.sleep
) -> Invoking:
    """Return what invokes functions, and finds their logs; ``masked`` takes secrets out of what they say.

    A throttled invocation is tried again after a ``sleep``, unless that raises.
    """
    from pytest_fileflow.invoke import LambdaInvoker
    from pytest_fileflow.logs import FunctionLogs

    invoker = LambdaInvoker(clients, sleep=sleep, masked=masked)
    return Invoking(invoker, FunctionLogs(clients, masked).find, allow)


@dataclass(frozen=True)
class Invoking:
    """Invokes functions that may be touched, and finds their logs."""

    invoker: LambdaInvoker
    function_log: Callable[[Transfer, str | None, str, float], FunctionLog | None]
    allow: AllowList
    # Of the class: what wraps an invoker (functools.wraps) takes over what an instance has, and need not know them.
    knows_dry_run: ClassVar[bool] = True
    knows_timeout: ClassVar[bool] = True

    def __call__(
        self, lambda_arn: str, payload: object, invocation: Any = "Event", timeout_seconds: float | None = None
    ) -> Started:
        """Invoke a function; the timeout is that of the whole transfer."""
        self.allow.require(lambda_arn)
        transfer = Transfer("invoke", lambda_arn, invocation, timeout_seconds=timeout_seconds)
        return self.invoker.invoke(transfer, payload)


@dataclass(frozen=True)
class Toolbox:
    """The fixtures' values that an item's run works with; ``conftest.py`` files may have replaced them."""

    s3_endpoint: Callable[..., Endpoint]
    sftp_endpoint: Callable[..., Endpoint]
    transfer_invoker: Callable[..., Started]
    credentials: Callable[[str], Credentials] = no_credentials

    def tools(
        self,
        registry: Registry,
        clock: Clock,
        other_runs: Callable[[Run], Iterable[str]],
        allow: AllowList,
    ) -> Tools:
        """Return what the steps need, with one endpoint a location; nothing of it touches what is not allowed."""

        def endpoint(location: Location) -> Endpoint:
            allow.require(location)
            return self._endpoint(location)

        def invoke(transfer: Transfer, payload: object) -> Started:
            if transfer.lambda_arn is not None:
                allow.require(transfer.lambda_arn)
            return self._invoke(transfer, payload)

        # An invoker of somebody's own need not know of any log, nor of dry runs.
        find_log = getattr(self.transfer_invoker, "function_log", None)
        knows_dry_run = bool(getattr(self.transfer_invoker, "knows_dry_run", False))
        return Tools(
            Memo(endpoint),
            invoke,
            registry,
            clock,
            knows_dry_run=knows_dry_run,
            function_log=find_log,
            other_runs=other_runs,
            credentials=self.credentials,
            allow=allow,
        )

    def _endpoint(self, location: Location) -> Endpoint:
        make = self.s3_endpoint if isinstance(location, S3Location) else self.sftp_endpoint
        return make(**{name: value for name, value in vars(location).items() if name != "max_runs"})

    def _invoke(self, transfer: Transfer, payload: object) -> Started:
        more: dict[str, Any] = {}
        if getattr(self.transfer_invoker, "knows_timeout", False):
            more["timeout_seconds"] = transfer.timeout_seconds
        return self.transfer_invoker(transfer.lambda_arn, payload, invocation=transfer.invocation, **more)


class Memo:
    """A function of a location that is called once each, also when many threads ask at once."""

    def __init__(self, make: Callable[[Location], Endpoint]):
        self._make = make
        self._lock = threading.Lock()
        self._made: dict[Location, Endpoint] = {}

    def __call__(self, location: Location) -> Endpoint:
        """Return the endpoint of a location, made on the first call."""
        with self._lock:
            if location not in self._made:
                self._made[location] = self._make(location)
            return self._made[location]
