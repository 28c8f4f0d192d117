"""One HTML page that shows how the flows are, and were, from a history: it needs nothing from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.reporting.page.content import gather
from pytest_fileflow.reporting.page.render import render

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pytest_fileflow.results.history import History


def page(history: History, places: Sequence[str], since: datetime, flow: str | None = None) -> str:
    """Return the page of a history, with the places and the period that it was read from.

    Raises:
        FileflowError: a record cannot be read again.

    """
    return render(gather(history, places, since, flow))
