"""The faults of S3 ends: what S3 answers about one prefix of a bucket while they are switched on."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING
from urllib.parse import parse_qs
from xml.sax.saxutils import escape, unescape

from pytest_fileflow.sandbox import backends
from pytest_fileflow.sandbox.places import place_key_id, s3_place
from pytest_fileflow.sandbox.web import Reset, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from _typeshed.wsgi import StartResponse

    from pytest_fileflow.sandbox.places import Place
    from pytest_fileflow.sandbox.switches import Switch, Switches
    from pytest_fileflow.sandbox.web import Request

    Through = Callable[[Request, StartResponse], Iterable[bytes]]

_USER = f"arn:aws:iam::{backends.ACCOUNT}:user/sandbox"
_KEY = re.compile(r"<Key>(.*?)</Key>", re.DOTALL)
_ACTIONS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"}


class S3Faults:
    """Finds the faults that a request to S3 meets."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches

    def of(self, request: Request) -> FaultyAnswer | None:
        """Return how a request is answered whose place has faults, or None."""
        if request.service != "s3" or not self._switches.has_places:
            return None
        operation = Operation(request)
        place = operation.place
        if place is None:  # HeadBucket and the like: only the caller tells which prefix this is about
            known = (place for place in self._switches.places() if place[:2] == ("S3", operation.bucket))
            place = next((place for place in known if place_key_id(place) == request.key_id), None)
        faults = self._switches.at(place) if place is not None else ()
        return FaultyAnswer(operation, faults) if faults else None


class Operation:
    """What a request asks of S3, and the folder that it is about."""

    def __init__(self, request: Request) -> None:
        self.bucket, _, key = request.path.lstrip("/").partition("/")
        self.query = parse_qs(request.query, keep_blank_values=True)
        self.method = request.method
        self.is_multi_delete = self.method == "POST" and not key and "delete" in self.query
        self.keys = [key] if key else []
        if self.is_multi_delete:
            self.keys = [unescape(key) for key in _KEY.findall(request.body().decode("utf-8", "replace"))]
        self.is_list = self.method == "GET" and not key and bool({"list-type", "prefix"} & set(self.query))
        self.is_data = bool(key) and (self.method == "PUT" or (self.method == "GET" and "tagging" not in self.query))
        self.encrypts = request.header("x-amz-server-side-encryption").startswith("aws:kms")
        self.kms_key = request.header("x-amz-server-side-encryption-aws-kms-key-id")

    @property
    def place(self) -> Place | None:
        """Return the folder, None for a request about the bucket as a whole."""
        if self.is_list:
            return s3_place(self.bucket, self.query.get("prefix", [""])[0])[0]
        return s3_place(self.bucket, self.keys[0])[0] if self.keys else None

    @property
    def action(self) -> str:
        """Return the permission that it takes."""
        if not self.keys:
            return "s3:ListBucket"
        return "s3:DeleteObject" if self.is_multi_delete else _ACTIONS.get(self.method, "s3:PutObject")

    @property
    def resource(self) -> str:
        """Return the ARN that the permission is for."""
        key = f"/{self.keys[0]}" if self.keys else ""
        return f"arn:aws:s3:::{self.bucket}{key}"


class FaultyAnswer:
    """An answer with the faults of its place."""

    def __init__(self, operation: Operation, faults: Iterable[Switch]) -> None:
        self._operation = operation
        self._faults = {fault.name: fault for fault in faults}

    def answer(self, request: Request, start_response: StartResponse, through: Through) -> Iterable[bytes]:
        """Answer a request: late, with a refusal, or with a broken connection, where a fault says so."""
        if "slow_network" in self._faults:
            time.sleep(self._faults["slow_network"].amount or 0)
        refused = self._refusal()
        if refused is not None:
            request.body()  # or the client would see its connection break under the upload
            return refused.send(start_response)
        if "connection_reset" in self._faults and self._operation.is_data:
            return self._broken(request, start_response, through)
        return through(request, start_response)

    def _refusal(self) -> Response | None:
        operation = self._operation
        if "missing_bucket" in self._faults:
            return self._error("404 Not Found", "NoSuchBucket", "The specified bucket does not exist")
        if "denied_prefix" in self._faults:
            if operation.is_multi_delete:
                return self._none_deleted()
            return self._denied(operation.action, operation.resource)
        if "denied_kms_key" in self._faults:
            if operation.encrypts:
                return self._denied("kms:GenerateDataKey", operation.kms_key)
            stored = self._key_of_stored()
            return self._denied("kms:Decrypt", stored) if stored else None
        return None

    def _key_of_stored(self) -> str | None:
        """Return the KMS key of an object whose bytes are asked for."""
        operation = self._operation
        if operation.method != "GET" or not operation.is_data:
            return None
        stored = backends.backend("s3").get_object(operation.bucket, operation.keys[0])
        return getattr(stored, "kms_key_id", None)

    def _denied(self, action: str, resource: str) -> Response:
        # docs.aws.amazon.com/IAM: access denied error messages
        return self._error("403 Forbidden", "AccessDenied", _denial(action, resource))

    def _none_deleted(self) -> Response:
        errors = "".join(
            f"<Error><Key>{escape(key)}</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            for key in self._operation.keys
        )
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<DeleteResult>{errors}</DeleteResult>'
        return Response("200 OK", body.encode(), (("Content-Type", "application/xml"),))

    def _error(self, status: str, code: str, message: str) -> Response:
        told = {"Code": code, "Message": message, "BucketName": self._operation.bucket, "RequestId": uuid.uuid4().hex}
        fields = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in told.items())
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{fields}</Error>'.encode()
        return Response(
            status, b"" if self._operation.method == "HEAD" else body, (("Content-Type", "application/xml"),)
        )

    def _broken(self, request: Request, start_response: StartResponse, through: Through) -> Iterable[bytes]:
        if request.method == "PUT":
            length = int(request.environ.get("CONTENT_LENGTH") or 0)
            request.environ["wsgi.input"].read(min(length, 64 * 1024) // 2)
            raise Reset("in the middle of an upload")
        return _half(through(request, start_response))


def _half(body: Iterable[bytes]) -> Iterator[bytes]:
    """Yield half of what was to be sent first, then break the connection."""
    for chunk in body:
        yield chunk[: max(1, len(chunk) // 2)]
        break
    raise Reset("in the middle of a download")


def _denial(action: str, resource: str) -> str:
    return (
        f'User: {_USER} is not authorized to perform: {action} on resource: "{resource}" '
        f"because no identity-based policy allows the {action} action"
    )
