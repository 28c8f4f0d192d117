"""Writes down, within a function's process, which AWS calls the function makes: what is named, never what is sent.

It runs beside somebody else's code, so it needs nothing but the standard library, and the function
brings the botocore that it listens to.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_MODULE = "botocore.client"
_NAMING = frozenset(
    (
        *("Bucket", "Key", "Prefix", "CopySource", "ServerSideEncryption", "SSEKMSKeyId", "KeyId"),
        *("SecretId", "FunctionName", "Qualifier", "InvocationType", "TopicArn", "TargetArn", "QueueUrl"),
        *("logGroupName", "logGroupIdentifier", "TableName", "IndexName", "Namespace"),
        *("stateMachineArn", "executionArn", "RoleArn"),
    )
)
"""The parameters that name a resource, or decide which permission a call takes."""


def record(file: str, function: str) -> None:
    """Append a line of JSON to a file for each call that botocore makes from now on in this process."""
    opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(told: dict[str, object]) -> None:
        # one write of one line: other processes append to the same file
        os.write(opened, json.dumps({"function": function, **told}).encode() + b"\n")

    sys.meta_path.insert(0, _Listener(write))


class _Listener(MetaPathFinder):
    """Waits until somebody imports botocore's client, and listens to it from then on."""

    def __init__(self, write: Callable[[dict[str, object]], None]) -> None:
        self._write = write

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - importlib's
        target: ModuleType | None = None,  # noqa: ARG002 - importlib's
    ) -> ModuleSpec | None:
        """Find the module as if this were not here, and have it changed once it is loaded."""
        if fullname != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_listen(module: ModuleType) -> None:
                load(module)
                _listen(module, self._write)

            spec.loader.exec_module = load_and_listen  # type: ignore[method-assign] # of this one loader
        return spec


def _listen(module: Any, write: Callable[[dict[str, object]], None]) -> None:
    # Every call goes through here, those of paginators, waiters and transfers too.
    call = module.BaseClient._make_api_call  # noqa: SLF001

    def listening(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        told = {"service": client.meta.service_model.service_name, "operation": operation}
        write({**told, "resources": resources_in(parameters), "parameters": sorted(parameters)})
        return call(client, operation, parameters)

    module.BaseClient._make_api_call = listening  # noqa: SLF001


def resources_in(parameters: dict[str, Any]) -> dict[str, str]:
    """Return the names in a call's parameters, and nothing else of it.

    >>> resources_in({"Bucket": "box", "Key": "in/a.csv", "Body": b"secret"})
    {'Bucket': 'box', 'Key': 'in/a.csv'}
    """
    named = {name: value for name, value in parameters.items() if name in _NAMING}
    copied = named.get("CopySource")
    if isinstance(copied, dict):
        named["CopySource"] = f"{copied.get('Bucket')}/{copied.get('Key')}"
    deleted = parameters.get("Delete")
    if isinstance(deleted, dict):
        named["Keys"] = "\n".join(each["Key"] for each in deleted.get("Objects", ()))
    items = parameters.get("RequestItems")  # of DynamoDB, by table
    if isinstance(items, dict):
        named["TableName"] = ",".join(sorted(items))
    return {name: value for name, value in named.items() if isinstance(value, str)}
