"""A run that is started by hand without a partition is for the last complete one, whichever executor runs its steps."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import DuckDBExecutor
from starlake_dagster_components.definitions.build import build_definitions
from starlake_dagster_components.settings import Settings
from starlake_dagster_components.step_executor.names import find_step_executor

DAILY, TOP = dg.AssetKey("kpi_daily"), dg.AssetKey("kpi_top")


@pytest.fixture
def chain(shop: ProjectFolder) -> ProjectFolder:
    """Two incremental tasks of a daily job, one after the other."""
    shop.write("metadata/transform/kpi/_config.sl.yml", "version: 1\ntransform:\n  default:\n    schedule: daily\n")
    shop.write("metadata/transform/kpi/daily.sql", "select {{sl_data_interval_start}} as began, {{sl_data_interval_end}} as ended\n")
    shop.write("metadata/transform/kpi/top.sql", "select * from kpi.daily where began = {{sl_data_interval_start}}\n")
    for name in ("daily", "top"):
        shop.write(f"metadata/transform/kpi/{name}.sl.yml", "version: 1\ntask:\n  schedule: daily\n")
    (shop.root / "datasets").mkdir()
    return shop


def make_job(root: str, step_executor: str) -> dg.JobDefinition:
    """Return the job of the chain. Every process that runs one of its steps calls this."""
    settings = Settings(executor=DuckDBExecutor(), step_executor=find_step_executor(step_executor) if step_executor else None)
    return build_definitions(root, settings).definitions.resolve_job_def("kpi_tasks")


@pytest.mark.parametrize("step_executor", ["", "threads", "in_process", pytest.param("multiprocess", marks=pytest.mark.slow)])
def test_the_whole_chain_is_for_the_last_complete_partition(chain: ProjectFolder, instance: dg.DagsterInstance, step_executor: str) -> None:
    job = dg.build_reconstructable_job(
        "test_runs_by_hand",
        "make_job",
        reconstructable_kwargs={"root": str(chain.root), "step_executor": step_executor},
        reconstructor_working_directory=str(Path(__file__).parent),
    )
    # By default, partitions start with the last year.
    logical = datetime.now(timezone.utc) - timedelta(days=30)
    earlier = (logical - timedelta(days=1)).date().isoformat()
    with dg.execute_job(job, instance, tags={"starlake/scheduled_date": logical.isoformat()}) as result:
        assert result.success
    with dg.execute_job(job, instance) as result:
        assert result.success
        run = instance.get_run_by_id(result.run_id)
        lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert run is not None
    last = run.tags["dagster/partition"]
    assert [line for line in lines if f"dagster/partition: {last}" in line]
    for key in (DAILY, TOP):
        assert instance.get_materialized_partitions(key) == {earlier, last}
    with duckdb.connect(str(chain.root / "datasets/duckdb.db"), read_only=True) as connection:
        rows = connection.execute("select distinct * from kpi.top order by all").fetchall()
    following = (datetime.fromisoformat(last) + timedelta(days=1)).date().isoformat()
    assert rows[-1] == (f"{last}T00:00:00", f"{following}T00:00:00")
