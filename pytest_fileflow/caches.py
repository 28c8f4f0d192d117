"""Where this user's machine keeps what can be had again: the folder of caches, as the system names it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def cache_folder(name: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder for one kind of cache; None for a user who has no home, as in some containers."""
    told = environment.get("XDG_CACHE_HOME")
    try:
        caches = Path(told) if told else Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    except RuntimeError:
        return None
    return Path(os.path.abspath(caches)) / "pytest-fileflow" / name  # noqa: PTH100 - resolve() would follow links
