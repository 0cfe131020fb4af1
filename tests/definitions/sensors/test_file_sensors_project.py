"""The file sensors of a project: the jobs that have one, and a daemon that loads every file once."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster_home import make_home
from project_folder import ProjectFolder

from starlake_dagster_components import load_definitions_from_starlake_project
from starlake_dagster_components.definitions.sensors.file_sensor import MINIMUM_INTERVAL_SECONDS


def load(folder: ProjectFolder, **settings: object) -> dg.Definitions:
    return load_definitions_from_starlake_project(folder.root, executor="duckdb", cache="off", **settings)  # type: ignore[arg-type]


def name_sensors(definitions: dg.Definitions) -> set[str]:
    return {sensor.name for sensor in definitions.sensors or ()}


def test_by_default_no_file_starts_a_load(shop: ProjectFolder) -> None:
    definitions = load(shop)
    assert "shop_tables_files_sensor" not in name_sensors(definitions)
    assert dg.AssetKey(["shop", "incoming"]) not in definitions.resolve_asset_graph().get_all_asset_keys()


def test_the_setting_adds_sensors_and_incoming_assets(shop: ProjectFolder) -> None:
    definitions = load(shop, file_sensors="on")
    assert "shop_tables_files_sensor" in name_sensors(definitions)
    sensor = definitions.resolve_sensor_def("shop_tables_files_sensor")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == MINIMUM_INTERVAL_SECONDS
    assert "orders.*.csv" in (sensor.description or "")
    graph = definitions.resolve_asset_graph()
    assert graph.get(dg.AssetKey("shop")).parent_keys == {dg.AssetKey(["shop", "incoming"])}
    assert dg.AssetKey(["shop", "incoming"]) in graph.observable_asset_keys


def test_a_dag_config_decides_for_its_own_jobs(shop: ProjectFolder) -> None:
    dags = shop.root / "metadata/dags/loads.sl.yml"
    text = dags.read_text()
    dags.write_text(text + '    pre_load_sensor: "false"\n')
    assert "shop_tables_files_sensor" not in name_sensors(load(shop, file_sensors="on"))
    dags.write_text(text + '    pre_load_sensor: "true"\n    pre_load_poke_interval: "300"\n')
    definitions = load(shop)
    assert definitions.resolve_sensor_def("shop_tables_files_sensor").minimum_interval_seconds == 300


def test_without_a_pre_load_strategy_nothing_is_watched(shop: ProjectFolder) -> None:
    dags = shop.root / "metadata/dags/loads.sl.yml"
    dags.write_text(dags.read_text().replace("    pre_load_strategy: imported\n", ""))
    assert "shop_tables_files_sensor" not in name_sensors(load(shop, file_sensors="on"))


TICK = """
import sys
import dagster as dg
from starlake_dagster_components import load_definitions_from_starlake_project

root, home, cursor_file = sys.argv[1:]
definitions = load_definitions_from_starlake_project(root, executor="duckdb", file_sensors="on")
sensor = definitions.resolve_sensor_def("shop_tables_files_sensor")
with dg.DagsterInstance.local_temp(home) as instance:
    try:
        cursor = open(cursor_file).read()
    except FileNotFoundError:
        cursor = None
    context = dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=definitions.get_repository_def())
    result = sensor(context)
    for request in result.run_requests or ():
        job = definitions.resolve_job_def("shop_tables")
        tags = {**request.tags, "dagster/run_key": request.run_key}
        assert job.execute_in_process(instance=instance, tags=tags).success
    open(cursor_file, "w").write(result.cursor)
"""


def tick(shop: ProjectFolder, home: Path) -> None:
    """Evaluate the sensor and run its requests in a separate process, like a daemon that is restarted before every tick."""
    make_home(home)
    done = subprocess.run(
        [sys.executable, "-c", TICK, str(shop.root), str(home), str(home / "cursor")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_files_that_arrive_are_loaded_once(shop: ProjectFolder, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    incoming = shop.root / "datasets/incoming/shop"
    incoming.mkdir(parents=True)
    home = tmp_path / "home"
    tick(shop, home)
    (incoming / "orders-1.csv").write_text("id;amount\n1;a\n")
    tick(shop, home)
    assert not (shop.root / "datasets/duckdb.db").exists()
    (incoming / "orders-2.csv").write_text("id;amount\n2;b\n")
    tick(shop, home)
    assert (incoming / "orders-1.csv").exists()
    tick(shop, home)
    assert not list(incoming.iterdir())
    tick(shop, home)
    with duckdb.connect(str(shop.root / "datasets/duckdb.db"), read_only=True) as connection:
        assert connection.execute("SELECT id, amount FROM shop.orders ORDER BY id").fetchall() == [(1, "a"), (2, "b")]
