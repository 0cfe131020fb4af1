"""Steps in a real instance, with the embedded engine and with the shell executor on the engine's command line."""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import DuckDBExecutor, ShellExecutor, StarlakeExecutor, load_definitions_from_starlake_project
from starlake_dagster_components.cli.dates import RunDates
from starlake_dagster_components.cli.results import RunResult
from starlake_dagster_components.cli.run import run_headless
from starlake_dagster_components.settings import Settings
from starlake_dagster_components.testing import RecordingExecutor


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SL_ENV", "SL_ROOT", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["duckdb", "shell"])
def executor(request: pytest.FixtureRequest, tmp_path: Path) -> StarlakeExecutor:
    if request.param == "duckdb":
        return DuckDBExecutor()
    program = tmp_path / "starlake"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m starlake_dagster_components.engine "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return ShellExecutor(starlake_path=str(program))


@pytest.fixture
def ready(shop: ProjectFolder) -> ProjectFolder:
    """The shop without external tables, with a file per table in its incoming folder."""
    shop.write("metadata/transform/kpi/top.sql", "select max(amount) as best from kpi.daily\n")
    return shop


def deliver(folder: ProjectFolder, **files: str) -> None:
    for name, text in files.items():
        folder.write(f"datasets/incoming/shop/{name}.csv", text)


def read_rows(folder: ProjectFolder, sql: str) -> list[Any]:
    with duckdb.connect(str(folder.root / "datasets" / "duckdb.db"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def list_outcomes(results: list[RunResult]) -> dict[str, str]:
    return {a.key: a.status for r in results for a in r.assets}


def list_errors(results: list[RunResult]) -> list[str]:
    return [a.error or "" for r in results for a in r.assets if a.error]


def test_loads_and_transforms_make_tables(ready: ProjectFolder, executor: StarlakeExecutor) -> None:
    deliver(ready, orders="id;amount\n1;10\n2;20\n", items="id;label\n1;pen\n2;cup\n")
    results = run_headless(ready.root, Settings(executor=executor))
    assert [r.error for r in results] == [None, None], list_errors(results)
    assert list_outcomes(results) == dict.fromkeys(["shop", "shop_orders", "shop_items", "kpi_daily", "kpi_top"], "done")
    assert read_rows(ready, "select * from kpi.daily order by id") == [(1, "10", "pen"), (2, "20", "cup")]
    loaded = {a.key: a.loaded for r in results for a in r.assets}
    assert loaded["shop_orders"] == 2
    assert not list((ready.root / "datasets/incoming/shop").iterdir())


def test_nothing_to_load_skips_the_tables_and_the_run_succeeds(ready: ProjectFolder, executor: StarlakeExecutor) -> None:
    (result,) = run_headless(ready.root, Settings(executor=executor), job="shop_tables")
    assert result.success
    assert list_outcomes([result]) == {"shop": "skipped", "shop_orders": "skipped", "shop_items": "skipped"}


def test_a_table_alone_stages_its_own_files(ready: ProjectFolder, executor: StarlakeExecutor) -> None:
    deliver(ready, orders="id;amount\n1;10\n", items="id;label\n1;pen\n")
    (result,) = run_headless(ready.root, Settings(executor=executor), selection='key:"shop_orders"')
    assert result.success, list_errors([result])
    assert list_outcomes([result]) == {"shop_orders": "done"}
    assert read_rows(ready, "select * from shop.orders") == [(1, "10")]
    assert [p.name for p in (ready.root / "datasets/incoming/shop").iterdir()] == ["items.csv"]


def test_a_bad_file_fails_its_table_only_and_is_not_lost(ready: ProjectFolder, executor: StarlakeExecutor) -> None:
    deliver(ready, orders="id;amount\none;10\n", items="id;label\n1;pen\n")
    (result,) = run_headless(ready.root, Settings(executor=executor), job="shop_tables")
    assert not result.success
    assert list_outcomes([result]) == {"shop": "done", "shop_orders": "failed", "shop_items": "done"}
    left = [p for area in ("stage", "ingesting") for p in (ready.root / "datasets" / area).rglob("orders.csv")]
    assert len(left) == 1
    left[0].write_text("id;amount\n7;70\n")
    (again,) = run_headless(ready.root, Settings(executor=executor), selection='key:"shop_orders"')
    assert again.success, list_errors([again])
    assert read_rows(ready, "select * from shop.orders") == [(7, "70")]


def test_a_file_that_was_not_loaded_is_tried_again_by_the_next_run_of_the_job(ready: ProjectFolder, executor: StarlakeExecutor) -> None:
    deliver(ready, orders="id;amount\none;10\n", items="id;label\n1;pen\n")
    settings = Settings(executor=executor)
    for expected in ({"shop": "done", "shop_orders": "failed", "shop_items": "done"},) * 2:
        (result,) = run_headless(ready.root, settings, job="shop_tables")
        assert list_outcomes([result]) == expected
    (left,) = [p for area in ("stage", "ingesting") for p in (ready.root / "datasets" / area).rglob("orders*.csv")]
    left.write_text("id;amount\n7;70\n")
    (again,) = run_headless(ready.root, settings, job="shop_tables")
    assert again.success, list_errors([again])
    assert read_rows(ready, "select * from shop.orders") == [(7, "70")]
    assert read_rows(ready, "select * from shop.items") == [(1, "pen")]
    (idle,) = run_headless(ready.root, settings, job="shop_tables")
    assert set(list_outcomes([idle]).values()) == {"skipped"}


def test_under_ack_a_file_that_was_not_loaded_waits_for_the_next_ack(ready: ProjectFolder) -> None:
    config = (ready.root / "metadata/dags/loads.sl.yml").read_text()
    ack = ready.root / "datasets" / "go.ack"
    ready.write("metadata/dags/loads.sl.yml", config.replace("imported", f"ack\n    global_ack_file_path: {ack}"))
    settings = Settings(executor=DuckDBExecutor())
    ready.write("datasets/stage/shop/orders.csv", "id;amount\n2;20\n")
    ready.write("datasets/ingesting/shop/orders-old.csv", "id;amount\n1;10\n")
    (result,) = run_headless(ready.root, settings, job="shop_tables")
    assert set(list_outcomes([result]).values()) == {"skipped"}
    ack.touch()
    (result,) = run_headless(ready.root, settings, job="shop_tables")
    assert result.success, list_errors([result])
    assert read_rows(ready, "select id from shop.orders order by 1") == [(1,), (2,)]


def test_a_job_that_is_executed_in_process_stages_once(ready: ProjectFolder) -> None:
    executor = RecordingExecutor()
    job = load_definitions_from_starlake_project(ready.root, executor=executor).resolve_job_def("shop_tables")
    assert job.execute_in_process().success
    assert sorted(line.split()[0] for line in executor.lines) == ["load", "load", "preload", "stage"]


def test_failed_sql_names_its_file_and_statement(ready: ProjectFolder, executor: StarlakeExecutor) -> None:
    ready.write("metadata/transform/kpi/top.sql", "select nonsense from kpi.daily\n")
    deliver(ready, orders="id;amount\n1;10\n", items="id;label\n1;pen\n")
    results = run_headless(ready.root, Settings(executor=executor))
    assert list_outcomes(results)["kpi_top"] == "failed"
    (error,) = list_errors(results)
    assert "transform" in error
    assert "nonsense" in error


def test_pending_and_ack_wait_for_their_files(ready: ProjectFolder, executor: StarlakeExecutor) -> None:
    config = (ready.root / "metadata/dags/loads.sl.yml").read_text()
    settings = Settings(executor=executor)

    ready.write("metadata/dags/loads.sl.yml", config.replace("imported", "pending"))
    (result,) = run_headless(ready.root, settings, job="shop_tables")
    assert result.success
    assert list_outcomes([result])["shop"] == "skipped"
    ready.write("datasets/stage/shop/orders.csv", "id;amount\n1;10\n")
    (result,) = run_headless(ready.root, settings, job="shop_tables")
    assert result.success, list_errors([result])
    assert list_outcomes([result]) == {"shop": "done", "shop_orders": "done", "shop_items": "done"}

    ack = ready.root / "datasets" / "go.ack"
    ready.write("metadata/dags/loads.sl.yml", config.replace("imported", f"ack\n    global_ack_file_path: {ack}"))
    ready.write("datasets/stage/shop/orders.csv", "id;amount\n2;20\n")
    (result,) = run_headless(ready.root, settings, job="shop_tables")
    assert result.success
    assert list_outcomes([result])["shop"] == "skipped"
    ack.touch()
    (result,) = run_headless(ready.root, settings, job="shop_tables")
    assert result.success, list_errors([result])
    assert not ack.exists()
    assert read_rows(ready, "select id from shop.orders order by 1") == [(1,), (2,)]


def test_the_scheduled_date_reaches_the_command(ready: ProjectFolder, executor: StarlakeExecutor) -> None:
    deliver(ready, orders="id;amount\n1;10\n", items="id;label\n1;pen\n")
    (result,) = run_headless(ready.root, Settings(executor=executor), job="shop_tables", dates=RunDates("2026-01-31T00:00:00"))
    assert result.success, list_errors([result])
    assert {str(r[0]) for r in read_rows(ready, "select distinct scheduled_date from audit.audit")} == {"2026-01-31 00:00:00"}


def test_expectations_become_check_results(ready: ProjectFolder) -> None:
    ready.write(
        "metadata/expectations/rules.j2",
        "{% macro no_row_over(limit) %}select count(*) from SL_THIS where id > {{ limit }} and 'sl_this' <> ''{% endmacro %}\n",
    )
    ready.write(
        "metadata/transform/kpi/daily.sl.yml",
        """
        version: 1
        task:
          writeStrategy:
            type: OVERWRITE
          expectations:
            - expect: "no_row_over(10)"
            - expect: "no_row_over(1)"
              failOnError: false
        """,
    )
    deliver(ready, orders="id;amount\n1;10\n2;20\n", items="id;label\n1;pen\n2;cup\n")
    from starlake_dagster_components import load_definitions_from_starlake_project

    results = run_headless(ready.root, Settings(executor=DuckDBExecutor()), job="shop_tables")
    assert results[0].success
    defs = load_definitions_from_starlake_project(ready.root, executor=DuckDBExecutor(), step_executor=dg.in_process_executor)
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("kpi_tasks").execute_in_process(instance=instance)
        found = {e.check_name: (e.passed, e.severity.value) for e in result.get_asset_check_evaluations()}
    assert found == {"no_row_over_10": (True, "ERROR"), "no_row_over_1": (False, "WARN")}


@pytest.fixture
def slow_program(tmp_path: Path) -> Iterator[Path]:
    program = tmp_path / "slow"
    program.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/pids\nsleep 300 &\necho $! >> {tmp_path}/pids\nwait\n")
    program.chmod(0o755)
    yield program
    for pid in (tmp_path / "pids").read_text().split() if (tmp_path / "pids").exists() else []:
        assert not os.path.exists(f"/proc/{pid}"), f"process {pid} is left"
