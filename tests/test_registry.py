from __future__ import annotations

import subprocess
import sys

import pytest

from pytest_fileflow.checks import Expected, Sha256Check
from pytest_fileflow.payload import PATTERNS, WHOLE, Pattern
from pytest_fileflow.registry import Registry, RegistryError, register_builtin_patterns
from pytest_fileflow.suggest import nearest


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    register_builtin_patterns(registry)
    return registry


def pattern(name: str) -> Pattern:
    return Pattern(name, "bin", lambda run_id, size: iter((bytes(size),)), lambda size: None)


def sha256(options, expected):
    return Sha256Check(expected)


def test_the_built_in_patterns_are_all_there(registry):
    assert registry.pattern_names() == ("csv", "empty", "fixed", "fixedwidth", "jsonl", "random", "seed")
    assert [registry.pattern_for(each.name) for each in (*PATTERNS, *WHOLE)] == [*PATTERNS, *WHOLE]


def test_what_is_registered_is_found_under_its_name(registry):
    zeros = pattern("zeros")
    registry.payload(zeros)
    registry.check("again", sha256)
    assert registry.pattern_for("zeros") is zeros
    assert registry.check_for("again") is sha256
    assert "zeros" in registry.pattern_names()
    assert registry.check_names() == ("again",)
    assert isinstance(registry.check_for("again")({}, Expected(0, "")), Sha256Check)


def test_what_is_registered_later_shows_in_views_taken_before(registry):
    sizes, checks = registry.size_problems(), registry.checks()
    zeros = pattern("zeros")
    registry.payload(zeros)
    registry.check("rows", sha256)
    assert sizes["zeros"] == zeros.size_problem
    assert set(sizes) == set(registry.pattern_names())
    assert set(checks) == {"rows"}


def test_registries_do_not_share_names():
    first, second = Registry(), Registry()
    first.check("rows", sha256)
    assert second.check_names() == ()


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda r: r.payload(pattern("csv")), "payload pattern 'csv' is registered already"),
        (lambda r: r.check("rows", sha256), "check 'rows' is registered already"),
        (lambda r: r.check("", sha256), "a check cannot be registered without a name"),
    ],
)
def test_a_name_stands_for_one_thing_only(registry, register, message):
    registry.check("rows", sha256)
    with pytest.raises(RegistryError, match=message):
        register(registry)
    assert registry.pattern_for("csv") in PATTERNS, "the first one must stay"


@pytest.mark.parametrize(
    ("look_up", "message"),
    [
        (
            lambda r: r.pattern_for("CVS"),
            (
                "unknown payload pattern 'CVS'; did you mean 'csv'? "
                "(registered: csv, empty, fixed, fixedwidth, jsonl, random, seed)"
            ),
        ),
        (lambda r: r.check_for("rows"), "unknown check 'rows' (registered: none)"),
    ],
)
def test_an_unknown_name_is_an_error_that_names_the_nearest(registry, look_up, message):
    with pytest.raises(RegistryError) as caught:
        look_up(registry)
    assert str(caught.value) == message
    assert isinstance(caught.value, ValueError)


def test_the_nearest_name_is_found_whatever_its_case():
    assert nearest("s3", ["SFTP", "S3"]) == "S3"
    assert nearest("quite different", ["SFTP", "S3"]) is None
    assert nearest("x", []) is None


def test_importing_brings_no_third_party_module_along():
    program = (
        "import sys; before = set(sys.modules)\n"
        "from pytest_fileflow import checks, payload, registry, template\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(tops - set(sys.stdlib_module_names) - {'pytest_fileflow'}))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.strip() == "[]"
