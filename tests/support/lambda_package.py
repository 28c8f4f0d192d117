"""The script that builds the zip of the Lambda functions, and what of the project the zip must be able to import."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.test_layers import LAYERS, PACKAGE, imported, modules, room

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).parents[2]
# Asked at a desk, by DuckDB: no function reads the history.
DESK = "pytest_fileflow.results.history"


def script() -> ModuleType:
    """Return deploy/package.py as a module."""
    spec = importlib.util.spec_from_file_location("fileflow_package", ROOT / "deploy" / "package.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def wheel(folder: Path) -> Path:
    """Return the wheel that tox has built and installed, else one of this checkout."""
    built = [Path(name) for name in os.environ.get("TOX_PACKAGE", "").split(os.pathsep) if name.endswith(".whl")]
    return built[0] if built else script().build_wheel(folder)


def name_of(path: Path) -> str:
    """Return the name of one of the package's modules."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def reached() -> dict[str, Path]:
    """Return the modules that a function may come to import, however late: the handlers, what is below pytest's
    side of the package, and all that these import.
    """
    known = {name_of(path): path for path in modules()}
    rooms = {name for names in LAYERS[:-1] for name in names} | {"aws"}
    waiting = [name for name, path in known.items() if room(path) in rooms and not name.startswith(DESK)]
    found: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        if name in known and name not in found:
            found[name] = known[name]
            waiting += [*imported(known[name], for_types=False), name.rpartition(".")[0]]
            waiting += [f"{module}.{alias}" for module, alias in _from(known[name])]
    return found


def _from(path: Path) -> Iterator[tuple[str, str]]:
    """Name what a file takes from other modules of the package, which may be modules themselves."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typed = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in typed:
            yield from ((node.module, alias.name) for alias in node.names)


def services(paths: list[Path]) -> set[str]:
    """Return the AWS services that files make clients for."""
    return {
        node.args[0].value
        for path in paths
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"client", "brisk", "stranger", "resource"}
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }
