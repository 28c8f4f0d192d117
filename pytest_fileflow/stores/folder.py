"""A folder of configs as one side of a move: as files for a bucket, as flows for a table."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config.reading import DeclinedError, UnreadableError, format_of, read_text, read_values
from pytest_fileflow.stores import FLOWS, belongs
from pytest_fileflow.stores.items import ENABLED, FLOW_ID, VERSION, as_text
from pytest_fileflow.stores.moving import CannotMove, Change, Conflict
from pytest_fileflow.stores.naming import is_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = "$schema"
_FLOW_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class Folder:
    """The files of a config root, by their paths below it."""

    root: Path
    contents: Mapping[str, bytes]

    @classmethod
    def seen(cls, root: Path) -> Folder:
        """Read a folder; raises CannotMove."""
        try:
            paths = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
            return cls(root, {path: Path(root, path).read_bytes() for path in sorted(paths) if belongs(path)})
        except OSError as error:
            raise CannotMove(f"{root} cannot be read: {error}") from error

    def apply(self, change: Change) -> None:
        """Write or remove a file, if it is still as it was; raises Conflict or CannotMove."""
        path = Path(self.root, change.name)
        if not is_plain(change.name) or not path.resolve().is_relative_to(self.root.resolve()):
            raise CannotMove(f"{change.name!r} does not stay below {self.root}: refused")
        try:
            if (path.read_bytes() if path.exists() else None) != change.before:
                raise Conflict(f"{path} has changed meanwhile")
            if change.after is None:
                path.unlink()
            else:
                _write(path, change.after)
        except OSError as error:
            raise CannotMove(f"{path} cannot be written: {error}") from error


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(content)
        if path.exists():
            part.chmod(path.stat().st_mode & 0o7777)
        os.replace(part, path)  # noqa: PTH105 - a link stays no link either way
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


@dataclass(frozen=True)
class FolderOfFlows:
    """The flows of a config root, by their ids, each as the JSON that says the same; and the files they are in."""

    files: Folder
    contents: Mapping[str, bytes]
    paths: Mapping[str, str]

    @classmethod
    def seen(cls, root: Path) -> FolderOfFlows:
        """Read a folder; raises CannotMove."""
        files, contents, paths = Folder.seen(root), {}, {}
        for path in files.contents:
            for flow in flows_in(root / path) if path.startswith(f"{FLOWS}/") else ():
                if isinstance(flow, dict) and isinstance(flow.get(FLOW_ID), str):
                    contents[flow[FLOW_ID]], paths[flow[FLOW_ID]] = same(flow), path
        return cls(files, contents, paths)

    @property
    def left_out(self) -> list[str]:
        """Return the files that are no flows: a table has no place for them."""
        return sorted(self.files.contents.keys() - set(self.paths.values()))

    def apply(self, change: Change) -> None:
        """Write or remove the file of a flow, in the form that it has; raises Conflict or CannotMove."""
        path = self.paths.get(change.name)
        if path is None:
            if not _FLOW_ID.fullmatch(change.name):
                raise CannotMove(f"{change.name!r} cannot be the name of a file: refused")
            ending = ".flow.json" if change.name == "endpoints" else ".json"  # endpoints.json would be no flow
            self.files.apply(Change(f"{FLOWS}/{change.name}{ending}", None, change.after))
            return
        before = self.files.contents[path]
        if list(self.paths.values()).count(path) > 1:
            raise CannotMove(f"{self.files.root / path} holds several flows: change {change.name} there by hand")
        after = None if change.after is None else _like(path, before, change.after)
        self.files.apply(Change(path, before, after))


def _like(path: str, before: bytes, after: bytes) -> bytes:
    """Return a flow as a file in the form of the one before: JSON with its link to the schema, or YAML."""
    try:
        flow = json.loads(after)
    except ValueError:
        raise CannotMove(f"what is to become of {path} is no JSON in the store: refused") from None
    if format_of(Path(path)) == "json":
        with contextlib.suppress(ValueError, AttributeError):
            link = json.loads(before).get(SCHEMA)
            flow = {SCHEMA: link, **flow} if link else flow
        return as_text(flow).encode()
    import yaml

    text: str = yaml.safe_dump(flow, sort_keys=False, allow_unicode=True, width=120)
    return text.encode()


def flows_in(path: Path) -> list[Any]:
    """Return the flows of a file as they are written; raises CannotMove for one that cannot be read."""
    try:
        text, form = read_text(path), format_of(path)
    except UnreadableError as error:
        raise CannotMove(f"{path}: {error.reason}") from error
    try:
        documents = read_values(text, form)
    except DeclinedError:
        documents = _careful(text, form)
    found = []
    for document in documents:
        listed = document.get("flows") if isinstance(document, dict) else None
        found += listed if isinstance(listed, list) else [document]
    return found


def _careful(text: str, form: str) -> list[Any]:
    from pytest_fileflow.config.json_text import read_json
    from pytest_fileflow.config.yaml_text import read_yaml

    documents = [read_json(text)] if form == "json" else read_yaml(text)
    return [getattr(document, "value", None) for document in documents]


def same(flow: Mapping[str, Any], *, is_enabled: bool | None = None) -> bytes:
    """Return a flow as text that is the same for all that means the same.

    The version is the store's business and the link to the schema an editor's; a flow is enabled if nothing is said.
    """
    told = {name: value for name, value in flow.items() if name not in (VERSION, SCHEMA, ENABLED)}
    if not (flow.get(ENABLED, True) if is_enabled is None else is_enabled):
        told[ENABLED] = False
    return as_text(told).encode()


def is_disabled(content: bytes) -> bool:
    """Return whether a flow, as such text, is disabled."""
    return json.loads(content).get(ENABLED) is False
