"""What IAM policies allow, and which permission an API call takes: as far as the deployed functions need it.

The actions and resources are those of AWS's Service Authorization Reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_fileflow.sandbox.calls import RecordedCall

ACCOUNT, REGION = "123456789012", "us-east-1"


@dataclass(frozen=True)
class Need:
    """A permission: an action on a resource, with what conditions may look at."""

    action: str
    resource: str = "*"
    context: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        told = ", ".join(f"{name}={value}" for name, value in self.context.items())
        return f"{self.action} on {self.resource}{f' ({told})' if told else ''}"


def statements(policy: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the statements of a policy."""
    told = policy["Statement"]
    yield from told if isinstance(told, list) else [told]


def allows(policy: Mapping[str, Any], need: Need) -> bool:
    """Return whether a policy allows something, and none of its statements denies it."""
    met = [each["Effect"] for each in statements(policy) if _is_met(each, need)]
    return "Allow" in met and "Deny" not in met


def actions(policy: Mapping[str, Any]) -> set[str]:
    """Return the actions that a policy allows."""
    return {action for each in statements(policy) if each["Effect"] == "Allow" for action in _list(each["Action"])}


def _is_met(statement: Mapping[str, Any], need: Need) -> bool:
    return (
        any(_fits(action, need.action) for action in _list(statement["Action"]))
        and any(_fits(resource, need.resource) for resource in _list(statement["Resource"]))
        and all(
            _TESTS[test](need.context.get(name), _list(values))
            for test, told in statement.get("Condition", {}).items()
            for name, values in told.items()
        )
    )


def _fits(pattern: str, text: str) -> bool:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL) is not None


_TESTS: Mapping[str, Callable[[str | None, list[str]], bool]] = {
    "StringLike": lambda value, patterns: value is not None and any(_fits(pattern, value) for pattern in patterns),
    "StringEquals": lambda value, texts: value in texts,
    "ArnEquals": lambda value, texts: value in texts,
}


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def needs(call: RecordedCall) -> list[Need]:
    """Return the permissions that a call takes; a call that is not known here is an error."""
    return list(_NEEDS[call.service, call.operation](call))


def _object(*taken: str) -> Callable[[RecordedCall], Iterator[Need]]:
    def told(call: RecordedCall) -> Iterator[Need]:
        for key in call.resources.get("Keys", call.resources.get("Key", "")).split("\n"):
            for action in taken:
                yield Need(action, f"arn:aws:s3:::{call.resources['Bucket']}/{key}")
            if "Tagging" in call.parameters:
                yield Need("s3:PutObjectTagging", f"arn:aws:s3:::{call.resources['Bucket']}/{key}")

    return told


def _bucket(action: str) -> Callable[[RecordedCall], Iterator[Need]]:
    def told(call: RecordedCall) -> Iterator[Need]:
        prefix = call.resources.get("Prefix")
        context = {} if prefix is None else {"s3:prefix": prefix}
        yield Need(action, f"arn:aws:s3:::{call.resources['Bucket']}", context)

    return told


def _named(action: str, name: str) -> Callable[[RecordedCall], Iterator[Need]]:
    def told(call: RecordedCall) -> Iterator[Need]:
        yield Need(action, call.resources[name])

    return told


def _log_group(call: RecordedCall) -> Iterator[Need]:
    yield Need("logs:FilterLogEvents", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{call.resources['logGroupName']}:*")


def _metrics(call: RecordedCall) -> Iterator[Need]:
    yield Need("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": call.resources["Namespace"]})


_NEEDS: Mapping[tuple[str, str], Callable[[RecordedCall], Iterator[Need]]] = {
    ("s3", "GetObject"): _object("s3:GetObject"),
    ("s3", "HeadObject"): _object("s3:GetObject"),
    ("s3", "PutObject"): _object("s3:PutObject"),
    ("s3", "DeleteObject"): _object("s3:DeleteObject"),
    ("s3", "DeleteObjects"): _object("s3:DeleteObject"),
    ("s3", "GetObjectTagging"): _object("s3:GetObjectTagging"),
    ("s3", "CreateMultipartUpload"): _object("s3:PutObject"),
    ("s3", "UploadPart"): _object("s3:PutObject"),
    ("s3", "CompleteMultipartUpload"): _object("s3:PutObject"),
    ("s3", "AbortMultipartUpload"): _object("s3:AbortMultipartUpload"),
    ("s3", "ListParts"): _object("s3:ListMultipartUploadParts"),
    ("s3", "ListObjectsV2"): _bucket("s3:ListBucket"),
    ("s3", "HeadBucket"): lambda _: iter(()),  # any answer but 404, also 403, says that the bucket is there
    ("s3", "ListObjectVersions"): _bucket("s3:ListBucketVersions"),
    ("s3", "ListMultipartUploads"): _bucket("s3:ListBucketMultipartUploads"),
    ("secretsmanager", "GetSecretValue"): _named("secretsmanager:GetSecretValue", "SecretId"),
    ("ssm", "GetParameter"): _named("ssm:GetParameter", "Name"),
    ("lambda", "Invoke"): _named("lambda:InvokeFunction", "FunctionName"),
    ("sns", "Publish"): _named("sns:Publish", "TopicArn"),
    ("stepfunctions", "DescribeExecution"): _named("states:DescribeExecution", "executionArn"),
    ("logs", "FilterLogEvents"): _log_group,
    ("cloudwatch", "PutMetricData"): _metrics,
}
