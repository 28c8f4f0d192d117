"""Reads a file with the position of every part, and a file of one kind with all that is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fileflow.config import flow_schema
from pytest_fileflow.config.findings import Finding, path_text
from pytest_fileflow.config.places import Document, Unparsed
from pytest_fileflow.config.problems import Problem
from pytest_fileflow.config.reading import UnreadableError, format_of, read_text

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_fileflow.config.flow_schema import Kind
    from pytest_fileflow.config.reading import Format

SUFFIXES = (".yaml", ".yml", ".json")


class UnusableError(Exception):
    """A file that cannot be read at all, or is not the one document that it must be."""

    def __init__(self, problem: Problem):
        super().__init__(str(problem))
        self.problem = problem


def read(text: str, form: Format) -> list[Document | Unparsed]:
    """Return the documents of a text; of JSON there is one, of YAML none or several."""
    if form == "json":
        from pytest_fileflow.config.json_text import read_json

        return [read_json(text)]
    from pytest_fileflow.config.yaml_text import read_yaml

    return read_yaml(text)


def read_one(path: Path, display: str) -> Document:
    """Return the one document of a file; an empty YAML file is an empty object. Raises UnusableError."""
    try:
        found = read(read_text(path), format_of(path))
    except UnreadableError as error:
        raise UnusableError(Problem(display, *error.mark, "$", error.reason)) from None
    if not found:
        return Document({})
    for each in found:
        if isinstance(each, Unparsed):
            raise UnusableError(Problem(display, *each.mark, "$", each.message))
    first, *more = (each for each in found if isinstance(each, Document))
    if more:
        mark = more[0].mark(Finding((), ""))
        raise UnusableError(Problem(display, *mark, "$", "a second document begins here: the file holds one"))
    return first


def schema_findings(document: Document, kind: Kind) -> list[Finding]:
    """Return what the schema does not accept, save for values that reading already found wrong."""
    if flow_schema.is_valid(document.value, kind):
        return []
    from pytest_fileflow.config.explain import explain

    spoilt = {finding.path for finding in document.findings if not finding.at_key}
    findings = [finding for finding in explain(document, kind) if finding.path not in spoilt]
    return findings if findings or document.findings else [Finding((), flow_schema.MISFIT)]


def problem(document: Document, display: str, finding: Finding) -> Problem:
    """Return a finding with its position in a file."""
    return Problem(display, *document.mark(finding), path_text(finding.path), finding.message)
