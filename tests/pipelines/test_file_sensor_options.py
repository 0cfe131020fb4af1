"""The options of DAG configs for file sensors, and the folders in which files wait."""

from datetime import datetime, timedelta

import pytest
from plan_builders import dag, plan, table
from project_folder import ProjectFolder

from starlake_dagster_components.pipelines.pipeline import Pipeline
from starlake_dagster_components.pipelines.plan_loading import load_plan
from starlake_dagster_components.pipelines.waiting_files import TableFiles, WaitingFolder, list_waiting_folders, match_tables, name_ack_file


def test_options_of_a_dag_config() -> None:
    made = plan(table("shop.orders"), dag("load", "{{domain}}.py", pre_load_sensor="true", pre_load_poke_interval="60"))
    (pipeline,) = made.pipelines
    assert (pipeline.file_sensor, pipeline.file_sensor_interval) == (True, timedelta(minutes=1))
    assert made.problems == ()


def test_the_setting_applies_if_the_dag_config_has_no_option() -> None:
    (pipeline,) = plan(table("shop.orders"), dag("load", "{{domain}}.py")).pipelines
    assert (pipeline.file_sensor, pipeline.file_sensor_interval) == (None, None)


def test_the_timeout_has_no_effect_and_a_wrong_value_is_an_error() -> None:
    made = plan(table("shop.orders"), dag("load", "{{domain}}.py", pre_load_sensor="maybe", pre_load_timeout="3600"))
    messages = sorted(problem.message for problem in made.problems)
    assert any("pre_load_timeout" in message and "freshness" in message for message in messages)
    assert any("pre_load_sensor" in message and "is not true or false" in message for message in messages)


def read_pipeline(shop: ProjectFolder, strategy: str) -> tuple[Pipeline, tuple[WaitingFolder, ...]]:
    dags = shop.root / "metadata/dags/loads.sl.yml"
    dags.write_text(dags.read_text().replace("pre_load_strategy: imported", f"pre_load_strategy: {strategy}"))
    made = load_plan(shop.root, environ={}).plan
    (pipeline,) = (p for p in made.pipelines if p.kind == "load")
    return pipeline, list_waiting_folders(made.project, pipeline)


def test_imported_files_wait_in_the_incoming_folder(shop: ProjectFolder) -> None:
    config = shop.root / "metadata/load/shop/orders.sl.yml"
    config.write_text(config.read_text().replace("    writeStrategy:", "    ack: done\n    writeStrategy:"))
    _, folders = read_pipeline(shop, "imported")
    (folder,) = folders
    assert folder.path == f"{shop.root}/datasets/incoming/shop"
    assert folder.tables == (TableFiles("shop.items", "items.*.csv"), TableFiles("shop.orders", "orders.*.csv", "done"))


def test_pending_files_wait_in_the_stage_area(shop: ProjectFolder) -> None:
    _, folders = read_pipeline(shop, "pending")
    (folder,) = folders
    assert folder.path == f"{shop.root}/datasets/stage/shop"


def test_files_wait_for_the_ack_file_of_the_day(shop: ProjectFolder) -> None:
    _, folders = read_pipeline(shop, "ack")
    (folder,) = folders
    assert folder.get_ack_file(datetime(2026, 3, 1)) == f"{shop.root}/datasets/pending/shop/2026-03-01.ack"


def test_without_pre_load_nothing_waits(shop: ProjectFolder) -> None:
    assert read_pipeline(shop, "none")[1] == ()


@pytest.mark.parametrize(
    ("name", "taken"),
    [("orders-1.csv", "shop.orders"), ("orders-1.done", None), ("items.csv", "shop.items"), ("order.csv", None), ("xorders-1.csv", None)],
)
def test_a_file_belongs_to_the_first_table_whose_pattern_it_matches(name: str, taken: str | None) -> None:
    tables = (TableFiles("shop.orders", "orders.*", "done"), TableFiles("shop.items", "items.*"), TableFiles("shop.wrong", "["))
    found = match_tables([name], tables)
    assert (found[name].table if name in found else None) == taken


def test_names_of_ack_files() -> None:
    assert name_ack_file("orders-1.csv", TableFiles("shop.orders", ".*", "done")) == "orders-1.done"
    assert name_ack_file("orders", TableFiles("shop.orders", ".*", "done")) == "orders.done"
    assert name_ack_file("orders-1.csv", TableFiles("shop.orders", ".*")) == ""
