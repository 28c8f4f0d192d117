"""The first flow of a project, as ``fileflow init`` writes it: what is not known yet is a placeholder."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pytest_fileflow.config.arns import is_placeholder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DIRECTIONS = ("sftp-s3", "s3-sftp", "sftp-sftp", "s3-s3")
SCHEMA_FILE = ".fileflow/flow.schema.json"
SCHEMA_LINE = f"../{SCHEMA_FILE}"  # from a file in flows/

Document = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """What an end needs: its key, the question for it, and what stands there until somebody says."""

    key: str
    question: str
    default: str

    @property
    def option(self) -> str:
        """Return the option that answers the question."""
        return f"--{self.key.replace('_', '-')}"


SFTP = (
    Field("host", "Host of the SFTP server at the {side}", "<{SIDE}_HOST>"),
    Field("username", "User name there", "<{SIDE}_USERNAME>"),
    Field("dir", "Directory there", "/{box}"),
    Field(
        "secret_arn",
        "ARN of the secret with its private key",
        "arn:aws:secretsmanager:<REGION>:<ACCOUNT_ID>:secret:<{SIDE}_SECRET>",
    ),
)
S3 = (
    Field("bucket", "Bucket at the {side}", "<{SIDE}_BUCKET>"),
    Field("prefix", "Prefix in it", "{box}/"),
)
KINDS = {"sftp": SFTP, "s3": S3}
SIDES = (("source", "outbox"), ("target", "inbox"))


class Ask(Protocol):
    """Answers a question, with its default where nobody does."""

    def __call__(self, question: str, default: str, choices: Sequence[str] = (), /) -> str:
        """Return the answer, one of the choices where there are any."""


class TooMany(Exception):
    """A value more than there are ends that take it."""


def ends(direction: str, given: Mapping[str, Sequence[str]], ask: Ask) -> Iterator[tuple[str, Document]]:
    """Yield both ends of a direction, asking for what is not given; raises TooMany.

    Where both are of one kind, the first value is the source's.
    """
    kinds = direction.split("-")
    for field in (*SFTP, *S3):
        takers = [kind for kind in kinds if field in KINDS[kind]]
        if len(given[field.key]) > len(takers):
            raise TooMany(f"{field.option} is given {len(given[field.key])} times, and {direction} takes {len(takers)}")
    used: Counter[str] = Counter()
    for (side, box), kind in zip(SIDES, kinds, strict=True):
        end: Document = {"type": kind.upper()}
        for field in KINDS[kind]:
            words = {"side": side, "SIDE": side.upper(), "box": box}
            left = given[field.key][used[field.key] :]
            used[field.key] += 1
            end[field.key] = left[0] if left else ask(field.question.format(**words), field.default.format(**words))
        yield side, end


def as_yaml(flow: Document) -> str:
    """Return a flow as YAML, with the line by which editors find the schema."""
    import yaml

    lines = [f"# yaml-language-server: $schema={SCHEMA_LINE}"]
    if placeholders(flow):
        lines.append("# What stands in <ANGLE_BRACKETS> is to be replaced; with --fileflow-sandbox it may stay.")
    return "\n".join((*lines, yaml.safe_dump(flow, sort_keys=False, allow_unicode=True, width=1000)))


def as_json(flow: Document) -> str:
    """Return a flow as JSON, with the key by which editors find the schema."""
    return json.dumps({"$schema": SCHEMA_LINE, **flow}, indent=2, ensure_ascii=False) + "\n"


def placeholders(flow: Document) -> list[str]:
    """Return the keys whose values are still to be filled in."""
    blocks = [(name, block) for name, block in flow.items() if isinstance(block, dict)]
    return [
        f"{name}.{key}"
        for name, block in blocks
        for key, value in block.items()
        if isinstance(value, str) and is_placeholder(value)
    ]
