"""The table at the end of a session: a line a run, worst first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_fileflow.model import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_fileflow.results.record import Record
    from pytest_fileflow.session import FlowSession

PASSED_ROWS = 40  # passed runs that are listed; beyond, only the slowest are
SLOWEST_ROWS = 5
RESIDUE_ROWS = 10
HEADER = ("outcome", "flow", "case", "direction", "latency", "SLO", "of SLO", "cause")
RANK = {"failed": 0, "error": 1, "passed": 2}


class TerminalSummary:
    """Gathers the reports of a session, on the controller where there is one, and prints the table."""

    def __init__(self, session: FlowSession):
        self._session = session
        self._reports: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the run's report that travels with pytest's."""
        kept = getattr(report, "fileflow", None)
        if kept is not None and report.when in ("setup", "call"):
            self._reports.append(kept)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, what was interrupted, and what could not be stored."""
        reports = self._reports + self._session.reports
        if not reports:
            return
        records = [report["record"] for report in reports]
        rehearsed = " in the sandbox" if any(record.get("sandbox") for record in records) else ""
        terminalreporter.write_sep("=", f"file flows{rehearsed}")
        for line in table(records):
            terminalreporter.write_line(line)
        for line in _notes(reports):
            terminalreporter.write_line(line)
        errors = sorted({report["store_error"] for report in reports} - {""})
        for error in errors:
            terminalreporter.write_line(f"NOT RECORDED tester.results_store: {error}", red=True, bold=True)


def table(records: Sequence[Record]) -> list[str]:
    """Return the lines of the table: all that did not pass, then those that did, slowest against their SLO first."""
    ranked = sorted(records, key=lambda record: (RANK[record["outcome"]], -_share_of_slo(record)))
    bad = [record for record in ranked if record["outcome"] != "passed"]
    good = ranked[len(bad) :]
    shown = bad + (good if len(good) <= PASSED_ROWS else good[:SLOWEST_ROWS])
    lines = _columns([HEADER, *(_row(record) for record in shown)])
    if len(good) > PASSED_ROWS:
        lines.append(f"and {len(good) - SLOWEST_ROWS} more that passed")
    return lines


def _row(record: Record) -> tuple[str, ...]:
    latency = record["latency_seconds"]
    share = f"{100 * _share_of_slo(record):.1f} %" if latency is not None else "-"
    return (
        record["outcome"],
        record["flow_id"],
        _case(record),
        record["direction"],
        f"{latency:.2f} s" if latency is not None else "-",
        f"{record['slo_seconds']:g} s",
        share,
        record["cause"] or "",
    )


def _case(record: Record) -> str:
    return str(record["case"] or format_size(record["file"]["size"]))


def _share_of_slo(record: Record) -> float:
    latency = record["latency_seconds"]
    return float(latency / record["slo_seconds"]) if latency is not None else 0.0


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    numbers = {HEADER.index(name) for name in ("latency", "SLO", "of SLO")}
    return [
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _notes(reports: Sequence[dict[str, Any]]) -> list[str]:
    records = [report["record"] for report in reports]
    interrupted = sum(record["cause"] == "tester.interrupted" for record in records)
    residue = [name for record in records for name in record["residue"]]
    passed = sum(record["outcome"] == "passed" for record in records)
    notes = [f"{passed} of {len(records)} runs passed"]
    if interrupted:
        verb = "was" if interrupted == 1 else "were"
        notes.append(f"{interrupted} {verb} interrupted; what they had written was removed, unless named below")
    notes += [f"left behind: {name}" for name in residue[:RESIDUE_ROWS]]
    if len(residue) > RESIDUE_ROWS:
        notes.append(f"left behind: {len(residue) - RESIDUE_ROWS} more files, named in the records")
    folder = next((report["where"] for report in reports if report["where"]), "")
    if folder:
        notes.append(f"records: {folder.split('/results/dt=', 1)[0]}")
    return notes
