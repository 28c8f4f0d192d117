"""pytest-html's columns and details for flows."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow.model import format_size
from pytest_fileflow.results.record import headline, latency_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_fileflow.results.record import Record

COLUMNS = ("Direction", "Size", "Latency / SLO")
FIRST_COLUMN = 2  # after pytest-html's Result and Test
STYLE = (
    "<style>.fileflow{font:13px/1.5 system-ui,sans-serif;margin:4px 0 12px}"
    ".fileflow th,.fileflow td{text-align:left;vertical-align:top;padding:2px 14px 2px 0;border:0;"
    "overflow-wrap:anywhere;color:#222}"
    ".fileflow th{font-weight:600;white-space:nowrap}.fileflow p{margin:0 0 6px;font-weight:600}"
    ".fileflow details{margin-top:6px}.fileflow pre{white-space:pre-wrap;margin:0}</style>"
)


class HtmlReport:
    """pytest-html's hooks. Every text that comes from a config, a server or a name is escaped here."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the details before pytest-html reads the report."""
        record = _record(report)
        if record is not None:
            from pytest_html import extras

            report.extras = [*getattr(report, "extras", []), extras.html(details(record))]  # type: ignore[attr-defined]

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


def _record(report: pytest.TestReport) -> Record | None:
    kept: dict[str, Any] | None = getattr(report, "fileflow", None)
    return kept["record"] if kept else None


def _values(record: Record) -> tuple[str, str, str]:
    latency = f"{record['latency_seconds']:.2f} s" if record["latency_seconds"] is not None else "-"
    return (
        record["direction"],
        format_size(record["file"]["size"]),
        f"{latency} / {record['slo_seconds']:g} s",
    )


def details(record: Record) -> str:
    """Return a run's details as one escaped HTML block."""
    return "".join(
        (
            f'{STYLE}<div class="fileflow"><p>{escape(headline(record))}</p>',
            _table(_facts(record)),
            _checks(record["checks"]),
            _folded("Timeline", record["timeline"].items()),
            _folded("Evidence", ((name, _text(value)) for name, value in record["evidence"].items())),
            "</div>",
        )
    )


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    yield "Cause", record["cause"] or ""
    yield "Look first", record["hint"] or ""
    yield "Run", f"{record['run_id']} (attempt {record['attempt']})"
    yield "File", f"{record['file']['name']}, {record['file']['size']} bytes"
    yield "Source", record["source"]["location"]
    yield "Target", record["target"]["location"]
    latency = "nothing arrived" if record["latency_seconds"] is None else latency_text(record)
    yield "Latency", f"{latency}, SLO {record['slo_seconds']:g} s"
    yield "Owner", record["owner"]
    yield "Left behind", "\n".join(record["residue"])


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = (f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows if value)
    return f"<table>{''.join(cells)}</table>"


def _checks(checks: list[dict[str, str]]) -> str:
    if not checks:
        return ""
    names = ("name", "outcome", "expected", "observed")
    head = "".join(f"<th>{title}</th>" for title in ("Check", "Outcome", "Expected", "Observed"))
    rows = ("".join(f"<td>{escape(check[name])}</td>" for name in names) for check in checks)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _folded(title: str, rows: Iterable[tuple[str, str]]) -> str:
    rows = list(rows)
    if not rows:
        return ""
    cells = (f"<tr><th>{escape(name)}</th><td><pre>{escape(value)}</pre></td></tr>" for name, value in rows)
    return f"<details><summary>{title}</summary><table>{''.join(cells)}</table></details>"


def _text(value: object) -> str:
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)
