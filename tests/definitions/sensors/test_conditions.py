"""The setting ``automation``: jobs are started by sensors, by automation conditions, or not at all."""

from datetime import datetime
from typing import Any

import dagster as dg
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import load_definitions_from_starlake_project
from starlake_dagster_components.cli.run import keep_definitions
from starlake_dagster_components.definitions.build import build_definitions
from starlake_dagster_components.settings import Settings
from starlake_dagster_components.testing import RecordingExecutor

needs_conditions_of_jobs = pytest.mark.skipif(
    not hasattr(dg.AutomationCondition, "any_job_root_assets_match"), reason="needs automation conditions of jobs (Dagster 1.13.14)"
)
ORDERS, ITEMS, DAILY, TOP = (dg.AssetKey(name) for name in ("shop_orders", "shop_items", "kpi_daily", "kpi_top"))


@pytest.fixture
def project(shop: ProjectFolder) -> ProjectFolder:
    """The shop without external tables; its job ``kpi_tasks`` reads orders and items."""
    return shop.write("metadata/transform/kpi/top.sql", "select max(amount) as best from kpi.daily\n")


def load(project: ProjectFolder, automation: Any, **settings: Any) -> dg.Definitions:
    return load_definitions_from_starlake_project(
        project.root, executor=RecordingExecutor(), cache="off", automation=automation, **settings
    )


def set_options(project: ProjectFolder, **options: str) -> None:
    config = project.root / "metadata/dags/transforms.sl.yml"
    lines = "".join(f'    {name}: "{value}"\n' for name, value in options.items())
    config.write_text(config.read_text() + "  options:\n" + lines)


class Ticking:
    """The conditions of a project, evaluated as by the daemon."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.definitions, self.instance = definitions, instance
        self.cursor: Any = None

    def tick(self, *materialized: dg.AssetKey) -> int:
        """Materialize assets. Return the number of requested jobs."""
        for key in materialized:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(key))
        result = dg.evaluate_automation_conditions(self.definitions, self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        return result.total_requested


def list_sensors(definitions: dg.Definitions) -> dict[str, dg.DefaultSensorStatus]:
    return {sensor.name: sensor.default_status for sensor in definitions.get_repository_def().sensor_defs}


@needs_conditions_of_jobs
def test_the_setting_chooses_sensors_or_conditions(project: ProjectFolder) -> None:
    running, stopped = dg.DefaultSensorStatus.RUNNING, dg.DefaultSensorStatus.STOPPED
    assert list_sensors(load(project, "sensors")) == {"kpi_tasks_sensor": running}
    assert list_sensors(load(project, "conditions")) == {"starlake_conditions": running}
    assert list_sensors(load(project, "conditions", default_status="STOPPED", name_prefix="north_")) == {
        "north_starlake_conditions": stopped
    }
    assert list_sensors(load(project, "none")) == {}


@needs_conditions_of_jobs
def test_all_inputs_start_one_run(project: ProjectFolder, instance: dg.DagsterInstance) -> None:
    ticking = Ticking(load(project, "conditions"), instance)
    assert ticking.tick() == 0
    assert ticking.tick(ORDERS) == 0
    assert ticking.tick(ITEMS) == 1
    # Nothing is requested a second time, whether the run has begun or not.
    assert ticking.tick() == 0
    assert ticking.tick(DAILY, TOP) == 0
    assert ticking.tick(ORDERS, ORDERS) == 0
    assert ticking.tick(ITEMS) == 1


@needs_conditions_of_jobs
def test_inputs_that_arrive_between_a_run_and_the_next_evaluation_start_a_run(project: ProjectFolder, instance: dg.DagsterInstance) -> None:
    ticking = Ticking(load(project, "conditions"), instance)
    assert [ticking.tick(), ticking.tick(ORDERS, ITEMS), ticking.tick(DAILY, TOP, ORDERS, ITEMS)] == [0, 1, 1]
    assert [ticking.tick(DAILY, TOP), ticking.tick(), ticking.tick(ORDERS)] == [0, 0, 0]
    assert [ticking.tick(DAILY, TOP, ITEMS), ticking.tick(ORDERS), ticking.tick(DAILY, TOP)] == [0, 1, 0]


@needs_conditions_of_jobs
def test_any_input_starts_a_run(project: ProjectFolder, instance: dg.DagsterInstance) -> None:
    set_options(project, dataset_triggering_strategy="any")
    ticking = Ticking(load(project, "conditions"), instance)
    assert [ticking.tick(), ticking.tick(ORDERS), ticking.tick(DAILY), ticking.tick(ITEMS)] == [0, 1, 0, 1]


@needs_conditions_of_jobs
def test_an_expression_starts_a_run(project: ProjectFolder, instance: dg.DagsterInstance) -> None:
    set_options(project, dataset_triggering_strategy="(shop.items or shop.orders) and shop.orders")
    ticking = Ticking(load(project, "conditions"), instance)
    assert [ticking.tick(), ticking.tick(ITEMS), ticking.tick(ORDERS)] == [0, 0, 1]


@needs_conditions_of_jobs
def test_options_that_conditions_cannot_express_are_named(project: ProjectFolder) -> None:
    set_options(project, min_timedelta_between_runs="60")
    built = build_definitions(project.root, Settings(executor=RecordingExecutor(), cache="off", automation="conditions"))
    assert [p.message for p in built.problems if "conditions" in p.message] == [
        "option 'min_timedelta_between_runs' has no effect with automation: conditions"
    ]


@needs_conditions_of_jobs
def test_runs_that_a_condition_starts_have_dates_and_an_interval(project: ProjectFolder, instance: dg.DagsterInstance) -> None:
    project.write(
        "metadata/transform/kpi/daily.sql",
        "select * from shop.orders join shop.items using (id) where id >= {{sl_data_interval_start}} and id < {{sl_data_interval_end}}\n",
    )
    executor = RecordingExecutor()
    settings = Settings(executor=executor, cache="off", automation="conditions")
    built = build_definitions(project.root, settings)
    with keep_definitions(built, settings) as token:
        job = dg.build_reconstructable_job(
            "starlake_dagster_components.cli.run", "rebuild", reconstructable_kwargs={"token": token, "job": "kpi_tasks"}
        )
        for day in ("2026-01-05", "2026-01-06"):
            time = dg.MetadataValue.timestamp(datetime.fromisoformat(f"{day}T00:00:00+00:00"))
            for key in (ORDERS, ITEMS):
                instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata={"starlake/scheduled_date": time}))
            tags = {"dagster/from_automation_condition": "true"}
            with dg.execute_job(job, instance, tags=tags) as result:
                assert result.success
                run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.tags["starlake/data_interval_start"] == "2026-01-05T00:00:00+00:00"
        assert run.tags["starlake/data_interval_end"] == "2026-01-06T00:00:00+00:00"
    lines = [" ".join(c.argv) for c in executor.commands if "kpi.daily" in " ".join(c.argv)]
    assert "--scheduledDate 2026-01-06T00:00:00" in lines[1]
    assert "sl_data_interval_start='2026-01-05T00:00:00',sl_data_interval_end='2026-01-06T00:00:00'" in lines[1]
