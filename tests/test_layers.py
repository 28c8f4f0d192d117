from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_fileflow
from pytest_fileflow.aws import STEPS

PACKAGE = Path(pytest_fileflow.__file__).parent
# A module may import its own layer and those before it.
LAYERS = (
    (
        "__init__",
        "model",
        "causes",
        "errors",
        "template",
        "suggest",
        "clock",
        "transforms",
        "faults",
        "caught",
        "caches",
        "allow",
        "portable",
    ),
    ("cases", "config", "payload", "checks", "due", "forensics", "registry"),
    ("endpoints", "aws_errors", "clients", "secret", "invoke", "logs"),
    (
        *("arrival", "listings", "seeds", "streams", "diagnosis", "verifying", "steps", "watcher", "work", "unbroken"),
        *("flight", "judging", "questions", "contract", "negative", "errands", "holding", "reach", "turns", "progress"),
        *("planning", "engine", "toolbox"),
    ),
    ("results", "usual", "stores"),
    (
        "bounds",
        "cost",
        "selecting",
        "settings",
        "options",
        "switching",
        "switched",
        "stale",
        "claims",
        "handover",
        "collection",
        "recording",
        "distribution",
        "launcher",
        "session",
        "fixtures",
        "reporting",
        "hookspecs",
        "rehearsal",
        "delivery",
        "stored",
        "aftermath",
        "aws",
        "alerting",
        "commands",
        "cli",
        "plugin",
    ),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
PLUGIN_SIDE = set(LAYERS[-1])
SANDBOX_MAY_IMPORT = set(LAYERS[0]) | {"sandbox"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path, *, for_types: bool) -> set[str]:
    """Return the absolute module names that a file imports; those for type checkers only if asked for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typed = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if not for_types and id(node) in typed:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "pytest_fileflow" else set()
            )
    return names


def ours(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("pytest_fileflow.")}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path):
    mine = room(path)
    used = ours(imported(path, for_types=False)) & (set(RANK) | {"sandbox"})
    if mine == "sandbox":
        assert used <= SANDBOX_MAY_IMPORT
    else:
        assert mine in RANK, f"{mine} has no layer yet: give it one in LAYERS"
        assert {name for name in used - {"sandbox"} if RANK[name] > RANK[mine]} == set()
        assert "sandbox" not in used or mine in PLUGIN_SIDE


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_plugin_side_knows_pytest_and_nobody_its_inside(path):
    roots = {name.split(".")[0] for name in imported(path, for_types=True)}
    assert "_pytest" not in roots
    if room(path) not in PLUGIN_SIDE:
        assert "pytest" not in roots


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_knows_click(path):
    roots = {name.split(".")[0] for name in imported(path, for_types=True)}
    assert "click" not in roots or room(path) in {"cli", "commands"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert docstring.splitlines()[0].endswith((".", ":"))


def test_the_plugin_brings_nothing_heavy_along():
    heavy = "boto3 botocore paramiko cryptography jsonschema jsonschema_rs yaml moto asyncssh xdist pytest_html duckdb"
    heavy += " click"
    program = f"import sys, pytest, pytest_fileflow.plugin; print([m for m in {heavy.split()} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("step", STEPS)
def test_a_function_brings_nothing_along_that_it_may_not_need(step):
    """Its zip has no pytest, and a cold start is paid for in seconds; boto3 and paramiko come with the first use."""
    never = "pytest _pytest pluggy click duckdb jinja2 xdist pytest_html moto asyncssh"
    heavy = f"{never} boto3 botocore paramiko cryptography jsonschema jsonschema_rs yaml"
    program = (
        f"import sys; from pytest_fileflow.aws.{step} import handler; assert callable(handler); "
        f"print([name for name in {heavy.split()} if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted((PACKAGE / "aws").glob("*.py")), ids=lambda path: path.name)
def test_the_functions_stand_on_what_knows_no_pytest_not_even_later(path):
    names = imported(path, for_types=False)
    assert {name.split(".")[0] for name in names}.isdisjoint({"pytest", "click"})
    assert ours(names) & PLUGIN_SIDE <= {"aws", "cost"}
    assert not {"pytest", "click"} & {name.split(".")[0] for name in imported(PACKAGE / "cost.py", for_types=False)}
