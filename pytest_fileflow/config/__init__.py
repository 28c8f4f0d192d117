"""Turns flow config files into flows, or into problems that a person can act on.

What does the work is imported by the first call, so that a session without flows pays nothing.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config.problems import BrokenFlow, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from pytest_fileflow.model import Flow

__all__ = ["BrokenFlow", "Problem", "flow_loader", "load_file", "may_hold_flow", "schema"]


def load_file(
    path: Path,
    *,
    display: str,
    sandbox: bool,
    patterns: Mapping[str, Callable[[int], str | None]],
    checks: Collection[str],
) -> tuple[Flow | BrokenFlow, ...]:
    """Return a file's flows in their order, and a BrokenFlow in the place of each that cannot be used.

    ``display`` is the path as messages show it. ``patterns`` are the known payload patterns, each
    with a function that returns what is wrong with a size in bytes, or None. ``checks`` are the
    names of the known further checks. In the sandbox placeholders are accepted. Never raises for
    anything that a file may hold, and never returns nothing.
    """
    return flow_loader(sandbox=sandbox, patterns=patterns, checks=checks)(path, display)


def flow_loader(
    *,
    sandbox: bool,
    patterns: Mapping[str, Callable[[int], str | None]],
    checks: Collection[str],
) -> Callable[[Path, str], tuple[Flow | BrokenFlow, ...]]:
    """Return ``load_file`` for the many files of a session, as ``load(path, display)``.

    ``patterns`` and ``checks`` are looked into anew for each file, so they may grow.
    """
    from pytest_fileflow.config.loader import load
    from pytest_fileflow.config.rules import Rules

    return functools.partial(load, rules=Rules(sandbox, patterns, checks))


def may_hold_flow(path: Path) -> bool:
    """Return whether a JSON or YAML file has a top-level flow_id, or a list ``flows`` of such.

    A file with an error in its syntax or encoding counts as far as it can be read, so that a
    flow does not vanish when somebody breaks its file. Never raises; a file that is binary,
    unreadable or above 5 MiB holds none.
    """
    from pytest_fileflow.config import claim

    return claim.may_hold_flow(path)


def schema() -> dict[str, Any]:
    """Return the shipped JSON Schema of a config file, draft 2020-12; a copy of the caller's own."""
    from pytest_fileflow.config import flow_schema

    return flow_schema.schema()
