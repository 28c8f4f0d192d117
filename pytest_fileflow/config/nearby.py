"""Finds the files that a flow names beside its config: seeds and public keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def find(name: str, folder: Path) -> Path | None:
    """Return the file that a config in ``folder`` means: there, or in a folder above, up to the one of ``flows/``."""
    return next((place / name for place in _places(folder) if (place / name).is_file()), None)


def names_like(name: str, folder: Path) -> list[str]:
    """Return how the files are named that lie where this one might."""
    parent = name.rpartition("/")[0]
    found = (each for place in _places(folder) if (place / parent).is_dir() for each in (place / parent).iterdir())
    return [f"{parent}/{each.name}".lstrip("/") for each in found if each.is_file()]


def looked_in(folder: Path) -> str:
    """Return where a file was looked for, in words."""
    *_, last = _places(folder)
    return "beside this config" if last == folder else f"beside this config, nor above it up to {last.name or last}/"


def _places(folder: Path) -> Iterator[Path]:
    above = (folder, *folder.parents)
    root = next((index for index, each in enumerate(above) if each.name == "flows"), 0)
    yield from above[: root + 2]
