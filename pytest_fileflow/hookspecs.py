"""The hooks that extend pytest-fileflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_fileflow.registry import Registry


@pytest.hookspec(historic=True)
def pytest_fileflow_register(registry: Registry) -> None:
    """Register payload patterns and checks.

    Called once a process, from ``conftest.py`` files and installed plugins, before the first flow
    is read; a ``conftest.py`` that is loaded later is called when it is loaded.
    """


@pytest.hookspec
def pytest_fileflow_planned(plan: Mapping[str, object]) -> None:
    """Take note of what ``--fileflow-plan`` has found out, as plain JSON values."""
