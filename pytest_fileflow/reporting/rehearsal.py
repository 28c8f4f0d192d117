"""The table at the end of a rehearsal: a line a flow and fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.rehearsal import conclusion, matrix
from pytest_fileflow.reporting.terminal import write_troubles

if TYPE_CHECKING:
    import pytest

    from pytest_fileflow.session import FlowSession


class RehearsalSummary:
    """Gathers the reports of a rehearsal, on the controller where there is one, and prints the table."""

    def __init__(self, session: FlowSession):
        self._session = session

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the run's report that travels with pytest's."""
        kept = getattr(report, "fileflow", None)
        if kept is not None and report.when in ("setup", "call"):
            self._session.taken.append(kept)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, and how many are as they must be."""
        every = [report["record"] for report in self._session.all_reports]
        records = [record for record in every if "rehearsal" in record and record["kind"] == "transfer"]
        if not records:
            return
        terminalreporter.write_sep("=", "rehearsal in the sandbox")
        for line in matrix(records):
            terminalreporter.write_line(line, red=line.startswith("WRONG"))
        for line in conclusion(records, self._session.settings.rehearse or ()):
            terminalreporter.write_line(line, red=line.startswith("NOT"))
        for line in self._session.notes:
            terminalreporter.write_line(line)
        write_troubles(terminalreporter, self._session)
