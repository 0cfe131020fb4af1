"""The bounds in pyproject.toml. ``make test-matrix`` tests the lowest versions."""

import re
import sys
from pathlib import Path

import pytest
import version_matrix

REPOSITORY = Path(__file__).resolve().parent.parent


def test_every_requirement_has_a_lowest_version() -> None:
    pinned = version_matrix.pin_lowest(version_matrix.read_requirements())
    names = [pin.partition("==")[0] for pin in pinned]
    assert {"dagster", "dagster-webserver", "duckdb", "sqlglot", "click", "watchfiles", "google-cloud-run", "psycopg[binary]"} <= set(names)
    assert len(names) == len(set(names))


def test_a_requirement_without_a_lowest_version_is_an_error() -> None:
    with pytest.raises(ValueError, match="'rich' has no lower bound"):
        version_matrix.pin_lowest(["click>=8.2", "rich"])


def test_packages_of_dagster_have_equal_bounds() -> None:
    bounds = {r.partition(">=")[0]: r.partition(">=")[2] for r in version_matrix.read_requirements()}
    assert bounds["dagster"] == bounds["dagster-webserver"]


def test_the_tests_of_the_short_suite_exist() -> None:
    missing = [path for path in version_matrix.list_tests() if not (REPOSITORY / path).exists()]
    assert missing == []


def test_interpreters_match_the_classifiers() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(r"Python :: (3\.\d+)", text)
    assert named == ["3.10", "3.11", "3.12", "3.13"]
    assert 'requires-python = ">=3.10"' in text
    assert sys.version_info >= (3, 10)


def test_every_combination_is_listed() -> None:
    found = [str(combination) for combination in version_matrix.list_combinations(["python3.10", "python3.13"])]
    assert found == [
        "python3.10, lowest versions",
        "python3.10, newest versions",
        "python3.13, lowest versions",
        "python3.13, newest versions",
    ]
