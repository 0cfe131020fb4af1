"""Batches of tables in real runs: with the embedded engine, and with the shell executor that runs the engine as a program."""

# mypy: disable-error-code="union-attr, operator"

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from batch_shop import HANGS, KILLED, REJECTED, STEP, TABLES, Shop
from dagster_home import open_instance
from project_folder import ProjectFolder

from starlake_dagster_components import DuckDBExecutor, StarlakeExecutor
from starlake_dagster_components.cli.run import run_headless
from starlake_dagster_components.commands import Command
from starlake_dagster_components.executors.base import CommandResult, Invocation
from starlake_dagster_components.executors.local.shell import ShellExecutor
from starlake_dagster_components.settings import Settings


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SL_ENV", "SL_ROOT", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def shop(shop: ProjectFolder, tmp_path: Path) -> Iterator[Shop]:
    shop.write("metadata/transform/kpi/top.sql", "select max(amount) as best from kpi.daily\n")
    with open_instance(tmp_path / "home") as instance:
        yield Shop(shop, tmp_path / "starlake", instance)


@pytest.fixture(params=["duckdb", "shell"])
def executor(request: pytest.FixtureRequest, shop: Shop) -> StarlakeExecutor:
    return DuckDBExecutor() if request.param == "duckdb" else shop.shell()


def batch(executor: StarlakeExecutor, **changes: object) -> Settings:
    return Settings(executor=executor, batch=True, **changes)  # type: ignore[arg-type]


def test_all_tables_load_in_one_step_with_counts_for_each(shop: Shop, executor: StarlakeExecutor) -> None:
    shop.deliver(orders="1 2", items="1 2 3", prices="1")
    run = shop.run(batch(executor))
    assert run.success, run.lines
    assert run.loaded == {"orders": 2, "items": 3, "prices": 1}
    assert {k: m.get("dagster/row_count") for k, m in run.materialized.items()} == {
        "shop": None,
        "shop_orders": 2,
        "shop_items": 3,
        "shop_prices": 1,
    }
    assert sorted(run.steps("STEP_SUCCESS")) == [STEP, "shop"]
    if isinstance(executor, DuckDBExecutor):
        return
    assert shop.loads == ["items,orders,prices"]
    assert [c.split()[0] for c in shop.commands] == ["preload", "stage", "load"]


def test_nothing_to_load_skips_all_tables(shop: Shop, executor: StarlakeExecutor) -> None:
    run = shop.run(batch(executor))
    assert run.success
    assert run.materialized == {}
    assert run.steps("STEP_SKIPPED") == [STEP]


def test_tables_without_files_are_loaded_with_nothing(shop: Shop, executor: StarlakeExecutor) -> None:
    shop.deliver(items="1 2")
    run = shop.run(batch(executor))
    assert run.success, run.lines
    assert run.loaded == {"orders": 0, "items": 2, "prices": 0}


def test_a_bad_file_fails_its_table_only(shop: Shop, executor: StarlakeExecutor) -> None:
    shop.deliver(orders="1 bad", items="1 2", prices="5")
    run = shop.run(batch(executor))
    assert not run.success
    assert run.loaded == {"items": 2, "prices": 1}
    assert list(run.failed) == ["orders"]
    assert "orders.csv" in run.failed["orders"] or "bad" in run.failed["orders"]
    assert run.failure.description.startswith("orders: ")
    assert "\nload failed for 1 of 3 tables of shop (executor " in run.failure.description
    assert "--tables items,orders,prices" in run.failure.metadata["starlake/command"].value
    assert run.failure.metadata["starlake/exit_code"].value == 1
    assert shop.rows("items") == [1, 2]
    if not isinstance(executor, DuckDBExecutor):
        assert len(shop.loads) == 1, "what became of each is known from the one command"
    left = shop.files("stage") + shop.files("ingesting")
    assert left == ["orders.csv"]
    (shop.root / "datasets/stage/shop/orders.csv").unlink(missing_ok=True)
    (shop.root / "datasets/ingesting/shop/orders.csv").unlink(missing_ok=True)
    shop.deliver("stage", orders="1 7")
    again = shop.run(batch(executor), keys=["shop_orders"])
    assert again.loaded == {"orders": 2}
    assert shop.rows("orders") == [1, 7]


def test_several_failing_tables_are_named_with_their_own_reasons(shop: Shop, executor: StarlakeExecutor) -> None:
    shop.deliver(orders="wrong", items="2", prices="false")
    run = shop.run(batch(executor))
    assert run.loaded == {"items": 1}
    assert sorted(run.failed) == ["orders", "prices"]
    assert "wrong" in run.failed["orders"]
    assert "false" in run.failed["prices"]


@pytest.mark.parametrize("keys", [["shop_items"], ["shop_items", "shop_prices"], ["shop", "shop_items", "shop_orders"]])
def test_any_selection_runs_exactly_its_tables(shop: Shop, executor: StarlakeExecutor, keys: list[str]) -> None:
    shop.deliver(orders="1", items="1", prices="1")
    run = shop.run(batch(executor), keys=keys)
    assert run.success, run.lines
    assert sorted(run.materialized) == sorted(keys)
    tables = sorted(k.removeprefix("shop_") for k in keys if k != "shop")
    assert shop.files("incoming") == sorted(f"{t}.csv" for t in {*TABLES} - {*tables})
    if not isinstance(executor, DuckDBExecutor):
        names = ",".join(tables)
        staged = "stage --domains shop --tables"
        assert [c.split(" --options")[0] for c in shop.commands if c.startswith(("stage", "load"))] == [
            f"{staged} {names}",
            f"load --domains shop --tables {names}",
        ]


EXPECTING = """  expectations:
    - expect: "nothing_over({limit})"
"""


def expect(shop: Shop, fail: bool) -> None:
    shop.folder.write(
        "metadata/expectations/rules.j2",
        "{% macro nothing_over(limit) %}select count(*) from SL_THIS where id > {{ limit }} and 'sl_this' <> ''{% endmacro %}\n",
    )
    if fail:
        application = shop.root / "metadata/application.sl.yml"
        application.write_text(application.read_text() + "  expectations:\n    failOnError: true\n")
    shop.table("orders", EXPECTING.format(limit=10))
    shop.table("prices", EXPECTING.format(limit=10) + '    - expect: "nothing_over(1)"\n')


def test_checks_belong_to_their_tables(shop: Shop, executor: StarlakeExecutor) -> None:
    expect(shop, fail=False)
    shop.deliver("incoming", items="1")
    for table, row in {"orders": 30, "prices": 5}.items():
        shop.folder.write(f"datasets/incoming/shop/{table}.csv", f"id;value\n{row};x\n")
    run = shop.run(batch(executor))
    assert run.success, run.lines
    assert run.checks == {
        "shop_orders.nothing_over_10": False,
        "shop_prices.nothing_over_10": True,
        "shop_prices.nothing_over_1": False,
    }


def test_a_failing_expectation_fails_its_table_only(shop: Shop, executor: StarlakeExecutor) -> None:
    expect(shop, fail=True)
    shop.deliver(items="1")
    for table, row in {"orders": 30, "prices": 1}.items():
        shop.folder.write(f"datasets/incoming/shop/{table}.csv", f"id;value\n{row};x\n")
    run = shop.run(batch(executor))
    assert run.loaded == {"items": 1, "prices": 1}
    assert list(run.failed) == ["orders"]
    assert "nothing_over(10)" in run.failed["orders"]
    assert run.checks == {"shop_orders.nothing_over_10": False, "shop_prices.nothing_over_10": True, "shop_prices.nothing_over_1": True}


def test_a_check_cannot_be_selected_without_its_table(shop: Shop) -> None:
    expect(shop, fail=False)
    with shop.jobs(batch(DuckDBExecutor())) as jobs:
        checks = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("shop_orders"), "nothing_over_10"))
        job = dg.define_asset_job("checks", checks)
        defs = dg.Definitions.merge(jobs.definitions, dg.Definitions(jobs=[job]))
        result = defs.resolve_job_def("checks").execute_in_process(instance=shop.instance, raise_on_error=False)
    assert not result.success
    (failed,) = [e.step_failure_data.user_failure_data for e in result.all_events if e.is_step_failure]
    assert "materialize shop_orders" in failed.description


# ------------------------------------------------------------------------------------------ commands that end in the middle


def disable_audit(shop: Shop) -> None:
    application = shop.root / "metadata/application.sl.yml"
    application.write_text(application.read_text() + "  audit:\n    active: false\n")


@pytest.mark.parametrize("audit", [True, False])
def test_a_killed_command_is_finished_table_by_table(shop: Shop, audit: bool) -> None:
    if not audit:
        disable_audit(shop)
    shop.behave(KILLED)
    shop.deliver(orders="1", items="1 2", prices="1 2 3")
    run = shop.run(batch(shop.shell()))
    assert run.success, run.lines
    assert shop.loads == ["items,orders,prices", "orders", "prices"], "items was loaded before: its file had been archived"
    assert {t: shop.rows(t) for t in TABLES} == {"orders": [1], "items": [1, 2], "prices": [1, 2, 3]}
    assert run.loaded == {"orders": 1, "items": 2 if audit else None, "prices": 3}
    assert any("loading them one by one: orders, prices" in line for line in run.lines)
    assert run.materialized["shop_items"]["starlake/batch_tables"] == 3
    assert run.materialized["shop_items"]["starlake/file_names"] == ["items.csv"]
    assert "starlake/seconds" in run.materialized["shop_orders"]


def test_a_table_that_kills_its_command_is_the_one_that_fails(shop: Shop) -> None:
    shop.behave(KILLED)
    shop.deliver(orders="bad", items="1", prices="1")
    run = shop.run(batch(shop.shell()))
    assert run.loaded == {"items": 1, "prices": 1}
    assert list(run.failed) == ["orders"]
    assert run.failure.metadata["starlake/command"].value.endswith("--tables orders")


class LimitedBatches(ShellExecutor):
    """Limits the time of loads of several tables. A command for one table has as much time as it needs, however busy the machine is."""

    def run(self, command: Command, invocation: Invocation) -> CommandResult:
        several = command.verb == "load" and len(command.tables) > 1
        return ShellExecutor(**{**dict(self), "timeout": 6 if several else None}).run(command, invocation)


def test_a_command_that_takes_too_long_is_finished_table_by_table(shop: Shop) -> None:
    shop.behave(HANGS)
    shop.deliver(orders="1", items="1 2", prices="1")
    run = shop.run(batch(LimitedBatches(starlake_path=str(shop.program), grace_period=2)))
    assert run.success, run.lines
    assert run.loaded == {"orders": 1, "items": 2, "prices": 1}
    assert shop.rows("items") == [1, 2]


def test_a_program_that_rejects_several_tables_gets_them_one_by_one(shop: Shop) -> None:
    shop.behave(REJECTED)
    shop.deliver(orders="1", items="1")
    run = shop.run(batch(shop.shell()))
    assert run.success, run.lines
    assert shop.loads == ["items,orders,prices", "items", "orders", "prices"]
    assert run.loaded == {"orders": 1, "items": 1, "prices": 0}


def test_a_program_that_does_not_exist_fails_all_tables_at_once(shop: Shop) -> None:
    shop.deliver("stage", orders="1", items="1", prices="1")
    shop.folder.write("metadata/dags/loads.sl.yml", (shop.root / "metadata/dags/loads.sl.yml").read_text().replace("imported", "none"))
    shop.program.unlink()
    run = shop.run(batch(shop.shell()))
    assert sorted(run.failed) == sorted(TABLES)
    assert "does not exist" in run.failed["orders"]
    assert run.loaded == {}


# ------------------------------------------------------------------------------------------ further attempts


def set_retries(shop: Shop, retries: int) -> None:
    loads = shop.root / "metadata/dags/loads.sl.yml"
    loads.write_text(loads.read_text() + f"    retries: {retries}\n    retry_delay: 0\n")


MENDED = """
if arguments[0] == "load" and tables() == ["orders"]:
    root = os.environ["SL_ROOT"] + "/datasets/stage/shop/orders.csv"
    text = open(root).read()
    open(root, "w").write(text.replace("bad", "9"))
"""
"""Corrects the file before the second attempt."""


def test_a_retry_loads_only_what_has_failed(shop: Shop) -> None:
    set_retries(shop, 1)
    shop.behave(MENDED)
    shop.deliver(orders="1 bad", items="1 2", prices="1")
    run = shop.run(batch(shop.shell()))
    assert run.success, run.lines
    assert run.steps("STEP_UP_FOR_RETRY") == [STEP]
    assert shop.loads == ["items,orders,prices", "orders"]
    assert run.loaded == {"orders": 2, "items": 2, "prices": 1}
    assert any("shop_items is not materialized again, because an earlier attempt in this run did so" in line for line in run.lines)


@pytest.mark.parametrize("selection", ["job", "part"])
def test_reexecution_from_failure_loads_only_what_has_failed(shop: Shop, executor: StarlakeExecutor, selection: str) -> None:
    shop.deliver(orders="bad", items="1 2", prices="1")
    keys = ["shop_orders", "shop_items"] if selection == "part" else None
    with shop.jobs(batch(executor)) as jobs:
        first = jobs.run(keys=keys)
        assert list(first.failed) == ["orders"]
        second = jobs.run(again=first)
        assert second.materialized == {}
        assert list(second.failed) == ["orders"], "still bad"
        for area in ("stage", "ingesting"):
            (shop.root / f"datasets/{area}/shop/orders.csv").unlink(missing_ok=True)
        shop.deliver("stage", orders="1 2 3", items="77")
        third = jobs.run(again=second)
    assert third.success, third.lines
    assert third.loaded == {"orders": 3}, "neither loaded nor reported again"
    assert shop.rows("items") == [1, 2]
    if not isinstance(executor, DuckDBExecutor):
        assert shop.loads[1:] == ["orders", "orders"]


def test_reexecution_of_everything_loads_everything(shop: Shop) -> None:
    shop.deliver(orders="bad", items="1", prices="1")
    with shop.jobs(batch(DuckDBExecutor())) as jobs:
        first = jobs.run()
        assert list(first.failed) == ["orders"]
        shop.deliver(orders="5", items="2", prices="2")
        (shop.root / "datasets/ingesting/shop/orders.csv").unlink(missing_ok=True)
        second = jobs.run(tags={"dagster/parent_run_id": first.id, "dagster/root_run_id": first.id})
    assert second.loaded == {"orders": 1, "items": 1, "prices": 1}


# ------------------------------------------------------------------------------------------ what depends on the tables


def load_dependencies_in_job(shop: Shop) -> str:
    """Make the transform job load its dependencies. Return its name."""
    tasks = shop.root / "metadata/dags/transforms.sl.yml"
    tasks.write_text(tasks.read_text() + "  options:\n    run_dependencies_first: 'true'\n")
    return "kpi_tasks"


def test_tasks_downstream_of_loaded_tables_run_although_others_failed(shop: Shop, executor: StarlakeExecutor) -> None:
    job = load_dependencies_in_job(shop)
    shop.folder.write("metadata/transform/kpi/costs.sql", "select * from shop.prices\n")
    shop.deliver(orders="bad", items="1", prices="1 2")
    run = shop.run(batch(executor), job=job)
    assert not run.success
    assert list(run.failed) == ["orders"]
    assert sorted(run.materialized) == ["kpi_costs", "shop", "shop_items", "shop_prices"]
    assert sorted(run.steps("STEP_START")) == ["kpi_costs", STEP, "shop"], "kpi_daily and kpi_top need orders"


def test_reexecution_runs_what_depends_on_the_table_that_had_failed(shop: Shop) -> None:
    job = load_dependencies_in_job(shop)
    shop.folder.write("metadata/transform/kpi/costs.sql", "select p.* from shop.prices p join shop.items i on i.id = p.id\n")
    shop.folder.write("metadata/transform/kpi/costs.sl.yml", "version: 1\ntask:\n  writeStrategy:\n    type: APPEND\n")
    shop.folder.write("metadata/transform/kpi/both.sql", "select c.id from kpi.costs c join shop.orders o on c.id = o.id\n")
    shop.deliver(orders="bad", items="1", prices="1 2")
    with shop.jobs(batch(DuckDBExecutor())) as jobs:
        first = jobs.run(job)
        assert "kpi_costs" in first.materialized
        second = jobs.run(job, again=first)
        assert list(second.failed) == ["orders"]
        (shop.root / "datasets/ingesting/shop/orders.csv").unlink()
        shop.deliver("stage", orders="1")
        third = jobs.run(job, again=second)
    assert third.success, third.lines
    assert sorted(third.materialized) == ["kpi_both", "kpi_costs", "kpi_daily", "kpi_top", "shop_items", "shop_orders", "shop_prices"]
    items, costs = third.materialized["shop_items"], third.materialized["kpi_costs"]
    assert (items["starlake/rows_loaded"], items["starlake/made_in_run"]) == (1, first.id), "kpi_daily waits for it in this run"
    assert costs["starlake/made_in_run"] == first.id, "kpi_both waits for it"
    with duckdb.connect(str(shop.root / "datasets/duckdb.db"), read_only=True) as connection:
        assert connection.execute("select count(*) from kpi.costs").fetchall() == [(1,)], "appended once"


@pytest.mark.parametrize("step_executor", [dg.in_process_executor, pytest.param(dg.multiprocess_executor, marks=pytest.mark.slow)])
def test_dagsters_own_executors_run_what_depends_on_the_tables_after_reexecution(shop: Shop, step_executor: dg.ExecutorDefinition) -> None:
    """They skip all steps downstream of a failed one."""
    job = load_dependencies_in_job(shop)
    shop.deliver(orders="bad", items="1", prices="1 2")
    shop.folder.write("metadata/transform/kpi/costs.sql", "select * from shop.prices\n")
    with shop.own_jobs(batch(DuckDBExecutor(), step_executor=step_executor)) as jobs:
        first = jobs.run(job)
        assert sorted(first.materialized) == ["shop", "shop_items", "shop_prices"]
        assert list(first.failed) == ["orders"]
        (shop.root / "datasets/ingesting/shop/orders.csv").unlink()
        shop.deliver("stage", orders="1")
        second = jobs.run(job, again=first)
    assert second.success, second.lines
    assert sorted(second.materialized) == ["kpi_costs", "kpi_daily", "kpi_top", "shop_items", "shop_orders", "shop_prices"]
    assert shop.rows("prices") == [1, 2]


def test_each_table_is_materialized_once_after_reexecution(shop: Shop) -> None:
    shop.deliver(orders="bad", items="1", prices="1")
    with shop.jobs(batch(DuckDBExecutor())) as jobs:
        first = jobs.run()
        jobs.run(again=first)
    for table, count in {"orders": 0, "items": 1, "prices": 1}.items():
        records = shop.instance.fetch_materializations(dg.AssetKey(f"shop_{table}"), limit=10).records
        assert len(records) == count


def test_running_without_a_web_interface_reports_the_result_of_each_table(shop: Shop, executor: StarlakeExecutor) -> None:
    shop.deliver(orders="bad", items="1 2")
    (result,) = run_headless(shop.root, batch(executor), job="shop_tables")
    found = {a.key: a for a in result.assets}
    assert {key: a.status for key, a in found.items()} == {
        "shop": "done",
        "shop_orders": "failed",
        "shop_items": "done",
        "shop_prices": "done",
    }
    assert (found["shop_items"].loaded, found["shop_items"].rows, found["shop_prices"].loaded) == (2, 2, 0)
    assert "bad" in (found["shop_orders"].error or "") or "orders" in (found["shop_orders"].error or "")
    assert found["shop_items"].seconds > 0
    (again,) = run_headless(shop.root, batch(executor), job="shop_tables")
    assert {a.key: a.status for a in again.assets} == {key: a.status for key, a in found.items()}


def test_loads_of_a_batch_and_of_one_of_its_tables_wait_for_each_other(shop: Shop) -> None:
    """Commands that run at the same time would take each other's files."""
    shop.behave("threading.Event().wait(0.3)")
    for number in range(3):
        for table in TABLES:
            shop.folder.write(f"datasets/stage/shop/{table}-{number}.csv", f"id;value\n{number};x\n")
    for table in TABLES:
        shop.table(table)
    loads = shop.root / "metadata/dags/loads.sl.yml"
    loads.write_text(loads.read_text().replace("imported", "none"))
    with shop.jobs(batch(shop.shell())) as jobs:
        selections = [None, ["shop_orders"], ["shop_prices", "shop_items"]]
        with ThreadPoolExecutor(3) as pool:
            runs = list(pool.map(lambda keys: jobs.run(keys=keys), selections))
    assert all(run.success for run in runs), [run.lines for run in runs]
    for table in TABLES:
        assert shop.rows(table) == [0, 1, 2]
        assert sum(run.loaded.get(table) or 0 for run in runs) == 3
