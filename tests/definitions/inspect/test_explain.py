import dagster as dg
from project_folder import ProjectFolder

from starlake_dagster_components import DuckDBExecutor
from starlake_dagster_components.definitions.build import prepare_graph
from starlake_dagster_components.definitions.inspect.explain import explain_name
from starlake_dagster_components.definitions.nodes import StarlakeNode
from starlake_dagster_components.definitions.translator import StarlakeTranslator
from starlake_dagster_components.settings import Settings
from starlake_dagster_components.testing import RecordingExecutor


def list_lines(project: ProjectFolder, name: str, settings: Settings | None = None) -> list[str]:
    used = settings or Settings()
    _, graph, _ = prepare_graph(project.root, used)
    return explain_name(graph, used, name)


def test_explain_shows_the_executor_of_the_template_or_the_setting(shop: ProjectFolder) -> None:
    template = "the template 'load/dagster__scheduled_table__shell.py.j2'"
    where = "[metadata/dags/loads.sl.yml:4]"
    assert f"  executor shell: from {template}  {where}" in list_lines(shop, "shop_tables")
    found = list_lines(shop, "shop_tables", Settings(executor=DuckDBExecutor()))
    assert f"  executor duckdb: from the executor setting, which overrides shell of {template}  {where}" in found
    assert any(
        line.startswith("  executor recording: from the executor setting")
        for line in list_lines(shop, "shop_tables", Settings(executor=RecordingExecutor()))
    )


def test_explain_shows_the_strategy_of_a_pre_load_and_its_source(shop: ProjectFolder) -> None:
    assert list_lines(shop, "shop") == [
        "asset shop: pre-load of the domain shop  [metadata/load/shop/_config.sl.yml:2]",
        "  strategy imported: DAG config 'loads', job shop_tables  [metadata/dags/loads.sl.yml:7]",
        "  in the job shop_tables",
    ]


def test_explain_shows_the_file_sensor_of_a_job_and_its_cause(shop: ProjectFolder) -> None:
    waits = f"  waits for items.*.csv, orders.*.csv in {shop.root}/datasets/incoming/shop"
    by_setting = ["sensor shop_tables_files_sensor: the file_sensors setting", waits]
    assert list_lines(shop, "shop_tables_files_sensor", Settings(file_sensors="on")) == by_setting
    shown = list_lines(shop, "shop_tables", Settings(file_sensors="on"))
    assert [line for line in shown if "files_sensor" in line or "waits" in line] == [f"  {line}" for line in by_setting]
    loads = (shop.root / "metadata/dags/loads.sl.yml").read_text()
    shop.write("metadata/dags/loads.sl.yml", f'{loads}    pre_load_sensor: "true"\n')
    line = len(loads.splitlines()) + 1
    assert list_lines(shop, "shop_tables_files_sensor") == [
        f"sensor shop_tables_files_sensor: pre_load_sensor  [metadata/dags/loads.sl.yml:{line}]",
        waits,
    ]
    shop.write("metadata/dags/loads.sl.yml", f'{loads}    pre_load_sensor: "false"\n')
    assert not [line for line in list_lines(shop, "shop_tables", Settings(file_sensors="on")) if "files_sensor" in line]


def test_jobs_with_different_strategies_are_distinguished(shop: ProjectFolder) -> None:
    loads = (shop.root / "metadata/dags/loads.sl.yml").read_text()
    shop.write("metadata/dags/others.sl.yml", loads.replace("imported", "pending").replace("_tables", "_others"))
    items = (shop.root / "metadata/load/shop/items.sl.yml").read_text()
    shop.write("metadata/load/shop/items.sl.yml", items.replace("  metadata:\n", "  metadata:\n    dagRef: others\n"))
    assert list_lines(shop, "shop")[1:] == [
        "  strategy pending: DAG config 'others', job shop_others  [metadata/dags/others.sl.yml:7]",
        "  strategy imported: DAG config 'loads', job shop_tables  [metadata/dags/loads.sl.yml:7]",
        "  in the jobs shop_others, shop_tables",
    ]
    assert "  after shop: pre-load of its domain, strategy pending  [metadata/dags/others.sl.yml:7]" in list_lines(shop, "shop_items")


def test_a_table_is_after_the_pre_load_of_its_domain(shop: ProjectFolder) -> None:
    assert "  after shop: pre-load of its domain, strategy imported  [metadata/dags/loads.sl.yml:7]" in list_lines(shop, "shop_orders")


def test_additions_of_a_translator_are_reported_too(shop: ProjectFolder) -> None:
    class More(StarlakeTranslator):
        def get_asset_spec(self, node: StarlakeNode) -> dg.AssetSpec:
            return super().get_asset_spec(node).merge_attributes(deps=["elsewhere"] if node.type == "task" else [])

    found = list_lines(shop, "kpi_daily", Settings(translator=More()))
    assert "  after elsewhere: from the translation (or get_asset_spec)" in found
    assert "  after shop_orders (table shop.orders): sql  [metadata/transform/kpi/daily.sql:2]" in found


def test_explain_shows_why_an_asset_has_no_job(shop: ProjectFolder) -> None:
    application = (shop.root / "metadata/application.sl.yml").read_text()
    shop.write("metadata/application.sl.yml", application.replace("    load: loads\n", ""))
    config = (shop.root / "metadata/dags/transforms.sl.yml").read_text()
    shop.write("metadata/dags/transforms.sl.yml", config.replace("dagster__", "airflow__"))
    assert list_lines(shop, "shop_orders")[-1] == "  in no job: it has no dagRef, and the application has no dagRef.load"
    assert list_lines(shop, "kpi_daily")[-1].startswith("  in no job: DAG config 'transforms' does not become a job, because its template ")
    assert list_lines(shop, "kpi_daily")[-1].endswith("  [metadata/dags/transforms.sl.yml:4]")


def test_explain_shows_the_time_zone_that_definitions_use(shop: ProjectFolder) -> None:
    found = list_lines(shop, "shop_tables_schedule", Settings(timezone="Europe/Paris"))
    assert found[0].startswith("schedule shop_tables_schedule: '0 0 * * *' (Europe/Paris)")


def test_an_asset_names_the_environment_and_the_connection_of_its_commands(shop: ProjectFolder) -> None:
    application = (shop.root / "metadata/application.sl.yml").read_text()
    other = "    pg: {type: jdbc, options: {url: 'jdbc:postgresql://db/x'}}\n"
    text = application.replace("connectionRef: duckdb", "connectionRef: '{{db}}'").replace("  dagRef:\n", f"{other}  dagRef:\n")
    shop.write("metadata/application.sl.yml", text)
    shop.write("metadata/env.sl.yml", "env: {db: duckdb}\n")
    shop.write("metadata/env.PG.sl.yml", "env: {db: pg}\n")
    config = (shop.root / "metadata/dags/transforms.sl.yml").read_text()
    shop.write("metadata/dags/transforms.sl.yml", f'{config}  options:\n    sl_env_var: \'{{"SL_ENV": "PG"}}\'\n')
    numbers = {line.strip(): number for number, line in enumerate(text.splitlines(), 1)}
    found = list_lines(shop, "kpi_daily")
    assert [line for line in found if "environment" in line] == ["  environment PG: sl_env_var  [metadata/dags/transforms.sl.yml:7]"]
    assert f"  connection pg: postgres  [metadata/application.sl.yml:{numbers[other.strip()]}]" in found
    found = list_lines(shop, "shop_orders")
    assert not [line for line in found if "environment" in line]
    assert f"  connection duckdb: duckdb  [metadata/application.sl.yml:{numbers['duckdb:']}]" in found
