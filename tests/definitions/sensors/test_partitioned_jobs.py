"""Sensors of jobs without a schedule whose partitions come from a translation."""

from typing import Any

import dagster as dg
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import StarlakeTranslator, load_definitions_from_starlake_project
from starlake_dagster_components.definitions.nodes import StarlakeNode
from starlake_dagster_components.testing import RecordingExecutor

ORDERS, ITEMS, DAILY, TOP = (dg.AssetKey(name) for name in ("shop_orders", "shop_items", "kpi_daily", "kpi_top"))
DAYS = dg.DailyPartitionsDefinition("2026-02-01", timezone="Europe/Paris")
INTERVAL = "sl_data_interval_start=2026-02-01T23:00:00,sl_data_interval_end=2026-02-02T23:00:00"


class Daily(StarlakeTranslator):
    """Gives both tasks a partition per day."""

    def get_asset_spec(self, node: StarlakeNode) -> dg.AssetSpec:
        spec = super().get_asset_spec(node)
        return spec.replace_attributes(partitions_def=DAYS) if node.task else spec


@pytest.fixture
def project(shop: ProjectFolder) -> ProjectFolder:
    """The shop without external tables; its job ``kpi_tasks`` has no schedule and reads orders and items."""
    return shop.write("metadata/transform/kpi/top.sql", "select max(amount) as best from kpi.daily\n")


def load(project: ProjectFolder, executor: RecordingExecutor, automation: Any = "sensors") -> dg.Definitions:
    return load_definitions_from_starlake_project(
        project.root, executor=executor, cache="off", translator=Daily(), automation=automation, partitions="off"
    )


def materialize(instance: dg.DagsterInstance, logical_time: str) -> None:
    for key in (ORDERS, ITEMS):
        instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata={"starlake/scheduled_date": logical_time}))


def tick(definitions: dg.Definitions, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    sensor = definitions.resolve_sensor_def("kpi_tasks_sensor")
    with dg.build_multi_asset_sensor_context(
        monitored_assets=[ORDERS, ITEMS], instance=instance, cursor=cursor, repository_def=definitions.get_repository_def()
    ) as context:
        return sensor.evaluate_tick(context)


def test_a_sensor_starts_the_last_partition_that_is_complete_at_the_logical_time(
    project: ProjectFolder, instance: dg.DagsterInstance
) -> None:
    executor = RecordingExecutor()
    definitions = load(project, executor)
    materialize(instance, "2026-02-03T00:00:00+01:00")
    (request,) = tick(definitions, instance).run_requests
    assert request.partition_key == "2026-02-02"
    assert request.tags["starlake/data_interval_start"] == "2026-02-02T00:00:00+01:00"
    assert request.tags["starlake/data_interval_end"] == "2026-02-03T00:00:00+01:00"
    assert definitions.resolve_job_def("kpi_tasks").execute_in_process(instance=instance, tags=dict(request.tags)).success
    lines = [" ".join(command.argv) for command in executor.commands]
    assert [INTERVAL in line for line in lines] == [True, True]
    for key in (DAILY, TOP):
        assert instance.get_materialized_partitions(key) == {"2026-02-02"}


def test_materializations_without_a_partition_are_not_consumed(project: ProjectFolder, instance: dg.DagsterInstance) -> None:
    definitions = load(project, RecordingExecutor())
    materialize(instance, "2026-01-20T00:00:00+01:00")
    early = tick(definitions, instance)
    assert not early.run_requests
    assert (early.skip_message or "").startswith(
        "The job has no partition that is complete at 2026-01-19T23:00:00+00:00: its partitions range from 2026-02-01 to"
    )
    instance.report_runless_asset_event(dg.AssetMaterialization(ORDERS, metadata={"starlake/scheduled_date": "2026-02-02T12:00:00+01:00"}))
    (request,) = tick(definitions, instance, early.cursor).run_requests
    assert request.partition_key == "2026-02-01"


@pytest.mark.skipif(not hasattr(dg.AutomationCondition, "any_job_root_assets_match"), reason="needs Dagster 1.13.14")
def test_a_job_with_partitions_has_a_sensor_instead_of_a_condition(project: ProjectFolder) -> None:
    for automation, sensors in (("sensors", {"kpi_tasks_sensor"}), ("conditions", {"kpi_tasks_sensor"}), ("none", set())):
        definitions = load(project, RecordingExecutor(), automation)
        assert {sensor.name for sensor in definitions.get_repository_def().sensor_defs} == sensors
