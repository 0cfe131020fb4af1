"""Tables in functions, models, scripts before the query, and SQL with missing names."""

import re

import pytest
from project_folder import ProjectFolder

from starlake_dagster_components.project.reader import read_project
from starlake_dagster_components.project.sql.references import find_created_tables, find_references


@pytest.mark.parametrize(
    ("dialect", "sql", "tables"),
    [
        ("bigquery", "select * from ml.predict(model `ds.m`, (select * from sales.orders))", ["sales.orders"]),
        ("bigquery", "select * from ml.predict(model ds.m, table sales.orders)", ["sales.orders"]),
        ("bigquery", "select * from ml.forecast(model ds.m, struct(3 as horizon))", []),
        ("bigquery", "load data into ds.t from files (format='CSV', uris=['gs://b/f.csv'])", []),
        ("snowflake", "select * from identifier('sales.orders') o join x.y on true", ["sales.orders", "x.y"]),
        ("snowflake", "select * from table(identifier('sales.orders'))", ["sales.orders"]),
        ("", "select * from identifier('sales.orders')", ["sales.orders"]),
        ("duckdb", "select * from query_table('sales.orders')", ["sales.orders"]),
        ("duckdb", "select * from query_table(['a.b', 'c.d'])", ["a.b", "c.d"]),
        ("duckdb", "describe select * from sales.orders", ["sales.orders"]),
        ("duckdb", "describe sales.orders", []),
        ("snowflake", "show tables in schema sales; select id from sales.orders", ["sales.orders"]),
        ("duckdb", "show tables from sales", []),
        ("postgres", "select a into temp t from sales.orders; select * from t", ["sales.orders"]),
        ("tsql", "select a into #t from sales.orders; select * from #t", ["sales.orders"]),
        ("duckdb", "selec a from x.y, z.w group by x.a, y.b order by q.r, s.t", ["x.y", "z.w"]),
        ("spark", "selec a from x.y distribute by x.a, y.b sort by q.r, s.t", ["x.y"]),
    ],
)
def test_tables_in_functions_models_and_scripts_are_found(dialect: str, sql: str, tables: list[str]) -> None:
    references, _ = find_references(sql, dialect, "x.sql")
    assert [reference.text for reference in references] == tables


@pytest.mark.parametrize(
    ("sql", "tables", "message"),
    [
        ("select *\nfrom .loan", [], "x.sql:2: warning: the name before '.loan' is missing: is a variable empty?"),
        (
            "select * from x.y join  on a = b",
            ["x.y"],
            "x.sql:1: warning: the statement cannot be parsed as duckdb SQL (no table after JOIN: is a variable empty?); "
            "tables "
            "were found by a scan: x.y",
        ),
        (
            "select 1;\nselect *\nfrom ; select 2",
            [],
            "x.sql:3: warning: the statement cannot be parsed as duckdb SQL (no table after FROM: is a variable empty?); "
            "a scan found no tables",
        ),
        (
            "select a from x.y join",
            ["x.y"],
            "x.sql:1: warning: the statement cannot be parsed as duckdb SQL (no table after JOIN: is a variable empty?); "
            "tables were found by a scan: x.y",
        ),
        (
            "create table",
            [],
            "x.sql:1: warning: the statement cannot be parsed as duckdb SQL (Expected table name but got the end of the statement); "
            "a scan found no tables",
        ),
        (
            "select 1 from a.b\n/* open",
            ["a.b"],
            "x.sql:2: warning: the comment that begins here is not closed: the rest of the SQL is part of it",
        ),
    ],
)
def test_missing_table_names_are_reported(sql: str, tables: list[str], message: str) -> None:
    references, problems = find_references(sql, "duckdb", "x.sql")
    assert [reference.text for reference in references] == tables
    assert [str(problem) for problem in problems] == [message]


@pytest.mark.parametrize(
    "sql",
    [
        "/* " * 60_000 + "select * from a.b",
        "select 1 /* x " * 30_000,
        "select '" * 20_001,
        "select " + "(" * 3000 + "1" + ")" * 3000 + " from a.b",
        "select a from b.c where x in (" + ",".join(map(str, range(60_000))) + ") $$",
        "{{ " * 50_000,
        "-- " * 60_000 + "\nfrom",
    ],
)
def test_messages_about_large_or_broken_sql_are_short(sql: str) -> None:
    _, problems = find_references(sql, "duckdb", "x.sql")
    assert all(len(problem.message) < 500 and "Token" not in problem.message.replace("Unexpected token", "") for problem in problems)


def test_tables_that_the_statements_before_create(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/transform/kpi/t.sql",
        "-- SL_PRESQL\ncreate or replace temp table Work.Recent as select * from sales.orders;\ncreate view seen as select 1\n"
        "-- SL_SQL\nselect * from work.recent join seen using (a) join mine on true join sales.items using (id)\n",
    )
    folder.write("metadata/transform/kpi/t.sl.yml", "version: 1\ntask: {presql: [create table if not exists mine (i int)]}\n")
    (task,) = read_project(folder.root, environ={}).tasks
    assert [reference.text for reference in task.references] == ["sales.items"]


def test_names_of_created_tables() -> None:
    script = (
        'create table a(i int); create or replace temporary view `b.c` as select 1; drop table x; create table if not exists d."e" (i int)'
    )
    assert find_created_tables(script) == {("a",), ("b.c",), ("d", "e")}


@pytest.mark.parametrize("sql", ["select a from x.y where <<< b ( group by a", "select * from ml.predict(model x.y, (select 1))"])
def test_messages_have_no_names_of_the_parsers_classes(sql: str) -> None:
    _, (problem,) = find_references(sql, "duckdb", "x.sql")
    assert re.search(r"SQL \((something is missing|Expecting \)|it is not valid SQL)", problem.message)
    assert "Predict" not in problem.message
    assert "Bitwise" not in problem.message
