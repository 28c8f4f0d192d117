"""Flows as configs, made into what the sandbox needs of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config import flow_loader
from pytest_fileflow.registry import Registry, register_builtin_checks, register_builtin_patterns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_fileflow.sandbox import Sandbox


def provision(sandbox: Sandbox, flows: Sequence[dict[str, Any]], folder: Path) -> None:
    """Make in the sandbox what flows name, and switch their faults on, as a session does."""
    registry = Registry()
    register_builtin_patterns(registry)
    register_builtin_checks(registry)
    loader = flow_loader(sandbox=True, patterns=registry.size_problems(), checks=registry.checks())
    file = folder / "provisioned.json"
    file.write_text(json.dumps({"flows": list(flows)}))
    sandbox.provision(loader.load(file, file.name))  # type: ignore[arg-type] # a broken one ends the test
