"""Runs functions that were created through the Lambda API: from moto's record of one to a program.

As on AWS, modules are looked for in the function's own zip, then in the standard library, then in
what the runtime brings along: boto3 and what that needs. Whatever else is installed where the
sandbox runs is out of sight, so that a zip without a dependency fails here too. Functions run in
the sandbox's own Python, whatever runtime and architecture they name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fileflow.sandbox.backends import backend
from pytest_fileflow.sandbox.calls import CALLS_FILE
from pytest_fileflow.sandbox.programs import Program
from pytest_fileflow.sandbox.routes import function_name

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNTIME_MODULES = (
    *("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py"),
    *("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3"),
)
"""What AWS's Python runtimes bring along (docs.aws.amazon.com/lambda/latest/dg/lambda-python.html)."""

_HERE = Path(__file__).parent
_STEPS = "pytest_fileflow.aws."
"""What the handlers of a run's steps begin with: they reach SFTP servers by the sandbox's address."""

_OURS = "AWS_ENDPOINT_URL"
"""A function that is told another endpoint, or one for a single service, would leave the sandbox."""


@dataclass(frozen=True)
class DeployedFunction:
    """A function as its next invocation is to run."""

    arn: str
    region: str
    program: Program
    timeout_seconds: float
    log_group: str
    retries: int


class Deployed:
    """Finds deployed functions.

    ``environment`` is what points their processes at the sandbox, and ``address`` what gives full
    control of it: the steps of a run alone are told, since they would look for real servers without.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str], log_stream: str, address: str = "") -> None:
        self._directory = directory
        self._address = address
        self._environment = environment
        self._log_stream = log_stream
        self._lock = threading.Lock()
        self._credentials: dict[tuple[str, str], dict[str, str]] = {}
        self._has_runtime = False
        self.is_empty = True
        """Whether no function can have been created yet: moto's Lambda need not be loaded to know."""

    def find(self, region: str, asked: str, qualifier: str | None = None) -> DeployedFunction | None:
        """Return the function of a name, ARN or partial ARN, or None where none was created.

        ``region`` is where a name is looked for; an ARN has its own, whatever region is asked.
        """
        if self.is_empty:
            return None
        from moto.awslambda.exceptions import UnknownAliasException, UnknownFunctionException

        alias = asked.rpartition(":function:")[2].partition(":")[2]
        own = asked.split(":")[3:4] if asked.startswith("arn:") else []
        try:
            function = backend("lambda", (own or [region])[0]).get_function(
                function_name(asked), alias or qualifier or None
            )
        except (UnknownFunctionException, UnknownAliasException, KeyError):  # no such region: a flow's placeholder
            return None
        return self._describe(function)

    def is_credential(self, key_id: str) -> bool:
        """Tell whether an access key id is that of a deployed function."""
        return any(known["AWS_ACCESS_KEY_ID"] == key_id for known in list(self._credentials.values()))

    def _describe(self, function: Any) -> DeployedFunction:
        log = function.logging_config
        return DeployedFunction(
            arn=function.function_arn,
            region=function.region,
            program=self._program(function),
            timeout_seconds=float(function.timeout),
            log_group=log.get("LogGroup") or function.logs_group_name,
            retries=_retries(function),
        )

    def _program(self, function: Any) -> Program:
        with self._lock:
            code, runtime = self._unpack(function), self._runtime()
            settings = self._settings(function, code, runtime)
        bootstrap, calls = str(_HERE / "bootstrap.py"), str(self._directory / CALLS_FILE)
        told = json.dumps([str(code), function.handler, settings], sort_keys=True)
        return Program(
            name=function.function_arn,
            revision=hashlib.sha256(told.encode()).hexdigest(),
            # -I and -S keep out the caller's folder, PYTHONPATH and site-packages; -u is for the log
            command=("-I", "-S", "-u", bootstrap, function.handler, calls, str(code), str(runtime)),
            directory=code,
            environment=settings,
            memory_mb=int(function.memory_size),
        )

    def _settings(self, function: Any, code: Path, runtime: Path) -> dict[str, str]:
        """Return the variables that AWS sets (dg/configuration-envvars.html), and the function's own."""
        log = function.logging_config
        own = {name: str(text) for name, text in function.environment_vars.items() if not name.startswith(_OURS)}
        return {
            **own,
            **self._environment,
            **({"FILEFLOW_SANDBOX": self._address} if function.handler.startswith(_STEPS) else {}),
            **self._role(function),
            "AWS_REGION": function.region,
            "AWS_DEFAULT_REGION": function.region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_LAMBDA_FUNCTION_VERSION": str(function.version),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": log.get("LogGroup") or function.logs_group_name,
            "AWS_LAMBDA_LOG_STREAM_NAME": self._log_stream,
            "AWS_LAMBDA_LOG_FORMAT": log.get("LogFormat", "Text"),
            "LAMBDA_TASK_ROOT": str(code),
            "LAMBDA_RUNTIME_DIR": str(runtime),
            "_HANDLER": function.handler,
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
        }

    def _role(self, function: Any) -> dict[str, str]:
        """Return credentials of the function's role: whoever looks at a request can tell whose it is."""
        key = (function.function_arn, function.role)
        if key not in self._credentials:
            assumed = backend("sts").assume_role(
                region_name=function.region,
                role_session_name=function.function_name,
                role_arn=function.role,
                policy=None,
                duration=3600,
                external_id=None,
            )
            self._credentials[key] = {
                "AWS_ACCESS_KEY_ID": assumed.access_key_id,
                "AWS_SECRET_ACCESS_KEY": assumed.secret_access_key,
                "AWS_SESSION_TOKEN": assumed.session_token,
            }
        return self._credentials[key]

    def _unpack(self, function: Any) -> Path:
        """Return the folder with a function's code, which functions of the same zip share."""
        # the digest of the zip, made once when it came in, is no name for a folder: it may hold slashes
        folder = self._directory / "functions" / hashlib.sha256(function.code_sha_256.encode()).hexdigest()[:16]
        if not folder.exists():
            begun = folder.with_suffix(".begun")
            begun.mkdir(parents=True, exist_ok=True)
            _extract(getattr(function, "code_bytes", b""), begun)  # a container image has none
            begun.rename(folder)
        return folder

    def _runtime(self) -> Path:
        """Return a folder with what the runtime brings along and nothing else, as links to where it is installed."""
        folder = self._directory / "runtime"
        if not self._has_runtime:
            folder.mkdir(exist_ok=True)
            for name in RUNTIME_MODULES:
                _link(name, folder)
            (folder / "fileflow_recorder.py").symlink_to(_HERE / "recorder.py")
            self._has_runtime = True
        return folder


def _extract(data: bytes, folder: Path) -> None:
    if not data:
        return  # the handler's module is not found then, and the function says so
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        packed.extractall(folder)
        for member in packed.infolist():
            # Lambda keeps the modes of the zip: a file that nobody may read cannot be imported there.
            mode = member.external_attr >> 16 & 0o777
            if mode and not member.is_dir():
                (folder / member.filename).chmod(mode)


def _link(name: str, folder: Path) -> None:
    """Link a module or package into a folder; some are missing by version, and then nobody needs them."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return
    where = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
    (folder / where.name).symlink_to(where)


def _retries(function: Any) -> int:
    configs = [config.config for config in function.event_invoke_config]
    return int(next((config["MaximumRetryAttempts"] for config in configs if "MaximumRetryAttempts" in config), 2))


def process_environment(directory: Path, endpoint_url: str) -> dict[str, str]:
    """Return what points a function's process at the sandbox and at nothing else."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME") if name in os.environ}
    return {
        **kept,
        "HOME": str(directory / "tmp"),
        "TMPDIR": str(directory / "tmp"),
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.environ.get("AWS_CONFIG_FILE", os.devnull),
        "AWS_SHARED_CREDENTIALS_FILE": os.environ.get("AWS_SHARED_CREDENTIALS_FILE", os.devnull),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
