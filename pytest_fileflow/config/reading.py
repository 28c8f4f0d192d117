"""Reads JSON and YAML text fast, and declines whatever is not plain: the careful reader then explains it."""

from __future__ import annotations

import functools
import itertools
import json
import math
import os
import re
import stat
import sys
from typing import TYPE_CHECKING, Any, Literal, NoReturn

if TYPE_CHECKING:
    from pathlib import Path

Format = Literal["json", "yaml"]

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
SURROGATE = re.compile("[\ud800-\udfff]")
JSON_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
"""A string, closed or not, a bracket, comma or colon, or a bare word; linear in the length of any text."""

UNFIT = (ValueError, LookupError, TypeError, ArithmeticError)
"""What PyYAML raises where a scalar is not of its explicit tag: ``!!int ""``, ``!!bool x``."""

MAX_FILE_BYTES = 5 * 1024 * 1024
MAX_DEPTH = 100
"""Levels of nesting. libyaml recurses without a limit of its own, down to a crash of the process."""

MAX_DIGITS = 300
MAX_BITS = 1000
"""Of a number: a float takes no more, and no config needs so many."""

_ODD_BREAK = re.compile("\r(?!\n)|[\x85\u2028\u2029]")  # lines to YAML 1.1 (5.4), and not to an editor
_DEEP_INDENT = re.compile(rf"^[ \t?:-]{{{MAX_DEPTH}}}", re.MULTILINE)
_LONGEST_WORD = 100
_TAG = "tag:yaml.org,2002:"
_STRING, _MAP, _LIST = f"{_TAG}str", f"{_TAG}map", f"{_TAG}seq"
_PLAIN_TYPES = {f"{_TAG}{name}": f"construct_yaml_{name}" for name in ("null", "bool", "int", "float")}
_YAML_FLOW_ID = re.compile(r"""flow_id["']?[ \t]*:""")
_BEFORE_YAML_KEY = re.compile(r"""[ \t]*(?:-[ \t]+)*["']?""")
_JSON_FLOW_ID = re.compile(r'"flow_id"\s*:')


class UnreadableError(Exception):
    """A file that gives no text; the message says why, the mark where."""

    def __init__(self, reason: str, line: int = 1, column: int = 1):
        super().__init__(reason)
        self.reason = reason
        self.mark = (line, column)


class DeclinedError(Exception):
    """The text is wrong or unusual: the careful reader has to look at it."""


def format_of(path: Path) -> Format:
    """Return how a file is to be read, by its name."""
    return "json" if path.suffix.lower() == ".json" else "yaml"


def read_text(path: Path) -> str:
    """Return a file's text without a byte order mark; raises UnreadableError."""
    data = read_bytes(path)
    if data.startswith(UTF16_MARKS):
        raise UnreadableError("the file is UTF-16 text: save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", errors="replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        reason = f"byte 0x{data[error.start]:02x} is not UTF-8 text: save the file as UTF-8"
        raise UnreadableError(reason, line, column) from None


def read_bytes(path: Path) -> bytes:
    """Return what a file holds; raises UnreadableError, also for what is no regular file or too large."""
    try:
        status = os.stat(path)  # noqa: PTH116 - with thousands of files, pathlib and io take three times as long
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("this is not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise UnreadableError(f"the file has {status.st_size} bytes: a config has at most 5 MiB")
        return _read_regular(path, status.st_size)
    except OSError as error:
        raise UnreadableError(f"the file cannot be read: {error.strerror or type(error).__name__}") from None


def _read_regular(path: Path, size: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        data = os.read(descriptor, size + 1)
        while len(data) < size and (more := os.read(descriptor, size - len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)


def may_hold_placeholder(text: str) -> bool:
    """Return whether a value of a text may be one that is still to be replaced, or hide one in an escape.

    Only an escape puts characters side by side that do not stand so in the file: folded lines are
    joined by a blank.
    """
    return "<" in text or "..." in text or "…" in text or "\\" in text


def read_values(text: str, form: Format) -> list[Any]:
    """Return the documents of a text; raises DeclinedError on anything that is not plain and right."""
    return [_read_json(text)] if form == "json" else _read_yaml(text)


def flow_id_lines(text: str, form: Format, count: int) -> list[int] | None:
    """Return the line of each flow's flow_id, or None where that takes a closer look."""
    pattern = _JSON_FLOW_ID if form == "json" else _YAML_FLOW_ID
    starts = [match.start() for match in pattern.finditer(text)]
    if form == "yaml":
        starts = [start for start in starts if _BEFORE_YAML_KEY.fullmatch(text, text.rfind("\n", 0, start) + 1, start)]
    if len(starts) != count:
        return None
    breaks = [text.count("\n", start, end) for start, end in itertools.pairwise([0, *starts])]
    return [each + 1 for each in itertools.accumulate(breaks)]


def deep_json_offset(text: str) -> int | None:
    """Return where JSON text, right or wrong, first nests beyond MAX_DEPTH."""
    depth = 0
    for match in JSON_TOKEN.finditer(text):
        depth += (match[0] in "[{") - (match[0] in "]}")
        if depth > MAX_DEPTH:
            return match.start()
    return None


def deep_yaml_mark(text: str) -> Any:
    """Return the mark where YAML text first nests beyond MAX_DEPTH; raises yaml.YAMLError.

    The parser's events need no recursion; composing and building recurse over them.
    """
    import yaml

    try:
        return _deep_mark(text, yaml_base_loader())
    except yaml.MarkedYAMLError as error:
        if "nesting depth" not in str(error.problem):
            raise
        # libyaml since PyYAML 6.0.4 reads ahead, and gives up at its own limit before it tells of ours.
        return _deep_mark(text, yaml.SafeLoader)


def _deep_mark(text: str, loader: Any) -> Any:
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            return event.start_mark
    return None


def _may_be_deep(text: str, form: Format) -> bool:
    """Return whether a closer look at the depth is due; what is let through nests to 300 at most."""
    return text.count("[") + text.count("{") > MAX_DEPTH or (form == "yaml" and bool(_DEEP_INDENT.search(text)))


def _read_json(text: str) -> Any:
    if "\\ud" in text or "\\uD" in text or (_may_be_deep(text, "json") and deep_json_offset(text) is not None):
        raise DeclinedError
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise DeclinedError from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise DeclinedError
    return value


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise DeclinedError
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if len(text) > MAX_DIGITS or not math.isfinite(value):
        raise DeclinedError
    return value


def _decline(*_: object) -> NoReturn:
    raise DeclinedError


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_constant=_decline, parse_int=_whole, parse_float=_finite
)


def _read_yaml(text: str) -> list[Any]:
    import yaml

    if ("&" in text and "*" in text) or _ODD_BREAK.search(text):
        raise DeclinedError
    try:
        if _may_be_deep(text, "yaml") and deep_yaml_mark(text) is not None:
            raise DeclinedError
        loader = _plain_loader()(text)
        try:
            documents = []
            while loader.check_node():
                documents.append(_plain_value(loader.get_node(), loader))
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError, *UNFIT) as error:
        raise DeclinedError from error
    return [document for document in documents if document is not None]


def yaml_base_loader() -> Any:
    """Return libyaml's loader, or the pure Python one where PyYAML was built without libyaml."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.cache
def _plain_loader() -> Any:
    """Make a loader that finds out once what a word is: a number, a truth value, nothing, or text.

    Most of PyYAML's time goes into that, and into building what it has composed, object by object.
    """
    import yaml

    base: Any = yaml_base_loader()
    resolve = functools.partial(base("").resolve, yaml.ScalarNode, implicit=(True, False))
    words = functools.lru_cache(maxsize=4096)(resolve)

    class PlainLoader(base):  # type: ignore[misc, unused-ignore]
        def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
            if kind is yaml.ScalarNode and implicit[0] and len(value) <= _LONGEST_WORD:
                return words(value)
            return super().resolve(kind, value, implicit)

    return PlainLoader


def _plain_value(node: Any, loader: Any) -> Any:
    """Return what JSON can hold of a node, and decline all else: dates, tags, merges, odd keys."""
    if node.tag == _STRING:
        return _plain_string(node.value)
    if node.tag == _MAP and node.id == "mapping":
        return _plain_map(node.value, loader)
    if node.tag == _LIST and node.id == "sequence":
        return [_plain_value(item, loader) for item in node.value]
    if node.tag not in _PLAIN_TYPES or ":" in node.value:  # 22:30 is 1350 to YAML 1.1
        raise DeclinedError
    value = getattr(loader, _PLAIN_TYPES[node.tag])(node)
    if math.isfinite(value) if isinstance(value, float) else value is None or value.bit_length() <= MAX_BITS:
        return value
    raise DeclinedError


def _plain_map(pairs: Any, loader: Any) -> dict[str, Any]:
    value = {}
    for key, item in pairs:
        if key.tag != _STRING:
            raise DeclinedError
        value[sys.intern(_plain_string(key.value))] = _plain_value(item, loader)
    if len(value) != len(pairs):
        raise DeclinedError
    return value


def _plain_string(text: Any) -> str:
    if not isinstance(text, str) or (not text.isascii() and SURROGATE.search(text)):
        raise DeclinedError
    return text
