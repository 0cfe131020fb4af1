"""The op config of a step: date, interval, options, dry run, and the options that a run passes on."""

import json
from typing import Any

import dagster as dg
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import load_definitions_from_starlake_project
from starlake_dagster_components.testing import RecordingExecutor

SQL = "select * from shop.orders where id >= '{{sl_data_interval_start}}' and id < '{{sl_data_interval_end}}'\n"
INTERVAL = {"start": "2026-02-01", "end": "2026-02-02T06:00:00+01:00"}


@pytest.fixture
def executor() -> RecordingExecutor:
    return RecordingExecutor()


def run(
    shop: ProjectFolder, executor: RecordingExecutor, instance: dg.DagsterInstance, ops: dict[str, Any], **more: Any
) -> dg.ExecuteInProcessResult:
    shop.write("metadata/transform/kpi/daily.sql", SQL)
    definitions = load_definitions_from_starlake_project(shop.root, executor=executor, cache="off")
    job = definitions.resolve_job_def(more.pop("job", "kpi_tasks"))
    config = {"ops": {name: {"config": values} for name, values in ops.items()}}
    return job.execute_in_process(instance=instance, run_config=config, raise_on_error=False, **more)


def find_line(executor: RecordingExecutor, name: str) -> str:
    return next(line for c in executor.commands if name in (line := " ".join(c.argv)))


def explain(result: dg.ExecuteInProcessResult, op: str) -> str:
    failure = result.failure_data_for_node(op)
    assert failure is not None
    assert failure.user_failure_data is not None
    return failure.user_failure_data.description or ""


def find_metadata(instance: dg.DagsterInstance, key: str) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(dg.AssetKey(key))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_a_step_config_sets_the_interval_of_one_step(
    shop: ProjectFolder, executor: RecordingExecutor, instance: dg.DagsterInstance
) -> None:
    assert run(shop, executor, instance, {"kpi_daily": {"interval": INTERVAL}}).success
    line = find_line(executor, "kpi.daily")
    assert "sl_data_interval_start=2026-02-01T00:00:00,sl_data_interval_end=2026-02-02T05:00:00" in line
    assert "sl_data_interval" not in find_line(executor, "kpi.top")


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        (
            {"starlake/data_interval_start": "2026-01-01"},
            "the run has the tag starlake/data_interval_start but not starlake/data_interval_end; a data interval needs both",
        ),
        (
            {"starlake/data_interval_start": "2026-01-02", "starlake/data_interval_end": "2026-01-02"},
            "the data interval ends at 2026-01-02, not after its start 2026-01-02",
        ),
    ],
)
def test_invalid_intervals_fail_the_step(
    shop: ProjectFolder, executor: RecordingExecutor, instance: dg.DagsterInstance, tags: dict[str, str], reason: str
) -> None:
    result = run(shop, executor, instance, {}, tags=tags)
    assert explain(result, "kpi_daily") == reason
    assert not executor.commands


def test_options_of_one_step_take_precedence(shop: ProjectFolder, executor: RecordingExecutor, instance: dg.DagsterInstance) -> None:
    ops = {"kpi_daily": {"interval": INTERVAL, "options": {"country": "FR", "sl_data_interval_start": "2025-12-31"}}}
    assert run(shop, executor, instance, ops).success
    assert "sl_data_interval_start=2025-12-31,sl_data_interval_end=2026-02-02T05:00:00,country=FR" in find_line(executor, "kpi.daily")
    assert "country" not in find_line(executor, "kpi.top")
    assert run(shop, executor, instance, {"shop_orders": {"options": {"country": "FR"}}}, job="shop_tables").success
    assert "country=FR" in find_line(executor, "load --domains shop --tables orders")
    assert "country" not in find_line(executor, "load --domains shop --tables items")


def test_a_dry_run_only_reports_its_command(shop: ProjectFolder, executor: RecordingExecutor, instance: dg.DagsterInstance) -> None:
    result = run(shop, executor, instance, {name: {"dry_run": True, "interval": INTERVAL} for name in ("kpi_daily", "kpi_top")})
    assert result.success
    assert run(shop, executor, instance, {n: {"dry_run": True} for n in ("shop", "shop_orders", "shop_items")}, job="shop_tables").success
    assert not executor.commands
    for key in ("kpi_daily", "kpi_top", "shop", "shop_orders", "shop_items"):
        assert find_metadata(instance, key)["sl_dry_run"] is True
    lines = [entry.user_message for entry in instance.all_logs(result.run_id) if entry.user_message.startswith("dry run: ")]
    assert lines[0].startswith("dry run: starlake transform --name kpi.daily --options ")
    assert len(lines) == 2


def test_options_of_the_run_reach_its_transforms_and_the_jobs_downstream(
    shop: ProjectFolder, executor: RecordingExecutor, instance: dg.DagsterInstance
) -> None:
    options = {"all": {"country": "FR", "level": 1}, "kpi.top": {"country": "DE"}, "kpi.other": {"country": "IT"}}
    merge = {"all": {"country": {"policy": "union"}, "unknown": {"policy": "union"}}}
    config = {"sl_options": json.dumps(options), "sl_options_merge": json.dumps(merge)}
    assert run(shop, executor, instance, {"kpi_daily": {**config, "interval": INTERVAL}, "kpi_top": config}).success
    assert "country=FR,level=1" in find_line(executor, "kpi.daily")
    assert "country=DE,level=1" in find_line(executor, "kpi.top")
    assert find_metadata(instance, "kpi_top")["sl_options"] == options
    assert find_metadata(instance, "kpi_top")["sl_options_merge"] == {"all": {"country": {"policy": "union"}}}


def test_options_of_a_run_tag_are_for_transforms(shop: ProjectFolder, executor: RecordingExecutor, instance: dg.DagsterInstance) -> None:
    tags = {
        "sl_options": json.dumps({"all": {"country": "FR"}, "kpi_daily": {"country": "ES"}}),
        "starlake/data_interval_start": "2026-01-01",
        "starlake/data_interval_end": "2026-01-02",
    }
    assert run(shop, executor, instance, {}, tags=tags).success
    assert "country=ES" in find_line(executor, "kpi.daily")
    assert "country=FR" in find_line(executor, "kpi.top")
    assert run(shop, executor, instance, {}, tags=tags, job="shop_tables").success
    assert not [c for c in executor.commands if c.verb == "load" and "country" in " ".join(c.argv)]
    assert find_metadata(instance, "shop_orders")["sl_options"]["all"] == {"country": "FR"}


@pytest.mark.parametrize("text", ["country=FR", "[]", '{"all": 1}'])
def test_options_that_cannot_be_read_fail_the_step(
    shop: ProjectFolder, executor: RecordingExecutor, instance: dg.DagsterInstance, text: str
) -> None:
    result = run(shop, executor, instance, {"kpi_daily": {"sl_options": text}})
    assert explain(result, "kpi_daily").startswith("sl_options")
    assert not executor.commands


def test_a_step_config_and_a_partition_contradict_each_other(
    shop: ProjectFolder, executor: RecordingExecutor, instance: dg.DagsterInstance
) -> None:
    shop.write("metadata/transform/kpi/daily.sl.yml", "version: 1\ntask:\n  schedule: daily\n")
    shop.write("metadata/transform/kpi/top.sl.yml", "version: 1\ntask:\n  schedule: daily\n")
    result = run(shop, executor, instance, {"kpi_daily": {"interval": INTERVAL}}, partition_key="2026-02-01")
    assert "the run is for a partition, which has its own interval" in explain(result, "kpi_daily")
