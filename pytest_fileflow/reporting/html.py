"""pytest-html's hooks: columns and details for flows."""

from __future__ import annotations

from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow.model import format_size
from pytest_fileflow.reporting.details import details, style
from pytest_fileflow.results.record import sends_file

if TYPE_CHECKING:
    from pytest_fileflow.results.record import Record

COLUMNS = ("Direction", "Size", "Latency / SLO")
FIRST_COLUMN = 2  # after pytest-html's Result and Test


class HtmlReport:
    """pytest-html's hooks."""

    def __init__(self) -> None:
        self._has_flows = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the details before pytest-html reads the report."""
        record = _record(report)
        if record is not None:
            self._has_flows = True
            from pytest_html import extras

            report.extras = [*getattr(report, "extras", []), extras.html(details(record))]  # type: ignore[attr-defined]

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_summary(self, prefix: list[str]) -> None:
        """Bring along, once, what all details look like."""
        if self._has_flows:
            prefix.append(_style())

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_header(self, cells: list[str]) -> None:
        """Add the columns."""
        names = (name.split()[0].lower() for name in COLUMNS)
        cells[FIRST_COLUMN:FIRST_COLUMN] = [
            f'<th class="sortable" data-column-type="{column}">{name}</th>'
            for column, name in zip(names, COLUMNS, strict=True)
        ]

    @pytest.hookimpl(optionalhook=True)
    def pytest_html_results_table_row(self, report: pytest.TestReport, cells: list[str]) -> None:
        """Fill the columns; tests that are no flows leave them empty."""
        record = _record(report)
        values = ("", "", "") if record is None else _values(record)
        names = (name.split()[0].lower() for name in COLUMNS)
        added = [f'<td class="col-{column}">{escape(value)}</td>' for column, value in zip(names, values, strict=True)]
        cells[FIRST_COLUMN:FIRST_COLUMN] = added


def _style() -> str:
    own = resources.files(__package__).joinpath("pytest_html.css").read_text(encoding="utf-8")
    return f'<style>{style()}{own}</style><meta name="viewport" content="width=device-width,initial-scale=1">'


def _record(report: pytest.TestReport) -> Record | None:
    kept: dict[str, Any] | None = getattr(report, "fileflow", None)
    return kept["record"] if kept else None


def _values(record: Record) -> tuple[str, str, str]:
    if not sends_file(record):
        return record["direction"], "-", "-"
    latency = f"{record['latency_seconds']:.2f} s" if record["latency_seconds"] is not None else "-"
    return record["direction"], format_size(record["file"]["size"]), f"{latency} / {record['slo_seconds']:g} s"
