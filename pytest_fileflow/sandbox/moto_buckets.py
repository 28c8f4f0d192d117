"""Mends moto's buckets: policies with conditions, which it takes for flat refusals, and marks of what was deleted."""

from __future__ import annotations

import json
from typing import Any


def prepare() -> None:
    """Have moto go by those statements of a policy that have no condition, and delete marks like versions."""
    from moto.s3 import models

    bucket: Any = models.FakeBucket
    bucket.get_permission = _permission
    mark: Any = models.FakeDeleteMarker
    mark.dispose = _nothing  # asked of the last version of a key, whatever it is: a mark has no content to give back


def _nothing(_: object) -> None:
    """Do nothing."""


def _permission(bucket: Any, action: str, resource: str) -> Any:
    """Return whether a bucket's policy allows, denies or does not mention an action.

    moto knows nothing of a request's circumstances, and so the usual refusal of whatever comes
    without TLS would refuse everything. Requests to the sandbox stand for requests over TLS; any
    other condition is not looked into either, and its statement decides nothing.
    """
    from moto.iam.access_control import IAMPolicy, PermissionResult

    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    policy = json.loads(bucket.policy)
    told = policy.get("Statement", [])
    statements = [said for said in (told if isinstance(told, list) else [told]) if not said.get("Condition")]
    return IAMPolicy(json.dumps({**policy, "Statement": statements})).is_action_permitted(action, resource)
