"""The check ``declared_schema``: the columns of the real table are compared with those of the YAML."""

from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from postgres_server import PostgresServer
from project_folder import ProjectFolder

from starlake_dagster_components import load_definitions_from_starlake_project
from starlake_dagster_components.definitions.steps.declared_schema import find_differences
from starlake_dagster_components.executors.base import CommandResult, Counters
from starlake_dagster_components.project.reader import read_project
from starlake_dagster_components.testing import RecordingExecutor

DUCKDB = "{type: jdbc, options: {url: 'jdbc:duckdb:{{SL_ROOT}}/x.db'}}"


def write_project(folder: ProjectFolder, connection: str) -> None:
    folder.write("metadata/application.sl.yml", f"application: {{connectionRef: db, connections: {{db: {connection}}}}}\n")
    folder.write("metadata/load/raw/_config.sl.yml", "load: {name: raw, rename: s, metadata: {withHeader: true}}\n")
    folder.write(
        "metadata/load/raw/t.sl.yml",
        """
        table:
          name: t
          pattern: t.*.csv
          metadata: {writeStrategy: {type: SCD2, key: [id], timestamp: since}}
          attributes:
            - {name: id, type: long}
            - {name: label, rename: name, type: string}
            - {name: since, type: timestamp}
            - {name: amount, type: decimal}
            - {name: internal, type: string, ignore: true}
        """,
    )
    folder.write("metadata/transform/k/n.sql", "select 1 as n\n")
    folder.write("metadata/transform/k/n.sl.yml", "task: {attributes: [{name: n, type: int}]}\n")
    folder.write("metadata/transform/k/free.sql", "select 1 as n\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectFolder:
    for name in ("SL_ENV", "SL_ROOT", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    folder = ProjectFolder(tmp_path / "shop")
    write_project(folder, DUCKDB)
    return folder


def run(
    folder: ProjectFolder, instance: dg.DagsterInstance, *assets: str, files: int = 1, succeeds: bool = True, **settings: Any
) -> dict[str, tuple[bool, str]]:
    """Materialize assets with an executor that writes nothing; return the results of the check, with their descriptions."""
    counters = Counters(files=tuple(f"t{n}.csv" for n in range(files)), input=files)
    code = 0 if succeeds else 1
    executor = RecordingExecutor().on("load", "t", CommandResult(code, counters=counters)).on("transform", "k.n", CommandResult(code))
    definitions = load_definitions_from_starlake_project(folder.root, executor=executor, **{"schema_checks": True, **settings})
    job = definitions.get_repository_def().get_implicit_global_asset_job_def()
    keys = [dg.AssetKey(name) for name in assets or ("s_t", "k_n", "k_free")]
    result = job.execute_in_process(instance=instance, asset_selection=keys, raise_on_error=False)
    assert result.success is succeeds
    evaluations = [e for e in result.get_asset_check_evaluations() if e.check_name == "declared_schema"]
    assert all(e.severity == dg.AssetCheckSeverity.WARN for e in evaluations)
    return {e.asset_key.to_user_string(): (e.passed, e.description or "") for e in evaluations}


def execute(folder: ProjectFolder, statements: str) -> None:
    with duckdb.connect(str(folder.root / "x.db")) as connection:
        connection.execute(statements)


TABLES = (
    "create schema s; create schema k; create table s.T (ID bigint, name varchar, since timestamptz, amount decimal(10,2), "
    "sl_start_ts timestamp, sl_end_ts timestamp); create table k.n (n integer)"
)


def test_a_table_that_matches_its_declaration_passes(folder: ProjectFolder, instance: dg.DagsterInstance) -> None:
    execute(folder, TABLES)
    assert run(folder, instance) == {"s_t": (True, ""), "k_n": (True, "")}


def test_differences_are_listed(folder: ProjectFolder, instance: dg.DagsterInstance) -> None:
    execute(folder, TABLES + "; alter table s.T drop since; alter table s.T alter ID type varchar; alter table s.T add more integer")
    execute(folder, "alter table k.n alter n type tinyint")
    assert run(folder, instance) == {
        "s_t": (False, "missing: since; extra: more; changed: ID (declared long, is varchar)"),
        "k_n": (False, "changed: n (declared int, is tinyint)"),
    }


def test_a_load_without_a_file_keeps_the_last_result(folder: ProjectFolder, instance: dg.DagsterInstance) -> None:
    execute(folder, TABLES + "; alter table s.T drop since")
    assert run(folder, instance, "s_t") == {"s_t": (False, "missing: since")}
    execute(folder, "alter table s.T add since timestamp")
    assert run(folder, instance, "s_t", files=0) == {"s_t": (False, "missing: since")}
    assert run(folder, instance, "s_t") == {"s_t": (True, "")}


def test_a_failed_step_still_checks_the_existing_table(folder: ProjectFolder, instance: dg.DagsterInstance) -> None:
    execute(folder, TABLES)
    assert run(folder, instance, "s_t", "k_n", succeeds=False) == {"s_t": (True, ""), "k_n": (True, "")}


def test_a_table_that_cannot_be_read_has_no_result(folder: ProjectFolder, instance: dg.DagsterInstance) -> None:
    assert run(folder, instance) == {}
    (folder.root / "x.db").write_text("not a database")
    assert run(folder, instance) == {}


def list_checks(folder: ProjectFolder, **settings: Any) -> set[str]:
    definitions = load_definitions_from_starlake_project(folder.root, executor=RecordingExecutor(), **settings)
    keys = definitions.get_repository_def().asset_graph.asset_check_keys
    return {key.asset_key.to_user_string() for key in keys if key.name == "declared_schema"}


def test_schema_checks_are_off_by_default(folder: ProjectFolder) -> None:
    assert list_checks(folder) == set()
    assert list_checks(folder, schema_checks=True) == {"s_t", "k_n"}


def test_a_connection_that_cannot_be_read_has_no_check(folder: ProjectFolder) -> None:
    write_project(folder, "{type: fs}")
    assert list_checks(folder, schema_checks=True) == set()


def test_a_batch_has_a_result_for_each_table(folder: ProjectFolder, instance: dg.DagsterInstance) -> None:
    folder.write("metadata/load/raw/u.sl.yml", "table: {name: u, pattern: u.*.csv, attributes: [{name: id, type: long}]}\n")
    execute(folder, TABLES + "; create table s.u (id integer)")
    found = run(folder, instance, "s_t", "s_u", batch=True)
    assert found == {"s_t": (True, ""), "s_u": (False, "changed: id (declared long, is integer)")}


def test_tables_of_a_warehouse_are_read(folder: ProjectFolder, instance: dg.DagsterInstance, postgres: PostgresServer) -> None:
    options = ", ".join(f"{name}: '{value}'" for name, value in postgres.options.items())
    write_project(folder, f"{{type: jdbc, options: {{{options}}}}}")
    drop = "drop schema if exists s cascade; drop schema if exists k cascade"
    postgres.execute(f"{drop}; {TABLES.replace('decimal(10,2)', 'double precision')}; create table k.free (a bigint, b text[])")
    try:
        assert run(folder, instance, warehouse_counts="off") == {
            "s_t": (False, "changed: amount (declared decimal, is double precision)"),
            "k_n": (True, ""),
        }
        run(folder, instance, "k_free", warehouse_counts="tables")
        event = instance.get_latest_materialization_event(dg.AssetKey("k_free"))
        assert event is not None
        assert event.asset_materialization is not None
        schema = event.asset_materialization.metadata["dagster/column_schema"].value
        assert isinstance(schema, dg.TableSchema)
        assert [(c.name, c.type) for c in schema.columns] == [("a", "bigint"), ("b", "array")]
    finally:
        postgres.execute(drop)


@pytest.mark.parametrize(
    ("connection", "declared", "real", "same"),
    [
        ("duckdb", "long", "bigint", True),
        ("duckdb", "long", "hugeint", True),
        ("duckdb", "long", "integer", False),
        ("duckdb", "int", "integer", True),
        ("duckdb", "string", "varchar", True),
        ("duckdb", "string", "integer", False),
        ("duckdb", "timestamp", "timestamp with time zone", True),
        ("duckdb", "timestamp", "timestamp", True),
        ("duckdb", "timestamp", "date", False),
        ("duckdb", "date", "timestamp", False),
        ("duckdb", "iso_instant", "timestamp with time zone", True),
        ("duckdb", "decimal", "decimal(38,9)", True),
        ("duckdb", "double", "decimal(38,9)", False),
        ("duckdb", "boolean", "boolean", True),
        ("duckdb", "variant", "json", True),
        ("duckdb", "key", "uuid", True),
        ("duckdb", "small", "smallint", True),
        ("duckdb", "small", "tinyint", False),
        ("postgresql", "string", "character varying", True),
        ("postgresql", "double", "double precision", True),
        ("postgresql", "timestamp", "timestamp without time zone", True),
        ("postgresql", "long", "text", False),
        ("postgresql", "string", "USER-DEFINED", True),
        ("mysql", "boolean", "tinyint", True),
        ("mysql", "string", "longtext", True),
        ("mysql", "timestamp", "datetime", True),
        ("snowflake", "long", "number", True),
        ("snowflake", "string", "text", True),
        ("snowflake", "double", "float", True),
        ("snowflake", "timestamp", "timestamp_ntz", True),
        ("snowflake", "string", "number", False),
        ("bigquery", "int", "int64", True),
        ("bigquery", "decimal", "bignumeric", True),
        ("bigquery", "timestamp", "datetime", True),
        ("bigquery", "string", "int64", False),
    ],
)
def test_types_that_hold_the_same_values_are_equal(folder: ProjectFolder, connection: str, declared: str, real: str, same: bool) -> None:
    options = "{type: bigquery}" if connection == "bigquery" else f"{{type: jdbc, options: {{url: 'jdbc:{connection}://h/d'}}}}"
    write_project(folder, options)
    folder.write(
        "metadata/types/types.sl.yml",
        """
        types:
          - {name: key, primitiveType: string, pattern: '.+', ddlMapping: {duckdb: UUID}}
          - {name: small, primitiveType: long, pattern: '.+', ddlMapping: {duckdb: SMALLINT}}
        """,
    )
    folder.write("metadata/load/raw/t.sl.yml", f"table: {{name: t, pattern: t.*, attributes: [{{name: a, type: {declared}}}]}}\n")
    project = read_project(folder.root)
    assert ("changed" not in find_differences(project, project.tables[0], {"a": real})) == same


def test_nested_columns_are_compared_by_name(folder: ProjectFolder) -> None:
    folder.write(
        "metadata/load/raw/t.sl.yml",
        """
        table:
          name: t
          pattern: t.*
          attributes:
            - {name: a, type: long, array: true}
            - {name: b, type: struct, attributes: [{name: c, type: string}]}
            - {name: d, type: long, array: true}
        """,
    )
    project = read_project(folder.root)
    found = find_differences(project, project.tables[0], {"a": "bigint[]", "b": "struct(c varchar)"})
    assert found == {"missing": "d"}
