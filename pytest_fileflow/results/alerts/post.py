"""Sends JSON over HTTP, again where that may help, within a time; nothing that it says or logs holds the address."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import urllib3

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
BACKOFF_SECONDS = 0.5
TRIES = 5
AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))
ANSWER_BYTES = 256 * 1024
_LOUD = ("urllib3", "botocore", "boto3")


class Undelivered(Exception):
    """A channel could not be told; the text says why and holds no address, token or answer."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class _NotNow(Undelivered):
    """It may be well a little later: after ``pause`` seconds, where the server says so."""

    def __init__(self, reason: str, status: int = 0, pause: float | None = None) -> None:
        super().__init__(reason, status)
        self.pause = pause


@dataclass(frozen=True, repr=False)
class Request:
    """A method, an address, headers and a JSON value; its repr shows none of them."""

    url: str
    body: object = None
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<{self.method} to an address that is not shown>"


class Post:
    """Sends requests until a deadline (of ``clock``, in seconds), by :meth:`send`."""

    def __init__(
        self,
        deadline: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._deadline = deadline
        self._clock = clock
        self._sleep = sleep

    def send(self, request: Request) -> Any:
        """Return the JSON value of a good answer (2xx), None where it holds none.

        What may be well a little later (429, 500, 502 to 504, a broken connection) is tried again
        with growing pauses, or when the server says; a redirect is not followed. A try that was not
        answered may have arrived all the same. Raises Undelivered.
        """
        __tracebackhide__ = True
        if not is_safe(request.url):
            raise Undelivered("its address is not an https:// URL without a login in it")
        for number in range(1, TRIES + 1):
            try:
                return self._try(request)
            except _NotNow as error:
                pause = error.pause if error.pause is not None else _backoff(number)
                if number == TRIES or self._clock() + pause >= self._deadline:
                    tries = f" ({number} tries)" if number > 1 else ""
                    raise Undelivered(f"{error.reason}{tries}", error.status) from None
            self._sleep(pause)
        raise AssertionError("the last try has returned or raised")

    def _try(self, request: Request) -> Any:
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        left = self._deadline - self._clock()
        if left <= 0:
            raise Undelivered("there was no time left to try")
        body = None if request.body is None else json.dumps(request.body).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json", **request.headers}
        try:
            with _manager(request.url) as manager:
                response = manager.request(
                    request.method,
                    request.url,
                    body=body,
                    headers=headers,
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    timeout=Timeout(connect=min(CONNECT_SECONDS, left), read=min(ANSWER_SECONDS, left)),
                )
                with response:
                    return _read(response)
        except (HTTPError, OSError, ValueError) as error:  # their texts hold the address
            failure = _in_words(error)
        raise failure  # not within the handler: tracebacks would show the address as its context


def _backoff(number: int) -> float:
    return float(BACKOFF_SECONDS * 2 ** (number - 1) * random.uniform(0.75, 1.25))  # noqa: S311 - no secret


def _read(response: urllib3.BaseHTTPResponse) -> Any:
    content, status = response.read(ANSWER_BYTES, decode_content=True), response.status
    if status in AGAIN:
        raise _NotNow(f"it answered with HTTP {status}", status, _retry_after(response.headers.get("Retry-After")))
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        is_redirect = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
        more = ", a redirect, which is not followed" if is_redirect else ""
        raise Undelivered(f"it answered with HTTP {status}{more}", status)
    try:
        return json.loads(content)
    except ValueError:
        return None


def _retry_after(text: str | None) -> float | None:
    from urllib3 import Retry
    from urllib3.exceptions import InvalidHeader

    if text is None:
        return None
    try:
        return float(Retry().parse_retry_after(text))
    except (InvalidHeader, ValueError, OverflowError):
        return None


def _in_words(error: Exception) -> Undelivered:
    """Return what went wrong without the error's own text; a _NotNow where another try may help."""
    from urllib3 import exceptions as http

    if isinstance(error, http.SSLError):
        return Undelivered("TLS failed: its certificate was not accepted, or there is no common version")
    if isinstance(error, (http.LocationValueError, ValueError)):
        return Undelivered("its address cannot be used")
    kinds: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
        ((http.NameResolutionError,), "its host name does not resolve"),
        ((http.ProxyError,), "the proxy could not be used"),
        ((http.NewConnectionError,), "it refuses connections, or cannot be reached"),
        ((http.TimeoutError, TimeoutError), "it did not answer in time"),
    )
    words = next((words for kind, words in kinds if isinstance(error, kind)), "the connection broke")
    return _NotNow(words)


def is_safe(url: str) -> bool:
    """Return whether an address is https (http on this machine alone) and holds no login."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    is_local = parts.scheme == "http" and host in ("127.0.0.1", "localhost", "::1")
    return bool(host) and "@" not in parts.netloc and url.isprintable() and (parts.scheme == "https" or is_local)


def _manager(url: str) -> urllib3.PoolManager:
    """Return who makes connections to an address: by way of the proxy that the environment names for it."""
    from urllib.parse import urlsplit, urlunsplit
    from urllib.request import getproxies, proxy_bypass

    import urllib3

    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return urllib3.PoolManager(num_pools=1)
    told = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    login, _, place = told.netloc.rpartition("@")
    headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
    return urllib3.ProxyManager(urlunsplit((told.scheme, place, "", "", "")), num_pools=1, proxy_headers=headers)


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - whatever it says
        return not getattr(_HERE, "is_quiet", False)


_HERE = threading.local()  # a logger's filters are asked in the thread that logs
_FILTER = _Quiet()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' own loggers silent in this thread: at DEBUG they log addresses, headers and bodies."""
    import boto3.session  # noqa: F401 - its loggers must be there
    import botocore.client
    import botocore.httpsession
    import botocore.parsers  # noqa: F401

    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in _LOUD:
            logging.getLogger(name).addFilter(_FILTER)
    _HERE.is_quiet = True
    try:
        yield
    finally:
        _HERE.is_quiet = False
