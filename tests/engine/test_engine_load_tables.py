"""Loading files: changes of schemas, SQL before and after a load, strategies by file, expectations, and audit."""

import json
from pathlib import Path

import pytest
from engine_help import Sandbox, make

ID_NAME = """{ name: id, type: long }
{ name: name, type: string }"""


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return make(tmp_path)


def test_new_attributes_are_added_and_old_ones_with_values_are_kept(box: Sandbox) -> None:
    box.table("t", "x", ID_NAME)
    box.load("t", {"x.csv": "id;name\n1;Ann\n"})
    box.table(
        "t", "x", "{ name: id, type: long }\n{ name: city, type: string, required: true, comment: where }\n{ name: name, type: string }"
    )
    box.load("t", {"x.csv": "id;city;name\n2;Rome;Bob\n"})
    assert box.rows("select id, name, city from t.x order by id") == [(1, "Ann", None), (2, "Bob", "Rome")]
    result = box.load("t", {"x.csv": "id;city;name\n3;;Cid\n"}, check=False)
    assert "line 2: column 'city': no value, but it is required" in (result.reason or "")
    (box.root / "datasets/ingesting/t/x.csv").unlink()
    box.table("t", "x", "{ name: id, type: long }")
    result = box.load("t", {"x.csv": "id\n4\n"}, check=False)
    assert "t.x has the columns 'name' (2 values), 'city' (1 value)" in (result.reason or "")
    assert 'ALTER TABLE "t"."x" DROP COLUMN' in (result.reason or "")
    assert box.rows("select count(name) from t.x") == [(2,)]


def test_a_column_without_values_is_dropped(box: Sandbox) -> None:
    box.table("t", "x", ID_NAME)
    box.load("t", {"x.csv": "id;name\n1;\n"})
    box.table("t", "x", "{ name: id, type: long }")
    box.load("t", {"x.csv": "id\n2\n"})
    assert box.rows("select column_name from duckdb_columns() where table_name = 'x'") == [("id",)]


def test_a_value_that_does_not_fit_the_table_is_an_error_with_its_line(box: Sandbox) -> None:
    box.table("t", "x", "{ name: id, type: int }")
    box.load("t", {"x.csv": "id\n1\n"})
    box.table("t", "x", "{ name: id, type: long }")
    box.load("t", {"x.csv": "id\n2\n"})
    result = box.load("t", {"x.csv": "id\n3\n3000000000\n"}, check=False)
    assert "line 3: column 'id': '3000000000' is not of type INTEGER, which the column of the table has" in (result.reason or "")
    assert box.rows("select id from t.x order by id") == [(1,), (2,)]


def test_values_are_written_by_name_when_attributes_change_places(box: Sandbox) -> None:
    for strategy in ("OVERWRITE", "UPSERT_BY_KEY, key: [id]"):
        name = strategy.split(",")[0].lower()
        box.table("t", name, ID_NAME, f"format: DSV, writeStrategy: {{ type: {strategy} }}")
        box.load("t", {f"{name}.csv": "id;name\n1;Ann\n"})
        box.table(
            "t", name, "{ name: name, type: string }\n{ name: id, type: long }", f"format: DSV, writeStrategy: {{ type: {strategy} }}"
        )
        box.load("t", {f"{name}.csv": "id;name\n1;Bob\n"})
        assert box.rows(f"select id, name from t.{name}") == [(1, "Bob")]


# SQL around a load


def test_presql_and_postsql_are_part_of_the_load(box: Sandbox) -> None:
    box.execute("create schema t; create table t.log (what varchar)")
    box.table(
        "t",
        "x",
        ID_NAME,
        presql="[\"insert into t.log values ('{{who}}')\"]",
        postsql="[\"insert into log select 'rows ' || count(*) from x\"]",
    )
    box.write({"metadata/env.sl.yml": "version: 1\nenv:\n  who: me\n"})
    box.load("t", {"x.csv": "id;name\n1;a\n"})
    assert box.rows("select what from t.log") == [("me",), ("rows 1",)]
    box.load("t", {"x.csv": "id;name\nx;a\n"}, check=False)
    assert box.rows("select what from t.log") == [("me",), ("rows 1",)]
    box.table("t", "x", ID_NAME, postsql='["insert into nosuch values (1)"]')
    result = box.load("t", {"x.csv": "id;name\n1;a\n"}, check=False)
    assert "metadata/load/t/x.sl.yml:6: Catalog Error: Table with name nosuch does not exist!" in (result.reason or "")
    assert box.rows("select count(*) from t.x") == [(1,)]


def test_the_file_name_chooses_the_write_strategy(box: Sandbox) -> None:
    types = '{ OVERWRITE: \'group("mode") == "FULL"\', APPEND: \'group("mode") == "DELTA" && fileSize > 0\' }'
    box.table("t", "x", ID_NAME, f"format: DSV, writeStrategy: {{ types: {types} }}")
    path = box.root / "metadata/load/t/x.sl.yml"
    box.write({"metadata/load/t/x.sl.yml": path.read_text().replace('pattern: "x.*"', 'pattern: "x-(?<mode>FULL|DELTA|ODD)-.*"')})
    box.load("t", {"x-FULL-1": "id;name\n1;a\n"})
    box.load("t", {"x-DELTA-2": "id;name\n2;b\n"})
    assert box.rows("select id from t.x order by id") == [(1,), (2,)]
    box.load("t", {"x-FULL-3": "id;name\n3;c\n"})
    assert box.rows("select id from t.x") == [(3,)]
    result = box.load("t", {"x-ODD-4": "id;name\n4;c\n"}, check=False)
    assert "no write strategy for x-ODD-4: exactly one condition must be true" in (result.reason or "")


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ('!"".isEmpty == false && (fileSize + 1) * 2 / 3 > 4 % 3', None),
        ('group("n").toInt == 007L || false && true', None),
        ('group("n").startsWith("0") && "a b\\"".length == 4', None),
        ("fileSize", "is '12', which is neither true nor false"),
        ("fileSize / 0 == 1", "cannot be evaluated for x07: "),
        ('group("m") == "1"', "cannot be evaluated for x07: "),
        ("fileSiz > 1", "is not supported by the embedded engine: 'fileSiz' (did you mean 'fileSize'?)"),
        ('group("n").beginsWith("0")', "is not supported by the embedded engine: '.beginsWith' (did you mean "),
        ("fileSize in dayOfWeek", "is not supported by the embedded engine: 'in'"),
        ("__import__", "is not supported by the embedded engine: '__import__'"),
        ("(fileSize > 1", "is not supported by the embedded engine: "),
    ],
)
def test_conditions_of_write_strategies_are_evaluated(box: Sandbox, condition: str, reason: str | None) -> None:
    box.table("t", "x", ID_NAME, f"format: DSV, writeStrategy: {{ types: {{ APPEND: {json.dumps(condition)} }} }}")
    path = box.root / "metadata/load/t/x.sl.yml"
    path.write_text(path.read_text().replace('pattern: "x.*"', 'pattern: "x(?<n>[0-9]+)"'))
    result = box.load("t", {"x07": "id;name\n1;a\n"}, check=False)
    assert (reason or "") in (result.reason or "")
    assert (result.exit_code == 0) == (reason is None)


# Expectations and audit


MACROS = """{% macro is_unique(col) %}
select count(*) from (select {{ col }} from sl_this group by {{ col }} having count(*) > 1) x
{% endmacro %}
{% macro broken() %}select nosuch from sl_this{% endmacro %}
{% macro breaking() %}select cast('x' as int) from sl_this{% endmacro %}
"""


def test_expectations_are_evaluated_once_and_recorded(box: Sandbox) -> None:
    box.write({"metadata/expectations/default.j2": MACROS})
    calls = ["is_unique('id')", "is_unique('name')", "broken()", "breaking()"]
    box.table("t", "x", ID_NAME, expectations="[" + ", ".join(f'{{ expect: "{call}" }}' for call in calls) + "]")
    result = box.load("t", {"x.csv": "id;name\n1;a\n2;a\n"})
    assert [(o.expect, o.success, o.violations) for o in result.expectations] == [
        ("is_unique('id')", True, 0),
        ("is_unique('name')", False, 1),
        ("broken()", False, None),
        ("breaking()", False, None),
    ]
    assert box.rows("select name, success, count from audit.expectations order by rowid") == [
        ('is_unique("id")', True, 0),
        ('is_unique("name")', False, 1),
        ("broken()", False, 0),
        ("breaking()", False, 0),
    ]
    assert box.rows("select count(*) from t.x") == [(2,)]


def test_expectations_that_fail_the_load_leave_no_row_and_keep_the_file(box: Sandbox) -> None:
    box.write({"metadata/expectations/default.j2": MACROS})
    box.table("t", "x", ID_NAME, expectations="[{ expect: \"is_unique('id')\" }]")
    box.table("t", "y", ID_NAME, expectations="[{ expect: \"is_unique('id')\", failOnError: false }]")
    content = "id;name\n1;a\n1;b\n"
    result = box.load("t", {"x.csv": content, "y.csv": content}, check=False, env={"SL_EXPECTATIONS_FAIL_ON_ERROR": "true"})
    assert "1 expectation of t.x failed: is_unique('id'): 1 violation(s)" in (result.reason or "")
    assert box.files("ingesting") == ["t/x.csv"]
    assert box.rows("select schema, success from audit.expectations order by schema") == [("x", False), ("y", False)]
    assert box.rows("select table_name from duckdb_tables() where schema_name = 't'") == [("y",)]


def test_audit_rows_have_the_job_and_date_unless_the_audit_is_off(box: Sandbox) -> None:
    box.table("t", "x", ID_NAME)
    box.load("t", {"x.csv": "id;name\n1;a\n"}, env={"SL_AUDIT_ACTIVE": "false"})
    assert box.rows("select schema_name from duckdb_schemas() where schema_name = 'audit'") == []
    box.stage("t", {"x.csv": "id;name\n1;a\n"})
    box.run("load", "--domains", "t", "--scheduledDate", "2024-02-03T04:05:06", env={"SL_JOB_ID": "run.1"})
    assert box.rows("select jobid, step, success, scheduled_date::varchar from audit.audit order by step") == [
        ("run.1", "LOAD", True, "2024-02-03 04:05:06"),
        ("run.1", "TRANSFORM", True, "2024-02-03 04:05:06"),
    ]


def test_the_audit_may_be_in_another_database(box: Sandbox) -> None:
    text = (box.root / "metadata/application.sl.yml").read_text()
    box.write({"metadata/application.sl.yml": text + "  audit: { sink: { connectionRef: second } }\n"})
    box.table("t", "x", ID_NAME)
    box.load("t", {"x.csv": "id;name\n1;a\n"})
    box.load("t", {"x.csv": "id;name\nx;a\n"}, check=False)
    assert box.rows("select success, count(*) from audit.audit group by 1 order by 1", "second.db") == [(False, 1), (True, 2)]
    assert box.rows("select schema_name from duckdb_schemas() where schema_name in ('audit', 'starlake_dagster_engine')") == []


def test_the_audit_distinguishes_results_that_are_not_counts_from_errors(box: Sandbox) -> None:
    queries = {"two": "select 1 union all select 2", "words": "select 'many'", "broken": "select error('the query returns nothing')"}
    macros = "".join(f"{{% macro {name}() %}}{sql} from sl_this{{% endmacro %}}\n" for name, sql in queries.items())
    box.write({"metadata/expectations/default.j2": macros.replace("1 union", "1 from sl_this union")})
    box.table("t", "x", ID_NAME, expectations="[{ expect: 'two()' }, { expect: 'words()' }, { expect: 'broken()' }]")
    box.load("t", {"x.csv": "id;name\n1;a\n"})
    found = box.rows("select name, count, exception = '' from audit.expectations order by rowid")
    assert found == [("two()", -(2**31), True), ("words()", -(2**31), True), ("broken()", 0, False)]
