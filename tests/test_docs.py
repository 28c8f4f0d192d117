"""What the operator's guide says is there: its causes, links, commands, options, variables and alarms."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
import click
import pytest
from botocore import xform_name

from pytest_fileflow.aws.listing import Request
from pytest_fileflow.causes import CAUSES
from pytest_fileflow.cli import COMMANDS, main

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
MODULE = ROOT / "deploy" / "terraform"
EXAMPLE = MODULE / "examples" / "complete"
PARTS = ("**Seen**:", "**Usually**:", "```sh\n", "**Do**:", "**Tell**:")

# Commands of the AWS CLI that are no operation of a service's API, and their options.
OF_THE_CLI = {
    ("s3", "ls"): {"recursive"},
    ("s3", "cp"): {"recursive"},
    ("s3", "sync"): {"delete"},
    ("logs", "tail"): {"since", "filter-pattern", "follow"},
    ("sns", "subscribe"): {"topic-arn", "protocol", "notification-endpoint"},
}
OF_ALL = {"query", "output", "region", "max-items", "endpoint-url"}


def blocks(text: str, language: str = "sh") -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [block.replace("\\\n", " ") for _, block in found]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command in the code of a page, also of those within ``$( )`` and in running text."""
    lines = [line for block in blocks(text) for line in block.splitlines()]
    prose = re.sub(r"^( *)```\w*\n.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)
    lines += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    for line in lines:
        yield from words(line)


def words(line: str) -> Iterator[list[str]]:
    for inner in re.findall(r"\$\((.*?)\)", line):
        yield from words(inner)
    lexer = shlex.shlex(re.sub(r"\$\(.*?\)", "X", line), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        told = list(lexer)
    except ValueError:
        return  # a piece of prose with an apostrophe
    command: list[str] = []
    for word in [*told, ";"]:
        if re.fullmatch(r"[|&;()]+", word):
            if command:
                yield command
            command = []
        elif command or not re.match(r"(\w+=|export$|until$|\[$|do$)", word):
            command.append(word)


def options(command: list[str]) -> list[str]:
    return [word.partition("=")[0] for word in command if re.match(r"--\w", word)]


def named(program: str) -> list[tuple[str, list[str]]]:
    return [
        (f"{page}: {' '.join(command)}", command[1:])
        for page, text in PAGES.items()
        for command in commands(text)
        if command[0] == program and len(command) > 1
    ]


def slug(title: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", title)
    return re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-")


def anchors(text: str) -> list[str]:
    return [
        slug(title)
        for title in re.findall(r"^#{1,6} (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    ]


def test_every_cause_has_a_section_and_every_section_is_of_a_cause():
    assert sorted(re.findall(r"^### `(.+)`$", PAGES["causes.md"], re.MULTILINE)) == sorted(CAUSES)


def test_every_section_says_what_to_do():
    sections = re.split(r"^### ", PAGES["causes.md"], flags=re.MULTILINE)[1:]
    for section in sections:
        places = [section.find(part) for part in PARTS]
        assert -1 not in places, section.splitlines()[0]
        assert places == sorted(places), section.splitlines()[0]


def test_every_cause_is_linked_in_the_table_of_its_page():
    head = PAGES["causes.md"].split("\n## ")[0]
    linked = re.findall(r"\[`([^`]+)`\]\(#([\w-]+)\)", head)
    assert sorted(cause for cause, _ in linked) == sorted(CAUSES)
    assert all(anchor == slug(cause) for cause, anchor in linked)


def test_no_page_has_two_headings_of_one_anchor():
    for page, text in PAGES.items():
        assert len(set(anchors(text))) == len(anchors(text)), page


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL))
    assert links
    for link in links:
        if "://" in link:
            assert link.startswith("https://"), link
            continue
        name, _, anchor = link.partition("#")
        target = ROOT / "docs" / (name or page)
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_the_index_names_every_page():
    assert set(re.findall(r"\]\((\w[\w-]*\.md)\)", PAGES["README.md"])) == set(PAGES) - {"README.md"}


def helps(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return the help of every command of fileflow."""
    found = {}
    for module in COMMANDS:
        command = module.command
        below = list(command.commands) if isinstance(command, click.Group) else []
        for way in ((command.name,), *((command.name, name) for name in below)):
            assert main([*way, "--help"]) == 0
            found[" ".join(way)] = capsys.readouterr().out
    return found


def test_every_command_of_fileflow_that_is_named_exists_with_its_options(capsys):
    known = helps(capsys)
    found = named("fileflow")
    assert len(found) > 30
    for where, command in found:
        if command[0] == "--version":
            continue
        way = next((way for way in (" ".join(command[:2]), command[0]) if way in known), None)
        assert way is not None, where
        for option in options(command):
            assert re.search(rf"{option}\b", known[way]), where


def test_every_option_of_pytest_that_is_named_exists(pytester):
    known = set(re.findall(r"--[a-z-]+", pytester.runpytest_inprocess("--help").stdout.str()))
    used = {option for text in PAGES.values() for option in re.findall(r"--fileflow-[a-z-]+", text)}
    assert used
    assert used <= known
    for where, command in named("pytest"):
        assert set(options(command)) <= known, where


def test_every_command_of_aws_that_is_named_exists_with_its_options():
    session = botocore.session.get_session()
    found = named("aws")
    assert len(found) > 60
    for where, command in found:
        if len(command) < 2:
            continue  # a service that is spoken of
        service, operation = command[:2]
        allowed = OF_THE_CLI.get((service, operation))
        if allowed is None:
            allowed = members(session, service, operation, where)
        unknown = {option.removeprefix("--") for option in options(command)} - allowed - OF_ALL
        assert not unknown, f"{where}: {unknown}"


def members(session: Any, service: str, operation: str, where: str) -> set[str]:
    """Return the options of an operation: the members of its input."""
    name = {"s3api": "s3"}.get(service, service)
    assert name in session.get_available_services(), where
    model = session.get_service_model(name)
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in operations, where
    shape = model.operation_model(operations[operation]).input_shape
    return {xform_name(name, "-") for name in shape.members} if shape else set()


def test_the_commands_are_taken_apart_as_a_shell_does():
    line = 'A=1 aws s3 ls "$X" | grep "a|b" && fileflow history "$(terraform output -raw results)" --since 1d'
    assert list(words(line)) == [
        ["terraform", "output", "-raw", "results"],
        ["aws", "s3", "ls", "$X"],
        ["grep", "a|b"],
        ["fileflow", "history", "X", "--since", "1d"],
    ]


def test_the_inputs_of_executions_are_taken():
    told = re.findall(r"`(\{(?:\"[^`]*)?\})` \|", PAGES["daily.md"])
    told += [text for page in PAGES.values() for text in re.findall(r"--input '(\{[^']*\})'", page)]
    assert len(told) > 10
    for text in told:
        Request.parse(json.loads(text))


@pytest.mark.parametrize("name", ["cost.py", "package.py"])
def test_the_scripts_that_are_named_have_the_options(name):
    script = ROOT / "deploy" / name
    if not script.exists():
        pytest.skip(f"there is no deploy/{name}")
    found = [command for where, command in named("python") if command[0] == f"deploy/{name}"]
    assert found
    text = script.read_text(encoding="utf-8")
    for command in found:
        assert all(f'"{option}"' in text for option in options(command)), command


needs_the_module = pytest.mark.skipif(not (MODULE / "variables.tf").exists(), reason="the Terraform module is not here")


def declared(kind: str, *folders: Path) -> set[str]:
    """Return the names of variables or outputs."""
    texts = [(folder / f"{kind}s.tf").read_text(encoding="utf-8") for folder in folders]
    return {name for text in texts for name in re.findall(rf'^{kind} "(\w+)"', text, re.MULTILINE)}


@needs_the_module
def test_every_variable_that_is_named_is_one_of_the_module_or_of_its_example():
    known = declared("variable", MODULE, EXAMPLE)
    table = PAGES["daily.md"].split("| the flow has | grows |")[1].split("\n\n")[0]
    used = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.rpartition(" | ")[2])}
    used |= {name for text in PAGES.values() for name in re.findall(r"`(\w+) = ", text)}
    used |= {name for text in PAGES.values() for name in re.findall(r"-var (\w+)=", text)}
    assert len(used) > 15
    assert used <= known, used - known


@needs_the_module
def test_the_variables_of_a_stage_are_those_of_the_example():
    (block,) = blocks(PAGES["deploy.md"], "hcl prod.tfvars")
    assert set(re.findall(r"^(\w+) +=", block, re.MULTILINE)) <= declared("variable", EXAMPLE)


@needs_the_module
def test_every_output_that_is_named_is_one_of_the_example():
    used = {name for text in PAGES.values() for name in re.findall(r"terraform output (?:-raw )?(\w+_?\w*)`?", text)}
    used |= {name for text in PAGES.values() for name in re.findall(r"the output `(\w+)`", text)}
    assert len(used - {"in"}) > 4
    assert used - {"in"} <= declared("output", EXAMPLE), used


@needs_the_module
def test_every_alarm_that_is_named_is_one_of_the_module():
    text = (MODULE / "alarms.tf").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`NAME-.*?) \|", PAGES["daily.md"], re.MULTILINE)
    used = [name for row in rows for name in re.findall(r"`NAME-([a-z-]+)", row)]
    assert len(used) > 8
    assert [name for name in used if not re.search(rf"\b{name.strip('-')}\b", text)] == []
