"""Counts, row counts and checks agree with the database after each run of a long random sequence, on DuckDB and on PostgreSQL."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from postgres_server import PASSWORD, PostgresServer
from postgres_starlake import write_program
from project_folder import ProjectFolder

from starlake_dagster_components import DuckDBExecutor, ShellExecutor, load_definitions_from_starlake_project
from starlake_dagster_components.executors.base import StarlakeExecutor

RUNS = 50


@dataclass
class Setting:
    """A project, its executor, and queries of its database."""

    folder: ProjectFolder
    executor: StarlakeExecutor
    ask: Callable[[str], Any]
    rejects: bool


def write_project(folder: ProjectFolder, connection: str, loader: str) -> None:
    folder.write(
        "metadata/application.sl.yml",
        f"application:\n  connectionRef: db\n  loader: {loader}\n  dagRef: {{load: loads, transform: tasks}}\n"
        f"  connections: {{db: {connection}}}\n",
    )
    folder.write(
        "metadata/expectations/x.j2", "{% macro blank(c) %}select count(*) from sl_this where {{c}} is null or {{c}} = ''{% endmacro %}\n"
    )
    for name, kind in (("loads", "load/dagster__scheduled_table"), ("tasks", "transform/dagster__scheduled_task")):
        folder.write(f"metadata/dags/{name}.sl.yml", f"dag: {{template: {kind}__shell.py.j2, filename: '{name}_{{{{domain}}}}.py'}}\n")
    folder.write("metadata/load/s/_config.sl.yml", "load: {name: s, metadata: {withHeader: true, separator: ','}}\n")
    for table in ("a", "b"):
        folder.write(
            f"metadata/load/s/{table}.sl.yml",
            f"""
            table:
              name: {table}
              pattern: {table}.*.csv
              attributes: [{{name: id, type: string}}, {{name: name, type: string}}]
              expectations: [{{expect: "blank('name')", failOnError: false}}]
            """,
        )
    folder.write("metadata/transform/k/n.sql", "select name, count(*) as n from s.a group by name\n")


@pytest.fixture(params=["duckdb", "postgres"])
def setting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setting]:
    folder = ProjectFolder(tmp_path / "shop")
    if request.param == "duckdb":
        write_project(folder, "{type: jdbc, options: {url: 'jdbc:duckdb:{{SL_ROOT}}/x.db'}}", "native")

        def ask_duckdb(sql: str) -> Any:
            with duckdb.connect(str(folder.root / "x.db"), read_only=True) as connection:
                return connection.execute(sql).fetchall()[0][0]

        yield Setting(folder, DuckDBExecutor(), ask_duckdb, rejects=False)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    options = ", ".join(f"{name}: '{value}'" for name, value in server.options.items())
    write_project(folder, f"{{type: jdbc, options: {{{options}}}}}", "spark")
    program = write_program(
        tmp_path / "bin",
        dsn=server.dsn,
        expectations={"s.a": "blank('name')", "s.b": "blank('name')"},
        tasks={"k.n": "select name, count(*) as n from s.a group by name"},
    )
    drop = "drop schema if exists s cascade; drop schema if exists k cascade; drop schema if exists audit cascade"
    server.execute(drop)
    yield Setting(folder, ShellExecutor(starlake_path=str(program)), lambda sql: server.execute(sql)[0][0], rejects=True)
    server.execute(drop)


def read_counts(materialization: dg.AssetMaterialization) -> dict[str, Any]:
    names = ("starlake/rows_read", "starlake/rows_loaded", "starlake/rows_rejected", "dagster/row_count", "starlake/files")
    return {name: materialization.metadata[name].value for name in names if name in materialization.metadata}


@pytest.mark.slow
def test_counts_agree_with_the_database_after_each_of_fifty_runs(setting: Setting) -> None:
    choose = random.Random(20261129)
    definitions = load_definitions_from_starlake_project(
        setting.folder.root, executor=setting.executor, warehouse_counts="tables", batch=setting.rejects
    )
    loads, tasks = definitions.resolve_job_def("loads_s"), definitions.resolve_job_def("tasks_k")
    rows = {"a": 0, "b": 0}
    with dg.DagsterInstance.ephemeral() as instance:
        for number in range(RUNS):
            if rows["a"] and choose.random() < 0.25:
                result = tasks.execute_in_process(instance=instance)
                (made,) = [m for m in result.all_events if m.is_step_materialization]
                assert read_counts(made.step_materialization_data.materialization) == {
                    "dagster/row_count": setting.ask("select count(*) from k.n")
                }
                continue
            expected = deliver(choose, setting, number)
            result = loads.execute_in_process(instance=instance)
            check_load(result, expected, setting, rows)


def deliver(choose: random.Random, setting: Setting, number: int) -> dict[str, list[list[str]]]:
    """Write files with valid, invalid, and no rows. Return the rows of the files of each table."""
    given: dict[str, list[list[str]]] = {}
    for table in ("a", "b"):
        given[table] = []
        for file in range(choose.choice((0, 1, 1, 2)) if number else 1):
            words = ("x", "y", "", *(("reject",) if setting.rejects else ()))
            values = [choose.choice(words) for _ in range(choose.choice((0, 1, 3, 8)))]
            given[table].append(values)
            lines = "".join(f"{number}-{i},{value}\n" for i, value in enumerate(values))
            setting.folder.write(f"datasets/stage/s/{table}-{number}-{file}.csv", f"id,name\n{lines}")
    return given


def check_load(result: dg.ExecuteInProcessResult, given: dict[str, list[list[str]]], setting: Setting, rows: dict[str, int]) -> None:
    assert result.success
    made = {
        str(m.step_materialization_data.materialization.asset_key.path[-1]): m.step_materialization_data.materialization
        for m in result.all_events
        if m.is_step_materialization
    }
    checks = {e.asset_key.path[-1]: e for e in result.get_asset_check_evaluations() if e.check_name == "blank_name"}
    for table, files in given.items():
        found = read_counts(made[f"s_{table}"])
        read = sum(map(len, files))
        rejected = sum(values.count("reject") for values in files)
        rows[table] += read - rejected
        in_table = setting.ask(f"select count(*) from s.{table}") if rows[table] or files else 0
        assert in_table == rows[table]
        assert found["starlake/files"] == len(files)
        if files:
            assert (found["starlake/rows_read"], found["starlake/rows_loaded"], found["starlake/rows_rejected"]) == (
                read,
                read - rejected,
                rejected,
            )
            assert found["dagster/row_count"] == in_table
            blank = setting.ask(f"select count(*) from s.{table} where name is null or name = ''")
            check = checks[f"s_{table}"]
            assert (check.passed, check.metadata["starlake/violations"].value) == (blank == 0, blank)


def test_a_warehouse_that_is_down_does_not_fail_a_step(setting: Setting) -> None:
    if not setting.rejects:
        pytest.skip("the DuckDB file is always there")
    application = setting.folder.root / "metadata/application.sl.yml"
    application.write_text(application.read_text().replace("127.0.0.1:", "127.0.0.1:1"))
    setting.folder.write("datasets/stage/s/a-1.csv", "id,name\n1,x\n")
    definitions = load_definitions_from_starlake_project(setting.folder.root, executor=setting.executor)
    with dg.DagsterInstance.local_temp() as instance:
        result = definitions.resolve_job_def("loads_s").execute_in_process(instance=instance)
        assert result.success
        warnings = [e.user_message for e in instance.all_logs(result.run_id) if e.level == 30 and "connection 'db'" in e.user_message]
        assert len(warnings) == 2
        assert not any(PASSWORD in e.message for e in instance.all_logs(result.run_id))


def test_warehouse_counts_off_reads_nothing(setting: Setting) -> None:
    if not setting.rejects:
        pytest.skip("the audit is a DuckDB file")
    setting.folder.write("datasets/stage/s/a-1.csv", "id,name\n1,x\n")
    definitions = load_definitions_from_starlake_project(setting.folder.root, executor=setting.executor, warehouse_counts="off")
    result = definitions.resolve_job_def("loads_s").execute_in_process()
    assert result.success
    assert not result.get_asset_check_evaluations()
