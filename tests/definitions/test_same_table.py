"""Sixty days of an incremental task on the embedded engine give the same table by ticks, by sixty runs of a backfill, and by one run."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import duckdb
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import DuckDBExecutor, load_definitions_from_starlake_project

pytestmark = pytest.mark.slow

PARIS = ZoneInfo("Europe/Paris")
DAYS = [date(2026, 3, 1) + timedelta(days=n) for n in range(60)]
"""The clock changes on March 29."""
ASSET = dg.AssetKey("kpi_daily")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance in memory. On disk, writing the files of each run would take more time than the runs."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def project(shop: ProjectFolder) -> ProjectFolder:
    """The shop with an order every 5 hours, and a daily task that appends those of its interval."""
    config = shop.root / "metadata/dags/transforms.sl.yml"
    config.write_text(config.read_text() + '  options:\n    start_date: "2026-03-01"\n    SL_TIMEZONE: Europe/Paris\n')
    shop.write(
        "metadata/transform/kpi/daily.sql",
        "select id, sold from shop.orders where sold >= {{sl_data_interval_start}} and sold < {{sl_data_interval_end}}\n",
    )
    shop.write("metadata/transform/kpi/daily.sl.yml", "version: 1\ntask:\n  schedule: daily\n  writeStrategy:\n    type: APPEND\n")
    database = shop.root / "datasets/duckdb.db"
    database.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(database)) as connection:
        connection.execute("create schema shop")
        connection.execute(
            "create table shop.orders as select i as id, timestamp '2026-02-20' + to_hours(5 * i) as sold from range(400) as found(i)"
        )
    return shop


def find_job(definitions: dg.Definitions) -> dg.JobDefinition:
    return next(job for job in definitions.resolve_all_job_defs() if "kpi" in job.name)


def load(project: ProjectFolder, **settings: Any) -> dg.Definitions:
    return load_definitions_from_starlake_project(project.root, executor=DuckDBExecutor(), cache="off", **settings)


def run_ticks(project: ProjectFolder, instance: dg.DagsterInstance) -> None:
    definitions = load(project)
    job, repository = find_job(definitions), definitions.get_repository_def()
    schedule = definitions.resolve_schedule_def(f"{job.name}_schedule")
    for day in DAYS:
        tick = datetime.combine(day + timedelta(days=1), datetime.min.time(), PARIS)
        with dg.build_schedule_context(instance, scheduled_execution_time=tick, repository_def=repository) as context:
            (request,) = schedule.evaluate_tick(context).run_requests or ()
        assert job.execute_in_process(instance=instance, tags=dict(request.tags), asset_selection=[ASSET]).success


def run_partitions(project: ProjectFolder, instance: dg.DagsterInstance) -> None:
    job = find_job(load(project))
    for day in DAYS:
        assert job.execute_in_process(instance=instance, partition_key=day.isoformat(), asset_selection=[ASSET]).success


def run_range(project: ProjectFolder, instance: dg.DagsterInstance) -> None:
    job = find_job(load(project, backfill="single_run"))
    tags = {
        "dagster/asset_partition_range_start": DAYS[0].isoformat(),
        "dagster/asset_partition_range_end": DAYS[-1].isoformat(),
    }
    assert job.execute_in_process(instance=instance, tags=tags, asset_selection=[ASSET]).success


def read_table(project: ProjectFolder) -> list[Any]:
    with duckdb.connect(str(project.root / "datasets/duckdb.db")) as connection:
        rows = connection.execute("select id, sold from kpi.daily order by all").fetchall()
        connection.execute("drop table kpi.daily")
        return rows


def test_ticks_partitions_and_a_range_fill_the_same_rows(project: ProjectFolder, instance: dg.DagsterInstance) -> None:
    start, end = (datetime.combine(day, datetime.min.time(), PARIS) for day in (DAYS[0], DAYS[-1] + timedelta(days=1)))
    first = datetime(2026, 2, 20, tzinfo=ZoneInfo("UTC"))
    times = [(n, first + timedelta(hours=5 * n)) for n in range(400)]
    expected = [(n, at.replace(tzinfo=None)) for n, at in times if start <= at < end]
    for fill in (run_ticks, run_partitions, run_range):
        fill(project, instance)
        assert instance.get_materialized_partitions(ASSET) == {day.isoformat() for day in DAYS}
        assert read_table(project) == expected
        instance.wipe_assets([ASSET])
