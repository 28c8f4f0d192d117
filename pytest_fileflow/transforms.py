"""What a flow does to a file besides moving it, as its config says: layers put around it or taken off, another name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_fileflow.model import CheckSpec, Flow

LAYERS = ("gzip", "zip", "pgp")
"""The checks that take a layer off, by the name of the layer."""

RENAMED = "renamed"
"""The check that says under which name a file arrives."""

NAME_VARIABLES = ("file.name", "file.stem", "file.suffix", "run_id", "flow_id", "date")
"""What ``${…}`` may stand for in the name at the target; ``file.suffix`` begins with its dot."""

OWN_VARIABLES = frozenset(("file.name", "file.stem", "run_id"))
"""Those of which the name at the target must hold one, so that it is nobody else's."""

WILDCARD = "*"


def checks_named(flow: Flow, *names: str) -> tuple[CheckSpec, ...]:
    """Return the further checks of a flow that have one of these names, in their order."""
    return tuple(check for check in flow.validation.checks if check.name in names)


def layers_checked(flow: Flow) -> tuple[str, ...]:
    """Return the layers that a flow's checks take off, from the outside in."""
    return tuple(check.name for check in checks_named(flow, *LAYERS))


def added_layers(checked: Sequence[str], has: Sequence[str]) -> tuple[str, ...]:
    """Return which of the layers that checks take off the flow must have put around a file that ``has`` some itself.

    >>> added_layers(["gzip"], ["gzip"]), added_layers(["pgp", "gzip"], ["gzip"]), added_layers(["pgp"], ["gzip"])
    ((), ('pgp',), ('pgp',))
    """
    for number in range(len(checked)):
        rest = checked[number:]
        if list(rest) == list(has[: len(rest)]):
            return tuple(checked[:number])
    return tuple(checked)


def adds(flow: Flow) -> tuple[str, ...]:
    """Return the layers that a flow puts around its files, as far as its config tells what these have themselves."""
    has = payload_layers(flow)[len(flow.validation.unwraps) :]
    return added_layers(layers_checked(flow), has)


def payload_layers(flow: Flow) -> tuple[str, ...]:
    """Return the layers that a flow's own test data has, from the outside in."""
    return tuple(wrap.name for wrap in flow.testdata.wrap)


def is_transforming(flow: Flow) -> bool:
    """Return whether the bytes that arrive are to be others than those that were sent."""
    return bool(flow.validation.unwraps or adds(flow))


def renaming(flow: Flow) -> str | None:
    """Return the template of the name at the target, None where a flow keeps the name."""
    return next((str(check.options["to"]) for check in checks_named(flow, RENAMED)), None)


def companions(flow: Flow) -> tuple[str, ...]:
    """Return the checks that see what comes along with a file, or what it is stored with."""
    found = checks_named(flow, "sidecars", "tags", "metadata", "kms")
    return tuple(check.name for check in found if check.name != "kms" or "key_arn" in check.options)
