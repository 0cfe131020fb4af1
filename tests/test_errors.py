"""Messages: long values are cut."""

import pytest

from starlake_dagster_components.errors import InvalidSetting, Location, Problem, ProblemList, cut_values, join_with


def test_short_messages_stay_as_they_are() -> None:
    assert cut_values("unknown type 'strnig' (did you mean 'string'?)") == "unknown type 'strnig' (did you mean 'string'?)"


@pytest.mark.parametrize("quote", ["'", '"'])
def test_long_values_are_cut_at_their_end(quote: str) -> None:
    message = f"unknown type {quote}{'x y' * 1000}{quote}, expected a name"
    cut = cut_values(message)
    assert cut.startswith(f"unknown type {quote}x yx y")
    assert cut.endswith(f"...{quote} (3,000 characters), expected a name")
    assert len(cut) < 200


def test_long_words_are_cut() -> None:
    assert cut_values("the file " + "a" * 3000 + " does not exist") == "the file " + "a" * 100 + "... (3,000 characters) does not exist"


def test_a_value_is_cut_at_199_characters_and_more() -> None:
    assert cut_values(f"'{'x' * 199}' is too long") == f"'{'x' * 199}' is too long"
    assert "200 characters" in cut_values(f"'{'x' * 200}' is too long")


def test_words_are_joined_as_in_a_sentence() -> None:
    joined = [join_with("and", words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])]
    assert joined == ["", "a", "a and b", "a, b, and c"]


def test_lists_and_lines_are_not_values() -> None:
    message = "\n".join(f"  metadata/load/shop/t{number}.sl.yml:1: 'a' is not a duration" for number in range(100))
    assert cut_values(message) == message


def test_problems_and_errors_have_short_values() -> None:
    value = "v" * 3000
    assert len(Problem(Location("x"), "error", f"'{value}' is not a duration").message) < 200
    assert len(str(InvalidSetting(f"timezone: '{value}' is unknown"))) < 200


@pytest.mark.parametrize("value", ["OVERWRITE" + "'" * 30_000, "a 'b' \"c\" " * 30_000])
def test_problems_with_long_values_are_short(value: str) -> None:
    message = Problem(Location("x"), "error", f"unknown type '{value}'").message
    assert message.startswith("unknown type '")
    assert message.endswith(" more characters)")
    assert len(message) < 2100


def test_only_the_first_problems_of_a_file_are_recorded() -> None:
    problems = ProblemList()
    problems.extend(Problem(Location("a.yml", line), "warning", f"odd {line}") for line in range(1, 1001))
    problems.append(Problem(Location("a.yml", 2000), "error", "wrong"))
    problems.append(Problem(Location("b.yml", 1), "warning", "odd"))
    problems.append(Problem(None, "warning", "odd"))
    assert [str(problem) for problem in problems[198:]] == [
        "a.yml:199: warning: odd 199",
        "a.yml:200: warning: odd 200",
        "a.yml:201: warning: the file has more than 200 warnings; the rest are not shown",
        "a.yml:2000: wrong",
        "b.yml:1: warning: odd",
        "warning: odd",
    ]
    assert problems.is_full("a.yml")
    assert not problems.is_full("b.yml")
