"""What commands that look at configs have in common: pytest collects the flows, so both know the same ones.

Its ini file, ``conftest.py`` files and plugins count as in a session: patterns, checks and options are theirs too.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow.claims import SUFFIXES
from pytest_fileflow.collection import BROKEN, CASE
from pytest_fileflow.commands.completing import FOLDER
from pytest_fileflow.stored import address

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from pytest_fileflow.config import BrokenFlow
    from pytest_fileflow.model import Flow
    from pytest_fileflow.registry import Registry

# pytest would rewrite the asserts of plugins before they are imported, and this one is running.
QUIET = ("-W", "ignore:Module already imported so cannot be rewritten; pytest_fileflow")

# What ``addopts`` may ask for, and is of no use where nothing runs: files that would be overwritten, a selection.
_SET_ASIDE = {"xmlpath": None, "htmlpath": None, "lf": False, "markexpr": "", "keyword": ""}


class CannotCollect(Exception):
    """pytest did not get as far as the flows; the message is its own."""


@dataclass(frozen=True)
class Collected:
    """The flows that pytest finds, and what cannot be used, each in the order of their files."""

    flows: tuple[Flow, ...]
    broken: tuple[BrokenFlow, ...]


def collect(places: Sequence[str], *options: str) -> Collected:
    """Collect the flows of files and folders (default ``flows/``) with these of pytest's options.

    Raises CannotCollect.
    """
    items = items_in(places, *options)
    flows = {case.flow.flow_id: case.flow for case in (item.stash.get(CASE, None) for item in items) if case}
    broken = [found for found in (item.stash.get(BROKEN, None) for item in items) if found]
    return Collected(tuple(flows.values()), tuple(broken))


def items_in(places: Sequence[str], *options: str) -> list[pytest.Item]:
    """Return the items of the flows that :func:`collect` returns. Raises CannotCollect."""
    watcher = _Watcher()
    usual = [FOLDER] if Path(FOLDER).exists() else []  # then what the ini file says, as a config store
    _run(watcher, [*options, *(places or usual)])
    return watcher.items


def places_for(arguments: Sequence[str]) -> list[str]:
    """Return what to add to arguments for pytest: ``flows/``, unless they name a place.

    A place is a file, a folder, or something in a config store; a whole store will do where no ``flows/`` is.
    """
    for before, argument in itertools.pairwise(["", *arguments]):
        is_value = before.startswith("--fileflow-") and "=" not in before  # as that of --fileflow-results
        if Path(argument.partition("::")[0]).exists() or (address(argument) is not None and not is_value):
            return []
    is_stored = any(argument.startswith("--fileflow-config") for argument in arguments)
    return [] if is_stored and not Path(FOLDER).exists() else [FOLDER]


def registry_in(folder: Path) -> Registry:
    """Return what flows in a project can name: the built-ins, and what plugins and ``conftest.py`` files add.

    Raises CannotCollect.
    """
    looker = _Looker()
    flows = folder / FOLDER
    _run(looker, [str(flows if flows.is_dir() else folder)])
    assert looker.registry is not None, "pytest has begun to collect"  # noqa: S101 - for the type checker
    return looker.registry


def _run(plugin: object, arguments: Sequence[str]) -> None:
    shown, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(said):
        status = pytest.main(["--collect-only", "-q", "-s", *QUIET, *arguments], plugins=[plugin])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        words = said.getvalue().strip() or shown.getvalue().strip()
        raise CannotCollect(words.removeprefix("ERROR: "))


class _Quiet:
    """A plugin that keeps a session that only looks from leaving anything behind."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Set aside what ``addopts`` asks of a session that runs."""
        for name, nothing in _SET_ASIDE.items():
            if hasattr(config.option, name):
                setattr(config.option, name, nothing)


class _Watcher(_Quiet):
    """Lets pytest collect configs alone, and keeps their items."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave out tests in Python."""
        return True if collection_path.suffix not in SUFFIXES and collection_path.is_file() else None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, object, object]:
        """Keep the items, before anybody deselects some."""
        self.items = list(items)
        return (yield)


class _Looker(_Quiet):
    """Takes the registry, and lets pytest collect nothing at all."""

    registry: Registry | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Look at what is registered."""
        from pytest_fileflow.plugin import SESSION

        self.registry = session.config.stash[SESSION].registry()
        return True
