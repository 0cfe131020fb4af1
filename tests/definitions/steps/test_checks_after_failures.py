"""Asset checks are right when a command fails, and when a load has no file."""

# mypy: disable-error-code="union-attr"

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import DuckDBExecutor, StarlakeNode, StarlakeTranslator, load_definitions_from_starlake_project
from starlake_dagster_components.commands import Command
from starlake_dagster_components.definitions.checks import can_block
from starlake_dagster_components.executors.base import CommandResult, Invocation
from starlake_dagster_components.project.model import Expectation

PASSED, FAILED = "passed", "failed"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectFolder:
    for name in ("SL_ENV", "SL_ROOT", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    folder = ProjectFolder(tmp_path / "shop")
    write_application(folder, fail_on_error=False)
    folder.write("metadata/expectations/x.j2", "{% macro nulls(c) %}select count(*) from sl_this where {{c}} is null{% endmacro %}\n")
    for name, kind in (("loads", "load/dagster__scheduled_table"), ("tasks", "transform/dagster__scheduled_task")):
        folder.write(f"metadata/dags/{name}.sl.yml", f"dag: {{template: {kind}__shell.py.j2, filename: '{name}_{{{{domain}}}}.py'}}\n")
    folder.write("metadata/load/s/_config.sl.yml", "load: {name: s, metadata: {withHeader: true, separator: ','}}\n")
    for table in ("t", "u"):
        folder.write(
            f"metadata/load/s/{table}.sl.yml",
            f"""
            table:
              name: {table}
              pattern: {table}.*.csv
              attributes: [{{name: id, type: long}}, {{name: v, type: string}}]
              expectations: [{{expect: "nulls('id')", failOnError: true}}, {{expect: "nulls('v')", failOnError: false}}]
            """,
        )
    folder.write("metadata/transform/kpi/k.sql", "select 1 as id, null::varchar as v\n")
    folder.write(
        "metadata/transform/kpi/k.sl.yml",
        """task: {name: k, expectations: [{expect: "nulls('id')", failOnError: true}, {expect: "nulls('v')", failOnError: true}]}\n""",
    )
    return folder


def write_application(folder: ProjectFolder, fail_on_error: bool) -> None:
    folder.write(
        "metadata/application.sl.yml",
        f"""
        application:
          connectionRef: duck
          loader: native
          expectations: {{active: true, failOnError: {str(fail_on_error).lower()}}}
          dagRef: {{load: loads, transform: tasks}}
          connections: {{duck: {{type: jdbc, options: {{url: 'jdbc:duckdb:{{{{SL_ROOT}}}}/x.db'}}}}}}
        """,
    )


def run(folder: ProjectFolder, instance: dg.DagsterInstance, job: str, **settings: Any) -> dg.ExecuteInProcessResult:
    definitions = load_definitions_from_starlake_project(folder.root, executor=DuckDBExecutor(), **settings)
    return definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False)


def list_checks(result: dg.ExecuteInProcessResult) -> dict[str, tuple[str, str]]:
    return {
        f"{e.asset_key.to_user_string()}.{e.check_name}": (PASSED if e.passed else FAILED, e.severity.value)
        for e in result.get_asset_check_evaluations()
    }


def find_row_count(instance: dg.DagsterInstance, asset: str) -> Any:
    """Return the row count that Dagster shows for an asset."""
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    count = event.asset_materialization.metadata.get("dagster/row_count")
    return count.value if count else None


def test_a_transform_that_fails_its_expectations_has_results_for_all(folder: ProjectFolder, instance: dg.DagsterInstance) -> None:
    write_application(folder, fail_on_error=True)
    result = run(folder, instance, "tasks_kpi")
    assert not result.success
    assert list_checks(result) == {"kpi_k.nulls_id": (PASSED, "ERROR"), "kpi_k.nulls_v": (FAILED, "ERROR")}
    (evaluation,) = [e for e in result.get_asset_check_evaluations() if not e.passed]
    assert evaluation.metadata["starlake/violations"].value == 1


@pytest.mark.parametrize("batch", [False, True])
def test_a_load_that_fails_its_expectations_has_results_for_all(folder: ProjectFolder, instance: dg.DagsterInstance, batch: bool) -> None:
    write_application(folder, fail_on_error=True)
    folder.write("datasets/stage/s/t1.csv", "id,v\n,\n1,a\n").write("datasets/stage/s/u1.csv", "id,v\n1,a\n")
    result = run(folder, instance, "loads_s", batch=batch)
    assert not result.success
    assert list_checks(result) == {
        "s_t.nulls_id": (FAILED, "ERROR"),
        "s_t.nulls_v": (FAILED, "WARN"),
        "s_u.nulls_id": (PASSED, "ERROR"),
        "s_u.nulls_v": (PASSED, "WARN"),
    }


@pytest.mark.parametrize("batch", [False, True])
def test_a_load_without_a_file_keeps_the_last_results(folder: ProjectFolder, instance: dg.DagsterInstance, batch: bool) -> None:
    folder.write("datasets/stage/s/t1.csv", "id,v\n,a\n")
    first = run(folder, instance, "loads_s", batch=batch)
    assert list_checks(first) == {"s_t.nulls_id": (FAILED, "ERROR"), "s_t.nulls_v": (PASSED, "WARN")}
    for _ in range(2):
        again = run(folder, instance, "loads_s", batch=batch)
        assert again.success
        assert list_checks(again) == list_checks(first)
        assert find_row_count(instance, "s_t") == 1
    assert {e.metadata["starlake/evaluated_in_run"].value for e in again.get_asset_check_evaluations()} == {first.run_id}
    record = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(dg.AssetKey("s_t"), "nulls_id"), limit=1)[0]
    assert record.status.value == "FAILED"


def read_check(instance: dg.DagsterInstance, name: str) -> tuple[str, Any]:
    """Return the status that Dagster shows for a check of table t, and its metadata."""
    key = dg.AssetCheckKey(dg.AssetKey("s_t"), name)
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    event = record.event.dagster_event if record.event else None
    return record.status.value, event.asset_check_evaluation_data.metadata if event and record.status.value != "PLANNED" else {}


@pytest.mark.parametrize("batch", [False, True])
def test_a_pre_load_that_finds_nothing_keeps_the_last_results(folder: ProjectFolder, instance: dg.DagsterInstance, batch: bool) -> None:
    folder.write(
        "metadata/dags/loads.sl.yml",
        """
        dag:
          template: load/dagster__scheduled_table__shell.py.j2
          filename: 'loads_{{domain}}.py'
          options: {pre_load_strategy: imported}
        """,
    )
    folder.write(
        "metadata/load/s/_config.sl.yml", "load: {name: s, metadata: {withHeader: true, separator: ',', directory: '{{SL_ROOT}}/in'}}\n"
    )
    folder.write("in/t1.csv", "id,v\n,a\n")
    first = run(folder, instance, "loads_s", batch=batch)
    assert list_checks(first) == {"s_t.nulls_id": (FAILED, "ERROR"), "s_t.nulls_v": (PASSED, "WARN")}
    for _ in range(2):
        again = run(folder, instance, "loads_s", batch=batch)
        assert again.success
        assert not again.get_asset_materialization_events()
        assert [read_check(instance, name)[0] for name in ("nulls_id", "nulls_v")] == ["FAILED", "SUCCEEDED"]
        assert read_check(instance, "nulls_id")[1]["starlake/evaluated_in_run"].value == first.run_id
    folder.write("in/t2.csv", "id,v\n1,a\n")
    run(folder, instance, "loads_s", batch=batch)
    assert read_check(instance, "nulls_v")[0] == "SUCCEEDED"
    assert "starlake/evaluated_in_run" not in read_check(instance, "nulls_v")[1]


class WithoutResults(DuckDBExecutor):
    """The engine, but the results of expectations are not known, as if Starlake's log and audit could not be read."""

    fails: bool = False

    def run(self, command: Command, invocation: Invocation) -> CommandResult:
        result = super().run(command, invocation)
        tables = {name: replace(table, expectations=()) for name, table in result.tables.items()}
        failed = self.fails and result.counters is not None and bool(result.counters.files)
        return replace(result, expectations=(), tables=tables, exit_code=int(failed), failed_in_table=failed)


@pytest.mark.parametrize(("batch", "fails"), [(False, False), (True, False), (False, True)])
def test_results_that_are_older_than_the_rows_are_not_repeated(
    folder: ProjectFolder, instance: dg.DagsterInstance, batch: bool, fails: bool
) -> None:
    def load(rows: str, executor: DuckDBExecutor) -> dict[str, tuple[str, str]]:
        if rows:
            folder.write("datasets/stage/s/t1.csv", f"id,v\n{rows}\n")
        definitions = load_definitions_from_starlake_project(folder.root, executor=executor, batch=batch)
        return list_checks(definitions.resolve_job_def("loads_s").execute_in_process(instance=instance, raise_on_error=False))

    known = load("1,a", DuckDBExecutor())
    assert load("", DuckDBExecutor()) == known == {"s_t.nulls_id": (PASSED, "ERROR"), "s_t.nulls_v": (PASSED, "WARN")}
    assert load(",a", WithoutResults(fails=fails)) == {}
    assert load("", DuckDBExecutor()) == {}
    assert find_row_count(instance, "s_t") == (None if fails else 2)
    latest = load("2,", DuckDBExecutor())
    assert load("", DuckDBExecutor()) == latest == {"s_t.nulls_id": (FAILED, "ERROR"), "s_t.nulls_v": (FAILED, "WARN")}


def test_a_dry_run_does_not_make_results_unknown(folder: ProjectFolder, instance: dg.DagsterInstance) -> None:
    folder.write("datasets/stage/s/t1.csv", "id,v\n,a\n")
    first = run(folder, instance, "loads_s")
    definitions = load_definitions_from_starlake_project(folder.root, executor=DuckDBExecutor())
    config = {"ops": {"s_t": {"config": {"dry_run": True}}}}
    assert definitions.resolve_job_def("loads_s").execute_in_process(run_config=config, instance=instance).success
    assert list_checks(run(folder, instance, "loads_s")) == list_checks(first)


def list_blocking(folder: ProjectFolder, **settings: Any) -> set[str]:
    definitions = load_definitions_from_starlake_project(folder.root, **settings)
    keys = definitions.get_repository_def().asset_graph.asset_check_keys
    graph = definitions.get_repository_def().asset_graph
    return {f"{k.asset_key.to_user_string()}.{k.name}" for k in keys if graph.get_check_spec(k).blocking}


@pytest.mark.skipif(not can_block(), reason="this release of Dagster skips what waits for a blocking check without a result")
def test_checks_block_where_expectation_and_application_fail_on_error(folder: ProjectFolder) -> None:
    assert list_blocking(folder) == set()
    write_application(folder, fail_on_error=True)
    assert list_blocking(folder) == {"s_t.nulls_id", "s_u.nulls_id", "kpi_k.nulls_id", "kpi_k.nulls_v"}
    assert list_blocking(folder, expectation_checks={"blocking": False}) == set()
    write_application(folder, fail_on_error=False)
    assert len(list_blocking(folder, expectation_checks={"blocking": True})) == 6


def test_checks_have_a_severity_and_can_be_turned_off(folder: ProjectFolder, instance: dg.DagsterInstance) -> None:
    result = run(folder, instance, "tasks_kpi", expectation_checks={"severity": "warn"})
    assert list_checks(result) == {"kpi_k.nulls_id": (PASSED, "WARN"), "kpi_k.nulls_v": (FAILED, "WARN")}
    assert list_checks(run(folder, instance, "tasks_kpi", expectation_checks={"enabled": False})) == {}


class Renaming(StarlakeTranslator):
    def get_asset_check_spec(self, node: StarlakeNode, expectation: Expectation) -> dg.AssetCheckSpec | None:
        spec = super().get_asset_check_spec(node, expectation)
        if spec is None or "'v'" in expectation.expect:
            return None
        return spec._replace(name=f"ours_{spec.name}", description="no id is null")


def test_a_translator_makes_the_checks(folder: ProjectFolder, instance: dg.DagsterInstance) -> None:
    result = run(folder, instance, "tasks_kpi", translator=Renaming())
    assert list_checks(result) == {"kpi_k.ours_nulls_id": (PASSED, "ERROR")}


def test_bad_values_and_failed_expectations_are_not_tried_again(folder: ProjectFolder, instance: dg.DagsterInstance) -> None:
    write_application(folder, fail_on_error=True)
    for name, kind in (("loads", "load/dagster__scheduled_table"), ("tasks", "transform/dagster__scheduled_task")):
        folder.write(
            f"metadata/dags/{name}.sl.yml",
            f"dag: {{template: {kind}__shell.py.j2, filename: '{name}_{{{{domain}}}}.py', options: {{retries: '2', retry_delay: '0'}}}}\n",
        )
    folder.write("datasets/stage/s/t1.csv", "id,v\nmany,a\n")
    for job in ("loads_s", "tasks_kpi"):
        result = run(folder, instance, job)
        assert not result.success
        assert not [e for e in result.all_events if e.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]
