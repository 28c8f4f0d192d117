"""The guide's tables, made from ``deploy/cost.py``: ``python -m tests.support.costs`` writes them anew."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "cost.py"
TABLES = {"month": "cost.md", "waiting": "cost.md", "times": "scale.md"}


def script() -> Any:
    """Return the script as a module: ``deploy`` is no package."""
    spec = importlib.util.spec_from_file_location("deploy_cost", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def made(name: str) -> str:
    """Return the table that the script makes."""
    module = script()
    suites = [module.Suite(flows=flows) for flows in module.SIZES]
    return module.markdown(module.TABLES[name](suites, module.Prices()))


def in_docs(name: str) -> str:
    """Return the table that the docs show."""
    return _parts(name)[1]


def write() -> None:
    """Put the script's tables into the docs."""
    for name, page in TABLES.items():
        before, _, after = _parts(name)
        (ROOT / "docs" / page).write_text(f"{before}{made(name)}{after}", encoding="utf-8")


def _parts(name: str) -> tuple[str, str, str]:
    text = (ROOT / "docs" / TABLES[name]).read_text(encoding="utf-8")
    begin, end = f"<!-- {name}: written by python -m tests.support.costs -->\n\n", f"\n<!-- end of {name} -->\n"
    before, rest = text.split(begin)
    shown, after = rest.split(end)
    return before + begin, shown, end + after


if __name__ == "__main__":
    write()
