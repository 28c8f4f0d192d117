"""The check ``tags``: an S3 object has the tags that it should have, which takes s3:GetObjectTagging to see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.checks.labels import Labels, Wanted
from pytest_fileflow.checks.place import KeepsTags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.checks.chain import Expected
    from pytest_fileflow.endpoints import Endpoint


def make(options: Mapping[str, object], expected: Expected) -> Labels:  # noqa: ARG001 - as all checks are made
    """Return the check."""
    return Labels("tags", Wanted.of(options), _tags)


def _tags(endpoint: Endpoint, name: str) -> Mapping[str, str] | None:
    return endpoint.tags(name) if isinstance(endpoint, KeepsTags) else None
