"""One process's part of a session: launches its flows ahead, and hands each item its run."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_fileflow.clock import Clock
from pytest_fileflow.collection import CASE
from pytest_fileflow.engine import Engine, Limits
from pytest_fileflow.errors import ResultsStoreFailed
from pytest_fileflow.model import S3Location
from pytest_fileflow.results.record import headline, make_record, properties, run_seconds, summary_text
from pytest_fileflow.results.store import Directory
from pytest_fileflow.steps import manifest
from pytest_fileflow.streams import Tools

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    import pytest

    from pytest_fileflow.endpoints import Endpoint
    from pytest_fileflow.invoke import Started
    from pytest_fileflow.model import Case, Location, Run, Transfer
    from pytest_fileflow.registry import Registry
    from pytest_fileflow.results.record import Record
    from pytest_fileflow.settings import Settings


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
    def failure(self) -> str:
        """Return the text of a flow at fault, else an empty one."""
        return self._text() if self.record["outcome"] == "failed" else ""

    @property
    def error(self) -> str:
        """Return the text of a tester at fault, else an empty one; the flow's verdict is in it."""
        if self.record["outcome"] == "error":
            return self._text()
        if self.store_error and self.record["outcome"] == "passed":
            return f"tester.results_store: {self.store_error}\n  the verdict stands: {headline(self.record)}"
        return ""

    def _text(self) -> str:
        text = summary_text(self.record, self.where)
        return f"{text}  no record  {self.store_error}\n" if self.store_error else text


@dataclass(frozen=True)
class Toolbox:
    """The fixtures' values that an item's run works with; ``conftest.py`` files may have replaced them."""

    s3_endpoint: Callable[..., Endpoint]
    sftp_endpoint: Callable[..., Endpoint]
    transfer_invoker: Callable[..., Started]

    def tools(self, registry: Registry, clock: Clock) -> Tools:
        """Return what the steps need, with one endpoint a location."""
        return Tools(Memo(self._endpoint), self._invoke, registry, clock)

    def _endpoint(self, location: Location) -> Endpoint:
        make = self.s3_endpoint if isinstance(location, S3Location) else self.sftp_endpoint
        return make(**vars(location))

    def _invoke(self, transfer: Transfer, payload: object) -> Started:
        return self.transfer_invoker(transfer.lambda_arn, payload, invocation=transfer.invocation)


class Memo:
    """A function of a location that is called once each, also when many threads ask at once."""

    def __init__(self, make: Callable[[Location], Endpoint]):
        self._make = make
        self._lock = threading.Lock()
        self._made: dict[Location, Endpoint] = {}

    def __call__(self, location: Location) -> Endpoint:
        """Return the endpoint of a location, made on the first call."""
        with self._lock:
            if location not in self._made:
                self._made[location] = self._make(location)
            return self._made[location]


@dataclass
class History:
    """What a session remembers of its launches, whatever becomes of the launcher: a rerun must not start all anew."""

    attempts: dict[Hashable, int] = field(default_factory=dict)
    ahead: set[tuple[str, ...]] = field(default_factory=set)


class Launcher:
    """Owns the engine of this process.

    ``share`` says which of the session's node ids, by position, this process will surely be asked
    for: these may be launched ahead. ``workers`` share the session's bound on runs in flight.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        workers: int,
        share: Callable[[Sequence[str]], Sequence[int]],
        history: History,
    ):
        self._settings = settings
        self._registry = registry
        self._share = share
        self._clock = Clock()
        self._store = Directory(settings.results)
        self._reports: dict[str, Report] = {}
        self._tools: dict[Toolbox, Tools] = {}
        in_flight = max(1, settings.max_in_flight // workers)
        self._engine = Engine(Limits(settings.concurrency, in_flight), self._clock, self._record, history.attempts)
        self._ahead = history.ahead

    def run(self, item: pytest.Item, toolbox: Toolbox, provision: Callable[[list[Case]], None]) -> Report:
        """Return the report of an item's run, launching it, and all that may be launched with it, first.

        ``provision`` is called with the cases that are about to be launched.
        """
        self._launch([item], toolbox, provision)
        neighbourhood = _conftests(item)
        if neighbourhood not in self._ahead:
            self._ahead.add(neighbourhood)
            mates = [other for other in self._own(item.session.items) if _conftests(other) == neighbourhood]
            self._launch(mates, toolbox, provision)
        run = self._engine.result(item.nodeid)
        report = self._reports.get(run.run_id) or Report(
            make_record(item.stash[CASE], run), store_error="the record was lost to a fault of the tester"
        )
        facts = properties(report.record)
        names = {name for name, _ in facts}  # a rerun's facts take the place of the run's before
        others = [fact for fact in item.user_properties if fact[0] not in names]
        item.user_properties[:] = [*others, *facts]
        return report

    def close(self) -> list[Report]:
        """Cancel, clean up and record what is still under way; return the reports that no item has taken."""
        return [self._reports[run.run_id] for run in self._engine.close() if run.run_id in self._reports]

    def _launch(self, items: list[pytest.Item], toolbox: Toolbox, provision: Callable[[list[Case]], None]) -> None:
        if toolbox not in self._tools:
            self._tools[toolbox] = toolbox.tools(self._registry, self._clock)
        provision([item.stash[CASE] for item in items])
        for item in items:
            case = item.stash[CASE]
            clean_up = self._settings.clean_up and case.flow.testdata.delete_after
            self._engine.launch(item.nodeid, case, self._tools[toolbox], clean_up=clean_up)

    def _own(self, items: Sequence[pytest.Item]) -> list[pytest.Item]:
        items = [items[position] for position in self._share([item.nodeid for item in items])]
        # Whether a skipif applies is known only when it is the item's turn.
        return [item for item in items if CASE in item.stash and not _may_skip(item)]

    def _record(self, case: Case, run: Run) -> Run:
        record = {**make_record(case, run), "sandbox": self._settings.sandbox}
        try:
            where = self._store.write(record, manifest(run) if run.file.name else None)
            self._reports[run.run_id] = Report(record, where)
        except ResultsStoreFailed as error:
            self._reports[run.run_id] = Report(record, store_error=error.reason)
        except (TypeError, ValueError) as error:
            self._reports[run.run_id] = Report(record, store_error=f"the record cannot be written: {error}")
        return run


def _may_skip(item: pytest.Item) -> bool:
    # xfail(run=False) is a skip by another name.
    return any(item.get_closest_marker(name) for name in ("skip", "skipif", "xfail"))


def _conftests(item: pytest.Item) -> tuple[str, ...]:
    """Return the conftest files that an item's fixtures may come from: items with the same share their tools."""
    root = item.config.rootpath
    folders = [folder for folder in item.path.parents if folder == root or root in folder.parents]
    return tuple(str(folder) for folder in folders if (folder / "conftest.py").exists())


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
