"""A load that finds no file succeeds, and shows this in the UI."""

import shutil
from pathlib import Path

import pytest
from dagster_home import open_instance
from project_folder import ProjectFolder

from starlake_dagster_components import DuckDBExecutor, load_definitions_from_starlake_project
from starlake_dagster_components.cli.report import print_results
from starlake_dagster_components.cli.run import run_headless
from starlake_dagster_components.settings import Settings


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SL_ENV", "SL_ROOT", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


def write_shop(root: Path, pre_load: str) -> ProjectFolder:
    folder = ProjectFolder(root)
    folder.write(
        "metadata/application.sl.yml",
        """
        application:
          connectionRef: duck
          loader: native
          dagRef: {load: loads}
          connections: {duck: {type: jdbc, options: {url: 'jdbc:duckdb:{{SL_ROOT}}/x.db'}}}
        """,
    )
    folder.write(
        "metadata/dags/loads.sl.yml",
        f"""
        dag:
          template: load/dagster__scheduled_table__shell.py.j2
          filename: 'load_{{{{domain}}}}.py'
          options: {{pre_load_strategy: {pre_load}}}
        """,
    )
    folder.write("metadata/load/sales/_config.sl.yml", "load: {name: sales, metadata: {directory: '{{SL_ROOT}}/in', withHeader: true}}\n")
    for table in ("customers", "orders"):
        folder.write(
            f"metadata/load/sales/{table}.sl.yml",
            f"table: {{name: {table}, pattern: '{table}.*.csv', attributes: [{{name: id, type: int}}]}}\n",
        )
    return folder


def run(folder: ProjectFolder, tmp_path: Path, batch: bool) -> tuple[dict[str, dict[str, object]], dict[str, list[str]]]:
    """Run the load job; return the metadata of each materialization and the log messages by level."""
    definitions = load_definitions_from_starlake_project(folder.root, executor=DuckDBExecutor(), batch=batch)
    with open_instance(tmp_path / "home") as instance:
        result = definitions.resolve_job_def("load_sales").execute_in_process(instance=instance)
        assert result.success
        metadata: dict[str, dict[str, object]] = {
            e.materialization.asset_key.to_user_string(): {k: v.value for k, v in e.materialization.metadata.items()}
            for e in result.get_asset_materialization_events()
        }
        lines: dict[str, list[str]] = {}
        for entry in instance.all_logs(result.run_id):
            if entry.dagster_event is None:
                lines.setdefault({20: "info", 30: "warning"}.get(int(entry.level), "other"), []).append(entry.user_message)
    return metadata, lines


@pytest.mark.parametrize("batch", [False, True])
def test_files_in_incoming_are_not_loaded_without_a_pre_load(tmp_path: Path, batch: bool) -> None:
    folder = write_shop(tmp_path / "shop", "none")
    folder.write("in/customers1.csv", "id\n1\n")
    metadata, lines = run(folder, tmp_path, batch)
    assert metadata["sales_customers"]["starlake/files"] == 0
    text = str(metadata["sales_customers"]["starlake/no_files"])
    setting = "metadata/dags/loads.sl.yml:4"
    assert text.endswith(f"1 matching file is in {folder.root}/in: set pre_load_strategy: imported in {setting}, or run stage")
    assert f"sales.customers: nothing was loaded, because {text}" in lines["warning"]
    assert metadata["sales_orders"]["starlake/files"] == 0


def test_a_table_without_a_file_is_normal_after_a_pre_load(tmp_path: Path) -> None:
    folder = write_shop(tmp_path / "shop", "imported")
    folder.write("in/customers1.csv", "id\n1\n")
    metadata, lines = run(folder, tmp_path, False)
    assert metadata["sales_customers"]["starlake/files"] == 1
    assert "starlake/no_files" not in metadata["sales_customers"]
    assert metadata["sales_orders"]["starlake/files"] == 0
    assert not [line for line in lines.get("warning", ()) if "nothing was loaded" in line]
    assert any("sales.orders: nothing was loaded" in line for line in lines["info"])


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("in/custmers1.csv", "these files match no table of sales: custmers1.csv (closest pattern: customers.*.csv)"),
        (
            "elsewhere/x",
            "the folder {root}/in does not exist: create it, or change metadata.directory in metadata/load/sales/_config.sl.yml:1",
        ),
        ("in/.hidden", None),
    ],
)
def test_a_pre_load_that_finds_no_files_warns_if_folders_are_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, says: str | None
) -> None:
    folder = write_shop(tmp_path / "shop", "imported")
    folder.write(file, "id\n1\n")
    definitions = load_definitions_from_starlake_project(folder.root, executor=DuckDBExecutor())
    with open_instance(tmp_path / "runs") as instance:
        result = definitions.resolve_job_def("load_sales").execute_in_process(instance=instance)
        assert result.success
        observations = [e.event_specific_data.asset_observation for e in result.get_asset_observation_events()]  # type: ignore[union-attr]
        warnings = [entry.user_message for entry in instance.all_logs(result.run_id) if int(entry.level) == 30]
    expected = [] if says is None else [says.format(root=folder.root)]
    assert [str(o.metadata["starlake/no_files"].value) for o in observations] == expected
    assert warnings == [f"sales: {text}" for text in expected]
    print_results(run_headless(folder.root, Settings(executor=DuckDBExecutor())), width=200)
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("sales: ")]
    assert shown == [f"sales: {text}" for text in expected]


def test_starlakes_starter_project_runs(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "shop"
    shutil.copytree(shared / "corpus" / "starlake-bootstrap-sample-project", root)
    incoming = root / "datasets/incoming/starbake"
    incoming.mkdir(parents=True, exist_ok=True)
    (incoming / "customers_1.csv").write_text("customer_id\n1\n")
    results = run_headless(root, Settings(executor=DuckDBExecutor(), orchestrators=("dagster", "airflow")), log_level="CRITICAL")
    print_results(results, width=200)
    output = capsys.readouterr().out
    assert "0 files" in output
    assert "run load --domains starbake --tables customers first" not in output
    assert (
        "starbake_customers: no file in "
        f"{root}/datasets/stage/starbake matches customers.*.csv; 2 matching files are in {incoming}: "
        "set pre_load_strategy: imported in metadata/dags/airflow_load_shell.sl.yml:10, or run stage"
    ) in output
    assert "run stage, as a job with pre_load_strategy: imported does before its loads" in output
