"""Transforms: tasks write the rows of their queries to their tables."""

from pathlib import Path

import duckdb
import pytest
from engine_help import Sandbox, make

OVERWRITE = "  writeStrategy: { type: OVERWRITE }\n"


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    box = make(tmp_path)
    box.execute(
        "create schema src",
        "create table src.t as select * from (values (1, 'Ann', 10.5), (2, 'Bob', 20.0), (3, null, null)) v(id, name, amount)",
    )
    return box


def transform(box: Sandbox, name: str, *more: str, check: bool = True, **env: str) -> str:
    return box.run("transform", "--name", name, *more, check=check, env=env).reason or ""


def test_rows_are_appended_by_default(box: Sandbox) -> None:
    box.task("kpi.out", "select id, upper(name) as name from src.t")
    transform(box, "kpi.out")
    result = box.run("transform", "--name", "KPI.Out")
    assert result.row_count == 6
    assert result.metadata["starlake/rows_written"] == 3
    assert box.rows("select distinct id, name from kpi.out order by id") == [(1, "ANN"), (2, "BOB"), (3, None)]


def test_variables_options_and_environments_are_replaced_in_sql(box: Sandbox) -> None:
    box.write(
        {
            "metadata/env.sl.yml": "version: 1\nenv:\n  limit_id: 2\n  who: global\n",
            "metadata/env.DEV.sl.yml": "version: 1\nenv:\n  who: dev\n",
        }
    )
    sql = "select {{ limit_id }} as a, '${who}' as b, '{{ undefined_one }}' as c, '{{ extra }}' as d, '{{ sl_date }}' <> '' as e\n"
    box.task("kpi.vars", sql + "{% if who == 'dev' %}, 'is dev' as f{% endif %}", OVERWRITE)
    transform(box, "kpi.vars", "--options", "extra=x1,limit_id=9")
    assert box.rows("select * from kpi.vars") == [(9, "global", "", "x1", True)]
    box.execute("drop table kpi.vars")
    transform(box, "kpi.vars", SL_ENV="DEV")
    assert box.rows("select * from kpi.vars") == [(2, "dev", "", "", True, "is dev")]


def test_options_that_the_yaml_uses_change_the_task(box: Sandbox) -> None:
    box.task("kpi.where", "select 1 as x", "  table: out_{{ region }}\n")
    transform(box, "kpi.where", "--options", "region=eu")
    transform(box, "kpi.where", "--options", "region=us")
    assert box.rows("select table_name from duckdb_tables() where schema_name = 'kpi' order by 1") == [("out_eu",), ("out_us",)]


def test_presql_and_postsql_can_use_the_table(box: Sandbox) -> None:
    box.task(
        "kpi.out",
        "-- SL_PRESQL\ndelete from kpi.out where id = 1;\ncreate table if not exists log (what varchar);\n"
        "-- SL_SQL\nselect * from src.t;\n-- SL_POSTSQL\ninsert into log select 'rows ' || count(*) from out",
        "  presql: [\"insert into kpi.log values ('pre {{ who }}')\"]\n  postsql: [\"insert into kpi.log values ('post; done')\"]\n",
    )
    box.write({"metadata/env.sl.yml": "version: 1\nenv:\n  who: me\n"})
    transform(box, "kpi.out")
    transform(box, "kpi.out")
    assert box.rows("select what from kpi.log") == [
        ("pre me",), ("post; done",), ("rows 3",), ("pre me",), ("post; done",), ("rows 5",),
    ]  # fmt: skip


def test_a_failing_statement_after_the_query_leaves_everything_as_it_was(box: Sandbox) -> None:
    box.task("kpi.out", "select 1 as x", "  postsql: ['insert into no.such values (1)']\n")
    reason = transform(box, "kpi.out", check=False)
    assert "metadata/transform/kpi/out.sl.yml:3: " in reason
    assert "insert into no.such values (1)" in reason
    assert box.rows("select table_name from duckdb_tables() where schema_name = 'kpi'") == []
    assert box.rows("select success, step, message like '%no.such%' from audit.audit") == [(False, "TRANSFORM", True)]


@pytest.mark.parametrize(
    ("sql", "place", "said"),
    [
        ("select id,\n       nosuch\nfrom src.t", "out.sql:2:8", 'Referenced column "nosuch" not found'),
        ("select id\nfrom src.t\nwhere and", "out.sql:3:7", "syntax error"),
        ("-- a comment\n  select 1 as x,\n  cast(name as int) as n from src.t", "out.sql:3:3", "Could not convert string 'Ann' to INT32"),
        ("select *\nfrom sales.orders", "out.sql:2:6", "loading sales.orders would create it, but finds nothing"),
        ("select *\n\nfrom  kpi.other", "out.sql:3:7", "the task kpi.other creates it: run transform --name kpi.other first"),
        (
            "{% for i in [1, 2] %}select {{ i }} as i union all {% endfor %}\nselect nope",
            "out.sql:2:8",
            'Referenced column "nope" was not found',
        ),
    ],
)
def test_an_error_names_file_line_column_statement_and_what_makes_a_missing_table(box: Sandbox, sql: str, place: str, said: str) -> None:
    box.table("sales", "orders", "{ name: id, type: long }")
    box.task("kpi.other", "select 1 as x")
    box.task("kpi.out", sql)
    reason = transform(box, "kpi.out", check=False)
    assert f"metadata/transform/kpi/{place}: " in reason
    assert said in reason
    assert sql.splitlines()[-1].strip() in reason


def test_several_statements_without_markers_are_an_error(box: Sandbox) -> None:
    box.task("kpi.out", "insert into src.log values (1);\nselect 1 as x;")
    reason = transform(box, "kpi.out", check=False)
    assert "metadata/transform/kpi/out.sql:2: task kpi.out has 2 statements where one query is expected" in reason


@pytest.mark.parametrize("yaml", [None, "  sink: { materializedView: VIEW }\n", "  parseSQL: false\n"])
def test_comments_end_where_starlake_removes_them(box: Sandbox, yaml: str | None) -> None:
    # Starlake removes comments before DuckDB, where they nest, sees them.
    made = "create or replace table kpi.out as " if yaml and "parseSQL" in yaml else ""
    box.task("kpi.out", f"/* a /* b; */ {made}select 1 as x /* /* ; 'c */, '/* /* ; ' as y -- /* \n", yaml)
    transform(box, "kpi.out")
    assert box.rows("select x, y from kpi.out") == [(1, "/* /* ; ")]
    box.task("kpi.out", f"/* a /* b */ */ {made}select 2 as x", yaml)
    reason = transform(box, "kpi.out", check=False)
    assert "metadata/transform/kpi/out.sql:1" in reason
    assert 'syntax error at or near "*/"' in reason
    assert box.rows("select x from kpi.out") == [(1,)]


def test_transaction_statements_in_sql_are_rejected(box: Sandbox) -> None:
    box.task("kpi.out", "select 1 as x", '  presql: ["commit"]\n')
    assert "COMMIT cannot be used" in transform(box, "kpi.out", check=False)
    box.task("kpi.out", "-- SL_SQL\nselect 1 as x\n-- SL_POSTSQL\nbegin")
    assert "metadata/transform/kpi/out.sql:4:1: BEGIN cannot be used" in transform(box, "kpi.out", check=False)


def test_sql_that_writes_its_own_tables(box: Sandbox) -> None:
    box.task(
        "kpi.own", "create or replace table kpi.a as select 42 as x;\ncreate or replace table b as select 1 as y", "  parseSQL: false\n"
    )
    result = box.run("transform", "--name", "kpi.own")
    assert result.row_count is None
    assert box.rows("select x, y from kpi.a, kpi.b") == [(42, 1)]


def test_names_without_a_schema_are_searched_in_the_tasks_domain_first(box: Sandbox) -> None:
    box.task("base.totals", "select 5 as n")
    box.task("kpi.out", "select n from Totals")
    transform(box, "base.totals")
    transform(box, "kpi.out")
    assert box.rows("select n from kpi.out") == [(5,)]
    box.execute("create table kpi.totals as select 7 as n")
    transform(box, "kpi.out")
    assert box.rows("select n from kpi.out order by n") == [(5,), (7,)]


def test_a_name_that_may_be_several_tables_is_an_error(box: Sandbox) -> None:
    box.task("one.totals", "select 1 as n")
    box.task("two.totals", "select 2 as n")
    box.task("kpi.out", "select n\nfrom totals")
    reason = transform(box, "kpi.out", check=False)
    assert "metadata/transform/kpi/out.sql:2: 'totals' is ambiguous: write one.totals or two.totals" in reason


def test_tasks_create_and_replace_views(box: Sandbox) -> None:
    box.task("kpi.v", "select * from src.t", "  sink: { materializedView: VIEW }\n")
    result = box.run("transform", "--name", "kpi.v")
    assert result.row_count is None
    box.task("kpi.v", "select id from src.t", "  sink: { materializedView: VIEW }\n")
    transform(box, "kpi.v")
    assert box.rows("select * from kpi.v order by 1") == [(1,), (2,), (3,)]
    box.task("kpi.v", "select id from src.t")
    assert "kpi.v is a view, but the task creates a table" in transform(box, "kpi.v", check=False)
    box.task("kpi.m", "select id from src.t", "  sink: { materializedView: MATERIALIZED_VIEW }\n")
    reason = transform(box, "kpi.m", check=False)
    assert "metadata/transform/kpi/m.sl.yml:3: task kpi.m: DuckDB has no materialized views" in reason


def test_names_without_a_schema_work_in_views(box: Sandbox) -> None:
    box.task("base.totals", "select 5 as n")
    box.task("kpi.own", "select 1 as n")
    box.task("kpi.v", "with c as (select n from Totals) select c.n + own.n as n from c, own", "  sink: { materializedView: VIEW }\n")
    for name in ("base.totals", "kpi.own", "kpi.v"):
        transform(box, name)
    assert box.rows("select n from kpi.v") == [(6,)]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        # DuckDB 2 looks for the pattern anywhere in the text.
        ("select id from x where a ~ 'b'", [(2,)] if duckdb.__version__ < "2" else [(1,), (2,)]),
        ("select max(id) from x", [(2,)]),
        ("select 'from x' as \"from x\", /* from x */ count(*) from x -- from x", [("from x", 2)]),
        ("from x select id order by id limit 1", [(1,)]),
        ("with x as (select 9 as id) select id from x", [(9,)]),
        ("with y as (select id from x), x as (select 8 as id) select (select max(id) from y), id from x", [(2, 8)]),
        ("select (with x as (select 7 as id) select id from x) as seven, count(*) from x", [(7, 2)]),
        ("with recursive x as (select 1 as n union all select n + 1 from x where n < 3) select max(n) from x", [(3,)]),
        ("select x.id from X, (select 1) as é where x.a = 'b' and x.id in (select id from \"x\")", [(2,)]),
        ("select x from x order by x limit 1", [({"id": 1, "a": "abc"},)]),
    ],
)
def test_a_view_returns_the_same_rows_as_its_query(box: Sandbox, query: str, rows: list[tuple[object, ...]]) -> None:
    box.execute("create or replace table src.x as select * from (values (1, 'abc'), (2, 'b')) v(id, a)")
    box.table("src", "x", "{ name: id, type: long }")
    box.task("kpi.v", query, "  sink: { materializedView: VIEW }\n").task("kpi.t", query)
    transform(box, "kpi.v")
    transform(box, "kpi.t")
    assert box.rows("select * from kpi.v") == rows
    assert box.rows("select * from kpi.t") == rows
    names = "select column_name from duckdb_columns() where schema_name = 'kpi' and table_name = '%s' order by column_index"
    assert box.rows(names % "v") == box.rows(names % "t")


def test_a_view_whose_query_cannot_be_parsed_must_name_domains(box: Sandbox) -> None:
    box.execute("create or replace table src.x as select 1 as id")
    box.table("src", "x", "{ name: id, type: long }")
    box.task("kpi.v", "select id from x positional join (select 2 as n) order by all", "  sink: { materializedView: VIEW }\n")
    result = box.run("transform", "--name", "kpi.v", check=False)
    assert result.exit_code == 0 or "write x with their domains" in (result.reason or "")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"metadata/refs.sl.yml": "version: 1\nrefs:\n  - input: { table: a }\n    output: { table: b }\n"},
            "metadata/refs.sl.yml: refs, which replace table names",
        ),
        (
            {"metadata/transform/kpi/out.sl.yml": "version: 1\ntask:\n  database: other\n"},
            "out.sl.yml:3: task kpi.out: database 'other' is not supported",
        ),
    ],
)
def test_unsupported_keys_are_rejected_with_their_location(box: Sandbox, files: dict[str, str], said: str) -> None:
    box.task("kpi.out", "select 1 as x").write(files)
    result = box.run("transform", "--name", "kpi.out", check=False)
    assert said in (result.reason or "")
    assert not result.retry


def test_a_table_is_never_replaced_by_a_view(box: Sandbox) -> None:
    box.task("kpi.v", "select 1 as x")
    transform(box, "kpi.v")
    box.task("kpi.v", "select 1 as x", "  sink: { materializedView: VIEW }\n")
    assert "kpi.v is a table, but the task creates a view" in transform(box, "kpi.v", check=False)
    assert box.rows("select x from kpi.v") == [(1,)]


def test_columns_are_matched_by_name(box: Sandbox) -> None:
    box.task("kpi.out", "select 1 as id, 'a' as name", OVERWRITE)
    transform(box, "kpi.out")
    box.task("kpi.out", "select 'b' as NAME, 2 as ID", OVERWRITE)
    transform(box, "kpi.out")
    assert box.rows("select id, name from kpi.out") == [(2, "b")]


@pytest.mark.parametrize("strategy", ["OVERWRITE", "UPSERT_BY_KEY, key: [id]", "APPEND"])
def test_a_query_that_does_not_fit_its_table_changes_nothing_and_explains_the_fix(box: Sandbox, strategy: str) -> None:
    yaml = f"  writeStrategy: {{ type: {strategy} }}\n"
    box.task("kpi.out", "select 1 as id, 'a' as name", yaml)
    transform(box, "kpi.out")
    box.task("kpi.out", "select 2 as id, 'b' as name, 1.5 as extra", yaml)
    reason = transform(box, "kpi.out", check=False)
    assert "the query returns 'extra', which kpi.out does not have" in reason
    assert 'ALTER TABLE "kpi"."out" ADD COLUMN "extra" DECIMAL(2,1)' in reason
    box.task("kpi.out", "select 3 as id", yaml)
    reason = transform(box, "kpi.out", check=False)
    if strategy == "APPEND":
        assert box.rows("select * from kpi.out order by id") == [(1, "a"), (3, None)]
    else:
        assert "kpi.out has 'name', which the query does not return" in reason
        assert box.rows("select * from kpi.out") == [(1, "a")]


def test_a_task_that_reads_its_own_table(box: Sandbox) -> None:
    box.task("kpi.incr", "select coalesce(max(n), 0) + 1 as n from kpi.incr")
    assert "the task kpi.incr creates it" in transform(box, "kpi.incr", check=False)
    box.execute("create schema kpi", "create table kpi.incr (n int)")
    transform(box, "kpi.incr")
    transform(box, "kpi.incr")
    assert box.rows("select n from kpi.incr order by n") == [(1,), (2,)]
    box.task("kpi.incr", "select n * 10 as n from incr union all select 0", OVERWRITE)
    transform(box, "kpi.incr")
    assert box.rows("select n from kpi.incr order by n") == [(0,), (10,), (20,)]
    box.execute("create view src.through as select * from kpi.incr")
    box.task("kpi.incr", "select n + 1 as n from src.through", OVERWRITE)
    transform(box, "kpi.incr")
    assert box.rows("select n from kpi.incr order by n") == [(1,), (11,), (21,)]


def test_a_task_with_scd2_keeps_versions(box: Sandbox) -> None:
    box.task(
        "kpi.hist",
        "select id, name, id as ts from src.t",
        "  writeStrategy: { type: SCD2, key: [id], timestamp: ts, startTs: since, endTs: until }\n",
    )
    transform(box, "kpi.hist")
    box.execute("update src.t set name = 'Zoe' where id = 1")
    transform(box, "kpi.hist")
    assert box.rows("select id, name, since is not null, until from kpi.hist order by id") == [
        (1, "Ann", True, None), (2, "Bob", True, None), (3, None, True, None),
    ]  # fmt: skip
    box.execute("alter table kpi.hist drop column until")
    reason = transform(box, "kpi.hist", check=False)
    assert 'kpi.hist lacks the columns of SCD2: run ALTER TABLE "kpi"."hist" ADD COLUMN "until" TIMESTAMP' in reason


def test_settings_that_cannot_work_name_their_line(box: Sandbox) -> None:
    box.task("kpi.out", "select 1 as id", "  writeStrategy:\n    type: UPSERT_BY_KEY\n    key: [nosuch]\n")
    assert "metadata/transform/kpi/out.sl.yml" in transform(box, "kpi.out", check=False)
    box.task("kpi.out", "select 1 as id", "  sink: { partition: [day] }\n  writeStrategy: { type: OVERWRITE_BY_PARTITION }\n")
    assert "unknown column in the partition of OVERWRITE_BY_PARTITION, 'day'" in transform(box, "kpi.out", check=False)


def test_unknown_and_python_tasks_are_errors(box: Sandbox) -> None:
    box.task("kpi.out", "select 1 as x")
    box.write({"metadata/transform/kpi/model.py": "print(1)\n"})
    assert "Invalid task name kpi.ou: unknown task 'kpi.ou' (did you mean 'kpi.out'?)" in transform(box, "kpi.ou", check=False)
    assert "task kpi.model is Python" in transform(box, "kpi.model", check=False)


def test_a_task_in_another_database_file_reads_from_the_first(box: Sandbox) -> None:
    box.task("kpi.main", "select id from src.t", OVERWRITE)
    box.task("far.out", "select id * 2 as id from kpi.main", "  connectionRef: second\n")
    box.task("far.sunk", "select 8 as x", "  sink: { connectionRef: second }\n")
    for name in ("kpi.main", "far.out", "far.sunk"):
        transform(box, name)
    assert box.rows("select id from far.out order by id", "second.db") == [(2,), (4,), (6,)]
    assert box.rows("select x from far.sunk", "second.db") == [(8,)]
    assert box.rows("select schema_name from duckdb_schemas() where schema_name = 'far'") == []
    assert box.rows('select domain, "schema" from audit.audit order by 2') == [("kpi", "main"), ("far", "out"), ("far", "sunk")]


def test_recursive_runs_what_a_task_reads_first_and_stops_at_a_failure(box: Sandbox) -> None:
    box.task("kpi.a", "select 1 as x").task("kpi.b", "select x + 1 as x from kpi.a").task(
        "kpi.c", "select b.x + a.x as x from kpi.b, kpi.a"
    )
    box.run("transform", "--name", "kpi.c", "--recursive")
    assert box.rows("select x from kpi.c") == [(3,)]
    assert box.rows("select count(*) from kpi.a") == [(1,)]
    assert box.out[:2] == ["Building dependency tree for task kpi.c...", "kpi.c"]
    box.task("kpi.b", "select nosuch as x from kpi.a")
    result = box.run("transform", "--name", "kpi.c", "--recursive", check=False)
    assert result.exit_code == 1
    assert box.rows("select count(*) from kpi.c") == [(1,)]


def test_interactive_prints_rows_instead_of_writing_them(box: Sandbox) -> None:
    box.task("kpi.out", "select id, name, amount > 15 as high from src.t order by id")
    box.run("transform", "--name", "kpi.out", "--interactive", "csv")
    assert box.out == ["id,name,high", "1,Ann,false", "2,Bob,true", "3,NULL,NULL"]
    box.run("transform", "--name", "kpi.out", "--interactive", "json-array", "--pageSize", "1", "--pageNumber", "2")
    assert box.out == ['[{"id": "2", "name": "Bob", "high": "true"}]']
    box.run("transform", "--name", "kpi.out", "--interactive", "table")
    assert box.out[3] == "| 1  | Ann  | false |"
    box.run("transform", "--name", "kpi.out", "--compile")
    assert box.out == ["select id, name, amount > 15 as high from src.t order by id;"]
    assert box.rows("select count(*) from duckdb_tables() where schema_name = 'kpi'") == [(0,)]


def test_truncate_empties_the_table_first(box: Sandbox) -> None:
    box.task("kpi.out", "select 1 as x")
    for _ in range(3):
        transform(box, "kpi.out", "--truncate", "true")
    assert box.rows("select x from kpi.out") == [(1,)]


def test_expectations_of_a_task_are_recorded(box: Sandbox) -> None:
    box.write(
        {"metadata/expectations/default.j2": "{% macro nulls(col) %}select count(*) from sl_this where {{ col }} is null{% endmacro %}\n"}
    )
    box.task("kpi.out", "select id, name from src.t", "  expectations: [{ expect: \"nulls('id')\" }, { expect: \"nulls('name')\" }]\n")
    result = box.run("transform", "--name", "kpi.out")
    assert [(o.expect, o.success, o.violations) for o in result.expectations] == [("nulls('id')", True, 0), ("nulls('name')", False, 1)]
    assert [o.violations for o in box.run("transform", "--name", "kpi.out").expectations] == [0, 2]
    result = box.run("transform", "--name", "kpi.out", check=False, env={"SL_EXPECTATIONS_FAIL_ON_ERROR": "true"})
    assert result.exit_code == 1
    assert "nulls('name'): 3 violation(s)" in (result.reason or "")
    assert box.rows("select count(*) from kpi.out") == [(6,)]
    assert len(result.expectations) == 2
    assert box.rows("select count(*) from audit.expectations") == [(6,)]


def test_settings_changed_by_a_task_do_not_reach_the_next_one(box: Sandbox) -> None:
    box.task("kpi.first", "select 1 as x", '  presql: ["set threads = 3", "set memory_limit = \'123MB\'"]\n')
    box.task("kpi.second", "select current_setting('memory_limit') as m")
    transform(box, "kpi.first")
    transform(box, "kpi.second")
    ((limit,),) = box.rows("select m from kpi.second")
    assert limit not in ("123.0 MB", "117.3 MiB")


def test_an_expectation_must_name_sl_this_in_lower_case(box: Sandbox) -> None:
    macros = "{% macro upper() %}select count(*) from SL_THIS{% endmacro %}"
    macros += "{% macro both() %}select count(*) from sl_this a, SL_THIS b where false{% endmacro %}"
    box.write({"metadata/expectations/default.j2": macros})
    box.task("kpi.out", "select 1 as x", "  expectations: [{ expect: 'upper()' }, { expect: 'both()' }]\n")
    upper, both = box.run("transform", "--name", "kpi.out").expectations
    assert "write sl_this" in (upper.error or "")
    assert both.success
