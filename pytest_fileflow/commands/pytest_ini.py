"""Adds what flows need to the file in which a project configures pytest, and leaves everything else in it as it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

KEY = "fileflow_paths"
FRESH = f"[pytest]\ntestpaths = flows\n{KEY} = flows\n"


@dataclass(frozen=True)
class _Place:
    """A file that may configure pytest: the section's header, the line for it, and what shows that it has one."""

    name: str
    header: str
    line: str
    sign: str


_INI = rf"{KEY} = flows"
_TOML = rf'{KEY} = ["flows"]'
# In the order in which pytest looks for them; it reads one alone.
PLACES = (
    _Place("pytest.toml", r"^\[pytest\][^\n]*\n", _TOML, ""),
    _Place(".pytest.toml", r"^\[pytest\][^\n]*\n", _TOML, ""),
    _Place("pytest.ini", r"^\[pytest\][^\n]*\n", _INI, ""),
    _Place(".pytest.ini", r"^\[pytest\][^\n]*\n", _INI, ""),
    _Place(
        "pyproject.toml",
        r"^\[tool\.pytest(?:\.ini_options)?\][^\n]*\n",
        _TOML,
        r"^\s*\[?\s*tool\.pytest\b|\bini_options\b|^\s*pytest\s*[.=]",
    ),
    _Place("tox.ini", r"^\[pytest\][^\n]*\n", _INI, r"^\[pytest\]"),
    _Place("setup.cfg", r"^\[tool:pytest\][^\n]*\n", _INI, r"^\[tool:pytest\]"),
)


@dataclass(frozen=True)
class Configured:
    """What became of pytest's configuration: the file, whether it was written, and what is left to its owner."""

    file: Path
    is_written: bool
    advice: str = ""


def configure(folder: Path) -> Configured:
    """Make a ``pytest.ini``, or add a line to the file that pytest reads here; raises OSError."""
    for place in PLACES:
        file = folder / place.name
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            if re.search(place.sign, text, re.MULTILINE):
                return _added(file, text, place)
    file = folder / "pytest.ini"
    file.write_text(FRESH, encoding="utf-8")
    return Configured(file, is_written=True)


def _added(file: Path, text: str, place: _Place) -> Configured:
    if re.search(rf"^\s*{KEY}\s*=", text, re.MULTILINE):
        return Configured(file, is_written=False)
    header = re.search(place.header, text, re.MULTILINE)
    if header is None:
        return Configured(file, is_written=False, advice=f"add {place.line} to the settings of pytest in {file}")
    file.write_text(f"{text[: header.end()]}{place.line}\n{text[header.end() :]}", encoding="utf-8")
    return Configured(file, is_written=True)
