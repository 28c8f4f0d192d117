"""Turns flow config files into flows, or into problems that a person can act on.

What does the work is imported by the first call, so that a session without flows pays nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_fileflow.config.problems import BrokenFlow, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from pytest_fileflow.config.environment import Environment
    from pytest_fileflow.config.flow_schema import Kind
    from pytest_fileflow.config.loader import Loader
    from pytest_fileflow.model import Flow

__all__ = ["BrokenFlow", "Problem", "flow_loader", "load_file", "may_hold_flow", "schema"]


def load_file(
    path: Path,
    *,
    display: str,
    sandbox: bool,
    patterns: Mapping[str, Callable[[int], str | None]],
    checks: Mapping[str, Mapping[str, object] | None],
) -> tuple[Flow | BrokenFlow, ...]:
    """Return a file's flows in their order, and a BrokenFlow in the place of each that cannot be used.

    ``display`` is the path as messages show it. ``patterns`` are the known payload patterns, each
    with a function that returns what is wrong with a size in bytes, or None. ``checks`` are the
    known further checks, each with the JSON Schema of its options, or None. In the sandbox
    placeholders are accepted. Never raises for anything that a file may hold, and never returns
    nothing.
    """
    return flow_loader(sandbox=sandbox, patterns=patterns, checks=checks).load(path, display)


def parent_of(path: Path) -> Path:
    """Return the folder of a file."""
    return path.parent


def flow_loader(
    *,
    sandbox: bool,
    patterns: Mapping[str, Callable[[int], str | None]],
    checks: Mapping[str, Mapping[str, object] | None],
    environment: Environment | None = None,
    roots: Iterable[Path] = (),
    display: Callable[[Path], str] = str,
    home: Callable[[Path], Path] = parent_of,
) -> Loader:
    """Return ``load_file`` for the many files of a session.

    ``patterns`` and ``checks`` are looked into anew for each file, so they may grow. ``environment``
    gives variables their values. Endpoints and defaults lie in a flow's folder or above it, up to the
    outermost of ``roots`` that holds it; ``display`` is how messages call their files.
    ``home`` is the folder from which on a file names others: secrets, seeds, keys.
    """
    from pytest_fileflow.config.loader import Loader
    from pytest_fileflow.config.rules import Rules
    from pytest_fileflow.config.scope import Scopes

    rules = Rules(sandbox, patterns, checks, environment)
    return Loader(rules, Scopes(rules, roots, display, home), home)


def may_hold_flow(path: Path) -> bool:
    """Return whether a JSON or YAML file has a top-level flow_id, or a list ``flows`` of such.

    A file with an error in its syntax or encoding counts as far as it can be read, so that a
    flow does not vanish when somebody breaks its file. Never raises; a file that is binary,
    unreadable or above 5 MiB holds none.
    """
    from pytest_fileflow.config import claim

    return claim.may_hold_flow(path)


def schema(kind: Kind = "flow") -> dict[str, Any]:
    """Return the JSON Schema of a kind of config file, draft 2020-12; a copy of the caller's own."""
    from pytest_fileflow.config import flow_schema

    return flow_schema.schema(kind)
