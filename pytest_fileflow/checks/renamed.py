"""The check ``renamed``: a file arrives under another name than it was sent with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.model import CheckResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.checks.chain import Expected
    from pytest_fileflow.checks.place import Delivery


class Renamed:
    """Says under which name the file was awaited, and came: under any other it is not found in the first place."""

    def look(self, delivery: Delivery) -> CheckResult:
        """Judge the name."""
        due, name = delivery.due.name, delivery.stat.name
        return CheckResult("renamed", due.fits(name), due.text, name)


def make(options: Mapping[str, object], expected: Expected) -> Renamed:  # noqa: ARG001 - as all checks are made
    """Return the check; what its option ``to`` says is due already."""
    return Renamed()
