"""Explanations of why a load finds no file."""

from pathlib import Path

import pytest
from project_folder import ProjectFolder

from starlake_dagster_components.project.missing_files import MissingFiles, find_missing_files, get_local_folder
from starlake_dagster_components.project.reader import read_project

APPLICATION = "application: {connectionRef: duck, connections: {duck: {type: jdbc, options: {url: 'jdbc:duckdb:x.db'}}}}\n"


@pytest.fixture
def shop(tmp_path: Path) -> ProjectFolder:
    folder = ProjectFolder(tmp_path / "shop")
    folder.write("metadata/application.sl.yml", APPLICATION)
    folder.write("metadata/load/sales/_config.sl.yml", "load: {name: sales, metadata: {directory: '{{SL_ROOT}}/in', ack: ok}}\n")
    for table in ("customers", "orders"):
        folder.write(
            f"metadata/load/sales/{table}.sl.yml",
            f"table: {{name: {table}, pattern: '{table}.*.csv', attributes: [{{name: id, type: int}}]}}\n",
        )
    return folder


def find(shop: ProjectFolder, table: str = "customers") -> MissingFiles | None:
    project = read_project(shop.root)
    return find_missing_files(project, next(t for t in project.tables if t.name == table))


def test_a_file_in_stage_is_not_missing(shop: ProjectFolder) -> None:
    shop.write("datasets/stage/sales/customers1.csv", "id\n1\n")
    assert find(shop) is None


def test_a_file_that_an_earlier_load_left_is_not_missing(shop: ProjectFolder) -> None:
    shop.write("datasets/ingesting/sales/customers1.csv", "id\n1\n")
    assert find(shop) is None


def test_files_in_incoming_are_mentioned(shop: ProjectFolder) -> None:
    (shop.root / "datasets/stage/sales").mkdir(parents=True)
    shop.write("in/customers1.csv", "id\n1\n")
    found = find(shop)
    assert found
    assert found.is_suspicious
    assert found.describe("none") == (
        f"no file in {shop.root}/datasets/stage/sales matches customers.*.csv; 1 matching file is in {shop.root}/in: "
        "set pre_load_strategy: imported, or run stage"
    )
    shop.write("in/customers2.csv", "id\n1\n")
    found = find(shop)
    assert found
    assert found.describe("imported").endswith(f"2 matching files are in {shop.root}/in: run the pre-load of the domain again, or stage")


def test_missing_folders_are_named(shop: ProjectFolder) -> None:
    found = find(shop)
    assert found
    assert found.is_suspicious
    assert found.describe("none") == (
        f"no file matches customers.*.csv: the folder {shop.root}/datasets/stage/sales does not exist; "
        f"the folder {shop.root}/in (metadata.directory) does not exist either"
    )


def test_files_that_match_no_table_are_named(shop: ProjectFolder) -> None:
    for name in ("customer-2.csv", "customer-2.ok", "order.csv", "x1.csv", "x2.csv"):
        shop.write(f"in/{name}", "")
    found = find(shop)
    assert found
    text = found.describe("none")
    assert (
        "these files match no table of sales: customer-2.csv (closest pattern: customers.*.csv), order.csv (closest pattern: orders" in text
    )
    assert text.endswith("and 1 more")
    assert "customer-2.ok" not in text


def test_an_empty_stage_folder_is_not_suspicious(shop: ProjectFolder) -> None:
    (shop.root / "datasets/stage/sales").mkdir(parents=True)
    (shop.root / "in").mkdir()
    found = find(shop)
    assert found
    assert not found.is_suspicious


def test_only_local_folders_are_inspected(shop: ProjectFolder) -> None:
    assert get_local_folder("gs://bucket/stage", shop.root) is None
    assert get_local_folder("file:///data", shop.root) == "/data"
    assert get_local_folder("in", "/shop") == "/shop/in"
