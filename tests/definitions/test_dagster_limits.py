"""Names and values that Dagster does not accept are reported with file and line, or replaced by valid ones."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from project_folder import ProjectFolder

from starlake_dagster_components import InvalidProject, StarlakeNode, StarlakeTranslator, load_definitions_from_starlake_project
from starlake_dagster_components.definitions.build import prepare_graph
from starlake_dagster_components.definitions.dagster_limits import build_freshness_policy
from starlake_dagster_components.project.model import Freshness
from starlake_dagster_components.settings import Settings


def build_minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


@pytest.fixture
def folder(tmp_path: Path) -> ProjectFolder:
    folder = ProjectFolder(tmp_path / "shop")
    folder.write(
        "metadata/application.sl.yml",
        "application: {connectionRef: duck, connections: {duck: {type: jdbc, options: {url: 'jdbc:duckdb:x.db'}}}}\n",
    )
    folder.write("metadata/load/sales/_config.sl.yml", "load: {name: sales}\n")
    write_orders(folder, "{}")
    return folder


def write_orders(folder: ProjectFolder, freshness: str) -> None:
    folder.write(
        "metadata/load/sales/orders.sl.yml",
        f"""
        table:
          name: orders
          pattern: orders.*.csv
          metadata:
            freshness: {freshness}
          attributes: [{{name: id, type: int}}]
        """,
    )


def list_problems(folder: ProjectFolder, settings: Settings | None = None) -> list[str]:
    return [str(p) for p in prepare_graph(folder.root, settings or Settings())[2]]


@pytest.mark.parametrize(
    ("freshness", "message"),
    [
        ("{error: -1 day}", "freshness error: '-1 day' is too short: expected a minute or more"),
        ("{warn: 30 s}", "freshness warn: '30 s' is too short: expected a minute or more"),
        ("{warn: 2 days, error: 1 day}", "freshness warn: 2 days is longer than error, 1 day"),
    ],
)
def test_freshness_that_dagster_rejects_is_an_error_with_its_line(folder: ProjectFolder, freshness: str, message: str) -> None:
    write_orders(folder, freshness)
    found = list_problems(folder)
    assert len(found) == 1
    assert message in found[0]
    assert found[0].startswith("metadata/load/sales/orders.sl.yml:5")
    with pytest.raises(InvalidProject, match="freshness"):
        load_definitions_from_starlake_project(folder.root)


def test_freshness_with_only_a_warning_never_fails() -> None:
    policy = build_freshness_policy(Freshness(warn=build_minutes(60)))
    assert policy == dg.FreshnessPolicy.time_window(fail_window=timedelta(days=3650), warn_window=build_minutes(60))
    assert build_freshness_policy(Freshness(warn=timedelta(days=7000)))
    assert build_freshness_policy(Freshness(error=build_minutes(60))) == dg.FreshnessPolicy.time_window(fail_window=build_minutes(60))
    assert build_freshness_policy(Freshness()) is None
    assert build_freshness_policy(None) is None


class Rejected(StarlakeTranslator):
    def get_asset_spec(self, node: StarlakeNode) -> dg.AssetSpec:
        return super().get_asset_spec(node).replace_attributes(**self.changes)

    changes: dict[str, Any]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"owners": ["joe"]}, "Invalid owner 'joe'"),
        ({"group_name": "a b"}, '"a b" is not a valid'),
        ({"kinds": {str(i) for i in range(11)}}, "Assets can have at most ten kinds"),
        ({"tags": {"a": 5}}, "Tag values must be strings"),
    ],
)
def test_invalid_results_of_a_translator_are_errors_with_the_line_of_the_table(
    folder: ProjectFolder, changes: dict[str, object], message: str
) -> None:
    translator = Rejected()
    translator.changes = changes
    found = list_problems(folder, Settings(translator=translator))
    assert len(found) == 1
    assert "metadata/load/sales/orders.sl.yml:2: " in found[0] or "metadata/load/sales/orders.sl.yml:1: " in found[0]
    assert f"Dagster does not accept the asset of table sales.orders: {message}" in found[0]


def test_reserved_tags_of_jobs_are_left_out(shared: Path, tmp_path: Path) -> None:
    root = tmp_path / "shop"
    shutil.copytree(shared / "cases" / "plans" / "c32_reserved_tag", root)
    (found,) = list_problems(ProjectFolder(root))
    assert found.startswith("metadata/dags/loads.sl.yml:7: ")
    assert found.endswith("option 'tags': Dagster reserves the prefix 'dagster/', so 'dagster/foo' is left out")
    load_definitions_from_starlake_project(root).get_repository_def().load_all_definitions()


def test_two_domains_with_the_same_rename_have_separate_pre_loads(shared: Path, tmp_path: Path) -> None:
    root = tmp_path / "shop"
    shutil.copytree(shared / "cases" / "plans" / "c01_shared_schema", root)
    _, graph, found = prepare_graph(root, Settings())
    assert found == ()
    deps = {s.key.to_user_string(): sorted(d.asset_key.to_user_string() for d in s.deps) for s in graph.specs.values()}
    assert deps == {"eu": [], "us": [], "shop_clients": ["us"], "shop_orders": ["eu"], "kpi_both": ["shop_clients", "shop_orders"]}
    node = graph.nodes["domain", "eu"]
    assert node.load_domain
    assert (node.name, node.load_domain.name, node.load_domain.final_name) == ("eu", "eu", "shop")
