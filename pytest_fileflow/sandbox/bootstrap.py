"""Runs awslambdaric in a process that ends with the one that started it, however that ended."""

from __future__ import annotations

import os
import sys
import threading


def _end_with_parent() -> None:
    """Wait for the end of standard input, which the parent holds open for as long as it lives."""
    while os.read(0, 1024):
        pass
    os._exit(0)  # at once: a transfer under way has nobody left to report to


def main() -> None:
    """Serve invocations of the handler named on the command line; the environment holds the rest."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from awslambdaric.__main__ import main as serve

    serve(sys.argv)


if __name__ == "__main__":
    main()
