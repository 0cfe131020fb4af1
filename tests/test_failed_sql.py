"""The messages of databases about a statement that failed."""

import pytest

from starlake_dagster_components.failed_sql import find_place, is_permanent, show_statement

STATEMENT = "select a,\n    nosuch,\n    c\nfrom t"


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ('Binder Error: "nosuch" not found!\n\nLINE 2:     nosuch,\n            ^', (2, 5)),
        ("Error\nLINE 2: ...    nosuch,\n               ^", (2, 5)),
        ("Error\nLINE 2: something else\n        ^", (2, None)),
        ('ERROR: column "nosuch" does not exist\n  Position: 15', (2, 5)),
        ("Unrecognized name: nosuch at [2:5]", (2, 5)),
        ("SQL compilation error: error line 2 at position 4\ninvalid identifier 'NOSUCH'", (2, 5)),
        ("You have an error in your SQL syntax; check the manual near 'nosuch' at line 2", (2, None)),
        ("Unknown column 'nosuch' in 'field list'", (None, None)),
    ],
    ids=["duckdb", "duckdb, cut", "duckdb, another statement", "postgres", "bigquery", "snowflake", "mysql", "no place"],
)
def test_the_place_of_an_error_is_found(message: str, place: tuple[int | None, int | None]) -> None:
    assert find_place(message, STATEMENT) == place


def test_a_statement_keeps_its_indentation_and_has_a_caret() -> None:
    assert show_statement(STATEMENT, 2, 5).split("\n") == [
        "    select a,",
        "        nosuch,",
        "        ^",
        "        c",
        "    from t",
    ]


def test_only_the_lines_around_the_error_of_a_long_statement_are_shown() -> None:
    statement = "\n".join(f"line {number}" for number in range(1, 101))
    shown = show_statement(statement, 50, 6).split("\n")
    assert shown[0] == shown[-1] == "    ..."
    assert shown[shown.index("    line 50") + 1] == "         ^"
    assert len(shown) <= 20
    assert show_statement(statement).split("\n")[-2:] == ["    line 20", "    ..."]


@pytest.mark.parametrize(
    ("reason", "permanent"),
    [
        ('Binder Error: Referenced column "nosuch" not found in FROM clause!', True),
        ('Parser Error: syntax error at or near "into"', True),
        ('Invalid Input Error: Could not parse string "abc" according to format specifier "%Y"', True),
        ("Invalid Input Error: Malformed JSON at byte 1 of input: unexpected end of data", True),
        ("Invalid Input Error: Attempting to execute an unsuccessful or closed pending query result\nError: IO Error: disk", False),
        ("ERROR: integer out of range", True),
        ("ERROR: more than one row returned by a subquery used as an expression", True),
        ("Conversion Error: CSV Error on Line: 3 Original Line: x;Bob;20", True),
        ("Constraint Error: NOT NULL constraint failed: t.id", True),
        ("Catalog Error: Table with name incr does not exist!", False),
        ('IO Error: Could not set lock on file "x.db"', False),
        ("TransactionContext Error: Conflict on update!", False),
        ('ERROR: column "nosuch" does not exist', True),
        ('ERROR: relation "src.t" does not exist', False),
        ('ERROR: invalid input syntax for type bigint: "x"', True),
        ("ERROR: deadlock detected", False),
        ("FATAL: sorry, too many clients already", False),
        ("The connection attempt failed.", False),
        ("SQL compilation error: error line 1 at position 7 invalid identifier 'NOSUCH'", True),
        ("SQL compilation error: Object 'SRC.T' does not exist or not authorized.", False),
        ("Unrecognized name: nosuch at [1:8]", True),
        ("Exceeded rate limits: too many table update operations", False),
        ("Unknown column 'nosuch' in 'field list'", True),
        ("Lock wait timeout exceeded; try restarting transaction", False),
        ("Invalid task name kpi.nosuch", True),
        ("the program was ended by SIGKILL, often for lack of memory", False),
        ("java.lang.OutOfMemoryError: Java heap space", False),
        (None, False),
    ],
)
def test_permanent_errors_are_recognized(reason: str | None, permanent: bool) -> None:
    assert is_permanent(reason) == permanent
