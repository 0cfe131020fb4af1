"""Incremental tasks are partitioned by the cron of their schedule."""

import re
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import StarlakeTranslator, load_definitions_from_starlake_project
from starlake_dagster_components.definitions.nodes import StarlakeNode
from starlake_dagster_components.definitions.partitions import find_interval_of_run, find_key_of_interval
from starlake_dagster_components.errors import InvalidProject
from starlake_dagster_components.testing import RecordingExecutor

SQL = "select * from shop.orders where id >= '{{sl_data_interval_start}}' and id < '{{sl_data_interval_end}}'\n"
DAILY, TOP = dg.AssetKey("kpi_daily"), dg.AssetKey("kpi_top")


@pytest.fixture
def incremental(shop: ProjectFolder) -> ProjectFolder:
    """The project ``shop`` with a daily job whose first task is incremental."""
    shop.write("metadata/transform/kpi/_config.sl.yml", "version: 1\ntransform:\n  default:\n    schedule: daily\n")
    shop.write("metadata/transform/kpi/daily.sql", SQL)
    config = shop.root / "metadata/dags/transforms.sl.yml"
    config.write_text(config.read_text() + '  options:\n    start_date: "2026-01-01"\n    SL_TIMEZONE: Europe/Paris\n')
    for name in ("daily", "top"):
        path = shop.root / f"metadata/transform/kpi/{name}.sl.yml"
        path.write_text("version: 1\ntask:\n  schedule: daily\n  writeStrategy:\n    type: OVERWRITE\n")
    return shop


def load(folder: ProjectFolder, executor: RecordingExecutor | None = None, **settings: object) -> dg.Definitions:
    return load_definitions_from_starlake_project(folder.root, executor=executor or RecordingExecutor(), cache="off", **settings)  # type: ignore[arg-type]


def list_lines(executor: RecordingExecutor) -> list[str]:
    return [" ".join(command.argv) for command in executor.commands]


def find_partitions(definitions: dg.Definitions, key: dg.AssetKey) -> dg.PartitionsDefinition[str] | None:
    return definitions.resolve_asset_graph().get(key).partitions_def


def find_transform_job(definitions: dg.Definitions) -> dg.JobDefinition:
    return definitions.resolve_job_def("kpi_tasks")


@pytest.mark.parametrize(("setting", "partitioned"), [("incremental", {DAILY}), ("scheduled", {DAILY, TOP}), ("off", set())])
def test_the_setting_chooses_which_tasks_are_partitioned(incremental: ProjectFolder, setting: str, partitioned: set[dg.AssetKey]) -> None:
    definitions = load(incremental, partitions=setting)
    assert {key for key in (DAILY, TOP) if find_partitions(definitions, key)} == partitioned
    assert find_partitions(definitions, dg.AssetKey("shop_orders")) is None


def test_a_python_task_that_names_the_interval_is_partitioned(incremental: ProjectFolder, instance: dg.DagsterInstance) -> None:
    (incremental.root / "metadata/transform/kpi/top.sql").unlink()
    incremental.write("metadata/transform/kpi/top.py", "day = args.sl_start_date\n")
    executor = RecordingExecutor()
    definitions = load(incremental, executor)
    assert find_partitions(definitions, TOP) == find_partitions(definitions, DAILY)
    result = find_transform_job(definitions).execute_in_process(instance=instance, partition_key="2026-01-02", asset_selection=[TOP])
    assert result.success
    assert ",sl_start_date=2026-01-01T23:00:00" in list_lines(executor)[0]
    incremental.write("metadata/transform/kpi/top.py", "day = None\n")
    assert find_partitions(load(incremental), TOP) is None


def test_partitions_follow_the_cron_the_zone_and_the_first_day(incremental: ProjectFolder) -> None:
    partitions = find_partitions(load(incremental), DAILY)
    assert isinstance(partitions, dg.TimeWindowPartitionsDefinition)
    assert partitions.get_first_partition_key() == "2026-01-01"
    assert partitions.time_window_for_partition_key("2026-03-29").start == datetime(2026, 3, 29, tzinfo=ZoneInfo("Europe/Paris"))
    window = partitions.time_window_for_partition_key("2026-03-29")
    assert window.end.timestamp() - window.start.timestamp() == 23 * 3600


def test_a_job_without_a_schedule_has_no_partitions(shop: ProjectFolder) -> None:
    shop.write("metadata/transform/kpi/daily.sql", SQL)
    assert find_partitions(load(shop), DAILY) is None


def test_a_tick_starts_the_partition_whose_interval_it_ends(incremental: ProjectFolder, instance: dg.DagsterInstance) -> None:
    definitions = load(incremental)
    schedule = definitions.resolve_schedule_def("kpi_tasks_schedule")
    tick = datetime(2026, 3, 2, tzinfo=ZoneInfo("Europe/Paris"))
    with dg.build_schedule_context(instance, scheduled_execution_time=tick, repository_def=definitions.get_repository_def()) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or ()
    assert request.partition_key == "2026-03-01"
    assert request.run_key == "partition-2026-03-01T00:00:00+01:00-2026-03-02T00:00:00+01:00"
    assert request.tags["starlake/data_interval_end"] == tick.isoformat()


def test_a_run_covers_the_interval_of_its_partition(incremental: ProjectFolder, instance: dg.DagsterInstance) -> None:
    executor = RecordingExecutor()
    definitions = load(incremental, executor)
    assert find_transform_job(definitions).execute_in_process(instance=instance, partition_key="2026-03-29").success
    daily, top = (next(line for line in list_lines(executor) if f"--name kpi.{name}" in line) for name in ("daily", "top"))
    for line in (daily, top):
        assert "sl_data_interval_start=2026-03-28T23:00:00,sl_data_interval_end=2026-03-29T22:00:00" in line
    assert "--scheduledDate 2026-03-29T22:00:00" in daily
    record = instance.get_latest_materialization_event(DAILY)
    assert record is not None
    assert record.asset_materialization is not None
    assert record.asset_materialization.partition == "2026-03-29"


def test_a_range_is_one_run_with_the_whole_interval(incremental: ProjectFolder, instance: dg.DagsterInstance) -> None:
    executor = RecordingExecutor()
    definitions = load(incremental, executor, backfill="single_run")
    tags = {"dagster/asset_partition_range_start": "2026-02-01", "dagster/asset_partition_range_end": "2026-02-03"}
    result = find_transform_job(definitions).execute_in_process(instance=instance, tags=tags, asset_selection=[DAILY])
    assert result.success
    (line,) = list_lines(executor)
    assert "sl_data_interval_start=2026-01-31T23:00:00,sl_data_interval_end=2026-02-03T23:00:00" in line
    assert instance.get_materialized_partitions(DAILY) == {"2026-02-01", "2026-02-02", "2026-02-03"}


def test_the_tags_of_a_schedule_may_begin_a_partition_earlier(incremental: ProjectFolder, instance: dg.DagsterInstance) -> None:
    executor = RecordingExecutor()
    job = find_transform_job(load(incremental, executor))
    tags = {"starlake/data_interval_start": "2026-03-01T10:00", "starlake/data_interval_end": "2026-03-02T23:00:00"}
    assert job.execute_in_process(instance=instance, partition_key="2026-03-02", tags=tags).success
    assert "sl_data_interval_start=2026-03-01T10:00:00,sl_data_interval_end=2026-03-02T23:00:00" in list_lines(executor)[0]
    # Materializations of another partition, as after a manual run for that partition, do not count.
    assert job.execute_in_process(instance=instance, partition_key="2026-03-05", tags=tags).success
    assert "sl_data_interval_start=2026-03-04T23:00:00,sl_data_interval_end=2026-03-05T23:00:00" in list_lines(executor)[2]


class Translated(StarlakeTranslator):
    """A translator that gives assets partitions and metadata by key."""

    def __init__(self, partitions: dict[str, dg.PartitionsDefinition[str]], backfill: dict[str, str] | None = None) -> None:
        self.partitions, self.backfill = partitions, backfill or {}

    def get_asset_spec(self, node: StarlakeNode) -> dg.AssetSpec:
        spec = super().get_asset_spec(node)
        key = spec.key.to_user_string()
        if key in self.backfill:
            spec = spec.merge_attributes(metadata={"starlake/backfill": self.backfill[key]})
        return spec.replace_attributes(partitions_def=self.partitions[key]) if key in self.partitions else spec


WEEKS = dg.WeeklyPartitionsDefinition("2026-01-04")
DAYS_OF_FEBRUARY = dg.DailyPartitionsDefinition("2026-02-01", timezone="Europe/Paris")


def test_partitions_of_a_translation_apply_to_the_job(incremental: ProjectFolder, instance: dg.DagsterInstance) -> None:
    executor = RecordingExecutor()
    translator = Translated({"kpi_daily": DAYS_OF_FEBRUARY})
    definitions = load(incremental, executor, translator=translator)
    assert find_partitions(definitions, DAILY) == DAYS_OF_FEBRUARY
    schedule = definitions.resolve_schedule_def("kpi_tasks_schedule")
    for day, key in ((datetime(2026, 2, 2, tzinfo=ZoneInfo("Europe/Paris")), "2026-02-01"), (datetime(2026, 1, 9), None)):
        repository = definitions.get_repository_def()
        with dg.build_schedule_context(instance, scheduled_execution_time=day, repository_def=repository) as context:
            requests = schedule.evaluate_tick(context).run_requests or ()
        assert [request.partition_key for request in requests] == ([key] if key else [])
    assert find_transform_job(definitions).execute_in_process(instance=instance, partition_key="2026-02-03").success
    assert "sl_data_interval_start=2026-02-02T23:00:00,sl_data_interval_end=2026-02-03T23:00:00" in list_lines(executor)[0]


@pytest.mark.parametrize(
    ("key", "partitions", "reason"),
    [
        (
            "kpi_daily",
            WEEKS,
            "the translation sets partitions for kpi.daily, but their cron '0 0 * * 0' (UTC) is not that of the schedule of its job",
        ),
        ("kpi_daily", dg.StaticPartitionsDefinition(["a"]), "StaticPartitionsDefinition has no intervals (expected a TimeWindowPart"),
        ("shop_orders", WEEKS, "partitions for shop.orders, but loads cannot have partitions: they load all waiting files"),
        ("shop", WEEKS, "partitions for shop, but loads cannot have partitions"),
        ("kpi_top", DAYS_OF_FEBRUARY, "kpi.daily and kpi.top have different partitions, but both belong to the job kpi_tasks"),
    ],
)
def test_unsupported_partitions_of_a_translation_are_rejected(
    incremental: ProjectFolder, key: str, partitions: dg.PartitionsDefinition[str], reason: str
) -> None:
    with pytest.raises(InvalidProject, match=re.escape(reason)):
        load(incremental, translator=Translated({key: partitions}), on_error="fail")


def test_metadata_of_a_task_overrides_the_backfill_setting(incremental: ProjectFolder) -> None:
    translator = Translated({}, {"kpi_daily": "single_run", "kpi_top": "runs"})
    graph = load(incremental, translator=translator, partitions="scheduled").resolve_asset_graph()
    assert graph.get(DAILY).backfill_policy == dg.BackfillPolicy.single_run()
    assert graph.get(TOP).backfill_policy == dg.BackfillPolicy.multi_run(1)
    graph = load(incremental, translator=translator, partitions="scheduled", backfill="single_run").resolve_asset_graph()
    assert [graph.get(key).backfill_policy for key in (DAILY, TOP)] == [dg.BackfillPolicy.single_run(), dg.BackfillPolicy.multi_run(1)]
    with pytest.raises(InvalidProject, match=r"metadata starlake/backfill of kpi\.daily: expected 'runs' or 'single_run', not 'once'"):
        load(incremental, translator=Translated({}, {"kpi_daily": "once"}), on_error="fail")


def test_assets_without_partitions_depend_on_all(incremental: ProjectFolder) -> None:
    incremental.write("metadata/transform/kpi/top.sql", "select max(amount) as best from kpi.daily\n")
    graph = load(incremental).resolve_asset_graph()
    assert isinstance(graph.get(TOP).partition_mappings[DAILY], dg.AllPartitionMapping)
    assert not graph.get(DAILY).partition_mappings


class LastPartition(StarlakeTranslator):
    """A translator that makes ``kpi.top`` depend on the last partition of ``kpi.daily``."""

    def get_asset_spec(self, node: StarlakeNode) -> dg.AssetSpec:
        spec = super().get_asset_spec(node)
        return spec.replace_attributes(deps=[dg.AssetDep(DAILY, partition_mapping=dg.LastPartitionMapping())]) if spec.key == TOP else spec


def test_a_partition_mapping_of_the_translator_is_kept(incremental: ProjectFolder, instance: dg.DagsterInstance) -> None:
    incremental.write("metadata/transform/kpi/top.sql", "select max(amount) as best from kpi.daily\n")
    definitions = load(incremental, translator=LastPartition())
    assert isinstance(definitions.resolve_asset_graph().get(TOP).partition_mappings[DAILY], dg.LastPartitionMapping)
    job = find_transform_job(definitions)
    assert job.execute_in_process(instance=instance, partition_key="2026-01-05").success
    assert job.execute_in_process(instance=instance, asset_selection=[TOP]).success


def test_a_task_that_another_job_runs_first_is_not_partitioned(incremental: ProjectFolder, instance: dg.DagsterInstance) -> None:
    config = (incremental.root / "metadata/dags/transforms.sl.yml").read_text()
    first = config.replace("{{domain}}_tasks", "first_{{schedule}}") + "    run_dependencies_first: 'true'\n"
    incremental.write("metadata/dags/first.sl.yml", first)
    incremental.write("metadata/transform/kpi/top.sql", SQL.replace("shop.orders", "kpi.daily"))
    incremental.write("metadata/transform/kpi/top.sl.yml", "version: 1\ntask:\n  dagRef: first\n  schedule: hourly\n")
    definitions = load(incremental)
    assert find_partitions(definitions, DAILY) is None
    assert find_partitions(definitions, TOP) is not None
    assert definitions.resolve_job_def("first_hourly").partitions_def is not None


def test_the_setting_chooses_the_backfill_policy(incremental: ProjectFolder) -> None:
    for setting, policy in (("runs", dg.BackfillPolicy.multi_run(1)), ("single_run", dg.BackfillPolicy.single_run())):
        assert load(incremental, backfill=setting).resolve_asset_graph().get(DAILY).backfill_policy == policy


@pytest.mark.parametrize("setting", ["incremental", "off"])
def test_a_run_by_hand_gets_the_last_interval_of_its_schedule(
    incremental: ProjectFolder, instance: dg.DagsterInstance, setting: str
) -> None:
    def find_midnight() -> str:
        midnight = datetime.now(ZoneInfo("Europe/Paris")).replace(hour=0, minute=0, second=0)
        return midnight.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")

    executor = RecordingExecutor()
    definitions = load(incremental, executor, partitions=setting)
    before = find_midnight()
    assert find_transform_job(definitions).execute_in_process(instance=instance).success
    line = next(line for line in list_lines(executor) if "--name kpi.daily" in line)
    # Midnight may pass in between.
    assert any(f"sl_data_interval_end={midnight}" in line for midnight in (before, find_midnight()))


def test_sql_that_uses_an_interval_never_runs_without_one(shop: ProjectFolder, instance: dg.DagsterInstance) -> None:
    shop.write("metadata/transform/kpi/daily.sql", SQL)
    executor = RecordingExecutor()
    result = find_transform_job(load(shop, executor)).execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    failure = result.failure_data_for_node("kpi_daily")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "uses sl_data_interval_end, sl_data_interval_start, but this run has no data interval" in (
        failure.user_failure_data.description or ""
    )
    assert not [line for line in list_lines(executor) if "kpi.daily" in line]
    tags = {"starlake/data_interval_start": "2026-01-01", "starlake/data_interval_end": "2026-01-02"}
    assert find_transform_job(load(shop, executor)).execute_in_process(instance=instance, tags=tags).success


def test_intervals_given_as_variables_are_kept(shop: ProjectFolder, instance: dg.DagsterInstance) -> None:
    shop.write("metadata/transform/kpi/daily.sql", SQL)
    executor = RecordingExecutor()
    given = {"sl_data_interval_start": "2026-01-01", "sl_data_interval_end": "2026-01-02"}
    assert find_transform_job(load(shop, executor, variables=given)).execute_in_process(instance=instance).success


HOURLY = dg.TimeWindowPartitionsDefinition(
    start=datetime(2026, 1, 1), fmt="%Y-%m-%d-%H:%M", cron_schedule="0 * * * *", timezone="Europe/Paris"
)


def test_each_hour_of_a_day_on_which_the_clock_changes_is_one_partition() -> None:
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25)):
        start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Paris"))
        keys = [
            find_key_of_interval(HOURLY, (start.astimezone(timezone.utc) + timedelta(hours=n)).astimezone(start.tzinfo))
            for n in range(hours)
        ]
        assert None not in keys
        assert len(set(keys)) == hours
        windows = [find_interval_of_run({"dagster/partition": str(key)}, HOURLY) for key in keys]
        ends = [window[1].timestamp() for window in windows if window]
        starts = [window[0].timestamp() for window in windows if window]
        assert starts[1:] == ends[:-1]


def test_an_interval_before_the_first_day_has_no_partition() -> None:
    assert find_key_of_interval(HOURLY, datetime(2025, 12, 31, 22, tzinfo=timezone.utc)) is None


def test_a_run_of_an_unknown_partition_fails(incremental: ProjectFolder, instance: dg.DagsterInstance) -> None:
    with pytest.raises(dg.DagsterError):
        find_transform_job(load(incremental)).execute_in_process(instance=instance, partition_key="2025-12-31")
