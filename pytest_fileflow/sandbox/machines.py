"""Has moto execute state machines, with their tasks going to this sandbox."""

from __future__ import annotations

import json
import logging
import re
import threading
import uuid
from typing import TYPE_CHECKING, Any

from pytest_fileflow.sandbox.backends import backend
from pytest_fileflow.sandbox.web import REGION

if TYPE_CHECKING:
    from pytest_fileflow.sandbox.web import Request

KEY_ID = "FILEFLOWSTATES"
"""The access key id of what state machines ask for."""

_LOG = logging.getLogger(__name__)
_TASK_SECONDS = 1000  # a function may take 15 minutes, and moto's own limits of a task come earlier
_WHOLE_PERCENT = re.compile(r'("ToleratedFailurePercentage"\s*:\s*\d+)(?=\s*[,}])')


def prepare(endpoint_url: str) -> None:
    """Switch the execution of state machines on; to be called before anything else of moto's Step Functions is."""
    from moto.core.config import default_user_config
    from moto.stepfunctions.parser.asl.utils import boto_client

    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    boto_client.boto_client_for = _Clients(endpoint_url)
    from moto.stepfunctions.parser.asl.parse import asl_parser

    _keep_stopped()
    language: Any = asl_parser.AmazonStateLanguageParser
    parse = language.parse
    language.parse = staticmethod(lambda definition: parse(_as_moto_reads(definition)))


def _keep_stopped() -> None:
    """Let an execution that is stopped end as such: a Map within it fails in moto, and that would be its end."""
    from moto.stepfunctions.parser.asl.eval.environment import Environment
    from moto.stepfunctions.parser.asl.eval.program_state import ProgramStopped

    whole: Any = Environment
    set_error = whole.set_error

    def unless_stopped(self: Any, error: Any) -> None:
        if not isinstance(self.program_state(), ProgramStopped):
            set_error(self, error)

    whole.set_error = unless_stopped


def name_execution(request: Request) -> None:
    """Name an execution that is started without a name, as AWS does; moto calls all of them ``None``."""
    if request.header("X-Amz-Target") != "AWSStepFunctions.StartExecution":
        return
    question = json.loads(request.body() or b"{}")
    if not question.get("name"):
        request.replace_body(json.dumps({**question, "name": str(uuid.uuid4())}).encode())


def start(region: str, arn: str, event: object) -> None:
    """Start an execution, as a rule does that has the machine for a target; one that is gone is not started."""
    backend("stepfunctions", region)  # it is made ready with that
    from botocore.exceptions import ClientError
    from moto.stepfunctions.parser.asl.utils import boto_client

    try:
        client: Any = boto_client.boto_client_for(region, "stepfunctions")
        client.start_execution(stateMachineArn=arn, input=json.dumps(event))
    except ClientError as error:
        _LOG.error("%s could not be started: %s", arn, error)


def diagnose(definition: str) -> list[dict[str, str]]:
    """Return what is wrong with a definition, as ValidateStateMachineDefinition does."""
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser, ASLParserException

    try:
        AmazonStateLanguageParser.parse(definition)
    except ASLParserException as error:
        return [_diagnostic(message) for message in error.errors]
    except Exception as error:  # noqa: BLE001 - what a preprocessor raises is as much about the definition
        return [_diagnostic(f"{type(error).__name__}: {error}")]
    return []


def _diagnostic(message: str) -> dict[str, str]:
    return {"severity": "ERROR", "code": "SCHEMA_VALIDATION_FAILED", "message": message}


def _as_moto_reads(definition: str) -> str:
    """Return a definition with decimals where moto's grammar knows no whole number, but AWS does."""
    return _WHOLE_PERCENT.sub(r"\1.0", definition)


class _Clients:
    """The clients that tasks go through, one for each service and region.

    moto makes a new one for every task, which takes longer than many a task, and gives it a key
    that nobody has handed out.
    """

    def __init__(self, endpoint_url: str) -> None:
        self._endpoint_url = endpoint_url
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], Any] = {}

    def __call__(self, region: str, service: str, state_credentials: object = None) -> Any:  # noqa: ARG002 - moto's
        with self._lock:
            if (region, service) not in self._made:
                self._made[region, service] = self._make(region or REGION, service)
            return self._made[region, service]

    def _make(self, region: str, service: str) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.Session().client(  # type: ignore[call-overload, unused-ignore] # the name is data here
            service,
            region_name=region,
            endpoint_url=self._endpoint_url,
            aws_access_key_id=KEY_ID,
            aws_secret_access_key="sandbox",  # noqa: S106 - nothing to be secret here
            config=Config(
                parameter_validation=False,
                retries={"total_max_attempts": 1},
                read_timeout=_TASK_SECONDS,
                max_pool_connections=100,
            ),
        )
