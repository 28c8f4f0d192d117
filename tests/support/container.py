"""What the Dockerfile says, read as a builder reads it, so that tests can do the same without one."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCKERFILE = DEPLOY / "container" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Return the instructions in order, continued lines joined and comments left out."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    split = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(words[0], words[1]) for words in split]


def last_stage() -> list[tuple[str, str]]:
    """Return the instructions of the image itself."""
    every = instructions()
    start = max(number for number, (name, _) in enumerate(every) if name == "FROM")
    return every[start + 1 :]


def environment() -> dict[str, str]:
    """Return the variables that the image sets."""
    words = (word for name, text in last_stage() if name == "ENV" for word in shlex.split(text))
    return dict(word.split("=", 1) for word in words)


def entry_point() -> list[str]:
    """Return the command that a container's own arguments are added to."""
    (told,) = (text for name, text in last_stage() if name == "ENTRYPOINT")
    command: list[str] = json.loads(told)
    return command


def copied() -> list[str]:
    """Return what is taken from the checkout."""
    given = (
        shlex.split(text)[:-1] for name, text in instructions() if name == "COPY" and not text.startswith("--from")
    )
    return [source for sources in given for source in sources if not source.startswith("--")]
