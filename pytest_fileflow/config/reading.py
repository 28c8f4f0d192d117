"""Reads JSON and YAML text fast, and declines whatever is not plain: the careful reader then explains it."""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
import stat
from typing import TYPE_CHECKING, Any, Literal, NoReturn

if TYPE_CHECKING:
    from collections.abc import Generator
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

_DEEP_INDENT = re.compile(rf"^[ \t?:-]{{{MAX_DEPTH}}}", re.MULTILINE)
_YAML_FLOW_ID = re.compile(r"""^[ \t]*(?:-[ \t]+)*["']?flow_id["']?[ \t]*:""", re.MULTILINE)
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
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("this is not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise UnreadableError(f"the file has {status.st_size} bytes: a config has at most 5 MiB")
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"the file cannot be read: {error.strerror or type(error).__name__}") from None


def read_values(text: str, form: Format) -> list[Any]:
    """Return the documents of a text; raises DeclinedError on anything that is not plain and right."""
    return [_read_json(text)] if form == "json" else _read_yaml(text)


def flow_id_lines(text: str, form: Format, count: int) -> list[int] | None:
    """Return the line of each flow's flow_id, or None where that takes a closer look."""
    pattern = _JSON_FLOW_ID if form == "json" else _YAML_FLOW_ID
    ends = [match.end() for match in pattern.finditer(text)]
    if len(ends) != count:
        return None
    breaks = [text.count("\n", start, end) for start, end in itertools.pairwise([0, *ends])]
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

    depth = 0
    for event in yaml.parse(text, Loader=yaml_base_loader()):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            return event.start_mark
    return None


def _may_be_deep(text: str) -> bool:
    """Return whether a closer look at the depth is due; what is let through nests to 300 at most."""
    return text.count("[") + text.count("{") > MAX_DEPTH or bool(_DEEP_INDENT.search(text))


def _read_json(text: str) -> Any:
    if "\\ud" in text or "\\uD" in text or (_may_be_deep(text) and deep_json_offset(text) is not None):
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


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise DeclinedError
    return value


def _decline(*_: object) -> NoReturn:
    raise DeclinedError


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_decline, parse_float=_finite)


def _read_yaml(text: str) -> list[Any]:
    import yaml

    if "&" in text and "*" in text:
        raise DeclinedError
    try:
        if _may_be_deep(text) and deep_yaml_mark(text) is not None:
            raise DeclinedError
        documents = list(yaml.load_all(text, Loader=_plain_loader()))
    except (yaml.YAMLError, RecursionError, *UNFIT) as error:
        raise DeclinedError from error
    return [document for document in documents if document is not None]


def yaml_base_loader() -> Any:
    """Return libyaml's loader, or the pure Python one where PyYAML was built without libyaml."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.cache
def _plain_loader() -> Any:
    """Make a loader that builds what JSON can hold and declines all else: dates, tags, merges, odd keys."""
    base = yaml_base_loader()
    loader: Any = type("PlainLoader", (base,), {})
    loader.yaml_constructors = {
        None: _decline,
        "tag:yaml.org,2002:null": base.construct_yaml_null,
        "tag:yaml.org,2002:bool": base.construct_yaml_bool,
        "tag:yaml.org,2002:str": _plain_string,
        "tag:yaml.org,2002:int": _plain_integer,
        "tag:yaml.org,2002:float": _plain_float,
        "tag:yaml.org,2002:seq": base.construct_yaml_seq,
        "tag:yaml.org,2002:map": _plain_mapping,
    }
    return loader


def _plain_string(_: Any, node: Any) -> str:
    text = node.value
    if not isinstance(text, str) or (not text.isascii() and SURROGATE.search(text)):
        raise DeclinedError
    return text


def _plain_integer(loader: Any, node: Any) -> Any:
    if ":" in node.value:  # 22:30 is 1350 to YAML 1.1
        raise DeclinedError
    return loader.construct_yaml_int(node)


def _plain_float(loader: Any, node: Any) -> Any:
    if ":" in node.value:
        raise DeclinedError
    value = loader.construct_yaml_float(node)
    if not math.isfinite(value):
        raise DeclinedError
    return value


def _plain_mapping(loader: Any, node: Any) -> Generator[dict[str, Any]]:
    value: dict[str, Any] = {}
    yield value
    if not isinstance(node.value, list):
        raise DeclinedError
    for key, item in node.value:
        if key.tag != "tag:yaml.org,2002:str":
            raise DeclinedError
        value[_plain_string(loader, key)] = loader.construct_object(item)
    if len(value) != len(node.value):
        raise DeclinedError
