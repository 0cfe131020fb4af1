"""YAML as Starlake reads it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starlake_dagster_components.errors import Location
from starlake_dagster_components.project.yaml_source import Positions, YamlError, parse_yaml, resolve_plain_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("true", True),
        ("TRUE", True),
        ("False", False),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("+3", "+3"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        ("1.5", 1.5),
        ("1.10", "1.10"),
        ("12:30:00", "12:30:00"),
        ("2024-01-01", "2024-01-01"),
        (".", "."),
        ("-", "-"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
    ],
)
def test_plain_values_follow_yaml_1_2_and_strings_keep_their_spelling(text: str, value: object) -> None:
    found = resolve_plain_value(text)
    assert found == value
    assert type(found) is type(value)


def test_on_is_read_as_a_string_key() -> None:
    assert parse_yaml("table:\n  metadata:\n    writeStrategy: {on: TARGET}", "table").data == {
        "table": {"metadata": {"writeStrategy": {"on": "TARGET"}}}
    }


def test_quoted_values_are_strings() -> None:
    assert parse_yaml("a: 'true'\nb: \"12\"\nc: !!str 3\nd: !!int '4'\ne: |\n  7\n", "x").data == {
        "a": "true",
        "b": "12",
        "c": "3",
        "d": 4,
        "e": "7\n",
    }


def test_lines_of_keys_are_counted_below_the_root_key() -> None:
    text = (
        "---\nversion: 1\ntable:\n  name: x\n  metadata: {format: DSV,\n    sink: {format: y}}\n  attributes:\n  - name: a\n  -\n"
        "    name: b\n"
    )
    document = parse_yaml(text, "table")
    assert document.lines == {
        "version": 2,
        "": 3,
        "name": 4,
        "metadata": 5,
        "metadata.format": 5,
        "metadata.sink": 6,
        "metadata.sink.format": 6,
        "attributes": 7,
        "attributes[0]": 8,
        "attributes[0].name": 8,
        "attributes[1]": 10,
        "attributes[1].name": 10,
    }


def test_duplicate_keys_are_reported_with_both_lines_and_the_last_one_is_used() -> None:
    document = parse_yaml("task:\n  a: 1\n  b: {c: 1, c: 2}\n  a: 3\n", "task")
    assert document.duplicates == [("b.c", 3, 3), ("a", 2, 4)]
    assert document.data["task"]["a"] == 3


def test_only_the_first_document_is_read() -> None:
    document = parse_yaml("a: 1\n---\nb: 2\n", "a")
    assert (document.data, document.more) == ({"a": 1}, 3)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: b: c", 1, "mapping values are not allowed"),
        ("a:\n  - 1\n  b: 2\n", 3, "did not find expected '-' indicator"),
        ("a: 1\n\tb: 2", 2, "tab character"),
        ("\ta: 1", 1, "does not allow tabs"),
        ("a: [1, 2\nb: 3\n", 2, "did not find expected ',' or ']'"),
        ("a: 'open\n\n", 3, "that begins on line 1"),
        ("x: 1\na: {{ b }}\n", 2, "quote a value that begins with {"),
        ("a: b\x00c", 1, "control characters are not allowed"),
        ("x: 1\na: *nobody", 2, "undefined alias"),
        ("a: %x", 1, "cannot start any token"),
        ("[" * 5000, 1, "nested too deeply"),
        ("- " * 5000 + "x", 1, "nested too deeply"),
        ("? " * 5000 + "x", 1, "nested too deeply"),
        ("a: 1\nb: &x [*x]", 2, "nested too deeply"),
    ],
)
def test_invalid_yaml_is_located(text: str, line: int, words: str) -> None:
    with pytest.raises(YamlError) as error:
        parse_yaml(text, "table")
    assert words in str(error.value)
    assert error.value.line == line


def test_nested_aliases_that_expand_exponentially_are_rejected() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    with pytest.raises(YamlError, match="too large"):
        parse_yaml(text, "table")


@pytest.mark.parametrize(
    ("text", "line"),
    [("x: 1\n" * 300_000, 100_000), ("- a\n" * 400_000, 200_000), ("a: [" + "b," * 300_000 + "]", 1), ("- [a]\n" * 150_000, 100_000)],
)
def test_the_line_at_which_a_document_has_too_many_values(text: str, line: int) -> None:
    with pytest.raises(YamlError, match="is too large: it has more than 200,000 keys and values") as error:
        parse_yaml(text, "table")
    assert abs(error.value.line - line) <= 1


def test_a_large_second_document_is_not_read() -> None:
    document = parse_yaml("a: 1\n---\n" + "x: 1\n" * 150_000, "table")
    assert document.data == {"a": 1}
    assert document.more == 3


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab:-[]{},'\"|>&*!%#?\n \t~1.é\x07", max_size=60))
def test_any_string_is_parsed_or_raises_a_yaml_error(text: str) -> None:
    line = 1
    try:
        parse_yaml(text, "a")
    except YamlError as error:
        line = error.line
    assert 1 <= line <= text.count("\n") + 2


def test_positions_of_own_keys_override_inherited_ones() -> None:
    positions = Positions("t.yml", {"a": 1, "b.c": 2}).inherit({"b.c": Location("d.yml", 9), "b.d": Location("d.yml", 10)})
    assert positions["b.c"] == Location("t.yml", 2)
    assert positions["b.d"] == Location("d.yml", 10)
    assert sorted(positions) == ["a", "b.c", "b.d"]
    assert len(positions) == 3
    assert positions.select_under(["b"]) == {"b.c": Location("t.yml", 2), "b.d": Location("d.yml", 10)}
    assert positions.select_below("b")["c"] == Location("t.yml", 2)
