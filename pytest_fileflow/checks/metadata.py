"""The check ``metadata``: an S3 object has the metadata and content type that it should have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.checks.labels import Wanted
from pytest_fileflow.checks.place import KeepsMetadata
from pytest_fileflow.errors import ConfigInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.checks.chain import Expected
    from pytest_fileflow.checks.place import Delivery
    from pytest_fileflow.model import CheckResult


class Metadata:
    """Compares an object's metadata, by names in any case."""

    def __init__(self, wanted: Wanted):
        self._wanted = wanted

    def look(self, delivery: Delivery) -> CheckResult:
        """Ask for the metadata, and judge it."""
        endpoint = delivery.endpoint
        if not isinstance(endpoint, KeepsMetadata):
            raise ConfigInvalid(f"check metadata is not possible at {delivery.uri}: its endpoint shows no metadata")
        return self._wanted.judge("metadata", endpoint.metadata(delivery.stat.name))


def make(options: Mapping[str, object], expected: Expected) -> Metadata:  # noqa: ARG001 - as all checks are made
    """Return the check."""
    return Metadata(Wanted.of(options, fold=True))
