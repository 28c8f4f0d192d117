"""Shows how far a session is while it waits: a line that updates on a terminal, a line a minute in a log."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from xdist.workermanage import WorkerController

    from pytest_fileflow.progress import Progress
    from pytest_fileflow.reporting.live import LiveLine
    from pytest_fileflow.session import FlowSession

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
QUIET_SECONDS = 2.0  # a session that is over by then shows nothing
LOG_SECONDS = 60.0


class Display(Protocol):
    """Where progress is shown."""

    def update(self, progress: Progress) -> None:
        """Show it, or what is due of it."""

    def show_again(self) -> None:
        """Show what was shown last, where it was hidden."""

    def hide(self) -> None:
        """Leave the terminal to others for a moment."""

    def close(self) -> None:
        """Leave it to others for good."""


class OnTerminal:
    """Progress as a line below pytest's output, once a session is not over within seconds."""

    def __init__(self, live: LiveLine):
        self._live = live
        self._from = time.monotonic() + QUIET_SECONDS
        self.show_again = live.show_again
        self.hide = live.hide
        self.close = live.close

    def update(self, progress: Progress) -> None:
        """Redraw the line; where nothing is under way, there is none."""
        from pytest_fileflow.reporting.progress_words import line

        if not progress.under_way:
            self._live.clear()
        elif time.monotonic() >= self._from:
            self._live.show(partial(line, progress))


class InLog:
    """Progress as a line now and then, among those of pytest."""

    def __init__(self, config: pytest.Config):
        self._config = config
        self._due = time.monotonic() + LOG_SECONDS

    def update(self, progress: Progress) -> None:
        """Write a line if it is time for one."""
        if time.monotonic() < self._due or not progress.under_way:
            return
        from pytest_fileflow.reporting.progress_words import sentence

        self._due = time.monotonic() + LOG_SECONDS
        reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        capture: Any = self._config.pluginmanager.get_plugin("capturemanager")
        writer = self._config.get_terminal_writer()
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            reporter.ensure_newline()
            if writer.width_of_current_line:  # of dots without a file's name, which the reporter does not count
                writer.line()
            writer.line(f"fileflow: {sentence(progress)}")
            writer.flush()

    def show_again(self) -> None:
        """Do nothing: what is written stays."""

    def hide(self) -> None:
        """Do nothing, as above."""

    def close(self) -> None:
        """Do nothing, as above."""


class Shown:
    """Looks now and then how far the session is, in a thread, and shows it while nobody else writes.

    In one process that is while the main thread waits for a run. On xdist's controller it is any
    time but while pytest reports: nothing else runs there.
    """

    def __init__(self, session: FlowSession):
        self._session = session
        self._config = session.config
        self._lock = threading.RLock()
        self._display: Display | None = None
        self._may_show = False
        self._thread: threading.Thread | None = None
        self._is_over = threading.Event()
        self._lost: set[str] = set()
        self._is_controller = False

    def pytest_collection_finish(self) -> None:
        """Find out where to show it, while pytest captures nothing."""
        if self._display is None and self._session.has_flows:
            self._display = self._make_display()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Begin, on the controller, once there are flows."""
        from pytest_fileflow.distribution import is_flow

        if self._display is None and any(is_flow(node_id) for node_id in ids):
            self._is_controller = True
            self._display = self._make_display()
            self._may_show = True
            if isinstance(self._display, InLog):
                self._config.pluginmanager.register(Whole(self._lock), "fileflow-progress-reports")
            self._start()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController, error: object | None) -> None:
        """Count no more what a lost worker had under way."""
        if error:
            self._lost.add(node.gateway.id)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Show it in this process while the main thread waits in here."""
        if self._display is None:
            yield
            return
        self._start()
        with self._lock:
            self._may_show = True
            self._display.show_again()
        try:
            yield
        finally:
            with self._lock:
                self._may_show = False
                self._display.hide()

    def stop(self) -> None:
        """Show nothing more."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
        if self._display is not None:
            self._display.close()
            self._display = None

    def _start(self) -> None:
        if self._thread is None and self._display is not None:
            self._thread = threading.Thread(target=self._look, name="fileflow-progress", daemon=True)
            self._thread.start()

    def _look(self) -> None:
        while not self._is_over.wait(LOOK_SECONDS):
            with self._lock:
                if not self._may_show or self._display is None:
                    continue
                try:
                    self._display.update(self._progress())
                except Exception as error:  # noqa: BLE001 - as where nobody reads any more: it is shown, and no more
                    logger.info("how far the session is cannot be shown: %s", type(error).__name__)

    def _progress(self) -> Progress:
        if not self._is_controller or self._session.handover is None:
            return self._session.progress()
        from pytest_fileflow.progress import Progress

        parts = ((worker, Progress.from_dict(json.loads(told))) for worker, told in self._left())
        return Progress.total(part.without_process() if worker in self._lost else part for worker, part in parts)

    def _left(self) -> Iterator[tuple[str, str]]:
        yield from self._session.handover.left("progress").items() if self._session.handover is not None else ()

    def _make_display(self) -> Display | None:
        """Return where to show it; None where pytest has no terminal reporter."""
        if not self._config.pluginmanager.hasplugin("terminalreporter"):
            return None
        terminal = self._terminal()
        if terminal is None:
            return InLog(self._config)
        from pytest_fileflow.reporting.live import LiveLine

        return OnTerminal(LiveLine(self._config.get_terminal_writer(), terminal, flushes=self._is_controller))

    def _terminal(self) -> int | None:
        """Return a descriptor of the terminal, where a line can be drawn; pytest's own is captured meanwhile."""
        asked = self._session.settings.progress
        if asked == "log" or (asked == "auto" and os.environ.get("CI")):
            return None
        if os.environ.get("TERM", "dumb") == "dumb" or not sys.stdout.isatty():
            return None
        if not self._is_controller and self._config.getoption("capture", "fd") in ("no", "tee-sys"):
            return None  # what tests print goes to the terminal at any time
        return os.dup(sys.stdout.fileno())


class Whole:
    """Keeps a line of ours from standing within one of pytest's, which it writes bit by bit."""

    def __init__(self, lock: threading.RLock):
        self._lock = lock

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logstart(self) -> Generator[None, object, object]:
        """Write nothing while pytest says what begins."""
        with self._lock:
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self) -> Generator[None, object, object]:
        """Write nothing while pytest says what came of it."""
        with self._lock:
            return (yield)
