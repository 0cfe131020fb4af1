import logging
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster_shared.libraries import DagsterLibraryRegistry
from project_folder import ProjectFolder

from starlake_dagster_components import (
    DuckDBExecutor,
    InvalidProject,
    ShellExecutor,
    StarlakeExecutor,
    __version__,
    load_definitions_from_starlake_project,
)
from starlake_dagster_components.definitions.build import build_definitions, choose_job_executor, prepare_graph
from starlake_dagster_components.definitions.nodes import StarlakeNode
from starlake_dagster_components.definitions.translator import StarlakeTranslator
from starlake_dagster_components.errors import InvalidSetting, ProjectNotFound
from starlake_dagster_components.settings import AssetKeyStyle, Settings


def list_specs(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def list_deps(spec: dg.AssetSpec) -> set[str]:
    return {d.asset_key.to_user_string() for d in spec.deps}


def test_tables_tasks_and_domains_are_assets_with_lineage(shop: ProjectFolder) -> None:
    found = list_specs(load_definitions_from_starlake_project(shop.root))
    assert {key: list_deps(spec) for key, spec in found.items()} == {
        "shop": set(),
        "shop_orders": {"shop"},
        "shop_items": {"shop"},
        "kpi_daily": {"shop_orders", "shop_items"},
        "kpi_top": {"kpi_daily", "elsewhere_rates"},
        "elsewhere_rates": set(),
    }


def test_dagster_shows_the_version_of_this_package(shop: ProjectFolder) -> None:
    load_definitions_from_starlake_project(shop.root)
    assert DagsterLibraryRegistry.get()["starlake-dagster-components"] == __version__


def test_assets_have_descriptions_groups_and_kinds(shop: ProjectFolder) -> None:
    found = list_specs(load_definitions_from_starlake_project(shop.root))
    orders = found["shop_orders"]
    assert orders.description is not None
    assert orders.description.startswith("The orders\n\nLoads DSV files `orders.*.csv` in `")
    assert orders.description.endswith("Write strategy `APPEND`.")
    assert orders.group_name == "shop"
    assert orders.kinds == {"starlake", "duckdb"}
    assert "pii" in orders.tags
    assert orders.metadata["dagster/table_name"] == "shop.orders"
    assert orders.metadata["dagster/storage_kind"] == "duckdb"
    assert orders.metadata["starlake/write_strategy"] == "APPEND"
    schema = orders.metadata["dagster/column_schema"]
    assert [(c.name, c.type, c.description, c.constraints.nullable) for c in schema.columns] == [
        ("id", "long", "The key", False),
        ("amount", "string", None, True),
    ]
    files = {Path(r.file_path).name: r.line_number for r in found["kpi_daily"].metadata["dagster/code_references"].code_references}
    assert set(files) == {"daily.sql", "daily.sl.yml"}


def test_the_description_of_a_task_shows_its_sql(shop: ProjectFolder) -> None:
    shop.write("metadata/transform/kpi/top.sql", "select '```' as fence, {{ country }} as c\nfrom kpi.daily\n")
    described = list_specs(load_definitions_from_starlake_project(shop.root))["kpi_top"].description
    assert described is not None
    assert described.endswith("````sql\nselect '```' as fence, {{ country }} as c\nfrom kpi.daily\n````")
    without = list_specs(load_definitions_from_starlake_project(shop.root, show_sql=False))["kpi_top"].description
    assert "select" not in (without or "")


def test_jobs_schedules_and_sensors_have_the_names_of_generated_ones(shop: ProjectFolder) -> None:
    defs = load_definitions_from_starlake_project(shop.root)
    repository = defs.get_repository_def()
    assert {j.name for j in repository.get_all_jobs() if not j.name.startswith("__")} == {"shop_tables", "kpi_tasks"}
    (schedule,) = repository.schedule_defs
    assert (schedule.name, schedule.cron_schedule) == ("shop_tables_schedule", "0 0 * * *")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    (sensor,) = repository.sensor_defs
    assert isinstance(sensor, dg.MultiAssetSensorDefinition)
    assert sensor.name == "kpi_tasks_sensor"
    job = repository.get_job("shop_tables")
    assert {k.to_user_string() for k in job.asset_layer.executable_asset_keys} == {"shop", "shop_orders", "shop_items"}
    assert job.tags["nightly"] == ""


@pytest.mark.parametrize(("style", "orders"), [("flat", "shop_Orders"), ("flat_lower", "shop_orders"), ("path", "shop/Orders")])
def test_the_setting_chooses_the_style_of_asset_keys(folder: ProjectFolder, style: AssetKeyStyle, orders: str) -> None:
    folder.write("metadata/load/shop/Orders.sl.yml", TABLE.format(name="Orders"))
    assert orders in list_specs(load_definitions_from_starlake_project(folder.root, asset_keys=style))


TABLE = """
version: 1
table:
  name: {name}
  pattern: "{name}.*"
  attributes:
    - name: id
"""


def test_tables_without_dag_are_assets_without_job(folder: ProjectFolder) -> None:
    folder.write("metadata/application.sl.yml", "version: 1\napplication:\n  connections: {}\n")
    folder.write("metadata/load/shop/orders.sl.yml", TABLE.format(name="orders"))
    defs = load_definitions_from_starlake_project(folder.root)
    assert "shop_orders" in list_specs(defs)
    assert [j.name for j in defs.get_repository_def().get_all_jobs() if not j.name.startswith("__")] == []


def test_duplicate_keys_are_an_error_that_names_both_files(folder: ProjectFolder) -> None:
    folder.write("metadata/load/a_b/c.sl.yml", TABLE.format(name="c"))
    folder.write("metadata/load/a/b_c.sl.yml", TABLE.format(name="b_c"))
    with pytest.raises(InvalidProject) as caught:
        load_definitions_from_starlake_project(folder.root)
    assert "a_b_c" in str(caught.value)
    assert "metadata/load/a_b/c.sl.yml" in str(caught.value)
    assert "metadata/load/a/b_c.sl.yml" in str(caught.value)


def test_asset_keys_path_is_recommended_if_it_helps(folder: ProjectFolder) -> None:
    folder.write("metadata/load/a_b/c.sl.yml", TABLE.format(name="c"))
    folder.write("metadata/load/a/b_c.sl.yml", TABLE.format(name="b_c"))
    _, _, problems = prepare_graph(folder.root, Settings())
    assert [p.message.rpartition("; ")[2] for p in problems if p.severity == "error"] == ["rename one, or set asset_keys to path"]
    assert not [p for p in prepare_graph(folder.root, Settings(asset_keys="path"))[2] if p.severity == "error"]


@pytest.mark.parametrize("style", ["flat", "flat_lower", "path"])
def test_a_table_and_a_task_with_the_same_name_must_be_renamed(folder: ProjectFolder, style: str) -> None:
    folder.write("metadata/load/desk/branches.sl.yml", TABLE.format(name="branches"))
    folder.write("metadata/transform/desk/branches.sql", "select 1 as id\n")
    _, _, problems = prepare_graph(folder.root, Settings(asset_keys=style))  # type: ignore[arg-type]
    (error,) = [p for p in problems if p.severity == "error"]
    assert error.message.startswith("two nodes have the asset key 'desk")
    assert "table desk.branches (metadata/load/desk/branches.sl.yml:2) and task desk.branches (metadata/transform/desk/branches.sql" in (
        error.message
    )
    assert error.message.endswith("; rename one")


def test_duplicate_keys_from_a_translator_name_the_translator(folder: ProjectFolder) -> None:
    class OneKey(StarlakeTranslator):
        def get_asset_spec(self, node: StarlakeNode) -> dg.AssetSpec:
            return super().get_asset_spec(node).replace_attributes(key="same")

    folder.write("metadata/load/shop/orders.sl.yml", TABLE.format(name="orders"))
    folder.write("metadata/load/shop/items.sl.yml", TABLE.format(name="items"))
    _, _, problems = prepare_graph(folder.root, Settings(translator=OneKey()))
    (error,) = [p for p in problems if p.severity == "error"]
    assert error.message.endswith("; the translation (or get_asset_spec) gives both this key")


def test_all_problems_are_reported_at_once_with_file_and_line(shop: ProjectFolder) -> None:
    shop.write("metadata/load/shop/broken.sl.yml", "version: 1\ntable:\n  name: 'broken\n")
    shop.write("metadata/transform/kpi/lost.sl.yml", "version: 1\ntask:\n  dagRef: trnsforms\n  schedule: dayly\n  sql: select 1\n")
    shop.write("metadata/transform/kpi/twice.sl.yml", "version: 1\ntask:\n  sql: select 1\n  sql: select 2\n")
    with pytest.raises(InvalidProject) as caught:
        load_definitions_from_starlake_project(shop.root)
    text = str(caught.value)
    assert isinstance(caught.value, dg.DagsterInvalidDefinitionError)
    assert "metadata/load/shop/broken.sl.yml:3" in text
    assert "metadata/transform/kpi/lost.sl.yml:3" in text
    assert "did you mean 'transforms'?" in text
    assert "metadata/transform/kpi/twice.sl.yml:4" in text


@pytest.mark.parametrize(
    ("executor", "severity"), [(ShellExecutor(), "error"), (DuckDBExecutor(strict=True), "error"), (DuckDBExecutor(), "warning")]
)
def test_a_file_that_starlake_rejects_is_an_error_where_starlake_or_a_strict_engine_runs(
    shop: ProjectFolder, executor: StarlakeExecutor, severity: str
) -> None:
    orders = (shop.root / "metadata/load/shop/orders.sl.yml").read_text()
    shop.write("metadata/load/shop/orders.sl.yml", f"{orders}\n  nosuch: 1\n")
    _, _, problems = prepare_graph(shop.root, Settings(executor=executor))
    assert [p.severity for p in problems if "'nosuch'" in p.message] == [severity]


def test_an_executor_that_does_not_exist_is_an_error_unless_one_is_set(shop: ProjectFolder) -> None:
    config = (shop.root / "metadata/dags/transforms.sl.yml").read_text().replace("__shell.", "__dataproc.")
    shop.write("metadata/dags/transforms.sl.yml", config)
    _, _, problems = prepare_graph(shop.root, Settings())
    assert any("dataproc" in p.message and p.severity == "error" for p in problems)
    assert build_definitions(shop.root, Settings(executor=DuckDBExecutor())).plan.pipelines


def test_loading_changes_no_file(shop: ProjectFolder) -> None:
    before = shop.snapshot()
    load_definitions_from_starlake_project(shop.root)
    assert shop.snapshot() == before


def test_warnings_are_logged(shop: ProjectFolder, caplog: pytest.LogCaptureFixture) -> None:
    config = (shop.root / "metadata/dags/transforms.sl.yml").read_text() + '  options:\n    load_dependencies: "true"\n'
    shop.write("metadata/dags/transforms.sl.yml", config)
    with caplog.at_level(logging.WARNING, "starlake_dagster_components"):
        load_definitions_from_starlake_project(shop.root)
    assert "run_dependencies_first" in caplog.text


def test_a_missing_starlake_is_logged_once(
    shop: ProjectFolder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SL_STARLAKE_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    load_definitions_from_starlake_project(shop.root)
    (line,) = [r.getMessage() for r in caplog.records if "not on the PATH" in r.getMessage()]
    assert "the Starlake command 'starlake' is not on the PATH: install Starlake" in line
    assert "executor: {type: duckdb}" in line
    assert prepare_graph(shop.root, Settings())[2] == ()
    caplog.clear()
    load_definitions_from_starlake_project(shop.root, executor="duckdb")
    assert "not on the PATH" not in caplog.text


def test_a_missing_project_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ProjectNotFound, match="metadata"):
        load_definitions_from_starlake_project(tmp_path)


def test_one_code_location_can_contain_two_projects(shop: ProjectFolder, tmp_path: Path) -> None:
    other = ProjectFolder(tmp_path / "other")
    for file, content in shop.snapshot().items():
        other.write(
            file.replace("/shop/", "/store/").replace("/kpi/", "/figures/"),
            content.decode().replace("shop", "store").replace("kpi", "figures"),
        )
    one, two = (load_definitions_from_starlake_project(f.root) for f in (shop, other))
    repository = dg.Definitions.merge(one, two).get_repository_def()
    assert {"shop_tables", "store_tables", "kpi_tasks", "figures_tasks"} <= {j.name for j in repository.get_all_jobs()}


@pytest.mark.slow
def test_a_chain_of_2000_tasks_in_one_job(shop: ProjectFolder) -> None:
    names = [f"step_{i:04d}" for i in range(2000)]
    previous = ["shop.orders", *(f"chain.{n}" for n in names)]
    for name, source in zip(reversed(names), reversed(previous[:-1]), strict=True):
        shop.write(f"metadata/transform/chain/{name}.sql", f"select * from {source}\n")
    config = (shop.root / "metadata/dags/transforms.sl.yml").read_text() + "  options:\n    run_dependencies_first: true\n"
    shop.write("metadata/dags/transforms.sl.yml", config)
    built = build_definitions(shop.root, Settings())
    assert built.graph.depth == 2002
    job = built.definitions.get_repository_def().get_job("chain_tasks")
    assert len(list(job.asset_layer.executable_asset_keys)) == 2002


def test_a_job_may_have_the_name_of_one_of_its_assets(shop: ProjectFolder) -> None:
    for config, name in (("loads", "{{domain}}"), ("transforms", "{{domain}}_{{table}}")):
        text = (shop.root / f"metadata/dags/{config}.sl.yml").read_text()
        shop.write(f"metadata/dags/{config}.sl.yml", re.sub(r'filename: ".*"', f'filename: "{name}.py"', text))
    repository = load_definitions_from_starlake_project(shop.root).get_repository_def()
    repository.load_all_definitions()
    assert {j.name for j in repository.get_all_jobs() if not j.name.startswith("__")} == {"shop", "kpi_daily", "kpi_top"}
    assert {k.to_user_string() for k in repository.get_job("shop").asset_layer.executable_asset_keys} == {
        "shop",
        "shop_orders",
        "shop_items",
    }


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "bad name",
            "x",
            "variables: 'bad name' cannot be passed to Starlake: a name must not be empty or contain a space, a comma, or '='",
        ),
        (
            "",
            "x",
            "variables: '' cannot be passed to Starlake: a name must not be empty or contain a space, a comma, or '='",
        ),
        ("country", "F R", "variables: country cannot be passed to Starlake: its value 'F R' contains a space or a comma"),
        ("list", "a,b", "variables: list cannot be passed to Starlake: its value 'a,b' contains a space or a comma"),
        ("password", "se cret", "variables: password cannot be passed to Starlake: its value '***' contains a space or a comma"),
    ],
)
def test_a_variable_that_no_command_can_get_is_an_error_of_loading(shop: ProjectFolder, name: str, value: str, message: str) -> None:
    _, _, problems = prepare_graph(shop.root, Settings(variables={name: value, "fine": "1"}))
    (error,) = [p for p in problems if p.severity == "error"]
    assert error.message.startswith(message)


@pytest.mark.parametrize("number", [0, -3])
def test_max_concurrent_below_1_is_rejected(number: int) -> None:
    with pytest.raises((InvalidSetting, dg.DagsterInvalidDefinitionError), match="max_concurrent"):
        choose_job_executor(None, Settings(max_concurrent=number))


LIST_READING_STATE = """
import gc, sys
from starlake_dagster_components import load_definitions_from_starlake_project
definitions = load_definitions_from_starlake_project(sys.argv[1], cache=sys.argv[2])
definitions.get_repository_def().load_all_definitions()
gc.collect()
print(sorted({type(o).__name__ for o in gc.get_objects()} & {"Loaded", "Lookups", "Reading", "StartedProject", "StoredPlans"}))
"""


@pytest.mark.parametrize("cached", [False, True])
def test_definitions_do_not_keep_what_was_read_in_memory(shop: ProjectFolder, tmp_path: Path, cached: bool) -> None:
    # In a fresh process, because Dagster keeps local variables of the first function that builds definitions.
    arguments = [sys.executable, "-W", "ignore", "-c", LIST_READING_STATE, str(shop.root), str(tmp_path / "cache") if cached else "off"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
