"""Puts values in place of ``${name}`` in the strings of a JSON value."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import TYPE_CHECKING, NoReturn

from pytest_fileflow.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class UnknownVariable(ValueError):
    """A template uses a variable that has no value here; ``name`` is the one, ``known`` are those that do.

    A ``${`` that is never closed counts as the variable named by the rest of the text, with the
    brace before it (``{run_id.csv``), which no variable can be called.
    """

    def __init__(self, name: str, known: Iterable[str]):
        self.name = name
        self.known = tuple(sorted(known))
        super().__init__(_problem(name, self.known))


def _problem(name: str, known: tuple[str, ...]) -> str:
    if name.startswith("{"):
        return f'"${name}" is not closed by "}}"; write "$${{" for a literal "${{"'
    meant = nearest(name, known)
    if meant is not None:
        return f'unknown variable "${{{name}}}"; did you mean "${{{meant}}}"?'
    choice = ", ".join(f"${{{each}}}" for each in known) or "none"
    return f'unknown variable "${{{name}}}"; known here: {choice}'


class _Braced(Template):
    # The plain form ($x) must stay as it is, so its pattern takes only what can be no variable:
    # a brace that is opened and never closed. Anything else without braces is left alone.
    idpattern = r"\{[^{}]*(?:(?=\{)|\Z)"
    braceidpattern = r"[^{}]*"


class _Known(dict[str, str]):
    def __missing__(self, name: str) -> NoReturn:
        # No KeyError, which Template.safe_substitute would answer by leaving the text as it is.
        raise UnknownVariable(name, self)


def substitute(value: object, variables: Mapping[str, str]) -> object:
    """Return a JSON value with every ``${name}`` in its strings replaced, and ``$$`` made a dollar.

    Names may hold dots. Keys of objects, and a ``$`` before anything else, stay as they are.
    What is put in is not read again.

    Raises UnknownVariable for a name that ``variables`` does not have, or a ``${`` without end.
    """
    known = _Known(variables)
    return _mapped(value, lambda text: _Braced(text).safe_substitute(known))


def _mapped(value: object, change: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mapped(item, change) for item in value]
    return value


def names_in(value: object) -> tuple[str, ...]:
    """Return the variables that a JSON value's strings use, each once, in the order they appear.

    A ``${`` without end is listed too (see UnknownVariable), so that whoever compares the names
    with those that exist finds it.
    """
    return tuple(dict.fromkeys(name for text in _strings(value) for name in _names(text)))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple, Mapping)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(item)


def _names(text: str) -> Iterator[str]:
    for match in _Braced.pattern.finditer(text):
        names = (match["braced"], match["named"])
        yield from (name for name in names if name is not None)
