"""The check ``metadata``: an S3 object has the metadata and content type that it should have, by names in any case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.checks.labels import Labels, Wanted
from pytest_fileflow.checks.place import KeepsMetadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.checks.chain import Expected
    from pytest_fileflow.endpoints import Endpoint


def make(options: Mapping[str, object], expected: Expected) -> Labels:  # noqa: ARG001 - as all checks are made
    """Return the check."""
    return Labels("metadata", Wanted.of(options, fold=True), _metadata)


def _metadata(endpoint: Endpoint, name: str) -> Mapping[str, str] | None:
    return endpoint.metadata(name) if isinstance(endpoint, KeepsMetadata) else None
