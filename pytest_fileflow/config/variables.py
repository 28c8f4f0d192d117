"""Puts the variables of an environment, and of the process, into the strings of a config."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pytest_fileflow import template, transforms
from pytest_fileflow.config import alerting, flow_schema
from pytest_fileflow.config.findings import is_secretive, quoted, suggestion
from pytest_fileflow.config.rules import NAME_VARIABLES, RUN_VARIABLES
from pytest_fileflow.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_fileflow.config.environment import Environment, Scalar
    from pytest_fileflow.config.findings import Path

SYSTEM = "env:"
"""How the names of the process's own variables begin: ``${env:HOME}``."""

_OF_RUNS = RUN_VARIABLES | NAME_VARIABLES | alerting.VARIABLES | {*transforms.NAME_VARIABLES}
_ANY_INDEX = "[]"
_PLAIN = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_TEMPLATE = re.compile(r"\$\$|\$\{([^{}]*)\}")
_WHOLE = re.compile(r"\$\{([^{}]*)\}")
_NO_TEXT = frozenset({int, float, bool, type(None)})
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}\.[0-9]{1,18}")
_WORDS = {"true": True, "false": False}


def is_of_a_run(name: str) -> bool:
    """Return whether a run, or an alert about it, gives a variable its value."""
    return name in _OF_RUNS or name.startswith(alerting.SECRET)


_WEBHOOK = {
    "headers": lambda name: name.startswith(alerting.SECRET),
    "template": lambda name: name in alerting.VARIABLES or name.startswith(alerting.SECRET),
}
TEMPLATES: Mapping[str, Any] = {
    "transfer": {
        "payload": RUN_VARIABLES.__contains__,
        "trigger_file": {"name": RUN_VARIABLES.__contains__, "content": RUN_VARIABLES.__contains__},
    },
    "testdata": {"filename": NAME_VARIABLES.__contains__},
    "validation": {"checks": {_ANY_INDEX: {"to": transforms.NAME_VARIABLES.__contains__}}},
    "negative": {_ANY_INDEX: {"payload": RUN_VARIABLES.__contains__}},
    "alerts": {"webhook": {**_WEBHOOK, _ANY_INDEX: _WEBHOOK}},
}
"""The fields whose strings a run reads as templates, each with which names it gives a value to."""


class Log(Protocol):
    """What is told of the variables of a config."""

    def wrong(self, path: Path, message: str, *, at_key: bool = False) -> None:
        """Take note of something wrong at a path."""

    def used(self, path: Path, names: Sequence[str], *, is_whole: bool) -> None:
        """Take note of the variables of a string, and whether it is nothing but one of them."""


@dataclass(frozen=True)
class Variables:
    """What ``${name}`` stands for: a variable of the environment, or of the process (``${env:NAME}``)."""

    environment: Environment | None = None
    system: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def put(self, value: object, log: Log, fields: Any = TEMPLATES, path: Path = ()) -> Any:
        """Return a flow, or the part at a path, with every variable in its strings replaced.

        Names of runs stay where a run reads the string as a template; keys, notes under ``x-`` keys
        and the flow_id stay as they are, and so does a string with something wrong.
        """
        if isinstance(value, str):
            return self._text(value, log, fields if callable(fields) else None, path) if "${" in value else value
        if isinstance(value, dict):
            return {
                key: item
                if type(item) in _NO_TEXT or (type(item) is str and "${" not in item)  # most are, of thousands of flows
                else self._put_below(key, item, log, fields, path)
                for key, item in value.items()
            }
        if isinstance(value, list):
            inner = _below(fields, _ANY_INDEX)
            return [self.put(item, log, inner, (*path, index)) for index, item in enumerate(value)]
        return value

    def _put_below(self, key: str, item: object, log: Log, fields: Any, path: Path) -> Any:
        if key.startswith("x-") or (key == "flow_id" and not path):
            return item
        return self.put(item, log, _below(fields, key), (*path, key))

    def _text(self, text: str, log: Log, taken: Callable[[str], bool] | None, path: Path) -> Any:
        if taken is not None:
            return self._template(text, log, taken, path)
        names = [match[1] for match in _PLAIN.finditer(text) if match[0] != "$${"]
        problem = next(filter(None, (self._problem(name, path) for name in names)), None)
        if problem is not None:
            log.wrong(path, problem)
            return text
        whole = _WHOLE.fullmatch(text)
        if names:
            log.used(path, names, is_whole=whole is not None)
        if whole is not None:
            return self._typed(whole[1], path)
        return _PLAIN.sub(lambda match: "${" if match[0] == "$${" else _shown(self._value(match[1])), text)

    def _template(self, text: str, log: Log, taken: Callable[[str], bool], path: Path) -> Any:
        """Replace what is no name of a run; what is put in is written so that the run leaves it as it is."""
        names = [match[1] for match in _TEMPLATE.finditer(text) if match[1] is not None and not taken(match[1])]
        if not names:
            return text
        if any(self._value(name) is None for name in names if not name.startswith(SYSTEM)):
            return text  # the rules know what a run has, and tell
        problem = next(filter(None, (self._problem(name, path) for name in names)), None)
        if problem is not None:
            log.wrong(path, problem)
            return text
        whole = _WHOLE.fullmatch(text)
        log.used(path, names, is_whole=whole is not None)
        if whole is not None:
            value = self._value(whole[1])
            return value.replace("$", "$$") if isinstance(value, str) else value

        def put(match: re.Match[str]) -> str:
            is_ours = match[1] is not None and not taken(match[1])
            return _shown(self._value(match[1])).replace("$", "$$") if is_ours else match[0]

        return _TEMPLATE.sub(put, text)

    def _value(self, name: str) -> Scalar | None:
        if name.startswith(SYSTEM):
            return self.system.get(name.removeprefix(SYSTEM))
        return None if self.environment is None else self.environment.variables.get(name)

    def _typed(self, name: str, path: Path) -> Scalar | None:
        """Return a value; the process's variables are text, and become numbers where nothing else fits."""
        value = self._value(name)
        if isinstance(value, str) and name.startswith(SYSTEM) and _is_no_text(path):
            return _number(value)
        return value

    def _problem(self, name: str | None, path: Path) -> str | None:
        """Return why a name cannot be replaced; None stands for a ``${`` that is never closed."""
        if name is None:
            return 'a "${" has no closing "}"; write "$${" for a literal "${"'
        if self._value(name) is not None:
            return None
        if is_secretive(path):
            return f"holds a variable that is not known (not shown){self._absent()}"
        if name.startswith(SYSTEM):
            own = name.removeprefix(SYSTEM)
            near = nearest(own[:200], self.system) if own else None
            return f"the environment variable {quoted(own)} is not set" + (
                f"; did you mean {quoted(near)}?" if near else ""
            )
        shown = quoted(name)[1:-1]
        if is_of_a_run(name):
            return f'${{{shown}}} has no value here: only a run has one. Write "$${{" for a literal "${{"'
        known = "" if self.environment is None else f" in {self.environment.file}"
        return f"unknown variable ${{{shown}}}{known}{self._hint(name)}{self._absent()}"

    def _hint(self, name: str) -> str:
        return "" if self.environment is None else suggestion(name, self.environment.variables)

    def _absent(self) -> str:
        return ": no --fileflow-env was given" if self.environment is None else ""

    def may_stand_in(self, text: str, flows: Sequence[Any]) -> bool:
        """Return whether a variable may stand in the text of some flows, beyond those of runs where runs take them.

        Most flows have some of these and no others, and need not be gone through.
        """
        if "\\" in text:  # an escape may hide any character
            return True
        count = text.count("${")
        return count != 0 and count != sum(_of_runs_in(flow) for flow in flows)


def _below(fields: Any, key: str) -> Any:
    """Return what holds for a part of a value; all of a template's parts are templates, too."""
    return fields if fields is None or callable(fields) else fields.get(key)


def _shown(value: Scalar | None) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(text: str) -> Scalar:
    """Return a text as the number or truth value that it spells, else as it is."""
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else _WORDS.get(text, text)


@functools.cache
def _is_no_text(path: Path) -> bool:
    """Return whether the schema takes only numbers or truth values at a path of a flow."""
    return path in flow_schema.paths_without_text()


def _of_runs_in(flow: Any) -> int:
    """Return how many names of runs stand in a flow where runs take them; 0 where others stand beside them."""
    transfer, testdata = flow.get("transfer"), flow.get("testdata")
    count = 0
    if type(transfer) is dict:
        count += _names_in(transfer.get("payload"), RUN_VARIABLES)
        trigger = transfer.get("trigger_file")
        if type(trigger) is dict:
            count += _names_in(trigger.get("name"), RUN_VARIABLES) + _names_in(trigger.get("content"), RUN_VARIABLES)
    if type(testdata) is dict and "filename" in testdata:
        count += _names_in(testdata["filename"], NAME_VARIABLES)
    return count


def _names_in(value: Any, known: frozenset[str]) -> int:
    if type(value) is str:
        return _count(value, known) if "${" in value else 0
    if type(value) is dict:
        return sum(_names_in(item, known) for item in value.values())
    return sum(_names_in(item, known) for item in value) if type(value) is list else 0


@functools.lru_cache(maxsize=1024)  # flows have their templates in common
def _count(text: str, known: frozenset[str]) -> int:
    names = template.names_in(text)
    return text.count("${") if "$$" not in text and known.issuperset(names) else 0
