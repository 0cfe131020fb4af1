"""Dagster's pages after runs, and the pictures of the README and of the documentation."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from browser import Browser
from dev_process import WAIT, Dev
from project_folder import ProjectFolder

from examples.workspace import EXAMPLE

TakePicture = Callable[[str], None]
pytestmark = pytest.mark.slow


def run(project: ProjectFolder, home: Path, *arguments: str) -> None:
    """Run jobs with ``sl-dagster run``, in the instance of ``sl-dagster dev``."""
    command = [sys.executable, "-m", "starlake_dagster_components.cli", "run", str(project.root), "--executor", "duckdb", "--quiet"]
    environment = {**os.environ, "DAGSTER_HOME": str(home)}
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_graph_and_an_asset_after_a_run(
    library: ProjectFolder, browser: Browser, dev_server: Callable[..., Dev], take_picture: TakePicture, tmp_path: Path
) -> None:
    dev = dev_server(library)
    run(library, tmp_path / "home0", "--job", "load_catalogue")

    browser.open(f"{dev.url}/locations/tallow_lane/asset-groups/catalogue/lineage")
    shown = browser.wait_for("catalogue_tariffs")
    assert {"catalogue", "catalogue_items", "catalogue_item_categories"} <= set(shown.split())
    browser.wait_for("Materialized")
    take_picture("graph")

    browser.open(f"{dev.url}/assets/catalogue_items")
    browser.wait_for("UPSERT_BY_KEY_AND_TIMESTAMP")
    take_picture("asset")


def test_sample_rows_and_a_failed_check(
    library: ProjectFolder, browser: Browser, dev_server: Callable[..., Dev], take_picture: TakePicture, tmp_path: Path
) -> None:
    dev = dev_server(library)
    run(library, tmp_path / "home0", "--job", "load_workshop_spare_parts", "--samples", "5")
    shutil.copytree(EXAMPLE / "batches" / "2", library.root / "datasets", dirs_exist_ok=True)
    run(library, tmp_path / "home0", "--job", "load_workshop_spare_parts", "--samples", "5")

    browser.open(f"{dev.url}/assets/workshop_spare_parts?view=events")
    browser.wait_for("starlake/sample")
    browser.wait_for("Carbon brushes")
    take_picture("samples")

    browser.open(f"{dev.url}/assets/workshop_spare_parts?view=checks&checkDetail=between_stock_1_999")
    browser.wait_for("starlake/violating_rows")
    take_picture("check_after_failure")


def test_files_that_wait(library: ProjectFolder, browser: Browser, dev_server: Callable[..., Dev], take_picture: TakePicture) -> None:
    for ack in (library.root / "datasets/incoming/catalogue").glob("*.ready"):
        ack.unlink()
    dev = dev_server(library, arguments=("--file-sensors", "on"))
    browser.open(f"{dev.url}/assets/catalogue/incoming?view=events")
    browser.wait_for("starlake/oldest_age_seconds")
    browser.wait_for("(waits for items_20260927.ready)")
    take_picture("triggers_incoming")


def test_partitions_and_a_backfill(browser: Browser, dev_server: Callable[..., Dev], take_picture: TakePicture, tmp_path: Path) -> None:
    today = datetime.now(timezone.utc).date()
    days = [today - timedelta(days=back) for back in range(9, 3, -1)]
    shop = write_incremental_task(ProjectFolder(tmp_path / "shop"), damaged=days[3])
    dev = dev_server(shop, arguments=("--partitions-start", str(today - timedelta(days=11))))
    backfill = dev.launch_backfill("kpi_daily_sales", [str(day) for day in days])

    browser.open(f"{dev.url}/runs/b/{backfill}")
    browser.wait_for("100% completed", seconds=WAIT * len(days))
    take_picture("triggers_backfill")

    browser.open(f"{dev.url}/assets/kpi_daily_sales?view=partitions")
    browser.wait_for("Materialized (5)")
    browser.wait_for("Failed (1)")
    take_picture("triggers_partitions")


def write_incremental_task(project: ProjectFolder, damaged: date) -> ProjectFolder:
    """Write a project with a daily task that fails for one day."""
    return (
        project.write(
            "metadata/application.sl.yml",
            """
            version: 1
            application:
              connectionRef: duckdb
              connections:
                duckdb:
                  type: jdbc
                  options:
                    url: "jdbc:duckdb:{{SL_ROOT}}/warehouse.db"
                    driver: org.duckdb.DuckDBDriver
              dagRef:
                transform: transforms
            """,
        )
        .write(
            "metadata/dags/transforms.sl.yml",
            """
            version: 1
            dag:
              template: transform/dagster__scheduled_task__shell.py.j2
              filename: "kpi_tasks.py"
            """,
        )
        .write(
            "metadata/transform/kpi/daily_sales.sl.yml",
            """
            version: 1
            task:
              schedule: "0 0 * * *"
              writeStrategy:
                type: OVERWRITE_BY_PARTITION
              sink:
                partition: [day]
            """,
        )
        .write(
            "metadata/transform/kpi/daily_sales.sql",
            f"""
            SELECT
              CAST({{{{sl_data_interval_start}}}} AS DATE) AS day,
              CASE
                WHEN CAST({{{{sl_data_interval_start}}}} AS DATE) = DATE '{damaged}' THEN error('the figures of this day are damaged')
                ELSE 42
              END AS amount
            """,
        )
    )


def test_the_columns_of_a_task_before_its_first_run(
    library: ProjectFolder,
    browser: Browser,
    dev_server: Callable[..., Dev],
    take_picture: TakePicture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SL_DAGSTER_CACHE", str(tmp_path / "plans"))
    command = [sys.executable, "-m", "starlake_dagster_components.cli", "cache", str(library.root), "--executor", "duckdb"]
    subprocess.run(command, check=True)
    dev = dev_server(library)
    browser.open(f"{dev.url}/assets/core_business_day")
    browser.wait_for("Column name")
    browser.wait_for("Never materialized")
    assert "as_of" in browser.wait_for("date")
    take_picture("columns")
