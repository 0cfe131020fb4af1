"""SQL that is nested deeply never crashes the process, whatever Python's recursion limit is."""

import subprocess
import sys

import pytest

from starlake_dagster_components.project.sql.nesting import MAX_NESTING, is_nested_too_deeply


@pytest.mark.parametrize(
    ("sql", "deep"),
    [
        ("select 1", False),
        ("select " + "(" * MAX_NESTING + "1" + ")" * MAX_NESTING, False),
        ("select " + "(" * (MAX_NESTING + 1) + "1" + ")" * (MAX_NESTING + 1), True),
        ("select " + ", ".join("f(x)" for _ in range(5000)), False),
        ("{{ " * 50_000, True),
        ("select [" * 300, True),
        ("select " + "not " * 300 + "true", True),
        ("select " + "- " * 300 + "1", True),
        ("-" * 5000 + "\nselect 1", False),
        ("-- " * 5000 + "\nselect 1", False),
    ],
)
def test_deep_nesting_is_recognized(sql: str, deep: bool) -> None:
    assert is_nested_too_deeply(sql) == deep


SCRIPT = """
import sys
sys.setrecursionlimit(200_000)
from starlake_dagster_components.lineage.parsed_query import UnsupportedQuery
from starlake_dagster_components.lineage.statement import find_columns
from starlake_dagster_components.project.sql.references import find_references

for sql in ("{{ " * 50_000, "select " + "(" * 30_000 + "1" + ")" * 30_000, "select " + "not " * 30_000 + "true",
            "select " + "- " * 30_000 + "1"):
    find_references(sql, "duckdb", "x.sql")
    try:
        find_columns(sql, "duckdb", lambda *names: None)
    except UnsupportedQuery:
        continue
    raise SystemExit("understood")
"""


def test_a_raised_recursion_limit_does_not_crash_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
