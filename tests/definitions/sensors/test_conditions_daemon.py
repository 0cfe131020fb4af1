"""Automation conditions of jobs, evaluated by a real daemon, start a job whose run has a date and an interval."""

from datetime import datetime
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from daemon_deployment import Deployment, run_deployment
from project_folder import ProjectFolder
from waiting import wait_until

pytestmark = pytest.mark.slow

LOCATION = """
from starlake_dagster_components import DuckDBExecutor, load_definitions_from_starlake_project

defs = load_definitions_from_starlake_project({root!r}, executor=DuckDBExecutor(), automation="conditions")
"""


@pytest.fixture
def project(shop: ProjectFolder) -> ProjectFolder:
    """The shop. Its job ``kpi_tasks`` has no schedule and reads orders and items, and its first task stores its interval."""
    shop.write(
        "metadata/transform/kpi/daily.sql",
        """
        select {{sl_data_interval_start}} as began, {{sl_data_interval_end}} as ended, o.id
        from shop.orders o join shop.items i using (id)
        """,
    )
    shop.write("metadata/transform/kpi/top.sql", "select * from kpi.daily\n")
    database = shop.root / "datasets/duckdb.db"
    database.parent.mkdir()
    with duckdb.connect(str(database)) as connection:
        connection.execute("create schema shop")
        for table in ("orders", "items"):
            connection.execute(f"create table shop.{table} as select 1 as id")
    return shop


def has_evaluated(deployment: Deployment) -> bool:
    """Return whether the daemon has evaluated the conditions at least once, to the end."""
    for state in deployment.instance.all_instigator_state():
        if state.instigator_name == "starlake_conditions":
            ticks = deployment.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=5)
            return any(tick.status.value in ("SKIPPED", "SUCCESS") for tick in ticks)
    return False


def materialize(deployment: Deployment, table: str, day: str) -> None:
    time = dg.MetadataValue.timestamp(datetime.fromisoformat(f"{day}T00:00:00+00:00"))
    deployment.instance.report_runless_asset_event(dg.AssetMaterialization(f"shop_{table}", metadata={"starlake/scheduled_date": time}))


def test_the_job_starts_after_its_inputs_with_a_date_and_an_interval(project: ProjectFolder, tmp_path: Path) -> None:
    with run_deployment(tmp_path / "home", LOCATION.format(root=str(project.root))) as deployment, deployment.daemon() as daemon:
        wait_until(lambda: has_evaluated(deployment), "the first evaluation", process=daemon, seconds=300)
        for day, number in (("2026-01-05", 1), ("2026-01-06", 2)):
            materialize(deployment, "orders", day)
            materialize(deployment, "items", day)

            def has_finished(number: int = number) -> bool:
                runs = deployment.runs()
                return len(runs) == number and all(run.is_finished for run in runs)

            wait_until(has_finished, f"run {number}", process=daemon, seconds=300)
        runs = deployment.runs()
    assert [(run.job_name, run.is_success) for run in runs] == [("kpi_tasks", True)] * 2
    tags = runs[0].tags
    assert tags["dagster/from_automation_condition"] == "true"
    assert tags["starlake/scheduled_date"] == tags["starlake/data_interval_end"] == "2026-01-06T00:00:00+00:00"
    assert tags["starlake/data_interval_start"] == "2026-01-05T00:00:00+00:00"
    with duckdb.connect(str(project.root / "datasets/duckdb.db"), read_only=True) as connection:
        rows = connection.execute("select began, ended from kpi.top order by began").fetchall()
    # The task appends.
    assert rows == [("1970-01-01T00:00:00", "2026-01-05T00:00:00"), ("2026-01-05T00:00:00", "2026-01-06T00:00:00")]
