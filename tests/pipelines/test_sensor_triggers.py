"""Expressions of dataset names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starlake_dagster_components.pipelines.sensor_triggers import InvalidTrigger, parse_trigger


def holds(expression: str, *updated: str, watched: tuple[str, ...] = ("a", "b", "c")) -> bool:
    return parse_trigger(expression).holds(lambda name: name in updated, watched)


def test_any_and_all_are_keywords() -> None:
    assert holds("any", "a")
    assert not holds(" ANY ")
    assert holds("all", "a", "b", "c")
    assert not holds("all", "a", "b")
    assert not parse_trigger("all").holds(lambda _: True, ())


def test_and_takes_precedence_over_or() -> None:
    assert holds("a or b and c", "a")
    assert not holds("(a or b) and c", "a")
    assert holds("(a | b) && c", "b", "c")
    assert not holds("a and b or c and a", "b", "c")
    assert parse_trigger("s.orders AND (s.x or s.orders)").names == ("s.orders", "s.x")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("a b", "'b' in 'a b': expected and, or"),
        ("and a", "'and' in 'and a': expected a dataset name"),
        ("a or", "expected any, all, or an expression"),
        ("(a", "unmatched opening parenthesis"),
        ("a)", "unmatched closing parenthesis"),
        ("a ()", "'(' in 'a ()': expected and, or"),
        ("", "expected any, all, or an expression"),
    ],
)
def test_invalid_input_is_explained(expression: str, said: str) -> None:
    with pytest.raises(InvalidTrigger) as error:
        parse_trigger(expression)
    assert said in str(error.value)


_EXPRESSIONS = st.recursive(
    st.sampled_from(["a", "b", "c"]),
    lambda inner: st.one_of(st.builds("({} and {})".format, inner, inner), st.builds("{} or {}".format, inner, inner).map("({})".format)),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(_EXPRESSIONS, st.sets(st.sampled_from(["a", "b", "c"])))
def test_random_expressions_have_the_value_that_python_gives(expression: str, updated: set[str]) -> None:
    expected = eval(expression, {name: name in updated for name in "abc"})
    assert holds(expression, *updated) == expected
