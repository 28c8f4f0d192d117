"""Answers AWS's APIs over HTTP: moto's, and in front of it what moto lacks or refuses.

That is: a few actions that moto does not know, invoking functions, secrets and topics under the
very text a config names them by (``<ACME_SECRET_ARN>``, ``arn:aws:…:...:…``), and S3 notifications
that start functions.
"""

from __future__ import annotations

import hmac
import json
import logging
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, quote_plus, urlencode

from pytest_fileflow.sandbox import admission, backends, machines
from pytest_fileflow.sandbox.gaps import Gaps
from pytest_fileflow.sandbox.places import s3_place
from pytest_fileflow.sandbox.web import REGION, Request, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from pytest_fileflow.sandbox.lambda_api import Lambdas
    from pytest_fileflow.sandbox.s3_faults import S3Faults
    from pytest_fileflow.sandbox.sftp import Arrived

PARAMETER = "ssm:"
"""How a config begins the name of a parameter that is to be a secret."""

TRANSFER_KEY_ID = "FILEFLOWTRANSFER"
"""The access key id of the functions: what they write starts no function."""

_LOG = logging.getLogger(__name__)


@dataclass
class Tables:
    """What the sandbox itself knows by the exact text of the configs; written by provisioning only.

    ``functions`` maps a function's name to its timeout in seconds, ``secrets`` an id to a secret
    text, ``topics`` a topic's configured ARN to its name. ``buckets`` are those that were made for
    flows, and that nobody has created otherwise.
    """

    functions: dict[str, float] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    topics: dict[str, str] = field(default_factory=dict)
    buckets: set[str] = field(default_factory=set)


class Gateway:
    """The WSGI application: each request goes to the first who knows it, moto last.

    ``private`` answers ``/_fileflow/<name>`` for callers that know the token.
    """

    def __init__(self, tables: Tables, token: str, private: Mapping[str, Callable[[Any], object]]) -> None:
        self._moto = backends.application()
        self._tables = tables
        self._token = token
        self._private = private
        self._gaps = Gaps()
        self.webhooks = Webhooks()
        self.lambdas: Lambdas | None = None
        self.arrived: Arrived | None = None
        self.faults: S3Faults | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        request = Request.of(environ)
        response = self._own(request)
        if response is not None:
            return response.send(start_response)
        faulty = self.faults.of(request) if self.faults is not None else None
        if faulty is not None:
            return faulty.answer(request, start_response, self._through)
        return self._through(request, start_response)

    def _through(self, request: Request, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as AWS does when nothing is wrong."""
        key = _stored_object(request)
        if key is None or self.arrived is None or request.key_id == TRANSFER_KEY_ID:
            return self._moto(request.environ, start_response)
        return self._store(request, *key, start_response)

    def _own(self, request: Request) -> Response | None:
        if request.path.startswith("/_fileflow/"):
            return self._private_api(request)
        if (filled := self._gaps.answer(request)) is not None:
            return filled
        if request.service == "lambda" and self.lambdas is not None:
            return self.lambdas.answer(request)
        if request.service == "secretsmanager":
            return self._secret(request)
        if request.service == "ssm":
            return self._parameter(request)
        if request.service == "s3":
            _give_up_bucket(request, self._tables.buckets)
        if request.service == "states":
            machines.name_execution(request)
        if request.service == "sns":
            _name_topic(request, self._tables.topics)
        denied = admission.refusal(request)
        return None if denied is None else Response(*denied, (("Content-Type", "application/xml"),))

    def _private_api(self, request: Request) -> Response:
        name = request.path.removeprefix("/_fileflow/")
        if name.startswith("webhook/"):
            return self.webhooks.take(name, request.body())
        if not hmac.compare_digest(request.header("X-Fileflow-Token").encode(), self._token.encode()):
            return json_response({"error": "the token is missing or wrong"}, "403 Forbidden")
        if name not in self._private:
            return json_response({"error": f"there is no {name}"}, "404 Not Found")
        try:
            return json_response(self._private[name](json.loads(request.body() or b"null")))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller hears of it
            _LOG.exception("%s failed", name)
            return json_response({"error": f"{type(error).__name__}: {error}"}, "500 Internal Server Error")

    def _secret(self, request: Request) -> Response | None:
        action = request.header("X-Amz-Target").removeprefix("secretsmanager.")
        if action not in ("GetSecretValue", "DescribeSecret"):
            return None
        question = json.loads(request.body() or b"{}")
        name = str(question.get("SecretId", ""))
        text = self._tables.secrets.get(name)
        if text is None or (
            _is_deployed(name, request.region) and (action != "GetSecretValue" or "VersionId" in question)
        ):
            return None  # whoever deploys secrets looks after versions; a flow just asks for the secret
        answer: dict[str, object] = {"ARN": name, "Name": name.rpartition(":secret:")[2]}
        version = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
        if action == "DescribeSecret":
            return json_response({**answer, "VersionIdsToStages": {version: ["AWSCURRENT"]}})
        return json_response({**answer, "VersionId": version, "VersionStages": ["AWSCURRENT"], "SecretString": text})

    def _parameter(self, request: Request) -> Response | None:
        if request.header("X-Amz-Target") != "AmazonSSM.GetParameter":
            return None
        name = str(json.loads(request.body() or b"{}").get("Name", ""))
        text = self._tables.secrets.get(name if name.startswith("arn:") else f"{PARAMETER}{name}")
        if text is None:
            return None
        value = {"Name": name, "Type": "SecureString", "Value": text, "Version": 1, "DataType": "text"}
        return json_response({"Parameter": value})

    def _store(self, request: Request, bucket: str, key: str, start_response: StartResponse) -> Iterable[bytes]:
        """Let moto store an object; once it has, say so before the client hears of it."""
        said: list[str] = []

        def started(status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[[bytes], object]:
            said.append(status)
            return start_response(status, headers, *more)

        body = self._moto(request.environ, started)
        if said and said[0].startswith("2") and self.arrived is not None:
            self.arrived(*s3_place(bucket, key), _s3_event(request, bucket, key))
        return body


def _stored_object(request: Request) -> tuple[str, str] | None:
    """Return the bucket and key where the request is PutObject, CopyObject or CompleteMultipartUpload."""
    bucket, slash, key = request.path.lstrip("/").partition("/")
    if request.service != "s3" or not slash or not key:
        return None
    query = parse_qs(request.query, keep_blank_values=True)
    query.pop("x-id", None)  # how SDKs name the operation
    presigned = all(name.lower().startswith("x-amz-") for name in query)
    whole = request.method == "PUT" and presigned
    completed = request.method == "POST" and "uploadId" in query
    return (bucket, key) if whole or completed else None


def _s3_event(request: Request, bucket: str, key: str) -> dict[str, object]:
    """Return S3's notification (docs.aws.amazon.com/AmazonS3: event message structure 2.1)."""
    stored = backends.backend("s3").get_object(bucket, key)
    how = "CompleteMultipartUpload" if request.method == "POST" else "Put"
    if request.header("x-amz-copy-source"):
        how = "Copy"
    entity = {
        # S3 encodes the key like a form field, and leaves the slash alone.
        "key": quote_plus(key, safe="/"),
        "size": stored.size if stored else 0,
        "eTag": stored.etag.strip('"') if stored else "",
        "sequencer": f"{time.time_ns():016X}",
    }
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "eventName": f"ObjectCreated:{how}",
        "userIdentity": {"principalId": "AWS:FILEFLOWSANDBOX"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": uuid.uuid4().hex[:16].upper(), "x-amz-id-2": ""},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "fileflow-sandbox",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "FILEFLOWSANDBOX"},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": entity,
        },
    }
    return {"Records": [record]}


def _is_deployed(secret: str, region: str) -> bool:
    """Tell whether a secret was created through the API too."""
    return backends.is_loaded("secretsmanager") and secret in backends.backend("secretsmanager", region).secrets


def _give_up_bucket(request: Request, made: set[str]) -> None:
    """Let a bucket that was made for a flow be created by whoever deploys it, as long as it is empty."""
    name = request.path.strip("/")
    if request.method != "PUT" or name not in made or set(parse_qs(request.query, keep_blank_values=True)) - {"x-id"}:
        return
    made.discard(name)
    backends.backend("s3").delete_bucket(name)  # does nothing where there are files


def _name_topic(request: Request, topics: Mapping[str, str]) -> None:
    """Put a real topic's ARN in the place of the text by which a config names it."""
    form = dict(parse_qsl(request.body().decode(), keep_blank_values=True))
    name = topics.get(form.get("TopicArn", ""))
    if name is None:
        return
    topic = backends.backend("sns", request.region).create_topic(name)
    request.replace_body(urlencode({**form, "TopicArn": topic.arn}).encode())


class Webhooks:
    """A local stand-in for chat and ticket webhooks: takes anything, and keeps it to be read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._posts: list[dict[str, str]] = []

    def take(self, path: str, body: bytes) -> Response:
        """Keep one post, and answer as Jira and ServiceNow do to a new ticket; chats do not read it."""
        with self._lock:
            self._posts.append({"path": path, "body": body.decode("utf-8", "replace")})
            number = len(self._posts)
        return json_response({"key": f"SANDBOX-{number}", "result": {"sys_id": str(number)}, "transitions": []})

    def posts(self) -> list[dict[str, str]]:
        """Return what was posted so far, oldest first."""
        with self._lock:
            return list(self._posts)
