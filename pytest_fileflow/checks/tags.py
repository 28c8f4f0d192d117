"""The check ``tags``: an S3 object has the tags that it should have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.checks.labels import Wanted
from pytest_fileflow.checks.place import KeepsTags
from pytest_fileflow.errors import ConfigInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.checks.chain import Expected
    from pytest_fileflow.checks.place import Delivery
    from pytest_fileflow.model import CheckResult


class Tags:
    """Compares an object's tags."""

    def __init__(self, wanted: Wanted):
        self._wanted = wanted

    def look(self, delivery: Delivery) -> CheckResult:
        """Ask for the tags, which takes s3:GetObjectTagging, and judge them."""
        endpoint = delivery.endpoint
        if not isinstance(endpoint, KeepsTags):
            raise ConfigInvalid(f"check tags is not possible at {delivery.uri}: its endpoint shows no tags")
        return self._wanted.judge("tags", endpoint.tags(delivery.stat.name))


def make(options: Mapping[str, object], expected: Expected) -> Tags:  # noqa: ARG001 - as all checks are made
    """Return the check."""
    return Tags(Wanted.of(options))
