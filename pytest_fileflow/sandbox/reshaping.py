"""What the reference transfer does to a file besides moving it: layers put around it or taken off, another name."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
import zlib
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from pytest_fileflow import template
from pytest_fileflow.sandbox.ends import TransferError
from pytest_fileflow.sandbox.sealing import SealingImpossible, encrypt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CHUNK = 256 * 1024
_GZIP = 16 + zlib.MAX_WBITS


def reshaped(work: Mapping[str, Any], body: BinaryIO, size: int, name: str) -> tuple[BinaryIO, int]:
    """Return a file as it is to arrive, and its size; it lies on disk, whatever its size, once it changes at all.

    Raises TransferError where a layer is not there to be taken off.
    """
    wrap = {**_WRAP, "pgp": lambda body, made, _name: encrypt(body, made, str(work.get("public_key")))}
    for layer in work["unwraps"]:
        body, size = _through(_step(_UNWRAP, layer), body, name)
    for layer in reversed(work["adds"]):
        body, size = _through(_step(wrap, layer), body, name)
    return body, size


def new_name(work: Mapping[str, Any], name: str, manifest: bytes | None, flow_id: str) -> str:
    """Return the name that a file is to have at the target; ``*`` becomes the time."""
    if not work["name"]:
        return name
    path, told = PurePosixPath(name), _told(manifest)
    variables = {
        "file.name": name,
        "file.stem": path.stem,
        "file.suffix": path.suffix,
        "run_id": str(told.get("test_run_id", "")),
        "flow_id": flow_id,
        "date": str(told.get("created_utc", ""))[:10].replace("-", ""),
    }
    now = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S%f}"
    return now.join(str(template.substitute(part, variables)) for part in str(work["name"]).split("*"))


def _told(manifest: bytes | None) -> dict[str, object]:
    try:
        told = json.loads(manifest or b"{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _step(
    steps: Mapping[str, Callable[[BinaryIO, BinaryIO, str], None]], layer: str
) -> Callable[[BinaryIO, BinaryIO, str], None]:
    if layer not in steps:  # what is encrypted to a partner, only the partner can open
        raise TransferError(f"the sandbox's transfer cannot take {layer} off: it has not the partner's key")
    return steps[layer]


def _through(step: Callable[[BinaryIO, BinaryIO, str], None], body: BinaryIO, name: str) -> tuple[BinaryIO, int]:
    """Write a file anew by a step, and return that, at its beginning, with its size."""
    made = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - whoever reads it closes it
    try:
        with body:
            step(body, made, name)
        size = made.tell()
        made.seek(0)
    except BaseException as error:
        made.close()
        if isinstance(error, SealingImpossible):
            raise TransferError(str(error)) from error
        raise
    return made, size


def _gzip(body: BinaryIO, made: BinaryIO, name: str) -> None:
    del name
    packing = zlib.compressobj(wbits=_GZIP)
    while chunk := body.read(_CHUNK):
        made.write(packing.compress(chunk))
    made.write(packing.flush())


def _gunzip(body: BinaryIO, made: BinaryIO, name: str) -> None:
    unpacking = zlib.decompressobj(_GZIP)
    try:
        while chunk := body.read(_CHUNK):
            while chunk:
                made.write(unpacking.decompress(chunk, _CHUNK))
                chunk = unpacking.unconsumed_tail
                if unpacking.eof:  # the next member
                    chunk, unpacking = unpacking.unused_data, zlib.decompressobj(_GZIP)
    except zlib.error as error:
        raise TransferError(f"{name} cannot be unpacked: {error}") from error


def _zip(body: BinaryIO, made: BinaryIO, name: str) -> None:
    with (
        zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name.removesuffix(".zip"), "w", force_zip64=True) as member,
    ):
        shutil.copyfileobj(body, member, _CHUNK)
    made.seek(0, 2)


def _unzip(body: BinaryIO, made: BinaryIO, name: str) -> None:
    with tempfile.TemporaryFile() as spooled:
        shutil.copyfileobj(body, spooled, _CHUNK)
        try:
            with zipfile.ZipFile(spooled) as archive, archive.open(archive.namelist()[0]) as member:
                shutil.copyfileobj(member, made, _CHUNK)
        except (zipfile.BadZipFile, IndexError) as error:
            raise TransferError(f"{name} cannot be unpacked: {error}") from error


_WRAP = {"gzip": _gzip, "zip": _zip}
_UNWRAP = {"gzip": _gunzip, "zip": _unzip}
