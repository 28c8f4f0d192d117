"""What a function has to work with: its settings, AWS clients, and for each invocation tools, logs and a time limit."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from pytest_fileflow.allow import AllowList, PatternError, parse
from pytest_fileflow.aws import logs
from pytest_fileflow.aws.executions import papers_of
from pytest_fileflow.aws.life import Kit
from pytest_fileflow.aws.state import State
from pytest_fileflow.clients import AwsClients
from pytest_fileflow.clock import Clock
from pytest_fileflow.errors import ConfigInvalid, FileflowError, Interrupted, NameNotResolved
from pytest_fileflow.judging import as_ours
from pytest_fileflow.model import SftpLocation
from pytest_fileflow.registry import Registry, register_builtin_checks, register_builtin_patterns
from pytest_fileflow.results.places import Place, PlaceError, config_store
from pytest_fileflow.results.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import boto3

    from pytest_fileflow.allow import Pattern
    from pytest_fileflow.aws.state import Execution
    from pytest_fileflow.endpoints.ssh import Route
    from pytest_fileflow.model import Flow, Run
    from pytest_fileflow.results.store import Store
    from pytest_fileflow.sandbox import Sandbox
    from pytest_fileflow.secret import Secrets
    from pytest_fileflow.streams import Tools

logger = logging.getLogger(__name__)

PREFIX: Final = "FILEFLOW_"
OTHER_RUNS: Final = 50  # of a flow, that are remembered to recognise their bytes
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
"""Where a server is reached in a rehearsal that the sandbox does not play: it is on this very machine."""
MARGIN_SECONDS: Final = 10.0  # of a function's time, that it has left to say that there was too little

WALL_CLOCK: Final = Clock(monotonic=time.time)
"""A run is judged by many processes, which have nothing but the time of day in common; AWS keeps it true."""

Event = dict[str, Any]


class Context(Protocol):
    """What Lambda says of an invocation."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the function may still run."""


@dataclass(frozen=True)
class Settings:
    """What the environment variables ``FILEFLOW_…`` of the functions say.

    ``results`` and ``config`` are places, ``environment`` is the name of one of the config store's,
    ``allow`` are patterns of what may be touched. ``sandbox`` is the address of a running sandbox.
    ``settle_minutes`` after an execution was stopped, none of its functions runs any more: AWS allows 15.
    """

    results: str = ""
    config: str = ""
    environment: str = ""
    allow: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    sandbox: str = ""
    remind_hours: float = 24.0
    settle_minutes: float = 15.0
    report_url: str = ""
    alerts: bool = True
    cloudwatch: bool = True

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Settings:
        """Read them; raises ConfigInvalid for a value that cannot be used."""
        ours = {name.removeprefix(PREFIX): value for name, value in variables.items() if name.startswith(PREFIX)}
        told = {name: value for name, value in ours.items() if value}
        return cls(
            results=told.get("RESULTS", cls.results),
            config=told.get("CONFIG", cls.config),
            environment=told.get("ENV", cls.environment),
            allow=tuple(filter(None, map(str.strip, told.get("ALLOW", "").splitlines()))),
            plugins=tuple(told.get("PLUGINS", "").replace(",", " ").split()),
            sandbox=told.get("SANDBOX", cls.sandbox),
            remind_hours=_number(told, "REMIND_HOURS", cls.remind_hours),
            settle_minutes=_number(told, "SETTLE_MINUTES", cls.settle_minutes),
            report_url=told.get("REPORT_URL", cls.report_url),
            alerts=_switch(ours, "ALERTS"),
            cloudwatch=_switch(ours, "CLOUDWATCH"),
        )


def _number(told: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(told.get(name, default))
    except ValueError:
        raise ConfigInvalid(f"FILEFLOW_{name} is no number: {told[name]!r}") from None


def _switch(ours: Mapping[str, str], name: str) -> bool:
    """Return whether something is on: it is unless it is switched off, by 0 or an empty value."""
    value = ours.get(name, "1")
    if value not in ("1", "0", ""):
        raise ConfigInvalid(f"FILEFLOW_{name} is 1 or 0, and not {value!r}")
    return value == "1"


def _patterns(where: str, texts: Iterable[str]) -> tuple[Pattern, ...]:
    try:
        return tuple(map(parse, texts))
    except PatternError as error:
        raise ConfigInvalid(f"{where}: {error}") from None


def _plugin(name: str) -> Any:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise ConfigInvalid(f"FILEFLOW_PLUGINS: {name} cannot be imported: {error}") from error
    if not hasattr(module, "pytest_fileflow_register"):
        raise ConfigInvalid(f"FILEFLOW_PLUGINS: {name} has no pytest_fileflow_register")
    return module


class Host:
    """One process of a function: what is made once, and serves all its invocations."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @functools.cached_property
    def session(self) -> boto3.Session:
        """Return the session of all clients, with the role of the function."""
        import boto3

        return boto3.Session()

    @functools.cached_property
    def clients(self) -> AwsClients:
        """Return the AWS clients of this invocation."""
        return AwsClients(self.session)

    def renew(self) -> None:
        """Forget the connections of the last invocation.

        A process is frozen between two, and servers hang up on it meanwhile. An invocation of a transfer, which is
        never sent a second time, must not be the first to find that out.
        """
        self.__dict__.pop("clients", None)

    @functools.cached_property
    def registry(self) -> Registry:
        """Return what flows can name: the built-ins, and what FILEFLOW_PLUGINS register; raises ConfigInvalid."""
        registry = Registry()
        register_builtin_patterns(registry)
        register_builtin_checks(registry)
        for name in self.settings.plugins:
            _plugin(name).pytest_fileflow_register(registry)
        return registry

    @functools.cached_property
    def results(self) -> Place:
        """Return where records go; raises ConfigInvalid."""
        try:
            return Place.parse(self.settings.results)
        except PlaceError as error:
            raise ConfigInvalid(f"FILEFLOW_RESULTS: {error}") from None

    @functools.cached_property
    def store(self) -> Store:
        """Return the store of the records."""
        return open_store(str(self.results), lambda: self.clients)

    @property
    def config_store(self) -> Place:
        """Return where the flows lie; raises ConfigInvalid."""
        try:
            return config_store(self.settings.config)
        except PlaceError as error:
            raise ConfigInvalid(f"FILEFLOW_CONFIG: {error}") from None

    @functools.cached_property
    def copies(self) -> Path:
        """Return the folder for copies of the config store, which the next invocation may find again."""
        return Path(tempfile.gettempdir()) / f"fileflow-configs-{os.getuid()}"

    @functools.cached_property
    def sandbox(self) -> Sandbox | None:
        """Return the sandbox that this function is rehearsed in, or None."""
        if not self.settings.sandbox:
            return None
        from pytest_fileflow.sandbox import Sandbox

        return Sandbox.connect(self.settings.sandbox)

    def allow_list(self, execution: Execution) -> AllowList:
        """Return what may be touched: what both the function's and the environment's lists cover.

        Raises ConfigInvalid where one of them holds what is no pattern.
        """
        own = [_patterns("FILEFLOW_ALLOW", self.settings.allow)] if self.settings.allow else []
        return AllowList((*(_patterns("allow, of FILEFLOW_ENV", each) for each in execution.allow), *own))

    @contextmanager
    def tools(self, execution: Execution, context: Context, flow: Flow) -> Iterator[Tools]:
        """Give what the steps of one invocation work with for a flow; its connections end with it."""
        from pytest_fileflow.endpoints.ssh import SshSessions, direct
        from pytest_fileflow.secret import Secrets
        from pytest_fileflow.toolbox import Toolbox, invoking, s3_endpoints, sftp_endpoints

        secrets = Secrets(self.clients, sandbox=self.sandbox is not None)
        ssh = SshSessions(secrets.credentials, route=self._stand_in() or direct, renewed=secrets.renewed)
        allow, nap = self.allow_list(execution), _Nap()
        toolbox = Toolbox(
            s3_endpoints(self.clients, allow),
            sftp_endpoints(ssh, allow),
            invoking(self.clients, _masking(secrets, flow), allow, nap),
            secrets.credentials,
        )
        until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS
        with logs.masking(secrets.masked):
            try:
                tools = toolbox.tools(self.registry, WALL_CLOCK, self._other_runs, allow)
                yield _limited(tools, until)
            finally:
                nap.end()
                ssh.close()

    def _other_runs(self, run: Run) -> list[str]:
        return [run_id for run_id in self.store.run_ids(run.flow_id, OTHER_RUNS) if run_id != run.run_id]

    def _stand_in(self) -> Callable[[SftpLocation], Route] | None:
        from pytest_fileflow.endpoints.ssh import Route, direct

        sandbox = self.sandbox
        if sandbox is None:
            return None
        sandbox.look_again()  # a function lives through many invocations

        def stand_in(location: SftpLocation) -> Route:
            try:
                where = sandbox.route(location.host, location.port, location.username, location.dir)
            except NameNotResolved:
                if location.host not in LOOPBACK:
                    raise  # it may be a partner's
                return direct(location)
            return Route(*where, known_as=f"{location.host}:{location.port}")

        return stand_in


class _Nap:
    """Sleeps within one invocation: a thread that slept when it ended, and is awake in another, does nothing more.

    Lambda freezes a process between two invocations, with the threads it has.
    """

    def __init__(self) -> None:
        self._ended = threading.Event()

    def __call__(self, seconds: float) -> None:
        if self._ended.wait(seconds):
            raise Interrupted("the invocation ended meanwhile")

    def end(self) -> None:
        """Wake up whoever sleeps, for good."""
        self._ended.set()


def _masking(secrets: Secrets, flow: Flow) -> Callable[[str], str]:
    """Return what takes a flow's secrets out of its function's words, also those that this process did not need yet."""

    def know(name: str) -> None:
        try:
            secrets.credentials(name)
        except FileflowError as error:  # what nobody can read here, the function's log is not likely to hold
            logger.info("a secret is not masked, since it cannot be read: %s", error.reason)

    def masked(text: str) -> str:
        for end in (flow.source, flow.target) if text else ():
            if isinstance(end, SftpLocation):
                know(end.secret_arn)
        return secrets.masked(text)

    return masked


def _limited(tools: Tools, until: float) -> Tools:
    return replace(tools, cancelled=lambda: time.monotonic() > until)


@functools.cache
def _host() -> Host:
    logs.set_up()
    return Host(Settings.read(os.environ))


def host() -> Host:
    """Return the host of this process, for an invocation that begins."""
    here = _host()
    here.renew()
    return here


def careful(handler: Callable[[Event, Context], Event]) -> Callable[[Event, Context], Event]:
    """Return a handler that raises only errors of ours: the state machine shows their texts, and may hand them on."""

    @functools.wraps(handler)
    def guarded(event: Event, context: Context) -> Event:
        try:
            return handler(event, context)
        except Exception as error:  # noqa: BLE001 - it is raised again, without what it may hold
            raise as_ours(error) from None

    return guarded


def as_handler(step: str, act: Callable[[State, Kit], State]) -> Callable[[Event, Context], Event]:
    """Return the handler of a step: state in, state out."""

    @careful
    def handler(event: Event, context: Context) -> Event:
        here = host()
        state = State.load(event)
        with (
            logs.about(step, state.execution.name, state.case.flow.flow_id, state.run_id),
            here.tools(state.execution, context, state.case.flow) as tools,
        ):
            papers = papers_of(here.results, state.execution.name, here.clients)
            after = act(state, Kit(tools, papers, context.aws_request_id))
            logs.say_step(after)
        return after.dump()

    return handler
