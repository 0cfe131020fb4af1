"""Columns of tasks whose YAML does not declare them: inferred once, kept in the cache, and shown by the next load."""

import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from project_folder import ProjectFolder

from starlake_dagster_components.cli.main import main
from starlake_dagster_components.definitions import build
from starlake_dagster_components.lineage import inferred
from starlake_dagster_components.settings import Settings

SELECT = "select id, amount * 2 as twice from sales.orders\n"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectFolder:
    for name in ("SL_ENV", "SL_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SL_DAGSTER_CACHE", str(tmp_path / "cache"))
    folder = ProjectFolder(tmp_path / "shop")
    folder.write(
        "metadata/application.sl.yml",
        "application: {connectionRef: duck, connections: {duck: {type: jdbc, options: {url: 'jdbc:duckdb:x.db'}}}}\n",
    )
    folder.write("metadata/load/sales/_config.sl.yml", "load: {name: sales}\n")
    folder.write(
        "metadata/load/sales/orders.sl.yml",
        "table: {name: orders, pattern: orders.*.csv, attributes: [{name: id, type: long}, {name: amount, type: double}]}\n",
    )
    folder.write("metadata/transform/kpi/first.sql", SELECT)
    folder.write("metadata/transform/kpi/second.sql", "select *, {{ column }} as more from kpi.first\n")
    folder.write("metadata/transform/kpi/unknown.sql", "select * from nowhere.known\n")
    folder.write("metadata/transform/kpi/declared.sql", SELECT)
    folder.write("metadata/transform/kpi/declared.sl.yml", "task: {attributes: [{name: id, type: long}, {name: twice, type: double}]}\n")
    folder.write("metadata/env.sl.yml", "env: {column: twice}\n")
    return folder


def fill(shop: ProjectFolder) -> None:
    done = CliRunner().invoke(main, ["cache", str(shop.root)])
    assert done.exit_code == 0, done.output


def load(shop: ProjectFolder, **settings: Any) -> dict[str, list[tuple[str, str]] | None]:
    """Return the columns of each task that the load shows."""
    built = build.build_definitions(shop.root, Settings(executor="duckdb", **settings))
    found = {}
    for spec in built.definitions.resolve_all_asset_specs():
        schema = spec.metadata.get("dagster/column_schema")
        assert schema is None or isinstance(schema, dg.TableSchema)
        if spec.key.path[0].startswith("kpi"):
            found[spec.key.path[0]] = [(c.name, c.type) for c in schema.columns] if schema else None
    return found


def test_inferred_columns_are_shown_after_the_cache_is_filled(shop: ProjectFolder) -> None:
    assert load(shop) == {"kpi_first": None, "kpi_second": None, "kpi_unknown": None, "kpi_declared": [("id", "long"), ("twice", "double")]}
    fill(shop)
    assert load(shop) == {
        "kpi_first": [("id", "bigint"), ("twice", "double")],
        "kpi_second": [("id", "bigint"), ("twice", "double"), ("more", "double")],
        "kpi_unknown": None,
        "kpi_declared": [("id", "long"), ("twice", "double")],
    }


def test_an_edit_hides_the_columns_of_its_task_until_they_are_inferred_again(shop: ProjectFolder) -> None:
    fill(shop)
    shop.write("metadata/transform/kpi/first.sql", "select id, amount from sales.orders\n")
    shop.write("metadata/env.sl.yml", "env: {column: amount}\n")
    found = load(shop)
    assert found["kpi_first"] is None
    assert found["kpi_second"] is not None
    fill(shop)
    assert load(shop)["kpi_second"] == [("id", "bigint"), ("amount", "double"), ("more", "double")]


def test_a_changed_variable_causes_inference(shop: ProjectFolder) -> None:
    fill(shop)
    shop.write("metadata/env.sl.yml", "env: {column: id}\n")
    fill(shop)
    second = load(shop)["kpi_second"]
    assert second is not None
    assert second[-1] == ("more", "bigint")


def test_a_project_with_errors_shows_columns_of_the_last_good_plan(shop: ProjectFolder) -> None:
    fill(shop)
    shop.write("metadata/transform/kpi/declared.sl.yml", "task: {attributes: [{name: id, type: nope}]}\n")
    assert load(shop, on_error="last_good")["kpi_first"] == [("id", "bigint"), ("twice", "double")]


def test_a_code_server_infers_columns_after_the_load(shop: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "is_code_server", lambda: True)
    monkeypatch.setattr(inferred, "DELAY", 0.0)

    def list_threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "starlake-columns"]

    load(shop)
    for thread in list_threads():
        thread.join()
    assert load(shop)["kpi_first"] == [("id", "bigint"), ("twice", "double")]
    assert not list_threads()


def test_a_code_server_asks_for_a_reload_if_columns_have_changed(
    shop: ProjectFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice = tmp_path / "notice"
    monkeypatch.setenv(inferred.NOTICE, str(notice))
    monkeypatch.setattr(build, "is_code_server", lambda: True)
    monkeypatch.setattr(inferred, "DELAY", 0.0)

    def load_and_wait() -> bool:
        notice.unlink(missing_ok=True)
        load(shop)
        for thread in threading.enumerate():
            if thread.name == "starlake-columns":
                thread.join()
        return notice.exists()

    assert load_and_wait()
    assert not load_and_wait()
    shop.write("metadata/transform/kpi/first.sql", "select id from sales.orders\n")
    assert load_and_wait()
    assert not load_and_wait()
    # They are inferred again, and are the same.
    shop.write("metadata/load/sales/_config.sl.yml", "load: {name: sales, comment: edited}\n")
    assert not load_and_wait()


def test_a_column_with_a_secret_in_its_name_is_not_kept(shop: ProjectFolder) -> None:
    shop.write("metadata/env.sl.yml", "env: {column: twice, api_password: verysecret77}\n")
    shop.write("metadata/transform/kpi/first.sql", "select id, amount * 2 as twice, 1 as {{ api_password }} from sales.orders\n")
    fill(shop)
    assert load(shop)["kpi_first"] is None


def test_a_chain_of_many_tasks_is_followed(shop: ProjectFolder) -> None:
    for number in range(120):
        source = f"kpi.step{number - 1}" if number else "kpi.first"
        shop.write(f"metadata/transform/kpi/step{number}.sql", f"select * from {source}\n")
    fill(shop)
    assert load(shop)["kpi_step119"] == [("id", "bigint"), ("twice", "double")]
