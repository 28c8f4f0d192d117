"""Which JSON and YAML files are flows: by their names, their folders, and what the command line names."""

from __future__ import annotations

import fnmatch
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fileflow.config import may_hold_flow

if TYPE_CHECKING:
    from pytest_fileflow.settings import Settings

SUFFIXES = (".json", ".yaml", ".yml")
SHARED = frozenset(f"endpoints{suffix}" for suffix in SUFFIXES)
BESIDE_FLOWS = frozenset({"environments", "groups"})
GROUPS = "groups"


def is_shared(path: Path) -> bool:
    """Return whether a file is, by its name, that of the endpoints and defaults that flows share: never a flow."""
    return path.name in SHARED


@dataclass(frozen=True)
class Folder:
    """What a folder settles for all its files: whether they must be flows, may be, or never are.

    Never are our own records, and what lies in folders ``environments`` and ``groups`` beside flows.
    ``is_groups``: it lies among flows, and by its name holds lists of them.
    """

    path: Path
    is_named: bool
    is_below_flows: bool
    is_never: bool
    is_groups: bool = False


@dataclass(frozen=True)
class Claims:
    """Which JSON and YAML files are flows.

    Below ``named`` every such file must be a flow. Elsewhere a file is one if its name says so
    (``x.flow.json``), or if it lies below a ``flows`` folder and has a ``flow_id``: other tools'
    files are left alone, and so are the records below ``results``.
    """

    named: tuple[Path, ...]
    root: Path
    results: Path

    def folder(self, path: Path) -> Folder:
        """Return what a folder settles for its files."""
        around = (path, *path.parents)
        is_named = any(place in around for place in self.named)
        is_below = _below_flows(path, self.root)
        is_never = self.results in around or not (is_below or BESIDE_FLOWS.isdisjoint(_inside(path, self.root)))
        return Folder(path, is_named, is_below, is_never, is_below and path.name == GROUPS and path not in self.named)

    def claims(self, path: Path, folder: Folder) -> bool:
        """Return whether a file of a folder is to be read as a flow, or as what flows share."""
        if folder.is_never:
            return False
        if is_shared(path):
            return folder.is_named or folder.is_below_flows
        is_named = folder.is_named and not folder.is_groups
        if is_named or path in self.named or Path(path.stem).suffix == ".flow":
            return True
        return folder.is_below_flows and may_hold_flow(path)


def named_places(config: pytest.Config, settings: Settings) -> tuple[Path, ...]:
    """Return the files and folders that the command line or the ini file names as flows.

    A folder on the command line that is neither called ``flows`` nor free of Python tests is an
    ordinary test folder, whose data files are nobody's flows.
    """
    if config.args_source is pytest.Config.ArgsSource.INVOCATION_DIR:
        return settings.paths
    here = config.invocation_params.dir
    places = [Path(os.path.normpath(here / argument.split("::", 1)[0])) for argument in config.args]
    patterns = config.getini("python_files")
    return (*settings.paths, *(place for place in places if _holds_flows(place, config.rootpath, patterns)))


def _holds_flows(place: Path, root: Path, patterns: list[str]) -> bool:
    if not place.is_dir():
        return place.suffix in SUFFIXES
    return _below_flows(place, root) or not _has_python_tests(place, patterns)


def _below_flows(folder: Path, root: Path) -> bool:
    """Return whether a folder is called ``flows``, or one above it within the project is."""
    return "flows" in _inside(folder, root)


def _inside(folder: Path, root: Path) -> tuple[str, ...]:
    """Return the names of a folder and those above it within the project."""
    inside = folder.relative_to(root).parts if folder == root or root in folder.parents else (folder.name,)
    return inside or (folder.name,)


def _has_python_tests(folder: Path, patterns: list[str]) -> bool:
    names = (name for _, _, files in os.walk(folder) for name in files)
    return any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns)
