"""The table of an asset, found by its key."""

import dagster as dg
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import StarlakeError, load_definitions_from_starlake_project, table_of
from starlake_dagster_components.errors import UnknownName
from starlake_dagster_components.testing import RecordingExecutor


def test_table_of_returns_the_table_of_a_key(shop: ProjectFolder) -> None:
    defs = load_definitions_from_starlake_project(shop.root)
    assert table_of(defs, "shop_orders") == "shop.orders"
    assert table_of(defs, dg.AssetKey("kpi_daily")) == "kpi.daily"
    paths = load_definitions_from_starlake_project(shop.root, asset_keys="path")
    assert table_of(paths, "kpi/daily") == table_of(paths, dg.AssetKey(["kpi", "daily"])) == "kpi.daily"


def test_a_wrong_key_names_the_one_that_was_meant(shop: ProjectFolder) -> None:
    defs = load_definitions_from_starlake_project(shop.root)
    with pytest.raises(UnknownName, match=r"kpi_dayly.*kpi_daily"):
        table_of(defs, "kpi_dayly")


def test_table_of_rejects_an_asset_without_a_table(shop: ProjectFolder) -> None:
    @dg.asset
    def letter() -> None:
        """An asset that is not a table."""

    defs = dg.Definitions.merge(load_definitions_from_starlake_project(shop.root), dg.Definitions(assets=[letter]))
    with pytest.raises(StarlakeError, match="the asset 'letter' has no table"):
        table_of(defs, "letter")


def test_a_downstream_asset_can_call_table_of(shop: ProjectFolder) -> None:
    seen = []

    @dg.asset(deps=["kpi_daily"])
    def report(context: dg.AssetExecutionContext) -> None:
        seen.append(table_of(context, "kpi_daily"))

    jobs = [dg.define_asset_job("reports", ["report"]), dg.define_asset_job("both", ["kpi_daily", "report"])]
    own = dg.Definitions(assets=[report], jobs=jobs)
    defs = dg.Definitions.merge(load_definitions_from_starlake_project(shop.root, executor=RecordingExecutor()), own)
    for job in ("reports", "both"):
        assert defs.resolve_job_def(job).execute_in_process().success
    assert seen == ["kpi.daily", "kpi.daily"]
