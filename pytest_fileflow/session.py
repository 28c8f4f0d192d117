"""What one pytest process keeps for its flows: settings, registry, sandbox, launcher, gathered reports."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow.caches import cache_folder
from pytest_fileflow.handover import Handover
from pytest_fileflow.recording import Recording
from pytest_fileflow.selecting import Selection
from pytest_fileflow.settings import Settings
from pytest_fileflow.switched import SwitchedFaults

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.collection import Collector, Flows
    from pytest_fileflow.endpoints.ssh import Route
    from pytest_fileflow.launcher import History, Launcher, Part, SigtermAsInterrupt
    from pytest_fileflow.model import Case, Flow, S3Location, SftpLocation
    from pytest_fileflow.progress import Progress
    from pytest_fileflow.registry import Registry
    from pytest_fileflow.reporting.progress import Shown
    from pytest_fileflow.sandbox import Sandbox
    from pytest_fileflow.stored import ConfigStores
    from pytest_fileflow.turns import Widths


CACHE_KEY = "fileflow/latencies"


class FlowSession:
    """Made at configure, and empty until a flow is met: everything in it is made on first need."""

    def __init__(self, config: pytest.Config):
        self.config = config
        self.input: dict[str, Any] = getattr(config, "workerinput", {})
        self.stores: ConfigStores | None = None  # once they are read
        self.settings = self._settings()
        self._parent = os.getppid()
        self.taken: list[dict[str, Any]] = []  # reports of runs that came with an item's, JSON-safe
        self.reports: list[dict[str, Any]] = []  # reports of runs that no item has taken
        self._token: str | None = None
        self._registry: Registry | None = None
        self._collector: Collector | None = None
        self._launcher: Launcher | None = None
        self._progress: Callable[[], Progress] | None = None
        self.shown: Shown | None = None  # who shows how far the session is
        self._history: History | None = None
        self._sandbox: Sandbox | None = None
        self._owns_sandbox = False
        self._environment: pytest.MonkeyPatch | None = None
        self._sigterm: SigtermAsInterrupt | None = None
        folder = self.input.get("fileflow", {}).get("left_over")
        self.handover = Handover(Path(folder)) if folder else None  # of a session with workers
        self._faults = SwitchedFaults(self.settings)
        self._aws: AwsClients | None = None
        self._aws_lock = threading.Lock()
        self.selection = Selection(self)
        self.recording = Recording(self.settings, lambda: self.token, self.aws)
        self.notes: list[str] = []  # lines for the end of the report
        self.troubles: list[str] = []  # likewise, of what was asked for and could not be done

    @property
    def all_reports(self) -> list[dict[str, Any]]:
        """Return the reports of all runs of the session, as far as they have come here."""
        return self.taken + self.reports

    @property
    def has_flows(self) -> bool:
        """Return whether any file that was met here is a flow."""
        return self._collector is not None and bool(self._collector.flows)

    @property
    def is_worker(self) -> bool:
        """Return whether this is an xdist worker."""
        return bool(self.input)

    def registry(self) -> Registry:
        """Return the registry, with the built-ins and what plugins and conftest files add."""
        if self._registry is None:
            from pytest_fileflow.registry import Registry, register_builtin_checks, register_builtin_patterns

            self._registry = Registry()
            register_builtin_patterns(self._registry)
            register_builtin_checks(self._registry)
            hook = self.config.hook.pytest_fileflow_register
            hook.call_historic(kwargs={"registry": self._registry})
        return self._registry

    def collect_file(self, path: Path, parent: pytest.Collector) -> Flows | None:
        """Return a collector for a JSON or YAML file, if it is a flow."""
        if self._collector is None:
            from pytest_fileflow.claims import Claims
            from pytest_fileflow.collection import Collector

            claims = Claims(self.named_places(), self.config.rootpath, self.settings.results)
            stored = self.stores.entries() if self.stores is not None else {}
            self._collector = Collector(
                *(self.settings, claims, self.registry(), self.with_canaries(), self.config.rootpath),
                roots=(*self.settings.roots, *self.config_roots),
                stored=stored,
            )
        return self._collector.collect_file(path, parent)

    def _settings(self) -> Settings:
        """Read the settings; an environment that is not among the local ones is looked for in the config stores."""
        if Settings.has_environment(self.config):
            return Settings.read(self.config)
        self.read_stores()
        try:
            return Settings.read(self.config, self.config_roots)
        except pytest.UsageError as error:
            if self.stores is None:
                raise
            if not self.is_worker:
                self.stores.close()
            raise pytest.UsageError(self.stores.told_as_addresses(str(error))) from None

    def read_stores(self) -> None:
        """Read the config stores, where there are any, and let pytest collect their local copies; once.

        The controller does so before it starts workers, with the user's own AWS settings: those of the sandbox
        come later. Workers are told. Raises pytest.UsageError.
        """
        if self.stores is not None or not Settings.names_stores(self.config):
            return
        given = Settings.stores_of(self.config)
        from pytest_fileflow import stored

        if self.is_worker:
            self.stores = stored.ConfigStores.told(self.input["fileflow"]["stores"])
        else:
            is_named = self.config.getoption("fileflow_config") is not None
            is_added = is_named or self.config.args_source is not pytest.Config.ArgsSource.ARGS
            places = stored.wanted(self.config.args, given, is_added=is_added)
            self.stores = stored.ConfigStores.read(places, own_clients, cache_folder("configs"))
        self.config.args[:] = self.stores.arguments(self.config.args)

    @property
    def config_roots(self) -> tuple[Path, ...]:
        """Return the local copies of config stores: folders with the stores' flows, groups and environments."""
        return self.stores.roots if self.stores is not None else ()

    def expand(self, folder: pytest.Directory, found: list[pytest.Item | pytest.Collector]) -> None:
        """Put the items of flow files in the place of the files, where any file was a flow."""
        if self._collector is not None:
            self._collector.expand(folder, found)

    def check_faults(self) -> None:
        """Refuse faults of the command line that no collected flow can have; the xdist controller hears of it.

        Raises pytest.UsageError.
        """
        if self._collector is None and not self.settings.fault_rules:
            return
        flows, broken = (self._collector.flows, self._collector.broken) if self._collector else ({}, set())
        is_all = not self.config.getoption("lf", default=False)  # --lf leaves out whole files
        problem, self.notes = self._faults.looked_at(flows, broken, is_all=is_all)
        if not self.is_worker:
            if problem:
                raise pytest.UsageError(problem)
        elif problem or self.notes:
            self.leave("faults", json.dumps([problem, self.notes]))

    def hear_of_faults(self) -> None:
        """Take over, on the controller, what workers have found out about faults; raises pytest.UsageError."""
        for told in self.hands_over().left("faults").values():
            problem, self.notes = json.loads(told)
            if problem:
                raise pytest.UsageError(problem)

    def mark_broken(self, items: list[pytest.Item]) -> None:
        """Let ``-m`` select broken flows, where any file was a flow."""
        if self._collector is not None:
            from pytest_fileflow.collection import mark_broken

            mark_broken(items)

    @property
    def flows(self) -> Mapping[str, Flow]:
        """Return the flows that this process has collected, by their ids; the xdist controller collects none."""
        return self._collector.flows if self._collector is not None else {}

    @property
    def flow_ids(self) -> set[str] | None:
        """Return the ids of all flows that were met here, broken ones too; None where one cannot be told."""
        collector = self._collector
        if collector is None:
            return set()
        return None if collector.has_nameless else {*collector.flows, *collector.broken}

    def warm_up(self, items: list[pytest.Item]) -> None:
        """Import, on a worker, what these flows will need: xdist starts nobody before all have collected.

        Otherwise the first flows would be under way while other workers are still busy importing.
        """
        if self.is_worker and self._collector is not None:
            from pytest_fileflow.collection import load_for

            load_for(items)

    def named_places(self) -> tuple[Path, ...]:
        """Return the files and folders named as flows; a worker is told, since it sees other arguments."""
        if "fileflow" in self.input:
            return tuple(Path(place) for place in self.input["fileflow"]["named"])
        from pytest_fileflow.claims import named_places

        return named_places(self.config, self.settings)

    def with_canaries(self) -> bool:
        """Return whether canaries are asked for; a worker is told, since it sees other arguments."""
        if "fileflow" in self.input:
            return bool(self.input["fileflow"]["canaries"])
        from pytest_fileflow.collection import asks_for_canaries

        return asks_for_canaries(self.config)

    def launcher(self) -> Launcher:
        """Return this process's launcher."""
        if self._launcher is None:
            from pytest_fileflow.launcher import History, Launcher

            self.catch_sigterm()
            self._history = self._history or History()
            self.leave("pid", str(os.getpid()))
            self._launcher = Launcher(self.settings, self.registry(), self._part(), self._history)
            self._progress = self._launcher.progress
            if self.is_worker and self.settings.progress != "off":
                self._launcher.tell_progress(self._leave_progress)
        return self._launcher

    def _part(self) -> Part:
        """Return what falls to this process; what a worker cannot see, the controller has told it."""
        from pytest_fileflow.launcher import Part

        recording, keeper = self.recording, self.recording.keeper()
        if not self.is_worker:
            ledger = recording.ledger("main")
            return Part(
                share=lambda ids: range(len(ids)),
                ledger=ledger,
                keeper=keeper,
                usual=self.usual(),
                widths=self._widths(1),
                purse=self.selection.purse(1),
            )
        from pytest_fileflow.distribution import assigned

        workers, told = int(self.input["workercount"]), self.input["fileflow"]
        return Part(
            share=lambda ids: assigned(ids, workers, told["part"]),
            ledger=recording.ledger(self.input["workerid"]),
            keeper=keeper,
            workers=workers,
            lost=[recording.ledger(worker) for worker in told["lost"]],
            usual=told["usual"],
            widths=self._widths(workers),
            purse=self.selection.purse(told["times"]),
            is_stopping=lambda: self.hands_over().is_stopped() or os.getppid() != self._parent,  # it may be killed
        )

    def _widths(self, sharers: int) -> Widths:
        from pytest_fileflow.turns import Widths

        folder = self.hands_over().folder if sharers > 1 else None
        return Widths.of(self.flows.values(), self.settings.bounds.max_runs_per_host, sharers, folder)

    @property
    def token(self) -> str:
        """Return a name of this session that no other has."""
        if self._token is None:
            told = self.input.get("fileflow", {})
            self._token = (
                told.get("session") or f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.urandom(4).hex()}"
            )
        return self._token

    def usual(self) -> dict[str, float]:
        """Return how long each case usually takes, as pytest's cache remembers it."""
        kept = self._cached()
        if not kept:
            return {}
        from pytest_fileflow.usual import usual_seconds

        return usual_seconds(kept)

    def _cached(self) -> object:
        cache = getattr(self.config, "cache", None)
        return cache.get(self._cache_key, None) if cache else None

    @property
    def _cache_key(self) -> str:
        return f"{CACHE_KEY}-sandbox" if self.settings.sandbox else CACHE_KEY

    def learn(self) -> None:
        """Remember how long the runs of this session took."""
        cache = getattr(self.config, "cache", None)
        if cache and not self.is_worker and self.all_reports and self.settings.rehearse is None:
            from pytest_fileflow.usual import learned

            cache.set(self._cache_key, learned(self._cached(), (report["record"] for report in self.all_reports)))

    def sandbox(self) -> Sandbox:
        """Return the running sandbox, started by whoever comes first; AWS settings point at it from then on."""
        if self._sandbox is None:
            from pytest_fileflow.errors import SandboxFailed
            from pytest_fileflow.sandbox import Sandbox

            address = self.input.get("fileflow", {}).get("sandbox")
            try:
                self._sandbox = Sandbox.connect(address) if address else Sandbox.start()
            except SandboxFailed as error:
                raise pytest.UsageError(f"{error.cause}: {error.reason}") from None
            self._owns_sandbox = not address
            self._redirect(self._sandbox)
        return self._sandbox

    def aws(self) -> AwsClients:
        """Return this process's own AWS clients, for results, metrics and alerts; in the sandbox they reach it alone.

        They use boto3's default session: fixtures, which only items have, change what flows use.
        """
        with self._aws_lock:  # all runs that end first come for it at once, and making clients takes a while
            if self._aws is None:
                if self.settings.sandbox:
                    self.sandbox()
                import boto3

                from pytest_fileflow.clients import AwsClients

                self._aws = AwsClients(boto3.Session())
            return self._aws

    def _redirect(self, sandbox: Sandbox) -> None:
        if self._environment is not None:
            return
        self._environment = pytest.MonkeyPatch()
        for name in list(os.environ):
            if name.startswith(sandbox.unset):
                self._environment.delenv(name)
        for name, value in sandbox.environment().items():
            self._environment.setenv(name, value)

    def route(self) -> Callable[[SftpLocation], Route] | None:
        """Return where SFTP hosts really are in the sandbox, or None without one."""
        if not self.settings.sandbox:
            return None
        from pytest_fileflow.endpoints.ssh import Route

        sandbox = self.sandbox()

        def stand_in(location: SftpLocation) -> Route:
            where = sandbox.route(location.host, location.port, location.username, location.dir)
            return Route(*where, known_as=f"{location.host}:{location.port}")

        return stand_in

    def s3_client(self, location: S3Location) -> Any:
        """Return a client of its own for a place in the sandbox whose bucket is to be missing, or None."""
        return self._faults.s3_client(location)

    def provision(self, cases: list[Case]) -> None:
        """Make in the sandbox what the configs of these cases name."""
        if self.settings.sandbox and cases:
            from pytest_fileflow.errors import ConfigInvalid

            try:
                self._faults.provision(self.sandbox(), cases, self.registry())
            except ConfigInvalid as error:
                # The flows that can be made are; one that cannot fails by itself, and here is why.
                warnings.warn(pytest.PytestWarning(error.reason), stacklevel=2)

    def catch_sigterm(self) -> None:
        """Treat SIGTERM as Ctrl-C from now on: there are flows, so there is something to clean up."""
        if self._sigterm is None:
            from pytest_fileflow.launcher import SigtermAsInterrupt

            self._sigterm = SigtermAsInterrupt()
            self._sigterm.install()

    def finish(self) -> None:
        """Cancel, clean up and record what is still under way; keep the reports of it.

        Called while the session's fixtures still stand: cleaning up needs their connections.
        """
        if self._launcher is not None:
            launcher, self._launcher = self._launcher, None
            with self.waiting():
                self.reports += [report.to_dict() for report in launcher.close()]
            self._leave_progress(launcher.progress())

    def progress(self) -> Progress:
        """Return how far the runs of this process are."""
        from pytest_fileflow.progress import Progress

        return self._progress() if self._progress is not None else Progress()

    def waiting(self) -> AbstractContextManager[None]:
        """Show, where anybody does, how far the session is while the main thread does nothing but wait."""
        return self.shown.waiting() if self.shown is not None else contextlib.nullcontext()

    def _leave_progress(self, progress: Progress) -> None:
        if self.is_worker and self.handover is not None:
            # Full or gone: it is only shown, and the next one is due in a second.
            with contextlib.suppress(OSError):
                self.handover.replace(self.input["workerid"], "progress", json.dumps(progress.to_dict()))

    def hand_over(self) -> None:
        """Leave, on a worker that ran flows, the reports that no item has taken where the controller finds them.

        The file also says that this worker has cleaned up.
        """
        if self._history is not None:
            self.leave("json", json.dumps(self.reports))

    def leave(self, kind: str, text: str) -> None:
        """Leave, on a worker, a file of a kind where the controller finds it."""
        if self.is_worker and self.handover is not None:
            self.handover.leave(self.input["workerid"], kind, text)

    def hands_over(self) -> Handover:
        """Return the folder in which workers leave files for the controller."""
        if self.handover is None:
            self.handover = Handover.fresh()
        return self.handover

    def wait_for_workers(self) -> None:
        """Let interrupted workers clean up.

        Ctrl-C has reached them already, as members of the terminal's process group; SIGTERM has not.
        """
        if self.handover is not None and not self.is_worker:
            self.handover.wait_for_workers(interrupt=self._sigterm is not None and self._sigterm.fired)

    def gather(self) -> None:
        """Take over, on the controller, what workers left, and own up to what lost ones left behind."""
        if self.handover is not None and not self.is_worker:
            for left in self.handover.left("json").values():
                self.reports += json.loads(left)
            from pytest_fileflow.aftermath import attempt

            attempt(self, "own up to lost workers", self._own_up)

    def _own_up(self) -> None:
        self.reports += self.recording.own_up()

    def close(self) -> None:
        """Give back the terminal, the environment, the signal and the sandbox."""
        self.recording.leave()
        if self.stores is not None and not self.is_worker:
            self.stores.close()
        if self.shown is not None:
            self.shown.stop()
        if self._environment is not None:
            self._environment.undo()
            self._environment = None
        if self._sigterm is not None:
            self._sigterm.restore()
        if self.handover is not None and not self.is_worker:
            self.handover.remove()
        if self._sandbox is not None and self._owns_sandbox:
            self._sandbox.stop()
        self._sandbox = None


def own_clients() -> AwsClients:
    """Return clients of the user's own AWS account, or whatever the environment now says that is."""
    import boto3

    from pytest_fileflow.clients import AwsClients

    return AwsClients(boto3.Session())
