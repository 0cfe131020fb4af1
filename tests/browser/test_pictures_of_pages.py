"""The graph of a group and the page of an asset after a run: what a person sees first, and the pictures of the README."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import Browser
from dev_process import Dev
from project_folder import ProjectFolder

pytestmark = pytest.mark.slow


def test_the_graph_and_an_asset_after_a_run(
    browser: Browser, dev_server: Callable[..., Dev], library: ProjectFolder, take_picture: Callable[[str], None], tmp_path: Path
) -> None:
    dev = dev_server(library)
    command = [sys.executable, "-m", "starlake_dagster_components.cli", "run", str(library.root), "--executor", "duckdb", "--quiet"]
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path / "home0")}
    done = subprocess.run([*command, "--job", "load_catalogue"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    browser.open(f"{dev.url}/locations/tallow_lane/asset-groups/catalogue/lineage")
    shown = browser.wait_for("catalogue_tariffs")
    assert {"catalogue", "catalogue_items", "catalogue_item_categories"} <= set(shown.split())
    browser.wait_for("Materialized")
    take_picture("graph")

    browser.open(f"{dev.url}/assets/catalogue_items")
    browser.wait_for("UPSERT_BY_KEY_AND_TIMESTAMP")
    take_picture("asset")
