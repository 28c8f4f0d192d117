"""Runs awslambdaric in a process that ends with the one that started it, however that ended.

As a module it serves functions of flows, with what is installed where the sandbox runs. As a file,
under ``python -I -S``, it serves a deployed function: it is told the file that calls are recorded
in and the folders in which modules may be found, and nothing else is. Hence the standard library only.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading


def _end_with_parent() -> None:
    """Wait for the end of standard input, which the parent holds open for as long as it lives."""
    while os.read(0, 1024):
        pass
    os._exit(0)  # at once: a transfer under way has nobody left to report to


def _set_up(calls: str, code: str, runtime: str) -> None:
    """Let modules be found as on AWS: the function's own first, those of the runtime last."""
    sys.path[:] = [code, *sys.path, runtime]
    importlib.import_module("fileflow_recorder").record(calls, os.environ["AWS_LAMBDA_FUNCTION_NAME"])


def main() -> None:
    """Serve invocations of the handler named on the command line; the environment holds the rest."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if folders := sys.argv[2:]:
        _set_up(*folders)
    from awslambdaric.__main__ import main as serve

    serve(sys.argv[:2])


if __name__ == "__main__":
    main()
