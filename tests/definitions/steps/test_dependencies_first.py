"""Jobs with run_dependencies_first: a domain with nothing new does not keep the task from running, as in the generated job."""

import shutil
from pathlib import Path

import pytest
from dagster_home import open_instance
from project_folder import ProjectFolder

from starlake_dagster_components import CommandResult, ShellExecutor, StarlakeExecutor, load_definitions_from_starlake_project
from starlake_dagster_components.testing import RecordingExecutor

NOTHING = CommandResult(exit_code=1, not_ready=True)


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    folder = ProjectFolder(tmp_path / "shop")
    folder.write(
        "metadata/application.sl.yml",
        """
        application:
          connectionRef: duck
          dagRef: {load: loads, transform: tasks}
          connections: {duck: {type: jdbc, options: {url: 'jdbc:duckdb:{{SL_ROOT}}/x.db'}}}
        """,
    )
    for name, kind, options in (
        ("loads", "load/dagster__scheduled_table", "pre_load_strategy: imported"),
        ("tasks", "transform/dagster__scheduled_task", "run_dependencies_first: 'True'"),
    ):
        folder.write(
            f"metadata/dags/{name}.sl.yml",
            f"""
            dag:
              template: {kind}__shell.py.j2
              filename: '{name}_{{{{domain}}}}.py'
              options: {{{options}}}
            """,
        )
    for domain, tables in (("orders", ("o", "p")), ("countries", ("c", "d"))):
        folder.write(f"metadata/load/{domain}/_config.sl.yml", f"load: {{name: {domain}, metadata: {{directory: '{{{{SL_ROOT}}}}/in'}}}}\n")
        for table in tables:
            folder.write(
                f"metadata/load/{domain}/{table}.sl.yml",
                f"table: {{name: {table}, pattern: '{table}.*.csv', attributes: [{{name: id, type: int}}]}}\n",
            )
    folder.write(
        "metadata/transform/kpi/k.sql",
        "select * from orders.o join orders.p using(id) join countries.c using(id) join countries.d using (id)\n",
    )
    return folder


def run(root: Path, executor: StarlakeExecutor | None, tmp_path: Path, job: str, batch: bool = False) -> dict[str, dict[str, object]]:
    """Run a job, which must succeed. Return the metadata of its materializations."""
    definitions = load_definitions_from_starlake_project(root, executor=executor, batch=batch)
    with open_instance(tmp_path / "home") as instance:
        result = definitions.resolve_job_def(job).execute_in_process(instance=instance)
        assert result.success
        return {
            e.materialization.asset_key.to_user_string(): {k: v.value for k, v in e.materialization.metadata.items()}
            for e in result.get_asset_materialization_events()
        }


@pytest.mark.parametrize("batch", [False, True])
def test_the_task_runs_if_one_domain_has_nothing_new(folder: ProjectFolder, tmp_path: Path, batch: bool) -> None:
    executor = RecordingExecutor().on("preload", "countries", NOTHING)
    made = run(folder.root, executor, tmp_path, "tasks_kpi", batch)
    assert executor.ran("transform", "kpi.k") == 1
    assert executor.ran("stage", "orders") == 1
    assert executor.ran("stage", "countries") == 0
    assert executor.ran("load", "countries") == 0
    assert made["countries"]["starlake/ready"] is False
    assert made["countries_c"] == {"starlake/files": 0, "starlake/no_files": "the pre-load found nothing"}
    assert "starlake/no_files" not in made["orders_o"]
    assert list(made)[-1] == "kpi_k"


def test_the_result_of_an_earlier_runs_pre_load_is_ignored(folder: ProjectFolder, tmp_path: Path) -> None:
    executor = RecordingExecutor().on("preload", "countries", NOTHING, CommandResult(0))
    run(folder.root, executor, tmp_path, "tasks_kpi")
    made = run(folder.root, executor, tmp_path, "tasks_kpi")
    assert "starlake/ready" not in made["countries"]
    assert executor.ran("load", "countries") == 2


def test_a_load_job_still_skips_its_tables(folder: ProjectFolder, tmp_path: Path) -> None:
    executor = RecordingExecutor().on("preload", "countries", NOTHING)
    assert run(folder.root, executor, tmp_path, "loads_countries") == {}
    assert executor.ran("load", "countries") == 0


def test_run_dependencies_first_works_with_a_program(shared: Path, tmp_path: Path) -> None:
    root = tmp_path / "shop"
    shutil.copytree(shared / "cases" / "plans" / "c10b_shell", root)
    (root / "fake.sh").chmod(0o755)
    run(root, ShellExecutor(), tmp_path, "kpi_tasks")
    assert "transform --name kpi.k" in (root / "calls.txt").read_text()
