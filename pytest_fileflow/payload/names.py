"""Names a run and its file, and writes what lies beside the file: its digest and its manifest."""

from __future__ import annotations

import json
import secrets
from datetime import timezone
from typing import TYPE_CHECKING

from pytest_fileflow import template
from pytest_fileflow.errors import ConfigInvalid
from pytest_fileflow.model import NAME_BYTES
from pytest_fileflow.payload.made import extension
from pytest_fileflow.payload.whole import SEED

if TYPE_CHECKING:
    from datetime import datetime

    from pytest_fileflow.model import PayloadFile, TestData
    from pytest_fileflow.payload.pattern import Pattern

MANIFEST_SCHEMA = 1
FILE_NAME_VARIABLES = ("date", "time", "run_id", "flow_id", "size")


def new_run_id() -> str:
    """Return a new run id: 16 lower-case hex digits, never used before for all that chance allows."""
    return secrets.token_hex(8)


def file_name(testdata: TestData, pattern: Pattern, *, flow_id: str, run_id: str, size: int, now: datetime) -> str:
    """Return the name of a run's file: ``<prefix>_<UTC time>_<run_id>.<extension>``, or as ``filename`` says.

    ``now`` knows its time zone; names are in UTC. Raises ConfigInvalid where the name would not
    hold the run id, uses an unknown variable, or is no plain file name.
    """
    if now.tzinfo is None:
        raise ValueError("the time of a file name must know its time zone")
    utc = now.astimezone(timezone.utc)
    if testdata.filename is None:
        ending = extension(pattern, tuple(wrap.name for wrap in testdata.wrap))
        name = f"{testdata.filename_prefix}_{utc:%Y%m%dT%H%M%SZ}_{run_id}.{ending}"
    else:
        values = (f"{utc:%Y%m%d}", f"{utc:%H%M%S}", run_id, flow_id, str(size))
        name = _from_template(testdata.filename, dict(zip(FILE_NAME_VARIABLES, values, strict=True)))
    name = _made_awkward(name, testdata.awkward)
    check_name(name)
    return name


def _from_template(filename: str, variables: dict[str, str]) -> str:
    if "run_id" not in template.names_in(filename):
        # Without it two runs would write to the same name, and judge each other's files.
        raise ConfigInvalid(f'testdata.filename {filename!r} does not hold "${{run_id}}"')
    try:
        return str(template.substitute(filename, variables))
    except template.UnknownVariable as error:
        raise ConfigInvalid(f"testdata.filename {filename!r}: {error}") from error


_AWKWARD = {
    "leading_dash": "-",
    "spaces": "two  spaces ",
    "unicode": "\u00dcbung-\u65e5\u672c-\U0001f680-",
    "decomposed": "U\u0308bung-",
    "quotes": 'it\'s-"quoted"-',
    "percent": "100%-%20-",
    "plus": "a+b-",
    "hash": "#1-",
    "dots": "v1..2-",
}


def _made_awkward(name: str, how: tuple[str, ...]) -> str:
    """Put what is hard to handle before a name; ``long`` fills it up to as many bytes as a name may have."""
    name = "".join(text for key, text in _AWKWARD.items() if key in how) + name
    if "long" not in how:
        return name
    dash = "-" if name.startswith("-") else ""
    return dash + "x" * (NAME_BYTES - len(name.encode())) + name[len(dash) :]


def check_name(name: str) -> None:
    """Raise ConfigInvalid unless this is one plain file name of at most 255 bytes in UTF-8."""
    if name in ("", ".", ".."):
        raise ConfigInvalid(f"{name!r} is not a file name")
    bad = next((character for character in name if character in "/\\" or not character.isprintable()), None)
    if bad is not None:
        raise ConfigInvalid(f"the file name {name!r} holds {bad!r}; only printable characters except / and \\ may")
    length = len(name.encode())
    if length > NAME_BYTES:
        raise ConfigInvalid(f"the file name {name!r} has {length} bytes in UTF-8; at most {NAME_BYTES} are possible")


def manifest(*, flow_id: str, run_id: str, case: str, file: PayloadFile, created_utc: str) -> bytes:
    """Return the manifest of a run's file: JSON that says what it is, and that it is synthetic."""
    document = {
        "schema_ver": MANIFEST_SCHEMA,
        "flow_id": flow_id,
        "test_run_id": run_id,
        "case": case,
        "file_name": file.name,
        "size_bytes": file.size,
        "sha256": file.sha256,
        "pattern": file.pattern,
        "created_utc": created_utc,
        "synthetic": True,
        **_of_layers(file),
    }
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()


def _of_layers(file: PayloadFile) -> dict[str, object]:
    """Return what a manifest says of a file with rows, with files inside, or of one that was not made up."""
    told: dict[str, object] = {} if file.rows is None else {"rows": file.rows}
    if file.inside:
        told["inside"] = [
            {"wrapping": layer.wrapping, "size_bytes": layer.size, "sha256": layer.sha256} for layer in file.inside
        ]
    seed = file.recipe.options.get(SEED)
    return told if seed is None else {**told, "seed": seed}


def sha256_sidecar(sha256: str) -> bytes:
    """Return the content of the digest's sidecar: hex digest and newline."""
    return f"{sha256}\n".encode("ascii")
