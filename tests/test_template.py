from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_fileflow.template import UnknownVariable, names_in, substitute

NAMES = st.from_regex(r"[a-z_]+(\.[a-z_]+)?", fullmatch=True)
LITERALS = st.text(st.characters(exclude_characters="$", exclude_categories=["Cs"]), max_size=8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${a}", "1"),
        ("x${a}y${b.c}z", "x1y2z"),
        ("${a}${a}", "11"),
        ("$a stays, $5 too, and a lone $", "$a stays, $5 too, and a lone $"),
        ("$$", "$"),
        ("$${a}", "${a}"),
        ("$$${a}", "$1"),
        ("}{ {a} {", "}{ {a} {"),
        ("line\n${a}\n", "line\n1\n"),
        ("", ""),
    ],
)
def test_only_the_braced_form_and_the_doubled_dollar_mean_something(text, expected):
    assert substitute(text, {"a": "1", "b.c": "2"}) == expected


def test_every_string_of_a_json_value_is_replaced_and_keys_and_other_values_are_left():
    value = {"${a}": ["${a}", {"deep": "<${a}>"}, 7, 1.5, True, None], "plain": "x"}
    assert substitute(value, {"a": "1"}) == {"${a}": ["1", {"deep": "<1>"}, 7, 1.5, True, None], "plain": "x"}
    assert value["${a}"][0] == "${a}", "the value handed in must not change"


def test_what_is_put_in_is_not_read_again():
    assert substitute("${a}", {"a": "${b} $$", "b": "no"}) == "${b} $$"


@pytest.mark.parametrize(
    ("text", "known", "message"),
    [
        ("${run_ID}", ("run_id", "file.name"), 'unknown variable "${run_ID}"; did you mean "${run_id}"?'),
        (
            "${file.nam}",
            ("run_id", "file.name"),
            'unknown variable "${file.nam}"; did you mean "${file.name}"?',
        ),
        ("${zzz}", ("b", "a"), 'unknown variable "${zzz}"; known here: ${a}, ${b}'),
        ("${a}", (), 'unknown variable "${a}"; known here: none'),
        ("${}", ("ab",), 'unknown variable "${}"; known here: ${ab}'),
        ("${ a }", ("xyz",), 'unknown variable "${ a }"; known here: ${xyz}'),
        ("${a", ("a",), '"${a" is not closed by "}"; write "$${" for a literal "${"'),
        ("x${a${a}", ("a",), '"${a$" is not closed by "}"; write "$${" for a literal "${"'),
    ],
)
def test_an_unknown_variable_is_an_error_that_names_the_nearest(text, known, message):
    with pytest.raises(UnknownVariable) as caught:
        substitute({"deep": [text]}, dict.fromkeys(known, "x"))
    assert str(caught.value) == message
    assert isinstance(caught.value, ValueError)
    assert caught.value.known == tuple(sorted(known))
    assert caught.value.name in names_in(text)


def test_the_names_used_are_listed_once_in_their_order():
    value = {"x": "${b} ${a} $c $${d}", "${key}": ["${b}", {"y": "${source.key}"}, 3]}
    assert names_in(value) == ("b", "a", "source.key")


@given(st.lists(st.tuples(LITERALS, NAMES)), LITERALS, st.data())
def test_a_text_made_of_literals_and_variables_becomes_their_values(parts, tail, data):
    variables = {name: data.draw(st.text(max_size=8)) for _, name in parts}
    text = "".join(f"{literal}${{{name}}}" for literal, name in parts) + tail
    expected = "".join(f"{literal}{variables[name]}" for literal, name in parts) + tail
    assert substitute(text, variables) == expected
    assert set(names_in(text)) == set(variables)


@given(st.text())
def test_doubled_dollars_shield_any_text(text):
    shielded = text.replace("$", "$$")
    assert substitute(shielded, {}) == text
    assert names_in(shielded) == ()


@given(st.text(st.sampled_from("${}ab.")))
def test_a_text_can_be_substituted_exactly_if_all_its_names_are_known(text):
    known = {"a": "1", "b": "2", "a.b": "3"}
    if set(names_in(text)) <= set(known):
        assert isinstance(substitute(text, known), str)
    else:
        with pytest.raises(UnknownVariable):
            substitute(text, known)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_characters="$")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_a_value_without_variables_stays_what_it_is(value):
    assert substitute(value, {"a": "1"}) == value
    assert names_in(value) == ()
