"""What one pytest process keeps for its flows: settings, registry, sandbox, launcher, gathered reports."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fileflow.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_fileflow.collection import Collector, FlowFile
    from pytest_fileflow.endpoints.ssh import Route
    from pytest_fileflow.launcher import History, Launcher, SigtermAsInterrupt
    from pytest_fileflow.model import Case, SftpLocation
    from pytest_fileflow.registry import Registry
    from pytest_fileflow.sandbox import Sandbox


WORKERS_CLEAN_UP_SECONDS = 60


class FlowSession:
    """Made at configure, and empty until a flow is met: everything in it is made on first need."""

    def __init__(self, config: pytest.Config):
        self.config = config
        self.settings = Settings.read(config)
        self.input: dict[str, Any] = getattr(config, "workerinput", {})
        self.reports: list[dict[str, Any]] = []  # reports of runs that no item has taken, JSON-safe
        self._registry: Registry | None = None
        self._collector: Collector | None = None
        self._launcher: Launcher | None = None
        self._history: History | None = None
        self._sandbox: Sandbox | None = None
        self._owns_sandbox = False
        self._environment: pytest.MonkeyPatch | None = None
        self._sigterm: SigtermAsInterrupt | None = None
        self._left_over: str | None = None

    @property
    def is_worker(self) -> bool:
        """Return whether this is an xdist worker."""
        return bool(self.input)

    def registry(self) -> Registry:
        """Return the registry, with the built-ins and what plugins and conftest files add."""
        if self._registry is None:
            from pytest_fileflow.registry import Registry, register_builtin_patterns

            self._registry = Registry()
            register_builtin_patterns(self._registry)
            hook = self.config.hook.pytest_fileflow_register
            hook.call_historic(kwargs={"registry": self._registry})
        return self._registry

    def collect_file(self, path: Path, parent: pytest.Collector) -> FlowFile | None:
        """Return a collector for a JSON or YAML file, if it is a flow."""
        if self._collector is None:
            from pytest_fileflow.collection import Claims, Collector

            claims = Claims(self.named_places(), self.config.rootpath)
            self._collector = Collector(self.settings, claims, self.registry())
        return self._collector.collect_file(path, parent)

    def mark_broken(self, items: list[pytest.Item]) -> None:
        """Let ``-m`` select broken flows, where any file was a flow."""
        if self._collector is not None:
            from pytest_fileflow.collection import mark_broken

            mark_broken(items)

    def named_places(self) -> tuple[Path, ...]:
        """Return the files and folders named as flows; a worker is told, since it sees other arguments."""
        if "fileflow" in self.input:
            return tuple(Path(place) for place in self.input["fileflow"]["named"])
        from pytest_fileflow.collection import named_places

        return named_places(self.config, self.settings)

    def launcher(self) -> Launcher:
        """Return this process's launcher."""
        if self._launcher is None:
            from pytest_fileflow.launcher import History, Launcher

            self.catch_sigterm()
            workers = int(self.input.get("workercount", 1))
            self._history = self._history or History()
            self._leave("pid", str(os.getpid()))
            share = self._share(workers)
            self._launcher = Launcher(self.settings, self.registry(), workers, share, self._history)
        return self._launcher

    def _share(self, workers: int) -> Callable[[Sequence[str]], Sequence[int]]:
        """Return which of the session's node ids this process will surely be asked for, by position."""
        if not self.is_worker:
            return lambda ids: range(len(ids))
        worker = int(str(self.input["workerid"]).removeprefix("gw"))
        shared = self.input.get("fileflow", {}).get("shared")
        if not shared or worker >= workers:
            # Another distribution than ours, or a worker that replaces a crashed one: its items
            # are launched as they come, or they might run twice.
            return lambda _ids: ()
        from pytest_fileflow.distribution import share

        return lambda ids: share(ids, workers, worker)

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
        return lambda location: Route(*sandbox.route(location.host, location.port))

    def provision(self, cases: list[Case]) -> None:
        """Make in the sandbox what the configs of these cases name."""
        if self.settings.sandbox and cases:
            from pytest_fileflow.errors import ConfigInvalid

            try:
                self.sandbox().provision({case.flow.flow_id: case.flow for case in cases}.values())
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
            self.reports += [report.to_dict() for report in launcher.close()]

    def hand_over(self) -> None:
        """Leave, on a worker that ran flows, the reports that no item has taken where the controller finds them.

        Through a file, and not through xdist: a controller that is interrupted no longer listens.
        The file also says that this worker has cleaned up.
        """
        if self._history is not None:
            self._leave("json", json.dumps(self.reports))

    def _leave(self, kind: str, text: str) -> None:
        folder = self.input.get("fileflow", {}).get("left_over")
        if folder:
            Path(folder).mkdir(mode=0o700, exist_ok=True)
            fresh = Path(folder, f"{self.input['workerid']}.part")
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(fresh.with_suffix(f".{kind}"))

    def wait_for_workers(self) -> None:
        """Let interrupted workers clean up, before xdist ends them after its own ten seconds.

        Ctrl-C has reached them already, as members of the terminal's process group; SIGTERM has not.
        """
        if self._left_over is None:
            return
        workers = {path.with_suffix(".json"): int(path.read_text()) for path in Path(self._left_over).glob("*.pid")}
        if self._sigterm is not None and self._sigterm.fired:
            for process in workers.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGINT)
        deadline = time.monotonic() + WORKERS_CLEAN_UP_SECONDS
        while time.monotonic() < deadline and any(_is_busy(*worker) for worker in workers.items()):
            time.sleep(0.05)

    def left_over(self) -> str:
        """Return the folder in which workers leave the reports that no item has taken."""
        if self._left_over is None:
            self._left_over = str(Path(tempfile.gettempdir(), f"fileflow-{os.urandom(8).hex()}"))
        return self._left_over

    def gather(self) -> None:
        """Take over, on the controller, what workers left."""
        if self._left_over is not None:
            for path in sorted(Path(self._left_over).glob("*.json")):
                self.reports += json.loads(path.read_text(encoding="utf-8"))

    def close(self) -> None:
        """Give back the environment, the signal and the sandbox."""
        if self._environment is not None:
            self._environment.undo()
            self._environment = None
        if self._sigterm is not None:
            self._sigterm.restore()
        if self._left_over is not None:
            shutil.rmtree(self._left_over, ignore_errors=True)
        if self._sandbox is not None and self._owns_sandbox:
            self._sandbox.stop()
        self._sandbox = None


def _is_busy(done: Path, process: int) -> bool:
    if done.exists():
        return False
    try:
        return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
