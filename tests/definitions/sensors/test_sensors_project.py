"""A whole project, from the tick of a schedule over a load to the run that a sensor starts, with an executor that runs nothing."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import pytest
from dagster_home import open_instance
from project_folder import ProjectFolder

from starlake_dagster_components import load_definitions_from_starlake_project
from starlake_dagster_components.definitions.build import prepare_graph
from starlake_dagster_components.definitions.sensors.rule import DatasetTiming
from starlake_dagster_components.definitions.sensors.watched import add_other_names, find_timings
from starlake_dagster_components.settings import Settings
from starlake_dagster_components.testing import RecordingExecutor


@pytest.fixture
def project(shop: ProjectFolder) -> ProjectFolder:
    """The shop without external tables."""
    return shop.write("metadata/transform/kpi/top.sql", "select max(amount) as best from kpi.daily\n")


def set_options(project: ProjectFolder, **values: str) -> ProjectFolder:
    lines = "\n".join(f"    {name}: {value}" for name, value in values.items())
    config = project.root / "metadata/dags/transforms.sl.yml"
    config.write_text(f"{config.read_text()}  options:\n{lines}\n")
    return project


def list_problems(project: ProjectFolder) -> list[str]:
    return [str(p) for p in prepare_graph(project.root, Settings())[2]]


def test_logical_times_travel_from_the_schedule_to_the_transforms(project: ProjectFolder, tmp_path: Path) -> None:
    executor = RecordingExecutor()
    defs = load_definitions_from_starlake_project(project.root, executor=executor)
    tick = datetime(2026, 1, 5, tzinfo=timezone.utc)
    schedule, sensor = defs.resolve_schedule_def("shop_tables_schedule"), defs.resolve_sensor_def("kpi_tasks_sensor")
    (scheduled,) = schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=tick)).run_requests or ()
    with open_instance(tmp_path / "dagster") as instance:
        assert defs.resolve_job_def("shop_tables").execute_in_process(instance=instance, tags=dict(scheduled.tags)).success
        with dg.build_multi_asset_sensor_context(
            monitored_assets=[dg.AssetKey("shop_items"), dg.AssetKey("shop_orders")],
            instance=instance,
            repository_def=defs.get_repository_def(),
        ) as context:
            request = sensor(context)
        assert isinstance(request, dg.RunRequest)
        assert defs.resolve_job_def("kpi_tasks").execute_in_process(instance=instance, tags=dict(request.tags)).success
    for verb in ("load", "transform"):
        commands = [c for c in executor.commands if c.verb == verb]
        assert len(commands) == 2
        assert all(c.arguments[c.arguments.index("--scheduledDate") + 1] == "2026-01-05T00:00:00" for c in commands)
    passed = executor.commands[-1].arguments
    assert "sl_data_interval_start=1970-01-01T00:00:00,sl_data_interval_end=2026-01-05T00:00:00" in passed[passed.index("--options") + 1]


def test_an_unknown_dataset_in_the_strategy_has_file_and_line(project: ProjectFolder) -> None:
    set_options(project, dataset_triggering_strategy="shop.orders and shop.item")
    assert list_problems(project) == [
        "metadata/dags/transforms.sl.yml:7: option 'dataset_triggering_strategy': unknown dataset 'shop.item' (did you mean 'shop.items'?)"
    ]


def test_options_without_effect_are_warned_about(project: ProjectFolder) -> None:
    set_options(project, optional_dataset_enabled="true")
    (problem,) = list_problems(project)
    assert problem.startswith("metadata/dags/transforms.sl.yml:7: warning: option 'optional_dataset_enabled' has no effect")


def test_strategy_and_cycle_of_a_dag_config_create_a_sensor(project: ProjectFolder) -> None:
    set_options(project, dataset_triggering_strategy="shop.orders | shop.items", data_cycle_enabled="true")
    assert list_problems(project) == []
    assert load_definitions_from_starlake_project(project.root).resolve_sensor_def("kpi_tasks_sensor")


def test_timings_follow_renamed_tables_and_tasks(project: ProjectFolder) -> None:
    table = project.root / "metadata/load/shop/orders.sl.yml"
    table.write_text(
        table.read_text()
        .replace("      type: APPEND\n", "      type: APPEND\n    freshness:\n      error: 2 days\n")
        .replace("  name: orders\n", "  name: orders\n  rename: sales\n")
    )
    project.write("metadata/transform/kpi/top.sl.yml", "version: 1\ntask:\n  table: best\n")
    plan, graph, found = prepare_graph(project.root, Settings())
    assert not [p for p in found if p.severity == "error"], found
    watched = {
        "shop.orders": graph.keys["table", "shop.orders"],
        "shop.items": graph.keys["table", "shop.items"],
        "kpi.top": graph.keys["task", "kpi.top"],
    }
    zone = plan.pipelines[-1].schedule.timezone  # type: ignore[union-attr]
    assert find_timings(graph, watched, Settings()) == {
        "shop.orders": DatasetTiming("0 0 * * *", zone, timedelta(days=2)),
        "shop.items": DatasetTiming("0 0 * * *", zone),
    }
    names = {name: key.to_user_string() for name, key in add_other_names(graph, watched).items()}
    assert {name for name, key in names.items() if key == "shop_sales"} == {"shop.orders", "shop.sales", "shop_sales"}
    assert {name for name, key in names.items() if key == "kpi_top"} == {"kpi.top", "kpi.best", "kpi_top"}
