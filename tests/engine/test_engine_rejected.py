"""Input that the engine accepts but Starlake rejects: a warning, or an error if the command is strict."""

from pathlib import Path

import pytest
from engine_help import Sandbox, make

from starlake_dagster_components.engine import EngineResult, run_command
from starlake_dagster_components.project.model import Task


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    return make(tmp_path)


def run_strictly(box: Sandbox, *argv: str) -> EngineResult:
    return run_command(argv, environ={"SL_ROOT": str(box.root)}, out=box.out.append, log=lambda level, line: None, strict=True)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("from (select 1 as a)", "a query that begins with FROM"),
        ("pivot (select 1 as a, 2 as b) on a using sum(b)", "PIVOT as a statement"),
        ("select 2 ** 3 as a", "the operator **"),
        ("select a from (select 1 as a) x positional join (select 2 as b) y", "POSITIONAL JOIN"),
        ("select x.a from (select 1 as a) x asof left join (select 2 as b) y on x.a >= y.b", "ASOF JOIN"),
        ("summarize select 1 as a", "SUMMARIZE as a query"),
        ("describe select 1 as a", "DESCRIBE as a query"),
    ],
)
def test_queries_that_starlake_rejects_are_warnings_or_errors_in_strict_mode(box: Sandbox, query: str, said: str) -> None:
    box.task("k.a", query)
    for _ in range(2):
        box.run("transform", "--name", "k.a")
        warnings = [line for level, line in box.log if level == "warning"]
        assert len(warnings) == 1
        assert f"metadata/transform/k/a.sql:1: task k.a: Starlake does not run {said}" in warnings[0]
    result = run_strictly(box, "transform", "--name", "k.a")
    assert said in (result.reason or "")
    assert not result.retry


@pytest.mark.parametrize("query", ["select '2 ** 3' as \"asof join\" -- from x ** 2", "select 1 as a /* ** */"])
def test_strings_and_comments_cause_no_warnings(box: Sandbox, query: str) -> None:
    box.task("k.a", query)
    box.run("transform", "--name", "k.a", check=False)
    assert not [line for level, line in box.log if level == "warning"]


def test_column_names_that_need_quotes_are_reported(box: Sandbox) -> None:
    box.table(
        "d",
        "x",
        "{ name: id, type: long }\n{ name: select, type: string }\n{ name: my col, type: string }",
        "format: DSV, withHeader: true",
    )
    file = {"x1.csv": "id;select;my col\n1;a;b\n"}
    box.stage("d", file)
    assert "'select', 'my col'" in (run_strictly(box, "load").reason or "")
    box.run("load")
    warnings = [line for level, line in box.log if level == "warning" and "names need quotes" in line]
    assert len(warnings) == 1
    assert box.rows("select * from d.x") == [(1, "a", "b")]


def test_task_options_without_effect_are_reported(box: Sandbox) -> None:
    box.task("k.a", "select 1 as id", "  writeStrategy: { types: { APPEND: 'true' } }\n  sink: { materializedView: HYBRID }\n")
    box.run("transform", "--name", "k.a")
    assert [line for level, line in box.log if level == "warning" and "types depend on a file" in line]
    box.run("transform", "--name", "k.a")
    assert box.rows("select id from k.a") == [(1,), (1,)]


def test_the_audit_names_a_task_by_its_own_name(box: Sandbox) -> None:
    box.task("k.a", "select 1 as id", "  table: other\n")
    name = "k.a" if any(task.full_name == "k.a" for task in _read_tasks(box)) else "k.other"
    box.run("transform", "--name", name)
    assert box.rows('select paths, "schema" from audit.audit') == [("a", "other")]


def _read_tasks(box: Sandbox) -> "tuple[Task, ...]":
    from starlake_dagster_components.project.reader import read_project

    return read_project(box.root).tasks


def test_access_rules_are_reported_once_per_command(box: Sandbox) -> None:
    acl, rls = "[{ role: reader, grants: [me] }]", "[{ name: mine, predicate: 'id > 1', grants: [me] }]"
    box.table("d", "x", "{ name: id, type: long }", acl=acl, rls=rls)
    box.task("k.a", "select 1 as a", f"  acl: {acl}\n")
    box.load("d", {"x1.csv": "id\n1\n", "x2.csv": "id\n2\n"})
    box.run("transform", "--name", "k.a")
    box.load("d", {"x3.csv": "id\n1\n", "x4.csv": "id\n2\n"})
    warnings = [line for level, line in box.log if level == "warning"]
    assert warnings == [
        f"metadata/load/d/x.sl.yml:{line}: {key} of d.x has no effect: DuckDB does not have users" for key, line in (("acl", 6), ("rls", 7))
    ]
    box.run("transform", "--name", "k.a")
    assert [line for level, line in box.log if level == "warning"] == [
        "metadata/transform/k/a.sl.yml:3: acl of k.a has no effect: DuckDB does not have users"
    ]


@pytest.mark.parametrize(
    ("metadata", "name", "content", "said"),
    [
        ("format: JSON", "x", '\ufeff{"id": 1}\n'.encode(), "JSON files that begin with a byte order mark"),
        ("format: JSON, encoding: ISO-8859-1", "x", b'{"id": 1}\n', "JSON files in iso8859-1"),
        ("format: DSV", "x'", b"id\n1\n", "files with a single quote in their names"),
    ],
)
def test_files_that_starlake_does_not_load_are_reported(box: Sandbox, metadata: str, name: str, content: bytes, said: str) -> None:
    box.table("d", "x", "{ name: id, type: long }", metadata)
    files = {f"{name}{number}.txt": content for number in (1, 2)}
    box.stage("d", files)
    result = run_strictly(box, "load", "--domains", "d")
    assert f"d.x: Starlake does not load {said}" in (result.reason or "")
    assert len(box.files("ingesting")) == 2
    box.load("d")
    assert [line for level, line in box.log if "Starlake does not load" in line] == [
        f"metadata/load/d/x.sl.yml:2: d.x: Starlake does not load {said}; it works in the embedded engine only"
    ]
    assert box.rows("select id from d.x") == [(1,), (1,)]


TYPES = """version: 1
types:
  - { name: unmapped, primitiveType: date, pattern: "yyyy-MM-dd" }
  - { name: month, primitiveType: date, pattern: "dd MMM yyyy", ddlMapping: { duckdb: DATE } }
  - { name: yes_no, primitiveType: boolean, pattern: "oui<-TF->non", ddlMapping: { duckdb: BOOLEAN } }
  - { name: european, primitiveType: date, pattern: "dd/MM/yyyy", ddlMapping: { duckdb: DATE } }
  - { name: switch, primitiveType: boolean, pattern: "(?i)true<-TF->(?i)false", ddlMapping: { duckdb: BOOLEAN } }
"""


@pytest.mark.parametrize(
    ("attribute", "metadata", "content", "said"),
    [
        ('{ name: s, type: string, script: "upper(a)" }', "format: DSV", "id;a\n1;b\n", "DSV files that lack a column of an attribute: s"),
        ("{ name: s, type: string, default: x }", "format: DSV", "id;a\n1;b\n", "DSV files that lack a column of an attribute: s"),
        ('{ name: s, type: string, script: "upper(s)" }', "format: DSV", "id;a;s\n1;b;c\n", ""),
        ('{ name: s, type: string, script: "upper(a)" }', "format: DSV", "id;a;s\n1;b;c\n", ""),
        ("{ name: s, type: string }", "format: DSV, encoding: ISO-8859-1", b"id;a;s\n1;b;\xe9\n", "DSV files in iso8859-1"),
        ("{ name: s, type: string }", "format: DSV, encoding: ISO-8859-1", "id;a;s\n1;b;c\n", ""),
        ("{ name: s, type: string }", 'format: DSV, quote: "\'"', "id;a;s\n1;b;c\n", "DSV files whose quote or escape is a single quote"),
        ("{ name: s, type: unmapped }", "format: DSV", "id;a;s\n1;b;2024-01-02\n", "types without ddlMapping.duckdb: unmapped"),
        ("{ name: s, type: month }", "format: DSV", "id;a;s\n1;b;02 Jan 2024\n", "values that match only the pattern of a type: month"),
        ("{ name: s, type: yes_no }", "format: DSV", "id;a;s\n1;b;oui\n", "values that match only the pattern of a type: yes_no"),
        ("{ name: s, type: european }", "format: DSV", "id;a;s\n1;b;02/01/2024\n", ""),
        ("{ name: s, type: switch }", "format: DSV", "id;a;s\n1;b;true\n", ""),
        ("{ name: s, type: string }", "format: JSON_ARRAY", '[{"id": 1, "a": "b"}]', "files of the format JSON_ARRAY"),
    ],
)
def test_tables_that_starlake_does_not_load_are_reported(
    box: Sandbox, attribute: str, metadata: str, content: str | bytes, said: str
) -> None:
    box.write({"metadata/types/types.sl.yml": TYPES})
    box.table("d", "x", "{ name: id, type: long }\n{ name: a, type: string }\n" + attribute, metadata)
    box.stage("d", {"x1": content, "x2": content})
    result = run_strictly(box, "load", "--domains", "d")
    assert ("Starlake does not load" in (result.reason or "")) == bool(said)
    assert said in (result.reason or "")
    assert result.exit_code == (1 if said else 0)
    box.load("d", {"x3": content} if not said else None)
    assert len([line for level, line in box.log if level == "warning" and "Starlake does not load" in line]) == bool(said)
    assert box.rows("select count(*) from d.x") == [(2 if said else 3,)]


def test_a_sink_in_another_connection_than_the_query_is_reported(box: Sandbox) -> None:
    box.task("k.a", "select 1 as a", "  sink: { connectionRef: second }\n")
    result = run_strictly(box, "transform", "--name", "k.a")
    assert "a.sl.yml:3: task k.a: Starlake does not write to the connection 'second' of its sink" in (result.reason or "")
    box.run("transform", "--name", "k.a")
    assert len([line for level, line in box.log if level == "warning" and "of its sink" in line]) == 1
    box.task("k.a", "select 1 as a", "  connectionRef: second\n  sink: { connectionRef: second }\n")
    assert run_strictly(box, "transform", "--name", "k.a").exit_code == 0


def list_warnings(box: Sandbox, said: str) -> list[str]:
    return [line for level, line in box.log if level == "warning" and said in line]


def test_a_failed_expectation_that_starlake_would_fail_on_is_reported(box: Sandbox) -> None:
    file = "metadata/application.sl.yml"
    box.write({file: (box.root / file).read_text() + "  expectations: { failOnError: true }\n"})
    box.write({"metadata/expectations/own.j2": "{% macro wrong() %}select 1{% endmacro %}"})
    expectation = '[{ expect: "wrong()", failOnError: false }]'
    box.table("d", "x", "{ name: id, type: long }", expectations=expectation)
    box.stage("d", {"x1.csv": "id\n1\n"})
    said = "d.x: Starlake would fail despite failOnError: false: wrong()"
    assert said in (run_strictly(box, "load").reason or "")
    box.run("load")
    assert len(list_warnings(box, said)) == 1
    assert box.rows("select id from d.x") == [(1,)]
    # Starlake's transforms succeed.
    box.task("k.a", "select 1 as a", f"  expectations: {expectation}\n")
    assert run_strictly(box, "transform", "--name", "k.a").exit_code == 0


STRUCT = "{ name: id, type: long }\n{ name: s, type: struct, attributes: [{ name: x, type: long }, { name: y, type: string }] }"
OTHER_FIELDS = "JSON files with structs whose fields are not in the order of the attributes: id, s"


@pytest.mark.parametrize(
    ("attributes", "content", "said"),
    [
        (STRUCT, '{"id": 1, "s": {"x": 1, "y": "a"}}', ""),
        (STRUCT, '{"id": 1, "s": {"y": "a", "x": 1}}', ""),
        (STRUCT, '{"id": 1, "s": {"x": 1, "z": 1}}\n{"id": 2}', ""),
        (STRUCT, '{"id": 1}', OTHER_FIELDS),
        (STRUCT, '{"id": 1, "s": {"x": 1}, "z": 1}', OTHER_FIELDS),
        (STRUCT, '{"s": {"x": 1}, "id": 1}', OTHER_FIELDS),
        ("{ name: id, type: long }\n{ name: v, type: long }", '{"v": 1}', ""),
        ("{ name: id, type: long }\n{ name: v, type: string, array: true }", '{"v": ["a"]}', ""),
        ("{ name: id, type: long }\n{ name: v, type: long, array: true }", '{"v": null}\n{"id": 1}', ""),
        ("{ name: id, type: long }\n{ name: v, type: long, array: true }", '{"v": [1]}', "JSON arrays whose items are not strings: v"),
        (f"{STRUCT}\n{{ name: v, type: long, array: true }}", '{"id": 1, "s": {"x": 1}, "v": [1]}', ""),
    ],
)
def test_json_that_starlake_reads_by_position_or_as_one_value_is_reported(box: Sandbox, attributes: str, content: str, said: str) -> None:
    box.table("d", "x", attributes, "format: JSON")
    box.stage("d", {f"x{number}.json": content for number in (1, 2)})
    result = run_strictly(box, "load")
    assert (result.exit_code, said in (result.reason or "")) == (1 if said else 0, True)
    box.load("d", None if said else {"x3.json": content})
    assert len(list_warnings(box, "Starlake does not load")) == bool(said)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select 1::bigint as id, timestamptz '2024-01-02 03:04:05+00' as t", ""),
        ("select 1::bigint as \"ID\", timestamptz '2024-01-02 03:04:05+00' as t", "Parquet columns whose case differs from that of"),
        ("select 1::bigint as id, timestamp '2024-01-02 03:04:05' as t", "Parquet timestamps without a zone: t"),
        ("select 1::bigint as id, timestamp '2024-01-02 03:04:05' as t where false", ""),
        ("select 1::bigint as id, timestamp '2024-01-02 03:04:05' as other", ""),
    ],
)
def test_parquet_types_that_starlake_does_not_read_are_reported(box: Sandbox, query: str, said: str) -> None:
    box.table("d", "x", "{ name: id, type: long }\n{ name: t, type: timestamp }", "format: PARQUET")
    box.stage("d", {})
    file = box.root / "datasets/stage/d/x1.parquet"
    file.parent.mkdir(parents=True)
    box.execute(f"copy ({query}) to '{file}' (format parquet)")
    result = run_strictly(box, "load")
    assert (result.exit_code, said in (result.reason or "")) == (1 if said else 0, True)
    if said:
        box.run("load")
        assert len(list_warnings(box, said)) == 1


@pytest.mark.parametrize(
    ("strategy", "rejected"), [("OVERWRITE", True), ("UPSERT_BY_KEY", True), ("APPEND", False), ("DELETE_THEN_INSERT", False)]
)
def test_columns_in_another_order_than_in_the_table_are_rejected(box: Sandbox, strategy: str, rejected: bool) -> None:
    key = f"writeStrategy: {{ type: {strategy}, key: [id] }}"
    box.table("d", "x", "{ name: id, type: long }\n{ name: a, type: string }", key)
    box.task("k.a", "select 1 as id, 'a' as a", f"  {key}\n")
    box.load("d", {"x1.csv": "id;a\n1;a\n"})
    box.run("transform", "--name", "k.a")
    box.table("d", "x", "{ name: a, type: string }\n{ name: id, type: long }", key)
    box.task("k.a", "select 'b' as a, 2 as id", f"  {key}\n")
    said = f"Starlake writes by position with {strategy}, and the table's columns are id, a"
    box.stage("d", {"x2.csv": "id;a\n2;b\n"})
    for command, table in (("load",), "d.x"), (("transform", "--name", "k.a"), "k.a"):
        assert run_strictly(box, *command).exit_code == (1 if rejected else 0)
        if rejected:
            box.run(*command)
            assert len(list_warnings(box, said)) == 1
        assert (2, "b") in box.rows(f"select id, a from {table}")


def test_a_new_struct_column_is_reported(box: Sandbox) -> None:
    box.table("d", "x", "{ name: id, type: long }", "format: JSON")
    box.load("d", {"x1.json": '{"id": 1}'})
    box.table("d", "x", STRUCT, "format: JSON")
    box.stage("d", {"x2.json": '{"id": 2, "s": {"x": 1}}'})
    said = "d.x: Starlake does not add structs to a table: s"
    assert said in (run_strictly(box, "load").reason or "")
    box.run("load")
    assert len(list_warnings(box, said)) == 1
    assert box.rows("select id from d.x where s.x = 1") == [(2,)]


@pytest.mark.parametrize(
    ("template", "fits"),
    [
        ("INSERT INTO {{ tableFullName }} ({{ tableColumnsCsv }}) {{ selectStatement }}", True),
        ("INSERT INTO {{ tableFullName }} SELECT id FROM ({{ selectStatement }}) AS x", False),
    ],
)
def test_an_audit_template_that_cannot_work_is_reported(box: Sandbox, template: str, fits: bool) -> None:
    box.table("d", "x", "{ name: id, type: long }", "writeStrategy: { type: APPEND }")
    box.write({"metadata/write-strategies/templates/duckdb/append.j2": template})
    box.stage("d", {"x1.csv": "id\n1\n"})
    result = run_strictly(box, "load")
    assert ("Starlake also writes its audit with the project's template append, and fails" in (result.reason or "")) != fits
    assert result.exit_code == (0 if fits else 1)
    box.run("load")
    assert len(list_warnings(box, "template append")) == (0 if fits else 1)
    assert box.rows("select id from d.x") == [(1,)]


def test_project_files_that_starlake_rejects(box: Sandbox) -> None:
    box.table("d", "x", "{ name: id, type: long, nosuch: 1 }", "format: DSV")
    box.table("d", "y", "{ name: id, type: long }", "format: DSV")
    box.task("k.a", "select 1 as a", "  nosuch: 1\n").task("k.b", "select 1 as a")
    box.stage("d", {"x1.csv": "id\n1\n", "y1.csv": "id\n1\n"})
    for argv, said in (
        (("load", "--domains", "d", "--tables", "y"), None),
        (("load", "--domains", "d", "--tables", "x"), "metadata/load/d/x.sl.yml:7: unknown key 'nosuch'"),
        (("transform", "--name", "k.a"), "metadata/transform/k/a.sl.yml:3: unknown key 'nosuch'"),
        (("transform", "--name", "k.b"), None),
    ):
        result = run_strictly(box, *argv)
        assert (result.exit_code, result.retry and bool(said)) == (1 if said else 0, False)
        assert (said or "") in (result.reason or "")
        box.run(*argv)
        warnings = [line for level, line in box.log if level == "warning"]
        assert [line[: len(said or "")] for line in warnings] == ([said] if said else [])
    application = (box.root / "metadata/application.sl.yml").read_text()
    box.write({"metadata/application.sl.yml": application.replace("duckdb: { type", "duckdb: { preActions: USE other, type")})
    assert "metadata/application.sl.yml:5: unknown key 'preActions'" in (run_strictly(box, "stage", "--domains", "d").reason or "")
    box.run("transform", "--name", "k.b")
    assert any("unknown key 'preActions'" in line for _, line in box.log)
