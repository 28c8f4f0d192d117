"""What a person is told about a config that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One line for a person: where it is, and what to do. Line and column count from 1."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}  {self.path}  {self.message}"


@dataclass(frozen=True)
class BrokenFlow:
    """A flow, or a whole file, that cannot be used.

    ``name`` is its flow_id where that can be read and is safe as a name, else the file's stem;
    ``has_id`` says which.
    """

    name: str
    line: int
    problems: tuple[Problem, ...]
    has_id: bool = True
