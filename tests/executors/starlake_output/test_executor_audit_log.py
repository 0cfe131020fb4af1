"""Audit rows that are read from the log are those that Starlake wrote."""

import json
from pathlib import Path

import pytest

from starlake_dagster_components.executors.starlake_output.audit_log import AuditLines
from starlake_dagster_components.executors.starlake_output.audit_rows import build_audited_name, is_raised_after_commit, parse_file_names
from starlake_dagster_components.executors.starlake_output.log_levels import shorten_exception

CASES = ["expectations_load", "expectations_transform", "load_grouped", "smoke", "transform_features", "types_bad"]


@pytest.mark.parametrize("case", CASES)
def test_rows_of_recorded_commands_are_read_from_the_output(shared: Path, case: str) -> None:
    folder = shared / "oracle/shell"
    lines = AuditLines()
    for command in json.loads((folder / f"{case}.native.json").read_text())["commands"]:
        for line in command["stderr"]:
            lines.take(line)
        lines.close()
    recorded = json.loads((folder / f"{case}.native.audit.json").read_text())
    rows = [dict(zip(recorded["audit"]["columns"], row, strict=True)) for row in recorded["audit"]["rows_in_write_order"]]
    assert [(r.domain, r.table, r.step, str(r.success), r.message, r.files, tuple(map(str, r.counts))) for r in lines.rows] == [
        (
            r["DOMAIN"],
            r["SCHEMA"],
            r["STEP"],
            r["SUCCESS"],
            r["MESSAGE"],
            parse_file_names(r["PATHS"]) if r["STEP"] == "LOAD" else (),
            (r["COUNT"], r["COUNTACCEPTED"], r["COUNTREJECTED"]),
        )
        for r in rows
    ]
    noted = recorded.get("expectations", {"columns": [], "rows_in_write_order": []})
    expectations = [dict(zip(noted["columns"], row, strict=True)) for row in noted["rows_in_write_order"]]
    assert [(e.domain, e.table, e.call, str(e.result.success), e.result.sql) for e in lines.expectations] == [
        (r["DOMAIN"], r["SCHEMA"], r["PARAMS"], r["SUCCESS"], r["SQL"]) for r in expectations
    ]
    errors = [(e.result.error, r["EXCEPTION"]) for e, r in zip(lines.expectations, expectations, strict=True) if r["EXCEPTION"]]
    for shown, recorded_error in errors:
        assert shown
        assert shown.startswith(
            "Invalid Input Error: Attempting to execute an unsuccessful or closed pending query result Error: Binder Error"
        )
        assert "\tat " in recorded_error
        assert "ai.starlake" not in shown, "no stack"


def test_several_rows_of_one_statement_and_the_words_of_other_databases() -> None:
    lines = AuditLines()
    for line in (
        "26/11/28 21:41:22 INFO JdbcDbUtils$: Running JDBC SQL with id 1: INSERT INTO audit.audit SELECT",
        "  'j' AS JOBID, 'file:/x/a,1.csv,file:/x/b.csv' AS PATHS, 'd' AS DOMAIN, 't' AS SCHEMA, TRUE AS SUCCESS, 5 AS COUNT, "
        "4 AS COUNTACCEPTED,",
        "  1 AS COUNTREJECTED, TO_TIMESTAMP('2026-11-28 21:41:22.0', 'YYYY-MM-DD HH24:MI:SS') AS TIMESTAMP, 'success' AS MESSAGE, "
        "'LOAD' AS STEP",
        "UNION ALL",
        "SELECT 'j' AS JOBID, 'file:/x/c.csv' AS PATHS, 'd' AS DOMAIN, 't' AS SCHEMA, false AS SUCCESS, 0 AS COUNT, "
        "'no ''rows' AS MESSAGE, 'LOAD' AS STEP",
        "26/11/28 21:41:22 INFO JdbcDbUtils$: 2 records affected",
        "  'j' AS JOBID, 'not a statement' AS PATHS, 'LOAD' AS STEP",
    ):
        lines.take(line)
    assert [(r.files, r.success, r.counts) for r in lines.rows] == [
        (("a,1.csv", "b.csv"), True, (5, 4, 1)),
        (("c.csv",), False, (0, -1, -1)),
    ]


@pytest.mark.parametrize(
    ("exception", "shown"),
    [
        ("java.lang.Exception: java.lang.Exception: 1 Expectations failed", "1 Expectations failed"),
        ("java.lang.Exception: java.sql.SQLException: Conversion Error: no number", "Conversion Error: no number"),
        ("java.lang.ClassNotFoundException: org.nosuch.Driver", "ClassNotFoundException: org.nosuch.Driver"),
        (
            "java.lang.RuntimeException: java.lang.NoClassDefFoundError: org/apache/spark/SparkConf",
            "NoClassDefFoundError: org/apache/spark/SparkConf",
        ),
        ("java.util.NoSuchElementException: orders", "NoSuchElementException: orders"),
        ("java.lang.Exception: org.nosuch.Driver", "org.nosuch.Driver"),
        ("java.lang.NullPointerException", "java.lang.NullPointerException"),
        ("x.y.Z: it broke \tat ai.starlake.A.b(A.scala:1) \tat ai.starlake.C.d(C.scala:2)", "it broke"),
        ("look at this (and that)", "look at this (and that)"),
    ],
)
def test_the_message_of_an_exception(exception: str, shown: str) -> None:
    assert shorten_exception(exception) == shown


def test_exceptions_after_the_commit() -> None:
    assert is_raised_after_commit("java.lang.Exception: 12 Expectations failed")
    assert is_raised_after_commit("x \tat ai.starlake.job.metrics.ExpectationJob.runExpectations(ExpectationJob.scala:165)")
    assert not is_raised_after_commit("java.sql.SQLException: Conversion Error: CSV Error on Line: 2")
    assert build_audited_name("o'brien.csv") == "o-brien.csv"
