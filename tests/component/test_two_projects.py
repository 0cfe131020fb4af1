"""Two projects, or one twice, in one code location."""

import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from dagster.components.testing import create_defs_folder_sandbox
from project_folder import ProjectFolder

from starlake_dagster_components import StarlakeProjectComponent, load_definitions_from_starlake_project

TYPE = "starlake_dagster_components.StarlakeProjectComponent"


@pytest.fixture
def north(shop: ProjectFolder) -> ProjectFolder:
    """The shop with files to load, and with its external table."""
    shop.write("datasets/incoming/shop/orders.csv", "id;amount\n1;10\n")
    shop.write("datasets/incoming/shop/items.csv", "id;label\n1;pen\n")
    shop.write("metadata/transform/kpi/top.sql", "select d.* from kpi.daily d left join elsewhere.rates r on r.id = d.id\n")
    with duckdb.connect(str(shop.root / "datasets/duckdb.db")) as connection:
        connection.execute("create schema elsewhere; create table elsewhere.rates (id bigint)")
    return shop


@pytest.fixture
def south(north: ProjectFolder, tmp_path: Path) -> ProjectFolder:
    """Another project with the same names, but other rows."""
    other = ProjectFolder(tmp_path / "south")
    for file, content in north.snapshot().items():
        path = other.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return other.write("datasets/incoming/shop/orders.csv", "id;amount\n1;20\n2;30\n")


@pytest.fixture(params=[False, True], ids=["each", "batch"])
def location(request: pytest.FixtureRequest, north: ProjectFolder, south: ProjectFolder) -> Iterator[dg.Definitions]:
    """Both projects, each as a component in its own folder of one ``dg`` project."""
    with create_defs_folder_sandbox() as sandbox:
        for name, project in {"north": north, "south": south}.items():
            sandbox.scaffold_component(
                component_cls=StarlakeProjectComponent,
                scaffold_params={"project": str(project.root)},
                defs_path=name,
                defs_yaml_contents={
                    "type": TYPE,
                    "attributes": {
                        "project": str(project.root),
                        "executor": "duckdb",
                        "batch": request.param,
                        "name_prefix": f"{name}_",
                        "translation": {"key_prefix": name},
                    },
                },
            )
        with sandbox.build_all_defs() as defs:
            yield defs


def count_rows(project: ProjectFolder, table: str) -> int:
    with duckdb.connect(str(project.root / "datasets/duckdb.db"), read_only=True) as connection:
        found = connection.execute(f"select count(*) from {table}").fetchone()
    assert found
    return int(found[0])


def test_jobs_schedules_and_sensors_of_both_are_there(location: dg.Definitions) -> None:
    repository = location.get_repository_def()
    repository.load_all_definitions()
    assert {j.name for j in repository.get_all_jobs() if not j.name.startswith("__")} == {
        "north_shop_tables",
        "north_kpi_tasks",
        "south_shop_tables",
        "south_kpi_tasks",
    }
    assert {(s.name, s.job_name) for s in repository.schedule_defs} == {
        ("north_shop_tables_schedule", "north_shop_tables"),
        ("south_shop_tables_schedule", "south_shop_tables"),
    }
    assert {s.name for s in repository.sensor_defs} == {"north_kpi_tasks_sensor", "south_kpi_tasks_sensor"}
    keys = {k.to_user_string() for k in location.resolve_asset_graph().get_all_asset_keys()}
    names = ("shop", "shop_orders", "shop_items", "kpi_daily", "kpi_top", "elsewhere_rates")
    assert keys == {f"{prefix}/{name}" for prefix in ("north", "south") for name in names}


def test_a_job_of_each_runs_its_own_project_and_wakes_its_own_sensor(
    location: dg.Definitions, north: ProjectFolder, south: ProjectFolder
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for name in ("north_shop_tables", "south_shop_tables", "south_kpi_tasks"):
            assert location.resolve_job_def(name).execute_in_process(instance=instance).success
        assert (count_rows(north, "shop.orders"), count_rows(south, "shop.orders")) == (1, 2)
        assert count_rows(south, "kpi.daily") == 1
        with pytest.raises(duckdb.CatalogException):
            count_rows(north, "kpi.daily")
        repository = location.get_repository_def()
        for prefix in ("north", "south"):
            sensor = repository.get_sensor_def(f"{prefix}_kpi_tasks_sensor")
            context = dg.build_multi_asset_sensor_context(
                monitored_assets=[dg.AssetKey([prefix, "shop_orders"]), dg.AssetKey([prefix, "shop_items"])],
                instance=instance,
                repository_def=repository,
            )
            (request,) = sensor.evaluate_tick(context).run_requests or ()
            assert re.findall(r"(\w+)/shop_", request.tags[".dagster/starlake_triggered_by"]) == [prefix, prefix]


def test_assets_of_both_are_materialized_together(location: dg.Definitions, north: ProjectFolder, south: ProjectFolder) -> None:
    selection = [dg.AssetKey([prefix, name]) for prefix in ("north", "south") for name in ("shop", "shop_orders", "shop_items")]
    job = location.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance, asset_selection=selection).success
    assert (count_rows(north, "shop.orders"), count_rows(south, "shop.orders")) == (1, 2)


def test_a_job_may_have_the_name_of_an_asset_of_the_other(north: ProjectFolder, south: ProjectFolder) -> None:
    config = (north.root / "metadata/dags/transforms.sl.yml").read_text().replace("{{domain}}_tasks.py", "shop.py")
    north.write("metadata/dags/transforms.sl.yml", config)
    others = load_definitions_from_starlake_project(south.root)

    def list_jobs(**prefix: str) -> set[str]:
        attributes = {"project": str(north.root), "translation": {"key_prefix": "north"}, **prefix}
        one = dg.build_defs_for_component(StarlakeProjectComponent.from_attributes_dict(attributes=attributes))
        repository = dg.Definitions.merge(one, others).get_repository_def()
        repository.load_all_definitions()
        return {j.name for j in repository.get_all_jobs()}

    assert {"north_shop", "shop_tables"} <= list_jobs(name_prefix="north_")
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="shop"):
        list_jobs()
