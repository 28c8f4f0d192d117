"""What ``testdata`` must keep to beyond its shape, where it says how bytes are made: options, wrappings, a seed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_fileflow.config import nearby
from pytest_fileflow.config.build import SEED
from pytest_fileflow.config.findings import Finding, quoted
from pytest_fileflow.model import Variant, Wrap
from pytest_fileflow.payload import fields as tables
from pytest_fileflow.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pytest_fileflow.model import TestData

_OF_CSV = ("delimiter", "quote")
_NOT_OF_SEEDS = ("size_bytes", "sizes", "pattern")


def findings(testdata: Mapping[str, Any], folder: Path | None) -> Iterator[Finding]:
    """Yield what is wrong with the options of a file's bytes; paths begin at ``testdata``. No size is judged here.

    Where the schema has something to say, nothing is added.
    """
    form = testdata.get("pattern", "random")
    yield from _of_options(testdata, form)
    if SEED in testdata:
        yield from _of_seed(testdata, folder)
    elif form == SEED:
        yield Finding(("pattern",), "a seed is no pattern: name the file, as in seed: seeds/sample.csv")
    if form in tables.FORMATS and any(key in testdata for key in tables.OPTIONS):
        from pytest_fileflow.config.table_rules import of_table

        yield from of_table(testdata, form)
    yield from _of_wraps(testdata, folder)


def _of_options(testdata: Mapping[str, Any], form: object) -> Iterator[Finding]:
    for key in tables.OPTIONS:
        if key not in testdata or not isinstance(form, str):
            continue
        if form not in tables.FORMATS:
            what = "a seed" if SEED in testdata else f"pattern {quoted(form)}"
            yield Finding((key,), f"{key} is for the patterns {_listed(tables.FORMATS)}, not for {what}", at_key=True)
        elif key in _OF_CSV and form != "csv":
            yield Finding((key,), f"{key} is for the pattern csv, not for {form}", at_key=True)
        elif key == "header" and form == "jsonl":
            yield Finding((key,), "header is for the patterns csv and fixedwidth: jsonl has none", at_key=True)


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _of_seed(testdata: Mapping[str, Any], folder: Path | None) -> Iterator[Finding]:
    for key in _NOT_OF_SEEDS:
        if key in testdata:
            yield Finding((key,), f"a seed is sent as it is: leave {key} out", at_key=True)
    name = testdata[SEED]
    if isinstance(name, str) and not name.startswith("s3://"):
        yield from _missing(name, (SEED,), folder)


def with_options(testdata: TestData, config: Mapping[str, Any], folder: Path | None) -> TestData:
    """Return test data with the options of its bytes: plain JSON values, which are all that it takes to make them."""
    variants, pattern = testdata.variants, testdata.pattern
    options = {key: config[key] for key in tables.OPTIONS if key in config}
    if SEED in config:
        pattern, options = SEED, {SEED: config[SEED]}
        found = nearby.find(config[SEED], folder) if folder is not None else None
        if found is not None:
            options["path"] = str(found.absolute())
        variants = (Variant(SEED, found.stat().st_size if found is not None else 0, is_nominal=True),)
    wrap = tuple(_wrap(each, folder) for each in config.get("wrap", ()))
    awkward = tuple(config.get("awkward", ()))
    return replace(testdata, variants=variants, pattern=pattern, options=options, wrap=wrap, awkward=awkward)


def _wrap(config: str | Mapping[str, Any], folder: Path | None) -> Wrap:
    if isinstance(config, str):
        return Wrap(config)
    if "public_key_file" in config and folder is not None:
        return Wrap(config["name"], {"public_key": key_text(config["public_key_file"], folder)})
    return Wrap(config["name"], {key: value for key, value in config.items() if key == "public_key"})


def _missing(name: str, path: tuple[str | int, ...], folder: Path | None) -> Iterator[Finding]:
    if folder is None or nearby.find(name, folder) is not None:
        return
    near = nearest(name, nearby.names_like(name, folder))
    hint = f"; did you mean {quoted(near)}?" if near else ""
    yield Finding(path, f"there is no file {quoted(name)} {nearby.looked_in(folder)}{hint}")


def _of_wraps(testdata: Mapping[str, Any], folder: Path | None) -> Iterator[Finding]:
    wraps = testdata.get("wrap")
    for index, wrap in enumerate(wraps if isinstance(wraps, list) else ()):
        options = wrap if isinstance(wrap, dict) else {}
        name, path = options.get("name", wrap), ("wrap", index)
        if name == "pgp":
            yield from _of_key(options, path, folder)
        elif name in ("gzip", "zip"):
            for key in ("public_key", "public_key_file"):
                if key in options:
                    yield Finding((*path, key), f"{key} is for pgp, not for {name}", at_key=True)


def _of_key(options: Mapping[str, Any], path: tuple[str | int, ...], folder: Path | None) -> Iterator[Finding]:
    from pytest_fileflow.payload.pgp_key import KeyProblem, recipient

    text, file = options.get("public_key"), options.get("public_key_file")
    if text is None and file is None:
        yield Finding(path, "pgp needs public_key_file or public_key: the key to encrypt to")
        return
    key = "public_key" if file is None else "public_key_file"
    if isinstance(file, str) and folder is not None:
        missing = [*_missing(file, (*path, key), folder)]
        yield from missing
        text = None if missing else key_text(file, folder)
    if isinstance(text, str):
        try:
            recipient(text)
        except KeyProblem as error:
            yield Finding((*path, key), str(error) if file is None else f"{quoted(str(file))} {error}")


def key_text(name: str, folder: Path) -> str:
    """Return the text of a file beside a config; what is no text is shown as what it is not."""
    found = nearby.find(name, folder)
    return found.read_text(encoding="utf-8", errors="replace") if found is not None else ""


def size_problem_of(testdata: Mapping[str, Any]) -> Callable[[int], str | None] | None:
    """Return what says whether a size can be made with these options; None where the pattern alone does."""
    form = testdata.get("pattern")
    options = {key: testdata[key] for key in tables.OPTIONS if key in testdata}
    if form not in tables.FORMATS or not options:
        return None
    from pytest_fileflow.payload.tables import table_pattern

    return table_pattern(form, options).size_problem
