"""What a flow owes: name, size and bytes of the file that should lie at its target, told from what was sent.

A flow that passes files through owes what was sent. One that takes layers off (``validation.unwraps``)
owes what is inside. One that puts layers around it, as its checks say that take more off than the
payload has, owes a file whose size and SHA-256 nobody can know beforehand, with the payload inside.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pytest_fileflow import template
from pytest_fileflow.errors import ConfigInvalid
from pytest_fileflow.model import SIDECAR_ENDINGS, Inside
from pytest_fileflow.payload import SEED, check_name
from pytest_fileflow.transforms import NAME_VARIABLES, WILDCARD, added_layers, layers_checked, renaming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_fileflow.model import Flow, PayloadFile, Recipe, Run

_FORMS = {"csv": True, "jsonl": False, "ndjson": False, "fixedwidth": False}
_IN_PROGRESS = re.compile(r"^[.~]|(\.(part|partial|filepart|tmp|temp)|~)$", re.IGNORECASE)


@dataclass(frozen=True)
class DueName:
    """A file name, or the parts of one between those that the flow makes up; it is none of ``others``."""

    parts: tuple[str, ...]
    others: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Return the name, with ``*`` for each part that is not known."""
        return WILDCARD.join(self.parts)

    @property
    def exact(self) -> str | None:
        """Return the name, None where not all of it is known."""
        return self.parts[0] if len(self.parts) == 1 else None

    @property
    def beginning(self) -> str:
        """Return what the name certainly begins with."""
        return self.parts[0]

    def fits(self, name: str) -> bool:
        """Tell whether a file of this name may be the one; sidecars and files under way are not.

        >>> due = DueName(("orders_00ff_", ".csv"))
        >>> due.fits("orders_00ff_20261124.csv"), due.fits("orders_00ff.csv")
        (True, False)
        >>> due = DueName(("orders_00ff", ""))
        >>> due.fits("orders_00ff.gz"), due.fits("orders_00ff.gz.sha256"), due.fits("orders_00ff.gz.part")
        (True, False, False)
        """
        if len(self.parts) == 1:
            return name == self.parts[0]
        if name in self.others or self._expression.fullmatch(name) is None:
            return False
        return not any(is_other(name) and not is_other(self._shortest) for is_other in (_is_sidecar, _is_in_progress))

    @cached_property
    def _shortest(self) -> str:
        return "x".join(self.parts)

    @property
    def _expression(self) -> re.Pattern[str]:
        return _expression(self.parts)


@lru_cache(maxsize=4096)
def _expression(parts: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, parts)), re.DOTALL)


def _is_sidecar(name: str) -> bool:
    return name.endswith(SIDECAR_ENDINGS)


def _is_in_progress(name: str) -> bool:
    return _IN_PROGRESS.search(name) is not None


@dataclass(frozen=True)
class Due:
    """The file that should arrive.

    ``size`` in bytes and the hex ``sha256`` are None where the flow wraps the file. ``inside`` are the
    files in it, from the outside in, None for one that cannot be known: a wrapped file that the flow wraps
    again. ``rows`` and ``header`` are those of the innermost one, ``is_csv``, ``is_utf16`` and ``delimiter`` how it
    is written, as far as the payload tells. ``depth`` is how many layers of the payload the flow takes off,
    ``adds`` are those it puts around it.
    """

    name: DueName
    size: int | None
    sha256: str | None
    inside: tuple[Inside | None, ...] = ()
    rows: int | None = None
    header: str | None = None
    depth: int = 0
    adds: tuple[str, ...] = ()
    is_csv: bool | None = None
    is_utf16: bool = False
    delimiter: str | None = None

    @classmethod
    def of(cls, flow: Flow, run: Run) -> Due:
        """Return what is due of a run's file.

        Raises ConfigInvalid where the payload has not the layers that the flow takes off, or the name
        at the target would be none, or nobody's.
        """
        file, unwraps = run.file, flow.validation.unwraps
        size, sha256, inside = _unwrapped(file, unwraps)
        written = file.recipe.options
        adds = added_layers(layers_checked(flow), [layer.wrapping for layer in inside])
        due = cls(
            *(name_due(flow, run), size, sha256, inside, file.rows, file.header, len(unwraps), adds),
            is_csv=_is_csv(file.recipe),
            is_utf16=written.get("encoding") == "utf-16",
            delimiter=str(written["delimiter"]) if "delimiter" in written else None,
        )
        if not adds:
            return due
        unknown = (None,) * (len(adds) - 1)
        inside_of_it = (*unknown, Inside(adds[-1], size, sha256), *inside)
        return dataclasses.replace(due, size=None, sha256=None, inside=inside_of_it)

    def is_whole(self, size: int, tolerance: int) -> bool:
        """Tell whether a file of this many bytes may be the whole one."""
        return size > 0 if self.size is None else abs(size - self.size) <= tolerance


def _is_csv(recipe: Recipe) -> bool | None:
    """Return whether a payload's line ends may stand between quotes, None where its pattern does not tell."""
    form = recipe.pattern
    if form == SEED:
        form = PurePosixPath(str(recipe.options.get(SEED))).suffix.lower().removeprefix(".")
    return _FORMS.get(form)


def _unwrapped(file: PayloadFile, unwraps: Sequence[str]) -> tuple[int, str, tuple[Inside, ...]]:
    """Return size, SHA-256 and insides of a payload without its outer layers."""
    size, sha256 = file.size, file.sha256
    has = [layer.wrapping for layer in file.inside]
    if has[: len(unwraps)] != list(unwraps):
        layers = f"the layers {', '.join(has)}" if has else "no layers"
        wanted = ", ".join(unwraps)
        raise ConfigInvalid(f"validation.unwraps takes off {wanted}, but the payload {file.name} has {layers}")
    for layer in file.inside[: len(unwraps)]:
        size, sha256 = layer.size, layer.sha256
    return size, sha256, file.inside[len(unwraps) :]


def name_due(flow: Flow, run: Run) -> DueName:
    """Return the name under which a run's file should arrive; raises ConfigInvalid where it can be none."""
    to = renaming(flow)
    sent = (run.file.name,) if run.file.name and flow.source.uri() == flow.target.uri() else ()
    if to is None or not run.file.name:
        return DueName((run.file.name,), sent)
    variables = _variables(run)
    try:
        parts = tuple(str(template.substitute(part, variables)) for part in to.split(WILDCARD))
    except template.UnknownVariable as error:
        raise ConfigInvalid(f"the name {to!r} of check renamed: {error}") from error
    check_name("x".join(parts))
    if not any(run.run_id in part for part in parts):
        # Else another run's file, or somebody's, would be taken for this one's, and removed.
        raise ConfigInvalid(f"the name {to!r} of check renamed does not hold the run id where {run.file.name} is sent")
    return DueName(parts, sent)


def _variables(run: Run) -> dict[str, str]:
    path = PurePosixPath(run.file.name)
    begun = run.timeline.get("begun") or run.timeline.get("prepared", "")
    day = begun[:10].replace("-", "")
    values = (run.file.name, path.stem, path.suffix, run.run_id, run.flow_id, day)
    return dict(zip(NAME_VARIABLES, values, strict=True))
