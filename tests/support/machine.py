"""The state machine as Terraform makes it of its parts, for tests that look at it or run it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pytest_fileflow.aws import STEPS

MACHINE = Path(__file__).parents[2] / "deploy" / "terraform" / "machine"
MAPS = {"RunFewCases": "", "RunManyCases": "OfMany"}


def arns(prefix: str = "arn:aws:lambda:us-east-1:123456789012:function:fileflow") -> dict[str, str]:
    """Return the functions' ARNs by step, as the module names them."""
    return {step: f"{prefix}-{step.replace('_', '-')}" for step in STEPS}


def rendered(name: str, functions: dict[str, str], **more: str) -> dict[str, Any]:
    """Return a part of the machine with its variables put in."""
    known = {"partition": "aws", **functions, **more}
    text = (MACHINE / f"{name}.asl.json").read_text(encoding="utf-8")
    part: dict[str, Any] = json.loads(re.sub(r"\$\{(\w+)\}", lambda found: known[found[1]], text))
    return part


def definition(functions: dict[str, str], max_concurrency: int = 4) -> dict[str, Any]:
    """Return the whole machine."""
    suite = rendered("suite", functions)
    for state, suffix in MAPS.items():
        case = rendered("case", functions, suffix=suffix)
        suite["States"][state]["MaxConcurrency"] = max_concurrency
        suite["States"][state]["ItemProcessor"] |= {key: case[key] for key in ("StartAt", "States")}
    return suite
