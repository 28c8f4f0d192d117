"""Says what a runtime process runs: which code, under which name, with which environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TRANSFER_HANDLER = "pytest_fileflow.sandbox.transfer.handler"
TRANSFER_MEMORY_MB = 512


@dataclass(frozen=True)
class Program:
    """A handler with its code and environment; any process of an equal program may serve an invocation.

    ``name`` and ``revision`` tell programs apart. ``command`` is what the Python interpreter is
    given, ``directory`` the working directory.
    """

    name: str
    revision: str = ""
    command: tuple[str, ...] = field(compare=False, default=())
    directory: Path | None = field(compare=False, default=None)
    environment: Mapping[str, str] = field(compare=False, repr=False, default_factory=dict)
    memory_mb: int = field(compare=False, default=TRANSFER_MEMORY_MB)


def transfer_program(directory: Path, environment: Mapping[str, str]) -> Program:
    """Return the program of the reference transfer, which all functions of flows share."""
    return Program(
        "fileflow-transfer",
        command=("-m", "pytest_fileflow.sandbox.bootstrap", TRANSFER_HANDLER),
        directory=directory,
        environment={
            **environment,
            "_HANDLER": TRANSFER_HANDLER,
            "AWS_LAMBDA_FUNCTION_NAME": "fileflow-transfer",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(TRANSFER_MEMORY_MB),
        },
    )
