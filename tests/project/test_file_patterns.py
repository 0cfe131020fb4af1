"""Java's regular expressions for file names."""

import pytest

from starlake_dagster_components.project.file_patterns import compile_pattern


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("orders.*.csv", "orders-1.csv", "orders.json"),
        ("orders", "orders", "orders.csv"),
        (r"a\.csv", "a.csv", "abcsv"),
        (r"\Qa.b+c\E-\d{4}", "a.b+c-2024", "aXb+c-2024"),
        (r"(?<day>\d{8})_\k<day>\.csv", "20240101_20240101.csv", "20240101_20240102.csv"),
        (r"[\p{Alpha}_]+\.csv", "ab_c.csv", "1.csv"),
        (r"\p{Lu}\p{IsAlphabetic}*", "Abc", "abc"),
        (r"\P{Digit}+", "abc", "a1"),
        ("[^.]+", "abc", "a.b"),
        ("[]a]+", "]a", "b"),
        ("a|b", "b", "ab"),
        ("(?i)ORDERS.csv", "orders.CSV", "items.csv"),
        ("x(?i)abc(d)", "xABCD", "Xabcd"),
        ("(?i)a|b", "B", "c"),
        ("(a(?i)b)c", "aBc", "aBC"),
        ("(?u)a", "a", "A"),
        (r"a\z", "a", "b"),
        (r"x*+y", "xxy", "xx"),
        (r"x{1,2}+y", "xxy", "xxx"),
        (r"\++\d++", "+1", "1"),
        (r"\h?a", "\ta", "ba"),
        ("a~b|c", "a~b", "ab"),
        ("[a-c&]+", "a&", "d"),
    ],
)
def test_a_pattern_must_match_the_whole_name(pattern: str, matching: str, other: str) -> None:
    compiled = compile_pattern(pattern)
    assert compiled.fullmatch(matching)
    assert not compiled.fullmatch(other)


def test_classes_are_ascii_as_in_java() -> None:
    assert not compile_pattern(r"\d+").fullmatch("١٢")
    assert not compile_pattern(r"\w+").fullmatch("é")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("*.csv", "nothing to repeat at position 1"),
        ("orders(.csv", "missing \\), unterminated subpattern"),
        ("orders).csv", "unbalanced parenthesis"),
        ("[abc", "the \\[ at position 1 is not closed"),
        ("[a-z&&[^b]]", "&&"),
        ("[a[bc]]", "nested character class"),
        (r"\p{InGreek}", "not supported"),
        (r"C:\yellow", "unknown escape"),
        ("a{2,1}", "min repeat greater than max repeat"),
        (r"\k<x>", "unknown group name"),
        ("a\\", "bad escape"),
        (r"\k<x", "is not closed"),
    ],
)
def test_invalid_patterns_are_explained(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compile_pattern(pattern)
