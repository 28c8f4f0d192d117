"""Loads moto, a service at a time: its modules import one another in circles.

Two threads that come in by different doors would each find the other's module half made.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed.wsgi import WSGIApplication

ACCOUNT = "123456789012"
"""moto's own account: the owner of everything in the sandbox."""

GLOBAL = "aws"
"""What moto keeps the backend of a service without regions under."""

PRELOADED = ("s3", "logs", "sns", "kms")

_LOADING = threading.RLock()
_CHANGES: dict[str, Callable[[], None]] = {}


def before_use(service: str, change: Callable[[], None]) -> None:
    """Have moto's part for a service changed by a function once it is needed, and before anybody uses it."""
    _CHANGES[service] = change


def backend(service: str, region: str = GLOBAL) -> Any:
    """Return moto's own backend of a service, loaded on the first call."""
    with _LOADING:
        from moto.backends import get_backend

        _change(service)
        return get_backend(service)[ACCOUNT][region]  # type: ignore[call-overload, unused-ignore] # the name is data here


def is_loaded(service: str) -> bool:
    """Tell whether anybody has used a service yet, and so may have made something in it."""
    return f"moto.{service}.models" in sys.modules


def application() -> WSGIApplication:
    """Return moto's HTTP application; each service is loaded by the first request for it."""
    with _LOADING:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    def load(service: str) -> Any:
        with _LOADING:
            _change("lambda" if service == "awslambda" else service)  # the one that goes by two names
            return create_backend_app(service)  # type: ignore[arg-type, unused-ignore] # the name is data here

    answer: WSGIApplication = DomainDispatcherApplication(load)
    return answer


def preload() -> None:
    """Load what the first flows will need."""
    with _LOADING:
        for service in PRELOADED:
            backend(service, GLOBAL if service == "s3" else "us-east-1")
        import moto.s3.responses  # noqa: F401


def _change(service: str) -> None:
    change = _CHANGES.pop(service, None)
    if change is not None:
        change()
