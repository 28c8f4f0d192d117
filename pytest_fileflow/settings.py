"""What the command line and the ini file say, read once; a bad value names where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_RESULTS = "fileflow-results"
DEFAULT_CONCURRENCY = 32
DEFAULT_MAX_IN_FLIGHT = 256


@dataclass(frozen=True)
class Settings:
    """One session's settings; ``paths`` are files and folders in which every JSON/YAML file is a flow."""

    sandbox: bool
    concurrency: int
    max_in_flight: int
    results: Path
    include_disabled: bool
    clean_up: bool
    paths: tuple[Path, ...]

    @classmethod
    def read(cls, config: pytest.Config) -> Settings:
        """Read the settings; raises pytest.UsageError for a value that cannot be used."""
        return cls(
            sandbox=_flag(config, "fileflow_sandbox"),
            concurrency=_positive(config, "fileflow_concurrency", DEFAULT_CONCURRENCY),
            max_in_flight=_positive(config, "fileflow_max_in_flight", DEFAULT_MAX_IN_FLIGHT),
            results=_results(config),
            include_disabled=_flag(config, "fileflow_include_disabled"),
            clean_up=not _flag(config, "fileflow_no_cleanup"),
            paths=tuple(config.getini("fileflow_paths")),
        )


def add_options(parser: pytest.Parser) -> None:
    """Add the command line options, each with its ini twin."""
    group = parser.getgroup("fileflow", "file transfer flows")
    group.addoption(
        "--fileflow-sandbox",
        action="store_true",
        default=None,
        help="run against the embedded stand-in for AWS and SFTP, whatever the configs name",
    )
    group.addoption(
        "--fileflow-concurrency",
        metavar="N",
        help=f"uploads, downloads and checks at a time per process (default {DEFAULT_CONCURRENCY})",
    )
    group.addoption(
        "--fileflow-max-in-flight",
        metavar="N",
        help=f"runs between seed and verdict in a session (default {DEFAULT_MAX_IN_FLIGHT})",
    )
    group.addoption("--fileflow-results", metavar="DIR", help=f"where run records go (default {DEFAULT_RESULTS}/)")
    group.addoption(
        "--fileflow-include-disabled",
        action="store_true",
        default=None,
        help="run flows with enabled: false too",
    )
    group.addoption(
        "--fileflow-no-cleanup",
        action="store_true",
        default=None,
        help="leave payloads and sidecars where they are, at source and target",
    )
    for name in ("sandbox", "include_disabled", "no_cleanup"):
        parser.addini(f"fileflow_{name}", _twin(name), type="bool", default=False)
    for name in ("concurrency", "max_in_flight", "results"):
        parser.addini(f"fileflow_{name}", _twin(name), default=None)
    parser.addini(
        "fileflow_paths", "files and folders in which every JSON and YAML file is a flow", type="paths", default=[]
    )


def _twin(name: str) -> str:
    return f"as --fileflow-{name.replace('_', '-')}"


def _given(config: pytest.Config, name: str) -> tuple[Any, str]:
    option = config.getoption(name)
    if option is not None:
        return option, f"--{name.replace('_', '-')}"
    return config.getini(name), f"ini option {name}"


def _flag(config: pytest.Config, name: str) -> bool:
    return bool(_given(config, name)[0])


def _positive(config: pytest.Config, name: str, default: int) -> int:
    value, origin = _given(config, name)
    if value in (None, ""):
        return default
    if not str(value).isascii() or not str(value).isdigit() or int(value) < 1:
        raise pytest.UsageError(f"{origin}: {value!r} is not a whole number above 0")
    return int(value)


def _results(config: pytest.Config) -> Path:
    value, origin = _given(config, "fileflow_results")
    text = str(value or DEFAULT_RESULTS)
    if "://" in text:
        raise pytest.UsageError(f"{origin}: {text!r} is not a folder")
    # As pytest does: a path on the command line is meant from here, one in the ini file from the project.
    from_ini = value and config.getoption("fileflow_results") is None
    return (config.rootpath if from_ini else config.invocation_params.dir) / text
