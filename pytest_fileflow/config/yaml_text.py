"""Reads YAML with positions, explains its surprises, and says what is wrong with text that is no YAML."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config.findings import Finding, is_secretive, quoted
from pytest_fileflow.config.places import Document, Place, Unparsed, unparsed
from pytest_fileflow.config.reading import (
    MAX_BITS,
    MAX_DEPTH,
    SURROGATE,
    UNFIT,
    deep_yaml_mark,
    yaml_base_loader,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import yaml

    from pytest_fileflow.config.findings import Mark, Path

    Node = Any  # PyYAML's nodes: their type stubs leave out what tells scalars, lists and maps apart

MAX_VALUES = 100_000
"""Values of a document once its aliases are expanded: a few lines of aliases can name billions."""

_TAG = "tag:yaml.org,2002:"
_STRING, _MERGE = f"{_TAG}str", f"{_TAG}merge"
_STRINGS = frozenset({_STRING, _MERGE, f"{_TAG}value"})  # a lone "<<" or "=" is text
_KINDS = {
    "bool": "a yes or no",
    "int": "a number",
    "float": "a number",
    "null": "nothing",
    "timestamp": "a date",
}
_DOCUMENT = re.compile(r"^---(?=\s|\Z)", re.MULTILINE)
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)


class _RefusedError(Exception):
    """A document that is not read to its end."""

    def __init__(self, message: str, mark: Mark):
        super().__init__(message)
        self.message = message
        self.mark = mark


def read_yaml(text: str) -> list[Document | Unparsed]:
    """Return a YAML text's documents with the position of every part; an error spoils only its own."""
    documents: list[Document | Unparsed] = []
    for first_line, chunk in _chunks(text):
        documents.extend(_read_chunk(chunk, first_line))
    return [each for each in documents if isinstance(each, Unparsed) or each.value is not None or each.findings]


def _chunks(text: str) -> Iterator[tuple[int, str]]:
    """Cut a text before each ``---``: no scalar may hold one at the start of a line (YAML 1.1, 9.1.2)."""
    starts = [] if _DIRECTIVE.search(text) else [match.start() for match in _DOCUMENT.finditer(text)]
    for start, end in zip([0, *starts], [*starts, len(text)], strict=True):
        if text[start:end].strip():
            yield text.count("\n", 0, start) + 1, text[start:end]


def _read_chunk(text: str, first_line: int) -> Iterator[Document | Unparsed]:
    import yaml

    try:
        deep = deep_yaml_mark(text)
        if deep is not None:
            yield unparsed(text, f"is nested deeper than {MAX_DEPTH} levels", _mark(deep, first_line), first_line)
            return
        for node in yaml.compose_all(text, Loader=yaml_base_loader()):
            if node is not None:
                yield _Reader(first_line).document(node)
    except yaml.reader.ReaderError as error:
        yield _unreadable_character(text, error, first_line)
    except yaml.MarkedYAMLError as error:
        yield unparsed(text, _syntax(text, error), _where(text, error, first_line), first_line)
    except yaml.YAMLError:
        yield unparsed(text, "this is not YAML", (first_line, 1), first_line)
    except _RefusedError as error:
        mark = (error.mark[0] + first_line - 1, error.mark[1])
        yield unparsed(text, error.message, mark, first_line)


def _mark(mark: Any, first_line: int = 1) -> Mark:
    return (mark.line + first_line, mark.column + 1) if mark is not None else (first_line, 1)


class _Reader:
    """Turns a composed document into plain values, as the safe loader would, and keeps where they stand."""

    def __init__(self, first_line: int):
        from yaml.constructor import SafeConstructor

        self._first_line = first_line
        self._construct = SafeConstructor()
        self._document = Document()
        self._open: set[int] = set()
        self._count = 0

    def document(self, node: Node) -> Document:
        self._document.value = self._value(node, ())
        return self._document

    def _value(self, node: Node, path: Path, key: Mark | None = None) -> Any:
        mark = self._mark(node)
        self._count += 1
        if self._count > MAX_VALUES:
            raise _RefusedError(
                f"has more than {MAX_VALUES} values once its aliases are expanded", _mark(node.start_mark)
            )
        if id(node) in self._open:
            self._find(path, "the alias stands for something that it is itself a part of", key or mark)
            return None
        self._document.places[path] = Place(mark, key, self._surprise(node))
        self._open.add(id(node))
        value = self._content(node, path)
        self._open.discard(id(node))
        return value

    def _content(self, node: Node, path: Path) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if node.id == "mapping" and kind == "map":
            return self._mapping(node, path)
        if node.id == "sequence" and kind == "seq":
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        if node.id == "scalar" and (kind in _KINDS or node.tag in _STRINGS):
            return self._scalar(node, path, kind)
        tag = node.tag.replace(_TAG, "!!")
        self._find(path, f"the tag {quoted(tag)} is not allowed: configs are plain data")
        return None

    def _mapping(self, node: Node, path: Path) -> dict[str, Any]:
        value: dict[str, Any] = {}
        seen: dict[str, Mark] = {}
        for key, item in self._merged(node, path):
            value.setdefault(key.value, self._value(item, (*path, key.value), self._mark(key)))
        for key, item in node.value:
            if key.tag != _MERGE:
                name, mark = self._key(key, path), self._mark(key)
                if name is None:
                    continue
                if name in seen:
                    message = f"the key {quoted(name)} stands twice: first in line {seen[name][0]}"
                    self._find((*path, name), message, mark, at_key=True)
                seen.setdefault(name, mark)
                value[name] = self._value(item, (*path, name), mark)
        return value

    def _merged(self, node: Node, path: Path) -> list[tuple[Node, Node]]:
        """Return what ``<<`` brings in, nearest first: a map, or a list of maps."""
        pairs: list[tuple[Node, Node]] = []
        for key, source in node.value:
            if key.tag == _MERGE:
                for each in source.value if source.id == "sequence" else [source]:
                    pairs.extend(self._merge_source(each, path, self._mark(key)))
        first: dict[str, tuple[Node, Node]] = {}
        for key, item in pairs:
            first.setdefault(key.value, (key, item))
        return list(first.values())

    def _merge_source(self, source: Node, path: Path, mark: Mark) -> list[tuple[Node, Node]]:
        if source.id != "mapping" or id(source) in self._open:
            self._find(path, '"<<" takes another map, or a list of maps', mark)
            return []
        self._open.add(id(source))
        own = [(key, item) for key, item in source.value if key.tag == _STRING and not SURROGATE.search(key.value)]
        merged = self._merged(source, path)
        self._open.discard(id(source))
        self._count += 1 + len(own) + len(merged)
        if self._count > MAX_VALUES:
            raise _RefusedError(
                f"has more than {MAX_VALUES} values once its aliases are expanded", _mark(source.start_mark)
            )
        return own + merged

    def _key(self, node: Node, path: Path) -> str | None:
        if node.id != "scalar":
            self._find(path, "a key must be a string, not a list or a map", self._mark(node), at_key=True)
            return None
        text = str(node.value)
        message = self._key_problem(node, text)
        if message is not None:
            self._find((*path, text), message, self._mark(node))
        return SURROGATE.sub("\ufffd", text)

    def _key_problem(self, node: Node, text: str) -> str | None:
        kind = node.tag.removeprefix(_TAG)
        if kind in _KINDS:
            return f"YAML reads the key {quoted(text)} as {_KINDS[kind]}: put it in quotes"
        if node.tag != _STRING:
            tag = node.tag.replace(_TAG, "!!")
            return f"the tag {quoted(tag)} is not allowed: configs are plain data"
        return "the key holds half of a Unicode surrogate pair" if SURROGATE.search(text) else None

    def _scalar(self, node: Node, path: Path, kind: str) -> Any:
        text = str(node.value)
        if node.tag not in _STRINGS:
            return self._typed(node, path, kind, text)
        if SURROGATE.search(text):
            self._find(path, "the string holds half of a Unicode surrogate pair")
            return ""
        return text

    def _typed(self, node: Node, path: Path, kind: str, text: str) -> Any:
        written = "this" if is_secretive(path) else quoted(text)[1:-1]
        if kind == "timestamp":
            return self._quote_it(path, text, f"YAML reads {written} as a date")
        try:
            value = getattr(self._construct, f"construct_yaml_{kind}")(node)
        except UNFIT:
            return self._quote_it(path, text, f"{written} is no value of the type that YAML takes it for")
        is_unusable = isinstance(value, float) and not math.isfinite(value)
        if is_unusable or (isinstance(value, int) and value.bit_length() > MAX_BITS):
            self._find(path, f"{written} is no number that a config can hold")
            return None
        if ":" in text:
            return self._quote_it(path, text, f"YAML reads {written} as the number {value:g}")
        return value

    def _quote_it(self, path: Path, text: str, message: str) -> str:
        quotes = "" if is_secretive(path) else f": {quoted(text)}"
        self._find(path, f"{message}: quote it if it is text{quotes}")
        return text

    def _surprise(self, node: Node) -> str | None:
        if node.id != "scalar" or node.tag in _STRINGS:
            return None
        return str(node.value)

    def _mark(self, node: Node) -> Mark:
        return _mark(node.start_mark, self._first_line)

    def _find(self, path: Path, message: str, mark: Mark | None = None, *, at_key: bool = False) -> None:
        self._document.findings.append(Finding(path, message, at_key, mark))


def _unreadable_character(text: str, error: yaml.reader.ReaderError, first_line: int) -> Unparsed:
    character = chr(error.character) if isinstance(error.character, int) else str(error.character)
    before = text[: max(text.find(character), 0)]
    mark = (first_line + before.count("\n"), len(before) - before.rfind("\n"))
    return unparsed(text, f"the control character U+{ord(character):04X} is not allowed in YAML", mark, first_line)


def _where(text: str, error: yaml.MarkedYAMLError, first_line: int) -> Mark:
    """Return where an error is: where a quote or key begins, and not where the parser gave up on it."""
    begun = any(part in (error.problem or "") for part in ("end of stream", "expected ':'"))
    lines = text.splitlines()
    for mark in (error.context_mark, error.problem_mark) if begun else (error.problem_mark, error.context_mark):
        if mark is not None and mark.line < len(lines):
            return _mark(mark, first_line)
    return first_line + len(lines) - 1, max(len(lines[-1]), 1)


def _syntax(text: str, error: yaml.MarkedYAMLError) -> str:
    """Say in one clause what is wrong; libyaml and the pure Python parser word it differently."""
    problem = error.problem or ""
    context = error.context or ""
    if "cannot start any token" in problem:
        return _no_token(text, error.problem_mark)
    if _is_at_variable(text, error.problem_mark):
        return 'put text with "${" in quotes: between "{" and "}", or "[" and "]", its braces are those of YAML'
    return next((message for part, message in _PARSER_SAYS if part in problem or part in context), "this is not YAML")


def _is_at_variable(text: str, mark: yaml.Mark | None) -> bool:
    lines = text.splitlines()
    if mark is None or not mark.column > 0 or mark.line >= len(lines):
        return False
    return lines[mark.line][mark.column - 1 : mark.column + 1] == "${"


def _no_token(text: str, mark: yaml.Mark | None) -> str:
    line = text.splitlines()[mark.line] if mark is not None else ""
    character = line[mark.column : mark.column + 1] if mark is not None else ""
    if character == "\t":
        return "a tab cannot indent YAML: use spaces"
    return f"text cannot start with {quoted(character)}: put it in quotes"


_PARSER_SAYS = (
    (
        "mapping values are not allowed",
        'a ":" cannot stand here: put the text in quotes, or check the indentation',
    ),
    ("found unexpected end of stream", "a quote is opened and never closed"),
    ("unexpected document", "a quote is opened and never closed"),
    ("undefined alias", "the alias names an anchor that is not defined before it"),
    ("duplicate anchor", "the anchor is defined twice"),
    ("second occurrence", "the anchor is defined twice"),
    ("escape", "unknown escape in double quotes: write a backslash as \\\\, or use single quotes"),
    ("expected ':'", 'a ":" is missing after this key, or the line is indented too little'),
    ("node content", "a value is missing before this"),
    ("flow sequence", 'a comma or the closing "]" of a list is missing before this'),
    ("flow mapping", 'a comma or the closing "}" of a map is missing before this'),
    ("block mapping", "the indentation does not fit the lines above, or a key is missing"),
    ("block collection", 'the indentation does not fit the lines above, or a "-" is missing'),
    ("block sequence entries", 'a "-" cannot stand here: check the indentation'),
    ("block scalar", 'only "+", "-" or a digit may follow "|" or ">" on the line'),
    ("anchor", 'a name must follow "&"'),
    ("alias", 'a name must follow "*": put the text in quotes if it is no alias'),
    ("directive", 'a line that starts with "%" is no directive that YAML knows'),
    ("tag", 'what follows "!" is no tag: put the text in quotes'),
)
