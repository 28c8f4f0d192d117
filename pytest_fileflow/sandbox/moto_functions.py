"""moto's Lambda function with what moto leaves out: it runs, and keeps its logging configuration."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable

    Start = Callable[[str, str, object], None]
    """Starts a function asynchronously, given its region, its ARN and the event."""


def prepare(start: Start) -> None:
    """Have moto create such functions from now on."""
    from moto.awslambda import models
    from moto.s3 import notifications as module

    # S3 leaves the slash in a notification's key alone (docs.aws.amazon.com/AmazonS3: notification content structure).
    notifications: Any = module
    notifications.quote_plus = partial(quote_plus, safe="/")

    class Function(models.LambdaFunction):  # type: ignore[misc, unused-ignore] # moto may come without types
        """A function whose logging configuration is kept, and which moto's own events start."""

        def __init__(self, account_id: str, spec: dict[str, Any], region: str, version: str | int = 1) -> None:
            super().__init__(account_id, spec, region, version)
            self.logging_config: dict[str, Any] = spec.get("LoggingConfig") or {}

        def get_configuration(self, on_create: bool = False) -> dict[str, Any]:
            told: dict[str, Any] = super().get_configuration(on_create)
            defaults = {"LogFormat": "Text", "LogGroup": self.logs_group_name}
            return {**told, "LoggingConfig": {**defaults, **self.logging_config}}

        def update_configuration(self, config_updates: dict[str, Any]) -> dict[str, Any]:
            super().update_configuration(config_updates)
            self.logging_config = config_updates.get("LoggingConfig") or self.logging_config
            self.tracing_config = config_updates.get("TracingConfig") or self.tracing_config
            if "EphemeralStorage" in config_updates:
                self.ephemeral_storage = config_updates["EphemeralStorage"]["Size"]
            return self.get_configuration()

        def invoke(self, body: str, request_headers: Any, response_headers: Any) -> str | bytes:  # noqa: ARG002 - moto's
            """Start this function: notifications of S3, SNS, SQS and EventBridge come in here."""
            start(self.region, self.function_arn, json.loads(body or "{}"))
            return b""

    models.LambdaFunction = Function  # type: ignore[misc, unused-ignore] # what creates functions looks here
