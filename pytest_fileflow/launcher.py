"""One process's part of a session: launches its flows ahead, and hands each item its run."""

from __future__ import annotations

import dataclasses
import logging
import math
import signal
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_fileflow import rehearsal
from pytest_fileflow.clock import Clock
from pytest_fileflow.collection import CASE
from pytest_fileflow.cost import Cost
from pytest_fileflow.due import name_due
from pytest_fileflow.engine import Engine
from pytest_fileflow.errors import Interrupted, OverBudget
from pytest_fileflow.flight import Limits, Plan
from pytest_fileflow.results.ledger import Entry
from pytest_fileflow.results.record import PROPERTIES, headline, make_record, properties, run_seconds, summary_text
from pytest_fileflow.steps import manifest, unprepared, verdict_of
from pytest_fileflow.switched import SwitchedFaults
from pytest_fileflow.turns import Widths

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence
    from pathlib import Path

    import pytest

    from pytest_fileflow.model import Case, Run
    from pytest_fileflow.progress import Progress
    from pytest_fileflow.registry import Registry
    from pytest_fileflow.results.keeper import Keeper
    from pytest_fileflow.results.ledger import Ledger
    from pytest_fileflow.results.record import Record
    from pytest_fileflow.selecting import Purse
    from pytest_fileflow.settings import Settings
    from pytest_fileflow.streams import Tools
    from pytest_fileflow.toolbox import Toolbox

logger = logging.getLogger(__name__)

OTHER_RUNS = 50  # of a flow, that are remembered to recognise their bytes
SMALL_BYTES = 64 * 1024  # what is sent about as fast as a contract is looked at
PROGRESS_SECONDS = 1.0  # how often a worker tells how far it is
STOP_SECONDS = 0.25  # how often a worker asks whether the session has ended elsewhere


@dataclass(frozen=True)
class Report:
    """A recorded run as it is reported: its record, where that lies, and why it could not be stored."""

    record: Record
    where: str = ""
    store_error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return primitives only, for the way from a worker to the controller."""
        return {"record": self.record, "where": self.where, "store_error": self.store_error}

    @property
    def seconds(self) -> float:
        """Return how long the run itself took."""
        return run_seconds(self.record)

    @property
    def is_failure(self) -> bool:
        """Return whether this is to be counted as failed; a run that was ended early is not."""
        if "rehearsal" in self.record:
            return bool(rehearsal.problem(self.record))
        return self.record["cause"] != "tester.interrupted" and bool(self.record["cause"] or self.store_error)

    @property
    def failure(self) -> str:
        """Return the text of a flow at fault, else an empty one; of a rehearsal, that its fault was not caught."""
        if "rehearsal" in self.record:
            problem = rehearsal.problem(self.record)
            return problem and f"{problem}\n{self._text()}"
        return self._text() if self.record["outcome"] == "failed" else ""

    @property
    def words(self) -> str:
        """Return the text that the item fails or errs with; its first line says all in short."""
        return self.failure or self.error

    @property
    def error(self) -> str:
        """Return the text of a tester at fault, else an empty one; the flow's verdict is in it."""
        if "rehearsal" in self.record:
            return ""
        if self.record["outcome"] == "error":
            return self._text()
        if self.store_error and self.record["outcome"] == "passed":
            return f"tester.results_store: {self.store_error}\n  the verdict stands: {headline(self.record)}"
        return ""

    def _text(self) -> str:
        text = summary_text(self.record, self.where)
        return f"{text}  no record  {self.store_error}\n" if self.store_error else text


def store(keeper: Keeper, record: Record, manifest: bytes | None = None) -> Report:
    """Write a record and return its report; a store that fails changes no verdict, and is reported with it."""
    try:
        kept = keeper.keep(record, manifest)
        return Report(record, kept.where, kept.problem)
    except (TypeError, ValueError) as error:
        return Report(record, store_error=f"the record cannot be written: {error}")
    except Exception as error:  # noqa: BLE001 - as above, whatever it fails with
        return Report(record, store_error=f"the record cannot be written: {type(error).__name__}")


@dataclass
class History:
    """What a session remembers of its launches, whatever becomes of the launcher: a rerun must not start all anew."""

    attempts: dict[Hashable, int] = field(default_factory=dict)
    ahead: set[tuple[str, ...]] = field(default_factory=set)


@dataclass(frozen=True)
class Part:
    """One process's part of a session.

    ``share`` says which of the session's node ids, by position, this process will surely be asked
    for: these may be launched ahead. ``workers`` share the session's bound on runs in flight.
    ``lost`` are the ledgers of processes whose runs this one takes over to clean up.
    ``is_stopping`` tells whether the session has ended elsewhere, as ``-x`` ends it. ``widths`` are how
    many runs SFTP servers take at a time, of all workers together. ``purse`` is what reruns are paid from,
    where the session has a budget.
    """

    share: Callable[[Sequence[str]], Sequence[int]]
    ledger: Ledger
    keeper: Keeper
    workers: int = 1
    lost: Sequence[Ledger] = ()
    usual: Mapping[str, float] = field(default_factory=dict)
    is_stopping: Callable[[], bool] | None = None
    widths: Widths = field(default_factory=Widths)
    purse: Purse | None = None


def cleans_up(case: Case, settings: Settings) -> bool:
    """Return whether what a case has written is removed; of one that sends no file it is of no use to anybody."""
    return case.kind != "transfer" or (settings.clean_up and case.flow.testdata.delete_after)


class Launcher:
    """Owns the engine of this process."""

    def __init__(self, settings: Settings, registry: Registry, part: Part, history: History):
        self._settings = settings
        self._faults = SwitchedFaults(settings)
        self._registry = registry
        self._part = part
        self._clock = Clock()
        self._reports: dict[str, Report] = {}
        self._failed: deque[str] = deque()
        self._tools: dict[Toolbox, Tools] = {}
        self._conftests_of: dict[Path, tuple[str, ...]] = {}
        self._begun: dict[str, deque[str]] = {}  # the newest runs of each flow, the newest first
        in_flight = max(1, settings.max_in_flight // part.workers)
        limits = Limits(settings.concurrency, in_flight, part.widths)
        self._engine = Engine(limits, self._clock, self, history.attempts)
        self._ahead = history.ahead
        self._attempts = history.attempts
        self._unpaid: dict[str, Run] = {}  # by node id: those that the budget had no room for
        if part.is_stopping is not None:
            self._engine.call_every(STOP_SECONDS, self._stop_if_told)

    def run(self, item: pytest.Item, toolbox: Toolbox, provision: Callable[[list[Case]], None]) -> Report | None:
        """Return the report of an item's run, launching it, and all that may be launched with it, first.

        ``provision`` is called with the cases that are about to be launched. Returns None where the
        session ends before the run was begun.
        """
        neighbourhood = self._conftests(item)
        if neighbourhood not in self._ahead:
            self._ahead.add(neighbourhood)
            mates = [
                other for other in item.session.items if CASE in other.stash and self._conftests(other) == neighbourhood
            ]
            self._take_over(mates, toolbox, provision)
            own = {other.nodeid for other in self._own(item.session.items)} | {item.nodeid}
            self._launch([other for other in mates if other.nodeid in own], toolbox, provision)
        if not self._engine.is_launched(item.nodeid) and item.nodeid not in self._unpaid:
            self._launch([item], toolbox, provision)
        run = self._unpaid.pop(item.nodeid, None) or self._engine.result(item.nodeid)
        if run is None:
            return None
        report = self._reports.get(run.run_id) or Report(
            make_record(item.stash[CASE], run), store_error="the record was lost to a fault of the tester"
        )
        # A rerun's facts take the place of those of the run before.
        others = [fact for fact in item.user_properties if fact[0] not in PROPERTIES]
        item.user_properties[:] = [*others, *properties(report.record)]
        return report

    def progress(self) -> Progress:
        """Return how far this process's runs have come."""
        return dataclasses.replace(
            self._engine.progress(self._reports), done=len(self._reports), failed=len(self._failed)
        )

    def tell_progress(self, tell: Callable[[Progress], None]) -> None:
        """Have the progress told again and again, until all has ended."""

        def told() -> None:
            try:
                tell(self.progress())
            except Exception as error:  # noqa: BLE001 - it is only shown; whoever calls this keeps the runs' schedule
                logger.info("nobody hears how far this process is: %s", type(error).__name__)

        self._engine.call_every(PROGRESS_SECONDS, told)

    def close(self) -> list[Report]:
        """Cancel, clean up and record what is still under way; return the reports that no item has taken."""
        runs = self._engine.close()
        self._part.ledger.close()
        return [self._reports[run.run_id] for run in runs if run.run_id in self._reports]

    def enter(self, key: Hashable, case: Case, run: Run) -> None:
        """Note a run before its first byte is sent: the engine's logbook."""
        self._begun.setdefault(run.flow_id, deque(maxlen=OTHER_RUNS)).appendleft(run.run_id)
        lost = verdict_of(Interrupted("the process that carried out this run was lost, and nobody cleaned up after it"))
        locations = {"source": case.flow.source, "target": case.flow.target}
        names = [*run.written, *([("target", due.text)] if (due := name_due(case.flow, run)).exact is None else [])]
        left = tuple(locations[side].uri(name) for side, name in names)
        record = make_record(case, dataclasses.replace(run, verdict=lost, residue=left))
        self._part.ledger.enter(Entry(str(key), run, {**record, **self._circumstances(case)}))

    def record(self, case: Case, run: Run) -> Run:
        """Write a finished run's record: the engine's logbook."""
        record = {**make_record(case, run), **self._circumstances(case)}
        sent = case.kind == "transfer" and run.file.name
        report = store(self._part.keeper, record, manifest(run) if sent else None)
        if report.is_failure:
            self._failed.append(run.run_id)
        self._reports[run.run_id] = report
        for ledger in (self._part.ledger, *self._part.lost):
            ledger.strike(run.run_id)
        return run

    def _other_runs(self, run: Run) -> list[str]:
        """Return the ids of other runs of a flow, this session's and earlier ones, the newest first."""
        earlier = self._part.keeper.run_ids(run.flow_id, OTHER_RUNS)
        known = dict.fromkeys((*self._begun.get(run.flow_id, deque()).copy(), *earlier))
        known.pop(run.run_id, None)
        return list(known)[:OTHER_RUNS]

    def _circumstances(self, case: Case) -> dict[str, object]:
        """Return what a reader of a record must know that the run cannot: rehearsed, and with which faults."""
        faults = self._faults.of(case.flow)
        return {"sandbox": self._settings.sandbox, **({"faults": list(faults)} if faults else {})}

    def _stop_if_told(self) -> None:
        if self._part.is_stopping is not None and self._part.is_stopping():
            self._engine.stop()

    def _take_over(self, items: list[pytest.Item], toolbox: Toolbox, provision: Callable[[list[Case]], None]) -> None:
        """Clean up and record what lost processes left, as far as these items tell how."""
        by_id = {item.nodeid: item for item in items}
        for ledger in self._part.lost:
            for entry in ledger.entries():
                if (item := by_id.get(entry.node_id)) is not None:
                    case = item.stash[CASE]
                    tools = self._tools_of(toolbox)
                    provision([case])
                    self._engine.abandon(item.nodeid, case, entry.run, tools, clean_up=cleans_up(case, self._settings))

    def _order(self, cases: Sequence[Case]) -> Callable[[Case], tuple[int, tuple[float, float], bool]]:
        """Return what orders launches: the longest first, and before it the contract that it waits for.

        The suite takes as long as what ends last. What is not known may be the longest. Large files are
        sent once all contracts are on their way: a contract that fails is known within seconds.
        What must be refused comes last: nobody waits for it, and some of it does nothing but wait.
        """
        expected = {
            case.name: (self._part.usual.get(case.name, math.inf), case.flow.validation.expect_within_seconds)
            for case in cases
        }
        longest: dict[str, tuple[float, float]] = {}
        for case in cases:
            if case.kind == "transfer":
                longest[case.flow.flow_id] = max(expected[case.name], longest.get(case.flow.flow_id, (0.0, 0.0)))

        def order(case: Case) -> tuple[int, tuple[float, float], bool]:
            if case.kind == "rejects":
                return 0, expected[case.name], False
            if case.kind != "transfer":
                return 2, longest.get(case.flow.flow_id, (0.0, 0.0)), case.kind == "contract"
            return 2 if case.variant.size <= SMALL_BYTES else 1, expected[case.name], False

        return order

    def _tools_of(self, toolbox: Toolbox) -> Tools:
        if toolbox not in self._tools:
            allow = self._settings.bounds.allow_list
            self._tools[toolbox] = toolbox.tools(self._registry, self._clock, self._other_runs, allow)
        return self._tools[toolbox]

    def _launch(self, items: list[pytest.Item], toolbox: Toolbox, provision: Callable[[list[Case]], None]) -> None:
        tools = self._tools_of(toolbox)
        items = [item for item in items if self._is_paid(item.nodeid, item.stash[CASE])]
        cases = [item.stash[CASE] for item in items]
        provision(cases)
        order = self._order(cases)
        ordered = sorted(items, key=lambda item: order(item.stash[CASE]), reverse=True)
        self._engine.launch_all(
            [(item.nodeid, item.stash[CASE], tools, self._plan(item.stash[CASE])) for item in ordered]
        )

    def _is_paid(self, node_id: str, case: Case) -> bool:
        """Return whether the budget has room for a case; the first run of each was counted before any began."""
        attempt = self._attempts.get(node_id, 0) + 1
        if self._part.purse is None or attempt == 1 or case.kind != "transfer" or self._engine.is_launched(node_id):
            return True
        why = self._part.purse.pay(Cost.of([case]))
        if why is not None:
            self._attempts[node_id] = attempt
            verdict = verdict_of(OverBudget(f"not run again: {why}"))
            run = dataclasses.replace(unprepared(case, attempt), verdict=verdict)
            self._unpaid[node_id] = self.record(case, run)
        return why is None

    def _plan(self, case: Case) -> Plan:
        return Plan(cleans_up(case, self._settings), self._part.usual.get(case.name))

    def _conftests(self, item: pytest.Item) -> tuple[str, ...]:
        """Return the conftest files that an item's fixtures may come from: items with the same share their tools."""
        folder, root = item.path.parent, item.config.rootpath
        if folder not in self._conftests_of:  # thousands of flows lie in a few folders
            folders = [above for above in (folder, *folder.parents) if above == root or root in above.parents]
            found = tuple(str(above) for above in folders if (above / "conftest.py").exists())
            self._conftests_of[folder] = found
        return self._conftests_of[folder]

    def _own(self, items: Sequence[pytest.Item]) -> list[pytest.Item]:
        items = [items[position] for position in self._part.share([item.nodeid for item in items])]
        # Whether a skipif applies is known only when it is the item's turn.
        return [item for item in items if CASE in item.stash and not _may_skip(item)]


def _may_skip(item: pytest.Item) -> bool:
    # xfail(run=False) is a skip by another name.
    return any(item.get_closest_marker(name) for name in ("skip", "skipif", "xfail"))


class SigtermAsInterrupt:
    """Turns SIGTERM into what Ctrl-C does: CI systems cancel with it, and by default nothing is cleaned up.

    ``fired`` says whether it came.
    """

    def __init__(self) -> None:
        self.fired = False
        self._before: Any = None
        self._installed = False

    def install(self) -> None:
        """Take over SIGTERM, where nobody else has."""
        if self._installed or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._before = signal.signal(signal.SIGTERM, self._interrupt)
            self._installed = True

    def restore(self) -> None:
        """Give SIGTERM back."""
        if self._installed:
            signal.signal(signal.SIGTERM, self._before)
            self._installed = False

    def _interrupt(self, _number: int, _frame: object) -> None:
        if self.fired:
            return  # it may come twice, to the process and to its group: the clean-up goes on
        self.fired = True
        raise KeyboardInterrupt("SIGTERM")
