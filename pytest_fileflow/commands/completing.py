"""What the shell offers on Tab: the ids of the flows here, found without reading a config in full."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

FOLDER = "flows"
MOST_FILES = 5000  # a key was pressed, and somebody waits

_FLOW_ID = re.compile(rb"""\bflow_id["']?\s*:\s*["']?([A-Za-z0-9][A-Za-z0-9_.-]*)""")


def flow_ids(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the ids below ``flows/`` that begin as what was typed."""
    return sorted({name for name in named_in(Path(FOLDER)) if name.startswith(incomplete)})


def named_in(folder: Path) -> Iterator[str]:
    """Yield what stands for a flow_id in the files below a folder, whether or not they can be used."""
    files = (path for path in folder.rglob("*") if path.suffix in {".json", ".yaml", ".yml"})
    for path in islice(files, MOST_FILES):
        try:
            content = path.read_bytes()
        except OSError:  # nothing can be said from within a completion
            continue
        yield from (found.decode() for found in _FLOW_ID.findall(content))
