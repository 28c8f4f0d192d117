"""Answers the few actions that moto lacks and Terraform cannot do without: it would retry them until it gives up."""

from __future__ import annotations

import json
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from pytest_fileflow.sandbox import machines
from pytest_fileflow.sandbox.backends import ACCOUNT, backend
from pytest_fileflow.sandbox.web import Request, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[str, dict[str, Any]], "Response | None"]


class Gaps:
    """What moto lacks, by the action's name in the header ``X-Amz-Target``."""

    def __init__(self) -> None:
        self._queries = _QueryDefinitions()
        self._handlers: dict[str, Handler] = {
            "AWSStepFunctions.ValidateStateMachineDefinition": _validate,
            "AWSStepFunctions.ListStateMachineVersions": _list_versions,
            # saved queries of Logs Insights: nothing but the list of them, which is all there is to them here
            "Logs_20140328.PutQueryDefinition": self._queries.put,
            "Logs_20140328.DescribeQueryDefinitions": self._queries.describe,
            "Logs_20140328.DeleteQueryDefinition": self._queries.delete,
            # moto knows tags of what has some, and says of the rest that it does not exist
            "AmazonAthena.ListTagsForResource": _list_athena_tags,
            "AmazonAthena.DeleteNamedQuery": _delete_named_query,
        }

    def answer(self, request: Request) -> Response | None:
        """Answer a request for such an action; None leaves it to moto."""
        handler = self._handlers.get(request.header("X-Amz-Target"))
        return handler(request.region, json.loads(request.body() or b"{}")) if handler is not None else None


def _validate(region: str, question: dict[str, Any]) -> Response:
    """Validate as far as the parser goes that will run the machine."""
    backend("stepfunctions", region)  # it is made ready with that
    found = machines.diagnose(str(question.get("definition", "")))
    return json_response({"result": "FAIL" if found else "OK", "diagnostics": found, "truncated": False})


def _list_versions(region: str, question: dict[str, Any]) -> Response | None:
    backend("stepfunctions", region)  # it is made ready with that
    from moto.stepfunctions.parser.models import stepfunctions_parser_backends

    arn = question.get("stateMachineArn")
    machine = next(
        (known for known in stepfunctions_parser_backends[ACCOUNT][region].state_machines if known.arn == arn), None
    )
    if machine is None:
        problem = {"__type": "StateMachineDoesNotExist", "message": f"State Machine Does Not Exist: '{arn}'"}
        return json_response(problem, "400 Bad Request")
    newest_first = sorted(machine.versions.items(), reverse=True)
    listed = [
        {"stateMachineVersionArn": version.arn, "creationDate": version.creation_date.timestamp()}
        for _, version in newest_first
    ]
    return json_response({"stateMachineVersions": listed})


def _list_athena_tags(region: str, question: dict[str, Any]) -> Response | None:
    athena, arn = backend("athena", region), question.get("ResourceARN")
    groups, catalogs = athena.work_groups.values(), athena.data_catalogs.values()
    is_untagged = any(known.arn == arn for known in (*groups, *catalogs)) and not athena.tagger.has_tags(arn)
    return json_response({"Tags": []}) if is_untagged else None


def _delete_named_query(region: str, question: dict[str, Any]) -> Response:
    backend("athena", region).named_queries.pop(question.get("NamedQueryId"), None)  # AWS too says nothing of none
    return json_response({})


class _QueryDefinitions:
    """Saved queries of CloudWatch Logs Insights, by region."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], dict[str, Any]] = {}

    def put(self, region: str, question: dict[str, Any]) -> Response:
        identifier = str(question.get("queryDefinitionId") or uuid.uuid4())
        kept = ("name", "queryString", "logGroupNames", "queryLanguage")
        definition = {key: question[key] for key in kept if key in question}
        with self._lock:
            self._known[region, identifier] = {
                "logGroupNames": [],
                **definition,
                "queryDefinitionId": identifier,
                "lastModified": int(time.time() * 1000),
            }
        return json_response({"queryDefinitionId": identifier})

    def describe(self, region: str, question: dict[str, Any]) -> Response:
        prefix = str(question.get("queryDefinitionNamePrefix") or "")
        with self._lock:
            mine = [one for (where, _), one in self._known.items() if where == region]
        return json_response({"queryDefinitions": [one for one in mine if one["name"].startswith(prefix)]})

    def delete(self, region: str, question: dict[str, Any]) -> Response:
        with self._lock:
            known = self._known.pop((region, str(question.get("queryDefinitionId"))), None)
        if known is None:
            problem = {
                "__type": "ResourceNotFoundException",
                "message": "The specified query definition does not exist.",
            }
            return json_response(problem, "400 Bad Request")
        return json_response({"success": True})
