"""What stands at the end of a session: a line a run, worst first, and a block a cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_fileflow.model import format_size
from pytest_fileflow.reporting.causes import blocks
from pytest_fileflow.reporting.columns import fitted
from pytest_fileflow.reporting.others import others
from pytest_fileflow.results.record import sends_file
from pytest_fileflow.results.words import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pytest

    from pytest_fileflow.results.places import Place
    from pytest_fileflow.results.record import Record
    from pytest_fileflow.session import FlowSession

PASSED_ROWS = 40  # passed runs that are listed; beyond, only the slowest are
SLOWEST_ROWS = 5
RESIDUE_ROWS = 10
FAULTY_ROWS = 40
HEADER = ("outcome", "flow", "case", "direction", "latency", "SLO", "of SLO", "cause")
NUMBERS = ("latency", "SLO", "of SLO")
DISPENSABLE = ("of SLO", "direction", "SLO")  # on a narrow terminal, the first first
RANK = {"failed": 0, "error": 1, "passed": 2}
COLOURS = {"failed": {"red": True}, "error": {"red": True}, "passed": {"green": True}}
KINDS = (
    ("transfer", "runs passed"),
    ("contract", "contracts kept"),
    ("canary", "canaries passed"),
    ("rejects", "refusals held"),
)


class TerminalSummary:
    """Gathers the reports of a session, on the controller where there is one, and prints the table."""

    def __init__(self, session: FlowSession):
        self._session = session

    def pytest_report_header(self) -> list[str]:
        """Say what was read of config stores, and which faults the command line or the ini file switches on."""
        stores, rules = self._session.stores, self._session.settings.fault_rules
        lines = [f"fileflow: {copy.said}" for copy in stores.copies] if stores is not None else []
        return [*lines, f"fileflow: faults switched on: {', '.join(rule.text for rule in rules)}"] if rules else lines

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the run's report that travels with pytest's."""
        kept = getattr(report, "fileflow", None)
        if kept is not None and report.when in ("setup", "call"):
            self._session.taken.append(kept)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, what was interrupted, and what could not be stored."""
        reports = self._session.all_reports
        if not reports:
            write_troubles(terminalreporter, self._session)
            return
        records = [report["record"] for report in reports]
        rehearsed = " in the sandbox" if any(record.get("sandbox") for record in records) else ""
        terminalreporter.write_sep("=", f"file flows{rehearsed}")
        width = terminalreporter.config.get_terminal_writer().fullwidth
        for line in table(records, width if terminalreporter.isatty else None):
            _write_row(terminalreporter, line)
        for block in blocks(records):
            terminalreporter.write_line("")
            terminalreporter.write(block.cause, red=True, bold=True)
            terminalreporter.write_line(f" ({block.number})")
            for line in block.lines(width):
                terminalreporter.write_line(line)
        terminalreporter.write_line("")
        for line in (
            *faults_switched_on(records),
            *self._session.notes,
            *broken_configs(terminalreporter.config),
            *notes(reports, self._session.recording.lasting),
        ):
            terminalreporter.write_line(line)
        write_troubles(terminalreporter, self._session)
        errors = sorted({report["store_error"] for report in reports} - {""})
        for error in errors:
            terminalreporter.write_line(f"NOT RECORDED tester.results_store: {error}", red=True, bold=True)


def write_troubles(terminalreporter: pytest.TerminalReporter, session: FlowSession) -> None:
    """Print what was asked for and could not be done."""
    for line in session.troubles:
        terminalreporter.write_line(line, yellow=True, bold=True)


def _write_row(terminalreporter: pytest.TerminalReporter, line: str) -> None:
    """Write a line of the table with its outcome in pytest's colours, and its cause, which comes last."""
    outcome, space, rest = line.partition(" ")
    if outcome not in COLOURS:
        terminalreporter.write_line(line)
        return
    row, gap, cause = ("", "", rest) if outcome == "passed" else rest.rpartition("  ")
    terminalreporter.write(outcome, **COLOURS[outcome])
    terminalreporter.write(f"{space}{row}{gap}")
    terminalreporter.write_line(cause, **(COLOURS[outcome] if row else {}))


def table(records: Sequence[Record], width: int | None = None) -> list[str]:
    """Return the lines of the table: all that did not pass, then those that did, slowest against their SLO first.

    Where they are longer than ``width``, columns that can be spared are left out.
    """
    in_order = ranked(records)
    bad = [record for record in in_order if record["outcome"] != "passed"]
    good = in_order[len(bad) :]
    shown = bad + (good if len(good) <= PASSED_ROWS else good[:SLOWEST_ROWS])
    rows = [dict(zip(HEADER, HEADER, strict=True)), *map(_row, shown)]
    lines = fitted(rows, HEADER, spare=DISPENSABLE, numbers=NUMBERS, width=width)
    if len(good) > PASSED_ROWS:
        lines.append(f"and {len(good) - SLOWEST_ROWS} more that passed")
    return lines


def ranked(records: Iterable[Record]) -> list[Record]:
    """Return what did not pass, then what did, each of them those that took most of their SLO first."""
    return sorted(records, key=_rank)


def _rank(record: Record) -> tuple[object, ...]:
    return RANK[record["outcome"]], not sends_file(record), -share_of_slo(record), record["flow_id"], record["case"]


def _row(record: Record) -> dict[str, str]:
    latency = record["latency_seconds"]
    return {
        "outcome": record["outcome"],
        "flow": plain(record["flow_id"]),
        "case": plain(record["case"] or format_size(record["file"]["size"])),
        "direction": record["direction"],
        "latency": f"{latency:.2f} s" if latency is not None else "-",
        "SLO": f"{record['slo_seconds']:g} s" if sends_file(record) else "-",
        "of SLO": f"{100 * share_of_slo(record):.1f} %" if latency is not None else "-",
        "cause": record["cause"] or "",
    }


def share_of_slo(record: Record) -> float:
    """Return the latency as a share of the SLO; 0 where nothing arrived."""
    latency = record["latency_seconds"]
    return float(latency / record["slo_seconds"]) if latency is not None else 0.0


def faults_switched_on(records: Sequence[Record]) -> list[str]:
    """Return a line for each flow that had faults."""
    by_flow = {record["flow_id"]: ", ".join(record["faults"]) for record in records if record.get("faults")}
    lines = [f"faults switched on: {flow_id}: {texts}" for flow_id, texts in sorted(by_flow.items())]
    more = len(lines) - FAULTY_ROWS
    return lines if more <= 0 else [*lines[:FAULTY_ROWS], f"faults switched on: and in {more} more flows"]


def broken_configs(config: pytest.Config) -> Iterator[str]:
    """Yield how many flows did not run, since their config is wrong."""
    number = sum(other.is_config for other in others(config))
    if number:
        yield f"{number} flow{'' if number == 1 else 's'} did not run: the config is wrong (config.invalid, above)"


def notes(reports: Sequence[dict[str, Any]], places: Sequence[Place] = ()) -> list[str]:
    """Return how many of each kind passed, what was interrupted or left behind, and where the records are."""
    records = [report["record"] for report in reports]
    interrupted = sum(record["cause"] == "tester.interrupted" for record in records)
    residue = [name for record in records for name in record["residue"]]
    runs, *others = _counts(records)
    notes = [runs, *([", ".join(others)] if others else [])]
    if interrupted:
        verb, who = ("was", "it") if interrupted == 1 else ("were", "they")
        notes.append(f"{interrupted} {verb} interrupted; what {who} had written was removed, unless named below")
    notes += [f"left behind: {plain(name)}" for name in residue[:RESIDUE_ROWS]]
    if len(residue) > RESIDUE_ROWS:
        notes.append(f"left behind: {len(residue) - RESIDUE_ROWS} more files, named in the records")
    lie = [where for where in (report["where"] for report in reports) if "/results/dt=" in where or "://" in where]
    if lie:  # others wait in the spool
        notes.append(f"records: {', '.join(map(str, places)) or lie[0].split('/results/dt=', 1)[0]}")
    return notes


def _counts(records: Sequence[Record]) -> Iterator[str]:
    for kind, words in KINDS:
        outcomes = [record["outcome"] for record in records if record.get("kind", "transfer") == kind]
        if outcomes:
            yield f"{outcomes.count('passed')} of {len(outcomes)} {words}"
