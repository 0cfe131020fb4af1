"""Tables that share an op, the definition of the op, and the events of its step for each result of an executor."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import hypothesis
import pytest
from batch_shop import HANGS, STEP, Run, Shop
from dagster_home import open_instance
from hypothesis import strategies as st
from project_folder import ProjectFolder

from starlake_dagster_components import CommandResult, DuckDBExecutor, commands, load_definitions_from_starlake_project
from starlake_dagster_components.commands import Command
from starlake_dagster_components.errors import CommandError, CommandTimeout
from starlake_dagster_components.executors.base import Counters, Invocation, TableResult
from starlake_dagster_components.settings import Settings
from starlake_dagster_components.testing import RecordingExecutor


@pytest.fixture
def shop(shop: ProjectFolder, tmp_path: Path) -> Iterator[Shop]:
    shop.write("metadata/transform/kpi/top.sql", "select max(amount) as best from kpi.daily\n")
    with open_instance(tmp_path / "home") as instance:
        yield Shop(shop, tmp_path / "starlake", instance)


def load_assets(shop: Shop, **settings: Any) -> dict[str, dg.AssetsDefinition]:
    defs = load_definitions_from_starlake_project(shop.root, executor=DuckDBExecutor(), batch=True, **settings)
    return {a.op.name: a for a in defs.assets if isinstance(a, dg.AssetsDefinition) and a.is_executable}  # type: ignore[union-attr]


def list_keys(asset: dg.AssetsDefinition) -> set[str]:
    return {k.to_user_string() for k in asset.keys}


def test_without_the_setting_every_table_has_its_op(shop: Shop) -> None:
    defs = load_definitions_from_starlake_project(shop.root, executor=DuckDBExecutor())
    assert all(len(a.keys) == 1 for a in defs.assets if isinstance(a, dg.AssetsDefinition))  # type: ignore[union-attr]


def test_the_tables_of_a_domain_share_an_op(shop: Shop) -> None:
    with_retries = (shop.root / "metadata/dags/loads.sl.yml").read_text() + "    retries: 3\n"
    shop.folder.write("metadata/dags/loads.sl.yml", with_retries)
    shop.table("prices", '  expectations:\n    - expect: "nothing_over(1)"\n')
    found = load_assets(shop, pool="warehouse", op_tags={"team": "data"})
    op = found[STEP].op
    assert list_keys(found[STEP]) == {"shop_orders", "shop_items", "shop_prices"}
    assert found[STEP].can_subset
    assert set(op.output_dict) == {"table_shop_orders", "table_shop_items", "table_shop_prices", "check_0_of_table_shop_prices"}
    assert not any(out.is_required for out in op.output_defs)
    assert (op.pool, op.retry_policy.max_retries) == ("warehouse", 3)  # type: ignore[union-attr]
    assert {"team": "data", "starlake/command": "load", "starlake/domain": "shop"}.items() <= op.tags.items()
    assert set(found) == {"shop", STEP, "kpi_daily", "kpi_top"}


def test_tables_of_different_pipelines_are_not_loaded_together(shop: Shop) -> None:
    other = (shop.root / "metadata/dags/loads.sl.yml").read_text().replace("{{domain}}_tables.py", "{{domain}}_others.py")
    shop.folder.write("metadata/dags/others.sl.yml", other)
    for name in ("refunds", "stores"):
        shop.table(name)
        path = shop.root / f"metadata/load/shop/{name}.sl.yml"
        path.write_text(path.read_text().replace("  metadata:\n", "  metadata:\n    dagRef: others\n"))
    shop.table("alone")
    path = shop.root / "metadata/load/shop/alone.sl.yml"
    path.write_text(path.read_text().replace("  metadata:\n", "  metadata:\n    dagRef: third\n"))
    shop.folder.write("metadata/dags/third.sl.yml", other.replace("others.py", "third.py"))
    found = load_assets(shop)
    assert list_keys(found["load_shop_shop_tables"]) == {"shop_orders", "shop_items", "shop_prices"}
    assert list_keys(found["load_shop_shop_others"]) == {"shop_refunds", "shop_stores"}
    assert list_keys(found["shop_alone"]) == {"shop_alone"}, "a table that is alone keeps its own op"


def test_the_name_of_the_op_is_unique(shop: Shop) -> None:
    shop.folder.write("metadata/transform/load/shop.sql", "select 1 as x\n")
    found = load_assets(shop)
    assert list_keys(found["load_shop"]) == {"load_shop"}
    (batch,) = [name for name, asset in found.items() if len(asset.keys) == 3]
    assert batch.startswith("load_shop_")


def test_a_translator_s_dependencies_keep_tables_apart(shop: Shop) -> None:
    from starlake_dagster_components import StarlakeTranslator

    class After(StarlakeTranslator):
        def get_asset_spec(self, node: Any) -> dg.AssetSpec:
            spec = super().get_asset_spec(node)
            if node.name == "shop.prices":
                return spec.replace_attributes(deps=[*spec.deps, dg.AssetDep("shop_orders")])
            return spec

    found = load_assets(shop, translator=After())
    assert list_keys(found[STEP]) == {"shop_orders", "shop_items"}
    assert list_keys(found["shop_prices"]) == {"shop_prices"}


def test_too_many_names_for_one_command_line_use_several_commands(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "MAX_NAMES", 13)
    executor = RecordingExecutor().on("load", "prices", CommandResult(1, reason="a bad row"))
    run = shop.run(Settings(executor=executor, batch=True))
    loads = [line for line in executor.lines if line.startswith("load")]
    assert loads == ["load --domains shop --tables items,orders", "load --domains shop --tables prices"]
    assert len({c.environment["SL_JOB_ID"] for c in executor.commands if c.verb == "load"}) == 2
    assert dict(run.failed) == {"prices": "a bad row"}
    assert set(run.loaded) == {"orders", "items"}


# ------------------------------------------------------------------------------------------ answers of executors


def run(shop: Shop, executor: RecordingExecutor) -> Run:
    return shop.run(Settings(executor=executor, batch=True))


def list_loads(executor: RecordingExecutor) -> list[str]:
    return [line.rpartition(" ")[2] for line in executor.lines if line.startswith("load")]


FILE = CommandResult(0, counters=Counters(1, 1, 0, ("gs://b/orders.csv",)))


def test_a_table_without_a_known_result_is_not_a_success_even_if_no_file_is_left(shop: Shop) -> None:
    """A load that failed leaves its file where the next load does not find it."""

    def answer(command: Command, invocation: Invocation) -> CommandResult:
        tables = command.arguments[3].split(",")
        if len(tables) > 1:
            return CommandResult(137, reason="it was killed")
        return {"orders": FILE, "items": CommandResult(0, counters=Counters(0, 0, 0)), "prices": CommandResult(0)}[tables[0]]

    executor = RecordingExecutor().on("load", "shop", answer)
    result = run(shop, executor)
    assert list_loads(executor) == ["items,orders,prices", "items", "orders", "prices"]
    assert result.loaded == {"orders": 1}
    assert set(result.failed) == {"items", "prices"}
    assert "it is unknown whether it was loaded" in result.failed["items"]
    assert "exit code 137 (it was killed)" in result.failed["items"]


def test_a_permanent_failure_is_not_retried_table_by_table(shop: Shop) -> None:
    executor = RecordingExecutor().on("load", "shop", CommandResult(1, reason="permission denied", retry=False))
    result = run(shop, executor)
    assert list_loads(executor) == ["items,orders,prices"]
    assert set(result.failed.values()) == {"permission denied"}


def test_no_command_follows_one_that_may_still_run(shop: Shop) -> None:
    executor = RecordingExecutor().on("load", "shop", CommandError("it may still run", retry=False))
    result = run(shop, executor)
    assert list_loads(executor) == ["items,orders,prices"]
    assert dict(result.failed) == dict.fromkeys(("items", "orders", "prices"), "it may still run")


def test_counts_of_a_table_that_was_loaded_in_two_parts_are_added_up(shop: Shop) -> None:
    late = CommandTimeout("it ran too long")
    late.tables = {
        "items": TableResult("loaded", Counters(4, 4, 0, ("i.csv",))),
        "orders": TableResult("open", Counters(2, 2, 0, ("o-1.csv",)), row_count=2),
        "prices": TableResult("failed", reason="a bad row"),
    }
    executor = RecordingExecutor().on("load", "shop", late, CommandResult(0, counters=Counters(1, 1, 0, ("o-2.csv",)), row_count=3))
    result = run(shop, executor)
    assert list_loads(executor) == ["items,orders,prices", "orders"]
    assert result.loaded == {"items": 4, "orders": 3}
    assert result.materialized["shop_orders"]["starlake/file_names"] == ["o-1.csv", "o-2.csv"]
    assert dict(result.failed) == {"prices": "a bad row"}


OUTCOMES = st.sampled_from(["loaded", "failed", "open", "unknown", "missing"])
ALONE = st.sampled_from(["file", "no file", "failed"])
UNCHECKED = [hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow]


@pytest.mark.slow
@hypothesis.settings(max_examples=25, suppress_health_check=UNCHECKED, deadline=None)
@hypothesis.given(
    code=st.sampled_from([0, 1, 137]),
    told=st.fixed_dictionaries({t: OUTCOMES for t in ("orders", "items", "prices")}),
    alone=st.fixed_dictionaries({t: ALONE for t in ("orders", "items", "prices")}),
)
def test_every_table_is_either_materialized_or_named_as_failed(shop: Shop, code: int, told: dict[str, Any], alone: dict[str, str]) -> None:
    hypothesis.assume(code != 0 or set(told.values()) <= {"loaded", "missing"})

    def answer(command: Command, invocation: Invocation) -> CommandResult:
        tables = command.arguments[3].split(",")
        if len(tables) > 1:
            return CommandResult(code, tables={t: TableResult(o, reason="told") for t, o in told.items() if o != "missing"})
        files = {"file": ("f.csv",), "no file": (), "failed": ()}[alone[tables[0]]]
        return CommandResult(1 if alone[tables[0]] == "failed" else 0, counters=Counters(files=files), reason="alone")

    executor = RecordingExecutor().on("load", "shop", answer)
    result = run(shop, executor)
    loaded, failed = set(), set()
    for table, outcome in told.items():
        outcome = outcome if outcome != "missing" else "loaded" if code == 0 else "unknown"
        if outcome == "loaded" or (outcome == "open" and alone[table] != "failed") or (outcome == "unknown" and alone[table] == "file"):
            loaded.add(table)
        else:
            failed.add(table)
    assert (set(result.loaded), set(result.failed)) == (loaded, failed)
    assert result.success == (not failed)
    known = {t for t, o in told.items() if o in ("loaded", "failed") or (o == "missing" and code == 0)}
    assert set(list_loads(executor)[1:]) == set(told) - known


# ------------------------------------------------------------------------------------------ cancelling


def test_a_canceled_run_keeps_what_was_loaded_and_loses_nothing(shop: Shop) -> None:
    shop.behave(HANGS)
    shop.deliver(orders="1", items="1 2", prices="1")
    ended: list[Run] = []
    with shop.jobs(Settings(executor=shop.shell(grace_period=2), batch=True)) as jobs:
        stop = threading.Event()

        def cancel_when_it_hangs() -> None:
            while not stop.wait(0.1):
                for run in shop.instance.get_runs():
                    if any("hangs" in e.user_message for e in shop.instance.all_logs(run.run_id)):
                        os.kill(os.getpid(), signal.SIGINT)
                        return

        thread = threading.Thread(target=cancel_when_it_hangs)
        thread.start()
        try:
            ended.append(jobs.run())
        except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt):
            pass
        finally:
            stop.set()
            thread.join()
    (run,) = shop.instance.get_runs()
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    made = [e.dagster_event.asset_key.to_user_string() for e in shop.instance.all_logs(run.run_id, of_type=kind)]  # type: ignore[union-attr]
    assert made == ["shop", "shop_items"]
    assert shop.files("stage") == ["orders.csv", "prices.csv"]
    assert shop.files("ingesting") == []
    assert shop.rows("items") == [1, 2]
