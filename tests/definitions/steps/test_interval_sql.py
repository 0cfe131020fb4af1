"""SQL with and without quotes gets the data interval of its run."""

import dagster as dg
import duckdb
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import Settings
from starlake_dagster_components.definitions.build import build_definitions

TAGS = {"starlake/data_interval_start": "2026-01-01T00:00:00", "starlake/data_interval_end": "2026-01-02T00:00:00"}


@pytest.mark.parametrize(
    "ends",
    [
        ("'{{sl_data_interval_start}}'", "'{{sl_data_interval_end}}'"),
        ("{{sl_data_interval_start}}", "{{sl_data_interval_end}}"),
        ("'{{sl_start_date}}'", "{{ sl_end_date }}"),
    ],
)
def test_intervals_in_sql_work_with_and_without_quotes(shop: ProjectFolder, ends: tuple[str, str]) -> None:
    shop.write(
        "metadata/transform/solo/t.sql",
        "select i as day from range(timestamp '2025-12-30', timestamp '2026-01-05', "
        f"interval 1 day) r(i) where i >= {ends[0]} and i < {ends[1]}\n",
    )
    job = build_definitions(shop.root, Settings(executor="duckdb")).definitions.resolve_job_def("solo_tasks")
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance, tags=TAGS).success
    with duckdb.connect(str(shop.root / "datasets/duckdb.db"), read_only=True) as connection:
        assert [str(day) for (day,) in connection.execute("select day from solo.t").fetchall()] == ["2026-01-01 00:00:00"]
