"""Jobs that resolve their assets themselves are equal to those that Dagster resolves from the same selection."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import load_definitions_from_starlake_project
from starlake_dagster_components.definitions import asset_job, jobs
from starlake_dagster_components.definitions.asset_job import AssetJob
from starlake_dagster_components.executors.duckdb import DuckDBExecutor

Build = Callable[[], dg.Definitions]


@pytest.fixture
def own_ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each resolved job, True if this package resolved it, False if Dagster had to."""
    ways: list[bool] = []
    make = asset_job._build_job_graph

    def build(*arguments: Any) -> Any:
        found = make(*arguments)
        ways.append(found is not None)
        return found

    monkeypatch.setattr(asset_job, "_build_job_graph", build)
    return ways


@pytest.fixture
def same(monkeypatch: pytest.MonkeyPatch) -> Callable[[Build], None]:
    """Check that Dagster shows the same for definitions whose jobs it resolves."""

    def check(build: Build) -> None:
        ours = _describe(build())
        with monkeypatch.context() as patch:
            patch.setattr(jobs, "_get_job_factory", lambda: dg.define_asset_job)
            theirs = _describe(build())
        assert ours == theirs

    return check


def _describe(definitions: dg.Definitions) -> dict[str, Any]:
    """Return the parts of all jobs: their steps in order, the assets that they only read, and their snapshots."""
    repository = definitions.get_repository_def()
    repository.load_all_definitions()
    shown: dict[str, Any] = {}
    for job in repository.get_all_jobs():
        graph = job.asset_layer.asset_graph
        shown[job.name] = {
            "snapshot": job.get_job_snapshot(),
            "made": sorted(map(str, graph.executable_asset_keys)),
            "checks": sorted(map(str, graph.asset_check_keys)),
            "dependencies": sorted(f"{n}: {i} <- {sorted(map(str, d.get_node_dependencies()))}" for n, i, d in _list_dependencies(job)),
            "executor": job.executor_def.name,
            "tags": (dict(job.tags), dict(job.run_tags)),
        }
    return shown


def _list_dependencies(job: dg.JobDefinition) -> Iterator[tuple[str, str, Any]]:
    for node, inputs in job.dependencies.items():
        for name, dependency in inputs.items():
            yield node.alias or node.name, name, dependency


def _resolve(shop: ProjectFolder, *others: Any) -> dg.Definitions:
    ours = load_definitions_from_starlake_project(shop.root, executor=DuckDBExecutor())
    return dg.Definitions.merge(ours, dg.Definitions(**{k: v for other in others for k, v in other.items()}))


def test_jobs_of_a_project_equal_those_that_dagster_resolves(
    shop: ProjectFolder, same: Callable[[Build], None], own_ways: list[bool]
) -> None:
    same(lambda: _resolve(shop))
    assert own_ways == [True, True]


def test_jobs_of_real_projects_equal_those_that_dagster_resolves(shared: Path, same: Callable[[Build], None], own_ways: list[bool]) -> None:
    same(lambda: load_definitions_from_starlake_project(shared / "corpus/StarBake", env="DUCKDB"))
    assert own_ways
    assert all(own_ways)


def test_jobs_of_the_example_equal_those_that_dagster_resolves(same: Callable[[Build], None], own_ways: list[bool]) -> None:
    example = Path(__file__).resolve().parents[2] / "examples/tallow_lane"
    same(lambda: load_definitions_from_starlake_project(example))
    assert len(own_ways) > 3
    assert all(own_ways)


def test_checks_that_others_add_are_part_of_the_jobs(shop: ProjectFolder, same: Callable[[Build], None], own_ways: list[bool]) -> None:
    @dg.asset_check(asset="shop_orders", additional_deps=["shop_items"])
    def looks_right() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    same(lambda: _resolve(shop, {"asset_checks": [looks_right]}))
    assert own_ways == [True, True]
    nodes = {node.name for node in _resolve(shop, {"asset_checks": [looks_right]}).resolve_job_def("shop_tables").nodes}
    assert nodes == {"shop", "shop_items", "shop_orders", "shop_orders_looks_right"}


def test_a_check_of_assets_of_several_jobs_is_left_to_dagster(
    shop: ProjectFolder, same: Callable[[Build], None], own_ways: list[bool]
) -> None:
    @dg.multi_asset_check(
        specs=[dg.AssetCheckSpec("a", asset="shop_orders"), dg.AssetCheckSpec("b", asset="kpi_daily")],
        can_subset=True,
    )
    def both() -> Iterator[dg.AssetCheckResult]:
        yield dg.AssetCheckResult(passed=True, asset_key="shop_orders", check_name="a")

    same(lambda: _resolve(shop, {"asset_checks": [both]}))
    assert own_ways == [False, False]


def test_assets_that_get_partitions_are_left_to_dagster(shop: ProjectFolder, same: Callable[[Build], None], own_ways: list[bool]) -> None:
    daily = dg.DailyPartitionsDefinition("2026-01-01")

    def partitioned() -> dg.Definitions:
        return _resolve(shop).map_asset_specs(func=lambda spec: spec.replace_attributes(partitions_def=daily))

    same(partitioned)
    assert own_ways == [False, False]


def test_selecting_a_missing_asset_is_an_error(shop: ProjectFolder) -> None:
    job = AssetJob("odd", dg.AssetSelection.assets("shop_orders", "nothing"))
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="asset job odd") as error:
        _resolve(shop, {"jobs": [job]}).resolve_job_def("odd")
    assert "nothing" in str(error.value.__cause__)


def test_a_job_and_a_selection_of_it_run(shop: ProjectFolder) -> None:
    shop.write("datasets/incoming/shop/orders-1.csv", "id;amount\n1;2\n")
    shop.write("datasets/incoming/shop/items-1.csv", "id;label\n1;a\n")
    definitions = _resolve(shop)
    job = definitions.resolve_job_def("shop_tables")
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey("shop_items")]).success
        assert job.execute_in_process(instance=instance).success
        assert (
            definitions.resolve_job_def("kpi_tasks")
            .execute_in_process(instance=instance, asset_selection=[dg.AssetKey("kpi_daily")])
            .success
        )
        event = instance.get_latest_materialization_event(dg.AssetKey("kpi_daily"))
        assert event
        assert event.asset_materialization
        assert event.asset_materialization.metadata["dagster/row_count"].value == 1


def test_dagster_resolves_the_jobs_if_its_internals_have_changed(
    shop: ProjectFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import sys

    jobs._get_job_factory.cache_clear()
    monkeypatch.setitem(sys.modules, "starlake_dagster_components.definitions.asset_job", None)
    try:
        assert not isinstance(next(iter(_resolve(shop).jobs or ())), AssetJob)
        assert "using Dagster's own resolution of jobs" in caplog.text
    finally:
        jobs._get_job_factory.cache_clear()
