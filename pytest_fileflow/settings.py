"""What the command line and the ini file say, read once; a bad value names where it comes from."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pytest

from pytest_fileflow.bounds import Bounds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.config.environment import Environment
    from pytest_fileflow.results.places import Place
    from pytest_fileflow.switching import Rule

DEFAULT_RESULTS = "fileflow-results"
DEFAULT_CONCURRENCY = 32
DEFAULT_MAX_IN_FLIGHT = 256
DEFAULT_REMIND_HOURS = 24
LONGEST_HOURS = 24 * 366
DEFAULT_CHANNELS = ("slack_webhook_secret_arn", "sns_topic_arn")

Progress = Literal["auto", "live", "log", "off"]
"""How a session shows how far it is: a live line where that is possible, a line a minute, or not at all."""


@dataclass(frozen=True)
class Settings:
    """One session's settings.

    ``paths`` are files and folders in which every JSON/YAML file is a flow. ``rehearse`` are the faults
    to rehearse, none of them for all; it is None where flows simply run. ``results`` is a folder, for
    the ledger and for what cannot be delivered yet; records go to ``places``, which it may be one of.
    ``roots`` are the config roots, which hold folders of flows, ``environments`` and ``groups``.
    """

    sandbox: bool
    concurrency: int
    max_in_flight: int
    results: Path
    places: tuple[Place, ...]
    include_disabled: bool
    clean_up: bool
    paths: tuple[Path, ...]
    fault_rules: tuple[Rule, ...] = ()
    rehearse: tuple[str, ...] | None = None
    progress: Progress = "auto"
    cloudwatch: bool = False
    summary: Path | None = None
    alerts: bool = False
    alerts_default: Mapping[str, str] = field(default_factory=dict)
    remind_hours: float = DEFAULT_REMIND_HOURS
    report_url: str = ""
    environment: Environment | None = None
    roots: tuple[Path, ...] = ()
    bounds: Bounds = field(default_factory=Bounds)
    groups: tuple[str, ...] = ()
    plan: bool = False

    @staticmethod
    def has_environment(config: pytest.Config) -> bool:
        """Return whether the environment asked for is a local one; also where none is, or there is nowhere else."""
        name = _given(config, "fileflow_env")[0]
        if not name or not Settings.names_stores(config):
            return True
        from pytest_fileflow.config.environment import files_of

        return any(files_of(str(name), root) for root in config_roots(config))

    @staticmethod
    def names_stores(config: pytest.Config) -> bool:
        """Return whether config stores are named: by an option, or by an argument for something in them."""
        return bool(Settings.stores_of(config)) or any(":/" in argument for argument in config.args)

    @staticmethod
    def stores_of(config: pytest.Config) -> tuple[Place, ...]:
        """Return the config stores, which hold more flows; raises pytest.UsageError."""
        return _config_stores(config)

    @classmethod
    def read(cls, config: pytest.Config, stored: tuple[Path, ...] = ()) -> Settings:
        """Read the settings; ``stored`` are the local copies of config stores, which may have the environment.

        Raises pytest.UsageError for a value that cannot be used.
        """
        rehearse = _faults(config)
        environment = _environment(config, stored)
        results, places = _results(config, environment, stored)
        return cls(
            sandbox=_flag(config, "fileflow_sandbox") or rehearse is not None,
            concurrency=_positive(config, "fileflow_concurrency", DEFAULT_CONCURRENCY),
            max_in_flight=_positive(config, "fileflow_max_in_flight", DEFAULT_MAX_IN_FLIGHT),
            results=results,
            places=places,
            include_disabled=_flag(config, "fileflow_include_disabled"),
            clean_up=not _flag(config, "fileflow_no_cleanup"),
            paths=tuple(config.getini("fileflow_paths")),
            fault_rules=_fault_rules(config, rehearses=rehearse is not None),
            rehearse=rehearse,
            progress=_progress(config),
            cloudwatch=_flag(config, "fileflow_cloudwatch"),
            summary=_path(config, "fileflow_summary"),
            alerts=_flag(config, "fileflow_alerts") and rehearse is None,
            alerts_default=_alerts_default(config),
            remind_hours=_hours(config, "fileflow_alerts_remind"),
            report_url=_report_url(config),
            environment=environment,
            roots=config_roots(config),
            groups=tuple(_given(config, "fileflow_group")[0] or ()),
            plan=bool(config.getoption("fileflow_plan")),
            # A rehearsal makes places of its own up, and touches nothing outside the sandbox.
            bounds=Bounds() if rehearse is not None else Bounds.read(config, environment),
        )


def _given(config: pytest.Config, name: str) -> tuple[Any, str]:
    option = config.getoption(name)
    if option is not None:
        return option, f"--{name.replace('_', '-')}"
    return config.getini(name), f"ini option {name}"


def _flag(config: pytest.Config, name: str) -> bool:
    return bool(_given(config, name)[0])


def _fault_rules(config: pytest.Config, *, rehearses: bool) -> tuple[Rule, ...]:
    texts, origin = _given(config, "fileflow_fault")
    on_command_line = config.getoption("fileflow_fault") is not None
    if not texts or (not on_command_line and (rehearses or not _flag(config, "fileflow_sandbox"))):
        return ()
    if rehearses:
        raise pytest.UsageError(
            "--fileflow-fault has no effect on --fileflow-rehearse, which names its own: leave one out"
        )
    if not _flag(config, "fileflow_sandbox"):
        raise pytest.UsageError(f"{origin}: {texts[0]!r}: only the sandbox has faults: add --fileflow-sandbox")
    from pytest_fileflow.faults import FaultError
    from pytest_fileflow.switching import Rule

    try:
        return tuple(Rule.parse(text, origin) for text in texts)
    except FaultError as error:
        raise pytest.UsageError(str(error)) from None


def _positive(config: pytest.Config, name: str, default: int) -> int:
    value, origin = _given(config, name)
    if value in (None, ""):
        return default
    if not str(value).isascii() or not str(value).isdigit() or int(value) < 1:
        raise pytest.UsageError(f"{origin}: {value!r} is not a whole number above 0")
    return int(value)


def _progress(config: pytest.Config) -> Progress:
    value, origin = _given(config, "fileflow_progress")
    if value not in (None, "", *get_args(Progress)):
        raise pytest.UsageError(f"{origin}: {value!r} is none of {', '.join(get_args(Progress))}")
    known: Progress = value or "auto"
    return known


def _alerts_default(config: pytest.Config) -> dict[str, str]:
    found = {}
    for line in config.getini("fileflow_alerts_default"):
        name, _, arn = (part.strip() for part in line.partition("="))
        said = "a line" if "//" in line else repr(name if arn else line)  # an address may be a secret
        if not arn:
            raise pytest.UsageError(f"ini option fileflow_alerts_default: {said} is not CHANNEL = ARN")
        if name not in DEFAULT_CHANNELS:
            from pytest_fileflow.suggest import nearest

            near = nearest(name, DEFAULT_CHANNELS)
            ending = f"; did you mean {near!r}?" if near else f"; known: {', '.join(DEFAULT_CHANNELS)}"
            raise pytest.UsageError(
                f"ini option fileflow_alerts_default: {said} is no channel that can be named here{ending}"
            )
        from pytest_fileflow.config.arns import channel_problem
        from pytest_fileflow.config.secret_names import at

        problem = channel_problem(arn, "sns" if name == "sns_topic_arn" else "secretsmanager")
        if problem is not None:
            raise pytest.UsageError(f"ini option fileflow_alerts_default: {name}: {problem}")
        found[name] = at(arn, config.rootpath)
    return found


def _hours(config: pytest.Config, name: str) -> float:
    text = str(config.getini(name) or DEFAULT_REMIND_HOURS)
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= LONGEST_HOURS:
        raise pytest.UsageError(f"ini option {name}: {text!r} is not a number of hours above 0")
    return hours


def _report_url(config: pytest.Config) -> str:
    """Return where a session's report will be: as given, or the job that a CI service's environment names."""
    url, origin = _given(config, "fileflow_report_url")
    if url and not (str(url).startswith(("https://", "http://")) and str(url).isprintable()):
        raise pytest.UsageError(f"{origin}: {url!r} is not an http:// or https:// address")
    github = [os.environ.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    if all(github):
        return url or "{}/{}/actions/runs/{}".format(*github)
    return url or os.environ.get("CI_JOB_URL") or os.environ.get("BUILD_URL") or ""


def _faults(config: pytest.Config) -> tuple[str, ...] | None:
    given = config.getoption("fileflow_rehearse")
    if given is None:
        return None
    if given.strip() in ("", "all"):
        return ()
    from pytest_fileflow.faults import Fault, FaultError

    texts = tuple(text.strip() for text in given.split(",") if text.strip())
    try:
        return tuple(Fault.parse(text).text for text in texts)
    except FaultError as error:
        raise pytest.UsageError(f"--fileflow-rehearse: {error}") from None


def _environment(config: pytest.Config, stored: tuple[Path, ...]) -> Environment | None:
    name, origin = _given(config, "fileflow_env")
    if not name:
        return None
    from pytest_fileflow.config.environment import BadEnvironment, read_environment

    try:
        return read_environment(str(name), (*config_roots(config), *stored))
    except BadEnvironment as error:
        raise pytest.UsageError(f"{origin}: {error}") from None


def config_roots(config: pytest.Config) -> tuple[Path, ...]:
    """Return the folders that may hold ``environments`` and ``groups``, and above which no flow shares anything.

    These are pytest's rootdir, and whatever holds a folder of flows that the command line names.
    """
    here = config.invocation_params.dir
    named = [Path(os.path.normpath(here / argument.split("::", 1)[0])) for argument in config.args]
    return tuple(dict.fromkeys([config.rootpath, *map(_root_of, (*config.getini("fileflow_paths"), *named))]))


def _root_of(place: Path) -> Path:
    """Return what holds the outermost folder called ``flows`` on the way to a place, else the folder around it."""
    return next((folder.parent for folder in (*reversed(place.parents), place) if folder.name == "flows"), place.parent)


def _results(
    config: pytest.Config, environment: Environment | None, stored: tuple[Path, ...]
) -> tuple[Path, tuple[Place, ...]]:
    """Return the folder of this machine, and all places for records; a table alone does not make a folder needless."""
    from pytest_fileflow.results.places import Place, PlaceError

    texts, origin = _given(config, "fileflow_results")
    base = _base(config, "fileflow_results")
    if environment and environment.results and config.getoption("fileflow_results") is None:
        texts, origin = environment.results, environment.where("results")
        base = config.rootpath if environment.root in stored else environment.root  # copies of stores come and go
    places: list[Place] = []
    for text in texts or ():
        try:
            place = Place.parse(text)
        except PlaceError as error:
            raise pytest.UsageError(f"{origin}: {text!r}: {error}") from None
        if not place.is_remote:
            place = Place("folder", str(base / place.name))
        if place not in places:
            places.append(place)
    folders = [Path(place.name) for place in places if not place.is_remote]
    local = folders[0] if folders else config.invocation_params.dir / DEFAULT_RESULTS
    if not folders and all(place.kind == "dynamodb" for place in places):
        places.insert(0, Place("folder", str(local)))
    return local, tuple(places)


def _config_stores(config: pytest.Config) -> tuple[Place, ...]:
    texts, origin = _given(config, "fileflow_config")
    if not texts:
        return ()
    from pytest_fileflow.results.places import PlaceError, config_store

    try:
        return tuple(dict.fromkeys(config_store(text) for text in texts))
    except PlaceError as error:
        raise pytest.UsageError(f"{origin}: {error}") from None


def _path(config: pytest.Config, name: str) -> Path | None:
    value, _ = _given(config, name)
    return _base(config, name) / str(value) if value else None


def _base(config: pytest.Config, name: str) -> Path:
    # As pytest does: a path on the command line is meant from here, one in the ini file from the project.
    from_ini = config.getoption(name) is None and config.getini(name)
    return config.rootpath if from_ini else config.invocation_params.dir
