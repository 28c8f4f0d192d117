"""Config stores: flows that lie in a bucket or a table, read into a local copy, and moved there and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_fileflow.clients import AwsClients
    from pytest_fileflow.results.places import Place
    from pytest_fileflow.stores.shelf import Reading, Shelf

FLOWS, GROUPS, ENVIRONMENTS = "flows", "groups", "environments"
SUFFIXES = dict.fromkeys((FLOWS, GROUPS, ENVIRONMENTS), (".json", ".yaml", ".yml"))
"""What a store, or a folder with the same layout, holds: below which name, files that end how."""


def belongs(path: str) -> bool:
    """Return whether a path below a config root is one of a store's.

    >>> belongs("flows/a/acme.yaml"), belongs("groups/x/nightly.json"), belongs("README.md")
    (True, False, False)
    """
    kind, _, rest = path.partition("/")
    return rest.endswith(SUFFIXES.get(kind, ())) and (kind == FLOWS or "/" not in rest)


def read_store(place: Place, clients: Callable[[], AwsClients], shelf: Callable[[str], Shelf]) -> Reading:
    """Return what a store holds now, as a folder that never changes; raises FileflowError.

    ``shelf`` gives the local copies of a store by the store's whole name.
    """
    if place.kind == "dynamodb":
        from pytest_fileflow.stores.table import read_table

        return read_table(place, clients(), shelf)
    from pytest_fileflow.stores.bucket import read_bucket

    return read_bucket(place, clients(), shelf)
